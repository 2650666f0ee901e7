"""Windows against a naive walk over the sphere, cell by cell."""

import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import DataError
from isopleth.grid import Grid, cut_window, great_circle_km, window_index


def naive_cell(grid, row, column):
    """Walk to a row one step at a time, turning round at the poles; return row, column, turned."""
    n_lat, n_lon = grid.shape
    turned, step = False, 1 if row >= 0 else -1
    here = 0
    for _ in range(abs(row)):
        ahead = here + step
        if not 0 <= ahead < n_lat:
            column, turned = column + n_lon // 2, not turned
            ahead = here - step if abs(grid.lat[here]) == 90 else here
            step = -step
        here = ahead
    return here, column % n_lon, turned


@st.composite
def global_grids(draw):
    n_lat, n_lon = draw(st.integers(2, 9)), 2 * draw(st.integers(1, 6))
    grid = Grid.regular(n_lat, n_lon, poles=draw(st.booleans()))
    lat = grid.lat[::-1] if draw(st.booleans()) else grid.lat
    lon = np.roll((grid.lon + draw(st.sampled_from([0.0, 0.3, -180.0]))), draw(st.integers(0, n_lon - 1)))
    return Grid(lat, lon % 360 if draw(st.booleans()) else grid.lon)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), grid=global_grids(), lat=st.floats(-90, 90), lon=st.floats(-360, 720))
def test_windows_equal_a_naive_walk(data, grid, lat, lon):
    height, width = data.draw(st.integers(1, grid.shape[0])), data.draw(st.integers(1, grid.shape[1]))
    field = np.arange(1.0, 1 + np.prod(grid.shape)).reshape(grid.shape)
    index = window_index(grid, lat, lon, height, width)
    row = int(np.argmin(np.abs(grid.lat - (lat - index.lat_offset))))
    column = int(np.argmin(np.abs((grid.lon - (lon - index.lon_offset) + 180) % 360 - 180)))
    expected = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            r, c, turned = naive_cell(grid, row + i - height // 2, column + j - width // 2)
            expected[i, j] = field[r, c] * (-1 if turned else 1)
    np.testing.assert_array_equal(cut_window(field, grid, lat, lon, height, width, vector=True), expected)
    np.testing.assert_array_equal(cut_window(field, grid, lat, lon, height, width), np.abs(expected))


@settings(deadline=None)
@given(grid=global_grids(), lat=st.floats(-90, 90), lon=st.floats(-360, 720))
def test_the_centre_is_the_nearest_row_and_column(grid, lat, lon):
    index = window_index(grid, lat, lon, 1, 1)
    nearest_lat = np.abs(grid.lat - lat).min()
    nearest_lon = np.abs((grid.lon - lon + 180) % 360 - 180).min()
    assert abs(index.lat_offset) == pytest.approx(nearest_lat, abs=1e-9)
    assert abs(index.lon_offset) == pytest.approx(nearest_lon, abs=1e-9)


def test_windows_hold_what_is_near_the_centre_even_over_the_pole():
    """A field of distances from the centre is largest at the window's edge and smallest in its middle."""
    grid = Grid.regular(180, 360)
    lat, lon = 89.5, 10.0
    distance = great_circle_km(lat, lon, grid.lat[:, None], grid.lon[None, :])
    window = cut_window(distance, grid, lat, lon, 9, 1)[:, 0]
    np.testing.assert_allclose(window, 111.19 * np.abs(np.arange(-4, 5)), rtol=1e-3)


def test_across_the_dateline():
    grid = Grid([-1.0, 0.0, 1.0], np.arange(-180, 180, 10.0))
    field = np.broadcast_to(grid.lon, grid.shape)
    assert cut_window(field, grid, 0, 178, 1, 5).tolist() == [[160, 170, -180, -170, -160]]
    assert cut_window(field, grid, 0, -182, 1, 5).tolist() == [[160, 170, -180, -170, -160]]


def test_even_sizes_reach_one_cell_further_back():
    grid = Grid([-1.0, 0.0, 1.0], np.arange(0, 360, 10.0))
    field = np.broadcast_to(grid.lon, grid.shape)
    assert cut_window(field, grid, 0, 100, 1, 4).tolist() == [[80, 90, 100, 110]]


def test_a_tie_goes_north_and_east():
    grid = Grid([0.0, 2.0], [0.0, 90.0, 180.0, 270.0])
    down = Grid([2.0, 0.0], [0.0, 90.0, 180.0, 270.0])
    assert window_index(grid, 1.0, 45.0, 1, 1).lat_offset == -1
    assert window_index(down, 1.0, 45.0, 1, 1).lat_offset == -1
    assert window_index(grid, 1.0, 45.0, 1, 1).lon_offset == -45
    assert window_index(grid, 1.0, 315.0, 1, 1).lon_offset == -45


def test_a_row_on_the_pole_is_met_once():
    grid = Grid.regular(5, 4, poles=True)
    field = np.broadcast_to(grid.lat[:, None], grid.shape)
    assert cut_window(field, grid, 90, 0, 3, 1)[:, 0].tolist() == [45, 90, 45]


@pytest.mark.parametrize("wrap", ["numpy", "dask", "zarr", "xarray", "xarray of dask"])
def test_every_kind_of_array_gives_the_same_windows(wrap):
    grid = Grid.regular(18, 36)
    field = np.random.default_rng(0).normal(size=(3, *grid.shape)).astype("f4")
    arrays = {
        "numpy": lambda: field,
        "dask": lambda: dask.array.from_array(field, chunks=(1, 7, 7)),
        "zarr": lambda: zarr.array(field, chunks=(1, 7, 7)),
        "xarray": lambda: xr.DataArray(field),
        "xarray of dask": lambda: xr.DataArray(dask.array.from_array(field, chunks=(1, 7, 7))),
    }
    lat, lon = [[0.0, 88.0], [-85.0, 30.0]], [[355.0, 3.0], [100.0, -5.0]]
    window = cut_window(arrays[wrap](), grid, lat, lon, 5, 7, vector=True)
    assert window.shape == (3, 2, 2, 5, 7)
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window, cut_window(field, grid, lat, lon, 5, 7, vector=True))


def test_a_lazy_field_is_read_only_where_the_window_is():
    grid = Grid.regular(180, 360)
    read = []

    def chunk(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.zeros((10, 10))

    lazy = dask.array.map_blocks(chunk, chunks=((10,) * 18, (10,) * 36), dtype=float, meta=np.zeros((0, 0)))
    cut_window(lazy, grid, 4.5, 105.0, 5, 5)
    assert set(read) == {(9, 10)}


def test_outside_a_region_is_an_error_or_missing():
    grid = Grid(np.arange(10.0, 20), np.arange(100.0, 120))
    field = np.ones(grid.shape, "f4")
    with pytest.raises(DataError, match=r"5 x 5 window must lie on the grid, got centre \(10, 110\)"):
        cut_window(field, grid, [15, 10], 110, 5, 5)
    window = cut_window(field, grid, 10, 119, 5, 5, outside="nan")
    assert window.dtype == np.float32
    assert np.isnan(window).sum() == 25 - 9
    assert np.isfinite(window[2:, :3]).all()


def test_integers_become_floats_only_where_cells_are_missing():
    grid = Grid(np.arange(10.0, 20), np.arange(100.0, 120))
    field = np.ones(grid.shape, "i4")
    assert cut_window(field, grid, 15, 110, 3, 3, outside="nan").dtype == np.int32
    assert cut_window(field, grid, 10, 110, 3, 3, outside="nan").dtype == np.float64


def test_a_region_that_touches_the_pole_does_not_go_over_it():
    grid = Grid(np.arange(80.5, 90), np.arange(0.0, 20))
    with pytest.raises(DataError, match="must lie on the grid"):
        window_index(grid, 89.5, 10, 3, 3)


def test_an_odd_number_of_columns_has_no_opposite_meridian():
    grid = Grid.regular(4, 5)
    assert window_index(grid, 0, 0, 1, 5).columns.shape == (1, 5)
    with pytest.raises(DataError, match="opposite meridian among the columns, got 5, an odd number"):
        window_index(grid, 80, 0, 3, 3)


@pytest.mark.parametrize(
    ("lat", "lon", "height", "width", "message"),
    [
        (np.nan, 0, 1, 1, "finite"),
        (0, np.inf, 1, 1, "finite"),
        (91, 0, 1, 1, r"\[-90, 90\]"),
        (0, 0, 0, 1, "from 1 x 1 to 4 x 8, got 0 x 1"),
        (0, 0, 5, 1, "from 1 x 1 to 4 x 8, got 5 x 1"),
        (0, 0, 1, 9, "got 1 x 9"),
    ],
)
def test_impossible_windows_are_refused(lat, lon, height, width, message):
    with pytest.raises(DataError, match=message):
        window_index(Grid.regular(4, 8), lat, lon, height, width)


def test_a_field_of_another_grid_is_refused():
    with pytest.raises(DataError, match=r"must end in the grid's shape \(4, 8\), got \(8, 4\)"):
        cut_window(np.zeros((8, 4)), Grid.regular(4, 8), 0, 0, 1, 1)


def test_a_hundred_thousand_windows_at_once_equal_one_at_a_time():
    grid = Grid.regular(90, 180)
    field = np.random.default_rng(0).normal(size=grid.shape).astype("f4")
    rng = np.random.default_rng(1)
    lat, lon = rng.uniform(-90, 90, 100_000), rng.uniform(0, 360, 100_000)
    windows = cut_window(field, grid, lat, lon, 9, 9)
    assert windows.shape == (100_000, 9, 9)
    for i in range(0, 100_000, 1999):
        np.testing.assert_array_equal(windows[i], cut_window(field, grid, lat[i], lon[i], 9, 9))
