"""The ocean's mean: by exact areas, over what is there, and back again."""

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isopleth.sealevel import add_ocean_mean, ocean_mean, remove_ocean_mean


def field_of(values, lat=None):
    rows, columns = values.shape[-2:]
    lat = np.linspace(-90 + 90 / rows, 90 - 90 / rows, rows) if lat is None else lat
    coords = {"lat": lat, "lon": np.linspace(0, 360, columns, endpoint=False)}
    dims = ("time", "lat", "lon")[-values.ndim :]
    return xr.DataArray(values, coords, dims, attrs={"units": "m"})


def naive_mean(values, lat, height):
    """Sum cell by cell in plain Python."""
    total = share = 0.0
    for i, row in enumerate(values):
        area = np.sin(np.radians(lat[i] + height / 2)) - np.sin(np.radians(lat[i] - height / 2))
        for value in row:
            if np.isfinite(value):
                total, share = total + area * float(value), share + area
    return total / share


def test_mean_of_sine_squared_is_a_third():
    """The area mean of sin² of latitude on the sphere is 1/3; on rows of 1 degree to 1e-4."""
    lat = np.arange(-89.5, 90.0)
    field = field_of(np.repeat(np.sin(np.radians(lat))[:, None] ** 2, 4, axis=1), lat)
    assert float(ocean_mean(field)) == pytest.approx(1 / 3, abs=1e-4)


def test_mean_over_what_is_there():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(18, 36)).astype("f4")
    values[rng.random(values.shape) < 0.4] = np.nan
    field = field_of(values)
    assert float(ocean_mean(field)) == pytest.approx(naive_mean(values, field.lat.values, 10.0), rel=1e-10)


def test_a_field_without_values_has_no_mean():
    values = np.zeros((2, 6, 12), "f4")
    values[1] = np.nan
    assert np.isnan(ocean_mean(field_of(values)).values).tolist() == [False, True]


@given(arrays(np.float32, (3, 6, 12), elements=st.floats(-10, 10, width=32)), st.integers(0, 5))
def test_removed_and_put_back(values, row):
    values[:, row, 0] = np.nan
    field = field_of(values)
    departures, mean = remove_ocean_mean(field)
    assert departures.dtype == np.float32
    np.testing.assert_allclose(ocean_mean(departures), 0.0, atol=2e-6)
    np.testing.assert_allclose(add_ocean_mean(departures, mean), field, atol=4e-6)


def test_lazy_fields_stay_lazy():
    values = np.random.default_rng(1).normal(size=(5, 6, 12)).astype("f4")
    lazy = field_of(values).copy(data=dask.array.from_array(values, chunks=(2, 6, 12)))
    departures, mean = remove_ocean_mean(lazy)
    assert departures.chunks is not None
    assert mean.chunks is not None
    np.testing.assert_array_equal(departures, remove_ocean_mean(field_of(values))[0])
