"""Splits by time, space, group, and space with time: the core's folds, from a declaration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from appdriven.application import Splits
from appdriven.splits.variogram import measure_variogram
from appdriven.table import Table
from isopleth.errors import ConfigError, DataError
from isopleth.fields import Fold, Folds, block_folds, group_folds, holdout, random_folds, time_folds


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
        Side of a block, exactly; see `isopleth.fields.tile_labels`.
    buffer_km : float
        Least great-circle distance of a training from a test sample.
    seed : int

    Raises
    ------
    DataError
        If there are fewer blocks than folds, or the buffer leaves nothing to train on.
    """
    found = block_folds(lat, lon, n, buffer_km=buffer_km, size_km=size_km, exact=True, seed=seed)
    return Folds(found.folds, found.size, f"blocks of space, {size_km:.0f} km")


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
