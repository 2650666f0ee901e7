import json
import operator
from functools import reduce
from itertools import pairwise

import dask
import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError, DataError
from isopleth.verify import METRICS, State, accumulate, combine, finalise, psnr_metric, score, ssim_metric

DIMS = ("time", "lat", "lon")
EVERY = [*METRICS, psnr_metric(4.0)]
SIZES = {"time": 6, "lead": 2, "lat": 5, "lon": 4}


def sample(seed=0, missing=0.2):
    rng = np.random.default_rng(seed)
    coords = {
        "time": pd.date_range("2020-02-27", periods=6, freq="12h"),
        "lead": pd.to_timedelta([24, 48], "h"),
        "lat": np.linspace(-60, 60, 5),
        "lon": np.arange(0, 360, 90.0),
    }
    truth = xr.DataArray(rng.normal(size=(6, 2, 5, 4)), coords, list(SIZES))
    noise = xr.DataArray(
        rng.normal(size=(3, 6, 2, 5, 4)), {"member": [0, 1, 2], **coords}, ["member", *SIZES]
    )
    forecast = (truth + noise).round(1)  # rounded, so that ranks tie
    truth = truth.round(1).where(rng.random(truth.shape) > missing)
    weights = xr.DataArray(np.cos(np.deg2rad(coords["lat"])), {"lat": coords["lat"]}, ["lat"])
    climatology = xr.DataArray(
        rng.normal(0, 0.1, (5, 4)), {k: coords[k] for k in ("lat", "lon")}, ["lat", "lon"]
    )
    return forecast, truth, weights, climatology


def piece(fields, chosen):
    forecast, truth, weights, climatology = (
        values.isel({dim: part for dim, part in chosen.items() if dim in values.dims}) for values in fields
    )
    return accumulate(EVERY, forecast, truth, dims=DIMS, weights=weights, climatology=climatology)


def assert_same_scores(state, other, tolerance=1e-12):
    left, right = finalise(state, EVERY), finalise(other, EVERY)
    for name in left:
        np.testing.assert_allclose(
            left[name], right[name].transpose(*left[name].dims), rtol=tolerance, atol=tolerance
        )


def cuts(dim):
    return st.sets(st.integers(1, SIZES[dim] - 1)).map(lambda inner: sorted({0, SIZES[dim], *inner}))


# At most 12 pieces: each is scored by every metric.
EDGES = st.fixed_dictionaries({dim: cuts(dim) for dim in SIZES}).filter(
    lambda edges: np.prod([len(ends) - 1 for ends in edges.values()]) <= 12
)


@settings(max_examples=8, deadline=None)
@given(EDGES, st.randoms(use_true_random=False), st.integers(0, 3))
def test_any_chunks_in_any_order_add_up_to_the_whole(edges, random, seed):
    fields = sample(seed)
    pieces = [{}]
    for dim, ends in edges.items():
        parts = [slice(a, b) for a, b in pairwise(ends)]
        pieces = [{**known, dim: part} for known in pieces for part in parts]
    random.shuffle(pieces)
    whole = piece(fields, {})
    states = [piece(fields, chosen) for chosen in pieces]
    total = reduce(operator.add, states)
    assert_same_scores(total, whole)
    np.testing.assert_allclose(combine(states).to_vector(), total.to_vector(), rtol=1e-12, atol=1e-12)


def test_sum_starts_from_zero():
    fields = sample()
    states = [piece(fields, {"time": part}) for part in (slice(2), slice(2, 6))]
    assert_same_scores(sum(states), piece(fields, {}))


def test_ssim_adds_up_over_images():
    rng = np.random.default_rng(0)
    truth = xr.DataArray(rng.random((4, 16, 16)), {"time": np.arange(4)}, ("time", "y", "x"))
    forecast = truth + 0.1 * rng.random(truth.shape)
    metric = ssim_metric(1.0)
    states = [accumulate(metric, forecast[part], truth[part]) for part in (slice(3), slice(3, 4))]
    whole = score(metric, forecast, truth)
    np.testing.assert_allclose(finalise(sum(states), metric)["ssim"], whole["ssim"], rtol=1e-13)


def test_dask_is_lazy_and_equal():
    fields = sample()
    whole = piece(fields, {})
    chunks = {"time": 2, "lat": 3, "member": 1}

    def refuse(*args, **kwargs):
        raise AssertionError("computed too early")

    with dask.config.set(scheduler=refuse):
        lazy = piece(
            [values.chunk({k: v for k, v in chunks.items() if k in values.dims}) for values in fields], {}
        )
        scores = finalise(lazy, EVERY)
    assert all(dask.is_dask_collection(values.data) for values in lazy.table.values())
    assert all(dask.is_dask_collection(values.data) for values in scores.values())
    assert_same_scores(lazy.compute(), whole)


def test_dictionary_survives_json():
    state = piece(sample(), {})
    assert state.sliced == ("time",)  # the ACC of each time, with its datetime64, is inside
    back = State.from_dict(json.loads(json.dumps(state.to_dict())))
    assert (back.metrics, back.sliced) == (state.metrics, state.sliced)
    xr.testing.assert_identical(back.table, state.table)
    xr.testing.assert_identical((back + state).table, (state + state).table)


def test_dictionary_keeps_a_model_calendar():
    times = xr.date_range("2001-02-27", periods=3, calendar="360_day", use_cftime=True)
    truth = xr.DataArray(np.arange(6.0).reshape(3, 2), {"time": times}, ("time", "lat"))
    state = accumulate("rmse", truth + 1, truth, dims="lat")
    xr.testing.assert_identical(State.from_dict(json.loads(json.dumps(state.to_dict()))).table, state.table)


def test_vectors_add_up_as_an_all_reduce_would():
    forecast, truth, weights, _ = sample()
    ranks = [
        accumulate(
            ["rmse", "crps"], forecast.isel(time=part), truth.isel(time=part), dims=DIMS, weights=weights
        )
        for part in (slice(2), slice(2, 6))
    ]
    reduced = ranks[0].with_vector(sum(state.to_vector() for state in ranks))
    xr.testing.assert_identical(reduced.table, sum(ranks).table)


def test_vector_of_another_layout_is_refused():
    forecast, truth, *_ = sample()
    state = accumulate("crps", forecast, truth)
    with pytest.raises(DataError, match=r"must have shape \(3,\), got \(4,\)"):
        state.with_vector(np.zeros(4))


def test_states_of_other_scores_are_refused():
    truth = xr.DataArray([1.0, 2.0])
    with pytest.raises(DataError, match=r"squared_error.*rmse.*absolute_error.*mae"):
        accumulate("rmse", truth, truth) + accumulate("mae", truth, truth)


def test_kept_dimension_without_labels_cannot_be_added():
    truth = xr.DataArray(np.ones((3, 4)), dims=("time", "lat"))
    state = accumulate("rmse", truth, truth, dims="lat")
    with pytest.raises(DataError, match="'time' of a state must have a coordinate"):
        state + state


def test_repeated_labels_cannot_be_added():
    truth = xr.DataArray(np.ones((2, 4)), {"time": [0, 0]}, ("time", "lat"))
    state = accumulate("rmse", truth, truth, dims="lat")
    with pytest.raises(DataError, match="without repeats"):
        state + state


def test_nothing_combined_is_refused():
    with pytest.raises(DataError, match="at least one state"):
        combine([])


def test_metric_that_the_state_lacks_is_named():
    truth = xr.DataArray([1.0, 2.0])
    with pytest.raises(DataError, match="must hold the statistics of mae"):
        finalise(accumulate("rmse", truth, truth), "mae")
    with pytest.raises(ConfigError, match="psnr_metric"):
        finalise(accumulate(psnr_metric(1.0), truth, truth))


def test_a_state_is_not_a_number():
    state = State.of({"value": xr.DataArray([1.0])})
    with pytest.raises(TypeError):
        state + 1
