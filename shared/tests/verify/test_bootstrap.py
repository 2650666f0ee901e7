import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.signal import lfilter

from isopleth.errors import ConfigError, DataError
from isopleth.verify import acc, accumulate, block_bootstrap, combine, finalise, group_bootstrap, mae, rmse

AREA = ("lat", "lon")


def autoregressive(phi, size, series, seed):
    noise = np.random.default_rng(seed).standard_normal((size + 300, series))
    values = lfilter([1.0], [1.0, -phi], noise, axis=0)[300:]
    return xr.DataArray(values, dims=("time", "series"))


def fields(steps=60, seed=0, missing=0.1):
    rng = np.random.default_rng(seed)
    coords = {"time": np.arange(steps), "lat": [-40.0, 0.0, 40.0], "lon": [0.0, 90.0, 180.0, 270.0]}
    truth = xr.DataArray(rng.normal(size=(steps, 3, 4)), coords, list(coords))
    forecast = truth + rng.normal(0.3, 1, truth.shape)
    truth = truth.where(rng.random(truth.shape) > missing)
    weights = xr.DataArray([0.7, 1.6, 0.7], {"lat": coords["lat"]}, ["lat"])
    return forecast, truth, weights


def by_time(metric="rmse", **options):
    forecast, truth, weights = fields(**options)
    return accumulate(metric, forecast, truth, dims=AREA, weights=weights)


def expanded_tail(level, blocks):
    """Hesterberg (2015): the tail at which normal quantiles are as far out as corrected Student's t."""
    t = stats.t.ppf((1 - level) / 2, blocks - 1)
    return stats.norm.cdf(t * np.sqrt(blocks / (blocks - 1)))


@pytest.mark.parametrize("phi", [0.7, 0.8])
def test_interval_covers_where_independent_resampling_does_not(phi):
    # 3,000 series: the standard error of the coverage is 0.5 %, its true value about 93 %
    series = autoregressive(phi, 2000, 3000, seed=11)
    blocks = block_bootstrap(series, seed=1, draws=500)
    single = block_bootstrap(series[:, :500], seed=1, draws=500, block=1)
    covered, naive = float(blocks.contains(0.0).mean()), float(single.contains(0.0).mean())
    assert 0.91 <= covered <= 0.96
    assert naive < 0.75


def test_interval_of_independent_values_is_the_textbook_one():
    series = autoregressive(0.0, 500, 400, seed=2)
    interval = block_bootstrap(series, seed=3, draws=2000, block=1)
    half = 1.96 * series.std("time", ddof=1) / np.sqrt(500)
    np.testing.assert_allclose((interval.high - interval.low) / 2 / half, 1, atol=0.09)
    assert float(((interval.high - interval.low) / 2 / half).mean()) == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(interval.value, series.mean("time"), atol=1e-14)


def test_narrow_levels_lie_inside_wide_ones():
    series = autoregressive(0.5, 300, 5, seed=4)
    wide, narrow = (block_bootstrap(series, seed=0, level=level) for level in (0.95, 0.5))
    assert ((wide.low < narrow.low) & (narrow.high < wide.high)).all()


@pytest.mark.parametrize("block", [1, 7, 20, 60])
def test_sums_of_blocks_equal_resampled_fields(block):
    forecast, truth, weights = fields()
    ours = block_bootstrap(by_time(), seed=5, block=block, draws=40, level=0.8)
    starts = np.random.default_rng(5).integers(0, 60 - block + 1, size=(40, -(-60 // block)))
    drawn = []
    for chosen in starts:
        steps = np.concatenate([np.arange(start, start + block) for start in chosen])[:60]
        drawn.append(
            float(rmse(forecast[steps].drop_vars("time"), truth[steps].drop_vars("time"), weights=weights))
        )
    tail = expanded_tail(0.8, max(60 / block, 2))
    assert ours.low == pytest.approx(np.quantile(drawn, tail), rel=1e-12)
    assert ours.high == pytest.approx(np.quantile(drawn, 1 - tail), rel=1e-12)
    assert ours.value == pytest.approx(float(rmse(forecast, truth, weights=weights)), rel=1e-12)
    assert ours.block == block


def test_one_block_of_the_whole_series_has_no_spread():
    interval = block_bootstrap(by_time(), seed=0, block=60, draws=10)
    assert interval.low == pytest.approx(interval.value, rel=1e-13)
    assert interval.high == pytest.approx(interval.value, rel=1e-13)


def test_same_seed_gives_the_same_bits_whatever_the_chunks():
    forecast, truth, weights = fields()
    whole = block_bootstrap(by_time(), seed=7)
    again = block_bootstrap(by_time(), seed=7)
    parts = [
        accumulate("rmse", forecast[part], truth[part], dims=AREA, weights=weights)
        for part in (slice(40, 60), slice(13), slice(13, 40))
    ]
    chunked = block_bootstrap(combine(parts), seed=7)
    lazy = accumulate("rmse", forecast.chunk(time=7), truth.chunk(time=11), dims=AREA, weights=weights)
    dask = block_bootstrap(lazy, seed=7)
    assert {(i.low, i.high, i.value, i.block) for i in (whole, again, chunked, dask)} == {
        (whole.low, whole.high, whole.value, whole.block)
    }
    assert block_bootstrap(by_time(), seed=8).low != whole.low


def test_a_generator_is_a_seed_that_moves_on():
    first, second = (block_bootstrap(by_time(), seed=np.random.default_rng(3)) for _ in range(2))
    assert first.low == second.low
    generator = np.random.default_rng(3)
    assert block_bootstrap(by_time(), seed=generator).low == first.low
    assert block_bootstrap(by_time(), seed=generator).low != first.low


def test_each_lead_has_the_interval_it_has_alone():
    series = xr.concat([autoregressive(phi, 400, 1, 1)[:, 0] for phi in (0.0, 0.9)], "lead").assign_coords(
        lead=[1, 9]
    )
    both = block_bootstrap(series, seed=2)
    assert int(both.block.sel(lead=9)) > int(both.block.sel(lead=1))
    for lead in (1, 9):
        alone = block_bootstrap(series.sel(lead=lead), seed=2)
        assert float(both.low.sel(lead=lead)) == pytest.approx(alone.low, rel=1e-12)
        assert int(both.block.sel(lead=lead)) == alone.block


def test_paired_difference_is_sharper_than_its_parts():
    forecast, truth, weights = fields(steps=300)
    options = {"dims": AREA, "weights": weights}
    better = accumulate("rmse", truth.fillna(0) + 0.9 * (forecast - truth.fillna(0)), truth, **options)
    worse = accumulate("rmse", forecast, truth, **options)
    pair = block_bootstrap(better, against=worse, seed=1)
    alone = block_bootstrap(worse, seed=1)
    assert pair.value == pytest.approx(-0.1 * alone.value, rel=1e-12)
    assert pair.low < pair.value < pair.high < 0
    assert pair.high - pair.low < 0.3 * (alone.high - alone.low)
    skill = block_bootstrap(better, against=worse, seed=1, compare=lambda a, b: 1 - a / b)
    assert (skill.low, skill.high) == (pytest.approx(0.1, abs=1e-12), pytest.approx(0.1, abs=1e-12))


def test_a_model_does_not_differ_from_itself():
    interval = block_bootstrap(by_time(), against=by_time(), seed=1)
    assert (interval.low, interval.value, interval.high) == (0.0, 0.0, 0.0)


def test_acc_of_each_time_is_resampled():
    forecast, truth, weights = fields()
    normal = xr.zeros_like(truth[0].drop_vars("time")).fillna(0.0)
    options = {"weights": weights, "climatology": normal}
    series = acc(forecast, truth, normal, dims=AREA, weights=weights)
    for dims in (AREA, ("time", *AREA)):  # kept, or kept back for the mean over slices: the same
        state = accumulate("acc", forecast, truth, dims=dims, **options)
        interval = block_bootstrap(state, seed=1, block=3)
        plain = block_bootstrap(series, seed=1, block=3)
        assert (interval.low, interval.high) == (plain.low, plain.high)
        assert interval.value == pytest.approx(float(series.mean()), rel=1e-12)


def test_metric_is_chosen_from_several():
    state = by_time(["rmse", "mae"])
    with pytest.raises(ConfigError, match=r"metric must be one of \('rmse', 'mae'\)"):
        block_bootstrap(state, seed=0)
    interval = block_bootstrap(state, metric="mae", seed=0)
    forecast, truth, weights = fields()
    assert interval.value == pytest.approx(float(mae(forecast, truth, weights=weights)), rel=1e-12)


def test_vector_scores_have_an_interval_for_each_entry():
    rng = np.random.default_rng(0)
    truth = xr.DataArray(rng.normal(size=(200, 5)), {"time": np.arange(200)}, ("time", "lat"))
    forecast = xr.DataArray(rng.normal(size=(3, 200, 5)), dims=("member", "time", "lat"))
    state = accumulate("rank_histogram", forecast, truth, dims="lat")
    interval = block_bootstrap(state, seed=0)
    assert interval.low.dims == ("rank",)
    assert (interval.low < 0.25).all()
    assert (interval.high > 0.25).all()


def test_steps_without_data_have_no_weight():
    series = autoregressive(0.0, 100, 1, 5)[:, 0]
    holed = series.where(np.arange(100) % 3 > 0)
    interval = block_bootstrap(holed, seed=0)
    assert interval.value == pytest.approx(float(holed.mean()), rel=1e-12)
    assert interval.low < interval.value < interval.high
    nothing = block_bootstrap(series * np.nan, seed=0)
    assert np.isnan([nothing.low, nothing.high, nothing.value]).all()


def test_constant_series_has_a_point_for_an_interval():
    interval = block_bootstrap(np.full(50, 0.1), seed=0)
    assert interval.low == pytest.approx(0.1, rel=1e-14)
    assert interval.high == pytest.approx(0.1, rel=1e-14)


def test_group_interval_covers_where_point_resampling_does_not():
    rng = np.random.default_rng(6)
    storms, fixes = 60, 15
    labels = np.repeat(np.arange(storms), fixes)
    effect = rng.normal(size=(storms, 800)).repeat(fixes, axis=0)
    errors = xr.DataArray(effect + rng.normal(size=effect.shape), dims=("record", "trial"))
    grouped = group_bootstrap(errors, labels, dim="record", seed=0, draws=500)
    single = block_bootstrap(errors, dim="record", block=1, seed=0, draws=500)
    assert 0.92 <= float(grouped.contains(0.0).mean()) <= 0.97
    assert float(single.contains(0.0).mean()) < 0.75


def test_groups_equal_resampled_records():
    rng = np.random.default_rng(7)
    values = rng.normal(size=30)
    labels = np.array(list("bacabdccda" * 3))
    ours = group_bootstrap(values, labels, seed=4, draws=50, level=0.9)
    chosen = np.random.default_rng(4).integers(0, 4, size=(50, 4))
    members = [values[labels == name] for name in "abcd"]
    drawn = [np.concatenate([members[k] for k in draw]).mean() for draw in chosen]
    assert ours.low == pytest.approx(np.quantile(drawn, expanded_tail(0.9, 4)), rel=1e-12)
    order = rng.permutation(30)
    shuffled = group_bootstrap(values[order], labels[order], seed=4, draws=50, level=0.9)
    assert (shuffled.low, shuffled.high) == (
        pytest.approx(ours.low, rel=1e-12),
        pytest.approx(ours.high, rel=1e-12),
    )


def test_settings_out_of_range_are_refused():
    for options, message in (
        ({"block": 0}, "block must be 'auto' or from 1 to the number of steps, 60, got 0"),
        ({"block": 61}, "got 61"),
        ({"level": 95}, "level must lie between 0 and 1"),
        ({"draws": 1}, "draws be at least 2"),
        ({"dim": "day"}, "dim must be a dimension that the sample keeps"),
    ):
        with pytest.raises(ConfigError, match=message):
            block_bootstrap(by_time(), seed=0, **options)


def test_averaged_time_cannot_be_resampled():
    forecast, truth, _ = fields()
    with pytest.raises(ConfigError, match="leave 'time' out of dims"):
        block_bootstrap(accumulate("rmse", forecast, truth), seed=0)


def test_unpaired_samples_are_refused():
    state = by_time()
    later = state.table.assign_coords(time=np.arange(1, 61))
    with pytest.raises(DataError, match="paired samples must be on the same points"):
        block_bootstrap(state, against=type(state)(later, state.metrics), seed=0)
    with pytest.raises(DataError, match="paired samples must be on the same points"):
        block_bootstrap(np.zeros(5), against=np.zeros(6), seed=0)


def test_too_little_is_refused():
    with pytest.raises(DataError, match="at least two points along 'time', got 1"):
        block_bootstrap(np.ones(1), seed=0)
    with pytest.raises(DataError, match=r"groups must have shape \(5,\)"):
        group_bootstrap(np.ones(5), [1, 2], seed=0)
    with pytest.raises(DataError, match=r"groups must be at least two, got \['a'\]"):
        group_bootstrap(np.ones(3), ["a"] * 3, seed=0)


def test_state_and_finalise_agree_on_the_value():
    forecast, truth, weights = fields()
    state = accumulate("rmse", forecast, truth, weights=weights)
    assert block_bootstrap(by_time(), seed=0).value == pytest.approx(
        float(finalise(state)["rmse"]), rel=1e-12
    )
