"""Experiments hold out what they say, and their numbers are those of plain arithmetic."""

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from isopleth.fields import block_folds, random_folds, tile_labels
from isopleth.grid import Grid
from isopleth.sealevel.baselines import EnsembleMean, GlobalMean, Persistence, RandomForest, Ridge
from isopleth.sealevel.protocol import (
    interval_of_rmse,
    measure_coverage,
    measure_rmse,
    plan_backtest,
    plan_cross_validation,
    plan_null_test,
    plan_perfect_models,
    randomise_phases,
    run_trials,
)
from isopleth.sealevel.rows import build_rows

GRID = Grid.regular(24, 48)


def smooth(count, seed, length=3.0):
    """Random fields on the sphere, correlated over about 6371 / length km."""
    rng = np.random.default_rng(seed)
    lat, lon = np.meshgrid(np.radians(GRID.lat), np.radians(GRID.lon), indexing="ij")
    x = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    k, phase = rng.normal(scale=length, size=(count, 40, 3)), rng.uniform(0, 2 * np.pi, (count, 40, 1, 1))
    values = np.cos(np.einsum("ijc,nwc->nwij", x, k) + phase).mean(axis=1) * np.sqrt(80)
    coords = {"model": [f"M{m}" for m in range(count)], "lat": GRID.lat, "lon": GRID.lon}
    return xr.DataArray(values, coords, ("model", "lat", "lon"), attrs={"units": "mm year-1"})


@pytest.fixture(scope="module")
def rows():
    inputs = smooth(4, 0)
    target = inputs.mean("model") + 0.3 * smooth(1, 7).isel(model=0, drop=True)
    return build_rows(inputs, target.assign_attrs(units="mm year-1"))


def blocks_of(rows, buffer_km=500.0):
    return block_folds(rows.lat, rows.lon, 5, buffer_km=buffer_km)


def test_every_cell_is_predicted_once_by_a_fit_that_never_came_near_it(rows):
    experiment = plan_cross_validation(rows, blocks_of(rows))
    for trial in experiment.trials:
        a, b = (
            np.stack([np.cos(p) * np.cos(m), np.cos(p) * np.sin(m), np.sin(p)])
            for part in (trial.train, trial.test)
            for p, m in [np.radians((part.lat, part.lon))]
        )
        assert 6371 * np.arccos((a.T @ b).clip(-1, 1)).min() >= 500 - 1e-6
    outcome = run_trials(EnsembleMean(), [experiment])["cross-validation"]
    assert sorted(outcome.cell) == list(range(len(rows)))
    assert outcome.complete


def test_blocks_of_the_bootstrap_are_the_tiles_that_folds_deal_out(rows):
    outcome = run_trials(GlobalMean(), [plan_cross_validation(rows, blocks_of(rows))])["cross-validation"]
    for block in np.unique(outcome.block):
        assert len(np.unique(outcome.trial[outcome.block == block])) == 1
    np.testing.assert_array_equal(outcome.block, tile_labels(outcome.lat, outcome.lon - 360, size_km=2000.0))
    assert 100 < outcome.blocks < 160  # 510 million km2 of sphere in tiles of 4 million


def test_rmse_is_that_of_plain_arithmetic(rows):
    outcome = run_trials(Ridge(), [plan_cross_validation(rows, blocks_of(rows))])["cross-validation"]
    total = sum(
        w * (p - t) ** 2 for w, p, t in zip(outcome.weight, outcome.prediction, outcome.truth, strict=True)
    )
    assert measure_rmse(outcome) == pytest.approx(np.sqrt(total / outcome.weight.sum()), rel=1e-12)
    interval = interval_of_rmse(outcome)
    assert interval.value == pytest.approx(measure_rmse(outcome), rel=1e-12)
    assert interval.low < interval.value < interval.high


def test_a_difference_is_paired_by_block(rows):
    experiment = plan_cross_validation(rows, blocks_of(rows))
    mean, ridge = (run_trials(one, [experiment])["cross-validation"] for one in (EnsembleMean(), Ridge()))
    paired = interval_of_rmse(ridge, mean)
    assert paired.value == pytest.approx(measure_rmse(ridge) - measure_rmse(mean))
    apart = np.hypot(*(np.ptp(interval_of_rmse(one).ends) for one in (ridge, mean)))
    assert np.ptp(paired.ends) < 0.8 * apart
    assert interval_of_rmse(ridge, ridge).ends == (0, 0)


def test_predictors_that_know_nothing_show_no_skill_in_blocks_and_false_skill_at_random():
    """Trap 3: random folds reward no information at all."""
    target = smooth(1, 100, length=4.0).isel(model=0, drop=True)
    rows = build_rows(smooth(6, 3, length=4.0), target)

    def randomise(given, seed):
        return build_rows(smooth(6, 50 + seed, length=4.0)).take(given.cell).inputs

    at_random = random_folds(len(rows), 5, acknowledge_leakage=True)
    experiments = [
        plan_null_test(rows, blocks_of(rows, 1000.0), randomise=randomise, draws=2, name="blocks"),
        plan_null_test(rows, at_random, randomise=randomise, draws=2, name="random"),
    ]
    forest, nothing = (run_trials(one, experiments) for one in (RandomForest(trees=15), GlobalMean()))
    skill = {name: 1 - measure_rmse(forest[name]) / measure_rmse(nothing[name]) for name in forest}
    assert skill["blocks"] < 0.02
    assert skill["random"] > 0.15
    assert len(experiments[0].trials) == 10


def test_phases_are_turned_and_spectra_kept(rows):
    drawn = randomise_phases(rows, 3)
    np.testing.assert_array_equal(drawn, randomise_phases(rows, 3))
    alike = [np.corrcoef(randomise_phases(rows, seed).T, rows.inputs.T)[:4, 4:] for seed in range(8)]
    assert np.sqrt(np.mean(np.square(alike))) < 0.35
    power = rows.weight @ (drawn - np.average(drawn, axis=0, weights=rows.weight)) ** 2
    before = rows.weight @ (rows.inputs - np.average(rows.inputs, axis=0, weights=rows.weight)) ** 2
    np.testing.assert_allclose(power, before, rtol=0.02)


def test_a_perfect_model_is_never_among_its_own_inputs():
    past, future = smooth(4, 0), smooth(4, 1)
    experiment = plan_perfect_models(past, future)
    for k, trial in enumerate(experiment.trials):
        assert trial.train.features == tuple(f"M{j}" for j in range(4) if j != k)
        np.testing.assert_array_equal(trial.train.target, past[k].values.ravel())
        np.testing.assert_array_equal(trial.test.target, future[k].values.ravel())
        np.testing.assert_array_equal(trial.test.inputs[:, 0], future[0 if k else 1].values.ravel())
    persisted = run_trials(Persistence(), [experiment])["perfect model"]
    np.testing.assert_array_equal(persisted.of_trial(2).prediction, past[2].values.ravel())


def test_siblings_of_the_truth_can_be_left_out():
    past, future = smooth(5, 0), smooth(5, 1)
    families = {"M0": "a", "M1": "a", "M2": "b"}
    experiment = plan_perfect_models(past, future, families=families)
    assert experiment.trials[0].train.features == ("M2", "M3", "M4")
    assert experiment.trials[3].train.features == ("M0", "M1", "M2", "M4")
    with pytest.raises(DataError, match="two other models"):
        plan_perfect_models(past[:3], future[:3], families=families)


def test_a_backtest_is_persistence_where_nothing_changes(rows):
    outcome = run_trials(Persistence(), [plan_backtest(rows, rows, about="twice the same")])["backtest"]
    assert measure_rmse(outcome) == 0


def test_all_experiments_are_fitted_in_one_call(rows):
    calls = []

    class Counting(GlobalMean):
        def fit_all(self, tables):
            calls.append(len(tables))
            return super().fit_all(tables)

    plans = [plan_cross_validation(rows, blocks_of(rows)), plan_backtest(rows, rows, about="")]
    outcomes = run_trials(Counting(), plans)
    assert calls == [6]
    assert set(outcomes) == {"cross-validation", "backtest"}


def test_coverage_counts_area_and_shows_the_worst_block(rows):
    outcome = run_trials(GlobalMean(), [plan_cross_validation(rows, blocks_of(rows))])["cross-validation"]
    north = outcome.lat > 30
    low = np.where(north, outcome.truth + 1, outcome.truth - 1)
    coverage = measure_coverage(outcome, low, low + 2, level=0.9)
    # The ends are included: in the north the truth lies one below the interval. A cap from 30 degrees
    # north is a quarter of the sphere.
    assert coverage.share == pytest.approx(0.75, abs=1e-9)
    assert coverage.by_block[0] == 0
    assert coverage.by_block[-1] == 1
    assert coverage.width == pytest.approx(2)
    assert coverage.interval[0] < 0.75 < coverage.interval[1]


def test_what_does_not_belong_together_is_refused(rows):
    part = rows.take(np.arange(500))
    with pytest.raises(DataError, match="folds must be of the 500 rows"):
        plan_cross_validation(part, blocks_of(rows))
    plan = plan_backtest(rows, rows, about="")
    with pytest.raises(DataError, match="names that differ"):
        run_trials(GlobalMean(), [plan, plan])
    a = run_trials(GlobalMean(), [plan])["backtest"]
    b = run_trials(GlobalMean(), [plan_backtest(rows, part, about="")])["backtest"]
    with pytest.raises(DataError, match="same rows"):
        interval_of_rmse(a, b)
