"""Names and units: the table, the line between two units, packing, and fill values declared or not."""

import contextlib

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from isopleth.errors import DataError
from isopleth.io import LEXICON, convert, find_conversion, open_fields
from isopleth.io.decode import plan_decoding
from isopleth.io.lexicon import read_name
from isopleth.io.units import Conversion, parse_units

DAY = 86400.0


@pytest.mark.parametrize(
    ("source", "target", "scale", "offset"),
    [
        ("cm", "m", 0.01, 0.0),
        ("centimeter", "m", 0.01, 0.0),
        ("mm", "m", 0.001, 0.0),
        ("C", "K", 1.0, 273.15),
        ("degC", "K", 1.0, 273.15),
        ("degrees C", "K", 1.0, 273.15),
        ("Celsius", "K", 1.0, 273.15),
        ("degF", "K", 5 / 9, 273.15 - 32 * 5 / 9),
        ("hPa", "Pa", 100.0, 0.0),
        ("millibars", "hPa", 1.0, 0.0),
        ("mb", "Pa", 100.0, 0.0),
        ("mm/day", "kg m-2 s-1", 1 / DAY, 0.0),
        ("mm d-1", "kg m-2 s-1", 1 / DAY, 0.0),
        ("m s-1", "kg m-2 s-1", 1000.0, 0.0),
        ("kg m-2 s-1", "mm/day", DAY, 0.0),
        ("kg m**-2 s**-1", "kg m-2 s-1", 1.0, 0.0),
        ("kg.m-2.s-1", "kg m-2 s-1", 1.0, 0.0),
        ("kg/m^2", "m", 0.001, 0.0),
        ("m of water equivalent", "m", 1.0, 0.0),
        ("m**2 s**-2", "m2 s-2", 1.0, 0.0),
        ("gpm", "m", 1.0, 0.0),
        ("g kg-1", "kg kg-1", 0.001, 0.0),
        ("%", "1", 0.01, 0.0),
        ("(0 - 1)", "1", 1.0, 0.0),
        ("psu", "1e-3", 1.0, 0.0),
        ("mm/year", "mm year-1", 1.0, 0.0),
        ("cm yr-1", "mm year-1", 10.0, 0.0),
        ("W/m2", "W m-2", 1.0, 0.0),
    ],
)
def test_conversions(source, target, scale, offset):
    found = find_conversion(source, target)
    assert found.scale == pytest.approx(scale, rel=1e-9)
    assert found.offset == pytest.approx(offset, rel=1e-9, abs=0)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("K", "m"),
        ("m", "m2 s-2"),
        ("mm", "kg m-2 s-1"),
        ("m", "kg m-2 s-1"),
        ("bananas", "m"),
        ("1e400 m", "m"),
    ],
)
def test_what_measures_something_else_is_refused(source, target):
    with pytest.raises(DataError, match="units must be"):
        find_conversion(source, target)


@given(
    st.floats(-1e4, 1e4),
    st.sampled_from([("degC", "K"), ("cm", "m"), ("mm/day", "kg m-2 s-1"), ("hPa", "Pa")]),
)
def test_conversion_and_back_is_the_identity(value, units):
    there = convert(np.array([value, np.nan]), *units)
    back = convert(there, *reversed(units))
    np.testing.assert_allclose(back, [value, np.nan], rtol=1e-9, atol=1e-9)


@given(st.text(max_size=20))
def test_any_text_is_a_unit_or_a_data_error(text):
    with contextlib.suppress(DataError):
        parse_units(text)


def test_every_unit_of_the_lexicon_is_known_and_every_spelling_convertible():
    for quantity in LEXICON.values():
        parse_units(quantity.units)
        for units in quantity.spellings.values():
            find_conversion(units, quantity.units)


@pytest.mark.parametrize(
    ("name", "attrs", "expected"),
    [
        ("z", {"units": "m**2 s**-2"}, "geopotential"),
        ("z", {"units": "m"}, "geopotential_height"),
        ("zg", {"units": "m"}, "geopotential_height"),
        ("gh", {"units": "gpm"}, "geopotential_height"),
        ("Z3", {"units": "m"}, "geopotential_height"),
        ("pr", {"units": "kg m-2 s-1"}, "mean_total_precipitation_rate"),
        ("pr", {"units": "mm/day"}, "mean_total_precipitation_rate"),
        ("pr", {"units": "mm"}, "total_precipitation"),
        ("prcp", {"units": "mm/day"}, "mean_total_precipitation_rate"),
        ("Prec", {"units": "mm"}, "total_precipitation"),
        ("PRECT", {"units": "m/s"}, "mean_total_precipitation_rate"),
        ("rr", {"units": "mm"}, "total_precipitation"),
        ("tas", {"units": "K", "standard_name": "air_temperature"}, "2m_temperature"),
        ("ta", {"units": "K", "standard_name": "air_temperature"}, "temperature"),
        ("tasmax", {"units": "K", "standard_name": "air_temperature"}, "maximum_2m_temperature"),
        ("2m_temperature", {}, "2m_temperature"),
        ("t2m", {"units": "K", "standard_name": "unknown"}, "2m_temperature"),
        ("TREFHT", {"units": "K"}, "2m_temperature"),
        ("wind", {"units": "m s-1"}, "10m_wind_speed"),
        ("wind", {"units": "m s-1", "standard_name": "eastward_wind"}, "u_component_of_wind"),
        ("sla", {"units": "m"}, "sea_level_anomaly"),
        ("ssh_anything", {"units": "m", "standard_name": "sea_surface_height_above_geoid"},
        "sea_surface_height"), ("votemper", {"units": "degC", "standard_name":
        "sea_water_potential_temperature"},
         "sea_water_potential_temperature"),
        ("theta", {"units": "K", "standard_name": "sea_water_potential_temperature"},
         "sea_water_potential_temperature"),
        ("pp", {"units": "hPa"}, "mean_sea_level_pressure"),
        ("my_index", {"units": "parrots"}, "my_index"),
    ],
)  # fmt: skip
def test_names(name, attrs, expected):
    assert read_name(name, attrs).name == expected


def test_height_above_ground_decides():
    attrs = {"units": "K", "standard_name": "air_temperature"}
    assert read_name("air_temperature", attrs, height_m=1.5).name == "2m_temperature"
    assert read_name("air_temperature", attrs, height_m=100.0).name == "temperature"


def test_units_that_are_not_stated_are_the_providers_and_recorded():
    ds = grid(ssh=[[100.0, 200.0]])
    fields = open_fields(ds)
    np.testing.assert_allclose(fields["sea_surface_height"].values, [[1.0, 2.0]])
    assert "units not stated, taken to be cm" in fields.attrs["history"]


def grid(*, attrs=None, dtype="f4", **fields):
    (name, values), *_ = fields.items()
    values = np.asarray(values, dtype)
    coords = {"lat": ("lat", np.arange(values.shape[0])), "lon": ("lon", np.arange(values.shape[1]))}
    return xr.Dataset({name: (("lat", "lon"), values, attrs or {})}, coords=coords)


def opened(**options):
    return next(iter(open_fields(grid(**options)).data_vars.values())).values


def test_fill_scale_and_units_in_this_order():
    attrs = {
        "units": "degC",
        "scale_factor": 0.1,
        "add_offset": 5.0,
        "_FillValue": np.int16(-1),
        "missing_value": 7,
    }
    values = opened(t2m=[[10, -1], [7, 0]], dtype="i2", attrs=attrs)
    np.testing.assert_allclose(values, [[279.15, np.nan], [np.nan, 278.15]])
    assert values.dtype == np.float32


def test_a_fill_declared_in_double_masks_floats():
    values = opened(zos=[[0.5, 1e20]], attrs={"units": "m", "_FillValue": 1e20})
    np.testing.assert_allclose(values, [[0.5, np.nan]])


@pytest.mark.parametrize("fill", [1e20, 1e36, 9.96921e36, -1e34, 1.8446744e19, -3.4e38])
def test_huge_fills_that_nobody_declared(fill):
    np.testing.assert_allclose(opened(ssh=[[50.0, fill]], attrs={"units": "cm"}), [[0.5, np.nan]])


@pytest.mark.parametrize("fill", [1e20, 1e36, 9.969209968386869e36, 2.0**64])
def test_huge_fills_of_unknown_variables(fill):
    values = opened(heat=[[1e22, fill]], attrs={"units": "J"})
    assert values[0, 0] == np.float32(1e22)
    assert np.isnan(values[0, 1])


@pytest.mark.parametrize("name", ["ppt", "tmax", "sst", "sla"])
@pytest.mark.parametrize("fill", [-9999.0, -999.0])
def test_small_fills_count_where_the_quantity_cannot_be_so(name, fill):
    units = {"ppt": "mm", "tmax": "degC", "sst": "K", "sla": "m"}[name]
    assert np.isnan(opened(**{name: [[5.0, fill]]}, attrs={"units": units})).tolist() == [[False, True]]


def test_small_fills_are_values_where_they_may_be():
    values = opened(orog=[[5.0, -9999.0]], attrs={"units": "m", "standard_name": "surface_altitude"})
    assert values.tolist() == [[5.0, -9999.0]]
    assert opened(index=[[5.0, -9999.0]]).tolist() == [[5.0, -9999.0]]


def test_unsigned_bytes_of_classic_files():
    attrs = {"_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 0.5}
    np.testing.assert_allclose(opened(index=[[-1, -2, 2]], dtype="i1", attrs=attrs), [[np.nan, 127.0, 1.0]])


def test_plain_integers_stay_what_they_are():
    assert opened(flag=[[1, 2]], dtype="i4").dtype == np.int32
    assert opened(flag=[[1, 2]], dtype="f8").dtype == np.float64
    assert opened(flag=[[2**31 - 1, 2]], dtype="i4", attrs={"_FillValue": 2}).tolist()[0][0] == 2**31 - 1


@given(
    st.lists(st.integers(-32766, 32767), min_size=1, max_size=20),
    st.floats(1e-5, 1e3),
    st.floats(-1e4, 1e4),
)
def test_unpacking_is_the_formula_in_float64(raw, scale, offset):
    values = np.array([*raw, -32767], "i2")
    attrs = {"scale_factor": scale, "add_offset": offset, "_FillValue": np.int16(-32767)}
    plan = plan_decoding(xr.Variable("x", values, attrs), None, Conversion(2.0, 3.0))
    with np.errstate(over="ignore"):
        expected = ((np.array(raw, float) * scale + offset) * 2.0 + 3.0).astype(np.float32)
    found = plan.apply(values)
    np.testing.assert_allclose(found[:-1], expected, rtol=3e-7, atol=1e-9 * (abs(offset) + scale * 32767))
    assert np.isnan(found[-1])
