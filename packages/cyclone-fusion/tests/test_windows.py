"""Windows are those of a plain loop, follow the storm anywhere on Earth, and each field is read once."""

from collections import Counter
from dataclasses import replace

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

from cyclone_fusion.config import SampleConfig, WindowConfig
from cyclone_fusion.data import build_samples
from cyclone_fusion.prepare import attach_windows
from cyclone_fusion.tracks import read_tracks
from cyclone_fusion.windows import WindowCutter, open_window_fields
from isopleth.errors import ConfigError, DataError
from isopleth.grid import longitude_difference

WINDOW = WindowConfig(levels=(500.0, 700.0), size=5, spacing_deg=5.0)


def by_hand(fields, samples, config):
    """Cut windows by nearest points, one selection after the other, float64 throughout."""
    reach = (np.arange(config.size) - config.size // 2) * config.spacing_deg
    out = []
    for number in range(samples.sizes["sample"]):
        one = samples.isel(sample=number)
        channels = []
        for hours in config.offset_hours:
            time = one["time"].values + np.timedelta64(hours, "h")
            lat, lon = one["lat"].item(), one["lon"].item()
            if hours and config.centre == "then":
                lat, lon = one["past_lat"].values[-hours // 6 - 1], one["past_lon"].values[-hours // 6 - 1]
            row = fields["lat"].values[np.abs(fields["lat"].values - lat).argmin()]
            column = fields["lon"].values[np.abs(longitude_difference(fields["lon"].values, lon)).argmin()]
            for name in config.variables:
                field = fields[name].sel(time=time)
                cut = field.sel(lat=row + reach, lon=(column + reach) % 360, method="nearest")
                channels += list(cut.sel(level=list(config.levels)).values)
        out.append(channels)
    return np.array(out)


def write(tmp_path, table):
    path = tmp_path / "tracks.csv"
    table.to_csv(path, index=False)
    return read_tracks(path)


@pytest.mark.parametrize("centre", ["then", "now"])
def test_windows_are_those_of_a_plain_loop(one_season, make_fields, centre):
    config = WindowConfig(levels=(700.0, 500.0), size=5, spacing_deg=5.0, centre=centre)
    samples = build_samples(one_season, SampleConfig()).isel(sample=slice(None, None, 7))
    fields = make_fields(one_season)
    found = attach_windows(samples, fields, config)
    assert found["windows"].shape == (samples.sizes["sample"], 12, 5, 5)
    np.testing.assert_array_equal(found["windows"].values, by_hand(fields, samples, config))
    assert found["channel"].values[0] == "u_component_of_wind_700_+0h"
    assert found["track_id"].equals(samples["track_id"])


@pytest.mark.parametrize("convention", [0, -180])
def test_a_storm_at_the_dateline(tmp_path, make_table, make_fields, convention):
    table = make_table(storms=1)
    table["lon"] = (179.0 + 0.1 * np.arange(16) - convention) % 360 + convention
    table["lat"] = 14.0
    tracks = write(tmp_path, table)
    samples = build_samples(tracks, SampleConfig())
    fields = make_fields(tracks)
    np.testing.assert_array_equal(
        attach_windows(samples, fields, WINDOW)["windows"].values, by_hand(fields, samples, WINDOW)
    )


def test_a_window_over_the_pole_turns_the_wind(tmp_path, make_table, make_fields):
    """A uniform flow over the pole is one flow on both sides: its components change sign beyond."""
    table = make_table(storms=1)
    table["lat"], table["lon"] = 84.0, 20.0 + 0.1 * np.arange(16)
    tracks = write(tmp_path, table)
    fields = make_fields(tracks)
    angle = np.radians(fields["lon"])
    fields["u_component_of_wind"] = (-np.sin(angle)).broadcast_like(fields["u_component_of_wind"])
    fields["v_component_of_wind"] = (-np.cos(angle)).broadcast_like(fields["v_component_of_wind"])
    fields["u_component_of_wind"].attrs["units"] = fields["v_component_of_wind"].attrs["units"] = "m s-1"
    samples = build_samples(tracks, SampleConfig())
    fields = fields.transpose("time", "level", "lat", "lon")
    windows = attach_windows(samples, fields, WINDOW)["windows"].values
    u, v = windows[:, 0], windows[:, 2]
    # Along a meridian that goes on over the pole the flow keeps its direction.
    np.testing.assert_allclose(u, np.broadcast_to(u[:, 2:3], u.shape), atol=1e-6)
    np.testing.assert_allclose(v, np.broadcast_to(v[:, 2:3], v.shape), atol=1e-6)


def test_a_finer_grid_gives_every_nth_point(one_season, make_fields):
    samples = build_samples(one_season, SampleConfig())
    fields = make_fields(one_season, spacing=2.5)
    found = attach_windows(samples, fields, WINDOW)["windows"].values
    dense = WindowConfig(levels=(500.0, 700.0), size=9, spacing_deg=2.5)
    every = attach_windows(samples, fields, dense)["windows"].values
    np.testing.assert_array_equal(found, every[..., ::2, ::2])


def test_each_field_is_read_once_for_all_storms(one_season, make_fields):
    samples = build_samples(one_season, SampleConfig())
    samples = samples.isel(sample=np.argsort(samples["time"].values, kind="stable"))
    fields = make_fields(one_season)
    reads = Counter()

    def note(block, block_info=None):
        reads[block_info[0]["chunk-location"][0]] += 1
        return block

    lazy = fields.copy()
    for name in fields.data_vars:
        array = dask.array.from_array(fields[name].values, chunks=(1, -1, -1, -1))
        lazy[name] = (fields[name].dims, array.map_blocks(note, dtype="f4", meta=np.empty((0,) * 4, "f4")))
        lazy[name].attrs = fields[name].attrs
    with dask.config.set(scheduler="synchronous"):
        pieces = list(WindowCutter(open_window_fields(lazy, WINDOW), samples, WINDOW).cut())
    assert sum(map(len, pieces)) == samples.sizes["sample"]
    needed = set(samples["time"].values) | set(samples["time"].values - np.timedelta64(6, "h"))
    assert len(reads) == len(needed)
    # Once for each of the three variables, however many storms and offsets look at it.
    assert set(reads.values()) == {3}


def test_cutting_may_begin_anywhere(one_season, make_fields):
    samples = build_samples(one_season, SampleConfig())
    samples = samples.isel(sample=np.argsort(samples["time"].values, kind="stable"))
    cutter = WindowCutter(open_window_fields(make_fields(one_season), WINDOW), samples, WINDOW)
    whole = np.concatenate(list(cutter.cut()))
    np.testing.assert_array_equal(np.concatenate(list(cutter.cut(first=17))), whole[17:])


def test_fields_that_end_before_the_season_name_the_storm(one_season, make_fields):
    samples = build_samples(one_season, SampleConfig())
    fields = make_fields(one_season)
    with pytest.raises(DataError, match=r"storm S0\d\d at 2001-") as caught:
        attach_windows(samples, fields.isel(time=slice(0, 30)), WINDOW)
    assert "fields go from" in str(caught.value)


def test_a_nan_patch_names_storm_and_channel_or_is_kept(one_season, make_fields):
    samples = build_samples(one_season, SampleConfig())
    fields = make_fields(one_season)
    one = samples.isel(sample=40)
    row = int(np.abs(fields["lat"].values - one["lat"].item()).argmin())
    column = int(np.abs(fields["lon"].values - one["lon"].item()).argmin())
    step = int(np.flatnonzero(fields["time"].values == one["time"].values)[0])
    fields["geopotential"][step, 1, row, column] = np.nan
    with pytest.raises(DataError, match=r"geopotential_700_\+0h around S\d+ at 2001") as caught:
        attach_windows(samples, fields, WINDOW)
    assert "--missing mask" in str(caught.value)
    kept = attach_windows(samples, fields, WINDOW, mask=True)["windows"].values
    assert np.isnan(kept[40, 5, 2, 2])
    assert 1 <= np.isnan(kept).sum() <= 8


def test_what_cannot_be_cut_is_one_error(one_season, make_fields):
    fields = make_fields(one_season)
    samples = build_samples(one_season, SampleConfig())
    with pytest.raises(DataError, match="levels 225 hPa, got 500, 700"):
        open_window_fields(fields, WindowConfig(size=5, spacing_deg=5.0))
    with pytest.raises(DataError, match="geopotential"):
        open_window_fields(fields.drop_vars("geopotential"), WINDOW)
    with pytest.raises(DataError, match="multiple of the grid's spacing"):
        open_window_fields(fields, WindowConfig(levels=(500.0,), size=5, spacing_deg=7.0))
    with pytest.raises(DataError, match="back to -12 h"):
        attach_windows(samples, fields, replace(WINDOW, offset_hours=(0, -18)))
    with pytest.raises(ConfigError, match="odd"):
        WindowConfig(size=4)
    with pytest.raises(ConfigError, match="follow the storm"):
        WindowConfig(offset_hours=(0, 6))


def test_offsets_ahead_are_read_around_the_present_place(one_season, make_fields):
    """A forecast file holds fields ahead of the fix: any offsets, around where the storm is now."""
    config = WindowConfig(levels=(500.0,), offset_hours=(0, 12), size=3, spacing_deg=5.0, centre="now")
    samples = build_samples(one_season, SampleConfig(lead_hours=(12,))).isel(sample=slice(None, None, 7))
    fields = make_fields(one_season)
    np.testing.assert_array_equal(
        attach_windows(samples, fields, config)["windows"].values, by_hand(fields, samples, config)
    )


def test_published_channels():
    config = WindowConfig()
    assert len(config.channels) == 18
    assert len(config.channels_of("wind")) == 12
    assert len(config.channels_of("pressure")) == 6
    assert config.channels[9] == "u_component_of_wind_225_-6h"


def test_a_real_layout_is_opened(tmp_path, one_season, make_fields):
    """ERA5's short names, latitude descending, longitude from -180, levels descending."""
    fields = make_fields(one_season)
    era5 = fields.rename(
        u_component_of_wind="u", v_component_of_wind="v", geopotential="z", lat="latitude", lon="longitude"
    )
    era5 = era5.assign_coords(longitude=(era5["longitude"] + 180) % 360 - 180).sortby("longitude")
    era5 = era5.isel(latitude=slice(None, None, -1), level=slice(None, None, -1))
    era5.to_netcdf(tmp_path / "era5.nc", engine="netcdf4")
    samples = build_samples(one_season, SampleConfig()).isel(sample=slice(None, None, 7))
    np.testing.assert_array_equal(
        attach_windows(samples, tmp_path / "era5.nc", WINDOW)["windows"].values,
        by_hand(fields, samples, WINDOW),
    )


def test_two_fixes_are_no_track(tmp_path, make_table, make_fields):
    with pytest.raises(DataError, match="storm S000"):
        build_samples(write(tmp_path, make_table(storms=1, fixes=2)), SampleConfig(), with_target=False)


def test_steering_is_the_mass_weighted_wind_without_the_vortex(one_season, make_fields):
    samples = build_samples(one_season, SampleConfig())
    config = WindowConfig(levels=(225.0, 500.0, 700.0), size=5, spacing_deg=2.5)
    fields = make_fields(one_season, spacing=2.5, levels=(225.0, 500.0, 700.0))
    level = xr.DataArray([10.0, 20.0, 30.0], dims="level", coords={"level": fields["level"]})
    for name, factor in (("u_component_of_wind", 1.0), ("v_component_of_wind", -0.5)):
        fields[name] = (factor * level).broadcast_like(fields[name]).assign_attrs(units="m s-1")
    found = attach_windows(samples, fields.transpose("time", "level", "lat", "lon"), config)[
        "steering"
    ].values
    mean = (137.5 * 10 + 237.5 * 20 + 100 * 30) / 475
    np.testing.assert_allclose(found, np.tile([mean, -mean / 2], (len(found), 1)), rtol=1e-5)
    windless = attach_windows(samples, fields, replace(config, wind=()))
    assert np.isnan(windless["steering"].values).all()
