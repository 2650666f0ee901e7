"""First-order autoregressive noise about a linear model, for many cells at once.

Everything the fit needs is in sums over time of products of the design x, the series u and their neighbours
in time: they are taken once, by matrix products over all cells, and every further iteration works on matrices
of the size of the design. No cell is looped over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Fewer neighbours in time than this say nothing of the correlation between neighbours.
MIN_PAIRS = 3


def lag_one(products: np.ndarray, pairs: np.ndarray, squares: np.ndarray, count: np.ndarray) -> np.ndarray:
    r"""Estimate the lag-1 autocorrelation of residuals (Yule-Walker, each sum by its own count).

    .. math:: r_1 = \frac{\sum u_t u_{t-1} / P}{\sum u_t^2 / n}

    NaN where fewer than three pairs of neighbours exist; 0 where the residuals vanish.
    """
    variance = squares / count
    with np.errstate(invalid="ignore", divide="ignore"):
        r1 = np.where(variance > 0, products / pairs / variance, 0.0)
    return np.where(pairs < MIN_PAIRS, np.nan, r1)


def unbias(r1: np.ndarray, count: np.ndarray) -> np.ndarray:
    r"""Undo the small-sample bias that removing a mean and a trend leaves in r1.

    .. math:: E[r_1] \approx \rho - \frac{2 + 4\rho}{n}
        \quad\Rightarrow\quad \hat\rho = \frac{n r_1 + 2}{n - 4}

    (Tjøstheim and Paulsen, Biometrika 70, 1983: the bias for a fitted linear trend.)
    """
    return (count * r1 + 2) / np.maximum(count - 4, 1)


def bound(rho: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Keep rho inside +-(1 - 1/n): a memory longer than the series cannot be told from a random walk."""
    limit = 1 - 1 / count
    return np.clip(rho, -limit, limit)


def effective_count(rho: np.ndarray, count: np.ndarray, parameters: int) -> np.ndarray:
    r"""Count the independent values that an AR(1) series is worth.

    .. math:: n_\mathrm{eff} = n \frac{1 - \rho}{1 + \rho}

    (Bartlett; Santer et al., J. Geophys. Res. 105, 2000, eq. 6), at most n, so that an estimate of rho that
    is negative by chance never narrows an interval, and at least one more than the parameters fitted.
    """
    rho = np.maximum(rho, 0.0)
    return np.maximum(count * (1 - rho) / (1 + rho), parameters + 1)


def invert(gram: np.ndarray) -> np.ndarray:
    """Invert symmetric positive definite matrices (cells, p, p) at once, by Gauss-Jordan elimination.

    A matrix is taken for singular, and its inverse is NaN, where a column lies within 1e-5 of its norm from
    the span of those before it.
    """
    work, full_rank = gram.copy(), np.ones(len(gram), dtype=bool)
    scale = np.einsum("cii->ci", gram).copy()
    for k in range(gram.shape[1]):
        pivot = work[:, k, k].copy()
        full_rank &= pivot > 1e-10 * scale[:, k]  # false for NaN as well
        pivot[~full_rank] = np.nan
        row, column = work[:, k, :] / pivot[:, None], work[:, :, k].copy()
        work -= column[:, :, None] * row[:, None, :]
        work[:, k, :] = row
        work[:, :, k] = -column / pivot[:, None]
        work[:, k, k] = 1 / pivot
    work[~full_rank] = np.nan
    return work


@dataclass(frozen=True)
class _Lag:
    """Sums over the pairs of neighbours that lie `steps` apart, for z = (x, u); each (cells, p+1, p+1)."""

    steps: int
    cells: slice | np.ndarray
    tail: np.ndarray  # sum of z_t z_t'
    cross: np.ndarray  # sum of z_t z_s' + z_s z_t', where s is the neighbour before t
    head: np.ndarray  # sum of z_s z_s'


class Moments:
    """What generalised least squares under AR(1) noise needs to know of u(time, cells) and its design x.

    Parameters
    ----------
    x : ndarray, shape (time, p)
        The design on a regular axis of steps.
    u : ndarray, shape (time, cells)
        The series, 0 where there is none.
    mask : ndarray of bool, shape (time, cells), or None
        Where u was observed; None is everywhere.
    """

    def __init__(self, x: np.ndarray, u: np.ndarray, mask: np.ndarray | None) -> None:
        first = np.zeros(u.shape[1], dtype=np.intp) if mask is None else mask.argmax(axis=0)
        z = np.concatenate([x[first], u[first, np.arange(u.shape[1])][:, None]], axis=1)
        self.first = z[:, :, None] * z[:, None, :]
        self.lags = [_lag_sums(x, u, steps, cells, pairs) for steps, cells, pairs in _neighbours(mask)]

    def whitened(self, rho: np.ndarray) -> np.ndarray:
        r"""Return :math:`z' V^{-1} z` for :math:`V_{ts} = \rho^{|t-s|}`, shape (cells, p+1, p+1).

        The exact whitening of an AR(1) process observed with gaps k:
        :math:`(z_t - \rho^k z_{t-k}) / \sqrt{1 - \rho^{2k}}`, and the first value as it is (Prais-Winsten).
        """
        total = self.first.copy()
        for lag in self.lags:
            phi = (rho[lag.cells] ** lag.steps)[:, None, None]
            total[lag.cells] += (lag.tail - phi * lag.cross + phi**2 * lag.head) / (1 - phi**2)
        return total

    def fit(self, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Regress u on x: the coefficients, the inverse of x' V^-1 x, and the whitened sum of squares."""
        z = self.whitened(rho)
        inverse = invert(z[:, :-1, :-1])
        delta = np.einsum("cij,cj->ci", inverse, z[:, :-1, -1])
        squares = z[:, -1, -1] - np.einsum("ci,ci->c", delta, z[:, :-1, -1])
        return delta, inverse, np.maximum(squares, 0.0)

    def neighbour_products(self, delta: np.ndarray) -> np.ndarray:
        """Return the sum of e_t e_{t-1} over the pairs one step apart, for e = u - x delta."""
        v = np.concatenate([-delta, np.ones_like(delta[:, :1])], axis=1)
        total = np.zeros(len(delta))
        for lag in self.lags:
            if lag.steps == 1:
                total[lag.cells] += _quadratic(lag.cross, v[lag.cells]) / 2
        return total


def _quadratic(matrix: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.einsum("ci,cij,cj->c", v, matrix, v)


def _neighbours(mask: np.ndarray | None) -> Iterator[tuple[int, slice | np.ndarray, np.ndarray | None]]:
    """Yield each distance of neighbours in time, the cells that have it, and where (None: everywhere)."""
    if mask is None:
        yield 1, slice(None), None
        return
    place = np.where(mask, np.arange(len(mask))[:, None], -1)
    before = np.maximum.accumulate(place, axis=0)[:-1]
    distance = np.where(mask[1:] & (before >= 0), np.arange(1, len(mask))[:, None] - before, 0)
    for steps in np.unique(distance[distance > 0]):
        cells = np.flatnonzero((distance == steps).any(axis=0))
        yield int(steps), cells, distance[steps - 1 :, cells] == steps


def _lag_sums(
    x: np.ndarray, u: np.ndarray, steps: int, cells: slice | np.ndarray, pairs: np.ndarray | None
) -> _Lag:
    x_t, x_s, u_t, u_s = x[steps:], x[:-steps], u[steps:, cells], u[:-steps, cells]
    if pairs is not None:
        u_t, u_s = u_t * pairs, u_s * pairs
    weight = None if pairs is None else pairs.astype(np.float64)
    cross = _product_sums(x_t, x_s, u_t, u_s, weight)
    return _Lag(
        steps,
        cells,
        tail=_product_sums(x_t, x_t, u_t, u_t, weight),
        cross=cross + cross.transpose(0, 2, 1),
        head=_product_sums(x_s, x_s, u_s, u_s, weight),
    )


def _product_sums(
    x_a: np.ndarray, x_b: np.ndarray, u_a: np.ndarray, u_b: np.ndarray, weight: np.ndarray | None
) -> np.ndarray:
    """Sum z_a z_b' over time for z = (x, u), shape (cells, p+1, p+1)."""
    p = x_a.shape[1]
    total = np.empty((u_a.shape[1], p + 1, p + 1))
    total[:, :p, :p] = gram(x_a, x_b, weight)
    total[:, :p, p] = u_b.T @ x_a
    total[:, p, :p] = u_a.T @ x_b
    total[:, p, p] = np.einsum("tc,tc->c", u_a, u_b)
    return total


def gram(x_a: np.ndarray, x_b: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Sum x_a x_b' over time: for each cell by its weights (cells, p, p), or once for all (1, p, p)."""
    products = (x_a[:, :, None] * x_b[:, None, :]).reshape(len(x_a), -1)
    summed = products.sum(axis=0)[None] if weight is None else weight.T @ products
    return summed.reshape(-1, x_a.shape[1], x_a.shape[1])
