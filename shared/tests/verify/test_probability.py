import numpy as np
import pytest
import scores.probability
import xarray as xr
from scipy import stats

from isopleth.errors import ConfigError, DataError
from isopleth.verify import (
    brier,
    crps,
    crps_gaussian,
    ensemble_brier,
    interval_coverage,
    mae,
    reliability,
    score,
)
from isopleth.verify.probability import brier_metric


def test_gaussian_crps_known_answer():
    # at its own centre: sigma (sqrt 2 - 1) / sqrt pi
    assert float(crps_gaussian(0.0, 1.0, 0.0)) == pytest.approx(0.2336949772551092, abs=1e-15)
    assert float(crps_gaussian(7.0, 3.0, 7.0)) == pytest.approx(
        3 * (np.sqrt(2) - 1) / np.sqrt(np.pi), rel=1e-14
    )


@pytest.mark.parametrize("observation", [-2.5, 0.3, 4.0])
def test_gaussian_crps_is_the_integral(observation):
    x = np.linspace(-20, 20, 400_001)
    step = stats.norm.cdf(x, 0.5, 1.7) - (observation <= x)
    integral = (step**2).sum() * (x[1] - x[0])
    assert float(crps_gaussian(0.5, 1.7, observation)) == pytest.approx(integral, abs=2e-4)


def test_gaussian_crps_is_the_limit_of_large_ensembles():
    members = stats.norm.ppf((np.arange(4000) + 0.5) / 4000, 1.0, 2.0)
    ours = float(crps_gaussian(1.0, 2.0, 2.7))
    assert ours == pytest.approx(float(crps(members, 2.7)), abs=2e-3)


def test_gaussian_crps_without_width_is_the_absolute_error():
    mean, truth = np.array([1.0, 5.0]), np.array([3.0, 4.0])
    assert float(crps_gaussian(mean, np.zeros(2), truth)) == float(mae(mean, truth)) == 1.5


def test_gaussian_crps_drops_cells_missing_in_any_part():
    value = crps_gaussian([0.0, np.nan, 0.0, 0.0], [1.0, 1.0, np.nan, 1.0], [0.0, 0.0, 0.0, np.nan])
    assert float(value) == pytest.approx(0.2336949772551092, abs=1e-15)
    with pytest.raises(DataError, match="deviation must not be negative, got -1"):
        crps_gaussian([0.0], [-1.0], [0.0])


def test_gaussian_crps_under_dask_equals_memory():
    rng = np.random.default_rng(0)
    mean, width, truth = (xr.DataArray(rng.random((6, 4)), dims=("time", "lat")) for _ in range(3))
    lazy = crps_gaussian(mean.chunk(time=2), width.chunk(time=3), truth.chunk(lat=1))
    assert float(lazy) == pytest.approx(float(crps_gaussian(mean, width, truth)), rel=1e-14)


def test_brier_known_answer():
    assert float(brier([0.8, 0.5, 0.0], [1, 0, 0])) == pytest.approx((0.04 + 0.25) / 3, abs=1e-15)
    with pytest.raises(DataError, match="probability must lie in"):
        brier([80.0], [1])
    with pytest.raises(DataError, match="event must be 0 or 1"):
        brier([0.8], [0.5])


@pytest.mark.parametrize("fair", [True, False])
def test_ensemble_brier_equals_scores(fair):
    rng = np.random.default_rng(1)
    forecast = xr.DataArray(rng.normal(size=(6, 50)), dims=("member", "time"))
    truth = xr.DataArray(rng.normal(size=50), dims="time").where(rng.random(50) > 0.2)
    theirs = scores.probability.brier_score_for_ensemble(forecast, truth, "member", 0.5, fair_correction=fair)
    ours = ensemble_brier(forecast, truth, 0.5, fair=fair)
    assert float(ours) == pytest.approx(float(theirs.squeeze()), rel=1e-10)
    assert float(score(brier_metric(0.5, fair=fair), forecast, truth)["brier"]) == float(ours)


def test_fair_brier_does_not_depend_on_the_number_of_members():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=200_000)
    for members in (2, 5):
        forecast = rng.normal(size=(members, truth.size))
        # climatological probability 1/2: 1/4 expected of an endless ensemble
        assert float(ensemble_brier(forecast, truth, 0.0)) == pytest.approx(0.25, abs=0.004)
        assert float(ensemble_brier(forecast, truth, 0.0, fair=False)) == pytest.approx(
            0.25 * (1 + 1 / members), abs=0.004
        )


def test_coverage_counts_both_ends():
    truth = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    assert float(interval_coverage(np.ones(5), np.full(5, 2.0), truth)) == 0.5
    assert (
        float(interval_coverage(np.ones(5), np.full(5, 2.0), truth, weights=[1.0, 3.0, 0.0, 1.0, 9.0])) == 0.6
    )


def test_coverage_of_a_normal_interval():
    truth = np.random.default_rng(3).normal(size=100_000)
    assert float(
        interval_coverage(-1.96 * np.ones(100_000), 1.96 * np.ones(100_000), truth)
    ) == pytest.approx(0.95, abs=0.003)


def test_reliability_known_answer():
    result = reliability([0.1, 0.2, 0.7, 1.0], [0, 1, 1, 1], bins=2, weights=[1.0, 3.0, 1.0, 1.0])
    np.testing.assert_allclose(result["bin"], [0.25, 0.75])
    np.testing.assert_allclose(result["forecast"], [(0.1 + 3 * 0.2) / 4, 0.85])
    np.testing.assert_allclose(result["observed"], [0.75, 1.0])
    np.testing.assert_allclose(result["share"], [4 / 6, 2 / 6])


def test_reliable_probabilities_lie_on_the_diagonal():
    rng = np.random.default_rng(4)
    probability = rng.random(200_000)
    result = reliability(probability, rng.random(200_000) < probability, bins=10)
    np.testing.assert_allclose(result["observed"], result["forecast"], atol=0.015)
    assert float(result["share"].sum()) == pytest.approx(1, abs=1e-12)


def test_empty_bins_are_nan():
    result = reliability([0.9, 0.8], [1, 1], bins=2)
    assert np.isnan(result["observed"][0])
    assert float(result["share"][0]) == 0
    with pytest.raises(ConfigError, match="bins must be at least 1"):
        reliability([0.9], [1], bins=0)
