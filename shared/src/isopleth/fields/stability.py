"""How alike partitions are, and how steady under other seeds and other data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.fields._cells import OUTSIDE, on_grid
from isopleth.fields.regions import cluster_regions


@dataclass(frozen=True)
class Stability:
    """How alike partitions of different seeds are.

    Attributes
    ----------
    labels : DataArray, dims (seed, lat, lon)
    agreement : DataArray, dims (seed, other)
        Adjusted Rand index of each pair: 1 for the same partition, about 0 for unrelated ones.
    """

    labels: xr.DataArray
    agreement: xr.DataArray

    @property
    def mean(self) -> float:
        """Mean adjusted Rand index over the pairs of different seeds."""
        return float(self._pairs().mean())

    @property
    def worst(self) -> float:
        """Smallest adjusted Rand index of a pair."""
        return float(self._pairs().min())

    def _pairs(self) -> np.ndarray:
        return self.agreement.values[np.triu_indices(self.agreement.sizes["seed"], k=1)]


def region_stability(
    features: xr.DataArray,
    n: int,
    *,
    seeds: Iterable[int] = range(5),
    share: float = 0.5,
    dim: str | None = None,
    **options: Any,
) -> Stability:
    """Cluster several times and compare: regions that differ from seed to seed are not there.

    Parameters
    ----------
    features, n, **options
        As for `cluster_regions`.
    seeds : iterable of int
        At least two.
    share : float
        Share of the steps of `dim` that each seed draws, without putting back; 1 varies the seed alone, which
        tests k-means, not the data.
    dim : str, optional
        The feature dimension to draw from; the first one if not given.

    Returns
    -------
    Stability
    """
    seeds = list(seeds)
    if len(seeds) < 2:
        raise ConfigError(f"seeds must be at least two, got {seeds}")
    if not 0 < share <= 1:
        raise ConfigError(f"share must be in (0, 1], got {share}")
    features, _ = on_grid(features, what="features")
    drawn = [_draw(features, dim, share, seed) for seed in seeds]
    labels = xr.concat(
        [cluster_regions(part, n, seed=seed, **options) for part, seed in zip(drawn, seeds, strict=True)],
        "seed",
        combine_attrs="drop",
    )
    labels = labels.assign_coords(seed=seeds)
    flat = labels.values.reshape(len(seeds), -1)
    agreement = [[adjusted_rand_index(a, b) for b in flat] for a in flat]
    return Stability(
        labels, xr.DataArray(agreement, dims=("seed", "other"), coords={"seed": seeds, "other": seeds})
    )


def adjusted_rand_index(first: Any, second: Any) -> float:
    r"""Compare two partitions, whatever their labels are called.

    .. math:: \frac{\sum_{ij}\binom{n_{ij}}{2} - E}{\frac12 (A + B) - E}, \quad
        A = \sum_i \binom{a_i}{2},\ B = \sum_j \binom{b_j}{2},\ E = A B / \binom{n}{2}

    (Hubert and Arabie, J. Classif. 2, 1985, eq. 5.) Cells outside (label -1) in either are left out.

    Parameters
    ----------
    first, second : array_like of int, same shape

    Returns
    -------
    float
        1 for equal partitions, 0 on average for independent ones.
    """
    first, second = np.asarray(first).ravel(), np.asarray(second).ravel()
    if first.shape != second.shape:
        raise DataError(f"two partitions must have one shape, got {first.shape} and {second.shape}")
    both = (first != OUTSIDE) & (second != OUTSIDE)
    if not both.any():
        raise DataError("two partitions must have a labelled cell in common, got none")
    _, a = np.unique(first[both], return_inverse=True)
    _, b = np.unique(second[both], return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    cells, rows, columns = (_pairs_within(counts) for counts in (table, table.sum(axis=1), table.sum(axis=0)))
    expected = rows * columns / max(_pairs_within(table.sum()), 1)
    most = (rows + columns) / 2
    return 1.0 if most == expected else float((cells - expected) / (most - expected))


def _pairs_within(counts: Any) -> float:
    return float(np.sum(counts * (counts - 1) / 2))


def _draw(features: xr.DataArray, dim: str | None, share: float, seed: int) -> xr.DataArray:
    if share == 1:
        return features
    dim = dim or next((str(name) for name in features.dims if name not in ("lat", "lon")), None)
    if dim not in features.dims:
        raise DataError(
            f"features must have a dimension to draw from, got {features.dims}", hint="pass share=1"
        )
    count = max(1, round(share * features.sizes[dim]))
    drawn = np.random.default_rng(seed).choice(features.sizes[dim], count, replace=False)
    return features.isel({dim: np.sort(drawn)})
