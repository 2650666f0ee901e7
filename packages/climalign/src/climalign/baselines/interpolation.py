"""Interpolation with monthly means: the cheapest sensible downscaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from climalign.config import Kind
from climalign.data import Fields
from isopleth.errors import DataError

Floats = NDArray[np.float32]
Method = Literal["nearest", "bilinear"]
# A monthly mean below this share of the region's says nothing about how rain differs from it.
_LEAST_SHARE = 1e-3


class Baseline(Protocol):
    """What turns coarse fields into fine ones."""

    def fit(self, coarse: Fields, fine: Fields) -> Baseline:
        """Learn from training fields."""
        ...

    def predict(self, coarse: Fields) -> Floats:
        """Give fine fields, shape (time, lat, lon)."""
        ...


@dataclass(frozen=True, eq=False)
class Normals:
    """Means of each calendar month and cell.

    Attributes
    ----------
    values : array, shape (12, lat, lon)
        NaN where a month or cell had no value.
    """

    values: NDArray[np.float64]

    @classmethod
    def of(cls, fields: Fields) -> Normals:
        """Average training fields; missing values are left out."""
        values = np.full((12, *fields.values.shape[1:]), np.nan)
        for month in np.unique(fields.months):
            chosen = fields.values[fields.months == month]
            known = np.isfinite(chosen)
            count = known.sum(0)
            total = np.where(known, chosen, 0).sum(0, dtype=np.float64)
            values[month] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return cls(values)

    def at(self, fields: Fields) -> NDArray[np.float64]:
        """Give the normal of each day of some fields.

        Raises
        ------
        DataError
            If a month was absent from training.
        """
        found = self.values[fields.months]
        empty = ~np.isfinite(found).any((1, 2))
        if empty.any():
            months = sorted(set((fields.months[empty] + 1).tolist()))
            raise DataError(
                "every calendar month must have been in the training period, got fields of month "
                + ", ".join(map(str, months))
            )
        return found


@dataclass(eq=False)
class Interpolation:
    """Interpolate anomalies from the coarse monthly means, and put them on the fine ones.

    Of temperature the difference is interpolated, of rain the ratio.

    Parameters
    ----------
    kind : {"temperature", "precipitation"}
    factor : int
    method : {"nearest", "bilinear"}
    """

    kind: Kind
    factor: int
    method: Method = "bilinear"

    def fit(self, coarse: Fields, fine: Fields) -> Interpolation:
        """Take monthly means."""
        self.coarse, self.fine = Normals.of(coarse), Normals.of(fine)
        return self

    def predict(self, coarse: Fields) -> Floats:
        """Give fine fields."""
        return spread_anomaly(
            coarse.values, self.coarse.at(coarse), self.fine.at(coarse), self.kind, self.factor, self.method
        )


def spread_anomaly(
    coarse: NDArray, coarse_normal: NDArray, fine_normal: NDArray, kind: Kind, factor: int, method: Method
) -> Floats:
    """Put the interpolated anomaly of coarse fields on fine normals; rain's as a ratio, not below 0."""
    if kind == "temperature":
        return np.asarray(fine_normal + interpolate(coarse - coarse_normal, factor, method), dtype=np.float32)
    floor = _LEAST_SHARE * np.nanmean(coarse_normal)
    ratio = np.clip(coarse, 0, None) / np.maximum(coarse_normal, max(floor, np.finfo(float).tiny))
    return np.asarray(fine_normal * interpolate(ratio, factor, method), dtype=np.float32)


def interpolate(coarse: NDArray, factor: int, method: Method = "bilinear") -> NDArray[np.float64]:
    """Bring fields to cells that divide theirs; beyond the outermost centres the edge's value holds.

    Parameters
    ----------
    coarse : array, shape (..., lat, lon)
    factor : int
    method : {"nearest", "bilinear"}
    """
    if method == "nearest":
        return np.asarray(coarse, dtype=float).repeat(factor, -2).repeat(factor, -1)
    rows, columns = (_weights(size, factor) for size in coarse.shape[-2:])
    return np.asarray(rows @ np.asarray(coarse, dtype=float) @ columns.T)


def _weights(size: int, factor: int) -> NDArray[np.float64]:
    """Give the matrix of linear interpolation from cells to their parts, shape (size * factor, size)."""
    place = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    left = np.minimum(place.astype(int), max(size - 2, 0))
    share = place - left
    matrix = np.zeros((size * factor, size))
    rows = np.arange(size * factor)
    matrix[rows, left] = 1 - share
    if size > 1:
        matrix[rows, left + 1] += share
    return matrix
