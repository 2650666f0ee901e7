import numpy as np
import pytest
import scores.continuous
import xarray as xr

from isopleth.verify import acc, accumulate, bias, finalise, mae, mse, rmse, score

AREA = ("lat", "lon")
ALL = ("time", "lat", "lon")


def fields(seed=0, missing=0.0):
    rng = np.random.default_rng(seed)
    coords = {"time": np.arange(5), "lat": np.linspace(-80, 80, 6), "lon": np.arange(0, 360, 45.0)}
    truth = xr.DataArray(rng.normal(280, 10, (5, 6, 8)), coords, ALL)
    forecast = truth + xr.DataArray(rng.normal(0.5, 2, (5, 6, 8)), coords, ALL)
    if missing:
        truth = truth.where(rng.random(truth.shape) > missing)
        forecast = forecast.where(rng.random(truth.shape) > missing)
    weights = xr.DataArray(np.cos(np.deg2rad(coords["lat"])), {"lat": coords["lat"]}, ["lat"])
    return forecast, truth, weights


def naive_means(forecast, truth, weights, function):
    """Average a function of each pair of cells in a plain loop."""
    total = weight = 0.0
    for t in range(truth.sizes["time"]):
        for i in range(truth.sizes["lat"]):
            for j in range(truth.sizes["lon"]):
                f, o, w = float(forecast[t, i, j]), float(truth[t, i, j]), float(weights[i])
                if f == f and o == o:
                    total += w * function(f, o)
                    weight += w
    return total / weight


def test_known_answers():
    forecast, truth = [1.0, 2.0, 6.0], [0.0, 4.0, 6.0]
    assert float(bias(forecast, truth)) == pytest.approx(-1 / 3, abs=1e-15)
    assert float(mae(forecast, truth)) == 1.0
    assert float(mse(forecast, truth)) == pytest.approx(5 / 3, abs=1e-15)
    assert float(rmse(forecast, truth)) == pytest.approx(np.sqrt(5 / 3), abs=1e-15)


def test_weighted_known_answer():
    assert float(mse([3.0, 0.0], [0.0, 4.0], weights=[1.0, 3.0])) == (9 + 3 * 16) / 4


def test_root_is_taken_last():
    truth = xr.DataArray(np.zeros((2, 4)), dims=("time", "lat"))
    forecast = truth + xr.DataArray([1.0, 7.0], dims="time")
    assert float(rmse(forecast, truth)) == 5.0  # sqrt of (1 + 49) / 2, where a mean of roots is 4


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(
    ("metric", "function", "finish"),
    [
        (bias, lambda f, o: f - o, float),
        (mae, lambda f, o: abs(f - o), float),
        (mse, lambda f, o: (f - o) ** 2, float),
        (rmse, lambda f, o: (f - o) ** 2, np.sqrt),
    ],
)
def test_equal_to_naive_loop(metric, function, finish, missing):
    forecast, truth, weights = fields(1, missing)
    expected = finish(naive_means(forecast, truth, weights, function))
    assert float(metric(forecast, truth, dims=ALL, weights=weights)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("dims", [ALL, AREA, ("time",)])
@pytest.mark.parametrize(
    ("metric", "oracle"),
    [
        (bias, scores.continuous.additive_bias),
        (mae, scores.continuous.mae),
        (mse, scores.continuous.mse),
        (rmse, scores.continuous.rmse),
    ],
)
def test_equal_to_scores(metric, oracle, dims, missing):
    forecast, truth, weights = fields(2, missing)
    weights = weights if "lat" in dims else None
    ours = metric(forecast, truth, dims=dims, weights=weights)
    theirs = oracle(forecast, truth, reduce_dims=list(dims), weights=weights)
    np.testing.assert_allclose(ours.transpose(*theirs.dims), theirs, rtol=1e-10, atol=1e-10)


def test_bias_squared_plus_variance_is_mse():
    forecast, truth, weights = fields(3, 0.2)
    result = score(["bias", "mse"], forecast, truth, dims=ALL, weights=weights)
    centred = forecast - truth - result["bias"]
    variance = mse(centred, xr.zeros_like(centred), dims=ALL, weights=weights)
    assert float(result["bias"] ** 2 + variance) == pytest.approx(float(result["mse"]), rel=1e-12)


def test_mae_never_exceeds_rmse():
    forecast, truth, _ = fields(4)
    result = score(["mae", "rmse"], forecast, truth, dims="time")
    assert (result["mae"] <= result["rmse"] * (1 + 1e-14)).all()


def test_acc_of_the_truth_is_one_and_of_its_opposite_minus_one():
    _, truth, weights = fields(5, 0.2)
    normal = truth.mean("time")
    for pooled in (False, True):
        options = {"dims": ALL, "weights": weights, "pooled": pooled}
        assert float(acc(truth, truth, normal, **options)) == pytest.approx(1, abs=1e-12)
        assert float(acc(2 * normal - truth, truth, normal, **options)) == pytest.approx(-1, abs=1e-12)


def test_acc_does_not_see_the_size_of_anomalies():
    forecast, truth, weights = fields(6)
    normal = truth.mean("time")
    damped = normal + 0.3 * (forecast - normal)
    full = acc(forecast, truth, normal, dims=ALL, weights=weights)
    assert float(acc(damped, truth, normal, dims=ALL, weights=weights)) == pytest.approx(
        float(full), abs=1e-12
    )


def test_acc_is_made_per_time_and_averaged_unless_pooled():
    forecast, truth, weights = fields(7, 0.2)
    normal = truth.mean(ALL)
    w = np.broadcast_to(weights.to_numpy()[:, None], (6, 8))
    ratios, sums = [], np.zeros(3)
    for f, o in zip((forecast - normal).to_numpy(), (truth - normal).to_numpy(), strict=True):
        ok = np.isfinite(f + o)
        f, o, v = f[ok], o[ok], w[ok]
        parts = np.array([(v * f * o).sum(), (v * f * f).sum(), (v * o * o).sum()])
        ratios.append(parts[0] / np.sqrt(parts[1] * parts[2]))
        sums += parts
    by_time = acc(forecast, truth, normal, dims=AREA, weights=weights)
    np.testing.assert_allclose(by_time, ratios, rtol=1e-12)
    options = {"dims": ALL, "weights": weights}
    assert float(acc(forecast, truth, normal, **options)) == pytest.approx(np.mean(ratios), rel=1e-12)
    pooled = sums[0] / np.sqrt(sums[1] * sums[2])
    assert float(acc(forecast, truth, normal, pooled=True, **options)) == pytest.approx(pooled, rel=1e-12)


def test_acc_over_time_only_is_one_correlation_per_cell():
    forecast, truth, _ = fields(8)
    normal = truth.mean("time")
    f, o = forecast - normal, truth - normal
    expected = (f * o).sum("time") / np.sqrt((f**2).sum("time") * (o**2).sum("time"))
    np.testing.assert_allclose(acc(forecast, truth, normal, dims="time"), expected, rtol=1e-12)


def test_acc_of_a_constant_field_is_undefined_and_drops_out_of_the_mean():
    forecast, truth, weights = fields(9)
    normal = xr.zeros_like(truth.isel(time=0, drop=True)) + 280.0
    dull = forecast.where(forecast["time"] > 0, 280.0)
    by_time = acc(dull, truth, normal, dims=AREA, weights=weights)
    assert np.isnan(by_time[0])
    assert np.isfinite(by_time[1:]).all()
    mean = acc(dull, truth, normal, dims=ALL, weights=weights)
    assert float(mean) == pytest.approx(float(by_time[1:].mean()), rel=1e-12)


def test_regions_are_weights_with_one_more_dimension():
    forecast, truth, weights = fields(10, 0.2)
    south = (truth["lat"] < 0).astype(float)
    regions = xr.concat([weights * south, weights * (1 - south)], "region").assign_coords(
        region=["south", "north"]
    )
    by_region = rmse(forecast, truth, dims=ALL, weights=regions)
    assert by_region.dims == ("region",)
    half = truth["lat"] < 0
    alone = rmse(forecast[:, half], truth[:, half], dims=ALL, weights=weights[half])
    assert float(by_region.sel(region="south")) == pytest.approx(float(alone), rel=1e-14)


def test_datasets_are_scored_by_variable():
    forecast, truth, weights = fields(11)
    first, second = xr.Dataset({"t": forecast, "u": truth, "x": truth}), xr.Dataset({"t": truth, "u": truth})
    result = score(["bias", "rmse"], first, second, dims=ALL, weights=weights)
    assert set(result) == {"t", "u"}
    assert float(result["t"].sel(metric="rmse")) == float(rmse(forecast, truth, dims=ALL, weights=weights))
    assert float(result["u"].sel(metric="rmse")) == 0.0


def test_count_is_the_number_of_present_cells():
    forecast, truth, weights = fields(12, 0.3)
    state = accumulate(["rmse"], forecast, truth, dims=ALL, weights=weights)
    assert int(state.counts["squared_error"]) == int((forecast - truth).notnull().sum())
    assert set(finalise(state)) == {"rmse"}
