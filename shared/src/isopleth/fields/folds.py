"""Splits into training and test samples that do not leak.

Neighbours in time and space share their weather, so that a test sample next to a training sample is not new.
Every split here keeps a stated distance, drops what lies in it, and can be proven by `isopleth.fields.audit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import spatial

from isopleth.config import check_positive
from isopleth.errors import ConfigError, DataError
from isopleth.fields._points import as_points, chord, unit_vectors
from isopleth.fields.autocorrelation import refuse_autocorrelated
from isopleth.fields.groups import group_codes
from isopleth.fields.times import duration_ticks, ticks
from isopleth.grid import EARTH_RADIUS_KM, wrap_longitude


@dataclass(frozen=True, eq=False)
class Fold:
    """One split: positions of the samples, each in exactly one of the three arrays, ascending."""

    train: np.ndarray
    test: np.ndarray
    dropped: np.ndarray


@dataclass(frozen=True, eq=False)
class Folds:
    """Several splits of the same samples, and a scikit-learn splitter: ``cross_val_score(..., cv=folds)``.

    Attributes
    ----------
    folds : tuple of Fold
    size : int
        Number of samples.
    kind : str
        How they were made, for reports.
    """

    folds: tuple[Fold, ...]
    size: int
    kind: str

    def __len__(self) -> int:
        return len(self.folds)

    def __getitem__(self, index: int) -> Fold:
        return self.folds[index]

    def __iter__(self) -> Iterator[Fold]:
        return iter(self.folds)

    def split(  # scikit-learn hands y and groups to every splitter
        self,
        X: Any = None,
        y: Any = None,  # noqa: ARG002
        groups: Any = None,  # noqa: ARG002
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (train, test) of each fold, as scikit-learn does; `X` is only checked for its length."""
        length = self.size if X is None else np.shape(X)[0]
        if length != self.size:
            raise DataError(f"X must have the {self.size} samples that the folds were made of, got {length}")
        for fold in self.folds:
            yield fold.train, fold.test

    def get_n_splits(self, *_: Any, **__: Any) -> int:
        """Return the number of folds."""
        return len(self.folds)


def time_folds(
    times: Any, n: int = 5, *, embargo: Any, forward: bool = False, train_window: Any = None
) -> Folds:
    """Split time into blocks, with an embargo on both sides of the one that is tested.

    Parameters
    ----------
    times : array_like, shape (samples,)
        datetime64, cftime or numbers, in any order; equal stamps stay together.
    n : int
        Number of folds, with as equal numbers of stamps as there can be.
    embargo : duration or number
        Least distance in time of a training from a test sample: ``"30D"``, a timedelta, or a number where the
        times are numbers. Samples that cover a window (30-year trends, say) need at least the window's
        length; 0 only says that the question was thought of.
    forward : bool
        Train on the past alone: time is cut into n + 1 blocks, and fold i tests block i + 1 on what came
        before it.
    train_window : duration or number, optional
        With `forward`, how far back training reaches from the test block (rolling origin).

    Returns
    -------
    Folds
        Each sample is tested once; with `forward` those of the first block never are.

    Raises
    ------
    DataError
        If there are fewer distinct stamps than blocks, or a fold has nothing left to train on.
    """
    _check_count(n)
    axis = ticks(times)
    gap = duration_ticks(embargo, axis, name="embargo")
    reach = np.inf if train_window is None else duration_ticks(train_window, axis, name="train_window")
    if train_window is not None and not forward:
        raise ConfigError("train_window must come with forward=True, got forward=False")
    stamps, stamp = np.unique(axis, return_inverse=True)
    blocks = n + 1 if forward else n
    if len(stamps) < blocks:
        raise DataError(f"times must have at least {blocks} distinct stamps, got {len(stamps)}")
    block = (np.arange(len(stamps)) * blocks // len(stamps))[stamp]
    folds = []
    for number in range(1, blocks) if forward else range(blocks):
        test = block == number
        first, last = axis[test].min(), axis[test].max()
        before = (axis < first) & (first - axis >= gap) & (first - axis <= reach)
        after = (axis > last) & (axis - last >= gap) & (not forward)
        folds.append(_fold(before | after, test))
    return _checked(folds, axis.size, "forward in time" if forward else "blocks of time", "a shorter embargo")


def holdout(times: Any, start: Any, *, embargo: Any) -> Folds:
    """Split once: test from `start` on, train on what ends an embargo earlier.

    Parameters
    ----------
    times : array_like, shape (samples,)
        As for `time_folds`; storm seasons as numbers will do.
    start : datetime64, cftime, str or number
        First time that is tested, in the kind of `times`.
    embargo : duration or number
        As for `time_folds`.
    """
    values = np.asarray(times)
    start = np.datetime64(start) if values.dtype.kind == "M" else start
    axis = ticks(np.concatenate([values, [start]]))
    axis, first = axis[:-1], axis[-1]
    gap = duration_ticks(embargo, axis, name="embargo")
    fold = _fold((axis < first) & (first - axis >= gap), axis >= first)
    return _checked([fold], axis.size, "held-out end", "another start")


def block_folds(
    lat: Any,
    lon: Any,
    n: int = 5,
    *,
    buffer_km: float,
    size_km: float = 2000.0,
    layout: Literal["tiles", "sectors"] = "tiles",
    exact: bool = False,
    seed: int = 0,
) -> Folds:
    """Split space into blocks, with a buffer round those that are tested.

    Parameters
    ----------
    lat, lon : array_like, shape (samples,)
        Degrees; any convention of longitude.
    n : int
        Number of folds.
    buffer_km : float
        Least great-circle distance of a training from a test sample. No less than the distance over which the
        fields are alike; 0 leaves neighbours on both sides of every border.
    size_km : float
        About the side of a tile. Tiles stand in rows round the globe, each row in equal parts.
    layout : {"tiles", "sectors"}
        Tiles are dealt out to the folds at random, evenly by samples. Sectors of longitude, one a fold, are
        the harder test: each is far from most of the training.
    exact : bool
        Whether tiles are of exactly this size, and what is left over at the ends is smaller; see
        `tile_labels`.
    seed : int
        Of the dealing.

    Returns
    -------
    Folds
        Each sample is tested once.

    Raises
    ------
    ConfigError
        If a size is not positive or the buffer negative.
    DataError
        If there are fewer blocks with samples than folds, or a buffer leaves nothing to train on.
    """
    _check_count(n)
    if not (np.isfinite(buffer_km) and buffer_km >= 0 and np.isfinite(size_km) and size_km > 0):
        raise ConfigError(f"buffer_km must be at least 0 and size_km positive, got {buffer_km} and {size_km}")
    lat, lon = as_points(lat, lon)
    if layout == "tiles":
        part = _deal(tile_labels(lat, lon, size_km=size_km, exact=exact), n, seed, "size_km")
    elif layout == "sectors":
        part = (wrap_longitude(lon) / 360.0 * n).astype(np.intp) % n
    else:
        raise ConfigError(f"layout must be 'tiles' or 'sectors', got {layout!r}")
    vectors = unit_vectors(lat, lon)
    folds = [_buffered(vectors, part == number, chord(buffer_km)) for number in range(n)]
    return _checked(folds, lat.size, f"{layout} of space", "smaller buffer_km or size_km")


def tile_labels(lat: Any, lon: Any, *, size_km: float = 2000.0, exact: bool = False) -> np.ndarray:
    """Return the number of the tile of `block_folds` that each sample lies in, to resample or to sum up by.

    Parameters
    ----------
    lat, lon : array_like, shape (samples,)
        Degrees; any convention of longitude.
    size_km : float
        Side of a tile.
    exact : bool
        False makes rows, and the tiles of a row, come out even, so that a side is about `size_km`. True
        makes rows of exactly `size_km` from the South Pole on, cut from the prime meridian eastward into
        tiles that are exactly as wide along their row's middle; the last row, and each row's last tile, are
        what is left over.

    Returns
    -------
    array of int, shape (samples,)
        Equal within a tile; not every number need occur.
    """
    check_positive(size_km=size_km)
    lat, lon = as_points(lat, lon)
    return _exact_tiles(lat, lon, size_km) if exact else _tiles(lat, lon, size_km)


def group_folds(groups: Any, n: int = 5, *, seed: int = 0) -> Folds:
    """Split by group: a storm, a season, a species is tested whole or not at all.

    Parameters
    ----------
    groups : array_like, shape (samples,)
        Anything that can be sorted. Groups that belong together are merged first by `link_groups`.
    n : int
        Number of folds, as even in samples as the groups allow.
    seed : int
        Of the order in which groups of one size are dealt out.

    Returns
    -------
    Folds
        Each sample is tested once; none is dropped.
    """
    _check_count(n)
    group = group_codes(groups)
    part = _deal(group, n, seed, "groups")
    folds = [_fold(part != number, part == number) for number in range(n)]
    return _checked(folds, group.size, "groups", "other groups")


def random_folds(
    size: int,
    n: int = 5,
    *,
    seed: int = 0,
    values: Any = None,
    lat: Any = None,
    lon: Any = None,
    times: Any = None,
    acknowledge_leakage: bool = False,
) -> Folds:
    """Split at random, where samples are independent or the leak is wanted, to show its size.

    Parameters
    ----------
    size : int
        Number of samples.
    n, seed : int
    values : array_like, shape (samples,), optional
        The target; its autocorrelation is tested along `times` (lag 1) and over `lat` and `lon` (Moran's I).
    lat, lon, times : array_like, shape (samples,), optional
    acknowledge_leakage : bool
        Whether to split without that test.

    Returns
    -------
    Folds

    Raises
    ------
    ConfigError
        If the leak is not acknowledged and there is nothing to test its absence by.
    DataError
        If the values are autocorrelated.
    """
    _check_count(n)
    if size < n:
        raise DataError(f"samples must be at least the {n} folds, got {size}")
    if not acknowledge_leakage:
        refuse_autocorrelated(values, size, lat=lat, lon=lon, times=times)
    part = np.random.default_rng(seed).permutation(np.arange(size) % n)
    return _checked([_fold(part != i, part == i) for i in range(n)], size, "random", "fewer folds")


def make_folds(kind: str, *args: Any, **options: Any) -> Folds:
    """Make folds by the name of their kind, as a config has it.

    Parameters
    ----------
    kind : {"time", "holdout", "block", "group", "random"}
        Which function of this module; the other arguments are that function's.
    """
    if kind not in _KINDS:
        raise ConfigError(f"kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    return _KINDS[kind](*args, **options)


_KINDS: dict[str, Callable[..., Folds]] = {
    "time": time_folds,
    "holdout": holdout,
    "block": block_folds,
    "group": group_folds,
    "random": random_folds,
}


def _check_count(n: int) -> None:
    if n < 2:
        raise ConfigError(f"n must be at least 2 folds, got {n}", hint="holdout() splits once")


def _fold(train: np.ndarray, test: np.ndarray) -> Fold:
    return Fold(np.flatnonzero(train), np.flatnonzero(test), np.flatnonzero(~(train | test)))


def _checked(folds: list[Fold], size: int, kind: str, remedy: str) -> Folds:
    for number, fold in enumerate(folds):
        for name in ("train", "test"):
            if getattr(fold, name).size == 0:
                raise DataError(
                    f"fold {number} of {kind} must have {name} samples, got none of {size}",
                    hint=f"try {remedy}",
                )
    return Folds(tuple(folds), size, kind)


def _deal(group: np.ndarray, n: int, seed: int, name: str) -> np.ndarray:
    """Deal whole groups out to n parts, the largest first, each to the part that has fewest samples."""
    sizes = np.bincount(group)
    present = np.flatnonzero(sizes)
    if len(present) < n:
        raise DataError(f"groups must be at least the {n} folds, got {len(present)}", where=name)
    shuffled = np.random.default_rng(seed).permutation(present)
    part, load = np.empty(len(sizes), dtype=np.intp), np.zeros(n, dtype=np.int64)
    for code in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        part[code] = load.argmin()
        load[part[code]] += sizes[code]
    return part[group]


def _tiles(lat: np.ndarray, lon: np.ndarray, size_km: float) -> np.ndarray:
    """Return the number of each point's tile: rows of equal height, cut into equal parts round the globe."""
    rows = max(1, round(np.pi * EARTH_RADIUS_KM / size_km))
    row = np.minimum((lat + 90) / 180 * rows, rows - 1).astype(np.intp)
    centre = np.radians(-90 + (np.arange(rows) + 0.5) * 180 / rows)
    parts = np.maximum(1, np.rint(2 * np.pi * EARTH_RADIUS_KM * np.cos(centre) / size_km)).astype(np.intp)
    column = (wrap_longitude(lon) / 360 * parts[row]).astype(np.intp) % parts[row]
    return (np.cumsum(parts) - parts)[row] + column


def _exact_tiles(lat: np.ndarray, lon: np.ndarray, size_km: float) -> np.ndarray:
    """Return the number of each point's tile: rows and tiles of one size, the last ones smaller."""
    degree = np.pi * EARTH_RADIUS_KM / 180
    row = np.floor((lat + 90) * degree / size_km)
    middle = np.minimum((row + 0.5) * size_km / degree - 90, 90.0)
    column = np.floor(wrap_longitude(lon) * degree * np.cos(np.radians(middle)) / size_km)
    return np.unique(np.stack([row, column]), axis=1, return_inverse=True)[1].reshape(-1)


def _buffered(vectors: np.ndarray, test: np.ndarray, distance: float) -> Fold:
    if not test.any() or test.all():
        return _fold(~test, test)
    nearest, _ = spatial.cKDTree(vectors[test]).query(vectors)
    return _fold(~test & (nearest >= distance), test)
