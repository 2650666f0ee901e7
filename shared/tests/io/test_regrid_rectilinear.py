"""Bilinear and nearest between rectilinear grids, and what all methods share."""

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
import xarray_regrid  # noqa: F401 - registers the accessor
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid
from isopleth.io import regrid

METHODS = ["conservative", "bilinear", "nearest"]


def field(grid, data):
    return xr.DataArray(data, dims=("lat", "lon"), coords={"lat": grid.lat, "lon": grid.lon}, name="x")


def naive_bilinear(data, source, target):
    """Four corners by hand: rings of longitude closed, a mean row on each pole that cells reach."""
    rows, columns = np.argsort(source.lat), np.argsort(source.lon % 360)
    lat, lon = source.lat[rows], source.lon[columns] % 360
    values = data[np.ix_(rows, columns)]
    if lat[0] > -90 > lat[0] - (lat[1] - lat[0]):
        lat, values = np.r_[-90, lat], np.vstack([np.full(lon.size, values[0].mean()), values])
    if lat[-1] < 90 < lat[-1] + (lat[-1] - lat[-2]):
        lat, values = np.r_[lat, 90], np.vstack([values, np.full(lon.size, values[-1].mean())])
    lon, values = np.r_[lon[-1] - 360, lon, lon[0] + 360], np.hstack([values[:, -1:], values, values[:, :1]])
    out = np.full(target.shape, np.nan)
    for i, y in enumerate(target.lat):
        for j, x in enumerate(target.lon % 360):
            if lat[0] <= y <= lat[-1]:
                along = [np.interp(x, lon, row) for row in values]
                out[i, j] = np.interp(y, lat, along)
    return out


@st.composite
def periodic_grids(draw, min_rows=2):
    rows = draw(st.lists(st.integers(-90, 90), min_size=min_rows, max_size=6, unique=True).map(sorted))
    columns = draw(st.integers(2, 8))
    lon = draw(st.floats(-200, 400)) + np.arange(columns) * 360 / columns
    return Grid(rows[::-1] if draw(st.booleans()) else rows, lon % 360 if draw(st.booleans()) else lon)


@given(periodic_grids(), periodic_grids(min_rows=1), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_bilinear_equals_four_corners_by_hand(source, target, seed):
    data = np.random.default_rng(seed).normal(size=source.shape)
    expected = naive_bilinear(data, source, target)
    if np.isnan(expected).all():
        with pytest.raises(DataError, match="must overlap"):
            regrid(field(source, data), target, method="bilinear")
        return
    result = regrid(field(source, data), target, method="bilinear").values
    np.testing.assert_allclose(result, expected, atol=1e-6)


@given(periodic_grids(), periodic_grids(min_rows=1), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_nearest_takes_the_nearest_row_and_column(source, target, seed):
    data = np.random.default_rng(seed).normal(size=source.shape)
    south, north = source.lat_bounds.min(), source.lat_bounds.max()
    inside = (target.lat >= south) & (target.lat <= north)
    if not inside.any():
        with pytest.raises(DataError, match="must overlap"):
            regrid(field(source, data), target, method="nearest")
        return
    result = regrid(field(source, data), target, method="nearest").values
    np.testing.assert_array_equal(np.isfinite(result), np.broadcast_to(inside[:, None], target.shape))
    rows = np.abs(source.lat[:, None] - target.lat)
    columns = np.abs((source.lon[:, None] - target.lon + 180) % 360 - 180)
    for i, j in np.argwhere(np.isfinite(result)):
        near_rows = np.flatnonzero(rows[:, i] <= rows[:, i].min() + 1e-6)
        near_columns = np.flatnonzero(columns[:, j] <= columns[:, j].min() + 1e-6)
        assert result[i, j] in data[np.ix_(near_rows, near_columns)]


@pytest.mark.parametrize(
    "target",
    [
        Grid.regular(16, 32),
        Grid.regular(73, 144, poles=True),
        Grid(np.arange(-80, 81, 7.0), np.arange(-180, 180, 7.5)),
        Grid(np.arange(60, 29, -1.0), np.arange(-20, 41, 1.0)),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "source", [Grid.regular(45, 90), Grid(np.linspace(90, -90, 37), np.arange(-180, 180, 5.0))], ids=repr
)
def test_xarray_regrid_agrees_where_axes_are_ordinary(source, target):
    data = field(source, np.random.default_rng(0).normal(size=source.shape))
    frame = xr.Dataset(coords={"lat": target.lat, "lon": target.lon})
    ours, theirs = regrid(data, target, method="bilinear"), data.regrid.linear(frame)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    off_ties = Grid(target.lat * 0.9512, target.lon + 0.1234)
    frame = xr.Dataset(coords={"lat": off_ties.lat, "lon": off_ties.lon})
    ours, theirs = regrid(data, off_ties, method="nearest"), data.regrid.nearest(frame)
    np.testing.assert_array_equal(ours, theirs)


def test_bilinear_closes_the_seam():
    source = Grid.regular(18, 36)
    wave = np.cos(np.radians(source.lon)) * np.ones((18, 1))
    target = Grid(np.arange(-80, 81, 10.0), np.arange(0, 360, 2.5))
    result = regrid(field(source, wave), target, method="bilinear")
    assert result.notnull().all()
    np.testing.assert_allclose(result, np.cos(np.radians(target.lon)) * np.ones((17, 1)), atol=0.004)


def test_bilinear_reaches_the_poles_of_a_grid_without_polar_rows():
    source, target = Grid.regular(18, 36), Grid.regular(19, 36, poles=True)
    data = np.random.default_rng(0).normal(size=source.shape)
    result = regrid(field(source, data), target, method="bilinear")
    assert result.notnull().all()
    np.testing.assert_allclose(result[0], data[0].mean())
    np.testing.assert_allclose(result[-1], data[-1].mean())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "target",
    [
        Grid(np.arange(60, 29, -2.0), np.arange(-20, 41, 2.0)),
        Grid(np.arange(30, 61, 2.0), np.arange(340, 401, 2.0) % 360),
        Grid([12.3], [359.9]),
        Grid([12.3], [-0.1, 0.1]),
        Grid([10.0, 12.0], [180.0]),
    ],
    ids=["Greenwich, descending", "Greenwich, wrapped", "one cell", "one row", "one column"],
)
def test_regional_targets_are_full_and_right(method, target):
    source = Grid.regular(180, 360)
    smooth = np.sin(np.radians(source.lat))[:, None] * np.cos(np.radians(source.lon))
    if target.shape == (1, 1) and method == "conservative":
        with pytest.raises(DataError, match="single cell"):
            regrid(field(source, smooth), target, method=method)
        return
    result = regrid(field(source, smooth), target, method=method)
    truth = np.sin(np.radians(target.lat))[:, None] * np.cos(np.radians(target.lon))
    np.testing.assert_allclose(result, truth, atol=0.02)
    np.testing.assert_array_equal(result["lat"], target.lat)
    np.testing.assert_array_equal(result["lon"], target.lon)


@pytest.mark.parametrize("method", METHODS)
def test_a_region_in_another_longitude_convention_is_the_same_region(method):
    east = Grid(np.arange(40, 50, 0.1), np.arange(350.1, 359.9, 0.1))
    west = Grid(east.lat, np.round(east.lon - 360, 10))
    data = np.random.default_rng(0).normal(size=east.shape)
    np.testing.assert_allclose(regrid(field(east, data), west, method=method), data, atol=1e-6)


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_a_single_row_holds_for_the_height_of_its_cells(method):
    source = Grid([0.0], np.arange(0, 360, 10.0))
    data = np.random.default_rng(0).normal(size=source.shape)
    result = regrid(field(source, data), Grid([-4.0, 0, 4, 8], source.lon), method=method)
    np.testing.assert_allclose(result[:3], np.repeat(data, 3, axis=0))
    assert np.isnan(result[3]).all()


def test_missing_values_are_weighed():
    source, target = Grid([0.0, 1.0], [0.0, 1.0]), Grid([0.25, 0.75], [0.25, 0.75])
    data = field(source, [[1.0, 2.0], [3.0, np.nan]])
    weights = np.array([0.75 * 0.75, 0.75 * 0.25, 0.25 * 0.75])
    result = regrid(data, target, method="bilinear", min_valid=0.5)
    assert float(result[0, 0]) == pytest.approx(float(weights @ [1, 2, 3] / weights.sum()))
    assert np.isnan(result[1, 1])
    assert regrid(data, target, method="bilinear", min_valid=0.0).notnull().all()
    assert int(regrid(data, target, method="bilinear", min_valid=1.0).notnull().sum()) == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "i4", "bool"])
def test_float_dtypes_are_kept_and_others_become_float(method, dtype):
    source = Grid.regular(8, 16)
    result = regrid(field(source, np.ones(source.shape, dtype)), Grid.regular(4, 8), method=method)
    assert result.dtype == {"i2": "f4", "i4": "f8", "bool": "f4"}.get(dtype, dtype)
    np.testing.assert_array_equal(result, 1)


def test_sums_are_float64():
    """A mean of a million float32 values near 1e8 would be off by far more than the last bit."""
    source, target = Grid.regular(500, 1000), Grid([-45.0, 45.0], [90.0, 270.0])
    data = (1e8 + 100 * np.random.default_rng(0).random(source.shape)).astype("f4")
    single, double = regrid(field(source, data), target), regrid(field(source, data.astype("f8")), target)
    np.testing.assert_array_equal(single, double.astype("f4"))


@pytest.fixture
def ds():
    source = Grid.regular(18, 36)
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "x": (
                ("time", "level", "lat", "lon"),
                rng.normal(size=(4, 2, 18, 36)).astype("f4"),
                {"units": "K"},
            ),
            "y": (("lon", "time", "lat"), rng.normal(size=(36, 4, 18)), {"long_name": "why"}),
            "series": ("time", np.arange(4.0), {"units": "1"}),
        },
        coords={
            "time": np.arange(4),
            "level": ("level", [500, 850], {"units": "hPa"}),
            "lat": ("lat", source.lat, {"units": "degrees_north"}),
            "lon": ("lon", source.lon, {"units": "degrees_east"}),
            "height": (("lat", "lon"), np.zeros((18, 36))),
            "run": 7,
        },
        attrs={"title": "t"},
    )


@pytest.mark.parametrize("method", METHODS)
def test_attributes_coordinates_and_the_order_of_dimensions_stay(method, ds):
    result = regrid(ds, Grid.regular(4, 8), method=method)
    assert result.attrs == ds.attrs
    assert result["x"].attrs == {"units": "K"}
    assert result["y"].attrs == {"long_name": "why"}
    assert result["x"].dims == ds["x"].dims
    assert result["y"].dims == ds["y"].dims
    assert result["lat"].attrs == {"units": "degrees_north"}
    assert result["level"].attrs == {"units": "hPa"}
    assert int(result["run"]) == 7
    assert "height" not in result.coords, "a coordinate of the old grid"
    xr.testing.assert_identical(result["series"].drop_vars("run"), ds["series"].drop_vars("run"))
    one = regrid(ds["y"], Grid.regular(4, 8), method=method)
    assert one.name == "y"
    xr.testing.assert_equal(one, result["y"])


@pytest.mark.parametrize("method", METHODS)
def test_dask_stays_dask_with_its_chunks_along_time(method, ds):
    target = Grid.regular(4, 8)
    lazy = regrid(ds.chunk(time=1, lat=5, lon=7), target, method=method)
    assert lazy["x"].chunks[0] == (1, 1, 1, 1)
    assert lazy["y"].chunks[1] == (1, 1, 1, 1)
    xr.testing.assert_allclose(
        lazy.compute(scheduler="synchronous"), regrid(ds, target, method=method), atol=1e-6
    )


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_computed_before_it_is_asked_for(method):
    source = Grid.regular(8, 16)
    zeros = dask.array.zeros((2, 8, 16), chunks=(1, -1, -1))
    fails = zeros.map_blocks(lambda block: 1 / 0, meta=np.zeros((0, 0, 0)))
    data = xr.DataArray(fails, dims=("time", "lat", "lon"), coords={"lat": source.lat, "lon": source.lon})
    lazy = regrid(data, Grid.regular(4, 8), method=method)
    with pytest.raises(ZeroDivisionError):
        lazy.compute(scheduler="synchronous")


@pytest.mark.parametrize("method", METHODS)
def test_memory_is_bounded_by_chunks(method):
    import tracemalloc

    source = Grid.regular(180, 360)
    data = dask.array.ones((200, 180, 360), dtype="f4", chunks=(2, -1, -1))
    big = xr.DataArray(data, dims=("time", "lat", "lon"), coords={"lat": source.lat, "lon": source.lon})
    lazy = regrid(big, Grid.regular(32, 64), method=method)
    with dask.config.set(scheduler="synchronous"):
        tracemalloc.start()
        lazy.sum().compute()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < data.nbytes / 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [Grid([50.0, 51.0], [10.0, 11.0]), Grid([1.0, 2.0], [200.0, 201.0])])
def test_a_target_elsewhere_is_refused(method, target):
    source = Grid([0.0, 1.0, 2.0], [10.0, 11.0, 12.0])
    with pytest.raises(DataError, match=r"target must overlap the source, got Grid\(2 x 2"):
        regrid(field(source, np.zeros(source.shape)), target, method=method)


def test_what_cannot_be_regridded_is_named():
    source, target = Grid.regular(4, 8), Grid.regular(2, 4)
    zonal = xr.Dataset({"zonal": ("lat", np.zeros(4))}, coords={"lat": source.lat, "lon": source.lon})
    with pytest.raises(DataError, match="must have both lat and lon, got") as failure:
        regrid(zonal, target)
    assert failure.value.where == "zonal"
    text = field(source, np.full(source.shape, "a"))
    with pytest.raises(DataError, match="must be numeric, got <U1"):
        regrid(text, target)
    with pytest.raises(DataError, match="must include lat and lon"):
        regrid(xr.DataArray(np.zeros((2, 2)), dims=("y", "x")), target)


def test_settings_are_checked():
    source = Grid.regular(4, 8)
    data = field(source, np.zeros(source.shape))
    with pytest.raises(
        ConfigError, match="method must be one of conservative, bilinear, nearest, got 'cubic'"
    ):
        regrid(data, source, method="cubic")
    with pytest.raises(ConfigError, match=r"min_valid must lie in \[0, 1\], got 2"):
        regrid(data, source, min_valid=2)
