"""The no-regret core: units that are right whichever prediction is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conservation_decisions.landscape import Bools, Floats


@dataclass(frozen=True, eq=False)
class CoreMap:
    """How often units are in the best answers.

    Attributes
    ----------
    frequency : array, shape (unit,)
        Share of the members whose own best answer has the unit.
    core, never : array of bool, shape (unit,)
        In at least the asked share of them; in none.
    """

    frequency: Floats
    core: Bools
    never: Bools


def map_core(chosen: Sequence[Bools], *, share: float = 0.9) -> CoreMap:
    """Count units over the members' own best answers (`Losses.chosen`)."""
    frequency = np.mean(np.asarray(chosen, np.float64), axis=0)
    return CoreMap(frequency, frequency >= share - 1e-9, frequency == 0)
