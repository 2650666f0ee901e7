"""Means and spreads of channels, as states that add up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    r"""Weight, mean and sum of squared deviations of each channel, all in float64.

    Two states add up to that of all their values (Chan, Golub & LeVeque 1983, eq. 2.1):

    .. math:: \delta = \bar b - \bar a,\quad W = W_a + W_b,\quad
              \bar x = \bar a + \delta W_b / W,\quad S = S_a + S_b + \delta^2 W_a W_b / W

    The order of adding up shows at most at some 1e-16 times the mean in units of the standard deviation.

    Parameters
    ----------
    weight, mean, spread : ndarray of float64, shape (channel,)
        Sum of weights, weighted mean, weighted sum of squared deviations from it. A channel without a value
        has weight 0, mean 0 and spread 0.

    Examples
    --------
    >>> left, right = Moments.of(np.full((1, 1, 2), 1.0)), Moments.of(np.full((1, 1, 2), 3.0))
    >>> (left + right).mean.item(), (left + right).std.item()
    (2.0, 1.0)
    """

    weight: Floats
    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, values: NDArray, lat_weights: Floats | None = None) -> Moments:
        """Return the state of an array.

        Parameters
        ----------
        values : ndarray, shape (..., channel, lat, lon)
            NaN carries no weight.
        lat_weights : ndarray of float64, shape (lat,), optional
            Weight of each row; 1 by default.
        """
        steps = values.reshape(-1, *values.shape[-3:])
        return cls.total(step_moments(steps, lat_weights))

    @classmethod
    def total(cls, states: Floats) -> Moments:
        """Add up states given as an array of shape (n, 3, channel), in their order."""
        return reduce(cls.__add__, (cls(*state) for state in states))

    @property
    def std(self) -> Floats:
        """Population standard deviation; NaN for a channel without a value."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(self.spread / self.weight)

    def __add__(self, other: Moments) -> Moments:
        weight = self.weight + other.weight
        share = np.divide(other.weight, weight, out=np.zeros_like(weight), where=weight > 0)
        delta = other.mean - self.mean
        return Moments(
            weight, self.mean + delta * share, self.spread + other.spread + delta**2 * self.weight * share
        )


def step_moments(block: NDArray, lat_weights: Floats | None = None) -> Floats:
    """Return the state of every time step by itself, shape (time, 3, channel).

    Each step's numbers depend on that step alone. Added up in the order of time they give the same bits
    however the steps were cut into blocks, and wherever the blocks were computed.

    Parameters
    ----------
    block : ndarray, shape (time, channel, lat, lon)
        NaN carries no weight.
    lat_weights : ndarray of float64, shape (lat,), optional
        Weight of each row; 1 by default.
    """
    n_steps, n_channels, n_lat, n_lon = block.shape
    rows = np.ones(n_lat) if lat_weights is None else lat_weights
    cells = np.repeat(rows, n_lon)
    states = np.empty((n_steps, 3, n_channels))
    for channel in range(n_channels):
        values = block[:, channel].reshape(n_steps, -1).astype(np.float64)
        states[:, :, channel] = _row_states(values, cells).T
    return states


def _row_states(values: Floats, cells: Floats) -> Floats:
    """Return weight, mean and spread of each row of values, shape (3, row)."""
    missing = np.isnan(values)
    weights = np.where(missing, 0.0, cells)
    known = np.where(missing, 0.0, values)
    weight = weights.sum(axis=1)
    mean = np.divide((weights * known).sum(axis=1), weight, out=np.zeros_like(weight), where=weight > 0)
    spread = (weights * (known - mean[:, None]) ** 2).sum(axis=1)
    return np.stack([weight, mean, spread])
