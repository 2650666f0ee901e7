"""Significance: whether the difference of two forecasts' losses is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from isopleth.config import check_fraction
from isopleth.errors import DataError
from isopleth.verify.bootstrap import Interval
from isopleth.verify.dependence import autocovariance


@dataclass(frozen=True)
class DieboldMariano:
    """Hold a mean loss difference (first minus second), its statistic and two-sided p-value."""

    difference: float
    statistic: float
    p_value: float
    lags: int


def diebold_mariano(
    loss: ArrayLike, baseline: ArrayLike, *, horizon: int = 1, lags: int | None = None
) -> DieboldMariano:
    """Test whether two forecasts have the same expected loss.

    With the differences d_t of the losses and a heteroskedasticity- and autocorrelation-consistent variance
    of their mean (Bartlett weights, never negative [2]_),

        V = 1/n (R_0 + 2 sum_{k<=L} (1 - k/(L+1)) R_k),   DM = mean(d) / sqrt(V) [1]_,

    times the small-sample factor sqrt((n + 1 - 2 h + h (h - 1) / n) / n) for horizon h, and compared with
    Student's t with n - 1 degrees of freedom [3]_. Times missing in either loss drop out, the gaps closed.
    No difference at any time gives NaN.

    Parameters
    ----------
    loss, baseline : array, shape (n,)
        Losses of the two at the same times, such as area-mean squared errors; equal steps.
    horizon : int
        Lead in steps: the errors of optimal forecasts depend on each other up to h - 1 steps.
    lags : int, optional
        L. By default the greater of h - 1 and floor(4 (n / 100)^(2/9)) [2]_, so that dependence beyond
        the horizon, which real errors have, is seen too.

    References
    ----------
    .. [1] Diebold, F. X. and R. S. Mariano (1995), Comparing predictive accuracy, J. Bus. Econ. Stat. 13.
    .. [2] Newey, W. K. and K. D. West (1987), Econometrica 55; (1994), Rev. Econ. Stud. 61.
    .. [3] Harvey, D., S. Leybourne and P. Newbold (1997), Testing the equality of prediction mean squared
       errors, Int. J. Forecasting 13.
    """
    difference = np.asarray(loss, float) - np.asarray(baseline, float)
    difference = difference[np.isfinite(difference)]
    size = difference.size
    if size < 3 or not 1 <= horizon < size:
        raise DataError(
            f"a test needs at least 3 times and 1 <= horizon < times, got {size} and horizon {horizon}"
        )
    wide = max(horizon - 1, int(4 * (size / 100) ** (2 / 9))) if lags is None else lags
    covariance = autocovariance(difference, wide)
    taper = 1 - np.arange(1, covariance.size) / covariance.size
    variance = (covariance[0] + 2 * (taper * covariance[1:]).sum()) / size
    mean = float(difference.mean())
    if variance <= 0:
        return DieboldMariano(mean, np.nan, np.nan, covariance.size - 1)
    correction = np.sqrt((size + 1 - 2 * horizon + horizon * (horizon - 1) / size) / size)
    statistic = float(correction * mean / np.sqrt(variance))
    return DieboldMariano(mean, statistic, _two_sided(statistic, size - 1), covariance.size - 1)


def student_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the mean of a few independent values, such as one for each seed, and Student's interval for it.

    mean ± t s / sqrt(n), with s the standard deviation (n - 1) and t the quantile of Student's distribution
    with n - 1 degrees of freedom. For values that depend on each other, such as those of successive days,
    see `block_bootstrap`.

    Parameters
    ----------
    values : array, shape (n,)
        At least two, finite.
    level : float
        Probability of the interval.

    Examples
    --------
    >>> found = student_interval([1.0, 2.0, 3.0])
    >>> found.value, [round(end, 2) for end in found.ends]
    (2.0, [-0.48, 4.48])
    """
    from scipy.special import stdtrit

    check_fraction(level=level)
    sample = np.asarray(values, float)
    if sample.ndim != 1 or sample.size < 2 or not np.isfinite(sample).all():
        raise DataError(f"an interval needs at least two finite values, got {sample.tolist()}")
    mean, error = float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(sample.size))
    half = float(stdtrit(sample.size - 1, (1 + level) / 2)) * error
    return Interval(low=mean - half, high=mean + half, value=mean, level=level, block=1)


def _two_sided(statistic: float, freedom: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(statistic)))
