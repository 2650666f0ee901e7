"""Methods without training: what they are exact for, against SciPy, and under masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from geostint.baselines import Gaps, OpticalFlow, make_method
from geostint.config import METHODS
from isopleth.errors import ConfigError
from isopleth.grid import Grid

FRACTIONS = (0.25, 0.5, 0.9)
HOUR = 3600


def gaps_of(frames, *, step=6 * HOUR, periodic=True):
    """Take a series of frames, shape (time, channel, lat, lon), as gaps with NaN beyond its ends."""
    frames = np.asarray(frames, np.float32)
    ends = np.full((1, *frames.shape[1:]), np.nan, np.float32)
    padded = np.concatenate([ends, frames, ends])
    around = np.stack([padded[k : k + 4] for k in range(len(frames) - 1)])
    start = step * np.arange(len(frames) - 1)
    rows, columns = frames.shape[-2:]
    grid = Grid.regular(rows, columns)
    if not periodic:
        grid = Grid(np.linspace(10, 40, rows), np.linspace(10, 60, columns))
    return Gaps(around, start, start + step, grid)


def fitted(name, gaps):
    method = make_method(name)
    return method.fit([(gaps.before, gaps.start)]) if method.needs_fit else method


def ramp(times=5, shape=(8, 12)):
    rng = np.random.default_rng(0)
    start, rate = rng.normal(size=(2, 1, *shape)).round(2)
    return np.stack([start + t * rate for t in range(times)])


@pytest.mark.parametrize("name", ["linear", "cubic", "pchip"])
def test_a_field_linear_in_time_is_reproduced(name):
    gaps = gaps_of(ramp())
    made = fitted(name, gaps).make(gaps, FRACTIONS)
    exact = (
        gaps.before[:, None] + np.array(FRACTIONS)[:, None, None, None] * (gaps.after - gaps.before)[:, None]
    )
    np.testing.assert_allclose(made, exact, atol=2e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_field_that_stays_is_kept_to_the_bit(name):
    frame = np.random.default_rng(1).normal(size=(1, 2, 12, 16)).astype(np.float32)
    gaps = gaps_of(np.repeat(frame, 4, axis=0))
    made = fitted(name, gaps).make(gaps, FRACTIONS)
    np.testing.assert_allclose(made, np.broadcast_to(frame[:, None], made.shape), atol=1e-6)


def test_a_cubic_in_time_is_reproduced_inside():
    rng = np.random.default_rng(2)
    c = rng.normal(size=(4, 1, 4, 5))

    def at(t):
        return c[0] + c[1] * t + c[2] * t**2 + c[3] * t**3

    gaps = gaps_of(np.stack([at(t) for t in range(5)]))
    made = make_method("cubic").make(gaps, FRACTIONS)
    for gap in (1, 2):
        for number, t in enumerate(FRACTIONS):
            np.testing.assert_allclose(made[gap, number], at(gap + t), atol=2e-4)


def test_pchip_is_scipys_where_both_have_four_frames():
    frames = np.random.default_rng(3).normal(size=(6, 1, 4, 5))
    gaps = gaps_of(frames)
    made = make_method("pchip").make(gaps, FRACTIONS)
    smooth = PchipInterpolator(np.arange(6), frames.astype(np.float32), axis=0)
    for gap in (1, 2, 3):
        for number, t in enumerate(FRACTIONS):
            np.testing.assert_allclose(made[gap, number], smooth(gap + t), atol=1e-5)


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_pchip_never_leaves_its_frames(seed, t):
    gaps = gaps_of(np.random.default_rng(seed).normal(size=(5, 1, 3, 4)))
    made = make_method("pchip").make(gaps, (t,))[:, 0]
    low, high = np.minimum(gaps.before, gaps.after), np.maximum(gaps.before, gaps.after)
    assert (made >= low - 1e-5).all()
    assert (made <= high + 1e-5).all()


def test_nearest():
    gaps = gaps_of(np.random.default_rng(4).normal(size=(3, 1, 4, 4)))
    made = make_method("nearest").make(gaps, (0.3, 0.5, 0.6))
    np.testing.assert_array_equal(made[:, 0], gaps.before)
    np.testing.assert_array_equal(made[:, 1], gaps.before)
    np.testing.assert_array_equal(made[:, 2], gaps.after)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("periodic", [True, False])
def test_missing_is_missing_and_nothing_bleeds(name, periodic):
    frames = np.random.default_rng(5).normal(size=(4, 1, 12, 16))
    holes = np.zeros(frames.shape, bool)
    holes[:, :, 4:7, 12:] = True
    holes[2, :, 0, 0] = True
    missing = np.where(holes, np.nan, frames)
    gaps = gaps_of(missing, periodic=periodic)
    made = fitted(name, gaps).make(gaps, (0.5,))[:, 0]
    np.testing.assert_array_equal(np.isnan(made), np.isnan(gaps.before) | np.isnan(gaps.after))
    # No number from a hole: all stay within what the frames hold, give or take a polynomial's overshoot.
    assert np.nanmax(np.abs(made)) < 2 * np.nanmax(np.abs(frames))


def test_an_outer_frame_with_a_hole_is_continued():
    frames = ramp()[:, :, :4, :4]
    holed = frames.copy()
    holed[0, :, 1, 1] = np.nan
    whole, less = gaps_of(frames), gaps_of(holed)
    for name in ("cubic", "pchip"):
        method = make_method(name)
        np.testing.assert_allclose(method.make(less, (0.5,))[1], method.make(whole, (0.5,))[1], atol=1e-5)


def diurnal(hours):
    phase = np.linspace(0, 3, 6)[None, None, None, :]
    return 280 + 5 * np.cos(2 * np.pi * hours[:, None, None, None] / 24 + phase) * np.ones((1, 1, 4, 1))


def test_the_climatology_knows_the_hour():
    hours = np.arange(0, 96, 6)
    gaps = gaps_of(diurnal(hours))
    made = fitted("climatology", gaps).make(gaps, (1 / 3, 2 / 3))
    truth = np.stack([diurnal(hours[:-1] + h) for h in (2, 4)], axis=1)
    np.testing.assert_allclose(made, truth, atol=1e-3)
    assert np.abs(make_method("linear").make(gaps, (1 / 3, 2 / 3)) - truth).max() > 0.5


def test_a_cycle_that_is_not_determined_is_none():
    hours = np.arange(0, 96, 12)
    gaps = gaps_of(diurnal(hours), step=12 * HOUR)
    made = fitted("climatology", gaps).make(gaps, (0.5,))
    np.testing.assert_array_equal(made, make_method("linear").make(gaps, (0.5,)))


def test_the_climatology_must_be_fitted():
    with pytest.raises(ConfigError, match="fitted"):
        make_method("climatology").make(gaps_of(ramp()), (0.5,))
    with pytest.raises(ConfigError, match="got none"):
        make_method("climatology").fit([])


def blob(column, shape=(32, 64)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    away = np.minimum(np.abs(x - column % shape[1]), shape[1] - np.abs(x - column % shape[1]))
    return np.exp(-(((y - 16) / 4) ** 2) - (away / 4) ** 2)


@pytest.mark.parametrize("column", [30, 62])
def test_flow_carries_what_moves_also_across_the_dateline(column):
    frames = np.stack([blob(column)[None], blob(column + 4)[None]])
    gaps = gaps_of(frames)
    truth = blob(column + 2)
    errors = {}
    for name in ("flow", "linear"):
        made = make_method(name).make(gaps, (0.5,))[0, 0, 0]
        errors[name] = np.sqrt(((made - truth) ** 2).mean())
    assert errors["flow"] < 0.5 * errors["linear"]


def test_flow_of_nothing():
    gaps = gaps_of(np.full((3, 1, 8, 16), np.nan))
    assert np.isnan(OpticalFlow().make(gaps, (0.5,))).all()


def test_an_unknown_method_is_named():
    with pytest.raises(ConfigError, match="method must be one of nearest, linear"):
        make_method("kriging")
