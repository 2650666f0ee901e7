"""Intervals by the errors made on other models' futures, in units of a cell's own variability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isopleth.errors import DataError
from isopleth.sealevel.protocol import Experiment, Outcome
from isopleth.sealevel.rows import Floats, Rows
from isopleth.verify import block_conformal
from sealevel_projection.experiments import fit_slopes, to_trends


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    r"""Half-widths of intervals, in standard deviations of a cell's own variability.

    An interval is :math:`\hat y \pm q_l\, \sigma_c`, with the quantile q of the scaled errors at lead l, and
    the standard deviation of the cell's observed departures from its straight line over the hindcast.

    Attributes
    ----------
    level : float
        Share of truth to cover.
    values : array, shape (lead,)
        q for each projected time.
    trend : float
        q for the trend over all projected times, 1/year.
    """

    level: float
    values: Floats
    trend: float


def residual_scale(rows: Rows) -> Floats:
    """Return the standard deviation of each cell's targets about their straight line, on the flattened grid.

    NaN where there are no rows. A cell that hardly varies counts as one of a tenth of the ocean's median, so
    that no error is divided by nothing.
    """
    cells, place = np.unique(rows.cell, return_inverse=True)
    count = np.bincount(place)
    slope = fit_slopes(rows.years, rows.target, place)
    centre, level = np.bincount(place, rows.years) / count, np.bincount(place, rows.target) / count
    residual = rows.target - level[place] - slope[place] * (rows.years - centre[place])
    deviation = np.sqrt(np.bincount(place, residual**2) / np.maximum(count - 2, 1))
    scale = np.full(rows.grid.lat.size * rows.grid.lon.size, np.nan)
    scale[cells] = np.maximum(deviation, 0.1 * np.median(deviation))
    return scale


def calibrate(
    experiment: Experiment, outcome: Outcome, *, level: float, window: int, per_year: int = 1
) -> Calibration:
    """Measure how wide intervals must be to have covered the futures of other models.

    By `isopleth.verify.block_conformal` over pairs of a truth and a block of space. The real ocean is taken
    for one more such truth: where models share an error that it has not, intervals are too narrow.

    Parameters
    ----------
    experiment : Experiment
        The perfect-model test; the past of each truth gives the scale of its weather.
    outcome : Outcome
        What was predicted in it.
    level : float
        Share of the truth to cover.
    window : int
        Years on either side of a lead whose errors count with it.
    per_year : int
        Steps a year.

    Returns
    -------
    Calibration

    Raises
    ------
    DataError
        If a trial's truth has no past in a cell.
    """
    scales = np.stack([residual_scale(trial.train) for trial in experiment.trials])
    scaled = np.abs(outcome.error) / scales[outcome.trial, outcome.cell]
    trends = to_trends(outcome, per_year=per_year)
    scaled_trend = np.abs(trends.error) / scales[trends.trial, trends.cell]
    if not (np.isfinite(scaled).all() and np.isfinite(scaled_trend).all()):
        raise DataError("errors to calibrate by must be known in every cell, got cells without a past")
    pairs, trend_pairs = _pairs_of_truth_and_block(outcome), _pairs_of_truth_and_block(trends)
    values = np.empty(int(outcome.step.max()) + 1)
    for lead in range(len(values)):
        near = np.abs(outcome.step - lead) <= window * per_year
        values[lead] = block_conformal(scaled[near], pairs[near], level=level, weights=outcome.weight[near])
    trend = block_conformal(scaled_trend, trend_pairs, level=level, weights=trends.weight)
    return Calibration(level=level, values=values, trend=trend)


def _pairs_of_truth_and_block(outcome: Outcome) -> np.ndarray:
    """Give each pair of a truth and a block of space a number: errors are exchanged between these."""
    return np.asarray(outcome.trial * (int(outcome.block.max()) + 1) + outcome.block)
