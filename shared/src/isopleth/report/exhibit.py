"""A record and the size of evidence that it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isopleth.report.markup import Markup, tag
from isopleth.report.record import Evaluation

Size = Literal["demo", "full"]
_MEANING = {"demo": "a first look, minutes", "full": "the deciding run, several seeds"}


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """An evaluation as one page shows it.

    Parameters
    ----------
    evaluation : Evaluation
    size : {"demo", "full"}, optional
        How much evidence it is; None where a page holds one record of no stated size.
    """

    evaluation: Evaluation
    size: Size | None = None

    def render_size(self) -> Markup | None:
        """Draw the label of the size, nothing if none was stated."""
        if self.size is None:
            return None
        return tag("span", self.size, class_=f"size {self.size}", title=_MEANING[self.size])
