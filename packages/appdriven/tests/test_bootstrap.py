"""Intervals from sums cover what they say, are the core's, and do not depend on how data are cut up."""

import numpy as np
import pytest
import xarray as xr

from appdriven.bootstrap import (
    Resampling,
    accumulate_fields,
    bootstrap,
    gather,
    measure_dependence,
    sample_state,
)
from isopleth.errors import ConfigError, DataError
from isopleth.verify import METRICS, block_bootstrap

RMSE = METRICS["rmse"]


def ar_field(seed, steps=300, lat=4, lon=6, phi=0.8, common=0.7):
    """Errors of unit variance: AR(1) in time, partly common to all cells."""
    rng = np.random.default_rng(seed)

    def series(*shape):
        noise = rng.normal(size=(steps + 50, *shape))
        for step in range(1, steps + 50):
            noise[step] = phi * noise[step - 1] + np.sqrt(1 - phi**2) * noise[step]
        return noise[50:]

    return np.sqrt(common) * series(1, 1) + np.sqrt(1 - common) * series(lat, lon)


def fields(error):
    dims = ("time", "lat", "lon")
    return xr.DataArray(error, dims=dims), xr.DataArray(np.zeros_like(error), dims=dims)


def test_iid_intervals_undercover_on_an_ar1_field_and_block_intervals_do_not():
    inside = {"iid": 0, "time": 0, "space-time": 0}
    tiles = np.repeat([[0, 1, 2]], 4, axis=0).repeat(2, axis=1)
    bias = METRICS["bias"]
    for seed in range(60):
        forecast, truth = fields(ar_field(seed))
        state = accumulate_fields("bias", forecast, truth, tiles=tiles, weights=np.ones((4, 6)))
        for over in ("time", "space-time"):
            found = bootstrap(state, bias, Resampling(over=over, draws=300, seed=seed))
            inside[over] += bool(found.contains(0.0))
        flat = np.ravel(forecast)
        half = 1.96 * flat.std() / np.sqrt(flat.size)
        inside["iid"] += abs(flat.mean()) <= half
    shares = {name: count / 60 for name, count in inside.items()}
    assert shares["iid"] < 0.4
    assert shares["time"] > 0.86
    assert shares["space-time"] >= shares["time"] - 0.02


def test_iid_intervals_by_groups_of_one_undercover_too():
    inside = 0
    for seed in range(60):
        error = ar_field(seed, lat=1, lon=1).ravel()
        each = sample_state(METRICS["bias"], error, np.zeros_like(error), np.ones(error.size))
        state = gather(each, np.arange(error.size))
        found = bootstrap(state, METRICS["bias"], Resampling(over="group", draws=200))
        inside += bool(found.contains(0.0))
    assert inside / 60 < 0.7


def test_blocks_of_time_are_the_cores():
    forecast, truth = fields(ar_field(3))
    state = accumulate_fields("mse", forecast, truth, tiles=np.zeros((4, 6), int), weights=np.ones((4, 6)))
    ours = bootstrap(state, METRICS["mse"], Resampling(over="time", block=10, draws=200, seed=7))
    daily = block_bootstrap((forecast**2).mean(("lat", "lon")), block=10, draws=200, seed=7)
    assert ours.ends == pytest.approx(daily.ends, rel=1e-9)


@pytest.mark.parametrize("over", ["time", "space-time"])
@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 37, "lat": 2}, {"lon": 1}, {"time": -1}])
def test_the_same_bits_whatever_the_chunks(over, chunks):
    forecast, truth = fields(ar_field(1, steps=120))
    tiles = np.arange(24).reshape(4, 6) // 8
    weights = np.random.default_rng(0).uniform(0.5, 1, size=(4, 6))
    how = Resampling(over=over, draws=100, seed=5)
    whole = bootstrap(accumulate_fields("rmse", forecast, truth, tiles=tiles, weights=weights), RMSE, how)
    cut = accumulate_fields("rmse", forecast.chunk(chunks), truth.chunk(chunks), tiles=tiles, weights=weights)
    again = bootstrap(cut, RMSE, how)
    assert (whole.ends, whole.value) == (again.ends, again.value)
    other = bootstrap(cut, RMSE, Resampling(over=over, draws=100, seed=6))
    assert other.ends != whole.ends


def test_a_draw_of_space_and_time_is_a_loop_over_resampled_cells():
    """One draw, made by hand from the same random numbers, cell by cell."""
    error = ar_field(2, steps=30, lat=1, lon=3)
    weight = np.array([[1.0, 2.0, 0.5]])
    forecast, truth = fields(error)
    state = accumulate_fields("mse", forecast, truth, tiles=np.array([[0, 1, 2]]), weights=weight)
    found = bootstrap(
        state, METRICS["mse"], Resampling(over="space-time", block=7, draws=400, seed=11, level=0.9)
    )
    starts = np.random.default_rng([11, 0]).integers(0, 24, size=(400, 5))
    tiles = np.random.default_rng([11, 1]).multinomial(3, [1 / 3] * 3, size=400)
    scores = []
    for draw in range(400):
        lengths = [7, 7, 7, 7, 2]
        steps = [s + i for s, n in zip(starts[draw], lengths, strict=True) for i in range(n)]
        columns = np.repeat([0, 1, 2], tiles[draw])
        picked = error[np.ix_(steps, [0], columns)] ** 2
        scores.append(np.average(picked, weights=np.broadcast_to(weight[:, columns], picked.shape)))
    from scipy.stats import norm, t

    tail = norm.cdf(t.ppf(0.05, 2) * np.sqrt(3 / 2))  # three tiles are the fewest blocks
    assert found.ends == pytest.approx(tuple(np.quantile(scores, [tail, 1 - tail])), rel=1e-9)


def test_samples_gathered_by_step_and_tile_keep_their_sums():
    rng = np.random.default_rng(0)
    truth, said, weight = rng.normal(size=(3, 50)) ** 2
    step, tile = rng.integers(0, 6, 50), rng.integers(0, 3, 50)
    state = gather(sample_state(METRICS["mae"], said, truth, weight), step, tile)
    table = state.table["absolute_error"].sel(moment="sum")
    for place in ((0, 0), (5, 2), (3, 1)):
        own = (step == place[0]) & (tile == place[1])
        assert float(table[place]) == pytest.approx((weight * abs(said - truth))[own].sum())


def test_a_score_against_itself_is_exactly_zero():
    forecast, truth = fields(ar_field(4))
    state = accumulate_fields(
        "rmse", forecast, truth, tiles=np.arange(24).reshape(4, 6) // 12, weights=np.ones((4, 6))
    )
    for over in ("time", "space-time"):
        found = bootstrap(
            state, RMSE, Resampling(over=over, draws=50), against=state, compare=lambda a, b: 1 - a / b
        )
        assert (found.value, *found.ends) == (0.0, 0.0, 0.0)


def test_dependence_of_an_ar1_series_is_seen():
    error = ar_field(5, steps=2000, lat=1, lon=1).ravel()
    found = measure_dependence(error, np.zeros_like(error))
    assert found.effective == pytest.approx(2000 * 0.2 / 1.8, rel=0.35)
    assert measure_dependence(np.array([1.0, np.nan])).effective == 1.0


def test_what_cannot_be_resampled_is_refused():
    forecast, truth = fields(ar_field(0, steps=10))
    one_tile = accumulate_fields(
        "rmse", forecast, truth, tiles=np.zeros((4, 6), int), weights=np.ones((4, 6))
    )
    with pytest.raises(DataError, match="two steps and two tiles, got 10 and 1"):
        bootstrap(one_tile, RMSE, Resampling(over="space-time"))
    with pytest.raises(DataError, match="one shape"):
        accumulate_fields("rmse", forecast[:5], truth, tiles=np.zeros((4, 6), int), weights=np.ones((4, 6)))
    tiles = np.arange(24).reshape(4, 6) // 12
    two = accumulate_fields("rmse", forecast, truth, tiles=tiles, weights=np.ones((4, 6)))
    with pytest.raises(ConfigError, match="block must be from 1 to the 10 steps, got 11"):
        bootstrap(two, RMSE, Resampling(over="space-time", block=11))
