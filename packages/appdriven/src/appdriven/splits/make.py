"""Splits by time, space, group, and space with time: the core's folds, from a declaration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import spatial

from appdriven.application import Splits
from appdriven.splits.variogram import measure_variogram
from appdriven.table import Table
from isopleth.config import check_positive
from isopleth.errors import ConfigError, DataError
from isopleth.fields import Fold, Folds, group_folds, holdout, random_folds, time_folds
from isopleth.grid import EARTH_RADIUS_KM, wrap_longitude


def make_splits(splits: Splits, table: Table) -> Folds:
    """Split a table as its application declares; the result is a scikit-learn splitter.

    Parameters
    ----------
    splits : Splits
        The section of the declaration.
    table : Table

    Returns
    -------
    Folds
        ``cross_val_score(model, X, y, cv=folds)`` takes them; `appdriven.splits.audit_splits` proves them.

    Raises
    ------
    ConfigError, DataError
        As the core's folds do; a random split of autocorrelated samples is refused unless
        ``acknowledge_leakage`` is set.
    """
    return _KINDS[splits.kind](splits, table)


def _by_time(splits: Splits, table: Table) -> Folds:
    forward = splits.kind == "forward"
    return time_folds(table.time, splits.n, embargo=splits.embargo, forward=forward)


def _by_holdout(splits: Splits, table: Table) -> Folds:
    start: Any = splits.start
    if table.time is not None and table.time.dtype.kind == "f":
        start = float(start)
    return holdout(table.time, start, embargo=splits.embargo)


def _by_space(splits: Splits, table: Table) -> Folds:
    lat, lon = _places(table)
    sizes = resolve_sizes(splits, table)
    return space_folds(
        lat, lon, splits.n, size_km=sizes.block_km, buffer_km=sizes.buffer_km, seed=splits.seed
    )


def _by_space_time(splits: Splits, table: Table) -> Folds:
    lat, lon = _places(table)
    sizes = resolve_sizes(splits, table)
    space = space_folds(
        lat, lon, splits.n, size_km=sizes.block_km, buffer_km=sizes.buffer_km, seed=splits.seed
    )
    return space_time_folds(space, time_folds(table.time, splits.n, embargo=splits.embargo))


def _by_group(splits: Splits, table: Table) -> Folds:
    if table.group is None:
        raise ConfigError("data.columns.group must be named to split by group, got none")
    return group_folds(table.group, splits.n, seed=splits.seed)


def _by_column(_: Splits, table: Table) -> Folds:
    side = table.frame[table.columns.split].astype(str).str.strip().str.lower().to_numpy()
    other = sorted({*side} - {"train", "test"})
    if other and set(other) - {"validate", "validation", "drop"}:
        raise DataError(
            f"the split column must say train, validate, test or drop, got {', '.join(other[:5])}"
        )
    parts = [np.flatnonzero(side == name) for name in ("train", "test")]
    if not all(part.size for part in parts):
        raise DataError(
            f"the split column must have both sides, got {parts[0].size} train and {parts[1].size} test"
        )
    rest = np.flatnonzero(~np.isin(side, ("train", "test")))
    return Folds((Fold(parts[0], parts[1], rest),), side.size, "the split that came with the data")


def _by_chance(splits: Splits, table: Table) -> Folds:
    lat, lon = table.place if table.place is not None else (None, None)
    return random_folds(
        len(table), splits.n, seed=splits.seed, values=table.target, lat=lat, lon=lon, times=table.time,
        acknowledge_leakage=splits.acknowledge_leakage,
    )  # fmt: skip


_KINDS: dict[str, Callable[[Splits, Table], Folds]] = {
    "time": _by_time, "forward": _by_time, "holdout": _by_holdout, "space": _by_space, "group": _by_group,
    "space-time": _by_space_time, "column": _by_column, "random": _by_chance,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Side of a block and width of the buffer, in km, after the variogram was asked."""

    block_km: float
    buffer_km: float


def resolve_sizes(splits: Splits, table: Table) -> Sizes:
    """Put the range of the data's own variogram where a declaration says ``"variogram"``."""
    wanted = (splits.block_km, splits.buffer_km)
    if "variogram" not in wanted:
        return Sizes(*map(float, wanted))
    lat, lon = _places(table)
    found = measure_variogram(table.target, lat, lon, times=table.time, seed=splits.seed).range_km
    block, buffer = (found if size == "variogram" else float(size) for size in wanted)
    return Sizes(block, buffer)


def _places(table: Table) -> tuple[np.ndarray, np.ndarray]:
    if table.place is None:
        raise ConfigError("data.columns must name lat and lon to split by space, got none")
    return table.place


def square_tiles(lat: np.ndarray, lon: np.ndarray, *, size_km: float) -> np.ndarray:
    """Give each sample the number of its tile, all exactly as large as asked.

    Rows of exactly `size_km` go north from the South Pole; each is cut from the prime meridian eastward into
    tiles that are exactly `size_km` wide along its middle. Only the last row and each row's last tile are
    smaller: nothing is adjusted to come out even.

    Parameters
    ----------
    lat, lon : array, shape (sample,)
        Degrees.
    size_km : float

    Returns
    -------
    ndarray of int, shape (sample,)
    """
    check_positive(size_km=size_km)
    degree = np.pi * EARTH_RADIUS_KM / 180
    row = np.floor((np.asarray(lat) + 90) * degree / size_km).astype(np.int64)
    middle = np.minimum((row + 0.5) * size_km / degree - 90, 90.0)
    along = wrap_longitude(np.asarray(lon)) * degree * np.cos(np.radians(middle))
    column = np.floor(along / size_km).astype(np.int64)
    return np.unique(np.stack([row, column]), axis=1, return_inverse=True)[1].reshape(-1)


def space_folds(
    lat: np.ndarray, lon: np.ndarray, n: int = 5, *, size_km: float, buffer_km: float = 0.0, seed: int = 0
) -> Folds:
    """Split space into blocks of exactly the size asked, dealt out at random, with a buffer round the test.

    Parameters
    ----------
    lat, lon : array, shape (sample,)
        Degrees.
    n : int
    size_km : float
        Side of a block, see `square_tiles`.
    buffer_km : float
        Least great-circle distance of a training from a test sample.
    seed : int

    Raises
    ------
    DataError
        If there are fewer blocks than folds, or the buffer leaves nothing to train on.
    """
    if not (np.isfinite(buffer_km) and buffer_km >= 0):
        raise ConfigError(f"buffer_km must be at least 0, got {buffer_km}")
    dealt = group_folds(square_tiles(lat, lon, size_km=size_km), n, seed=seed)
    points = _unit_vectors(lat, lon)
    folds = tuple(_with_buffer(points, fold, buffer_km) for fold in dealt)
    _check_training(folds, f"blocks of {size_km:.0f} km with a buffer of {buffer_km:.0f} km")
    return Folds(folds, dealt.size, f"blocks of space, {size_km:.0f} km")


def _with_buffer(points: np.ndarray, fold: Fold, buffer_km: float) -> Fold:
    if buffer_km == 0:
        return fold
    chord = 2 * np.sin(min(buffer_km / EARTH_RADIUS_KM, np.pi) / 2)
    nearest, _ = spatial.cKDTree(points[fold.test]).query(points[fold.train])
    far = nearest >= chord
    return Fold(fold.train[far], fold.test, np.sort(np.append(fold.dropped, fold.train[~far])))


def _unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=1)


def space_time_folds(space: Folds, time: Folds) -> Folds:
    """Test each block of space in each block of time, and train on what is far from it in both.

    What shares either the place or the time of the test is dropped, so that neither can be recognised
    (leave-location-and-time-out, Meyer et al. 2018, Environ. Model. Softw. 101).

    Returns
    -------
    Folds
        As many as there are pairs that have test samples.
    """
    if space.size != time.size:
        raise DataError(f"both splits must be of the same samples, got {space.size} and {time.size}")
    folds = []
    for place in space:
        for period in time:
            test = np.intersect1d(place.test, period.test, assume_unique=True)
            if test.size:
                train = np.intersect1d(place.train, period.train, assume_unique=True)
                rest = np.setdiff1d(np.arange(space.size), np.append(train, test), assume_unique=True)
                folds.append(Fold(train, test, rest))
    _check_training(tuple(folds), "blocks of space and time")
    return Folds(tuple(folds), space.size, f"{space.kind}, and {time.kind}")


def _check_training(folds: tuple[Fold, ...], kind: str) -> None:
    for number, fold in enumerate(folds):
        if fold.train.size == 0:
            raise DataError(
                f"fold {number} of {kind} must have training samples, got none",
                hint="try a smaller buffer_km or block_km",
            )
