"""The model beside its baselines: differences, skill, the headline, and the claims that follow."""

from __future__ import annotations

import numpy as np

from appdriven.application import Goal
from appdriven.card.record import Comparison, Headline, Verdict
from appdriven.case import Case
from appdriven.metrics import MEASURES, Measure
from appdriven.schema import Unknown
from isopleth.report import Claim
from isopleth.verify import Interval


def finite_ends(interval: Interval) -> tuple[float, float] | None:
    """Return an interval's ends as they are written; None where a draw could not be scored."""
    low, high = interval.ends
    return (low, high) if np.isfinite([low, high]).all() else None


def compare_with_baselines(case: Case) -> list[Comparison]:
    """Compare the model with every baseline by every metric declared, on the same draws."""
    return [compare(case, goal.name, name) for goal in case.application.goals for name in case.baselines]


def compare(case: Case, measure: str, baseline: str) -> Comparison:
    """Compare the model with one baseline by one metric: difference, skill, and how sure both are."""
    chosen = MEASURES[measure]
    found = case.interval(measure, against=baseline)
    low, high = found.ends
    ratio = _skill(case, chosen, measure, baseline)
    # The test of Diebold and Mariano is made of squared errors, so that it stands beside them alone.
    dependence = case.dependence(baseline) if measure in ("rmse", "mse") else None
    test = None if dependence is None else dependence.diebold_mariano
    tested = test is not None and np.isfinite(test.statistic)
    return Comparison(
        metric=measure,
        baseline=baseline,
        difference=float(found.value),
        interval=(low, high),
        skill=None if ratio is None else float(ratio.value),
        skill_interval=None if ratio is None else finite_ends(ratio),
        diebold_mariano=test.statistic if test is not None and tested else None,
        p_value=test.p_value if test is not None and tested else None,
        steps=None if dependence is None else dependence.steps,
        effective=None if dependence is None else dependence.effective,
    )


def _skill(case: Case, chosen: Measure, measure: str, baseline: str) -> Interval | None:
    """Return the interval of 1 - model / baseline (or of the ratio less 1), where a ratio means something."""
    if not chosen.relative or case.value(baseline, measure) <= 0:
        return None
    if chosen.better == "lower":
        return case.interval(measure, against=baseline, compare=lambda model, other: 1 - model / other)
    return case.interval(measure, against=baseline, compare=lambda model, other: model / other - 1)


def make_headline(case: Case, comparisons: list[Comparison]) -> Headline | None:
    """Say what the model gains over its best baseline by the primary metric."""
    measure = case.application.metrics.primary.name
    mine = [one for one in comparisons if one.metric == measure]
    if not mine:
        return None
    sign = 1.0 if MEASURES[measure].better == "lower" else -1.0
    best = max(mine, key=lambda one: sign * one.difference)
    low, high = sorted(sign * end for end in best.interval)
    verdict: Verdict = "beats" if high < 0 else "does not beat" if low >= 0 else "undecided"
    gain = "" if best.skill is None else f" (skill {best.skill:+.1%})"
    words = {
        "beats": f"The model beats the best baseline, {best.baseline}, by {measure}{gain}.",
        "undecided": f"By {measure} the model cannot be told from the best baseline, {best.baseline}{gain}.",
        "does not beat": f"The model does not beat {best.baseline} by {measure}{gain}.",
    }
    return Headline(
        metric=measure, baseline=best.baseline, verdict=verdict, sentence=words[verdict],
        skill=best.skill, interval=best.skill_interval,
    )  # fmt: skip


def make_claims(case: Case, comparisons: list[Comparison], name: str) -> tuple[Claim, ...]:
    """Turn the headline and the thresholds of the declaration into claims."""
    claims = []
    over = f"{case.resampling.over} ({case.count()} independent samples)"
    evidence = f"paired bootstrap over {over}, {case.folds.kind}"
    measure = case.application.metrics.primary.name
    chosen = MEASURES[measure]
    for one in comparisons:
        if one.metric == measure and np.isfinite(one.interval).all():
            found = Interval(*one.interval, one.difference, case.resampling.level, 1)
            claims.append(
                Claim.judge(f"{name} has a better {measure} than {one.baseline}", found, better=chosen.better,
                            evidence=evidence, units=chosen.units(case.application.task.units))
            )  # fmt: skip
    claims += [claim for goal in case.application.goals if (claim := _judge_goal(case, goal)) is not None]
    return tuple(claims)


def _judge_goal(case: Case, goal: Goal) -> Claim | None:
    """Judge whether a metric reaches what those concerned ask for."""
    if isinstance(goal.threshold, Unknown):
        return None
    chosen = MEASURES[goal.name]
    found = case.interval(goal.name)
    low, high = (end - goal.threshold for end in found.ends)
    gap = Interval(low, high, float(found.value) - goal.threshold, found.level, 1)
    words = "at most" if chosen.better == "lower" else "at least"
    return Claim.judge(
        f"{goal.name} is {words} {goal.threshold:g}, as set by {goal.set_by}",
        gap,
        better=chosen.better,
        evidence=f"distance from the threshold, bootstrap over {case.resampling.over}",
        units=chosen.units(case.application.task.units),
    )
