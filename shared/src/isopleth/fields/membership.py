"""Soft borders: how much a cell near a border belongs to each side, and which region a new cell is in."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import sparse, spatial
from scipy.sparse import csgraph

from isopleth.config import check_positive
from isopleth.errors import DataError
from isopleth.fields._cells import OUTSIDE, on_grid
from isopleth.fields._points import chord, unit_vectors
from isopleth.grid import Grid, great_circle_km

REGION = "region"


def soft_membership(labels: xr.DataArray, *, width_km: float) -> xr.DataArray:
    r"""Give each cell a weight in every region, 1 inside and falling to 0 across the borders.

    With d the distance from a cell to the border of region r, which lies midway between neighbours,

    .. math:: u_r = S\big(\tfrac12 \pm \tfrac{d}{2\,\text{width}}\big), \qquad w_r = u_r / \sum_s u_s,

    with + inside and - outside, and S(t) = 3 t^2 - 2 t^3 on [0, 1]. On both sides of a border between two
    regions the sum is 1 as it stands; only where three meet does the division change anything.

    Distances go through the sea: cell by cell, also diagonally, never over cells outside all regions. So two
    oceans do not blend across an isthmus. Along the grid's directions they are exact, in between at most 8 %
    too long.

    Parameters
    ----------
    labels : DataArray of int, dims (lat, lon)
        A partition; -1 outside.
    width_km : float
        Depth on each side of a border from which on a cell belongs to its region alone. Below half
        the distance of neighbours nothing is softened.

    Returns
    -------
    DataArray of float64, dims (region, lat, lon)
        In [0, 1], with sum 1 in every cell of a region and 0 outside. Predictions of all regions blend as
        ``(prediction * membership).sum("region")``; `measure_seams` says what that did.

    Raises
    ------
    ConfigError
        If the width is not above 0.
    DataError
        If labels are not on a (lat, lon) grid, or there is no region.
    """
    check_positive(width_km=width_km)
    labels, grid = on_grid(labels, what="labels")
    region = labels.values.ravel()
    if labels.ndim != 2 or not (region != OUTSIDE).any():
        raise DataError(f"labels must be a (lat, lon) partition with a region, got {labels.dims}")
    graph = _sea_graph(grid, region != OUTSIDE)
    names = np.arange(region.max() + 1)
    raw = np.stack([_ramp(graph, region, number, width_km) for number in names])
    total = raw.sum(axis=0)
    weights = np.divide(raw, total, out=np.zeros_like(raw), where=total > 0)
    return xr.DataArray(
        weights.reshape(len(names), *grid.shape),
        dims=(REGION, "lat", "lon"),
        coords={REGION: names, "lat": labels["lat"], "lon": labels["lon"]},
        name="membership",
        attrs={"long_name": "weight of a region", "units": "1", "width_km": float(width_km)},
    )


def assign_regions(
    labels: xr.DataArray,
    grid: Grid,
    *,
    mask: xr.DataArray | None = None,
    max_km: float | None = None,
) -> xr.DataArray:
    """Give the cells of a grid the region of the nearest cell that has one.

    Parameters
    ----------
    labels : DataArray of int, dims (lat, lon)
        A partition of this or another grid; -1 outside.
    grid : Grid
        Whose cells to label.
    mask : DataArray of bool, dims (lat, lon), optional
        Cells of `grid` to label; all by default.
    max_km : float, optional
        Great-circle distance beyond which a cell stays outside.

    Returns
    -------
    DataArray of int64, dims (lat, lon)
        -1 outside; the attributes of `labels`.

    Raises
    ------
    DataError
        If there is no region, or the mask is on another grid.
    """
    check_positive(max_km=max_km)
    labels, source = on_grid(labels, what="labels")
    known = labels.values != OUTSIDE
    if labels.ndim != 2 or not known.any():
        raise DataError(f"labels must be a (lat, lon) partition with a region, got {labels.dims}")
    tree = spatial.cKDTree(_vectors(source)[known.ravel()])
    limit = np.inf if max_km is None else chord(max_km) * (1 + 1e-12)
    distance, nearest = tree.query(_vectors(grid), distance_upper_bound=limit)
    # Beyond the limit the tree answers with the number of its points.
    found = np.append(labels.values[known], OUTSIDE)[np.asarray(nearest)]
    found = np.where(np.isfinite(np.asarray(distance)), found, OUTSIDE).reshape(grid.shape)
    if mask is not None:
        mask, other = on_grid(mask, what="mask")
        if mask.ndim != 2 or other != grid:
            raise DataError(f"mask must be on the grid to label, {grid}, got {mask.dims} on {other}")
        found = np.where(mask.values.astype(bool), found, OUTSIDE)
    return xr.DataArray(
        found.astype(np.int64),
        dims=("lat", "lon"),
        coords={"lat": grid.lat, "lon": grid.lon},
        name=labels.name,
        attrs=labels.attrs,
    )


def _vectors(grid: Grid) -> np.ndarray:
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    return unit_vectors(lat, lon).reshape(-1, 3)


def _ramp(graph: sparse.csr_array, region: np.ndarray, number: int, width_km: float) -> np.ndarray:
    inside, other = region == number, (region != number) & (region != OUTSIDE)
    graph = _with_borders(graph, inside)
    # Past the width nothing changes any more.
    depth = np.where(inside, _distance(graph, other, width_km), -_distance(graph, inside, width_km))
    t = np.clip(0.5 + depth / (2 * width_km), 0.0, 1.0)
    return np.where(region == OUTSIDE, 0.0, t * t * (3 - 2 * t))


def _with_borders(graph: sparse.csr_array, inside: np.ndarray) -> sparse.csr_array:
    """Halve the steps in and out of a region: they end at its border, not in the next cell."""
    steps = graph.tocoo()
    crosses = inside[steps.row] != inside[steps.col]
    length = np.where(crosses, steps.data / 2, steps.data)
    return sparse.csr_array((length, (steps.row, steps.col)), shape=graph.shape)


def _distance(graph: sparse.csr_array, sources: np.ndarray, limit: float) -> np.ndarray:
    """Return the length of the shortest way to any source, infinity beyond the limit."""
    if not sources.any():
        return np.full(len(sources), np.inf)
    return csgraph.dijkstra(
        graph, directed=False, indices=np.flatnonzero(sources), min_only=True, limit=limit
    )


def _sea_graph(grid: Grid, sea: np.ndarray) -> sparse.csr_array:
    """Join neighbouring sea cells by their distance in km; diagonally if a cell between them is sea too."""
    rows, columns = grid.shape
    index = np.arange(rows * columns).reshape(grid.shape)
    sea = sea.reshape(grid.shape)
    starts, ends = [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        start, end = _shifted(index, grid, down, right)
        joined = sea.ravel()[start] & sea.ravel()[end]
        if down and right:
            beside, below = _corners(index, start, end)
            joined &= sea.ravel()[beside] | sea.ravel()[below]
        starts.append(start[joined])
        ends.append(end[joined])
    a, b = np.concatenate(starts), np.concatenate(ends)
    lat, lon = (part.ravel() for part in np.meshgrid(grid.lat, grid.lon, indexing="ij"))
    length = great_circle_km(lat[a], lon[a], lat[b], lon[b])
    return sparse.csr_array((length, (a, b)), shape=(index.size, index.size))


def _shifted(index: np.ndarray, grid: Grid, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """List cells and their neighbours so many rows and columns on, round the globe if the grid is."""
    start, end = index[: index.shape[0] - down], np.roll(index, -right, axis=1)[down:]
    if right and not (grid.is_periodic and index.shape[1] > 2):
        kept = slice(None, -1) if right > 0 else slice(1, None)
        start, end = start[:, kept], end[:, kept]
    return start.ravel(), end.ravel()


def _corners(index: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the two cells that a diagonal passes between: in its first row, and in its second."""
    columns = index.shape[1]
    return start // columns * columns + end % columns, end // columns * columns + start % columns
