"""How alike neighbours in time and space are: what tells whether samples can be split at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse, spatial

from isopleth.errors import ConfigError, DataError
from isopleth.fields._points import as_points, unit_vectors
from isopleth.fields.times import ticks

# Refused: a correlation of neighbours above this and more than this many standard errors from chance.
_WEAK = 0.1
_Z = 3.0


@dataclass(frozen=True)
class Autocorrelation:
    """A correlation of neighbours, what chance would give, and how many standard errors lie between them."""

    statistic: float
    expected: float
    z: float

    @property
    def is_present(self) -> bool:
        """Whether it is both above 0.1 and three standard errors above chance."""
        return self.statistic > _WEAK and self.z > _Z


def morans_i(values: Any, lat: Any, lon: Any, *, neighbours: int = 8) -> Autocorrelation:
    r"""Measure spatial autocorrelation over the nearest neighbours on the sphere.

    .. math:: I = \frac{n}{\sum_{ij} w_{ij}} \frac{\sum_{ij} w_{ij} z_i z_j}{\sum_i z_i^2},
        \qquad E[I] = -\frac{1}{n - 1}

    with w_ij = 1 where j is among the k nearest of i; the variance is that under normality (Cliff and Ord,
    Spatial Processes, 1981).

    Parameters
    ----------
    values : array_like, shape (samples,)
        Samples with NaN are left out.
    lat, lon : array_like, shape (samples,)
        Degrees.
    neighbours : int
        k, at most the samples less one.

    Returns
    -------
    Autocorrelation
        0 with z = 0 for a constant.

    Raises
    ------
    DataError
        If fewer than four samples are left, or the shapes differ.
    """
    lat, lon = as_points(lat, lon)
    values, known = _known(values, lat.shape)
    vectors, count = unit_vectors(lat[known], lon[known]), int(known.sum())
    weights = _nearest(vectors, min(neighbours, count - 1))
    anomaly = values - values.mean()
    expected = -1 / (count - 1)
    power = float(anomaly @ anomaly)
    if power <= 1e-24 * float(values @ values):
        return Autocorrelation(0.0, expected, 0.0)
    statistic = count / weights.sum() * float(anomaly @ (weights @ anomaly)) / power
    return Autocorrelation(statistic, expected, (statistic - expected) / np.sqrt(_moran_variance(weights)))


def lag_one(values: Any, times: Any) -> Autocorrelation:
    r"""Measure the correlation of each value with the next in time, :math:`z = r_1 \sqrt n`.

    Values at equal times are averaged first; those with NaN are left out.
    """
    axis = ticks(times)
    values, known = _known(values, axis.shape)
    _, stamp = np.unique(axis[known], return_inverse=True)
    series = np.bincount(stamp, weights=values) / np.bincount(stamp)
    if series.size < 4:
        raise DataError(f"autocorrelation must have at least 4 distinct times, got {series.size}")
    anomaly = series - series.mean()
    power = float(anomaly @ anomaly)
    if power <= 1e-24 * float(series @ series):
        return Autocorrelation(0.0, -1 / series.size, 0.0)
    r1 = float(anomaly[1:] @ anomaly[:-1]) / power
    return Autocorrelation(r1, -1 / series.size, (r1 + 1 / series.size) * np.sqrt(series.size))


def refuse_autocorrelated(values: Any, size: int, *, lat: Any, lon: Any, times: Any) -> None:
    """Raise unless the values are shown not to be autocorrelated over the coordinates given."""
    hint = "split by time_folds, block_folds or group_folds, or say acknowledge_leakage=True"
    has_place = lat is not None and lon is not None
    if values is None or not (has_place or times is not None):
        raise ConfigError(
            "random folds must be given values with lat and lon, or times, to show that they do not leak",
            hint=hint,
        )
    if np.shape(values) != (size,):
        raise DataError(f"values must be one a sample, shape ({size},), got {np.shape(values)}")
    found = {}
    if has_place:
        found["Moran's I over space"] = morans_i(values, lat, lon)
    if times is not None:
        found["lag-1 correlation in time"] = lag_one(values, times)
    for name, measure in found.items():
        if measure.is_present:
            raise DataError(
                f"samples must be independent to be split at random, got {name} of {measure.statistic:.2f} "
                f"({measure.z:.0f} standard errors above chance)",
                hint=hint,
            )


def _known(values: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.shape != shape:
        raise DataError(f"values must be 1-D and as many as their coordinates {shape}, got {values.shape}")
    if np.isinf(values).any():
        raise DataError("values must be finite or NaN, got an infinite one")
    known = np.isfinite(values)
    if known.sum() < 4:
        raise DataError(f"autocorrelation must have at least 4 samples, got {known.sum()}")
    return values[known], known


def _nearest(vectors: np.ndarray, neighbours: int) -> sparse.csr_array:
    """Return 1 where column j is among the nearest neighbours of row i."""
    count = len(vectors)
    nearest = np.asarray(spatial.cKDTree(vectors).query(vectors, k=neighbours + 1)[1])
    itself = nearest == np.arange(count)[:, None]
    # Of many samples at one place a sample need not find itself first, or at all.
    itself[~itself.any(axis=1), -1] = True
    columns = nearest[~itself]
    rows = np.repeat(np.arange(count), neighbours)
    return sparse.csr_array((np.ones(columns.size), (rows, columns)), shape=(count, count))


def _moran_variance(weights: sparse.csr_array) -> float:
    n, total = weights.shape[0], weights.sum()
    both = weights + weights.T
    s1 = 0.5 * float(both.multiply(both).sum())
    s2 = float(((weights.sum(axis=0) + weights.sum(axis=1)) ** 2).sum())
    return (n**2 * s1 - n * s2 + 3 * total**2) / ((n**2 - 1) * total**2) - 1 / (n - 1) ** 2
