"""What is held out: space and time, the second half, each model's future, and all information."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from isopleth.errors import DataError
from isopleth.fields import Fold, Folds, block_folds, random_folds
from isopleth.sealevel.protocol import (
    Experiment,
    Outcome,
    plan_backtest,
    plan_cross_validation,
    plan_null_test,
    plan_perfect_models,
)
from isopleth.sealevel.rows import Floats, Rows
from sealevel_projection.config import PeriodConfig, ProjectionConfig, SkillConfig
from sealevel_projection.data import Archive, make_rows, select_years
from sealevel_projection.segments import Segments

LAST_YEARS = "last years held out"


def hindcast_rows(archive: Archive, config: ProjectionConfig, segments: Segments) -> Rows:
    """Make the rows that networks are trained on: signals against the altimeter, over the hindcast."""
    period, signals = config.period, list(archive.choose(config.inputs))
    departed = archive.depart(period.first_year, period.last_year, config.inputs.reference)
    models = select_years(departed.models.sel(model=signals), period.first_year, period.last_year)
    target = select_years(departed.altimeter, period.first_year, period.last_year)
    return make_rows(models, target, segments.labels)


def projection_rows(
    archive: Archive, config: ProjectionConfig, segments: Segments, *, first_year: int | None = None
) -> Rows:
    """Make the rows of the years to project, without a target; from another first year if asked for."""
    period, signals = config.period, list(archive.choose(config.inputs))
    departed = archive.depart(period.first_year, period.last_year, config.inputs.reference)
    begin = period.last_year + 1 if first_year is None else first_year
    models = select_years(departed.models.sel(model=signals), begin, period.until)
    return make_rows(models, None, segments.labels)


def split_space_and_time(rows: Rows, period: PeriodConfig, test: SkillConfig) -> Folds:
    """Hold out blocks of cells with a buffer round them, and in all folds the last years with an embargo.

    A fold is tested in its own cells' last years alone, so that no test row shares its cell, its neighbours
    or its weather with a training row.
    """
    blocks = block_folds(rows.lat, rows.lon, test.folds, buffer_km=test.buffer_km, size_km=test.block_km)
    return _with_last_years(blocks, rows, period, test)


def split_time(rows: Rows, period: PeriodConfig, test: SkillConfig) -> Folds:
    """Hold out the last years of all cells, with an embargo: a test for persistence and cell scalings too."""
    everything = np.arange(len(rows))
    single = Folds((Fold(everything, everything, everything[:0]),), len(rows), "no blocks")
    return _with_last_years(single, rows, period, test)


def split_at_random(rows: Rows, test: SkillConfig) -> Folds:
    """Deal rows out at random: neighbours in space and time stand on both sides, to show what that hides."""
    return random_folds(len(rows), test.folds, acknowledge_leakage=True)


def _with_last_years(blocks: Folds, rows: Rows, period: PeriodConfig, test: SkillConfig) -> Folds:
    year = np.floor(rows.years).astype(np.int64)
    first_test = period.last_year - test.last_years + 1
    early, late = year < first_test - test.embargo_years, year >= first_test
    if not early.any() or not late.any():
        raise DataError(
            f"last_years and embargo_years must leave years to learn from, got {test.last_years} and "
            f"{test.embargo_years} of {period.first_year} to {period.last_year}"
        )
    folds = []
    for block in blocks:
        train, tested = block.train[early[block.train]], block.test[late[block.test]]
        left = np.setdiff1d(np.arange(len(rows)), np.concatenate([train, tested]))
        folds.append(Fold(train, tested, left))
    return Folds(tuple(folds), len(rows), f"{blocks.kind}, {first_test}-{period.last_year} held out")


def last_training_year(period: PeriodConfig, test: SkillConfig) -> int:
    """Return the last year that the splits in time learn from: references must not know of later ones."""
    return period.last_year - test.last_years - test.embargo_years


def cross_validation_rows(
    archive: Archive, config: ProjectionConfig, test: SkillConfig, segments: Segments
) -> Rows:
    """Make the rows of the hindcast as departures from the training years of the splits in time."""
    shorter = replace(config.period, last_year=last_training_year(config.period, test))
    departed = archive.depart(shorter.first_year, shorter.last_year, config.inputs.reference)
    signals, period = list(archive.choose(config.inputs)), config.period
    models = select_years(departed.models.sel(model=signals), period.first_year, period.last_year)
    target = select_years(departed.altimeter, period.first_year, period.last_year)
    return make_rows(models, target, segments.labels)


def plan_validation(rows: Rows, period: PeriodConfig, test: SkillConfig) -> list[Experiment]:
    """Plan the tests on the hindcast: space and time held out, time alone, and, if asked for, at random."""
    plans = [
        plan_cross_validation(rows, split_space_and_time(rows, period, test), name="space and time held out"),
        plan_cross_validation(rows, split_time(rows, period, test), name=LAST_YEARS),
    ]
    if test.random_folds:
        plans.append(plan_cross_validation(rows, split_at_random(rows, test), name="folds at random"))
    return plans


def plan_null(rows: Rows, period: PeriodConfig, test: SkillConfig) -> list[Experiment]:
    """Plan the null test: predictors without information, under honest folds and under folds at random."""
    honest = split_space_and_time(rows, period, test)
    plans = [plan_null_test(rows, honest, name="null test")]
    if test.random_folds:
        plans.append(plan_null_test(rows, split_at_random(rows, test), name="null test, folds at random"))
    return plans


def plan_second_half(archive: Archive, config: ProjectionConfig, segments: Segments) -> Experiment:
    """Plan the backtest: learn from the first half of the observed years, predict the second."""
    first, last = config.period.first_year, archive.observed_years()[1]
    middle = (first + last) // 2
    departed = archive.depart(first, middle, config.inputs.reference)
    models = departed.models.sel(model=list(archive.choose(config.inputs)))
    early, late = (
        make_rows(select_years(models, *span), select_years(departed.altimeter, *span), segments.labels)
        for span in ((first, middle), (middle + 1, last))
    )
    return plan_backtest(early, late, about=f"fitted to {first}-{middle}, tested on {middle + 1}-{last}")


def plan_other_models(archive: Archive, config: ProjectionConfig, segments: Segments) -> Experiment:
    """Plan the perfect-model test: a member of each model is the ocean in turn, without its relatives."""
    period, names = config.period, list(archive.fully_forced)
    departed = archive.depart(period.first_year, period.last_year, config.inputs.reference)
    past, future = (period.first_year, period.last_year), (period.last_year + 1, period.until)
    forced, weather = (
        field.sel(model=names).assign_attrs(units="mm") for field in (departed.models, departed.weather)
    )
    families = {name: family_of(name) for name in names}
    enough = all(sum(one != other for other in families.values()) >= 2 for one in families.values())
    return plan_perfect_models(
        select_years(forced, *past),
        select_years(forced, *future),
        past_truth=select_years(weather, *past),
        future_truth=select_years(weather, *future),
        families=families if enough else None,
        segments=segments.labels,
    )


def family_of(model: str) -> str:
    """Name a model's family: what its name begins with, up to a digit or a hyphen.

    Examples
    --------
    >>> family_of("CESM2"), family_of("MPI-ESM1-2-HR"), family_of("MPI-GE")
    ('CESM', 'MPI', 'MPI')
    """
    found = re.match(r"[^\W\d_]+", model)
    return found.group().upper() if found else model


def to_trends(outcome: Outcome, *, per_year: int = 1) -> Outcome:
    r"""Turn predicted values into trends: an outcome with a row a trial and cell, mm/year.

    .. math:: b = \frac{\sum_t (t - \bar t)\, y_t}{\sum_t (t - \bar t)^2}

    of predictions and of truth alike, over the steps that a cell has.

    Parameters
    ----------
    outcome : Outcome
        Of rows with times.
    per_year : int
        Steps a year.
    """
    key = np.stack([outcome.trial, outcome.cell])
    _, first, place = np.unique(key, axis=1, return_index=True, return_inverse=True)
    names = ("weight", "lat", "lon", "cell", "trial", "block")
    slopes: dict[str, Any] = {
        name: fit_slopes(outcome.step / per_year, getattr(outcome, name), place)
        for name in ("truth", "prediction")
    }
    return replace(
        outcome,
        spread=None,
        step=np.zeros(len(first), np.int64),
        **slopes | {name: getattr(outcome, name)[first] for name in names},
    )


def fit_slopes(axis: Floats, values: Floats, group: np.ndarray) -> Floats:
    """Fit a straight line to the values of each group, and return its slopes, shape (group,)."""
    count = np.bincount(group)
    distance = axis - (np.bincount(group, axis) / count)[group]
    return np.asarray(np.bincount(group, distance * values) / np.bincount(group, distance**2))


def join_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Put the rows of several worlds' outcomes one after the other; blocks and trials stay apart."""
    first = outcomes[0]
    names = ("truth", "prediction", "weight", "lat", "lon", "cell", "step")
    apart: dict[str, list[np.ndarray]] = {"trial": [], "block": []}
    for name, parts in apart.items():
        offset = 0
        for one in outcomes:
            parts.append(getattr(one, name) + offset)
            offset += int(getattr(one, name).max()) + 1
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in outcomes]) for name in names
    }
    joined |= {name: np.concatenate(parts) for name, parts in apart.items()}
    return replace(first, spread=None, **joined)
