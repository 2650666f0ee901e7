"""What must stop a run: collapse, sampling that cannot work, tables that cannot be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geostint.cycle import Frame
from geostint.guards import Activity, check_coherence, fast_share, warn_of_sampling
from geostint.train import measure_activity
from isopleth.errors import DataError, TrainingError


def activity_of(model, frames=2):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 2, 8, 16, generator=generator) for _ in range(2))
    sums = measure_activity(Frame(a), Frame(b), model(a, b)).tolist()
    names = ("from_inputs", "between_inputs", "size", "linear_size")
    return Activity(**dict(zip(names, sums, strict=True)), frames=frames)


def taps(*shares):
    return lambda a, b: torch.stack([(1 - t) * a + t * b for t in shares], 1)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_linear_interpolation_is_the_unit(count):
    alive = activity_of(taps(*(k / (count + 1) for k in range(1, count + 1))), count)
    assert alive.copy_ratio == pytest.approx(1, rel=1e-5)
    assert alive.fade_ratio == pytest.approx(1, rel=1e-5)
    alive.check()


@pytest.mark.parametrize("shares", [(0, 1), (1, 0), (0, 0), (0.02, 0.97)])
def test_copies_of_either_frame_stop_a_run(shares):
    alive = activity_of(taps(*shares))
    assert alive.copy_ratio < 0.1
    with pytest.raises(TrainingError, match=r"copies its inputs.*raise loss\.agreement"):
        alive.check()


def test_fading_stops_a_run():
    def small(a, b):
        return 0.1 * taps(1 / 3, 2 / 3)(a, b)

    with pytest.raises(TrainingError, match="fades to the mean"):
        activity_of(small).check()


def test_frames_that_are_alike_are_no_collapse():
    frame = torch.randn(2, 1, 4, 4)
    sums = measure_activity(Frame(frame), Frame(frame), torch.stack([frame, frame], 1)).tolist()
    alive = Activity(from_inputs=sums[0], between_inputs=sums[1], size=sums[2], linear_size=sums[3], frames=2)
    assert math.isinf(alive.copy_ratio)
    alive.check()


def test_masked_cells_take_no_part_in_activity():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 1, 8, 8, generator=generator) for _ in range(2))
    valid = torch.rand(2, 1, 8, 8, generator=generator) > 0.3
    made = torch.stack([a, b], 1)
    spoilt = made.masked_fill(~valid[:, None], 1e9)
    frames = Frame(a, valid), Frame(b, valid)
    assert torch.equal(measure_activity(*frames, made), measure_activity(*frames, spoilt))


def test_white_noise_has_half_its_variance_in_the_fast_half():
    noise = np.random.default_rng(0).normal(size=(256, 8, 16))
    assert fast_share(noise) == pytest.approx(0.5, abs=0.02)


def test_a_slow_wave_has_none_of_it():
    time = np.arange(256)[:, None, None]
    slow = np.cos(2 * np.pi * time / 24 + np.linspace(0, 6, 8)[:, None] + np.zeros((1, 1, 16)))
    assert fast_share(slow) < 0.01
    slow[:, 0, 0] = np.nan
    assert fast_share(slow) < 0.01
    assert math.isnan(fast_share(np.full((32, 4, 4), np.nan)))
    assert math.isnan(fast_share(np.ones((32, 4, 4))))


def test_sampling_that_cannot_work_is_told():
    noise = np.random.default_rng(0).normal(size=(64, 2, 4, 8))
    time = np.arange(64)[:, None, None]
    noise[:, 1] = np.cos(2 * np.pi * time / 20 + np.zeros((1, 4, 8)))
    found = warn_of_sampling(noise, ("fast", "slow"), 6 * 3600)
    assert len(found) == 1
    assert found[0].startswith("fast: 4")
    assert any("diurnal" in text for text in warn_of_sampling(noise, ("fast", "slow"), 12 * 3600))
    assert any("diurnal" in text for text in warn_of_sampling(noise, ("fast", "slow"), 24 * 3600))


def test_the_published_table_that_cannot_be():
    """A re-implementation's: the mean PSNR of the cubic must be at least 45.0 dB for its squared error."""
    with pytest.raises(DataError, match=r"at least 45\.02 dB.*got 15\.18"):
        check_coherence(15.18, 3.15e-5, 1.0, what="cubic")
    with pytest.raises(DataError, match="flow"):
        check_coherence(13.01, 7.1e-5, 1.0, what="flow")
    check_coherence(37.87, 6.2e-4, 1.0)
    check_coherence(45.5, 3.15e-5, 1.0)


@given(st.lists(st.floats(1e-8, 1e2), min_size=1, max_size=30), st.floats(0.1, 1e4))
def test_true_means_are_never_refused(errors, data_range):
    psnr = np.mean([10 * np.log10(data_range**2 / error) for error in errors])
    check_coherence(float(psnr), float(np.mean(errors)), data_range)


def test_no_error_at_all_is_coherent():
    check_coherence(math.inf, 0.0, 1.0)
