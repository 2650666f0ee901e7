"""Splits of fields on a grid: each side is some times at some places, and needs no list of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from appdriven.application import Columns, Splits
from appdriven.splits.audit import SplitAudit, measure_distances, measure_gaps, nearest_gaps
from appdriven.splits.make import make_splits, space_folds
from appdriven.table import Table
from isopleth.errors import ConfigError
from isopleth.fields import Fold, Folds


@dataclass(frozen=True, eq=False)
class GridFold:
    """One split of a grid; a sample is trained on, or tested, if both its time and its place are.

    Parameters
    ----------
    train_time, test_time : array of bool, shape (time,)
    train_cell, test_cell : array of bool, shape (cell,)
    """

    train_time: np.ndarray
    test_time: np.ndarray
    train_cell: np.ndarray
    test_cell: np.ndarray

    def rows(self, time: np.ndarray, cell: np.ndarray) -> Fold:
        """Return the fold of samples at some times and cells, given by their numbers."""
        train = self.train_time[time] & self.train_cell[cell]
        test = self.test_time[time] & self.test_cell[cell]
        return Fold(np.flatnonzero(train), np.flatnonzero(test), np.flatnonzero(~(train | test)))

    @property
    def sizes(self) -> tuple[int, int]:
        """How many samples are trained on, and tested."""
        return (
            int(self.train_time.sum()) * int(self.train_cell.sum()),
            int(self.test_time.sum()) * int(self.test_cell.sum()),
        )


@dataclass(frozen=True, eq=False)
class GridFolds:
    """All splits of a grid, and how they were made."""

    folds: tuple[GridFold, ...]
    kind: str

    def rows(self, time: np.ndarray, cell: np.ndarray) -> Folds:
        """Return the folds of samples at some times and cells, given by their numbers."""
        return Folds(tuple(fold.rows(time, cell) for fold in self.folds), time.size, self.kind)

    @property
    def tested_times(self) -> np.ndarray:
        """Which times any fold tests, bool."""
        return np.logical_or.reduce([fold.test_time for fold in self.folds])


def split_grid(
    splits: Splits,
    time: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    *,
    block_km: float,
    buffer_km: float,
) -> GridFolds:
    """Split a grid by time, by space, or by both, as `make_splits` splits its samples.

    Parameters
    ----------
    splits : Splits
    time : array, shape (time,)
    place : (array, array), shape (cell,)
        Latitude and longitude.
    block_km, buffer_km : float
        Of splits in space; what the variogram said where it was asked.

    Raises
    ------
    ConfigError
        If the split is one that needs a list of samples.
    """
    every_time, every_cell = np.ones(time.size, dtype=bool), np.ones(place[0].size, dtype=bool)
    if splits.kind in ("time", "forward", "holdout"):
        found = make_splits(splits, times_alone(time))
        sides = ((_mask(one.train, time.size), _mask(one.test, time.size)) for one in found)
        return GridFolds(tuple(GridFold(*side, every_cell, every_cell) for side in sides), found.kind)
    if splits.kind not in ("space", "space-time"):
        raise ConfigError(
            f"splits.kind must be time, forward, holdout, space or space-time for fields that are read some "
            f"times at a time, got {splits.kind!r}",
            hint="--in_memory takes more cells at once",
        )
    space = space_folds(*place, splits.n, size_km=block_km, buffer_km=buffer_km, seed=splits.seed)
    places = [(_mask(one.train, space.size), _mask(one.test, space.size)) for one in space]
    if splits.kind == "space":
        return GridFolds(tuple(GridFold(every_time, every_time, *side) for side in places), space.kind)
    period = make_splits(replace(splits, kind="time"), times_alone(time))
    times = [(_mask(one.train, time.size), _mask(one.test, time.size)) for one in period]
    both = tuple(GridFold(*when, *where) for where in places for when in times)
    return GridFolds(both, f"{space.kind}, and {period.kind}")


def _mask(rows: np.ndarray, size: int) -> np.ndarray:
    found = np.zeros(size, dtype=bool)
    found[rows] = True
    return found


def times_alone(time: np.ndarray) -> Table:
    """Return a table of one sample a time."""
    return Table(pd.DataFrame({"time": time, "target": 0.0}), Columns(target="target", time="time"))


def audit_grid(
    found: GridFolds,
    time: np.ndarray,
    axis: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    *,
    window: float | None,
    hashes: Sequence[str],
) -> SplitAudit:
    """Audit splits of a grid: distances, gaps, windows that overlap, and whole fields that are repeated.

    Parameters
    ----------
    found : GridFolds
    time, axis : array, shape (time,)
        Times, and the same as numbers.
    place : (array, array), shape (cell,)
    window : float, optional
        What a sample covers from its time on, in the unit of `axis`.
    hashes : sequence of str, one a time
        Of the fields; a field that training has too is a duplicate.
    """
    sizes = [fold.sizes for fold in found.folds]
    times = [_rows(fold.train_time, fold.test_time) for fold in found.folds]
    cells = [_rows(fold.train_cell, fold.test_cell) for fold in found.folds]
    frame = pd.DataFrame({"lat": place[0], "lon": place[1], "target": 0.0})
    repeated = _find_repeated(found.folds, np.asarray(hashes))
    return SplitAudit(
        kind=found.kind,
        folds=len(found.folds),
        train=sum(train for train, _ in sizes),
        test=sum(test for _, test in sizes),
        dropped=sum(time.size * place[0].size - sum(size) for size in sizes),
        distance_km=measure_distances(cells, Table(frame, Columns(target="target", lat="lat", lon="lon"))),
        gap_days=measure_gaps(times, times_alone(time)),
        duplicates=tuple(repeated[:20]),
        duplicate_count=len(repeated),
        overlapping=None if window is None else sum(_overlapping(fold, axis, window) for fold in found.folds),
    )


def _rows(train: np.ndarray, test: np.ndarray) -> Fold:
    return Fold(np.flatnonzero(train), np.flatnonzero(test), np.empty(0, dtype=np.intp))


def _overlapping(fold: GridFold, axis: np.ndarray, window: float) -> int:
    shared = int((fold.train_cell & fold.test_cell).sum())
    if not shared:
        return 0
    gaps = nearest_gaps(np.sort(axis[fold.train_time]), axis[fold.test_time])
    return shared * int((gaps < window).sum())


def _find_repeated(folds: Sequence[GridFold], hashes: np.ndarray) -> list[tuple[int, int, int]]:
    """Find tested times whose whole field training has at another time: fold, time, how many such times."""
    found = []
    for number, fold in enumerate(folds):
        values, counts = np.unique(hashes[fold.train_time], return_counts=True)
        count = dict(zip(values, counts, strict=True))
        steps = np.flatnonzero(fold.test_time & ~fold.train_time & np.isin(hashes, values))
        found += [(number, int(step), int(count[hashes[step]])) for step in steps]
    return found
