"""Assertions about a card, as a build server makes them: ``rmse_skill_vs_persistence > 0.1``."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from appdriven.card.record import Card
from isopleth.errors import ConfigError

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_SHAPE = re.compile(r"^\s*([\w.-]+(?:\[[^\]]*\])?[\w.]*)\s*(>=|<=|==|!=|>|<)\s*([^\s<>=!]+)\s*$")


@dataclass(frozen=True)
class Assertion:
    """What was asserted, what was found, and whether it is so."""

    name: str
    found: float
    sentence: str
    holds: bool


def list_quantities(card: Card) -> dict[str, float]:
    """List what can be asserted of a card, by name.

    ``rmse`` and each other metric; ``rmse[basin=NA]`` in a stratum; ``rmse_skill`` against the best baseline,
    ``rmse_skill_vs_persistence`` against one, ``rmse_vs_persistence`` for the difference; each with ``.low``
    and ``.high`` for the ends of its interval; ``violations``; ``expected_cost_MODEL``; ``coverage``.
    """
    found: dict[str, float] = {"violations": float(len(card.violations))}
    for score in card.record.scores:
        place = ",".join(f"{key}={value}" for key, value in score.stratum.items())
        _put(found, f"{score.metric}[{place}]" if place else score.metric, score.model, score.interval)
    for one in card.comparisons:
        baseline = one.baseline.replace(" ", "_").replace("-", "_")
        _put(found, f"{one.metric}_vs_{baseline}", one.difference, one.interval)
        if one.skill is not None:
            _put(found, f"{one.metric}_skill_vs_{baseline}", one.skill, one.skill_interval)
    head = card.headline
    if head is not None and head.skill is not None:
        _put(found, f"{head.metric}_skill", head.skill, head.interval)
    if card.calibration is not None and card.calibration.coverage is not None:
        found["coverage"] = card.calibration.coverage
    if card.decision is not None:
        found |= {
            f"expected_cost_{name.replace(' ', '_')}": cost
            for name, cost in card.decision.expected_cost.items()
        }
    return found


def _put(found: dict[str, float], name: str, value: float, interval: tuple[float, float] | None) -> None:
    found.setdefault(name, value)
    if interval is not None:
        found.setdefault(f"{name}.low", interval[0])
        found.setdefault(f"{name}.high", interval[1])


def assert_claim(card: Card, expression: str) -> Assertion:
    """Decide an expression ``NAME OPERATOR NUMBER`` about a card.

    Parameters
    ----------
    card : Card
    expression : str
        Such as ``"rmse_skill_vs_persistence.low > 0"``; see `list_quantities` for the names.

    Raises
    ------
    ConfigError
        If it is not of that shape, or the card has no such quantity; names the nearest.
    """
    match = _SHAPE.match(expression)
    if match is None:
        raise ConfigError(f"an assertion must be NAME OPERATOR NUMBER, got {expression!r}")
    name, sign, text = match.groups()
    try:
        bound = float(text)
    except ValueError as error:
        raise ConfigError(f"an assertion must end in a number, got {text!r}") from error
    known = list_quantities(card)
    key = name if name in known else name.replace("-", "_")
    if key not in known:
        near = difflib.get_close_matches(key, known, n=3)
        raise ConfigError(
            f"the card must have {name!r}, got none", hint=f"it has {', '.join(near or list(known)[:8])}"
        )
    holds = bool(_OPERATORS[sign](known[key], bound))
    return Assertion(key, known[key], f"{key} = {known[key]:.6g}, asserted {sign} {bound:g}", holds)
