import numpy as np
import pytest
import scores.probability
import xarray as xr

from isopleth.errors import ConfigError
from isopleth.verify import (
    accumulate,
    crps,
    ensemble_mean_rmse,
    mae,
    rank_histogram,
    rmse,
    spread,
    spread_skill_ratio,
)

ALL = ("time", "lat")


def ensemble(members=5, seed=0, missing=0.0, size=(40, 6)):
    rng = np.random.default_rng(seed)
    coords = {"time": np.arange(size[0]), "lat": np.linspace(-60, 60, size[1])}
    truth = xr.DataArray(rng.normal(size=size), coords, ALL)
    forecast = xr.DataArray(rng.normal(size=(members, *size)), coords, ("member", *ALL))
    if missing:
        truth = truth.where(rng.random(size) > missing)
    weights = xr.DataArray(np.cos(np.deg2rad(coords["lat"])), {"lat": coords["lat"]}, ["lat"])
    return forecast, truth, weights


def naive_crps(members, observation, fair):
    size = len(members)
    skill = sum(abs(x - observation) for x in members) / size
    pairs = sum(abs(x - y) for x in members for y in members)
    if fair and size > 1:
        return skill - pairs / (2 * size * (size - 1))
    return skill - pairs / (2 * size * size)


def test_two_members_known_answer():
    # members 0 and 2, truth 3: mean distance 2, distance of the pair 2
    assert float(crps([0.0, 2.0], 3.0)) == 2 - 1
    assert float(crps([0.0, 2.0], 3.0, method="ecdf")) == 2 - 0.5


def test_ecdf_crps_is_the_integral_of_the_squared_difference():
    members, observation = np.array([-1.0, 0.5, 2.0]), 1.0
    x = np.linspace(-3, 4, 700_001)
    step = (members[:, None] <= x).mean(0) - (observation <= x)
    assert float(crps(members, observation, method="ecdf")) == pytest.approx(
        (step**2).sum() * (x[1] - x[0]), abs=2e-5
    )


@pytest.mark.parametrize("members", [1, 2, 3, 10])
@pytest.mark.parametrize("method", ["fair", "ecdf"])
def test_crps_equals_naive_double_loop(members, method):
    forecast, truth, weights = ensemble(members, missing=0.2, size=(8, 6))
    total = weight = 0.0
    for t in range(8):
        for i in range(6):
            o = float(truth[t, i])
            if o == o:
                total += float(weights[i]) * naive_crps(forecast[:, t, i].to_numpy(), o, method == "fair")
                weight += float(weights[i])
    ours = crps(forecast, truth, dims=ALL, weights=weights, method=method)
    assert float(ours) == pytest.approx(total / weight, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("method", ["fair", "ecdf"])
@pytest.mark.parametrize("dims", [ALL, ("time",)])
def test_crps_equals_scores(method, dims):
    forecast, truth, weights = ensemble(7, 1, missing=0.2)
    weights = weights if "lat" in dims else None
    theirs = scores.probability.crps_for_ensemble(
        forecast, truth, "member", method=method, reduce_dims=list(dims), weights=weights
    )
    np.testing.assert_allclose(
        crps(forecast, truth, dims=dims, weights=weights, method=method), theirs, rtol=1e-10
    )


def test_crps_of_one_member_is_the_absolute_error():
    forecast, truth, weights = ensemble(1, 2)
    error = mae(forecast, truth, dims=("member", *ALL), weights=weights)
    for method in ("fair", "ecdf"):
        assert float(crps(forecast, truth, dims=ALL, weights=weights, method=method)) == pytest.approx(
            float(error), rel=1e-14
        )


def test_fair_crps_does_not_depend_on_the_number_of_members_and_ecdf_does():
    # standard normal members and truth: E|x-o| - E|x-x'|/2 = 1/sqrt(pi), whatever M is
    limit = 1 / np.sqrt(np.pi)
    for members in (2, 3, 8):
        forecast, truth, _ = ensemble(members, 3, size=(40_000, 5))
        fair = float(crps(forecast, truth))
        ecdf = float(crps(forecast, truth, method="ecdf"))
        assert fair == pytest.approx(limit, abs=0.006)  # four standard errors
        assert ecdf == pytest.approx(limit * (1 + 1 / members), abs=0.006)


def test_crps_keeps_its_digits_far_from_zero():
    forecast, truth, _ = ensemble(6, 4, size=(20, 3))
    near = crps(forecast, truth, dims=ALL)
    offset = 2.0**20
    shifted = crps(
        (forecast * 2**10).round() / 2**10 + offset, (truth * 2**10).round() / 2**10 + offset, dims=ALL
    )
    exact = crps((forecast * 2**10).round() / 2**10, (truth * 2**10).round() / 2**10, dims=ALL)
    assert float(shifted) == float(exact)
    assert float(near) == pytest.approx(float(exact), abs=1e-3)


def test_order_of_members_does_not_matter():
    forecast, truth, _ = ensemble(6, 5)
    assert float(crps(forecast, truth)) == pytest.approx(float(crps(forecast[::-1], truth)), rel=1e-14)


def test_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="method must be 'fair' or 'ecdf', got 'nrg'"):
        crps([0.0, 1.0], 0.0, method="nrg")


def test_spread_known_answer_and_definition():
    assert float(spread([1.0, 3.0], 0.0)) == pytest.approx(np.sqrt(2), rel=1e-15)
    forecast, truth, weights = ensemble(5, 6)
    variance = forecast.var("member", ddof=1)
    expected = np.sqrt(variance.weighted(weights).mean(ALL))
    assert float(spread(forecast, truth, dims=ALL, weights=weights)) == pytest.approx(
        float(expected), rel=1e-12
    )
    assert float(spread(forecast, dims=ALL, weights=weights)) == pytest.approx(float(expected), rel=1e-12)


def test_ensemble_mean_rmse_is_the_rmse_of_the_mean():
    forecast, truth, weights = ensemble(5, 7, missing=0.2)
    expected = rmse(forecast.mean("member"), truth, dims=ALL, weights=weights)
    ours = ensemble_mean_rmse(forecast, truth, dims=ALL, weights=weights)
    assert float(ours) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("members", [2, 5, 20])
def test_reliable_ensemble_has_a_spread_skill_ratio_of_one_at_any_size(members):
    forecast, truth, _ = ensemble(members, 8, size=(40_000, 5))
    assert float(spread_skill_ratio(forecast, truth)) == pytest.approx(1, abs=0.012)


def test_spread_skill_ratio_is_made_of_its_parts():
    forecast, truth, weights = ensemble(4, 9, missing=0.2)
    options = {"dims": ALL, "weights": weights}
    expected = (
        np.sqrt(5 / 4) * spread(forecast, truth, **options) / ensemble_mean_rmse(forecast, truth, **options)
    )
    assert float(spread_skill_ratio(forecast, truth, **options)) == pytest.approx(float(expected), rel=1e-12)


def test_one_member_has_no_spread():
    forecast, truth, _ = ensemble(1)
    assert np.isnan(float(spread(forecast, truth)))
    assert np.isnan(float(spread_skill_ratio(forecast, truth)))
    assert np.isfinite(float(ensemble_mean_rmse(forecast, truth)))


def test_perfect_constant_ensemble_has_no_ratio():
    truth = xr.DataArray(np.ones(4), dims="time")
    forecast = truth.expand_dims(member=3)
    assert np.isnan(float(spread_skill_ratio(forecast, truth)))
    assert float(crps(forecast, truth)) == 0.0


def test_a_missing_member_takes_its_cell_out_of_every_score():
    forecast, truth, _ = ensemble(4, 10)
    holed = forecast.copy()
    holed[1, 3, 2] = np.nan
    without = truth.copy()
    without[3, 2] = np.nan
    for metric in (crps, spread, ensemble_mean_rmse, spread_skill_ratio, rank_histogram):
        np.testing.assert_allclose(metric(holed, truth), metric(forecast, without), rtol=1e-13)


def test_rank_histogram_known_answer():
    forecast = xr.DataArray([[1.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0]], dims=("member", "time"))
    truth = xr.DataArray([0.0, 2.0, 2.0, 5.0], dims="time")
    np.testing.assert_array_equal(rank_histogram(forecast, truth), [0.25, 0.5, 0.25])


def test_rank_histogram_equals_naive_count_and_sums_to_one():
    forecast, truth, weights = ensemble(5, 11, missing=0.2)
    ours = rank_histogram(forecast, truth, dims=ALL, weights=weights)
    expected = np.zeros(6)
    for t in range(truth.shape[0]):
        for i in range(truth.shape[1]):
            if np.isfinite(truth[t, i]):
                expected[int((forecast[:, t, i] < truth[t, i]).sum())] += float(weights[i])
    np.testing.assert_allclose(ours, expected / expected.sum(), rtol=1e-12)
    assert float(ours.sum()) == pytest.approx(1, abs=1e-14)


def test_reliable_ensemble_has_a_flat_histogram():
    forecast, truth, _ = ensemble(4, 12, size=(40_000, 5))
    np.testing.assert_allclose(rank_histogram(forecast, truth), 0.2, atol=0.004)  # 4.5 standard errors


def test_ties_are_shared_or_drawn():
    truth = xr.DataArray(np.zeros(60_000), dims="time")  # no rain, and no member has any
    forecast = truth.expand_dims(member=3)
    np.testing.assert_array_equal(rank_histogram(forecast, truth), np.full(4, 0.25))
    drawn = rank_histogram(forecast, truth, ties="random", seed=3)
    np.testing.assert_allclose(drawn, 0.25, atol=0.008)
    counts = drawn * 60_000
    np.testing.assert_allclose(counts, counts.round(), atol=1e-6)
    again = rank_histogram(forecast.chunk(time=7000), truth.chunk(time=7000), ties="random", seed=3)
    np.testing.assert_allclose(again, drawn, rtol=1e-13)
    assert not np.array_equal(rank_histogram(forecast, truth, ties="random", seed=4), drawn)


def test_drawn_ties_leave_other_ranks_alone():
    forecast, truth, _ = ensemble(4, 13)
    np.testing.assert_array_equal(
        rank_histogram(forecast, truth, ties="random", seed=0), rank_histogram(forecast, truth)
    )


def test_random_ties_want_a_seed():
    forecast, truth, _ = ensemble(2)
    with pytest.raises(ConfigError, match="with a seed"):
        rank_histogram(forecast, truth, ties="random")


def test_scores_share_the_work_of_common_statistics():
    forecast, truth, _ = ensemble(3)
    state = accumulate(["ensemble_mean_rmse", "spread_skill_ratio"], forecast, truth)
    assert set(state.table) == {"squared_mean_error", "predictive_variance"}
