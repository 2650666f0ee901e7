"""Random waves on the sphere and series with memory, against their closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError
from isopleth.grid import EARTH_RADIUS_KM
from isopleth.samples.waves import Memory, RandomWaves, rotation, unit_vectors

PLACES = unit_vectors([0.0, 40.0, -75.0, 89.9], [0.0, 359.9, 120.0, 10.0])


def test_variance_is_one_everywhere():
    basis = RandomWaves.draw(np.random.default_rng(0), length_km=700.0, waves=30).basis(PLACES)
    np.testing.assert_allclose((basis**2).sum(axis=0), 1.0, rtol=1e-5)


def test_correlation_is_gaussian_in_the_chord():
    waves = RandomWaves.draw(np.random.default_rng(1), length_km=1000.0, waves=200_000)
    start, chords = PLACES[:1], np.array([0.0, 0.5, 1.0, 2.0, 3.0]) * 1000.0 / EARTH_RADIUS_KM
    angles = 2.0 * np.arcsin(chords / 2.0)
    others = unit_vectors(np.degrees(angles), 0.0 * angles)
    found = waves.basis(start).T @ waves.basis(others)
    np.testing.assert_allclose(found[0], np.exp(-0.5 * np.array([0.0, 0.5, 1.0, 2.0, 3.0]) ** 2), atol=0.01)


def test_rotation_keeps_lengths_and_its_axis():
    turn = rotation([1.0, 2.0, -0.5], 33.0)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turn @ [1.0, 2.0, -0.5], [1.0, 2.0, -0.5])
    np.testing.assert_allclose(
        rotation([0, 0, 1], 90.0) @ unit_vectors(20.0, 10.0), unit_vectors(20.0, 100.0)
    )


def test_autocorrelation_without_a_period_is_exponential():
    np.testing.assert_allclose(Memory(2.0).autocorrelation(60), np.exp(-np.arange(60) / 24.0), rtol=1e-12)


def test_autocorrelation_with_a_period_is_a_damped_wave():
    """The closed form for complex roots r e^{±iw}: r^k (cos wk + tan(b) sin wk), where lag 1 gives b."""
    memory = Memory(1.5, 4.0)
    decay, turn, lag = np.exp(-1 / 18.0), 2 * np.pi / 48.0, np.arange(200)
    first = memory.coefficients[0] / (1 + decay**2)
    slope = (first / decay - np.cos(turn)) / np.sin(turn)
    expected = decay**lag * (np.cos(turn * lag) + slope * np.sin(turn * lag))
    np.testing.assert_allclose(memory.autocorrelation(200), expected, atol=1e-10)


@pytest.mark.parametrize("memory", [Memory(0.4), Memory(10.0), Memory(1.5, 4.0)])
def test_series_are_stationary_from_the_first_month(memory):
    drawn = memory.draw(np.random.default_rng(2), series=20_000, months=40)
    np.testing.assert_allclose(drawn.var(axis=0)[[0, 1, 20, 39]], 1.0, atol=0.04)
    for lag in (1, 7, 30):
        for start in (0, 9):
            found = (drawn[:, start] * drawn[:, start + lag]).mean()
            assert found == pytest.approx(memory.autocorrelation(40)[lag], abs=0.04)


@pytest.mark.parametrize("memory", [Memory(0.4), Memory(10.0), Memory(1.5, 4.0)])
def test_variance_of_trends_is_that_of_fitted_lines(memory):
    drawn = memory.draw(np.random.default_rng(3), series=20_000, months=120)
    slopes = np.polyfit(np.arange(120) / 12.0, drawn.T, 1)[0]
    assert slopes.var() == pytest.approx(memory.trend_variance(120), rel=0.05)


def test_variance_of_trends_of_nearly_white_noise():
    time = (np.arange(48) - 23.5) / 12.0
    assert Memory(1e-3).trend_variance(48) == pytest.approx(1.0 / (time @ time), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 50.0), st.one_of(st.none(), st.floats(1.0, 60.0)))
def test_any_memory_is_a_correlation(years, period):
    lags = Memory(years, period).autocorrelation(240)
    assert lags[0] == 1.0
    assert (np.abs(lags) <= 1.0 + 1e-9).all()


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="years must be above 0"):
        Memory(0.0)
    with pytest.raises(ConfigError, match="length_km must be above 0"):
        RandomWaves.draw(np.random.default_rng(0), length_km=-1.0, waves=3)
    with pytest.raises(ConfigError, match="months must be at least 3"):
        Memory(1.0).trend_variance(2)
