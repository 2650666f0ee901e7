"""Samples hold what a track says, wrap the dateline, and never share a storm between sides."""

import json

import numpy as np
import pandas as pd
import pytest

from cyclone_fusion.config import SampleConfig
from cyclone_fusion.data import FEATURES, build_samples, season_peak
from cyclone_fusion.tracks import read_tracks
from isopleth.errors import DataError


def write(tmp_path, table):
    path = tmp_path / "tracks.csv"
    table.to_csv(path, index=False)
    return read_tracks(path)


def test_features_of_a_steady_storm_in_degrees(tracks, table):
    samples = build_samples(tracks, SampleConfig(frame="degrees"))
    one = table[table["track_id"] == "S004"]
    step = one[["lon", "lat"]].diff().iloc[1].to_numpy()
    found = samples.isel(sample=np.flatnonzero(samples["track_id"].values == "S004"))
    features = found["features"].values
    np.testing.assert_allclose(features[:, :2], np.tile(step, (len(features), 1)), atol=1e-4)
    np.testing.assert_allclose(features[:, 2:4], np.tile(step, (len(features), 1)), atol=1e-4)
    np.testing.assert_allclose(found["target"].values[:, 0], np.tile(4 * step, (len(features), 1)), atol=1e-4)
    # Fixes 2 to 11 of 16 have two before them and one four steps after.
    assert len(features) == 10
    np.testing.assert_allclose(features[:, FEATURES.index("lat")], one["lat"].to_numpy()[2:12], rtol=1e-6)


@pytest.mark.parametrize("lead_hours", [6, 24, 48])
def test_a_sample_is_counted_or_left_out_for_a_reason(tracks, lead_hours):
    samples = build_samples(tracks, SampleConfig(lead_hours=(lead_hours,)))
    left_out = json.loads(samples.attrs["left_out"])
    assert samples.sizes["sample"] + sum(left_out.values()) == tracks.sizes["record"]
    assert samples.sizes["sample"] == 30 * (16 - 2 - lead_hours // 6)


def test_a_gap_breaks_no_other_sample(tmp_path, make_table):
    table = make_table(storms=2)
    tracks = write(tmp_path, table.drop(index=table.index[8]))
    samples = build_samples(tracks, SampleConfig())
    full = build_samples(write(tmp_path, table), SampleConfig())
    first = samples["track_id"].values == "S000"
    # A missing fix takes its own sample, the two that look back on it, and the one that leads to it.
    assert full.sizes["sample"] - samples.sizes["sample"] == 4
    assert first.sum() == 6


def test_one_storm_never_leads_into_the_next(tmp_path, make_table):
    """The second storm begins six hours after the first one ends, far away."""
    table = make_table(storms=2)
    other = table["track_id"] == "S001"
    start = table.loc[~other, "time"].max() + pd.Timedelta(hours=6)
    table.loc[other, "time"] = [start + pd.Timedelta(hours=6 * i) for i in range(other.sum())]
    samples = build_samples(write(tmp_path, table), SampleConfig(frame="degrees"))
    assert samples.sizes["sample"] == 20
    assert np.abs(samples["target"].values).max() < 5


@pytest.mark.parametrize("frame", ["tangent", "degrees"])
@pytest.mark.parametrize("convention", [0, -180])
def test_the_dateline_is_no_place(tmp_path, make_table, frame, convention):
    """A storm across 180° has the samples of the same storm elsewhere, but for longitude and land."""
    here, there = make_table(storms=1), make_table(storms=1)
    here["lon"] = 150.0 + 0.5 * np.arange(16)
    there["lon"] = (178.0 + 0.5 * np.arange(16) - convention) % 360 + convention
    config = SampleConfig(frame=frame)
    a = build_samples(write(tmp_path, here), config)
    b = build_samples(write(tmp_path, there), config)
    place = [FEATURES.index("lon"), FEATURES.index("distance_to_land")]
    keep = [i for i in range(len(FEATURES)) if i not in place]
    np.testing.assert_allclose(a["features"].values[:, keep], b["features"].values[:, keep], atol=2e-3)
    np.testing.assert_allclose(a["target"].values, b["target"].values, atol=2e-3)


def test_season_peak_in_both_hemispheres():
    days = np.array(["2001-09-10", "2001-03-11", "2001-03-11", "2001-09-10"], dtype="datetime64[ns]")
    found = season_peak(days, np.array([10.0, 10.0, -10.0, -10.0]))
    np.testing.assert_allclose(found, [1, 0, 1, 0], atol=1e-12)
    assert season_peak(days[:1] + np.timedelta64(25, "D"), np.array([10.0]))[0] == pytest.approx(np.exp(-1))


def test_without_a_target_the_last_fix_can_be_forecast(tracks):
    samples = build_samples(tracks, SampleConfig(), with_target=False)
    assert samples.sizes["sample"] == 30 * 14
    assert "target" not in samples
    last = tracks["time"].values[tracks["track_id"].values == "S000"].max()
    assert samples["time"].values[samples["track_id"].values == "S000"].max() == last


def test_unknown_wind_stays_unknown(tmp_path, make_table):
    table = make_table(storms=2)
    table["wind"] = np.nan
    samples = build_samples(write(tmp_path, table), SampleConfig())
    assert np.isnan(samples["features"].values[:, FEATURES.index("wind")]).all()
    assert np.isfinite(np.delete(samples["features"].values, FEATURES.index("wind"), axis=1)).all()


def test_several_leads_share_a_sample_and_end_with_the_track(tracks):
    samples = build_samples(tracks, SampleConfig(lead_hours=(6, 24, 48), frame="degrees"))
    assert samples["target"].dims == ("sample", "lead", "direction")
    # A fix is used while any lead is known: 16 fixes less two before and one after.
    assert samples.sizes["sample"] == 30 * 13
    known = np.isfinite(samples["target"].values).all(axis=-1)
    np.testing.assert_array_equal(known.sum(axis=0), [30 * 13, 30 * 10, 30 * 6])
    np.testing.assert_array_equal(np.isfinite(samples["target_lat"].values), known)
    both = known.all(axis=1)
    one = samples["target"].values[both]
    np.testing.assert_allclose(one[:, 2], 8 * one[:, 0], atol=1e-3)


def test_the_fixes_before_are_where_the_storm_was(tracks):
    samples = build_samples(tracks, SampleConfig(frame="degrees"))
    back = samples["lat"].values - samples["features"].values[:, 1]
    np.testing.assert_allclose(samples["past_lat"].values[:, 0], back, atol=1e-5)
    assert samples["past_lat"].sizes["step"] == 2


def test_a_storm_across_the_equator_has_samples_on_both_sides(tmp_path, make_table):
    table = make_table(storms=1)
    table["lat"], table["lon"] = -2.0 + 0.3 * np.arange(16), 160.0
    samples = build_samples(write(tmp_path, table), SampleConfig())
    lat = samples["lat"].values
    assert lat.min() < 0 < lat.max()
    np.testing.assert_allclose(samples["target"].values[:, 0, 1], 1.2 * 111.19, rtol=1e-3)
    assert len(np.unique(samples["season"].values)) == 1


def test_storms_without_a_sample_are_named(tmp_path, make_table):
    table = make_table(storms=3)
    short = table[(table["track_id"] != "S001") | (table["time"] < table["time"][16] + pd.Timedelta("12h"))]
    samples = build_samples(write(tmp_path, short), SampleConfig())
    assert json.loads(samples.attrs["left_out_storms"]) == ["S001"]


def test_tracks_too_short_to_forecast_are_refused(tmp_path, make_table):
    with pytest.raises(DataError, match=r"got none of 4 \(the first of storm S000\)"):
        build_samples(write(tmp_path, make_table(storms=2, fixes=2)), SampleConfig())
