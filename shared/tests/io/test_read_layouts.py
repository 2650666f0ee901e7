"""Every layout of formats-and-traps.md, read back to the truth it was written from."""

import importlib.util

import numpy as np
import pytest
import xarray as xr

from isopleth.io import open_fields
from isopleth.testing import LAYOUTS

ORDER = ("member", "time", "lead", "level", "depth", "y", "x", "lat", "lon")


@pytest.fixture(params=sorted(LAYOUTS))
def written(request, tmp_path):
    return LAYOUTS[request.param](tmp_path)


def assert_same_fields(opened: xr.Dataset, truth: xr.Dataset) -> None:
    assert set(opened.data_vars) == set(truth.data_vars)
    for name, expected in truth.data_vars.items():
        found = opened[name]
        assert found.dims == expected.dims
        for dim in ("lat", "lon", "level", "time", "y", "x"):
            if dim in expected.coords:
                check_axis(found[dim].values, expected[dim].values)
        scale = float(np.nanmax(np.abs(expected)))
        np.testing.assert_allclose(found.values, expected.values, rtol=2e-7, atol=2e-7 * scale)
        assert found.dtype == np.float32 or expected.dtype == np.float64


def check_axis(found, expected):
    if expected.dtype.kind in "MO":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_values_places_and_times_are_the_truth(written):
    assert_same_fields(open_fields(written.path), written.truth)


def test_form_is_canonical(written):
    fields = open_fields(written.path)
    lat, lon = fields["lat"].values, fields["lon"].values
    assert lat.dtype == lon.dtype == np.float64
    assert np.nanmin(lon) >= 0.0
    assert np.nanmax(lon) < 360.0
    if lat.ndim == 1:
        assert (np.diff(lat) > 0).all()
        assert (np.diff(lon) > 0).all()
    for array in fields.data_vars.values():
        assert array.attrs["units"]
        assert [ORDER.index(d) for d in array.dims] == sorted(ORDER.index(d) for d in array.dims)
    assert fields.attrs["history"].startswith("isopleth ")
    assert fields.attrs["source"]


def test_same_values_under_dask(written):
    lazy, chunked = open_fields(written.path), open_fields(written.path, chunks={})
    assert all(array.chunks is not None for array in chunked.data_vars.values())
    xr.testing.assert_identical(chunked.compute(), lazy.compute())


def test_same_values_through_h5netcdf(written, monkeypatch):
    """A base install has h5netcdf with h5py; netCDF4 is taken where it happens to be installed."""
    expected = open_fields(written.path).load()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "netCDF4" else find(name))
    xr.testing.assert_equal(open_fields(written.path).load(), expected)


def test_opening_what_was_opened_changes_nothing(written):
    once = open_fields(written.path).load()
    again = open_fields(once)
    xr.testing.assert_equal(again.reset_coords(drop=True), once.reset_coords(drop=True))
