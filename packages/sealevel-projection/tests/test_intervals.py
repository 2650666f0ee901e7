"""Intervals hold what they promise where truth and calibration are alike, and are as wide as said."""

from dataclasses import replace

import numpy as np
import pytest

from isopleth.sealevel.baselines import EnsembleMean
from isopleth.sealevel.protocol import run_trials
from sealevel_projection.config import ProjectionConfig, SegmentConfig
from sealevel_projection.experiments import hindcast_rows, plan_other_models
from sealevel_projection.intervals import calibrate, residual_scale
from sealevel_projection.segments import divide_ocean


@pytest.fixture
def tested(archive, period):
    config = ProjectionConfig(period=period, segments=SegmentConfig(method="none"))
    segments = divide_ocean(archive, config.segments, period)
    plan = plan_other_models(archive, config, segments)
    return plan, run_trials(EnsembleMean(), [plan])[plan.name], hindcast_rows(archive, config, segments)


def test_the_scale_is_the_deviation_about_each_cells_line(tested):
    *_, rows = tested
    scale = residual_scale(rows)
    cell = rows.cell[11]
    own = rows.cell == cell
    line = np.polyfit(rows.years[own], rows.target[own], 1)
    residual = rows.target[own] - np.polyval(line, rows.years[own])
    assert scale[cell] == pytest.approx(np.sqrt((residual**2).sum() / (own.sum() - 2)))
    assert np.isnan(scale).sum() == rows.grid.lat.size * rows.grid.lon.size - len(np.unique(rows.cell))


def test_a_cell_that_does_not_vary_is_not_divided_by_nothing(tested):
    *_, rows = tested
    still = replace(rows, target=np.where(rows.cell == rows.cell[0], 0.0, rows.target))
    scale = residual_scale(still)
    assert scale[rows.cell[0]] == pytest.approx(0.1 * np.nanmedian(scale), rel=0.05)


def test_errors_of_known_size_give_known_intervals(tested):
    """Errors of a lead's number of standard deviations: the half-width of a lead is that number."""
    plan, outcome, _ = tested
    scales = np.stack([residual_scale(trial.train) for trial in plan.trials])
    error = (outcome.step + 1.0) * scales[outcome.trial, outcome.cell]
    known = replace(outcome, prediction=outcome.truth + error)
    found = calibrate(plan, known, level=0.9, window=0)
    np.testing.assert_allclose(found.values, np.arange(1.0, len(found.values) + 1.0))
    assert found.trend == pytest.approx(1.0)
    wide = calibrate(plan, known, level=0.9, window=2)
    assert (wide.values >= found.values).all()


def test_intervals_hold_new_errors_of_the_same_kind(tested):
    plan, outcome, _ = tested
    rng = np.random.default_rng(0)
    scales = np.stack([residual_scale(trial.train) for trial in plan.trials])
    scale = scales[outcome.trial, outcome.cell]

    def draw():
        return replace(outcome, prediction=outcome.truth + scale * rng.normal(size=len(scale)))

    calibration = calibrate(plan, draw(), level=0.8, window=1)
    fresh = draw()
    held = np.abs(fresh.error) <= calibration.values[fresh.step] * scale
    assert 0.79 < np.average(held, weights=fresh.weight) < 0.84


def test_months_are_leads_of_a_twelfth_of_a_year(tested):
    """The same errors read as months: trends of a year are twelve times as large."""
    plan, outcome, _ = tested
    years = calibrate(plan, outcome, level=0.8, window=0, per_year=1)
    months = calibrate(plan, outcome, level=0.8, window=0, per_year=12)
    assert months.trend == pytest.approx(12.0 * years.trend)
    np.testing.assert_array_equal(months.values, years.values)
