"""Windows that follow a moving centre: across the dateline and over the poles, many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isopleth.errors import DataError
from isopleth.grid.rectilinear import Grid
from isopleth.grid.sphere import longitude_difference, wrap_longitude

Outside = Literal["error", "nan"]


@dataclass(frozen=True)
class WindowIndex:
    """Where the cells of windows lie in the arrays of a grid; ``...`` is the shape of the centres.

    Attributes
    ----------
    rows : int array, shape (..., height)
        Row of each window row. Cells outside a regional grid carry index 0 and ``inside`` False.
    columns : int array, shape (..., height, width)
        Column of each cell; rows beyond a pole hold those of the opposite meridian.
    over_pole : bool array, shape (..., height)
        Rows beyond a pole, where east and north point the other way.
    inside : bool array, shape (..., height, width)
        Cells that the grid has.
    lat_offset, lon_offset : float array, shape (...)
        Degrees from the centre cell to the centre that was asked for, at most half a cell.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    over_pole: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    lat_offset: NDArray[np.float64]
    lon_offset: NDArray[np.float64]

    def take(self, field: NDArray[Any], *, vector: bool = False) -> NDArray[Any]:
        """Return the windows of an array in memory, shape field.shape[:-2] + (..., height, width).

        Parameters
        ----------
        field : array, shape (..., n_lat, n_lon)
            Values on the grid that made this index.
        vector : bool
            The field is an eastward or northward component: its sign is turned beyond the poles.
        """
        cut = field[..., self.rows[..., :, None], self.columns]
        if vector and self.over_pole.any():
            cut = np.where(self.over_pole[..., :, None], -cut, cut)
        if not self.inside.all():
            cut = np.where(self.inside, cut, np.asarray(np.nan, dtype=np.result_type(cut.dtype, np.float32)))
        return cut


def window_index(
    grid: Grid, lat: ArrayLike, lon: ArrayLike, height: int, width: int, *, outside: Outside = "error"
) -> WindowIndex:
    """Find the cells of windows around many centres at once.

    A window is ``height`` rows by ``width`` columns of the grid, in the grid's own order, around the cell
    that holds the centre: cell ``(height // 2, width // 2)`` of the window, so that odd sizes are symmetric.
    A centre between cells is moved to the nearest one (a tie goes north and east); the offsets say by how
    much. Periodic grids wrap. Beyond a pole the window goes on down the opposite meridian, so its rows come
    in reverse; a row that lies on the pole is met once.

    Parameters
    ----------
    grid : Grid
        The grid of the fields.
    lat, lon : array_like, shape (...)
        Centres, degrees, any longitude convention.
    height, width : int
        Rows and columns of a window, at most those of the grid.
    outside : {"error", "nan"}
        What becomes of cells beyond the edge of a regional grid.

    Returns
    -------
    WindowIndex

    Raises
    ------
    DataError
        If a centre is not finite, or cells are missing and ``outside`` is "error".
    """
    lat, lon = np.broadcast_arrays(np.asarray(lat, np.float64), np.asarray(lon, np.float64))
    _check_request(grid, lat, lon, height, width)
    centre_row, centre_column = _nearest_row(grid, lat), _nearest_column(grid, lon)
    rows, over_pole, row_inside = _fold_rows(grid, centre_row[..., None] + np.arange(height) - height // 2)
    columns = centre_column[..., None] + np.arange(width) - width // 2
    columns, inside = _fold_columns(grid, columns[..., None, :], over_pole[..., :, None])
    inside = inside & row_inside[..., None]
    if outside == "error" and not inside.all():
        worst = np.argwhere(~inside.all(axis=(-2, -1)))[0]
        raise DataError(
            f"a {height} x {width} window must lie on the grid, got centre "
            f"({lat[tuple(worst)]:g}, {lon[tuple(worst)]:g})",
            where=grid,
            hint='outside="nan" fills what is missing',
        )
    return WindowIndex(
        rows=rows,
        columns=np.where(inside, columns, 0),
        over_pole=over_pole,
        inside=inside,
        lat_offset=lat - grid.lat[centre_row],
        lon_offset=longitude_difference(lon, grid.lon[centre_column]),
    )


def cut_window(
    field: Any,
    grid: Grid,
    lat: ArrayLike,
    lon: ArrayLike,
    height: int,
    width: int,
    *,
    vector: bool = False,
    outside: Outside = "error",
) -> NDArray[Any]:
    """Cut windows that follow centres, across the dateline and over the poles.

    See :func:`window_index` for what a window is. Of an array that is not in memory (dask, zarr, a lazy
    DataArray) only the rows, and as far as they are contiguous the columns, of the windows are read.

    Parameters
    ----------
    field : array, shape (..., n_lat, n_lon)
        NumPy, dask, zarr or xarray values on ``grid``.
    grid : Grid
        Grid of the last two dimensions.
    lat, lon : array_like, shape centres
        Degrees; a number, or arrays for many windows of the same field.
    height, width : int
        Rows and columns.
    vector : bool
        The field is a vector component, whose sign turns beyond the poles.
    outside : {"error", "nan"}
        What becomes of cells beyond the edge of a regional grid.

    Returns
    -------
    array, shape field.shape[:-2] + centres + (height, width)
        NaN only where the field, or the edge of the grid, has it.

    Examples
    --------
    >>> grid = Grid.regular(4, 8)
    >>> cut_window(np.arange(32).reshape(4, 8), grid, -67.5, 0.0, 1, 3)
    array([[7, 0, 1]])
    """
    if tuple(field.shape[-2:]) != grid.shape:
        raise DataError(f"the field must end in the grid's shape {grid.shape}, got {tuple(field.shape)}")
    index = window_index(grid, lat, lon, height, width, outside=outside)
    if isinstance(field, np.ndarray):
        return index.take(field, vector=vector)
    block, index = _read_block(field, index)
    return index.take(block, vector=vector)


def _check_request(grid: Grid, lat: NDArray[Any], lon: NDArray[Any], height: int, width: int) -> None:
    rows, columns = grid.shape
    if not (1 <= height <= rows and 1 <= width <= columns):
        raise DataError(
            f"a window must be from 1 x 1 to {rows} x {columns}, got {height} x {width}", where=grid
        )
    if not (np.isfinite(lat).all() and np.isfinite(lon).all() and (np.abs(lat) <= 90).all()):
        raise DataError("window centres must be finite, with latitude in [-90, 90]", where=grid)


def _nearest_row(grid: Grid, lat: NDArray[np.float64]) -> NDArray[np.intp]:
    order = np.argsort(grid.lat)
    rows = grid.lat[order]
    return order[np.searchsorted((rows[:-1] + rows[1:]) / 2, lat, side="right")]


def _nearest_column(grid: Grid, lon: NDArray[np.float64]) -> NDArray[np.intp]:
    wrapped = wrap_longitude(grid.lon)
    order = np.argsort(wrapped)
    ring = wrapped[order]
    middles = ring + np.diff(ring, append=ring[0] + 360.0) / 2
    # From the middle west of the first column on, the k-th middle passed leads to column k.
    eastward = wrap_longitude(lon, start=float(middles[-1] - 360.0))
    return order[np.searchsorted(middles[:-1], eastward, side="right")]


def _fold_rows(
    grid: Grid, rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]:
    """Reflect rows beyond a pole; return rows, which were reflected, and which exist."""
    last = grid.lat.size - 1
    below, above = rows < 0, rows > last
    starts_at, ends_at = np.abs(grid.lat[[0, -1]]) == 90.0
    # A row on the pole is its own mirror image and is not met twice.
    folded = np.where(below, -rows - (0 if starts_at else 1), rows)
    folded = np.where(above, 2 * last - folded + (0 if ends_at else 1), folded)
    reaches = _reaches_pole(grid)
    inside = ~(below & (not reaches[0])) & ~(above & (not reaches[1])) & (folded >= 0) & (folded <= last)
    return np.where(inside, folded, 0), (below | above) & inside, inside


def _reaches_pole(grid: Grid) -> tuple[bool, bool]:
    """Say whether the cells of the first and of the last row touch a pole all round."""
    if not grid.is_periodic or grid.lat.size == 1:
        return False, False
    edges = np.abs(grid.lat_bounds[[0, -1]]).max(axis=1) == 90.0
    return bool(edges[0]), bool(edges[1])


def _fold_columns(
    grid: Grid, columns: NDArray[np.intp], over_pole: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Wrap columns, those beyond a pole to the opposite meridian; return columns and which exist."""
    n = grid.lon.size
    if over_pole.any() and n % 2:
        raise DataError(
            f"a window over a pole must find the opposite meridian among the columns, got {n}, an odd number",
            where=grid,
        )
    columns = columns + np.where(over_pole, n // 2, 0)
    inside = np.ones(columns.shape, bool) if grid.is_periodic else (columns >= 0) & (columns < n)
    return columns % n, inside


def _read_block(field: Any, index: WindowIndex) -> tuple[NDArray[Any], WindowIndex]:
    """Read the rectangle that holds all windows; return it and the index into it."""
    first_row, last_row = int(index.rows.min()), int(index.rows.max())
    first, last = int(index.columns.min()), int(index.columns.max())
    block = np.asarray(field[..., first_row : last_row + 1, first : last + 1])
    return block, WindowIndex(
        rows=index.rows - first_row,
        columns=index.columns - first,
        over_pole=index.over_pole,
        inside=index.inside,
        lat_offset=index.lat_offset,
        lon_offset=index.lon_offset,
    )
