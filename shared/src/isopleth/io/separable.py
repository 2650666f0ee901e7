"""Weights between rectilinear grids: a sparse matrix over rows times one over columns.

Every axis is taken apart into ascending positions and the row or column whose values stand there. Decreasing
axes, the seam at 0/360, single rows and values on the poles are then nothing special.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isopleth.errors import DataError
from isopleth.grid import Grid, wrap_longitude

Floats = NDArray[np.float64]

# Longitudes that differ by less, in degrees, are the same meridian written in two conventions.
_SAME_MERIDIAN = 1e-6


@dataclass(frozen=True)
class Separable:
    """Weights that are a product of one matrix over rows and one over columns.

    ``caps`` names rows whose zonal means the matrix over rows takes as further rows: values on the poles.
    """

    rows: sparse.csr_array
    columns: sparse.csr_array
    caps: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the target."""
        return self.rows.shape[0], self.columns.shape[0]

    def apply(self, values: Floats) -> Floats:
        """Return sums of shape (n, n_lat, n_lon) of values of shape (n, rows, columns)."""
        means = [
            values[:, [row]].mean(axis=2, keepdims=True).repeat(values.shape[2], axis=2) for row in self.caps
        ]
        if means:
            values = np.concatenate([values, *means], axis=1)
        n, n_lat, n_lon = values.shape
        along = (self.columns @ values.reshape(n * n_lat, n_lon).T).reshape(-1, n, n_lat)
        across = self.rows @ along.reshape(-1, n_lat).T
        return np.asarray(across).reshape(self.shape[0], self.shape[1], n).transpose(2, 0, 1)


def overlaps(source: Grid, target: Grid) -> Separable:
    """Return the share of each target row and column that each source row and column covers."""
    return _joined(
        source,
        target,
        rows=_interval_overlaps(np.sin(np.radians(source.lat_bounds)), np.sin(np.radians(target.lat_bounds))),
        columns=_interval_overlaps(source.lon_bounds, target.lon_bounds, period=360.0),
    )


def _interval_overlaps(source: Floats, target: Floats, period: float | None = None) -> sparse.csr_array:
    """Return overlap over target length, shape (n_target, n_source); round the period if there is one."""
    shifts = [0.0]
    if period is not None:
        source = source - period * np.round((source.mean(axis=1, keepdims=True) - target.mean()) / period)
        shifts = [-period, 0.0, period]
    low, high = target[:, :1], target[:, 1:]
    overlap = np.zeros((len(target), len(source)))
    for shift in shifts:
        ends = np.minimum(high, source[:, 1] + shift), np.maximum(low, source[:, 0] + shift)
        overlap += (ends[0] - ends[1]).clip(min=0)
    return sparse.csr_array(overlap / (high - low))


def interpolation(source: Grid, target: Grid, method: str) -> Separable:
    """Return weights of the source rows and columns around each target row and column."""
    lat, index, caps = _row_positions(source, poles=method == "bilinear")
    weigh = {"nearest": _weigh_nearest, "bilinear": _weigh_linearly}[method]
    bounds = source.lat_bounds
    rows = weigh(lat, index, target.lat, (bounds.min(), bounds.max()), source.lat.size + len(caps))
    lon, index, ends = _column_positions(source)
    there = wrap_longitude(target.lon, start=ends[0])
    # The open end of the circle is its closed one, but for rounding.
    there = np.where(there > ends[0] + 360.0 - _SAME_MERIDIAN, ends[0], there)
    columns = weigh(lon, index, there, ends, source.lon.size)
    return _joined(source, target, rows=rows, columns=columns, caps=caps)


def _row_positions(source: Grid, *, poles: bool) -> tuple[Floats, NDArray[np.intp], tuple[int, ...]]:
    """Return ascending latitudes, the row each one's values are in, and the rows that are to be caps.

    A single row stands on both edges of its cells. Where the cells of a periodic grid reach a pole and no row
    lies there, the mean of the last row does.
    """
    if source.lat.size == 1:
        return source.lat_bounds[0], np.zeros(2, np.intp), ()
    index = np.argsort(source.lat)
    lat, caps = source.lat[index], []
    for pole, end in ((-90.0, 0), (90.0, -1)):
        if poles and source.is_periodic and lat[end] != pole and pole in source.lat_bounds:
            caps.append((pole, int(np.argsort(source.lat)[end])))
    for number, (pole, _) in enumerate(caps):
        place = 0 if pole < 0 else lat.size
        lat, index = np.insert(lat, place, pole), np.insert(index, place, source.lat.size + number)
    return lat, index, tuple(row for _, row in caps)


def _column_positions(source: Grid) -> tuple[Floats, NDArray[np.intp], tuple[float, float]]:
    """Return longitudes that rise, the column each one's values are in, and where the cells begin and end.

    A periodic grid goes on by a column at either end, and a single column stands on both edges of its cells.
    """
    if source.lon.size == 1:
        west, east = source.lon_bounds[0]
        return source.lon_bounds[0], np.zeros(2, np.intp), (west, east)
    index, lon = _eastward(source)
    half = np.diff(source.lon_bounds, axis=1)[:, 0] / 2
    ends = lon[0] - half[index[0]], lon[-1] + half[index[-1]]
    if source.is_periodic:
        lon = np.concatenate([[lon[-1] - 360.0], lon, [lon[0] + 360.0]])
        index = np.concatenate([index[-1:], index, index[:1]])
    return lon, index, ends


def _eastward(grid: Grid) -> tuple[NDArray[np.intp], Floats]:
    """Return the order that leads eastward from behind the widest gap, and longitudes that rise in it."""
    wrapped = wrap_longitude(grid.lon)
    order = np.argsort(wrapped)
    ring = wrapped[order]
    first = (int(np.argmax(np.diff(ring, append=ring[0] + 360.0))) + 1) % ring.size
    order = np.roll(order, -first)
    lon = wrapped[order]
    return order, np.where(lon < lon[0], lon + 360.0, lon)


def _weigh_linearly(
    positions: Floats, index: NDArray[np.intp], target: Floats, _ends: tuple[float, float], size: int
) -> sparse.csr_array:
    """Weigh the two positions around each target; none for targets beyond the outermost positions."""
    inside = (target >= positions[0] - _SAME_MERIDIAN) & (target <= positions[-1] + _SAME_MERIDIAN)
    after = np.clip(np.searchsorted(positions, target), 1, positions.size - 1)
    steps = positions[after] - positions[after - 1]
    share = np.clip((target - positions[after - 1]) / steps, 0.0, 1.0)
    weights = np.where(inside, [1.0 - share, share], 0.0)
    rows = np.arange(target.size)
    pairs = (np.tile(rows, 2), np.concatenate([index[after - 1], index[after]]))
    return _without_zeros(sparse.csr_array((weights.ravel(), pairs), shape=(target.size, size)))


def _weigh_nearest(
    positions: Floats, index: NDArray[np.intp], target: Floats, ends: tuple[float, float], size: int
) -> sparse.csr_array:
    """Take the position nearest to each target; none for targets beyond the cells' ends."""
    inside = (target >= ends[0] - _SAME_MERIDIAN) & (target <= ends[1] + _SAME_MERIDIAN)
    nearest = index[np.searchsorted((positions[:-1] + positions[1:]) / 2, target, side="right")]
    weights = (inside.astype(np.float64), (np.arange(target.size), nearest))
    return _without_zeros(sparse.csr_array(weights, shape=(target.size, size)))


def _without_zeros(matrix: sparse.csr_array) -> sparse.csr_array:
    matrix.eliminate_zeros()
    return matrix


def _joined(
    source: Grid,
    target: Grid,
    *,
    rows: sparse.csr_array,
    columns: sparse.csr_array,
    caps: tuple[int, ...] = (),
) -> Separable:
    if not (rows.nnz and columns.nnz):
        raise DataError(f"the target must overlap the source, got {target!r} of {source!r}")
    return Separable(rows, columns, caps)
