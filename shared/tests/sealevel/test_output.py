"""What is written can be read back by others' tools, and its summary is that of plain arithmetic."""

import csv
import json

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid
from isopleth.io.write import Provenance
from isopleth.sealevel.output import (
    describe_output,
    summarise,
    tabulate_cities,
    write_output,
    write_summary,
    write_table,
)

GRID = Grid.regular(90, 180)
COORDS = {"lat": GRID.lat, "lon": GRID.lon}
NAME = "sea_level_trend"


def field(values, **attrs):
    return xr.DataArray(np.broadcast_to(values, GRID.shape).copy(), COORDS, ("lat", "lon"), attrs=attrs)


@pytest.fixture
def output():
    lat = np.broadcast_to(GRID.lat[:, None], GRID.shape)
    trend = field(3.0 + lat / 90, units="mm year-1").where(lat > -80)
    segment = field(np.where(lat > 0, 1, 0)).astype(np.int64)
    segment.attrs = {"flag_values": [0, 1], "flag_meanings": "south north", "long_name": "region"}
    return describe_output(
        trend, name=NAME, long_name="trend of sea level", lower=trend - 3.4, upper=trend + 3.4,
        level=0.9, spread=trend * 0 + 1.0, segment=segment,
        contributions=xr.concat([trend, -trend], "model").assign_coords(model=["a", "b"]),
    )  # fmt: skip


def test_variables_say_what_they_are(output):
    assert output[NAME].attrs["ancillary_variables"].split() == [
        f"{NAME}_{k}" for k in ("lower", "upper", "spread")
    ]
    assert "90 %" in output[f"{NAME}_lower"].attrs["long_name"]
    assert all(output[v].attrs["units"] == "mm year-1" for v in output.data_vars if v != "segment")


def test_netcdf_and_zarr_come_back_as_they_went(output, tmp_path):
    origin = Provenance("sealevel-trend", "0.1.0", "abc", ("here",))
    paths = write_output(output, tmp_path, "trend", formats=("netcdf", "zarr"), provenance=origin)
    for opened in (xr.open_dataset(paths["netcdf"]), xr.open_zarr(paths["zarr"])):
        with opened:
            assert opened.attrs["Conventions"].startswith("CF-")
            assert opened["lat"].attrs["standard_name"] == "latitude"
            np.testing.assert_allclose(opened[NAME], output[NAME], rtol=1e-6)
            np.testing.assert_array_equal(opened["segment"], output["segment"])
            assert opened["segment"].attrs["flag_meanings"] == "south north"
            assert "sealevel-trend" in str(opened.attrs)


# rioxarray multiplies affine transforms in the way that affine is to give up.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_geotiff_is_north_up_from_the_dateline(output, tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    folder = write_output(output, tmp_path, "trend", formats=("geotiff",))["geotiff"]
    with rioxarray.open_rasterio(f"{folder}/{NAME}.tif") as raster:
        assert raster.rio.crs.to_epsg() == 4326
        assert raster.rio.bounds() == pytest.approx((-180 - 1, -90, 180 - 1, 90))
        assert raster.y[0] > raster.y[-1]
        north = raster.sel(y=51, x=-30, method="nearest").item()
        assert north == pytest.approx(output[NAME].sel(lat=51, lon=330).item(), rel=1e-6)
    with rioxarray.open_rasterio(f"{folder}/segment.tif") as raster:
        assert raster.dtype.kind == "i"


def test_a_grid_that_is_not_regular_is_no_geotiff(output, tmp_path):
    pytest.importorskip("rioxarray")
    with pytest.raises(DataError, match="lat axis must be regular"):
        write_output(output.isel(lat=[0, 1, 5, 40]), tmp_path, "trend", formats=("geotiff",))


def test_the_summary_is_weighted_by_area(output):
    summary = summarise(output, NAME)
    lat = np.radians(GRID.lat[GRID.lat > -80])
    area = np.sin(lat + np.radians(1)) - np.sin(lat - np.radians(1))
    values = 3.0 + np.degrees(lat) / 90
    assert summary["mean"] == pytest.approx((area * values).sum() / area.sum(), rel=1e-9)
    assert summary["cells"] == 85 * 180
    assert summary["mean_width"] == pytest.approx(6.8)
    assert summary["p05"] < summary["p50"] < summary["p95"]
    away = area[values > 3.4].sum() / area.sum()
    assert summary["share_away_from_zero"] == pytest.approx(away, rel=1e-9)
    assert summary["segments"]["1"] > 3 > summary["segments"]["0"]


def test_the_summary_and_the_cities_as_files(output, tmp_path):
    found = json.loads(write_summary(output, NAME, tmp_path / "s.json", period="2023-2052").read_text())
    assert found["period"] == "2023-2052"
    rows = tabulate_cities(output, ["Tokyo", "Sydney"])
    assert [row["city"] for row in rows] == ["Tokyo", "Sydney"]
    assert rows[0][NAME] == pytest.approx(3.0 + rows[0]["cell_lat"] / 90)
    with write_table(rows, tmp_path / "cities.csv").open() as file:
        written = list(csv.DictReader(file))
    assert float(written[1][f"{NAME}_lower"]) == pytest.approx(rows[1][f"{NAME}_lower"], abs=1e-4)


def test_a_city_without_sea_nearby_is_left_out(output):
    dry = output.where(output["lat"] > 20)
    assert [row["city"] for row in tabulate_cities(dry, ["Tokyo", "Sydney"])] == ["Tokyo"]


def test_half_an_interval_no_units_and_crossed_ends_are_refused():
    trend = field(1.0, units="mm year-1")
    with pytest.raises(ConfigError, match="given together"):
        describe_output(trend, name=NAME, long_name="trend", lower=trend)
    with pytest.raises(ConfigError, match="given together"):
        describe_output(trend, name=NAME, long_name="trend", lower=trend, upper=trend)
    with pytest.raises(DataError, match="above upper"):
        describe_output(trend, name=NAME, long_name="trend", lower=trend + 1, upper=trend, level=0.9)
    with pytest.raises(DataError, match="units"):
        describe_output(field(1.0), name=NAME, long_name="trend")
    with pytest.raises(DataError, match="one grid"):
        describe_output(trend, name=NAME, long_name="trend", spread=trend.assign_coords(lat=trend.lat + 0.5))


def test_an_unknown_format_is_refused(output, tmp_path):
    with pytest.raises(ConfigError, match="got 'shapefile'"):
        write_output(output, tmp_path, "trend", formats=("shapefile",))
