"""Persistence carries motion on; the regression recovers the law that made the samples."""

import numpy as np
import pytest

from cyclone_fusion.baselines import Cliper, persistence
from cyclone_fusion.config import SampleConfig
from cyclone_fusion.data import FEATURES, build_samples
from cyclone_fusion.evaluate import errors_km


def test_persistence_is_exact_for_steady_motion_in_degrees(tracks):
    samples = build_samples(tracks, SampleConfig(frame="degrees"))
    assert errors_km(samples, persistence(samples)).max() < 0.05


@pytest.mark.parametrize("lead_hours", [6, 12, 24])
def test_persistence_scales_with_the_lead(tracks, lead_hours):
    samples = build_samples(tracks, SampleConfig(lead_hours=lead_hours))
    np.testing.assert_allclose(persistence(samples), samples["features"].values[:, :2] * lead_hours / 6)


def make_samples(tracks, seed=0):
    """Random predictors, and a target that is a second-order law of them, another in each basin."""
    samples = build_samples(tracks, SampleConfig())
    samples = samples.isel(sample=np.resize(np.arange(samples.sizes["sample"]), 4000))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4000, len(FEATURES))).astype(np.float32)
    sign = np.where(samples["basin"].values == "WP", 1.0, -1.0)
    target = np.column_stack([3 + x[:, 0] * x[:, 4] - x[:, 8] ** 2, sign * (2 * x[:, 5] + x[:, 7])])
    return samples.assign(
        features=(("sample", "feature"), x), target=(("sample", "direction"), target.astype(np.float32))
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
