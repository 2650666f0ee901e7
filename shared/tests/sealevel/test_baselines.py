"""Each baseline recovers the law it can express, and none sees what it must not."""

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid
from isopleth.sealevel.baselines import EnsembleMean, GlobalMean, Persistence, RandomForest, Ridge, Scaling
from isopleth.sealevel.rows import build_rows

GRID = Grid.regular(18, 36)


def make_fields(models=3, times=None, seed=0):
    """Smooth random fields: sums of waves, so that neighbours are alike as in nature."""
    rng = np.random.default_rng(seed)
    lat, lon = np.meshgrid(np.radians(GRID.lat), np.radians(GRID.lon), indexing="ij")
    x = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    shape = (models,) if times is None else (models, len(times))
    k = rng.normal(scale=4.0, size=(*shape, 12, 3))
    phase = rng.uniform(0, 2 * np.pi, (*shape, 12, 1, 1))
    values = np.cos(np.einsum("ijc,...wc->...wij", x, k) + phase).sum(axis=-3)
    coords = {"model": [f"M{m}" for m in range(models)], "lat": GRID.lat, "lon": GRID.lon}
    dims = ("model", "lat", "lon")
    if times is not None:
        coords["time"], dims = times, ("model", "time", "lat", "lon")
    return xr.DataArray(values, coords, dims, attrs={"units": "mm year-1"})


def halves(grid=GRID):
    labels = np.repeat((grid.lon > 170).astype(int)[None], grid.lat.size, axis=0)
    return xr.DataArray(labels, {"lat": grid.lat, "lon": grid.lon}, ("lat", "lon"))


def rows_of(inputs, target, **options):
    return build_rows(inputs, target.assign_attrs(units="mm year-1"), **options)


def test_the_ensemble_mean_is_that():
    rows = build_rows(make_fields())
    predicted = EnsembleMean().fit(rows).predict(rows)
    np.testing.assert_allclose(predicted, rows.inputs.sum(axis=1) / 3)


def test_the_global_mean_weighs_by_area():
    inputs = make_fields()
    rows = rows_of(inputs, inputs.isel(model=0, drop=True))
    predicted = GlobalMean().fit(rows).predict(rows)
    area = np.sin(np.radians(rows.lat + 5)) - np.sin(np.radians(rows.lat - 5))
    np.testing.assert_allclose(predicted, (area * rows.target).sum() / area.sum())


def test_persistence_gives_a_cell_its_own_trend_and_an_unseen_cell_nothing():
    inputs = make_fields()
    rows = rows_of(inputs, inputs.isel(model=1, drop=True))
    seen, unseen = rows.take(np.arange(0, len(rows), 2)), rows.take(np.arange(1, len(rows), 2))
    fitted = Persistence().fit(seen)
    np.testing.assert_array_equal(fitted.predict(seen), seen.target)
    assert np.isnan(fitted.predict(unseen)).all()


def test_persistence_of_values_goes_on_along_each_cells_straight_line():
    times = np.arange(1993, 2023)
    inputs = make_fields(times=times)
    slope = make_fields(seed=3).isel(model=0, drop=True)
    target = slope * xr.DataArray(times - 2000.0, {"time": times}, "time") + 5.0
    rows = rows_of(inputs, target.transpose("time", "lat", "lon"))
    past, future = rows.take(rows.years < 2010), rows.take(rows.years >= 2010)
    np.testing.assert_allclose(Persistence().fit(past).predict(future), future.target, atol=1e-9)


@pytest.mark.parametrize("by", ["all", "segment"])
def test_scaling_recovers_a_line_and_has_one_for_each_segment(by):
    inputs = make_fields()
    factor = 2.0 if by == "all" else xr.where(halves() == 0, 2.0, -1.0)
    rows = rows_of(inputs, factor * inputs.mean("model") + 0.5, segments=halves())
    np.testing.assert_allclose(Scaling(by).fit(rows).predict(rows), rows.target, atol=1e-10)


def test_scaling_by_cell_needs_times_and_then_recovers_each_cells_factor():
    inputs = make_fields(times=np.arange(1993, 2013))
    factor = make_fields(seed=5).isel(model=0, drop=True)
    rows = rows_of(inputs, (factor * inputs.mean("model") + 1).transpose("time", "lat", "lon"))
    np.testing.assert_allclose(Scaling("cell").fit(rows).predict(rows), rows.target, atol=1e-9)
    still = rows_of(make_fields(), make_fields().mean("model") * 3)
    # One row a cell has no line of its own: it gets that of all.
    np.testing.assert_allclose(Scaling("cell").fit(still).predict(still), still.target, atol=1e-10)


def test_ridge_recovers_a_linear_law_and_ignores_a_constant_input():
    inputs = make_fields()
    law = 3.0 + 2.0 * inputs.isel(model=0, drop=True) - 0.5 * inputs.isel(model=2, drop=True)
    inputs[1] = 7.0
    rows = rows_of(inputs, law)
    predicted = Ridge().fit(rows).predict(rows)
    np.testing.assert_allclose(predicted, rows.target, atol=1e-4)


def test_ridge_is_the_normal_equations_of_the_penalised_problem():
    """Against the augmented least-squares problem, solved by another route."""
    rng = np.random.default_rng(0)
    inputs = make_fields()
    noise = xr.DataArray(rng.normal(size=GRID.shape), dims=("lat", "lon"))
    rows = rows_of(inputs, inputs.mean("model") + noise)
    ridge = Ridge()
    penalty = ridge.choose_penalty(rows)
    w = rows.weight / rows.weight.sum()
    mean = w @ rows.inputs
    scale = np.sqrt(w @ (rows.inputs - mean) ** 2)
    z, level = (rows.inputs - mean) / scale, w @ rows.target
    root = np.sqrt(w)[:, None]
    design = np.concatenate([root * z, np.sqrt(penalty) * np.eye(3)])
    moved = np.concatenate([root[:, 0] * (rows.target - level), np.zeros(3)])
    slopes = np.linalg.lstsq(design, moved, rcond=None)[0]
    np.testing.assert_allclose(ridge.fit(rows).predict(rows), z @ slopes + level, atol=1e-10)


def test_ridge_shrinks_to_the_mean_where_inputs_know_nothing():
    inputs = make_fields(models=6)
    rows = rows_of(inputs, make_fields(models=1, seed=11).isel(model=0, drop=True))
    spread = Ridge().fit(rows).predict(rows).std()
    assert spread < 0.35 * rows.target.std()


def test_ridge_by_segment_and_a_segment_never_seen():
    inputs = make_fields()
    law = xr.where(halves() == 0, 1.0, -1.0) * inputs.isel(model=0, drop=True)
    rows = rows_of(inputs, law, segments=halves())
    fitted = Ridge("segment").fit(rows)
    np.testing.assert_allclose(fitted.predict(rows), rows.target, atol=1e-3)
    elsewhere = rows_of(inputs, law, segments=halves() + 5)
    np.testing.assert_array_equal(
        fitted.predict(elsewhere), elsewhere.inputs @ fitted.everywhere[:-1] + fitted.everywhere[-1]
    )


def test_a_random_forest_bends_where_ridge_cannot():
    inputs = make_fields()
    rows = rows_of(inputs, abs(inputs.isel(model=0, drop=True)))
    forest = RandomForest(trees=30).fit(rows).predict(rows)
    ridge = Ridge().fit(rows).predict(rows)
    assert np.abs(forest - rows.target).mean() < 0.3 * np.abs(ridge - rows.target).mean()


def test_fit_all_is_fit_of_each():
    inputs = make_fields()
    rows = rows_of(inputs, inputs.mean("model") ** 2)
    parts = [rows.take(np.arange(100, 400)), rows]
    for learner in (EnsembleMean(), GlobalMean(), Persistence(), Scaling("all"), Ridge(), RandomForest(5)):
        for part, fitted in zip(parts, learner.fit_all(parts), strict=True):
            np.testing.assert_array_equal(fitted.predict(part), learner.fit(part).predict(part))


def test_rows_without_targets_are_refused():
    rows = build_rows(make_fields())
    for learner in (GlobalMean(), Persistence(), Scaling(), Ridge(), RandomForest(5)):
        with pytest.raises(DataError, match="must all have a target"):
            learner.fit(rows)
    with pytest.raises(ConfigError, match="by must be one of"):
        Scaling("basin")
    with pytest.raises(ConfigError, match="by must be one of"):
        Ridge("cell")
