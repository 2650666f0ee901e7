"""Intervals cover blocks that they were not calibrated on, and are as wide as their scale says."""

import numpy as np
import pytest

from isopleth.errors import DataError
from isopleth.sealevel.protocol import Outcome, measure_coverage
from sealevel_trend.evaluate import cover_blocks, cover_raw, judge_coverage
from sealevel_trend.intervals import Calibration, calibrate, calibrate_across, combine_scales


def make_outcome(blocks=60, cells=20, seed=0, spread=1.0):
    """Errors of unit variance, half of it common to a block; the networks' spread is what it says."""
    rng = np.random.default_rng(seed)
    size = blocks * cells
    block = np.repeat(np.arange(blocks), cells)
    error = np.sqrt(0.5) * (rng.normal(size=blocks)[block] + rng.normal(size=size))
    truth = rng.normal(size=size)
    flat = np.arange(size)
    return Outcome(
        experiment="blocks", learner="network", truth=truth, prediction=truth + error,
        spread=np.full(size, spread), weight=np.ones(size), lat=np.zeros(size), lon=np.zeros(size), cell=flat,
        step=np.zeros(size, int), trial=block % 5, block=block,
    )  # fmt: skip


def test_plain_half_width_is_near_that_of_the_normal_distribution():
    found = calibrate(make_outcome(blocks=400), 0.9)
    assert found.plain == pytest.approx(1.645, abs=0.15)
    assert found.scaled == pytest.approx(found.plain)


def test_scaled_intervals_do_not_depend_on_the_units_of_the_scale():
    ends = []
    for factor in (1.0, 100.0):
        outcome = make_outcome(spread=factor)
        scale = combine_scales(outcome.spread, None)
        ends.append(calibrate(outcome, 0.9).ends(outcome.prediction, scale))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)


def test_intervals_cover_folds_that_did_not_calibrate_them():
    shares = []
    for seed in range(20):
        outcome = make_outcome(seed=seed)
        low, high = calibrate_across(outcome, 0.9, outcome.spread)
        shares.append(measure_coverage(outcome, low, high, level=0.9).share)
    assert np.mean(shares) == pytest.approx(0.91, abs=0.02)


def test_a_fold_with_wild_errors_does_not_widen_its_own_intervals():
    outcome = make_outcome()
    wild = outcome.trial == 0
    outcome.prediction[wild] += 50.0
    low, high = calibrate_across(outcome, 0.9, outcome.spread)
    width = (high - low)[wild].mean()
    assert width < 6
    assert measure_coverage(outcome, low, high, level=0.9).share < 0.95


def test_scales_add_as_variances_and_never_vanish():
    np.testing.assert_allclose(combine_scales(np.array([3.0]), np.array([4.0])), 5.0)
    assert combine_scales(np.zeros(2), None).min() > 0


def test_a_spread_that_is_too_small_covers_too_little():
    outcome = make_outcome(spread=0.2)
    coverage, raw = cover_blocks(outcome, None, 0.9)
    assert coverage.share > 0.85
    assert raw == pytest.approx(cover_raw(outcome, 0.9)) == pytest.approx(0.26, abs=0.05)


def test_an_outcome_without_spread_is_refused():
    from dataclasses import replace

    with pytest.raises(DataError, match="must have a spread"):
        calibrate(replace(make_outcome(), spread=None), 0.9)


@pytest.mark.parametrize(
    ("share", "interval", "holds"),
    [
        (0.9, (0.88, 0.93), True),
        (0.7, (0.6, 0.8), False),
        (0.88, (0.8, 0.93), None),
        (0.99, (0.97, 1.0), False),
    ],
)
def test_coverage_is_judged_by_its_own_interval(share, interval, holds):
    from isopleth.sealevel.protocol import Coverage

    coverage = Coverage(level=0.9, share=share, interval=interval, width=1.0, by_block=(0.5, 0.95))
    claim = judge_coverage("The intervals cover", coverage, 40)
    assert claim.holds is holds
    assert "50 %" in claim.evidence


def test_ends_are_symmetric():
    low, high = Calibration(0.9, 2.0, 1.0).ends(np.array([1.0]), np.array([0.5]))
    assert (low[0], high[0]) == (0.0, 2.0)
