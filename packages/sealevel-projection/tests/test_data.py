"""References, what networks see, what lies outside the training, and prepared datasets that are none."""

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from sealevel_projection.config import InputConfig, ProjectionConfig, SegmentConfig
from sealevel_projection.data import (
    extend_reference,
    network_inputs,
    open_prepared,
    read_archive,
    select_years,
    share_outside,
)
from sealevel_projection.experiments import hindcast_rows, projection_rows
from sealevel_projection.segments import divide_ocean


def test_a_line_is_fitted_to_its_years_alone_and_carried_on(archive):
    field = archive.models.isel(model=0)
    line = extend_reference(field, 1993, 2002, "line").values[:, 3, 5]
    years = field["time"].dt.year.values
    slope, level = np.polyfit(years[:10], field.values[:10, 3, 5], 1)
    np.testing.assert_allclose(
        line, level + slope * years, atol=1e-2
    )  # days of the middles differ by leap years
    changed = field.copy(data=np.where(np.arange(40)[:, None, None] < 10, field.values, -1e3))
    np.testing.assert_array_equal(extend_reference(changed, 1993, 2002, "line").values[:, 3, 5], line)


def test_the_mean_is_a_constant_of_its_years(archive):
    field = archive.models.isel(model=1)
    mean = extend_reference(field, 1993, 2002, "mean").values[:, 2, 7]
    np.testing.assert_allclose(mean, field.values[:10, 2, 7].mean(), rtol=1e-12)


def test_departures_of_the_hindcast_have_no_mean_and_under_lines_no_trend(archive):
    departed = archive.depart(1993, 2012, "line")
    past = select_years(departed.altimeter, 1993, 2012)
    assert float(np.abs(past.mean("time")).max()) < 1e-9
    index = xr.DataArray(np.arange(20) - 9.5, dims="time")
    assert float(np.abs((past * index).sum("time")).max()) < 1.0


def test_places_have_no_edge_at_the_dateline(archive, period):
    config = ProjectionConfig(period=period, segments=SegmentConfig(method="none"))
    rows = hindcast_rows(archive, config, divide_ocean(archive, config.segments, period))
    x, names = network_inputs(rows, place=True, season=True)
    assert names[-5:] == ("sin_lat", "sin_lon", "cos_lon", "sin_month", "cos_month")
    columns = x[:, len(archive.names) + 1 : len(archive.names) + 3]
    first, last = columns[rows.lon == rows.lon.min()][0], columns[rows.lon == rows.lon.max()][0]
    assert np.abs(first - last).max() < 0.25
    plain, names = network_inputs(rows, place=False, season=False)
    assert names == archive.names
    assert plain.dtype == np.float32


def test_the_share_outside_is_counted_by_area_and_segment(archive, period):
    config = ProjectionConfig(period=period, segments=SegmentConfig(method="basins"))
    segments = divide_ocean(archive, config.segments, period)
    train = hindcast_rows(archive, config, segments)
    assert float(share_outside(train, train).max()) == 0.0
    future = projection_rows(archive, config, segments)
    far = future.with_inputs(future.inputs + 1e6)
    np.testing.assert_allclose(share_outside(train, far), 1.0)
    half = future.with_inputs(np.where(future.lat[:, None] > 0, 1e6, 0.0) * np.ones_like(future.inputs))
    north = future.lat > 0
    expected = future.weight[north].sum() / future.weight.sum()
    np.testing.assert_allclose(share_outside(train, half)[0], expected, rtol=1e-12)


def prepared_dataset(archive, *, removed: bool = True) -> xr.Dataset:
    mean = xr.DataArray(0.003 * np.arange(40), dims="time", coords={"time": archive.models["time"]})
    fields = {
        "sea_surface_height": archive.models / 1000.0,
        "observed": archive.altimeter / 1000.0,
        "model_global_mean": 0.0 * mean.expand_dims(model=archive.models["model"]),
        "observed_global_mean": mean,
        "sea_mask": archive.altimeter.notnull().any("time"),
    }
    if not removed:
        fields["observed"] = fields["observed"] + mean
    ds = xr.Dataset(fields).assign_coords(forcing=("model", ["all"] * 4))
    return ds.assign_attrs(global_mean="removed" if removed else "kept", frequency="year", components="[]")


@pytest.mark.parametrize("removed", [True, False])
def test_the_global_mean_is_as_asked_for_whatever_was_prepared(archive, removed):
    prepared = prepared_dataset(archive, removed=removed)
    without = read_archive(prepared, InputConfig()).altimeter
    np.testing.assert_allclose(without, archive.altimeter, atol=1e-9)
    kept = read_archive(prepared, InputConfig(global_mean="keep")).altimeter
    np.testing.assert_allclose((kept - without).isel(time=10).mean(), 30.0, rtol=1e-9)


def test_members_become_a_forced_response_and_weather(archive):
    members = xr.concat([archive.models, archive.models + 20.0], dim="member") / 1000.0
    prepared = prepared_dataset(archive).assign(sea_surface_height=members)
    found = read_archive(prepared, InputConfig())
    np.testing.assert_allclose(found.models, archive.models + 10.0, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.weather, archive.models, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("what", ["missing", "text", "other"])
def test_what_is_no_prepared_dataset_is_refused_by_its_name(tmp_path, what):
    path = tmp_path / "prepared.nc"
    if what == "text":
        path.write_text("not a dataset")
    if what == "other":
        xr.Dataset({"t": ("x", [1.0])}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(DataError, match=r"prepared\.nc"):
        open_prepared(path, InputConfig())


def test_years_that_are_not_there_are_named(archive):
    with pytest.raises(DataError, match="models must cover 1993 to 2060"):
        archive.check_years(1993, 2012, 2060)
    with pytest.raises(DataError, match="altimeter must cover"):
        archive.check_years(1993, 2019, 2032)


def test_an_unknown_signal_is_named(archive):
    with pytest.raises(DataError, match="HadGEM"):
        archive.choose(InputConfig(signals=("CESM1", "HadGEM")))
