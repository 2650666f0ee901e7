"""Partitions of a grid into regions: one, given basins, or clusters of cells that vary alike.

A partition that was computed from what a model is tested on has seen the answer. Nothing here can know which
years those are: pass the training years only, or fields of a model instead of the observations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError, require
from isopleth.fields._cells import OUTSIDE, inside_polygon, neighbour_pairs, on_grid
from isopleth.fields._graph import connect, embed, feature_graph, grid_graph, merge_fragments
from isopleth.grid import Grid


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
        inside = inside_polygon(np.asarray(corners, dtype=np.float64), grid, name)
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


def _check_options(n: int, neighbours: int, components: int) -> None:
    for name, value, least in (("n", n, 1), ("neighbours", neighbours, 1), ("components", components, 1)):
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")


def _table(features: xr.DataArray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of the valid cells, shape (cells, features), and where those are."""
    table = features.values.reshape(-1, features.sizes["lat"] * features.sizes["lon"]).T.astype(np.float64)
    if np.isinf(table).any():
        raise DataError("features must be finite or NaN, got an infinite one", where=features.name)
    valid = np.asarray(np.isfinite(table).all(axis=1) & (table.shape[1] > 0))
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
    """Rename regions downwards in size, ties by the first cell; -1 stays."""
    found, first, counts = np.unique(labels[labels != OUTSIDE], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    rank = np.full(int(found.max()) + 2, OUTSIDE)
    rank[found[order]] = np.arange(len(found))
    return rank[labels]


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
