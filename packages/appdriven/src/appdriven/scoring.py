"""Scores of a case: the model beside its baselines, over all samples, in subgroups and in the tails."""

from __future__ import annotations

import numpy as np

from appdriven.card.record import Worst
from appdriven.case import MODEL, Case, Part
from appdriven.comparison import finite_ends
from appdriven.metrics import MEASURES
from appdriven.schema import Unknown
from isopleth.errors import DataError
from isopleth.report import Score


def score(case: Case, measure: str, part: Part | None = None) -> Score:
    """Score the model and its baselines by one metric, on all samples or on a part of them.

    Raises
    ------
    DataError
        If the score of these samples does not exist, such as the hit rate of an event that never came.
    """
    chosen = MEASURES[measure]
    values = {name: case.value(name, measure, part) for name in case.all_methods}
    if not np.isfinite(values[MODEL]):
        raise DataError(
            f"{measure} must be finite, got {values[MODEL]} of {case.count(part)} independent samples"
        )
    interval = finite_ends(case.interval(measure, part=part)) if case.count(part) > 1 else None
    task = case.application.task
    return Score(
        metric=measure,
        variable=task.variable,
        units=chosen.units(task.units),
        better=chosen.better,
        model=values[MODEL],
        interval=interval,
        baselines={name: value for name, value in values.items() if name != MODEL and np.isfinite(value)},
        stratum={} if part is None else dict(part.stratum),
        n=case.count(part),
    )


def score_subgroups(case: Case) -> tuple[list[Score], list[Worst]]:
    """Score each subgroup that is large enough by the primary metric, and name the worst of each column.

    Raises
    ------
    DataError
        If a column does not exist, or no subgroup of it is large enough.
    """
    wanted = case.application.subgroups
    if isinstance(wanted.columns, Unknown):
        return [], []
    measure, scores, worst = case.application.metrics.primary.name, [], []
    for column in wanted.columns:
        counts = {part: case.count(part) for part in case.subgroups(column)}
        kept = [part for part, count in counts.items() if count >= wanted.minimum]
        if not kept:
            raise DataError(
                f"some subgroup of {column!r} must have {wanted.minimum} independent samples, got at most "
                f"{max(counts.values())}",
                hint="subgroups.minimum sets how many",
            )
        found = [score(case, measure, part) for part in kept]
        pick = max if MEASURES[measure].better == "lower" else min
        last = pick(found, key=lambda one: one.model)
        scores += found
        worst.append(
            Worst(metric=measure, column=column, group=str(last.stratum[column]), value=last.model,
                  overall=case.value(MODEL, measure))
        )  # fmt: skip
    return scores, worst


def score_extremes(case: Case) -> list[Score]:
    """Score what was extreme, and what was predicted to be.

    To look only at what came rewards a method that always cries wolf (Lerch et al. 2017, Stat. Sci. 32), so
    that what was predicted stands beside it.
    """
    minimum = case.application.subgroups.minimum
    return [score(case, "rmse", part) for part in case.extremes() if case.count(part) >= minimum]
