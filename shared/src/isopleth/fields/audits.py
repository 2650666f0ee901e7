"""Proof of a split: how far training and test samples are apart in space, in time, and by group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import spatial

from isopleth.errors import ConfigError, DataError
from isopleth.fields._points import arc_km, as_points, unit_vectors
from isopleth.fields.folds import Fold
from isopleth.fields.times import TICKS_PER_DAY, describe_gap, duration_ticks, ticks


@dataclass(frozen=True)
class FoldAudit:
    """What was measured of one fold; None where the coordinates for it were not given.

    Attributes
    ----------
    train, test, dropped : int
        Numbers of samples.
    min_km, median_km : float
        Great-circle distance of a test sample to the nearest training sample: the least, and the median.
    min_gap : float
        Least distance in time of a test from a training sample: days, or the unit of numeric times.
    shared_groups : int
        Groups with samples on both sides.
    duplicates : int
        Test samples whose row of `samples` also stands in training.
    """

    train: int
    test: int
    dropped: int
    min_km: float | None = None
    median_km: float | None = None
    min_gap: float | None = None
    shared_groups: int | None = None
    duplicates: int | None = None


@dataclass(frozen=True)
class Audit:
    """The audits of all folds."""

    folds: tuple[FoldAudit, ...]

    def least(self, name: str) -> float | None:
        """Return the smallest value of an attribute over the folds, None where it was not measured."""
        found = [value for fold in self.folds if (value := getattr(fold, name)) is not None]
        return min(found) if found else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {"folds": [asdict(fold) for fold in self.folds]}


def audit(
    folds: Iterable[Fold],
    *,
    lat: Any = None,
    lon: Any = None,
    times: Any = None,
    groups: Any = None,
    samples: Any = None,
    min_km: float | None = None,
    min_gap: Any = None,
) -> Audit:
    """Measure the distance between training and test, and refuse folds that are closer than asked.

    Parameters
    ----------
    folds : iterable of Fold
        From any function of `isopleth.fields.folds`, or made by hand.
    lat, lon : array_like, shape (samples,), optional
        Degrees; `min_km` and `median_km` are measured.
    times : array_like, shape (samples,), optional
        datetime64, cftime or numbers; `min_gap` is measured.
    groups : array_like, shape (samples,), optional
        No group may have samples on both sides.
    samples : array_like, shape (samples, features), optional
        No row may stand on both sides.
    min_km : float, optional
        Least distance asked for.
    min_gap : duration or number, optional
        Least gap asked for; as the embargo of `time_folds`.

    Returns
    -------
    Audit

    Raises
    ------
    ConfigError
        If a distance is asked for without the coordinates to measure it by.
    DataError
        If a fold overlaps itself, is empty on a side, or is closer than asked; it names the fold and both
        values.
    """
    meter = _Meter(lat, lon, times, groups, samples, min_km, min_gap)
    audits = tuple(meter.measure(number, fold) for number, fold in enumerate(folds))
    if not audits:
        raise DataError("folds must be at least one, got none")
    return Audit(audits)


class _Meter:
    """Holds the coordinates of the samples and measures folds by them."""

    def __init__(
        self, lat: Any, lon: Any, times: Any, groups: Any, samples: Any, min_km: float | None, min_gap: Any
    ) -> None:
        if (lat is None) != (lon is None):
            raise ConfigError("lat and lon must be given together, got one of them")
        if min_km is not None and lat is None:
            raise ConfigError("min_km must come with lat and lon, got neither")
        if min_gap is not None and times is None:
            raise ConfigError("min_gap must come with times, got none")
        self.vectors = None if lat is None else unit_vectors(*as_points(lat, lon))
        self.axis = None if times is None else ticks(times)
        self.groups = None if groups is None else np.asarray(groups)
        self.rows = None if samples is None else _row_codes(samples)
        self.min_km = min_km
        self.gap = (
            None
            if min_gap is None or self.axis is None
            else duration_ticks(min_gap, self.axis, name="min_gap")
        )
        sizes = {len(a) for a in (self.vectors, self.axis, self.groups, self.rows) if a is not None}
        if len(sizes) > 1:
            raise DataError(f"coordinates must be of one length, got {sorted(sizes)}")
        self.size = sizes.pop() if sizes else None

    def measure(self, number: int, fold: Fold) -> FoldAudit:
        """Measure one fold; raise if it is closer than asked."""
        where = f"fold {number}"
        self._check_indices(fold, where)
        km = self._distances(fold)
        found = FoldAudit(
            train=fold.train.size,
            test=fold.test.size,
            dropped=fold.dropped.size,
            min_km=None if km is None else float(km.min()),
            median_km=None if km is None else float(np.median(km)),
            min_gap=self._gap(fold, where),
            shared_groups=_shared(self.groups, fold),
            duplicates=_shared(self.rows, fold, count_samples=True),
        )
        self._judge(found, where)
        return found

    def _check_indices(self, fold: Fold, where: str) -> None:
        parts = np.concatenate([fold.train, fold.test, fold.dropped])
        if fold.train.size == 0 or fold.test.size == 0:
            raise DataError(
                f"a fold must have samples on both sides, got {fold.train.size} and {fold.test.size}",
                where=where,
            )
        if np.unique(parts).size != parts.size:
            raise DataError(
                "train, test and dropped must be disjoint, got a sample in two of them", where=where
            )
        if parts.min() < 0 or (self.size is not None and parts.max() >= self.size):
            raise DataError(
                f"positions must lie in [0, {self.size}), got {parts.min()} to {parts.max()}", where=where
            )

    def _distances(self, fold: Fold) -> np.ndarray | None:
        if self.vectors is None:
            return None
        tree = spatial.cKDTree(self.vectors[fold.train])
        return arc_km(np.asarray(tree.query(self.vectors[fold.test])[0]))

    def _gap(self, fold: Fold, where: str) -> float | None:
        if self.axis is None:
            return None
        train = np.sort(self.axis[fold.train])
        test = self.axis[fold.test]
        after = np.searchsorted(train, test)
        gaps = np.minimum(
            np.abs(test - train[np.maximum(after - 1, 0)]),
            np.abs(train[np.minimum(after, train.size - 1)] - test),
        )
        least = float(gaps.min())
        if self.gap is not None and least < self.gap:
            asked, got = describe_gap(self.gap, self.axis), describe_gap(least, self.axis)
            raise DataError(f"train and test must be {asked} apart, got {got}", where=where)
        return least / TICKS_PER_DAY if self.axis.dtype.kind == "i" else least

    def _judge(self, found: FoldAudit, where: str) -> None:
        # Distances by chords are good to a millimetre.
        if self.min_km is not None and found.min_km is not None and found.min_km < self.min_km - 1e-6:
            raise DataError(
                f"train and test must be {self.min_km:g} km apart, got {found.min_km:.6g} km", where=where
            )
        if found.shared_groups:
            raise DataError(f"groups must be on one side, got {found.shared_groups} on both", where=where)
        if found.duplicates:
            raise DataError(
                f"test samples must not stand in training, got {found.duplicates} that do", where=where
            )


def _shared(codes: np.ndarray | None, fold: Fold, *, count_samples: bool = False) -> int | None:
    if codes is None:
        return None
    both = np.isin(codes[fold.test], codes[fold.train])
    return int(both.sum()) if count_samples else np.unique(codes[fold.test][both]).size


def _row_codes(samples: Any) -> np.ndarray:
    table = np.asarray(samples)
    if table.ndim not in (1, 2) or table.shape[0] == 0:
        raise DataError(f"samples must be rows of features, got shape {table.shape}")
    return np.unique(table.reshape(len(table), -1), axis=0, return_inverse=True)[1].reshape(-1)
