import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError, DataError
from isopleth.verify import isotropic_spectrum, power_spectrum


def globe(longitudes=32, seed=0):
    rng = np.random.default_rng(seed)
    coords = {"time": [0, 1, 2], "lat": [-60.0, 0.0, 60.0], "lon": np.arange(longitudes) * 360 / longitudes}
    return xr.DataArray(rng.normal(3, 1, (3, 3, longitudes)), coords, ("time", "lat", "lon"))


def test_a_wave_has_half_its_squared_amplitude():
    longitude = np.arange(36) * 10.0
    field = xr.DataArray(2.0 + 3.0 * np.cos(np.deg2rad(4 * longitude + 25)), {"lon": longitude}, ["lon"])
    expected = np.zeros(19)
    expected[[0, 4]] = 4.0, 4.5
    np.testing.assert_allclose(power_spectrum(field), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 65), st.integers(0, 100))
def test_parseval_around_circles(longitudes, seed):
    field = globe(longitudes, seed)
    spectrum = power_spectrum(field)
    assert spectrum.sizes["zonal_wavenumber"] == longitudes // 2 + 1
    np.testing.assert_allclose(spectrum.sum("zonal_wavenumber"), (field**2).mean("lon"), rtol=1e-12)


def test_where_longitude_starts_does_not_matter():
    field = globe()
    np.testing.assert_allclose(
        power_spectrum(field.roll(lon=5, roll_coords=True)), power_spectrum(field), rtol=1e-10
    )


def test_mean_over_time_and_latitude_is_weighted():
    field = globe()
    weights = xr.DataArray([0.5, 1.0, 0.5], {"lat": field["lat"]}, ["lat"])
    each = power_spectrum(field)
    assert each.dims == ("time", "lat", "zonal_wavenumber")
    mean = power_spectrum(field, dims=("time", "lat"), weights=weights)
    np.testing.assert_allclose(mean, each.weighted(weights).mean(("time", "lat")), rtol=1e-12)


def test_a_circle_with_a_missing_value_drops_out():
    field = globe()
    field[0, 1, 3] = np.nan
    each = power_spectrum(field)
    assert np.isnan(each[0, 1]).all()
    assert np.isfinite(each[0, [0, 2]]).all()
    np.testing.assert_allclose(power_spectrum(field, dims="time")[1], each[1:, 1].mean("time"), rtol=1e-12)


def test_dask_equals_memory():
    field = globe()
    lazy = power_spectrum(field.chunk(lon=5, time=1))
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy, power_spectrum(field), rtol=1e-13)
    plane = isotropic_spectrum(field.chunk(lon=5, time=1), plane=("lat", "lon"))
    np.testing.assert_allclose(plane, isotropic_spectrum(field, plane=("lat", "lon")), rtol=1e-13)


def test_regional_longitudes_are_refused():
    with pytest.raises(
        DataError, match="'lon' must go around the globe in equal steps, got 16 values from 0"
    ):
        power_spectrum(globe().isel(lon=slice(16)))
    with pytest.raises(ConfigError, match="dim must be among"):
        power_spectrum(globe(), dim="longitude")


def test_bare_arrays_take_their_last_axes():
    field = globe()
    np.testing.assert_array_equal(power_spectrum(field.data), power_spectrum(field))
    np.testing.assert_array_equal(
        isotropic_spectrum(field.data), isotropic_spectrum(field, plane=("lat", "lon"))
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 100), st.sampled_from([1.0, 25.0, (2.0, 3.0)]))
def test_parseval_on_planes(rows, columns, seed, spacing):
    field = np.random.default_rng(seed).normal(1, 2, (2, rows, columns))
    spectrum = isotropic_spectrum(field, spacing=spacing)
    np.testing.assert_allclose(spectrum.sum("wavenumber"), (field**2).mean((-2, -1)), rtol=1e-12)


def test_a_plane_wave_of_any_direction_stands_on_its_ring():
    y, x = np.mgrid[0:40, 0:40] * 5.0  # km
    for k_y, k_x in ((0, 5), (5, 0), (3, 4), (-3, 4)):
        wave = 2.0 * np.cos(2 * np.pi * (k_y * y + k_x * x) / 200.0)
        spectrum = isotropic_spectrum(wave, spacing=5.0)
        expected = xr.zeros_like(spectrum)
        expected[5] = 2.0
        np.testing.assert_allclose(spectrum, expected, atol=1e-12)
        assert float(spectrum["wavenumber"][5]) == pytest.approx(5 / 200)


def test_a_plane_with_a_missing_value_is_nan():
    field = np.ones((2, 8, 8))
    field[0, 3, 3] = np.nan
    spectrum = isotropic_spectrum(field)
    assert np.isnan(spectrum[0]).all()
    assert float(spectrum[1].sum()) == pytest.approx(1.0)


def test_planes_must_exist_and_have_a_spacing():
    with pytest.raises(ConfigError, match="plane must be two of"):
        isotropic_spectrum(globe())
    with pytest.raises(ConfigError, match="spacing must be positive"):
        isotropic_spectrum(globe(), plane=("lat", "lon"), spacing=0.0)
