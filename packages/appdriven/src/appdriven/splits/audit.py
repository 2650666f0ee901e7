"""The audit of a split: distances, duplicates, statistics that saw the test, windows that overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import spatial

from appdriven.table import Table, hash_rows
from isopleth.config import to_dict
from isopleth.errors import DataError
from isopleth.fields import Audit, Fold, audit
from isopleth.fields.times import TICKS_PER_DAY, duration_ticks, ticks
from isopleth.grid import EARTH_RADIUS_KM

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class SplitAudit:
    """What stands between training and test.

    Attributes
    ----------
    kind : str
    folds, train, test, dropped : int
        Folds, and samples summed over them.
    distance_km, gap_days : mapping, optional
        Quantiles over test samples of the distance in space, and in time, to the nearest training sample.
    duplicates : tuple of (int, int, int)
        Fold, test row, and how many training rows are equal to it; at most twenty.
    duplicate_count : int
    shared_groups : int, optional
        Groups on both sides, summed over folds.
    groups_are_whole : bool
        Whether that is a leak: not where sites are forecast that were there before.
    checked_statistics, leaking_statistics : tuple of str
        Features whose scaling was looked at, and those where it was fitted on the test as well.
    overlapping : int, optional
        Test samples whose window overlaps one in training.
    """

    kind: str
    folds: int
    train: int
    test: int
    dropped: int
    distance_km: Mapping[str, float] | None = None
    gap_days: Mapping[str, float] | None = None
    duplicates: tuple[tuple[int, int, int], ...] = ()
    duplicate_count: int = 0
    shared_groups: int | None = None
    groups_are_whole: bool = True
    checked_statistics: tuple[str, ...] = ()
    leaking_statistics: tuple[str, ...] = ()
    overlapping: int | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What leaks, in words; empty where nothing was found."""
        found = []
        if self.duplicate_count:
            found.append(f"{self.duplicate_count} test samples also stand in training")
        if self.shared_groups and self.groups_are_whole:
            found.append(f"{self.shared_groups} groups stand on both sides")
        if self.leaking_statistics:
            found.append(
                f"the statistics of {', '.join(self.leaking_statistics)} were fitted on the test as well"
            )
        if self.overlapping:
            found.append(f"{self.overlapping} test windows overlap windows in training")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold, with the problems in words."""
        return {**to_dict(self), "problems": list(self.problems)}


def audit_splits(
    folds: Iterable[Fold],
    table: Table,
    *,
    kind: str = "",
    window: Any = None,
    statistics: Mapping[str, Mapping[str, float]] | None = None,
    groups_are_whole: bool = True,
) -> SplitAudit:
    """Measure what stands between training and test, and look for what leaks.

    Parameters
    ----------
    folds : iterable of Fold
    table : Table
    kind : str
        How the split was made, for the record.
    window : duration or number, optional
        What a sample covers from its time on, such as the lead of a forecast (``"24h"``): samples of one
        group, or of one place, closer than that share truth.
    statistics : mapping of str to {"mean", "std"}, optional
        By which features were scaled.
    groups_are_whole : bool
        Whether a group on both sides is a leak; a split by time keeps the sites that it forecasts for.

    Raises
    ------
    DataError
        If a fold overlaps itself or is empty on a side.
    """
    folds = list(folds)
    audit(folds)  # refuses folds that are none
    repeated = [found for number, fold in enumerate(folds) for found in find_duplicates(table, fold, number)]
    return SplitAudit(
        kind=kind,
        folds=len(folds),
        train=sum(fold.train.size for fold in folds),
        test=sum(fold.test.size for fold in folds),
        dropped=sum(fold.dropped.size for fold in folds),
        distance_km=measure_distances(folds, table),
        gap_days=measure_gaps(folds, table),
        duplicates=tuple(repeated[:20]),
        duplicate_count=len(repeated),
        shared_groups=_count_shared(folds, table),
        groups_are_whole=groups_are_whole,
        checked_statistics=tuple(statistics or {}),
        leaking_statistics=tuple(
            dict.fromkeys(
                name for fold in folds for name in find_fitted_statistics(table, fold, statistics or {})
            )
        ),
        overlapping=None if window is None else sum(_count_overlaps(fold, table, window) for fold in folds),
    )


def prove_distance(
    folds: Iterable[Fold], table: Table, *, min_km: float | None = None, min_gap: Any = None
) -> Audit:
    """Measure folds by the core's audit, which refuses those that are closer than asked."""
    lat, lon = table.place if table.place is not None else (None, None)
    return audit(folds, lat=lat, lon=lon, times=table.time, min_km=min_km, min_gap=min_gap)


def find_duplicates(table: Table, fold: Fold, number: int = 0) -> list[tuple[int, int, int]]:
    """Find test samples whose target and features all stand in training too, by hashes of the rows.

    Returns
    -------
    list of (int, int, int)
        The fold's number, the row of the test sample, and how many training rows are equal to it.
    """
    columns = table.columns
    names = [columns.target, *columns.features]
    if not columns.features:
        names += [name for name in (columns.time, columns.lat, columns.lon, columns.group) if name]
    hashes = hash_rows(table.frame[list(dict.fromkeys(names))])
    values, counts = np.unique(hashes[fold.train], return_counts=True)
    place = np.minimum(np.searchsorted(values, hashes[fold.test]), values.size - 1)
    equal = np.flatnonzero(values[place] == hashes[fold.test])
    return [(number, int(fold.test[row]), int(counts[place[row]])) for row in equal]


def find_fitted_statistics(
    table: Table, fold: Fold, statistics: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Find features whose mean and deviation are those of training and test together, not of training alone.

    Parameters
    ----------
    statistics : mapping of str to {"mean", "std"}
        Of each feature, as it was scaled.

    Returns
    -------
    list of str
        Features that are ten times nearer to the statistics of both sides together.
    """
    leaking = []
    both = np.concatenate([fold.train, fold.test])
    for name, given in statistics.items():
        values = table.numbers(name)
        if unknown := {"mean", "std"} - set(given):
            raise DataError(
                f"statistics must have mean and std, got none for {', '.join(sorted(unknown))}", where=name
            )
        honest, leaky = (_misfit(values[rows], given) for rows in (fold.train, both))
        if leaky < 0.1 * honest:
            leaking.append(name)
    return leaking


def _misfit(values: np.ndarray, given: Mapping[str, float]) -> float:
    spread = float(np.nanstd(values)) or 1.0
    return abs(float(np.nanmean(values)) - given["mean"]) / spread + abs(1 - given["std"] / spread)


def measure_distances(folds: list[Fold], table: Table) -> dict[str, float] | None:
    """Return quantiles of test samples' distance to the nearest training sample, km; None without places."""
    if table.place is None:
        return None
    phi, lam = np.radians(table.place)
    points = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=1)
    chords = [spatial.cKDTree(points[fold.train]).query(points[fold.test])[0] for fold in folds]
    return _quantiles(2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(np.concatenate(chords) / 2, 1)))


def measure_gaps(folds: list[Fold], table: Table) -> dict[str, float] | None:
    """Return quantiles of test samples' time to the nearest training sample, days; None without times."""
    if table.time is None:
        return None
    axis = ticks(table.time)
    gaps = np.concatenate([nearest_gaps(np.sort(axis[fold.train]), axis[fold.test]) for fold in folds])
    return _quantiles(gaps / TICKS_PER_DAY if axis.dtype.kind == "i" else gaps)


def nearest_gaps(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return how far each value is from the nearest of ordered ones."""
    after = np.searchsorted(ordered, values)
    before, next_ = np.maximum(after - 1, 0), np.minimum(after, ordered.size - 1)
    return np.minimum(np.abs(values - ordered[before]), np.abs(ordered[next_] - values))


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {
        f"q{100 * q:02.0f}": float(value)
        for q, value in zip(_QUANTILES, np.quantile(values, _QUANTILES), strict=True)
    }


def _count_shared(folds: list[Fold], table: Table) -> int | None:
    if table.group is None:
        return None
    return sum(np.intersect1d(table.group[fold.train], table.group[fold.test]).size for fold in folds)


def _count_overlaps(fold: Fold, table: Table, window: Any) -> int:
    """Count test samples within a window's length of a training sample of their own group or place."""
    if table.time is None:
        raise DataError("windows must have times to overlap in, got none")
    axis = ticks(table.time)
    length = duration_ticks(window, axis, name="window")
    own = _series_of(table)
    span = float(np.ptp(axis)) + 2 * length + 1
    line = own * span + (axis - axis.min())  # one line for all series, farther apart than any window
    return int((nearest_gaps(np.sort(line[fold.train]), line[fold.test]) < length).sum())


def _series_of(table: Table) -> np.ndarray:
    if table.group is not None:
        return np.unique(table.group, return_inverse=True)[1].astype(np.float64)
    if table.place is not None:
        return np.unique(np.stack(table.place), axis=1, return_inverse=True)[1].reshape(-1).astype(np.float64)
    return np.zeros(len(table))
