"""Baselines of fields that are read some times at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from appdriven.application import Application
from appdriven.baselines import FITS, climate_keys
from appdriven.grids import Grids, Sample
from appdriven.schema import Unknown
from appdriven.splits.grid import GridFolds, times_alone
from appdriven.table import Table
from isopleth.errors import ConfigError, DataError

#: Predicts a block's samples, given its times and its table.
Predictor = Callable[[slice, Table], np.ndarray]


def make_baselines(
    application: Application, grids: Grids, folds: GridFolds, sample: Sample
) -> dict[str, Predictor]:
    """Make every baseline that an application declares, to predict a block at a time.

    Persistence, seasonal naive and climatology are what they are in memory; learners are fitted on the
    sample's training side.

    Raises
    ------
    ConfigError
        If a baseline needs all samples at once.
    """
    wanted = application.baselines
    learned = () if isinstance(wanted.learned, Unknown) else wanted.learned
    found: dict[str, Predictor] = {}
    for name in dict.fromkeys((*wanted.domain, *learned)):
        if name == "persistence":
            found[name] = _persistence(application, grids)
        elif name == "seasonal-naive":
            found[name] = lambda steps, _: grids.before("365D", steps)
        elif name == "climatology":
            found[name] = _by_fold(make_climates(grids, folds), folds, grids)
        elif name in FITS:
            sides = [fold.rows(sample.time, sample.cell).train for fold in folds.folds]
            fitted = [FITS[name](sample.table.take(rows)) for rows in sides]
            found[name] = _by_fold([_without_steps(one) for one in fitted], folds, grids)
        else:
            known = ", ".join(("persistence", "seasonal-naive", "climatology", *FITS))
            raise ConfigError(
                f"a baseline must be one of {known} for fields that are read some times at a time, got "
                f"{name!r}",
                hint="--in_memory takes more cells at once",
            )
    if wanted.command is not None:
        raise ConfigError("baselines.command must be left out for fields that are read some times at a time")
    return found


def _persistence(application: Application, grids: Grids) -> Predictor:
    name, lead = grids.columns.persistence, application.task.lead
    if name is not None:
        return lambda _, table: table.numbers(name)
    if isinstance(lead, Unknown):
        raise ConfigError("persistence must have data.columns.persistence or task.lead, got neither")
    return lambda steps, _: grids.before(lead, steps)


def _without_steps(fitted: Callable[[Table], np.ndarray]) -> Predictor:
    return lambda _, table: fitted(table)


def _by_fold(predictors: list[Predictor], folds: GridFolds, grids: Grids) -> Predictor:
    """Let each fold's own predictor say what the fold tests; NaN where none does."""

    def predict(steps: slice, table: Table) -> np.ndarray:
        values = np.full((steps.stop - steps.start, grids.cells), np.nan)
        for fold, predictor in zip(folds.folds, predictors, strict=True):
            if fold.test_time[steps].any():
                tested = np.ix_(fold.test_time[steps], fold.test_cell)
                values[tested] = predictor(steps, table).reshape(values.shape)[tested]
        return values.ravel()

    return predict


def make_climates(grids: Grids, folds: GridFolds) -> list[Predictor]:
    """Make each fold's training means by cell and month, or else by month, or else of all; in one pass."""
    month = climate_keys(times_alone(grids.time))["month"]
    sides = {fold.train_time.tobytes(): fold.train_time for fold in folds.folds}
    sums = {key: np.zeros((2, 13, grids.cells)) for key in sides}
    for steps in grids.blocks():
        values = grids.field(grids.columns.target, steps)
        for key, trained in sides.items():
            chosen = trained[steps]
            np.add.at(sums[key][0], month[steps][chosen], np.nan_to_num(values[chosen]))
            np.add.at(sums[key][1], month[steps][chosen], np.isfinite(values[chosen]))
    return [_climate(sums[fold.train_time.tobytes()] * fold.train_cell, month) for fold in folds.folds]


def _climate(sums: np.ndarray, month: np.ndarray) -> Predictor:
    total, count = sums
    if not count.any():
        raise DataError("training must have a known target, got none")
    by_month = _mean_of(total.sum(axis=1), count.sum(axis=1))
    coarse = np.where(np.isfinite(by_month), by_month, total.sum() / count.sum())[:, None]
    finer = _mean_of(total, count)
    table = np.where(np.isfinite(finer), finer, coarse)
    return lambda steps, _: table[month[steps]].ravel()


def _mean_of(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
