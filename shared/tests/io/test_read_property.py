"""For any grid, order of axes, longitude convention and unit: the same values at the same places."""

import numpy as np
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.io import open_fields
from isopleth.testing import Stored, write_raw

UNITS = {  # name, units -> canonical name, scale, offset
    ("t2m", "K"): ("2m_temperature", 1.0, 0.0),
    ("tas", "degC"): ("2m_temperature", 1.0, 273.15),
    ("SSH", "cm"): ("sea_surface_height", 0.01, 0.0),
    ("zos", "m"): ("sea_surface_height", 1.0, 0.0),
    ("msl", "hPa"): ("mean_sea_level_pressure", 100.0, 0.0),
    ("pr", "mm/day"): ("mean_total_precipitation_rate", 1 / 86400.0, 0.0),
    ("something", "furlong"): ("something", 1.0, 0.0),
}
NAMES = {
    "lat": ("lat", "latitude", "Latitude"),
    "lon": ("lon", "longitude", "Longitude"),
    "time": ("time", "Time"),
}


@st.composite
def layouts(draw):
    """A field on a grid, stored in some order of its axes and of the values along each."""
    lat = sorted(draw(st.lists(st.integers(-90, 90), min_size=1, max_size=5, unique=True)))
    lon = sorted(draw(st.lists(st.integers(0, 359), min_size=1, max_size=6, unique=True)))
    times = sorted(draw(st.lists(st.integers(0, 400), min_size=1, max_size=4, unique=True)))
    return {
        "lat": np.array(lat, float),
        "lon": np.array(lon, float),
        "time": np.array(times, float),
        "rows": draw(st.permutations(range(len(lat)))),
        "columns": draw(st.permutations(range(len(lon)))),
        "turns": np.array(
            draw(st.lists(st.sampled_from([-360.0, 0.0, 360.0]), min_size=len(lon), max_size=len(lon)))
        ),
        "dims": draw(st.permutations(["time", "lat", "lon"])),
        "names": {axis: draw(st.sampled_from(names)) for axis, names in NAMES.items()},
        "quantity": draw(st.sampled_from(sorted(UNITS))),
        "missing": draw(st.booleans()),
    }


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_equal_values_at_equal_places(tmp_path_factory, layout):
    name, scale, offset = UNITS[layout["quantity"]]
    names, dims = layout["names"], layout["dims"]
    shape = (layout["time"].size, layout["lat"].size, layout["lon"].size)
    values = np.arange(1.0, np.prod(shape) + 1).reshape(shape).astype("f4")
    if layout["missing"]:
        values[0, 0, 0] = np.nan
    source = xr.DataArray(values, dims=("time", "lat", "lon"))
    stored = source.isel(lat=list(layout["rows"]), lon=list(layout["columns"])).transpose(*dims)
    lon = (layout["lon"] + layout["turns"])[list(layout["columns"])]
    since = {"units": "days since 2001-01-01", "calendar": "standard"}
    axes = {
        "lat": (layout["lat"][list(layout["rows"])], {"units": "degrees_north"}),
        "lon": (lon, {"units": "degrees_east"}),
        "time": (layout["time"], since),
    }
    variables = {names[k]: Stored(dims=(names[k],), values=v, attrs=a) for k, (v, a) in axes.items()}
    short, units = layout["quantity"]
    data = np.where(np.isnan(stored.values), np.float32(1e20), stored.values)
    stored_dims = tuple(names[d] for d in dims)
    variables[short] = Stored(dims=stored_dims, values=data, attrs={"units": units}, fill=np.float32(1e20))
    path = write_raw(tmp_path_factory.mktemp("any") / "a.nc", variables)

    # A column repeated one turn on is the one thing that cannot be told from a cyclic point.
    fields = open_fields(path)
    assert fields[name].dims == ("time", "lat", "lon")
    np.testing.assert_array_equal(fields["lat"].values, layout["lat"])
    np.testing.assert_array_equal(fields["lon"].values, layout["lon"])
    expected = values.astype(float) * scale + offset
    np.testing.assert_allclose(fields[name].values, expected, rtol=2e-7)
    one = fields[name].isel(time=-1, lat=slice(None, None, -1), lon=[0])
    np.testing.assert_allclose(one.values, expected[-1, ::-1, [0]].T, rtol=2e-7)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(-90, 90), st.integers(-90, 90)).map(sorted),
    st.integers(-360, 360),
    st.integers(0, 360),
)
def test_region_is_what_a_loop_over_cells_finds(latitudes, west, width):
    lat, lon = np.arange(-90.0, 91.0, 15.0), np.arange(0.0, 360.0, 15.0)
    data = np.arange(lat.size * lon.size, dtype="f4").reshape(lat.size, lon.size)
    ds = xr.Dataset({"a": (("lat", "lon"), data)}, coords={"lat": lat, "lon": lon})
    low, high = latitudes
    inside = [
        [data[i, j] for j in range(lon.size) if (lon[j] - west) % 360 <= width]
        for i in range(lat.size)
        if low <= lat[i] <= high
    ]
    inside = [row for row in inside if row]
    if not inside:
        return
    found = open_fields(ds, region=(low, high, west, west + width))["a"].values
    np.testing.assert_array_equal(found, np.array(inside))
