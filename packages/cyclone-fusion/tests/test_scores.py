"""Scores with known answers: along and across the way, skill, groups, ellipses, GeoJSON."""

import numpy as np
import pytest
import xarray as xr

from cyclone_fusion.config import SampleConfig
from cyclone_fusion.data import FEATURES, build_samples
from cyclone_fusion.frame import displacement
from cyclone_fusion.output import as_geojson
from cyclone_fusion.predict import Prediction
from cyclone_fusion.scores import (
    along_and_cross,
    claim_smaller,
    errors_km,
    score_components,
    score_errors,
    score_skill,
)
from cyclone_fusion.tracks import read_tracks


@pytest.fixture
def samples(tracks):
    return build_samples(tracks, SampleConfig())


def test_a_perfect_forecast_errs_by_nothing(samples):
    assert errors_km(samples, samples["target"].values).max() < 0.01


def test_errors_split_along_and_across_the_way(samples):
    """A northward mover that is forecast 100 km too far north and 50 km too far east."""
    one = samples.isel(sample=[0])
    lat, lon = one["lat"].values[:, None], one["lon"].values[:, None]
    north = one.assign(target_lat=(("sample", "lead"), lat + 3.0), target_lon=(("sample", "lead"), lon))
    to = displacement(lat, lon, lat + 3.0, lon, "tangent")
    along, cross = along_and_cross(north, to + np.array([50.0, 100.0]))
    assert along[0, 0] == pytest.approx(100.0, abs=1.0)
    assert cross[0, 0] == pytest.approx(50.0, abs=1.0)
    slow, left = along_and_cross(north, to - np.array([50.0, 100.0]))
    assert (slow[0, 0], left[0, 0]) == (pytest.approx(-100.0, abs=1.0), pytest.approx(-50.0, abs=1.0))


def test_along_and_across_make_up_the_error(samples):
    moved = samples["target"].values + np.random.default_rng(0).normal(size=samples["target"].shape) * 100
    along, cross = along_and_cross(samples, moved)
    np.testing.assert_allclose(np.hypot(along, cross), errors_km(samples, moved), rtol=1e-9)
    score = score_components(samples, moved, {"same": moved})[0]
    assert score.model == pytest.approx(np.abs(along).mean()) == score.baselines["same"]


def test_skill_is_one_less_the_ratio(samples):
    errors = np.random.default_rng(0).uniform(50, 100, (samples.sizes["sample"], 1))
    (skill,) = score_skill(samples, errors * 0.8, errors, "cliper", seed=0)
    assert skill.model == pytest.approx(0.2)
    assert skill.interval == pytest.approx((0.2, 0.2))


def test_groups_are_of_basin_intensity_and_latitude(samples):
    errors = np.random.default_rng(0).uniform(50, 100, (samples.sizes["sample"], 1))
    wind = samples["features"].values[:, FEATURES.index("wind")]
    scores = score_errors(samples, errors, {"twice": 2 * errors}, seed=0)
    assert [score.metric for score in scores[:2]] == ["mean_error", "median_error"]
    weak = next(score for score in scores if score.stratum.get("intensity") == "depression")
    assert weak.model == pytest.approx(errors[wind < 17.49].mean())
    assert weak.baselines["twice"] == pytest.approx(2 * weak.model)
    assert scores[1].model == pytest.approx(np.median(errors))
    # Fifteen storms a basin are too few for a row.
    assert {score.stratum.get("basin") for score in scores} == {"all", None}
    typical = next(s for s in scores if s.metric == "median_error" and "intensity" in s.stratum)
    assert typical.model == pytest.approx(np.median(errors[wind < 17.49]))
    marked = score_errors(samples, errors, {}, seed=0, data="simulated atmosphere")
    assert {score.stratum["data"] for score in marked} == {"simulated atmosphere"}


def test_each_basin_has_its_mean_and_its_median(tmp_path, make_table):
    make_table(storms=44).to_csv(tmp_path / "tracks.csv", index=False)
    samples = build_samples(read_tracks(tmp_path / "tracks.csv"), SampleConfig(lead_hours=(12, 24)))
    errors = np.random.default_rng(0).uniform(50, 100, (samples.sizes["sample"], 2))
    errors[np.isnan(samples["target_lat"].values)] = np.nan
    scores = score_errors(samples, errors, {}, seed=0)
    for basin in ("WP", "SP"):
        here = samples["basin"].values == basin
        for lead, hours in enumerate((12, 24)):
            where = {"lead_hours": hours, "basin": basin}
            mean, median = (score for score in scores if score.stratum == where)
            own = errors[here, lead]
            assert mean.model == pytest.approx(np.nanmean(own))
            assert median.model == pytest.approx(np.nanmedian(own))
            assert mean.n == median.n == 22


def test_a_claim_has_kilometres_and_a_sign(samples):
    errors = np.random.default_rng(0).uniform(50, 100, (samples.sizes["sample"], 1))
    claim = claim_smaller("less", samples, errors, errors + 5, seed=0)
    assert (claim.units, claim.holds) == ("km", True)
    assert claim.difference == pytest.approx(-5)
    assert claim_smaller("less", samples, errors, errors - 5, seed=0).holds is False


def test_ellipses_hold_what_lies_within():
    covariance = np.array([[[[4.0, 0.0], [0.0, 1.0]]]])
    found = Prediction(np.zeros((1, 1, 2)), np.array([2.0]), covariance)
    assert found.covers(np.array([[[3.9, 0.0]]])).all()
    assert not found.covers(np.array([[[0.0, 2.1]]])).any()


def test_geojson_goes_on_across_the_dateline():
    one = xr.Dataset(
        {
            "track_id": ("sample", ["S"]),
            "time": ("sample", np.array(["2020-01-01"], "datetime64[ns]")),
            "lat": ("sample", [10.0]),
            "lon": ("sample", [179.5]),
            "valid_time": (("sample", "lead"), np.array([["2020-01-02"]], "datetime64[ns]")),
            "forecast_lat": (("sample", "lead"), [[12.0]]),
            "forecast_lon": (("sample", "lead"), [[182.5]]),
            "ellipse_major": (("sample", "lead"), [[300.0]]),
            "ellipse_minor": (("sample", "lead"), [[100.0]]),
            "ellipse_azimuth": (("sample", "lead"), [[90.0]]),
        },
        coords={"lead": [24]},
    )
    line, ellipse = as_geojson(one)["features"]
    assert line["geometry"]["coordinates"] == [[179.5, 10.0], [182.5, 12.0]]
    assert line["properties"]["valid_time"] == ["2020-01-02T00:00:00Z"]
    ring = np.array(ellipse["geometry"]["coordinates"][0])
    assert ring[0].tolist() == ring[-1].tolist()
    assert np.ptp(ring[:, 0]) == pytest.approx(2 * 300 / 111.19 / np.cos(np.radians(12)), rel=0.01)
    assert np.ptp(ring[:, 1]) == pytest.approx(2 * 100 / 111.19, rel=0.02)
    assert np.abs(np.diff(ring[:, 0])).max() < 2
    # Anticlockwise, as exterior rings go.
    x, y = ring.T
    assert (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0
