r"""Smooth random fields on the sphere that can be looked at anywhere: no grid, no seam, no poles.

.. math::
    f(\mathbf x) = \frac{1}{\sqrt J} \sum_{j=1}^{J}
        \left[ a_j \cos(\mathbf k_j \cdot \mathbf x) + b_j \sin(\mathbf k_j \cdot \mathbf x) \right],
    \qquad \mathbf k_j \sim N(0, \ell^{-2} \mathbf I_3),\; a_j, b_j \sim N(0, 1)

at unit vectors x. Given the wave vectors the covariance is :math:`J^{-1} \sum_j \cos \mathbf k_j \cdot
(\mathbf x - \mathbf y)`, which tends to :math:`\exp(-d^2 / 2 \ell^2)` of the chord d between two points
(random Fourier features: Rahimi and Recht 2007, NIPS 20).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, signal

from isopleth.config import check_positive
from isopleth.errors import ConfigError
from isopleth.grid import EARTH_RADIUS_KM

Floats = NDArray[np.float64]


def unit_vectors(lat: ArrayLike, lon: ArrayLike) -> Floats:
    """Turn places in degrees, of any one shape, into points on the unit sphere: shape (..., 3)."""
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi) + 0.0 * lam], axis=-1)


def rotation(axis: ArrayLike, degrees: float) -> Floats:
    r"""Give the matrix that turns the sphere about an axis: :math:`R = \exp(\theta [\mathbf n]_\times)`."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    return np.asarray(linalg.expm(np.radians(degrees) * np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])))


@dataclass(frozen=True, eq=False)
class RandomWaves:
    """Plane waves in space, seen on the sphere: a basis of smooth fields of one length.

    Parameters
    ----------
    vectors : array, shape (waves, 3)
        Wave vectors, per radius of the sphere.
    """

    vectors: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, *, length_km: float, waves: int) -> RandomWaves:
        """Draw waves whose fields have the correlation exp(-d²/2L²) at a distance d, L = `length_km`."""
        check_positive(length_km=length_km, waves=waves)
        return cls(rng.normal(size=(waves, 3)) * EARTH_RADIUS_KM / length_km)

    @property
    def size(self) -> int:
        """Number of basis fields: a cosine and a sine of each wave."""
        return 2 * len(self.vectors)

    def basis(self, points: Floats) -> NDArray[np.float32]:
        """Return the basis fields at points (n, 3): shape (size, n), float32, not to be changed.

        Sums with independent standard normal coefficients have variance 1 everywhere.
        """
        return _basis(np.ascontiguousarray(self.vectors).tobytes(), np.ascontiguousarray(points).tobytes())


@dataclass(frozen=True)
class Memory:
    r"""A stationary process of variance 1 in monthly steps: how long it remembers, and whether it swings.

    Without a period the first-order process :math:`x_t = e^{-1/\tau} x_{t-1} + \epsilon_t`, of
    autocorrelation :math:`e^{-k/\tau}`; with one the second-order process whose characteristic roots are
    :math:`e^{-1/\tau \pm 2 \pi i / p}`.

    Parameters
    ----------
    years : float
        Time in which memory decays by e.
    period_years : float, optional
        Of its damped swing.
    """

    years: float
    period_years: float | None = None

    def __post_init__(self) -> None:
        check_positive(years=self.years, period_years=self.period_years)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Weights of the last one or two months."""
        decay = float(np.exp(-1.0 / (12.0 * self.years)))
        if self.period_years is None:
            return (decay,)
        return 2.0 * decay * float(np.cos(2.0 * np.pi / (12.0 * self.period_years))), -(decay**2)

    def autocorrelation(self, months: int) -> Floats:
        """Return the autocorrelation at lags 0 to months - 1, by the Yule-Walker recursion."""
        first, second = (*self.coefficients, 0.0)[:2]
        known = [1.0, first / (1.0 - second)]
        for _ in range(months - 2):
            known.append(first * known[-1] + second * known[-2])
        return np.array(known[:months])

    def draw(self, rng: np.random.Generator, *, series: int, months: int) -> Floats:
        """Draw independent series, stationary from the first month: shape (series, months)."""
        coefficients = self.coefficients
        lags = self.autocorrelation(1 + len(coefficients))
        spread = np.sqrt(1.0 - float(np.dot(coefficients, lags[1:])))
        # The first values come from the process's own distribution, so that nothing has to be spun up.
        order = len(coefficients)
        root = np.linalg.cholesky(linalg.toeplitz(lags[:order]))
        first = rng.normal(size=(series, order)) @ root.T
        shocks = spread * rng.normal(size=(series, months))
        polynomial = np.array([1.0, *(-c for c in coefficients)])
        state = _filter_state(coefficients, first)
        return np.asarray(signal.lfilter([1.0], polynomial, shocks, axis=-1, zi=state)[0])

    def trend_variance(self, months: int) -> float:
        r"""Return the variance of the least-squares slope (per year)² over so many months.

        :math:`\mathbf w^T \Gamma \mathbf w` with the weights w of the slope and the autocovariance Γ.
        """
        return _trend_variance(self, months)


# The same few grids are asked for again and again, and the waves are most of the work.
@lru_cache(maxsize=6)
def _basis(vectors: bytes, points: bytes) -> NDArray[np.float32]:
    rows, places = (np.frombuffer(data).reshape(-1, 3) for data in (vectors, points))
    phase = (rows @ places.T).astype(np.float32)
    basis = np.concatenate([np.cos(phase), np.sin(phase)])
    basis /= np.float32(np.sqrt(len(rows)))
    basis.flags.writeable = False
    return basis


def _filter_state(coefficients: tuple[float, ...], past: Floats) -> Floats:
    """Return lfilter's state that stands for the values before the first, oldest first: (series, order)."""
    last = past[:, -1]
    if len(coefficients) == 1:
        return np.asarray(coefficients[0] * last)[:, None]
    first, second = coefficients
    return np.stack([first * last + second * past[:, -2], second * last], axis=1)


@lru_cache(maxsize=64)
def _trend_variance(memory: Memory, months: int) -> float:
    if months < 3:
        raise ConfigError(f"months must be at least 3, got {months}")
    time = (np.arange(months) - (months - 1) / 2) / 12.0
    weights: Any = time / np.sum(time**2)
    return float(weights @ linalg.matmul_toeplitz(memory.autocorrelation(months), weights))
