"""What is held out stays out: space, time, the second half, relatives of a model."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from isopleth.fields import audit
from isopleth.sealevel.baselines import EnsembleMean, Ridge
from isopleth.sealevel.protocol import measure_rmse, run_trials
from sealevel_projection.config import InputConfig, ProjectionConfig, SegmentConfig, SkillConfig
from sealevel_projection.experiments import (
    cross_validation_rows,
    family_of,
    hindcast_rows,
    join_outcomes,
    plan_null,
    plan_other_models,
    plan_second_half,
    plan_validation,
    projection_rows,
    split_space_and_time,
    to_trends,
)
from sealevel_projection.predict import carried_on
from sealevel_projection.segments import divide_ocean

TEST = SkillConfig(folds=4, buffer_km=1500.0, block_km=4000.0, last_years=6, embargo_years=2)


@pytest.fixture
def config(period):
    return ProjectionConfig(period=period, segments=SegmentConfig(method="none"))


@pytest.fixture
def segments(archive, config, period):
    return divide_ocean(archive, config.segments, period)


def test_no_test_row_is_near_a_training_row_in_space_or_time(archive, config, segments, period):
    rows = cross_validation_rows(archive, config, TEST, segments)
    folds = split_space_and_time(rows, period, TEST)
    found = audit(folds, lat=rows.lat, lon=rows.lon, times=rows.years, groups=rows.cell)
    assert found.least("min_km") >= 1500.0
    # Years 2007 to 2012 are tested, 2005 and 2006 are the embargo: 2004 is the last that trains.
    assert found.least("min_gap") == pytest.approx(3.0, abs=0.02)
    assert max(fold.shared_groups for fold in found.folds) == 0
    tested = np.concatenate([fold.test for fold in folds])
    assert len(np.unique(tested)) == len(tested) == (np.floor(rows.years) >= 2007).sum()


def test_references_of_the_splits_do_not_know_the_last_years(archive, config, segments):
    year = archive.altimeter["time"].dt.year
    spoilt = replace(archive, altimeter=archive.altimeter.where(year < 2005, archive.altimeter + 1e4))
    first, second = (cross_validation_rows(one, config, TEST, segments) for one in (archive, spoilt))
    early = np.floor(first.years) < 2005
    np.testing.assert_array_equal(first.target[early], second.target[early])


def test_the_backtest_learns_nothing_of_the_second_half(archive, config, segments):
    year = archive.altimeter["time"].dt.year
    spoilt = replace(archive, altimeter=archive.altimeter.where(year <= 2002, archive.altimeter + 1e4))
    plans = [plan_second_half(one, config, segments).trials[0] for one in (archive, spoilt)]
    np.testing.assert_array_equal(plans[0].train.target, plans[1].train.target)
    np.testing.assert_array_equal(plans[0].train.inputs, plans[1].train.inputs)
    assert plans[0].train.years.max() < plans[0].test.years.min()


def test_the_perfect_model_leaves_relatives_out(archive, config, segments):
    renamed = archive.models.assign_coords(model=["CESM1", "CESM2", "MPI-GE", "GFDL-ESM2M"])
    weather = archive.weather.assign_coords(model=renamed["model"])
    relatives = replace(archive, models=renamed, weather=weather)
    trials = {trial.name: trial for trial in plan_other_models(relatives, config, segments).trials}
    assert trials["perfect model, CESM1"].train.features == ("MPI-GE", "GFDL-ESM2M")
    assert trials["perfect model, MPI-GE"].train.features == ("CESM1", "CESM2", "GFDL-ESM2M")


@pytest.mark.parametrize(
    ("name", "family"),
    [("CESM1", "CESM"), ("cesm2-GHG", "CESM"), ("MPI-ESM1-2-HR", "MPI"), ("4xCO2", "4xCO2")],
)
def test_families_are_read_off_names(name, family):
    assert family_of(name) == family


def test_trends_of_outcomes_are_those_of_polyfit(archive, config, segments):
    plan = plan_second_half(archive, config, segments)
    values = run_trials(EnsembleMean(), [plan])["backtest"]
    trends = to_trends(values)
    for cell in trends.cell[:: len(trends.cell) // 7]:
        own = values.cell == cell
        slope = np.polyfit(values.step[own], values.prediction[own], 1)[0]
        assert trends.prediction[trends.cell == cell][0] == pytest.approx(slope)
    np.testing.assert_allclose(to_trends(values, per_year=12).truth, 12 * trends.truth)


def test_joined_worlds_keep_their_blocks_apart_and_their_errors(archive, config, segments):
    plan = plan_second_half(archive, config, segments)
    one = run_trials(EnsembleMean(), [plan])["backtest"]
    two = join_outcomes([one, replace(one, prediction=one.prediction + 5.0)])
    assert two.blocks == 2 * one.blocks
    squares = [np.average((one.error + shift) ** 2, weights=one.weight) for shift in (0.0, 5.0)]
    assert measure_rmse(two) == pytest.approx(np.sqrt(np.mean(squares)))


def test_ridge_finds_the_rule_and_nothing_in_predictors_without_information(make_archive, config):
    archive = make_archive(noise=1.0)
    segments = divide_ocean(archive, config.segments, config.period)
    rows = cross_validation_rows(archive, config, TEST, segments)
    plans = [*plan_validation(rows, config.period, TEST), *plan_null(rows, config.period, TEST)]
    found = {name: measure_rmse(one) for name, one in run_trials(Ridge(size_km=4000.0), plans).items()}
    scale = np.sqrt(np.average(rows.target**2, weights=rows.weight))
    assert found["space and time held out"] < 0.35 * scale
    assert found["null test"] > 2.0 * found["space and time held out"]


def test_splits_that_leave_nothing_to_learn_from_are_refused(archive, config, segments, period):
    rows = hindcast_rows(archive, config, segments)
    with pytest.raises(DataError, match="leave years to learn from"):
        split_space_and_time(rows, period, replace(TEST, last_years=19, embargo_years=5))


def test_lines_carried_on_are_put_back(make_archive, period):
    """With lines as the reference the projection of a network that adds nothing is persistence itself."""
    archive = make_archive()
    config = ProjectionConfig(
        period=period, inputs=InputConfig(reference="line"), segments=SegmentConfig(method="none")
    )
    segments = divide_ocean(archive, config.segments, period)
    future = projection_rows(archive, config, segments)
    added = carried_on(archive, config, future)
    cell = future.cell[40]
    past = archive.altimeter.values.reshape(40, -1)[:20, cell]
    years = archive.altimeter["time"].dt.year.values
    line = np.polyfit(years[:20], past - past.mean(), 1)
    np.testing.assert_allclose(added[future.cell == cell], np.polyval(line, years[20:]), atol=0.05)


def test_the_observed_mean_is_added_back_as_its_line(make_archive, period):
    archive = make_archive()
    mean = xr.DataArray(3.0 * np.arange(40.0), {"time": archive.models["time"]}, ("time",))
    archive = replace(archive, observed_mean=mean.where(mean < 60.0))
    config = ProjectionConfig(
        period=period, inputs=InputConfig(global_mean="add_back"), segments=SegmentConfig(method="none")
    )
    future = projection_rows(archive, config, divide_ocean(archive, config.segments, period))
    added = carried_on(archive, config, future)
    np.testing.assert_allclose(added, 3.0 * (future.step + 20 - 9.5), atol=0.05)
