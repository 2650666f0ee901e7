"""Predictions: read from any file and put beside the samples that they are for, or asked of a callable."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from appdriven.table import Table, match_rows, read_frame
from isopleth.errors import ConfigError, DataError
from isopleth.fields import Folds

#: What any model may be: it sees the training samples whole and the test samples without their target.
Learner = Callable[[Table, Table], np.ndarray]

VALUE, LOWER, UPPER, PROBABILITY = "prediction", "lower", "upper", "probability"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says about samples, float64, NaN where it says nothing.

    Parameters
    ----------
    value : array, shape (sample,)
        In the units of the target.
    lower, upper : array, shape (sample,), optional
        An interval, of the level that the declaration names.
    probability : array, shape (sample,), optional
        Of the declared event.
    """

    value: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    probability: np.ndarray | None = None


def read_predictions(path: str | Path, table: Table, tested: np.ndarray) -> Predictions:
    """Read predictions for the tested samples from CSV, Parquet, NetCDF or zarr.

    They are matched by the columns that both files have of time, lat, lon and group; without any, by order:
    then there must be one a sample, or one a tested sample.

    Parameters
    ----------
    path : str or path
        With a column ``prediction`` and, if there are any, ``lower``, ``upper`` and ``probability``.
    table : Table
    tested : array of bool, shape (sample,)
        Which samples any fold tests.

    Raises
    ------
    DataError
        If a tested sample with a truth has no row, or a row belongs to no sample.
    """
    frame = read_frame(path)
    try:
        return place_predictions(frame, table, tested)
    except DataError as error:
        raise DataError(error.what, where=error.where or path, hint=error.hint) from error


def place_predictions(frame: pd.DataFrame, table: Table, tested: np.ndarray) -> Predictions:
    """Put a frame of predictions beside the samples that they are for, as `read_predictions` does."""
    if VALUE not in frame:
        raise DataError(f"predictions must have the column {VALUE!r}, got {', '.join(map(str, frame))}")
    rows = _find_rows(frame, table, tested)
    covered = np.zeros(len(table), dtype=bool)
    covered[rows] = True
    lacking = tested & np.isfinite(table.target) & ~covered
    if lacking.any():
        raise DataError(
            f"predictions must cover all {int(tested.sum())} tested samples, got {len(frame)} rows and "
            "none for "
            f"{int(lacking.sum())} samples, the first being sample {int(lacking.argmax())}"
        )
    found = {name: _column(frame, name, rows, len(table)) for name in (VALUE, LOWER, UPPER, PROBABILITY)}
    return Predictions(np.asarray(found[VALUE]), found[LOWER], found[UPPER], found[PROBABILITY])


def _find_rows(frame: pd.DataFrame, table: Table, tested: np.ndarray) -> np.ndarray:
    columns = table.columns
    names = [name for name in (columns.time, columns.lat, columns.lon, columns.group) if name in frame]
    if names:
        return match_rows(table, frame, [name for name in names if name is not None])
    if len(frame) == len(table):
        return np.arange(len(table))
    if len(frame) == tested.sum():
        return np.flatnonzero(tested)
    raise DataError(
        f"predictions must have one row for each of {len(table)} samples or {int(tested.sum())} tested ones, "
        f"got {len(frame)}",
        hint="add the columns of time, place or group, to match by them",
    )


def _column(frame: pd.DataFrame, name: str, rows: np.ndarray, size: int) -> np.ndarray | None:
    if name not in frame:
        return None
    values = np.full(size, np.nan)
    try:
        values[rows] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"predictions must be numbers, got {error}", where=name) from error
    return values


def predict_folds(learner: Learner, table: Table, folds: Folds) -> np.ndarray:
    """Let a learner predict every tested sample from its fold's training samples.

    The test samples reach the learner with their target hidden. A sample that several folds test is given
    the last one's.

    Returns
    -------
    array of float64, shape (sample,)
        NaN for samples that no fold tests.
    """
    found = np.full(len(table), np.nan)
    for number, fold in enumerate(folds):
        test = table.take(fold.test)
        hidden = Table(test.frame.assign(**{table.columns.target: np.nan}), table.columns)
        values = np.asarray(learner(table.take(fold.train), hidden), dtype=np.float64)
        if values.shape != (fold.test.size,):
            raise DataError(
                f"a learner must predict {fold.test.size} test samples, got shape {values.shape}",
                where=f"fold {number}",
            )
        found[fold.test] = values
    return found


def load_learner(name: str) -> Learner:
    """Import ``package.module:function``, which takes training and test tables and returns predictions."""
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise ConfigError(f"a learner must be written module:function, got {name!r}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the learner {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ConfigError(f"a learner must be callable, got {found!r}")
    learner: Learner = found
    return learner
