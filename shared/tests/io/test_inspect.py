"""How a source is understood, as a person and as a program read it."""

import json

import numpy as np
import pytest
import xarray as xr

from isopleth.io import inspect_source
from isopleth.testing import LAYOUTS, write_cesm_pop, write_duacs, write_era5_old_cds, write_weatherbench2


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_is_described(layout, tmp_path):
    written = LAYOUTS[layout](tmp_path)
    found = inspect_source(written.path)
    assert {v.name for v in found.variables} == set(written.truth.data_vars)
    irregular = [line for line in found.problems if "irregular: 24 to 48 hours" in line]
    assert list(found.problems) == irregular
    assert bool(irregular) == (layout == "daymet")  # whose leap years lack their last day
    assert json.loads(json.dumps(found.to_dict()))["files"] == found.files
    text = str(found)
    for variable in found.variables:
        assert variable.name in text
        assert variable.source_name in text


def test_packed_reanalysis(tmp_path):
    found = inspect_source(write_era5_old_cds(tmp_path).path)
    assert found.formats == ("NetCDF 3",)
    assert found.dims == {"time": 4, "level": 2, "lat": 13, "lon": 18}
    assert found.axes["lat"] == "latitude"
    assert found.time == {
        "calendar": "standard", "first": "2001-01-30", "last": "2001-02-02", "count": 4, "step": "1 days",
    }  # fmt: skip
    assert found.grid["kind"] == "regular"
    assert found.grid["resolution"] == {"lat": 15.0, "lon": 20.0}
    assert found.grid["poles"]
    assert found.grid["periodic"]
    first = next(v for v in found.variables if v.name == "geopotential")
    assert (first.source_name, first.units, first.source_units) == ("z", "m2 s-2", "m**2 s**-2")
    assert first.packed
    assert any("packed" in line for line in found.advice)


def test_ocean_model(tmp_path):
    found = inspect_source(write_cesm_pop(tmp_path).path)
    assert found.grid["kind"] == "curvilinear"
    assert found.grid["cells_without_place"] == 16
    assert found.time["calendar"] == "noleap"
    assert found.time["step"] == "monthly"
    assert any("centimeter to m" in line for line in found.done)
    assert any("convert_calendar" in line for line in found.advice)
    assert "time_bound" in found.left_out


def test_store_chunks_and_region(tmp_path):
    found = inspect_source(write_weatherbench2(tmp_path).path)
    assert found.formats == ("Zarr 2",)
    assert {v.chunks for v in found.variables} == {(1, 2, 24, 12), (1, 24, 12)}
    assert not found.grid["poles"]
    regional = inspect_source(write_duacs(tmp_path).path)
    assert regional.grid["lat"] == (-59.9375, 52.5625)


def fields(values, units, name="t2m", time=None):
    coords = {"lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    dims = ("lat", "lon")
    if time is not None:
        coords["time"], dims = time, ("time", "lat", "lon")
    shape = tuple(len(coords[d]) for d in dims)
    attrs = {} if units is None else {"units": units}
    return xr.Dataset({name: (dims, np.full(shape, values, "f4"), attrs)}, coords=coords)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (fields(15.0, "K"), "a wrong units attribute"),
        (fields(1013.0, "Pa", name="msl"), "a wrong units attribute"),
        (fields(np.nan, "K"), "every value of a sample is missing"),
        (fields(50.0, None, name="SSH"), "units are not stated, taken to be cm"),
        (
            fields(280.0, "K", time=np.array(["2001-01-01", "2001-01-02", "2001-01-05"], "datetime64[ns]")),
            "irregular: 24 to 72 hours",
        ),
    ],
)
def test_problems(data, problem):
    assert any(problem in line for line in inspect_source(data).problems)


def test_unknown_variables_are_named():
    assert any("lexicon" in line for line in inspect_source(fields(1.0, "furlong", name="odd")).advice)
