"""From the centres of a curvilinear ocean grid to a rectilinear one, by a KD-tree on the sphere.

Ocean models place their cells on grids whose rows bend round the land (POP's displaced pole, NEMO's three
poles). Their files give the centres of cells, latitude(y, x) and longitude(y, x), often NaN over land and
sometimes twice along a fold. So the cells are taken as scattered centres: unit vectors in space know neither
seam nor pole.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from isopleth.errors import DataError
from isopleth.grid import Grid, wrap_longitude

Floats = NDArray[np.float64]

# Centres that take part in one interpolated value.
_NEIGHBOURS = 4
# A target centre is covered if a source centre lies within half a cell's diagonal, or, as grids bend, a
# little more.
_REACH = 1.1


@dataclass(frozen=True)
class ScatteredWeights:
    """A matrix from the cells of a source, flattened, to those of a target."""

    matrix: sparse.csr_array
    shape: tuple[int, int]

    def apply(self, values: Floats) -> Floats:
        """Return sums of shape (n, n_lat, n_lon) of values of shape (n, rows, columns)."""
        flat = values.reshape(values.shape[0], -1)
        return np.asarray((self.matrix @ flat.T).T).reshape(-1, *self.shape)


def scattered_weights(ds: xr.Dataset, target: Grid, method: str) -> ScatteredWeights:
    r"""Find the weights from the cells of a curvilinear grid to those of a rectilinear one.

    - *nearest*: the source centre at the least great-circle distance.
    - *bilinear*: the nearest four, weighed by :math:`1/d^2`; a centre that is hit takes all. Smooth but not
      linear: four centres of a bent grid do not make a rectangle.
    - *conservative*: the centres inside the target cell, weighed by the area of their cells: each source
      cell goes whole into the target cell that holds its centre. The integral over the source is kept
      exactly, with the source's area in each target cell in place of the target's; the area mean only as far
      as target cells are filled evenly: to 2e-3 with two by two source cells in each, 2e-4 with eight by
      eight. A covered target cell that holds no centre, as narrow ones near a pole do, takes the nearest.

    Target centres further from any source centre than half the diagonal of its cell are not covered.

    Parameters
    ----------
    ds : Dataset
        With 2-D coordinates ``lat`` and ``lon``, NaN where there is no cell, and, if known, ``cell_area``
        (any unit); else areas are those spanned by the neighbouring centres.
    target : Grid
        The grid to come to.
    method : {"conservative", "bilinear", "nearest"}
        How.

    Returns
    -------
    ScatteredWeights
        Rows add up to one where the target is covered, and are empty elsewhere.

    Raises
    ------
    DataError
        If there is no place in the coordinates, or the target does not overlap the source.
    """
    lat, lon, dims = _places(ds)
    vectors = _unit_vectors(lat, lon)
    known = np.flatnonzero(np.isfinite(vectors).all(axis=-1).ravel())
    if known.size == 0:
        raise DataError("a curvilinear grid must have places, got none that is finite")
    reach = _reach(vectors).ravel()[known]
    points = vectors.reshape(-1, 3)[known]
    count = _NEIGHBOURS if method == "bilinear" else 1
    matrix = _by_distance(points, known, reach, target, lat.size, count)
    if method == "conservative":
        binned = _bin_by_area(lat, lon, _cell_areas(ds, vectors, dims), known, target)
        empty = np.diff(binned.indptr) == 0
        matrix = sparse.csr_array(binned + sparse.diags_array(empty.astype(np.float64)) @ matrix)
    if matrix.nnz == 0:
        raise DataError(f"the target must overlap the source, got {target!r} of {_extent(lat, lon)}")
    return ScatteredWeights(matrix, target.shape)


def _places(ds: xr.Dataset) -> tuple[Floats, Floats, tuple[Hashable, ...]]:
    lat, lon = ds["lat"], ds["lon"]
    if set(lat.dims) != set(lon.dims):
        raise DataError(f"lat and lon must have the same dimensions, got {lat.dims} and {lon.dims}")
    lon = lon.transpose(*lat.dims)
    return lat.values.astype(np.float64), lon.values.astype(np.float64), lat.dims


def _unit_vectors(lat: Floats, lon: Floats) -> Floats:
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def _extent(lat: Floats, lon: Floats) -> str:
    return f"lat {np.nanmin(lat):g}..{np.nanmax(lat):g}, lon {np.nanmin(lon):g}..{np.nanmax(lon):g}"


def _by_distance(
    points: Floats, known: NDArray[np.intp], reach: Floats, target: Grid, n_source: int, count: int
) -> sparse.csr_array:
    """Weigh the nearest centres by inverse squared distance."""
    lat, lon = np.meshgrid(target.lat, target.lon, indexing="ij")
    count = min(count, len(points))
    distance: Any
    index: Any
    distance, index = cKDTree(points).query(_unit_vectors(lat, lon).reshape(-1, 3), k=[*range(1, count + 1)])
    covered = distance[:, 0] <= reach[index[:, 0]]
    # Not smaller than a millimetre: two centres on one place share it, and nothing is divided by zero.
    weight = 1.0 / np.maximum(distance, 1e-10) ** 2
    weight = np.where(covered[:, None], weight / weight.sum(axis=1, keepdims=True), 0.0)
    rows = np.repeat(np.arange(lat.size), count)
    matrix = sparse.csr_array((weight.ravel(), (rows, known[index.ravel()])), shape=(lat.size, n_source))
    matrix.eliminate_zeros()
    return matrix


def _bin_by_area(
    lat: Floats, lon: Floats, area: Floats, known: NDArray[np.intp], target: Grid
) -> sparse.csr_array:
    """Put each source cell into the target cell that holds its centre, by its share of the area there."""
    flat_lat, flat_lon = lat.ravel()[known], lon.ravel()[known]
    row = _find(target.lat_bounds, flat_lat)
    west = target.lon_bounds[:, 0].min()
    column = _find(target.lon_bounds, wrap_longitude(flat_lon, start=float(west)), period=360.0)
    weight = area.ravel()[known]
    inside = (row >= 0) & (column >= 0) & (weight > 0)
    cell = row[inside] * target.lon.size + column[inside]
    total = np.bincount(cell, weights=weight[inside], minlength=target.lat.size * target.lon.size)
    shape = (target.lat.size * target.lon.size, lat.size)
    return sparse.csr_array((weight[inside] / total[cell], (cell, known[inside])), shape=shape)


def _find(bounds: Floats, values: Floats, period: float | None = None) -> NDArray[np.intp]:
    """Return which of the intervals holds each value, the upper end of the last included; -1 for none."""
    low, high = bounds[:, 0], bounds[:, 1]
    if period is not None:
        shift = period * np.floor((low - low.min()) / period)
        low, high = low - shift, high - shift
    order = np.argsort(low)
    found = order[np.clip(np.searchsorted(low[order], values, side="right") - 1, 0, None)]
    inside = (values >= low[found]) & ((values < high[found]) | (values == high.max()))
    return np.where(inside, found, -1)


def _steps(vectors: Floats, axis: int) -> Floats:
    """Return the mean vector from a centre to the next along an axis, NaN where none of the two is known."""
    step = np.diff(vectors, axis=axis)
    before, after = np.full_like(vectors, np.nan), np.full_like(vectors, np.nan)
    np.moveaxis(before, axis, 0)[1:] = np.moveaxis(step, axis, 0)
    np.moveaxis(after, axis, 0)[:-1] = np.moveaxis(step, axis, 0)
    known = np.stack([np.isfinite(before), np.isfinite(after)]).sum(axis=0)
    total = np.nan_to_num(before) + np.nan_to_num(after)
    return np.divide(total, known, out=np.full_like(total, np.nan), where=known > 0)


def _reach(vectors: Floats) -> Floats:
    """Return half the diagonal of each cell, as a chord; a typical one where neighbours are unknown."""
    squares = [np.sum(_steps(vectors, axis) ** 2, axis=-1) for axis in (0, 1)]
    known = [s[np.isfinite(s)] for s in squares]
    typical = [float(np.median(k)) if k.size else 0.0 for k in known]
    filled = [np.where(np.isfinite(s), s, max(t, 1e-12)) for s, t in zip(squares, typical, strict=True)]
    return np.asarray(_REACH * 0.5 * np.sqrt(filled[0] + filled[1]))


def _cell_areas(ds: xr.Dataset, vectors: Floats, dims: tuple[Hashable, ...]) -> Floats:
    """Return the areas that come with the data, else those spanned by the neighbouring centres."""
    given: Any = ds.variables.get("cell_area")
    if given is not None and set(given.dims) == set(dims):
        return np.nan_to_num(np.asarray(given.transpose(*dims).values, dtype=np.float64))
    area = np.linalg.norm(np.cross(_steps(vectors, 0), _steps(vectors, 1)), axis=-1)
    known = area[np.isfinite(area) & (area > 0)]
    # A centre without neighbours counts as a typical cell rather than as none.
    return np.where(np.isfinite(area), area, float(np.median(known)) if known.size else 1.0)
