"""Partitions of a grid into regions, how steady they are, and the seams between them.

A partition that was computed from what a model is tested on has seen the answer. Nothing here can know which
years those are: pass the training years only, or fields of a model instead of the observations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError, require
from isopleth.fields._cells import neighbour_pairs, on_grid
from isopleth.fields._graph import connect, embed, feature_graph, grid_graph, merge_fragments
from isopleth.grid import Grid, longitude_difference, wrap_longitude

OUTSIDE = -1


def single_region(mask: xr.DataArray) -> xr.DataArray:
    """Put every cell where `mask` is true into one region, 0: the partition that partitions nothing.

    Parameters
    ----------
    mask : DataArray of bool, dims (lat, lon)
        As from ``field.notnull()``.

    Returns
    -------
    DataArray of int64, dims (lat, lon)
        0 inside, -1 outside.
    """
    mask, _ = on_grid(mask, what="mask")
    labels = np.where(mask.values.astype(bool), 0, OUTSIDE)
    return _labels(labels, mask, method="single region")


def basin_regions(basins: Mapping[str, Any], grid: Grid) -> xr.DataArray:
    """Label the cells whose centres lie in given polygons.

    Parameters
    ----------
    basins : mapping of str to array_like, shape (points, 2)
        Corners of each polygon as longitude and latitude, in order, closed or not, in any convention of
        longitude; edges take the shorter way round the globe, so a basin may cross the dateline. Where two
        overlap the first holds.
    grid : Grid

    Returns
    -------
    DataArray of int64, dims (lat, lon)
        The position in `basins`, -1 outside all of them; names in ``attrs["flag_meanings"]``.

    Raises
    ------
    DataError
        If a polygon has under three corners, goes round a pole, or holds no cell.
    """
    labels = np.full(grid.shape, OUTSIDE)
    if not basins:
        raise DataError("basins must hold at least one polygon, got none")
    for number, (name, corners) in enumerate(basins.items()):
        inside = _inside(np.asarray(corners, dtype=np.float64), grid, name)
        if not inside.any():
            raise DataError("a basin must hold the centre of a cell, got none", where=name)
        labels[inside & (labels == OUTSIDE)] = number
    like = xr.DataArray(labels, dims=("lat", "lon"), coords={"lat": grid.lat, "lon": grid.lon})
    return _labels(labels, like, method="given polygons", names=list(basins))


def cluster_regions(
    features: xr.DataArray,
    n: int,
    *,
    seed: int = 0,
    neighbours: int = 10,
    components: int = 20,
    standardise: bool = True,
    contiguous: bool = False,
) -> xr.DataArray:
    """Cluster cells that vary alike, by spectral clustering on a sparse graph of nearest neighbours.

    Pass training years only, or a model's fields: regions found in the target's own test years leak them.

    The graph joins each cell to its `neighbours` nearest in the space of the leading principal components;
    parts that are not joined are joined by their nearest pair; the labels are k-means in the leading
    eigenvectors of its normalised Laplacian (von Luxburg, Stat. Comput. 17, 2007, section 4). Never is the
    full matrix of all cells by all cells formed.

    Parameters
    ----------
    features : DataArray, dims (..., lat, lon)
        What describes a cell: its time series, or several fields. A cell with a NaN belongs to no region.
    n : int
        Number of regions.
    seed : int
        Of k-means and of the eigensolver's first vector.
    neighbours : int
        Nearest neighbours of a cell in the graph.
    components : int
        Principal components kept, at most.
    standardise : bool
        Whether each cell's features are first brought to mean 0 and variance 1, so that regions are of like
        phase, not of like amplitude. A cell whose features are all the same counts as 0. A single feature
        is never standardised.
    contiguous : bool
        Whether the graph joins only cells that share an edge, weighted by likeness, and fragments away from
        a region's largest part are given to the region they border most. Cells cut off by land stay.

    Returns
    -------
    DataArray of int64, dims (lat, lon)
        0 for the region of most cells, then downwards in size; -1 where there was a NaN.

    Raises
    ------
    ConfigError, DataError
        If there are fewer valid cells than regions, or values are infinite.
    MissingDependencyError
        Without scikit-learn.
    """
    cluster = require("sklearn.cluster", install="isopleth[regions]", purpose="cluster regions")
    features, grid = on_grid(features, what="features")
    _check_options(n, neighbours, components)
    table, valid = _table(features, n)
    points = _principal(_standardised(table) if standardise and table.shape[1] > 1 else table, components)
    if contiguous:
        graph = grid_graph(points, valid, neighbour_pairs(grid))
    else:
        graph = feature_graph(points, min(neighbours, len(points) - 1))
    flat = np.full(valid.size, OUTSIDE)
    flat[valid] = _spectral(cluster, connect(graph, points), n, seed, factorise=contiguous)
    if contiguous:
        flat = merge_fragments(flat, neighbour_pairs(grid))
    labels = _by_size(flat).reshape(grid.shape)
    return _labels(labels, features, method="spectral clustering", seed=seed, neighbours=neighbours)


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

    (Hubert and Arabie, J. Classif. 2, 1985, eq. 5.) Cells outside (label -1) in either partition are left out.

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


@dataclass(frozen=True)
class Seams:
    """Steps of a field across the borders of regions, against the steps inside them.

    Attributes
    ----------
    jump, inner : float
        Mean absolute difference of two cells that share an edge, weighted by the edge's length: across borders,
        and inside regions. The unit is the field's. NaN where there is no such pair.
    pairs : int
        Pairs of cells across borders.
    by_border : dict
        The jump for each pair of regions that touch.
    """

    jump: float
    inner: float
    pairs: int
    by_border: dict[tuple[int, int], float]

    @property
    def ratio(self) -> float:
        """How much larger a step is across borders; 1 for a field that does not know of the regions."""
        return self.jump / self.inner if self.inner else float("inf") if self.jump else float("nan")


def measure_seams(field: xr.DataArray, labels: xr.DataArray) -> Seams:
    """Measure how a field jumps where regions meet, as one does that was predicted region by region.

    Parameters
    ----------
    field : DataArray, dims (lat, lon)
        NaN cells are left out.
    labels : DataArray of int, dims (lat, lon)
        A partition of the same grid; cells outside (-1) are left out.

    Returns
    -------
    Seams

    Raises
    ------
    DataError
        If the grids differ, or the field has other dimensions.
    """
    field, grid = on_grid(field, what="field")
    labels, other = on_grid(labels, what="labels")
    if field.ndim != 2 or labels.ndim != 2 or grid != other:
        raise DataError(
            f"field and labels must be on one (lat, lon) grid, got {field.dims} on {grid} and {labels.dims} on {other}"
        )
    pairs, values, region = neighbour_pairs(grid), field.values.ravel(), labels.values.ravel()
    step = np.abs(values[pairs.first] - values[pairs.second])
    a, b = region[pairs.first], region[pairs.second]
    known = np.isfinite(step) & (a != OUTSIDE) & (b != OUTSIDE)
    border = known & (a != b)
    ends = np.sort(np.stack([a, b], axis=1), axis=1)
    by_border = {
        (int(low), int(high)): _mean(step, pairs.length, border & (ends == (low, high)).all(axis=1))
        for low, high in np.unique(ends[border], axis=0)
    }
    inner = _mean(step, pairs.length, known & (a == b))
    return Seams(_mean(step, pairs.length, border), inner, int(border.sum()), by_border)


def _mean(values: np.ndarray, weights: np.ndarray, where: np.ndarray) -> float:
    total = weights[where].sum()
    return float((values[where] * weights[where]).sum() / total) if total > 0 else float("nan")


def _check_options(n: int, neighbours: int, components: int) -> None:
    for name, value, least in (("n", n, 1), ("neighbours", neighbours, 1), ("components", components, 1)):
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")


def _table(features: xr.DataArray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of the valid cells, shape (cells, features), and where those are."""
    table = features.values.reshape(-1, features.sizes["lat"] * features.sizes["lon"]).T.astype(np.float64)
    if np.isinf(table).any():
        raise DataError("features must be finite or NaN, got an infinite one", where=features.name)
    valid = np.isfinite(table).all(axis=1) & (table.shape[1] > 0)
    if valid.sum() < n:
        raise DataError(
            f"valid cells must be at least the {n} regions, got {valid.sum()}", where=features.name
        )
    return table[valid], valid


def _standardised(table: np.ndarray) -> np.ndarray:
    centred = table - table.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    still = spread <= 1e-12 * np.abs(table).max(axis=1, keepdims=True)
    return np.where(still, 0.0, centred / np.where(still, 1.0, spread))


def _principal(table: np.ndarray, components: int) -> np.ndarray:
    centred = table - table.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return u[:, :components] * s[:components]


def _spectral(cluster: Any, graph: Any, n: int, seed: int, *, factorise: bool) -> np.ndarray:
    if n == 1 or graph.shape[0] <= n + 1:
        return np.arange(graph.shape[0]) % n
    rows = embed(graph, n, seed, factorise=factorise)
    return cluster.KMeans(n, n_init=10, random_state=seed).fit_predict(rows)


def _by_size(labels: np.ndarray) -> np.ndarray:
    """Number regions downwards in size, ties by the first cell; -1 stays."""
    found, first, counts = np.unique(labels[labels != OUTSIDE], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    rank = np.full(int(found.max()) + 2, OUTSIDE)
    rank[found[order]] = np.arange(len(found))
    return rank[labels]


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


def _inside(corners: np.ndarray, grid: Grid, name: str) -> np.ndarray:
    """Count crossings of a polygon's edges by the meridian south of each cell centre; odd is inside."""
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise DataError(
            f"a basin must be finite (longitude, latitude) corners, got shape {corners.shape}", where=name
        )
    if np.array_equal(corners[0], corners[-1]):
        corners = corners[:-1]
    if len(corners) < 3:
        raise DataError(f"a basin must have three corners, got {len(corners)}", where=name)
    step = longitude_difference(np.roll(corners[:, 0], -1), corners[:, 0])
    if abs(step.sum()) > 1:
        raise DataError("a basin must not go round a pole", where=name, hint="cut it along a meridian")
    start, end = corners[:, 1], np.roll(corners[:, 1], -1)
    odd = np.zeros(grid.shape, dtype=bool)
    for lon, lat, width, north in zip(corners[:, 0], start, step, end, strict=True):
        # Eastward distance from the edge's western end; the half-open edge counts a corner once.
        along = wrap_longitude(grid.lon - (lon if width > 0 else lon + width))
        crossed = along < abs(width)
        share = along / width if width > 0 else 1 + along / width if width < 0 else along
        height = lat + share * (north - lat)
        odd ^= crossed & (grid.lat[:, None] > height)
    return odd


def _labels(
    values: np.ndarray, like: xr.DataArray, *, names: list[str] | None = None, **attrs: Any
) -> xr.DataArray:
    """Wrap labels with what CF says of flags."""
    count = int(values.max()) + 1
    meanings = names or [f"region_{i}" for i in range(count)]
    attrs |= {
        "long_name": "region",
        "flag_values": list(range(len(meanings))),
        "flag_meanings": " ".join(name.replace(" ", "_") for name in meanings),
    }
    coords = {"lat": like["lat"], "lon": like["lon"]}
    return xr.DataArray(
        values.astype(np.int64), dims=("lat", "lon"), coords=coords, name="region", attrs=attrs
    )
