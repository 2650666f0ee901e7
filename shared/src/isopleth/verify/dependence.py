"""Serial dependence: autocovariance, effective sample size, and the block length that a bootstrap needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from isopleth.errors import DataError


def autocovariance(series: ArrayLike, max_lag: int) -> np.ndarray:
    """Return the autocovariance at lags 0 ... `max_lag`, R_k = 1/n sum_t (x_t - mean)(x_(t+k) - mean).

    The divisor is n at every lag [1]_, which biases towards zero but keeps the sequence positive
    semi-definite. Missing values count as the mean, so that they add nothing.

    Parameters
    ----------
    series : array, shape (n,)
        Values at equal steps.
    max_lag : int
        Below n.

    References
    ----------
    .. [1] Priestley, M. B. (1981), Spectral Analysis and Time Series, section 5.3.
    """
    values = np.asarray(series, float)
    present = np.isfinite(values)
    if values.ndim != 1 or not present.any():
        raise DataError(f"a series must be one-dimensional with a finite value, got shape {values.shape}")
    centred = np.where(present, values - values[present].mean(), 0.0)
    size = centred.size
    return (
        np.array([centred[: size - lag] @ centred[lag:] for lag in range(min(max_lag, size - 1) + 1)]) / size
    )


def effective_sample_size(series: ArrayLike) -> float:
    """Return how many independent values tell as much about the mean as this AR(1)-like series.

    n_eff = n (1 - r) / (1 + r) with the lag-1 autocorrelation r [1]_, between 1 and n: a negative r is
    taken as 0, not to claim more than was measured. r is biased low in short series (by about
    (1 + 4 r) / n), which makes n_eff too high there. Missing values are not counted; a constant series
    has no autocorrelation and gives n.

    References
    ----------
    .. [1] Zwiers, F. W. and H. von Storch (1995), Taking serial correlation into account in tests of the
       mean, J. Climate 8.
    """
    covariance = autocovariance(series, 1)
    count = int(np.isfinite(np.asarray(series, float)).sum())
    if covariance.size < 2 or covariance[0] == 0:
        return float(count)
    correlation = max(0.0, covariance[1] / covariance[0])
    return float(max(1.0, count * (1 - correlation) / (1 + correlation)))


def optimal_block_length(series: ArrayLike) -> int:
    """Return the block length at which a moving-block bootstrap of the mean errs least.

    The rule of Politis and White [1]_ with the correction of [2]_:

        b = (2 G^2 / D)^(1/3) n^(1/3),   D = 4/3 g^2,
        G = sum_k lambda(k/m) |k| R_k,   g = sum_k lambda(k/m) R_k,   |k| <= m,

    where lambda is the flat-top window (1 up to 1/2, falling to 0 at 1) and m is twice the lag after
    which the autocorrelation stays within 2 sqrt(log10(n) / n) for max(5, sqrt(log10 n)) lags. At most
    min(3 sqrt(n), n / 3), rounded up, and at least 1. For an AR(1) series it tends to
    (6 phi^2 / (1 - phi^2)^2)^(1/3) n^(1/3). Missing values count as the mean.

    References
    ----------
    .. [1] Politis, D. N. and H. White (2004), Automatic block-length selection for the dependent
       bootstrap, Econometric Reviews 23.
    .. [2] Patton, A., D. N. Politis and H. White (2009), Correction, Econometric Reviews 28.
    """
    size = np.size(series)
    quiet = int(max(5, np.ceil(np.sqrt(np.log10(max(size, 2))))))
    longest = min(int(np.ceil(np.sqrt(size))) + quiet, size - 1)
    covariance = autocovariance(series, longest)
    # Rounding leaves a constant series with a variance of its squared unit in the last place.
    if longest < 1 or covariance[0] <= (1e-14 * np.nanmax(np.abs(np.asarray(series, float)))) ** 2:
        return 1
    bandwidth = min(2 * max(_last_significant(covariance / covariance[0], size, quiet), 1), longest)
    lags = np.arange(1, bandwidth + 1)
    window = np.minimum(1.0, 2 * (1 - lags / bandwidth))
    tail = 2 * window * covariance[1 : bandwidth + 1]
    spectrum, slope = covariance[0] + tail.sum(), (lags * tail).sum()
    if spectrum <= 0:  # strongly oscillating: the mean is known better than by independent values
        return 1
    length = (1.5 * (slope / spectrum) ** 2 * size) ** (1 / 3)
    return int(np.clip(np.ceil(length), 1, np.ceil(min(3 * np.sqrt(size), size / 3))))


def _last_significant(correlation: np.ndarray, size: int, quiet: int) -> int:
    """Return the lag after which `quiet` autocorrelations in a row are insignificant."""
    loud = np.abs(correlation[1:]) >= 2 * np.sqrt(np.log10(size) / size)
    for lag in range(loud.size - quiet + 1):
        if not loud[lag : lag + quiet].any():
            return lag
    return int(np.flatnonzero(loud)[-1]) + 1 if loud.any() else 0
