"""Flow matching against closed forms: Gaussian data, for which everything is known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archesweather.flow import (
    blend_weights,
    draw_flow_times,
    draw_noise,
    flow_schedule,
    follow_flow,
    interpolate,
    loss_weight,
    velocity,
)
from isopleth.errors import ConfigError

MEAN, STD = 0.7, 1.8


def gaussian_denoiser(noisy, s):
    """E[x | x_s] for x ~ N(MEAN, STD²): the regression of x on x_s."""
    at = s.view(-1, 1, 1, 1)
    variance = (1 - at) ** 2 * STD**2 + at**2
    return MEAN + (1 - at) * STD**2 / variance * (noisy - (1 - at) * MEAN)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_path_goes_from_data_to_noise():
    data, noise = normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1)
    torch.testing.assert_close(interpolate(data, noise, torch.zeros(3).double()), data)
    torch.testing.assert_close(interpolate(data, noise, torch.ones(3).double()), noise)
    mixed = interpolate(data, noise, torch.tensor([0.0, 0.25, 1.0]).double())
    torch.testing.assert_close(mixed[1], 0.75 * data[1] + 0.25 * noise[1])


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=4), st.integers(0, 2**31))
def test_velocity_of_the_true_data_is_noise_minus_data(times, seed):
    s = torch.tensor(times, dtype=torch.float64)
    data, noise = normal(len(times), 2, 2, 3, seed=seed), normal(len(times), 2, 2, 3, seed=seed + 1)
    found = velocity(interpolate(data, noise, s), data, s)
    torch.testing.assert_close(found, noise - data, rtol=1e-9, atol=1e-9)


def test_velocity_is_the_derivative_of_the_path():
    data, noise = normal(1, 1, 2, 2), normal(1, 1, 2, 2, seed=1)
    s = torch.tensor([0.3], dtype=torch.float64)
    difference = (interpolate(data, noise, s + 0.25) - interpolate(data, noise, s - 0.25)) / 0.5
    torch.testing.assert_close(velocity(interpolate(data, noise, s), data, s), difference)


def test_loss_weight_is_published_and_bounded():
    s = torch.tensor([1.0, 0.5, 0.2, 0.0])
    assert loss_weight(s).tolist() == pytest.approx([0.0, 1.0, 4.0, 999.0], rel=1e-5)
    assert torch.isfinite(loss_weight(torch.linspace(0, 1, 1001))).all()


def test_loss_weight_turns_a_velocity_error_into_its_share():
    """(1 - s) / s |x - x̂|² = s (1 - s) |v - v̂|²: the weight between data and velocity that is claimed."""
    s = torch.tensor([0.05, 0.4, 0.9], dtype=torch.float64)
    noisy, one, other = (normal(3, 1, 2, 2, seed=seed) for seed in range(3))
    in_data = loss_weight(s) * (one - other).square().mean((1, 2, 3))
    difference = velocity(noisy, one, s) - velocity(noisy, other, s)
    torch.testing.assert_close(in_data, s * (1 - s) * difference.square().mean((1, 2, 3)))


def test_flow_times_have_the_logit_normal_density():
    drawn = draw_flow_times(range(100_000)).double().numpy()
    edges = np.linspace(0, 1, 41)
    middles = (edges[1:] + edges[:-1]) / 2
    logit = np.log(middles / (1 - middles))
    density = np.exp(-(logit**2) / 2) / (math.sqrt(2 * math.pi) * middles * (1 - middles))
    frequency = np.histogram(drawn, edges, density=True)[0]
    # Four standard errors of a count, and the density's curvature within a bin.
    tolerance = 4 * np.sqrt(density * 40 / drawn.size) + 0.02
    assert (np.abs(frequency - density) < tolerance).all()
    assert drawn.min() > 0
    assert drawn.max() < 1


def test_expected_loss_weight_is_exp_one_half():
    """(1 - s) / s = exp(-logit s), whose mean under a standard normal logit is exp(1 / 2)."""
    weights = loss_weight(draw_flow_times(range(100_000)))
    error = math.sqrt((math.e**2 - math.e) / 100_000)
    assert weights.mean().item() == pytest.approx(math.exp(0.5), abs=4 * error)


def test_schedule_is_that_of_the_published_scheduler():
    """1,000 flow times, 25 of them evenly from the largest to the smallest, then 0."""
    expected = [*np.linspace(1000, 1, 25) / 1000, 0.0]
    assert flow_schedule(25, last=1e-3) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 200))
def test_schedule_with_equal_steps(steps):
    times = np.array(flow_schedule(steps))
    np.testing.assert_allclose(np.diff(times), -1 / steps, atol=1e-12)


def sample_error(steps, solver):
    """How far a sampler is from the exact flow, x_0 = MEAN + STD x_1, over equal steps."""
    noise = torch.linspace(-3, 3, 7, dtype=torch.float64).view(1, 1, 1, 7)
    found = follow_flow(
        gaussian_denoiser, noise, schedule=flow_schedule(steps, last=1 / steps), solver=solver
    )
    return (found - (MEAN + STD * noise)).abs().max().item()


@pytest.mark.parametrize(("solver", "order", "bound"), [("euler", 1, 0.04), ("heun", 2, 2e-4)])
def test_sampler_converges_to_the_exact_flow_at_its_order(solver, order, bound):
    errors = [sample_error(steps, solver) for steps in (64, 128, 256)]
    observed = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    np.testing.assert_allclose(observed, order, atol=0.1)
    assert errors[-1] < bound


def unit_denoiser(noisy, s):
    """E[x | x_s] for x ~ N(0, 1)."""
    skip, _, _ = blend_weights(s)
    return skip.view(-1, 1, 1, 1) * noisy


def spread_kept(steps, solver):
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    schedule = flow_schedule(steps, last=1 / steps)
    return follow_flow(unit_denoiser, one, schedule=schedule, solver=solver).item()


@pytest.mark.parametrize("steps", [200, 800])
def test_euler_loses_the_spread_that_theory_says(steps):
    """To first order in 1 / steps the log of the spread falls by (1 + pi / 2) / (2 steps)."""
    lost = -math.log(spread_kept(steps, "euler")) * steps
    assert lost == pytest.approx((1 + math.pi / 2) / 2, rel=3 / steps)


def test_published_noise_factor_gives_back_what_euler_loses():
    assert 1.05 * spread_kept(25, "euler") == pytest.approx(1, abs=0.005)
    assert spread_kept(12, "heun") == pytest.approx(1, abs=0.01)


def test_sampler_draws_from_the_distribution_of_the_data():
    noise = normal(4, 5, 50, 50)
    sample = follow_flow(gaussian_denoiser, noise, schedule=flow_schedule(40), solver="heun")
    assert sample.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert sample.std().item() == pytest.approx(STD, rel=0.02)


def test_one_euler_step_is_the_prediction_from_noise():
    noise = normal(2, 1, 3, 3)
    s = torch.ones(2, dtype=torch.float64)
    found = follow_flow(gaussian_denoiser, noise, schedule=flow_schedule(1))
    torch.testing.assert_close(found, gaussian_denoiser(noise, s))


def test_euler_agrees_with_a_loop_over_scalars():
    schedule = flow_schedule(25, last=1e-3)
    x = -0.6
    for s, following in pairwise(schedule):
        gain = (1 - s) * STD**2 / ((1 - s) ** 2 * STD**2 + s**2)
        x += (following - s) * (x - (MEAN + gain * (x - (1 - s) * MEAN))) / s
    noise = torch.full((1, 1, 1, 1), -0.6, dtype=torch.float64)
    found = follow_flow(gaussian_denoiser, noise, schedule=schedule)
    assert found.item() == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_an_error_of_the_prediction_is_not_blown_up(solver):
    """A prediction that is off by 0.01 moves the sample by a few times that, some 1 + log(steps)."""
    noise = normal(1, 1, 4, 4)
    schedule = flow_schedule(8)
    exact = follow_flow(unit_denoiser, noise, schedule=schedule, solver=solver)
    off = follow_flow(lambda x, s: unit_denoiser(x, s) + 0.01, noise, schedule=schedule, solver=solver)
    assert (off - exact).abs().max() < 0.04


def test_heun_near_zero_would_blow_an_error_up():
    """Why the configuration refuses it: the correction at s divides the error by s."""
    noise = normal(1, 1, 4, 4)
    schedule = flow_schedule(8, last=1e-3)
    exact = follow_flow(unit_denoiser, noise, schedule=schedule, solver="heun")
    off = follow_flow(lambda x, s: unit_denoiser(x, s) + 0.01, noise, schedule=schedule, solver="heun")
    assert (off - exact).abs().max() > 0.3


def test_blend_weights_are_the_regression_of_unit_data():
    """Skip is E[x x_s] / E[x_s²], the input has variance 1, and what is left over has the output's."""
    s = torch.tensor([0.1, 0.5, 0.95], dtype=torch.float64)
    data, noise = normal(3, 1, 400, 400), normal(3, 1, 400, 400, seed=1)
    noisy = interpolate(data, noise, s)
    skip, out, scale_in = (each.view(-1, 1, 1, 1) for each in blend_weights(s))
    inputs, targets = scale_in * noisy, (data - skip * noisy) / out
    for values in (inputs, targets):
        torch.testing.assert_close(values.std((1, 2, 3)), torch.ones(3).double(), rtol=0.01, atol=0)
    correlation = (inputs * targets).mean((1, 2, 3))
    torch.testing.assert_close(correlation, torch.zeros(3).double(), rtol=0, atol=0.01)


def test_noise_of_a_sample_follows_from_its_seed_alone():
    together = draw_noise((2, 3, 4), [5, 6, 7])
    assert together.shape == (3, 2, 3, 4)
    torch.testing.assert_close(together[1:2], draw_noise((2, 3, 4), [6]), rtol=0, atol=0)
    torch.testing.assert_close(together.flip(0), draw_noise((2, 3, 4), [7, 6, 5]), rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])


def test_noise_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    draw_noise((8,), [1, 2])
    assert torch.equal(torch.randn(3), expected)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: flow_schedule(0), "steps"),
        (lambda: flow_schedule(5, last=1.0), "last"),
        (lambda: flow_schedule(5, last=0.0), "last"),
        (lambda: draw_noise((2,), []), "seeds"),
        (lambda: follow_flow(unit_denoiser, normal(1, 1, 1, 1), schedule=[1, 0], solver="rk4"), "solver"),
    ],
)
def test_what_cannot_be_is_named(call, named):
    with pytest.raises(ConfigError, match=named):
        call()
