"""What a card holds, its JSON, and the schema of that."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Union

from appdriven.calibration import Calibration
from appdriven.coherence import Check
from appdriven.decisions import Decision
from appdriven.schema import build, to_plain
from appdriven.shift import Shift
from isopleth.errors import ConfigError, DataError
from isopleth.io import write_json, write_text
from isopleth.report import Evaluation

SCHEMA_ID = "appdriven.card/1"
_FILE = "card.json"


Verdict = Literal["beats", "undecided", "does not beat"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The model beside one baseline by one metric, on the same samples.

    Attributes
    ----------
    metric, baseline : str
    difference : float
        Model minus baseline, with its paired interval.
    skill : float, optional
        Share of the baseline's score that the model saves (or adds, where higher is better); None where the
        ratio means nothing.
    diebold_mariano, p_value : float, optional
        Of the squared errors by time.
    effective : float, optional
        How many independent times the differences are worth, of `steps`.
    """

    metric: str
    baseline: str
    difference: float
    interval: tuple[float, float]
    skill: float | None = None
    skill_interval: tuple[float, float] | None = None
    diebold_mariano: float | None = None
    p_value: float | None = None
    steps: int | None = None
    effective: float | None = None


@dataclass(frozen=True, kw_only=True)
class Headline:
    """Skill against the best baseline: what a reader is to remember."""

    metric: str
    baseline: str
    verdict: Verdict
    sentence: str
    skill: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The subgroup in which a metric is worst."""

    metric: str
    column: str
    group: str
    value: float
    overall: float


@dataclass(frozen=True, kw_only=True)
class BudgetLine:
    """One thing that was limited: what was allowed and what was spent; None for what nobody knows."""

    name: str
    allowed: float | None = None
    spent: float | None = None
    within: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """A model in its application.

    Attributes
    ----------
    application : mapping
        The declaration, as `Application.to_dict` gives it.
    evaluation : mapping
        The core's record: scores, claims, cost, provenance.
    headline, comparisons, worst, calibration, decision, shift, audit, coherence, budget
        What was found; None or empty where it could not be.
    """

    application: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    headline: Headline | None = None
    comparisons: tuple[Comparison, ...] = ()
    worst: tuple[Worst, ...] = ()
    calibration: Calibration | None = None
    decision: Decision | None = None
    shift: Shift | None = None
    audit: Mapping[str, Any] | None = None
    coherence: tuple[Check, ...] = ()
    budget: tuple[BudgetLine, ...] = ()

    @cached_property
    def record(self) -> Evaluation:
        """The evaluation record as the core has it."""
        return Evaluation.from_dict(self.evaluation)

    @property
    def violations(self) -> list[Check]:
        """The checks of coherence that failed."""
        return [check for check in self.coherence if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON holds it."""
        plain = {item.name: to_plain(getattr(self, item.name)) for item in dataclasses.fields(self)}
        return {"schema": SCHEMA_ID, **{name: value for name, value in plain.items() if value is not None}}


def write_card(card: Card, folder: str | Path) -> dict[str, str]:
    """Write ``card.json``, ``card.html`` and ``card.md`` into a folder.

    Returns
    -------
    dict of str to str
        The files by their kind.
    """
    from appdriven.card.markdown import render_markdown
    from appdriven.card.page import render_page

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _FILE, card.to_dict())
    write_text(folder / "card.html", render_page(card))
    write_text(folder / "card.md", render_markdown(card))
    return {
        "json": str(folder / _FILE),
        "html": str(folder / "card.html"),
        "markdown": str(folder / "card.md"),
    }


def read_card(path: str | Path) -> Card:
    """Read ``card.json``, or the folder that holds it.

    Raises
    ------
    DataError
        If it cannot be read or is no card.
    """
    path = Path(path)
    source = path / _FILE if path.is_dir() else path
    try:
        content = json.loads(source.read_bytes().decode("utf-8"))
    except OSError as error:
        raise DataError(
            f"the card cannot be read: {error.strerror}", where=source, hint="`appdriven evaluate` writes one"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"a card must be JSON, got {error}", where=source) from error
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA_ID:
        raise DataError(f"a card must have the schema {SCHEMA_ID}, got another", where=source)
    try:
        card = build(Card, content)
        _ = card.record
    except ConfigError as error:
        raise DataError(error.what, where=source) from error
    return card


def load_card_schema() -> dict[str, Any]:
    """Load the JSON schema of ``card.json`` as it ships with the package."""
    text = resources.files("appdriven").joinpath("card/card.schema.json").read_text("utf-8")
    return dict(json.loads(text))


def make_schema() -> dict[str, Any]:
    """Make the JSON schema of ``card.json`` from the dataclasses."""
    body = _describe_class(Card)
    body["properties"] = {"schema": {"const": SCHEMA_ID}, **body["properties"]}
    body["required"] = ["schema", *body["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **body}


def _describe_class(owner: type) -> dict[str, Any]:
    hints = typing.get_type_hints(owner)
    items = dataclasses.fields(owner)
    return {
        "type": "object",
        "properties": {item.name: _describe(hints[item.name]) for item in items},
        "required": [item.name for item in items if item.default is dataclasses.MISSING],
        "additionalProperties": False,
    }


_PLAIN = {str: "string", float: "number", int: "integer", bool: "boolean", type(None): "null"}


def _describe(kind: Any) -> dict[str, Any]:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_describe(choice) for choice in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple and inner[-1] is Ellipsis:
        return {"type": "array", "items": _describe(inner[0])}
    if origin is tuple:
        return {"type": "array", "prefixItems": [_describe(one) for one in inner], "minItems": len(inner),
                "maxItems": len(inner)}  # fmt: skip
    if origin is not None:
        return {
            "type": "object",
            **({} if inner[1] is Any else {"additionalProperties": _describe(inner[1])}),
        }
    return (
        _describe_class(typing.cast("type", kind))
        if dataclasses.is_dataclass(kind)
        else {"type": _PLAIN[kind]}
    )
