"""Whether the simulated atmosphere behaves like weather, on 1,000 days of the default climate.

Reference numbers for 500 hPa height: ERA5 at 1.5 degrees has a climatological error of 83 m and a persistence
error of 57 m at 24 h, a ratio of 0.69.
"""

import itertools

import numpy as np
import pytest

from isopleth.samples.atmosphere import GRAVITY, balanced_geopotential
from isopleth.samples.quasigeostrophic import (
    DAY_S,
    EARTH_RADIUS_M,
    QuasiGeostrophicModel,
    QuasiGeostrophicParameters,
)
from isopleth.samples.trajectory import Run, simulate

DAYS = 1000


@pytest.fixture(scope="module")
def model():
    return QuasiGeostrophicModel()


@pytest.fixture(scope="module")
def trajectory():
    """Streamfunctions (time, order, part, level, degree) of 1,000 days after the spin-up."""
    return simulate(Run(days=DAYS))[0]


@pytest.fixture(scope="module")
def heights(model, trajectory):
    return heights_500(model, trajectory)


def heights_500(model, streamfunction):
    """500 hPa heights (m) as spectra (time, order, part, degree); sums of squares are area means."""
    return balanced_geopotential(streamfunction, model.harmonics)[..., 1, :] / GRAVITY


def rms(spectra):
    return np.sqrt((spectra**2).sum(axis=(-3, -2, -1)).mean())


def test_variability_is_that_of_weather(heights):
    assert 55.0 < rms(heights - heights.mean(axis=0)) < 95.0


def test_persistence_loses_its_skill_like_weather(heights):
    climatology = rms(heights - heights.mean(axis=0))
    ratios = [rms(heights[lag:] - heights[:-lag]) / climatology for lag in (1, 2, 5, 20)]
    assert 0.6 < ratios[0] < 0.8
    assert 0.9 < ratios[1] < 1.2
    assert ratios == sorted(ratios)
    assert ratios[-1] == pytest.approx(np.sqrt(2), rel=0.06)  # two independent states


def test_twins_part_within_one_to_three_weeks(model, trajectory, heights):
    """Ten pairs, 5 m apart: as wrong as climatology after one to three weeks, then saturated."""
    climatology = rms(heights - heights.mean(axis=0))
    starts = trajectory[::100]
    noise = np.random.default_rng(1).standard_normal(starts.shape) * model.harmonics.mask[:, :, None, :]
    noise[..., 0] = 0.0
    noise *= 5.0 / rms(heights_500(model, noise))
    pair = np.stack([starts, starts + noise])
    states = model.integrate(model.potential_vorticity(pair), every_s=DAY_S)
    errors = np.array(
        [rms(heights_500(model, model.streamfunction(q[1] - q[0]))) for q in itertools.islice(states, 36)]
    )
    assert errors[0] == pytest.approx(5.0, rel=1e-6)
    assert 7 <= np.argmax(errors > climatology) <= 21
    assert errors[22:].min() > 0.8 * np.sqrt(2) * climatology
    assert errors[26:].mean() == pytest.approx(np.sqrt(2) * climatology, rel=0.12)
    doubling = np.log(2) / np.polyfit(np.arange(2, 7), np.log(errors[2:7]), 1)[0]
    assert 1.5 < doubling < 4.0


def test_spectrum_falls_off_steeply(heights):
    """Most variance sits in synoptic waves, and the small scales fall by the third to fourth power."""
    anomaly = heights - heights.mean(axis=0)
    power = (anomaly**2).sum(axis=(1, 2)).mean(axis=0)
    assert 4 <= power.argmax() <= 8
    degrees = np.arange(9, 20)
    slope = np.polyfit(np.log(degrees), np.log(power[degrees]), 1)[0]
    assert -5.0 < slope < -3.0
    assert power[-1] < 0.02 * power.max()  # nothing piles up at the truncation


def test_westerly_jets_in_both_hemispheres_rise_with_height(model, trajectory):
    slope = model.harmonics.synthesise_d_sin_lat(trajectory.mean(axis=0)).mean(axis=0)
    jets = -slope * model.harmonics.cos_lat / EARTH_RADIUS_M
    for half in (slice(0, 16), slice(16, 32)):
        top, middle, low = jets[:, half].max(axis=1)
        assert 30 < top < 50
        assert 15 < middle < 30
        assert 7 < low < 20


def test_two_halves_have_the_same_climate(heights):
    """The means differ by no more than sampling allows, the standard deviations by less than 7 %.

    With a decorrelation of about five days, half a run holds 100 independent states: its mean is known to a
    tenth of the standard deviation, the difference of two to 0.14. (Six seeds gave 0.11 to 0.15, and standard
    deviations within 3 %.)
    """
    halves = np.split(heights, 2)
    deviations = [rms(half - half.mean(axis=0)) for half in halves]
    difference = np.sqrt(((halves[0].mean(axis=0) - halves[1].mean(axis=0)) ** 2).sum())
    assert difference < 0.25 * deviations[0]
    assert deviations[0] == pytest.approx(deviations[1], rel=0.07)


def test_energy_has_no_trend(model, trajectory):
    """The slope over the run is within four standard errors, 50 days counted as one independent value."""
    energy = model.energy(model.potential_vorticity(trajectory))
    blocks = energy.reshape(-1, 50).mean(axis=1)
    x = np.arange(blocks.size) - (blocks.size - 1) / 2
    slope = (x @ blocks) / (x @ x)
    error = (blocks - blocks.mean() - slope * x).std(ddof=2) / np.sqrt(x @ x)
    assert abs(slope) < 4 * error
    assert energy.std() < 0.02 * energy.mean()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_years_are_stable_and_stationary(model, seed):
    """Third by third the same mean and variance; no drift, no blow-up at the default step of three hours."""
    thirds = np.array_split(heights_500(model, simulate(Run(days=3650, seed=seed))[0]), 3)
    deviations = [rms(third - third.mean(axis=0)) for third in thirds]
    np.testing.assert_allclose(deviations, np.mean(deviations), rtol=0.04)
    for other in thirds[1:]:
        assert np.sqrt(((thirds[0].mean(axis=0) - other.mean(axis=0)) ** 2).sum()) < 0.15 * deviations[0]


@pytest.mark.slow
def test_the_step_does_not_make_the_climate(model, heights):
    """A step of one hour gives the jets and the variance of the default three."""
    parameters = QuasiGeostrophicParameters(step_s=3600.0)
    fine = heights_500(model, simulate(Run(days=DAYS, parameters=parameters))[0])
    assert rms(fine - fine.mean(axis=0)) == pytest.approx(rms(heights - heights.mean(axis=0)), rel=0.05)
    assert rms(fine.mean(axis=0) - heights.mean(axis=0)) < 0.2 * rms(heights - heights.mean(axis=0))
