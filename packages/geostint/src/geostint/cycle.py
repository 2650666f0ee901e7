r"""Dual cycle consistency: what trains a temporal interpolator on frames alone.

Of three frames a step apart, :math:`I_0, I_1, I_2`, a model M(a, b) makes the m frames at
:math:`k\delta`, :math:`\delta = 1/(m+1)`, between its two arguments. The first stage interpolates in both
gaps, the second between the frames that the first made, which are again a step apart:

.. math::
    \hat a_{k\delta} = M(I_0, I_1)_k, \quad \hat a_{1+k\delta} = M(I_1, I_2)_k, \quad
    \hat b_{(k+j)\delta} = M(\hat a_{k\delta}, \hat a_{1+k\delta})_j .

What lies at :math:`(k+j)\delta = 1` must be :math:`I_1` again (the first loss); everything else must be what
the first stage had at that time (the second). At m = 2 these are the losses of STint (Harilal et al. 2023,
arXiv 2309.00059):

.. math::
    L_{CC1} &= \|I_1 - \hat b_1\|_1 + \|I_1 - \hat b'_1\|_1 \\
    L_{CC2} &= \tfrac12 (\|\hat a_{2\delta} - \hat b_{2\delta}\|_1
              + \|\hat a_{1+\delta} - \hat b_{1+\delta}\|_1) .

For other m each is the same multiple of the mean over its terms, so that their balance does not move with m.
At m = 1 nothing is left for the second: it is the single cycle of Reda et al. (2019).

What the losses cannot do is part of their definition. Copying the nearer frame makes the first one zero, so
only the second keeps a model from it. And both are zero for a harmonic of the true frequency as well as for
any that differs from it by a multiple of the sampling's that m + 1 does not divide: dynamics faster than the
frames cannot be told from slow ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Frame:
    """Fields at one time, for a batch of samples.

    Parameters
    ----------
    values : Tensor, shape (batch, channel, lat, lon)
        Any finite number where nothing is known.
    valid : Tensor of bool, same shape, optional
        Where there is a value; everywhere by default.
    """

    values: Tensor
    valid: Tensor | None = None

    def joined(self, other: Frame) -> Frame:
        """Return the samples of both, one batch after the other."""
        values = torch.cat([self.values, other.values])
        if self.valid is None or other.valid is None:
            return Frame(values)
        return Frame(values, torch.cat([self.valid, other.valid]))


Model = Callable[[Frame, Frame], Tensor]


@dataclass(frozen=True, eq=False)
class Cycle:
    """Everything that the two stages make of three frames.

    Attributes
    ----------
    present : Frame
        The middle frame.
    first, second : Tensor, shape (batch, frame, channel, lat, lon)
        Stage I: between the first two frames, and between the last two.
    returned : Tensor, shape (batch, pair, frame, channel, lat, lon)
        Stage II: frame j between frame k of `first` and frame k of `second`.
    valid : Tensor of bool, shape (batch, channel, lat, lon), optional
        Where all three frames have a value.
    """

    present: Frame
    first: Tensor
    second: Tensor
    returned: Tensor
    valid: Tensor | None

    @property
    def frames(self) -> int:
        """How many frames are made in a gap."""
        return self.first.shape[1]


def run_cycle(model: Model, previous: Frame, present: Frame, following: Frame) -> Cycle:
    """Run both stages.

    Parameters
    ----------
    model : callable
        From two frames a step apart to the frames between them, shape (batch, frame, channel, lat, lon).
    previous, present, following : Frame
        Three frames a step apart.
    """
    samples = len(present.values)
    first, second = model(previous.joined(present), present.joined(following)).split(samples)
    count = first.shape[1]
    early, late = (
        Frame(made.flatten(0, 1), _repeat(_both(a, b), count))
        for made, a, b in ((first, previous, present), (second, present, following))
    )
    returned = model(early, late).unflatten(0, (samples, count))
    valid = _both(previous, following)
    if valid is not None and present.valid is not None:
        valid = valid & present.valid
    return Cycle(present, first, second, returned, valid)


def cycle_losses(cycle: Cycle, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the two losses of a cycle, each a mean absolute difference over the cells with values.

    Parameters
    ----------
    cycle : Cycle
    weights : Tensor, optional
        Of cells, not negative, to be broadcast against (channel, lat, lon); equal by default.

    Returns
    -------
    tuple of Tensor
        The first and the second loss, 0-d. The second is 0 for one frame in a gap. 0 without any cell.
    """
    m = cycle.frames
    present, others = [], []
    for k in range(1, m + 1):
        for j in range(1, m + 1):
            made = cycle.returned[:, k - 1, j - 1]
            if k + j == m + 1:
                present.append(made - cycle.present.values)
            elif k + j < m + 1:
                others.append(made - cycle.first[:, k + j - 1])
            else:
                others.append(made - cycle.second[:, k + j - m - 2])
    one = 2 * _mean_size(present, cycle.valid, weights)
    two = _mean_size(others, cycle.valid, weights) if others else torch.zeros_like(one)
    return one, two


def _mean_size(differences: list[Tensor], valid: Tensor | None, weights: Tensor | None) -> Tensor:
    """Average absolute differences over terms and cells."""
    size = torch.stack(differences).abs().mean(0)
    counted = torch.ones_like(size) if valid is None else valid.to(size.dtype)
    if weights is not None:
        counted = counted * weights
    # Where nothing is known the numbers are arbitrary: they may not even be multiplied by 0 if not finite.
    size = size if valid is None else size.masked_fill(~valid, 0.0)
    return (size * counted).sum() / counted.sum().clamp_min(torch.finfo(size.dtype).tiny)


def _both(one: Frame, other: Frame) -> Tensor | None:
    return None if one.valid is None or other.valid is None else one.valid & other.valid


def _repeat(valid: Tensor | None, count: int) -> Tensor | None:
    """Give every frame of a sample the sample's mask."""
    return None if valid is None else valid.repeat_interleave(count, dim=0)
