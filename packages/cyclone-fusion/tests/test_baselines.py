"""Persistence carries motion on; the regression recovers the law that made the samples."""

import numpy as np
import pytest
import xarray as xr

from cyclone_fusion.baselines import CLIPER, Climatology, Cliper, advection, forecast_baselines, persistence
from cyclone_fusion.config import SampleConfig, SplitConfig
from cyclone_fusion.data import FEATURES, build_samples
from cyclone_fusion.scores import errors_km
from cyclone_fusion.split import Split, split_samples


def test_persistence_is_exact_for_steady_motion_in_degrees(tracks):
    samples = build_samples(tracks, SampleConfig(frame="degrees"))
    assert errors_km(samples, persistence(samples)).max() < 0.05


@pytest.mark.parametrize("lead_hours", [6, 12, 24])
def test_persistence_scales_with_the_lead(tracks, lead_hours):
    samples = build_samples(tracks, SampleConfig(lead_hours=(lead_hours,)))
    expected = samples["features"].values[:, None, :2] * lead_hours / 6
    np.testing.assert_allclose(persistence(samples), expected)


def make_samples(tracks, seed=0):
    """Random predictors, and a target that is a second-order law of them, another in each basin."""
    samples = build_samples(tracks, SampleConfig())
    samples = samples.isel(sample=np.resize(np.arange(samples.sizes["sample"]), 4000))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4000, len(FEATURES))).astype(np.float32)
    sign = np.where(samples["basin"].values == "WP", 1.0, -1.0)
    target = np.column_stack([3 + x[:, 0] * x[:, 4] - x[:, 8] ** 2, sign * (2 * x[:, 5] + x[:, 7])])
    return samples.assign(
        features=(("sample", "feature"), x),
        target=(("sample", "lead", "direction"), target[:, None].astype(np.float32)),
    )


def test_regression_recovers_a_second_order_law_in_each_basin(tracks):
    samples = make_samples(tracks)
    fitted = Cliper.fit(samples)
    assert set(fitted.coefficients) == {"WP", "SP"}
    np.testing.assert_allclose(fitted.predict(samples), samples["target"].values, atol=1e-4)


def test_a_basin_never_seen_gets_the_regression_over_all(tracks):
    samples = make_samples(tracks)
    fitted = Cliper.fit(samples)
    elsewhere = samples.assign_coords(basin=("sample", np.full(4000, "NI")))
    everywhere = Cliper(fitted.mean, fitted.scale, {}, fitted.everywhere)
    np.testing.assert_array_equal(fitted.predict(elsewhere), everywhere.predict(samples))


def test_an_unknown_predictor_stands_at_its_mean(tracks):
    samples = make_samples(tracks)
    fitted = Cliper.fit(samples)
    wind = FEATURES.index("wind")
    unknown, at_mean = samples["features"].values.copy(), samples["features"].values.copy()
    unknown[:, wind], at_mean[:, wind] = np.nan, fitted.mean[wind]
    dims = ("sample", "feature")
    np.testing.assert_allclose(
        fitted.predict(samples.assign(features=(dims, unknown))),
        fitted.predict(samples.assign(features=(dims, at_mean))),
        atol=1e-5,
    )


def test_steering_flow_carries_a_storm_over_the_lead(tracks):
    samples = build_samples(tracks, SampleConfig(lead_hours=(6, 24)))
    flow = np.tile(np.float32([5.0, -2.0]), (samples.sizes["sample"], 1))
    moved = advection(samples.assign(steering=(("sample", "direction"), flow)))
    np.testing.assert_allclose(moved[:, 0], np.tile([108.0, -43.2], (len(flow), 1)), rtol=1e-6)
    np.testing.assert_allclose(moved[:, 1], 4 * moved[:, 0], rtol=1e-6)


def test_steering_in_degrees_leads_to_the_same_place(tracks):
    arrived = []
    for frame in ("tangent", "degrees"):
        samples = build_samples(tracks, SampleConfig(frame=frame))
        flow = np.tile(np.float32([6.0, 3.0]), (samples.sizes["sample"], 1))
        arrived.append(
            errors_km(samples, advection(samples.assign(steering=(("sample", "direction"), flow))))
        )
    np.testing.assert_allclose(arrived[0], arrived[1], atol=1e-6)


def test_climatology_is_the_mean_of_the_nearest(tracks):
    samples = build_samples(tracks, SampleConfig())
    here = samples.isel(sample=[0] * 150)
    moved = np.random.default_rng(0).normal(size=(150, 1, 2)).astype(np.float32)
    near = here.assign(target=(("sample", "lead", "direction"), moved))
    far = near.assign_coords(lat=("sample", np.full(150, -40.0)))
    far["target"] = far["target"] + 1000
    both = xr.concat([near.isel(sample=slice(100)), far], "sample")
    found = Climatology.fit(both).predict(samples.isel(sample=[0]))
    np.testing.assert_allclose(found[0], moved[:100].mean(axis=0), rtol=1e-4, atol=1e-6)


def test_steering_enters_the_regression(tracks):
    samples = make_samples(tracks)
    flow = np.random.default_rng(1).normal(size=(4000, 2)).astype(np.float32)
    target = (70 * flow + samples["target"].values[:, 0])[:, None]
    known = samples.assign(
        steering=(("sample", "direction"), flow), target=(("sample", "lead", "direction"), target)
    )
    np.testing.assert_allclose(Cliper.fit(known, steering=True).predict(known), target, atol=1e-2)
    assert np.abs(Cliper.fit(known).predict(known) - target).mean() > 10


@pytest.fixture
def split(tracks):
    samples = build_samples(tracks, SampleConfig(lead_hours=(12, 24)))
    return split_samples(samples, SplitConfig(train_until=2005, validate_until=2007))


def test_no_baseline_sees_what_became_of_the_storms_that_did_not_train(split):
    expected = forecast_baselines(split)
    spoilt = [each.assign(target=each["target"] * 0 + 1e6) for each in (split.validate, split.test)]
    found = forecast_baselines(Split(split.train, *spoilt))
    for name, moved in expected.items():
        np.testing.assert_array_equal(found[name], moved, err_msg=name)


def test_every_baseline_forecasts_every_test_sample(split):
    found = forecast_baselines(split)
    assert list(found) == ["persistence", "climatology", CLIPER]
    for moved in found.values():
        assert moved.shape == (split.test.sizes["sample"], 2, 2)
        assert np.isfinite(moved).all()
