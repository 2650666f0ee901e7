"""Two cards side by side: a gate that a worse model does not pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from appdriven.card.record import Card
from isopleth.config import check_fraction
from isopleth.errors import DataError
from isopleth.report import Score


@dataclass(frozen=True)
class Change:
    """One score in both cards."""

    name: str
    before: float
    after: float
    verdict: Literal["better", "same", "worse"]


@dataclass(frozen=True)
class Regression:
    """What changed between two cards, and what of it is a regression."""

    changes: tuple[Change, ...]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        counts = {
            verdict: sum(change.verdict == verdict for change in self.changes)
            for verdict in ("better", "same", "worse")
        }
        worse = [
            {"score": change.name, "before": change.before, "after": change.after}
            for change in self.changes
            if change.verdict == "worse"
        ]
        return {"regressions": list(self.problems), **counts, "worse_scores": worse}


def compare_cards(before: Card, after: Card, *, tolerance: float = 0.02) -> Regression:
    """Compare two cards of one application.

    A score is worse if it lost more than `tolerance` of its value, and better if it gained as much.
    Regressions are scores that are worse, scores and baselines that disappeared, checks that are newly
    violated and claims that no longer hold.

    Parameters
    ----------
    before, after : Card
    tolerance : float
        Relative.

    Raises
    ------
    DataError
        If the cards were not made on the same test data, so that their scores say nothing about each other.
    """
    check_fraction(tolerance=tolerance)
    if before.record.data.fingerprint != after.record.data.fingerprint:
        raise DataError(
            f"both cards must be of the same data, got {before.record.data.fingerprint[:19]}… and "
            f"{after.record.data.fingerprint[:19]}…"
        )
    old, new = ({_name(score): score for score in card.record.scores} for card in (before, after))
    changes = [_change(name, old[name], new[name], tolerance) for name in old if name in new]
    problems = [
        f"{one.name} is worse: {one.before:.4g} before, {one.after:.4g} after"
        for one in changes
        if one.verdict == "worse"
    ]
    problems += [f"{name} is no longer scored" for name in old if name not in new]
    for name in old:
        lost = sorted(set(old[name].baselines) - set(new[name].baselines)) if name in new else []
        problems += [f"{name} is no longer compared with {baseline}" for baseline in lost]
    known = {(check.name, check.finding) for check in before.violations}
    problems += [
        f"{check.name}: {check.finding}"
        for check in after.violations
        if (check.name, check.finding) not in known
    ]
    held = {claim.claim for claim in before.record.claims if claim.holds}
    problems += [
        f"no longer holds: {claim.claim}"
        for claim in after.record.claims
        if claim.claim in held and not claim.holds
    ]
    return Regression(tuple(changes), tuple(problems))


def _name(score: Score) -> str:
    place = ", ".join(f"{key} {value}" for key, value in score.stratum.items())
    return f"{score.metric} of {score.variable}{f' ({place})' if place else ''}"


def _change(name: str, before: Score, after: Score, tolerance: float) -> Change:
    sign = 1.0 if before.better == "lower" else -1.0
    loss = sign * (after.model - before.model)
    margin = tolerance * abs(before.model)
    verdict: Literal["better", "same", "worse"] = (
        "worse" if loss > margin else "better" if loss < -margin else "same"
    )
    return Change(name, before.model, after.model, verdict)
