r"""Flow matching: a straight path from data to noise, what is learnt on it, and how it is followed back.

At flow time :math:`s` the sample is

.. math:: x_s = (1 - s)\, x + s\, \varepsilon, \qquad \varepsilon \sim N(0, 1), \quad 0 \le s \le 1,

so that 0 is data and 1 is noise. A network that gives :math:`\hat x(x_s, s) \approx E[x \mid x_s]` also gives
the velocity :math:`E[\varepsilon - x \mid x_s] = (x_s - \hat x) / s` of the flow that carries noise into data
(Lipman et al. 2023, "Flow matching for generative modeling", section 4; Liu et al. 2023, "Rectified flow").
Everything here is a pure function of tensors; ``s`` has one entry a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isopleth.config import check_choice, check_positive
from isopleth.errors import ConfigError

Fields = Float[Tensor, "batch channel lat lon"]
Times = Float[Tensor, " batch"]
Denoiser = Callable[[Tensor, Tensor], Tensor]


def interpolate(data: Fields, noise: Fields, s: Times) -> Fields:
    """Return the sample at flow time s, (1 - s) data + s noise."""
    at = _spread_out(s, data)
    return (1 - at) * data + at * noise


def velocity(noisy: Fields, denoised: Fields, s: Times) -> Fields:
    """Return the velocity of the flow, (noisy - denoised) / s, for s above 0."""
    return (noisy - denoised) / _spread_out(s, noisy)


def loss_weight(s: Times, *, smallest: float = 1e-3) -> Times:
    r"""Return the weight of a squared error of the predicted data, :math:`(1 - s) / s`.

    It lies between an error of the data (weight 1) and one of the velocity (:math:`1 / s^2`). It has no bound
    near 0, so s is raised to `smallest` there: a weight of at most 999, which the published code has by its
    grid of 1,000 flow times. Under `draw_flow_times` that touches one sample in 4e11.
    """
    bounded = s.clamp(min=smallest)
    return (1 - bounded) / bounded


def draw_noise(
    shape: Sequence[int],
    seeds: Sequence[int],
    *,
    device: torch.device | str = "cpu",
    stream: torch.device | str = "cpu",
) -> Float[Tensor, "batch ..."]:
    """Draw standard normal numbers, a generator a sample.

    A sample's numbers follow from its seed alone: not from its place, its neighbours or their number.

    Parameters
    ----------
    shape : sequence of int
        Of one sample.
    seeds : sequence of int
        One a sample.
    device : device
        Where the numbers go.
    stream : device
        Where they are drawn. Other kinds of device draw other numbers; those of the CPU are the same
        everywhere.
    """
    if not seeds:
        raise ConfigError("seeds must be at least one, got none")
    drawn = [
        torch.randn(tuple(shape), generator=torch.Generator(stream).manual_seed(seed), device=stream)
        for seed in seeds
    ]
    return torch.stack(drawn).to(device)


def draw_flow_times(seeds: Sequence[int], *, device: torch.device | str = "cpu") -> Times:
    r"""Draw flow times whose logit is a standard normal number, a generator a sample.

    The density is :math:`p(s) = \exp(-\operatorname{logit}(s)^2 / 2) / (\sqrt{2 \pi}\, s (1 - s))`: most of
    the training goes to the middle of the path, where the prediction is hard (Esser et al. 2024, "Scaling
    rectified flow transformers", eq. 19, with location 0 and scale 1).
    """
    return draw_noise((), seeds, device=device).sigmoid()


def flow_schedule(steps: int, *, last: float | None = None) -> list[float]:
    """Return the flow times of a sampler: even from 1 to `last`, then 0.

    Parameters
    ----------
    steps : int
        Steps of the sampler, so that there are steps + 1 times.
    last : float, optional
        The last time at which the data is predicted; the step from there to 0 takes the prediction itself.
        By default 1 / `steps`, which makes all steps equal. One step alone goes from 1 to 0.
    """
    check_positive(steps=steps, last=last)
    if last is not None and last >= 1:
        raise ConfigError(f"last must be below 1, got {last!r}")
    if steps == 1:
        return [1.0, 0.0]
    reach = 1 - (1 / steps if last is None else last)
    return [1 - reach * i / (steps - 1) for i in range(steps)] + [0.0]


def follow_flow(
    denoise: Denoiser,
    noise: Fields,
    *,
    schedule: Sequence[float],
    solver: Literal["euler", "heun"] = "euler",
) -> Fields:
    r"""Follow the flow from noise to data.

    Euler's steps are :math:`x_{s'} = x_s + (s' - s)\, v(x_s, s)`, one prediction each; the error falls with
    the number of steps. Heun's take the mean of the velocities at both ends, two predictions each, and the
    error falls with its square (Karras et al. 2022, Algorithm 1). The last step, to 0 where the velocity
    cannot be had, is Euler's. An error e of the prediction at s is one of e / s of the velocity: Heun's
    correction carries it over the whole step before, so that its last time must not be near 0.

    Parameters
    ----------
    denoise : function of (noisy, s) to denoised
        The predicted data at flow times s, of shape (batch,).
    noise : Tensor, shape (batch, channel, lat, lon)
        The sample at the first time of the schedule.
    schedule : sequence of float
        Falling flow times; see `flow_schedule`.
    solver : {"euler", "heun"}

    Returns
    -------
    Tensor
        Of the shape of `noise`.
    """
    check_choice("solver", solver, ("euler", "heun"))
    sample = noise
    for s, following in pairwise(schedule):
        slope = _slope(denoise, sample, s)
        moved = sample + (following - s) * slope
        if solver == "heun" and following > 0:
            moved = sample + (following - s) / 2 * (slope + _slope(denoise, moved, following))
        sample = moved
    return sample


def blend_weights(s: Times) -> tuple[Times, Times, Times]:
    r"""Return the scales that make a denoiser of a network of unit input and output.

    For data of mean 0 and variance 1, known nothing else, the best prediction is linear, and its error has a
    known size. So with a network :math:`F` that sees :math:`c_\text{in} x_s`,

    .. math::
        \hat x = c_\text{skip}\, x_s + c_\text{out} F, \qquad
        c_\text{skip} = \frac{1 - s}{q}, \quad c_\text{out} = \frac{s}{\sqrt q}, \quad
        c_\text{in} = \frac{1}{\sqrt q}, \quad q = (1 - s)^2 + s^2,

    where F = 0 is that best linear prediction (Karras et al. 2022, section 5 and appendix B.6, carried over
    to this path).

    Returns
    -------
    skip, out, scale_in : Tensor, shape (batch,)
    """
    power = (1 - s).square() + s.square()
    return (1 - s) / power, s / power.sqrt(), power.rsqrt()


def scale_samples(values: Fields, factors: Times) -> Fields:
    """Multiply each sample by its factor."""
    return values * _spread_out(factors, values)


def _slope(denoise: Denoiser, sample: Tensor, s: float) -> Tensor:
    times = sample.new_full((sample.shape[0],), s)
    return velocity(sample, denoise(sample, times), times)


def _spread_out(s: Tensor, like: Tensor) -> Tensor:
    return s.view(-1, *[1] * (like.ndim - 1))
