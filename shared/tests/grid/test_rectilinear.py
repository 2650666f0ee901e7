"""The grid against closed forms of the sphere."""

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import DataError
from isopleth.grid import EARTH_RADIUS_KM, Grid

SPHERE_KM2 = 4 * math.pi * EARTH_RADIUS_KM**2


def gaussian_latitudes(n):
    nodes, _ = np.polynomial.legendre.leggauss(n)
    return np.degrees(np.arcsin(nodes))


GLOBAL_GRIDS = {
    "pole-free": Grid.regular(32, 64),
    "with poles": Grid.regular(73, 144, poles=True),
    "decreasing latitude": Grid(np.linspace(90, -90, 37), np.arange(0, 360, 5.0)),
    "from -180": Grid(np.arange(-85, 90, 10.0), np.arange(-180, 180, 10.0)),
    "offset seam": Grid(np.arange(-85, 90, 10.0), (np.arange(0, 360, 10.0) + 73) % 360),
    "decreasing longitude": Grid(np.arange(-85, 90, 10.0), np.arange(350, -1, -10.0)),
    "Gaussian": Grid(gaussian_latitudes(32), np.arange(64) * 5.625),
    "fine Gaussian": Grid(gaussian_latitudes(640), np.arange(0, 360, 30.0)),
    "irregular longitudes": Grid([-45.0, 45.0], [0.0, 100.0, 170.0, 270.0]),
    "float32 tenths": Grid(np.arange(-89.95, 90, 0.1, "f4"), np.arange(0.05, 360, 0.1, "f4")),
    "three columns over the seam": Grid([-45.0, 45.0], [120.0, 240.0, 0.0]),
    "two rows": Grid([-90.0, 90.0], [0.0, 180.0]),
}


@pytest.mark.parametrize("name", GLOBAL_GRIDS)
def test_cells_of_a_global_grid_cover_the_sphere_once(name):
    grid = GLOBAL_GRIDS[name]
    # float32 axes place their edges, and so the seam, to 1e-5 degrees only
    exact = 1e-6 if "float32" in name else 1e-13
    assert grid.cell_areas_km2.shape == grid.shape
    assert grid.cell_areas_km2.sum() == pytest.approx(SPHERE_KM2, rel=exact)
    assert (grid.cell_areas_km2 > 0).all()
    assert grid.is_periodic
    assert grid.is_global
    assert grid.weights.mean() == pytest.approx(1, rel=1e-14)


def test_weights_are_sine_differences_of_the_bounds():
    grid = Grid([-90.0, -30.0, 0.0, 90.0], [0.0, 180.0])
    np.testing.assert_allclose(grid.lat_bounds, [[-90, -60], [-60, -15], [-15, 45], [45, 90]])
    edges = np.sin(np.radians([-90, -60, -15, 45, 90]))
    np.testing.assert_allclose(grid.weights, 4 * np.diff(edges) / 2, rtol=1e-14)


def test_weights_equal_those_of_weatherbench_2_on_its_64_by_32_grid():
    """Written out from the definition: bounds midway, the outermost on the poles, normalised to mean 1."""
    lat = np.linspace(-87.1875, 87.1875, 32)
    edges = np.concatenate([[-np.pi / 2], np.radians((lat[:-1] + lat[1:]) / 2), [np.pi / 2]])
    area = np.sin(edges[1:]) - np.sin(edges[:-1])
    np.testing.assert_allclose(Grid(lat, [0.0]).weights, area / area.mean(), rtol=1e-13)


def test_weights_of_a_pole_row_are_the_closed_form_of_a_half_row():
    grid = Grid(np.linspace(-90, 90, 181), [0.0])
    cap = 1 - math.cos(math.radians(0.5))
    assert grid.weights[0] == pytest.approx(181 * cap / 2, rel=1e-10)
    assert grid.weights[0] == grid.weights[-1]


def test_weights_follow_the_order_given():
    lat = np.array([-80.0, -20.0, 5.0, 60.0])
    up, down = Grid(lat, [0.0, 90.0]), Grid(lat[::-1], [0.0, 90.0])
    np.testing.assert_array_equal(up.weights, down.weights[::-1])
    np.testing.assert_array_equal(up.lat_bounds, down.lat_bounds[::-1])
    assert (down.lat_bounds[:, 0] < down.lat_bounds[:, 1]).all()


def test_integral_of_a_known_function_converges_as_the_square_of_the_spacing():
    """The mean of sin^2(lat) over the sphere is 1/3."""
    errors = []
    for n in (30, 60, 120):
        grid = Grid.regular(n, 4)
        errors.append(abs(np.average(np.sin(np.radians(grid.lat)) ** 2, weights=grid.weights) - 1 / 3))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize(
    ("lat", "lon"),
    [(np.arange(30, 61.0), np.arange(-10, 31.0)), (np.arange(60, 29.0, -1), np.arange(350, 391.0) % 360)],
    ids=["ascending", "across Greenwich, descending"],
)
def test_a_regional_grid_has_the_area_of_its_box(lat, lon):
    grid = Grid(lat, lon)
    box = (
        EARTH_RADIUS_KM**2 * math.radians(41) * (math.sin(math.radians(60.5)) - math.sin(math.radians(29.5)))
    )
    assert grid.cell_areas_km2.sum() == pytest.approx(box, rel=1e-12)
    assert not grid.is_periodic
    assert not grid.is_global
    assert not grid.has_poles


def test_a_region_cut_at_greenwich_and_sorted_keeps_its_cell_widths():
    grid = Grid([0.0, 1.0], np.concatenate([np.arange(0, 11.0), np.arange(350, 360.0)]))
    np.testing.assert_allclose(np.diff(grid.lon_bounds, axis=1), 1)
    assert not grid.is_periodic


def test_one_missing_meridian_makes_a_grid_not_periodic():
    assert not Grid([0.0, 1.0], np.arange(0, 359.0)).is_periodic


@pytest.mark.parametrize(
    ("lat", "north"),
    [([60.0, 70, 80], 85), ([80.0, 85, 89], 90), ([87.0, 88, 89], 89.5), ([-1.0, 0, 1], 1.5)],
)
def test_the_outermost_row_ends_at_the_pole_only_where_no_other_row_fits(lat, north):
    assert Grid(lat, [0.0]).lat_bounds[-1, 1] == north


def test_has_poles_needs_a_row_on_each():
    assert Grid.regular(3, 4, poles=True).has_poles
    assert not Grid.regular(3, 4).has_poles
    assert not Grid([0.0, 90.0], [0.0]).has_poles


def test_a_single_row_is_as_high_as_its_columns_are_wide():
    grid = Grid([10.0], np.arange(0, 360, 45.0))
    np.testing.assert_allclose(grid.lat_bounds, [[-12.5, 32.5]])
    assert grid.weights.tolist() == [1.0]
    assert grid.is_periodic
    assert not grid.is_global


def test_a_single_column_is_as_wide_as_its_rows_are_high():
    np.testing.assert_allclose(Grid([0.0, 2.0], [7.0]).lon_bounds, [[6, 8]])


def test_a_single_cell_has_a_weight_but_no_bounds():
    grid = Grid([10.0], [20.0])
    assert grid.weights.tolist() == [1.0]
    with pytest.raises(DataError, match="single cell"):
        _ = grid.cell_areas_km2


@settings(deadline=None)
@given(
    cuts=st.lists(st.integers(-899, 899), min_size=1, max_size=12, unique=True),
    columns=st.integers(2, 9),
    start=st.floats(-400, 400),
    flip=st.booleans(),
)
def test_weights_and_areas_agree_on_any_grid(cuts, columns, start, flip):
    lat = np.sort(np.array(cuts) / 10)
    grid = Grid(lat[::-1] if flip else lat, start + np.arange(columns) * 360 / columns)
    rows = grid.cell_areas_km2.sum(axis=1)
    np.testing.assert_allclose(grid.weights, rows / rows.mean(), rtol=1e-9)
    assert grid.weights.mean() == pytest.approx(1)
    assert (grid.lat_bounds[:, 0] <= grid.lat).all()
    assert (grid.lat <= grid.lat_bounds[:, 1]).all()
    np.testing.assert_allclose(grid.lon_bounds.mean(axis=1), grid.lon, atol=1e-9)
    assert (grid.lon_bounds[:, 1] - grid.lon_bounds[:, 0]).sum() == pytest.approx(360)


@pytest.mark.parametrize(
    ("lat", "lon", "message"),
    [
        ([], [0.0], "latitude must be a 1-D axis"),
        ([[0.0]], [0.0], "latitude must be a 1-D axis"),
        ([0.0, np.nan], [0.0], "latitude must be finite, got nan at index 1"),
        ([0.0, 91.0], [0.0], r"latitude must lie in \[-90, 90\], got 91"),
        ([0.0, 1.0, 1.0], [0.0], "latitude must be strictly monotonic, got 1 then 1 at index 1"),
        ([0.0, 2.0, 1.0], [0.0], "latitude must be strictly monotonic, got 2 then 1"),
        ([0.0], [0.0, np.inf], "longitude must be finite"),
        ([0.0], [0.0, 0.0], "longitude must run one way and meet each meridian once, got 0 then 0"),
        ([0.0], [0.0, 360.0], "meet each meridian once, got 0 then 360"),
        ([0.0], [0.0, 10.0, 5.0, 20.0], "must run one way and meet each meridian once, got 10 then 5"),
        ([0.0], [10.0, 20.0, 0.0, 15.0], "meet each meridian once, got 0 then 15"),
        ([0.0], np.arange(0, 361.0), "meet each meridian once, got 359 then 360"),
    ],
)
def test_an_axis_that_is_none_is_refused(lat, lon, message):
    with pytest.raises(DataError, match=message):
        Grid(lat, lon)


def test_a_pole_stored_in_float32_is_the_pole():
    assert Grid(np.array([-90.00001, 0, 90.00001], "f4"), [0.0, 180.0]).has_poles


def test_grids_are_values():
    a, b = Grid([0.0, 1.0], [0.0, 1.0]), Grid(np.array([0, 1], "i4"), np.array([0, 1], "f4"))
    assert a == b
    assert len({a, b}) == 1
    assert a != Grid([1.0, 0.0], [0.0, 1.0])
    assert a != "a"
    assert repr(a) == "Grid(2 x 2, lat 0..1, lon 0..1)"
    with pytest.raises(ValueError, match="read-only"):
        a.lat[0] = 5


def test_the_arrays_given_are_copied():
    lat = np.array([0.0, 1.0])
    grid = Grid(lat, [0.0])
    lat[0] = -50
    assert grid.lat[0] == 0


def test_of_reads_coordinates_and_names_what_is_missing():
    ds = xr.Dataset(coords={"lat": [0.0, 1.0], "lon": [5.0, 6.0]})
    assert Grid.of(ds) == Grid([0.0, 1.0], [5.0, 6.0])
    with pytest.raises(DataError, match=r"must include lat and lon, got \['latitude'\]"):
        Grid.of(xr.Dataset(coords={"latitude": [0.0]}))
    curved = xr.Dataset(coords={"lat": (("y", "x"), np.zeros((2, 2))), "lon": (("y", "x"), np.zeros((2, 2)))})
    with pytest.raises(DataError, match="curvilinear"):
        Grid.of(curved)


def test_regular_refuses_nothing():
    with pytest.raises(DataError, match="rows and columns, got 0 x 4"):
        Grid.regular(0, 4)
