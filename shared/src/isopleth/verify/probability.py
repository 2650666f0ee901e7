"""Scores of probabilities and distributions: Gaussian CRPS, Brier score, reliability, interval coverage."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.special import ndtr

from isopleth.errors import ConfigError, DataError
from isopleth.verify.alignment import MEMBER, Dims, Field, NanPolicy, Pair, align, as_weights, resolve_dims
from isopleth.verify.metric import Metric, score_one
from isopleth.verify.state import MOMENT, State

BIN = "bin"


def crps_gaussian(
    mean: Field,
    deviation: Field,
    truth: Field,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
) -> xr.DataArray:
    """Return the CRPS of normal distributions, in closed form.

    With z = (o - mean) / deviation and the standard normal density phi and distribution Phi [1]_,

        CRPS = < deviation * (z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)) >.

    Exact, so without any bias of sampling. A deviation of zero gives the absolute error. A cell that is
    missing in any of the three drops out.

    Parameters
    ----------
    truth, dims, weights, nan
        As for `score`.
    mean, deviation : DataArray or array
        Of the forecast distribution; the deviation must not be negative.

    Returns
    -------
    DataArray
        In the units of the fields, on the dimensions that are kept.

    Raises
    ------
    DataError
        If a deviation is negative (looked at unless it is lazy).

    References
    ----------
    .. [1] Gneiting, T. et al. (2005), Calibrated probabilistic forecasting using ensemble model output
       statistics and minimum CRPS estimation, Mon. Weather Rev. 133, eq. 5.
    """
    width = align(deviation, mean, nan=nan).forecast
    if not width.chunks and (width < 0).any():
        raise DataError(f"deviation must not be negative, got {float(width.min())}")

    def statistic(pair: Pair) -> xr.DataArray:
        return xr.apply_ufunc(_gaussian_kernel, pair.error, width, dask="parallelized", output_dtypes=[float])

    metric = Metric("crps_gaussian", {"gaussian_crps": statistic}, lambda means: means["gaussian_crps"])
    return score_one(metric, mean, truth, dims=dims, weights=weights, nan=nan)


def _gaussian_kernel(error: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    size = np.abs(error)  # the score is even in the error
    safe = np.where(deviation > 0, deviation, 1.0)
    z = size / safe
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    spread = safe * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return np.where(deviation == 0, size, np.where(np.isnan(deviation), np.nan, spread))


def brier(
    probability: Field,
    event: Field,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
) -> xr.DataArray:
    """Return the Brier score, <(p - e)^2>, of the probability p of an event e that is 0 or 1.

    Half of Brier's first definition [1]_. Unbiased for the expected score of the probabilities as given;
    frequencies in a small ensemble score worse than those of a large one (see `ensemble_brier`). Missing
    cells drop out in pairs.

    Parameters
    ----------
    probability, event : DataArray or array
        Within 0 ... 1, and 0 or 1 (or bool).
    dims, weights, nan
        As for `score`.

    Returns
    -------
    DataArray
        Between 0 and 1, on the dimensions that are kept.

    Raises
    ------
    DataError
        If a probability is outside 0 ... 1, or an event neither 0 nor 1 (looked at unless lazy).

    References
    ----------
    .. [1] Brier, G. W. (1950), Verification of forecasts expressed in terms of probability, Mon. Weather
       Rev. 78.
    """
    _check_probability(align(probability, event))
    metric = Metric(
        "brier", {"squared_error": lambda pair: pair.error**2}, lambda means: means["squared_error"]
    )
    return score_one(metric, probability, event, dims=dims, weights=weights, nan=nan)


def brier_metric(threshold: float, *, fair: bool = True) -> Metric:
    """Return the metric "brier" of the event that a value reaches `threshold`; see `ensemble_brier`."""

    def statistic(pair: Pair) -> xr.DataArray:
        size = pair.ensemble.sizes[MEMBER]
        share = (pair.ensemble >= threshold).mean(MEMBER)
        value = (share - (pair.truth >= threshold)) ** 2
        if fair and size > 1:
            value = value - share * (1 - share) / (size - 1)
        return value.where(pair.ensemble.notnull().all(MEMBER) & pair.truth.notnull())

    name = f"brier_{threshold!r}_{'fair' if fair else 'plain'}"
    return Metric("brier", {name: statistic}, lambda means: means[name])


def ensemble_brier(
    forecast: Field,
    truth: Field,
    threshold: float,
    *,
    fair: bool = True,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
) -> xr.DataArray:
    """Return the Brier score of an ensemble for the event that a value is at least `threshold`.

    With p the share of the M members that reach it and e whether the truth does,

        < (p - e)^2 - p (1 - p) / (M - 1) >.

    The last term, left out with ``fair=False`` or one member, makes the expectation independent of M
    [1]_. A cell with any missing member or truth drops out.

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`; the forecast has members.
    threshold : float
        In the units of the fields.
    fair : bool
        Whether to correct for the number of members.

    Returns
    -------
    DataArray
        Without units, on the dimensions that are kept.

    References
    ----------
    .. [1] Ferro, C. A. T. (2014), Fair scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140.
    """
    metric = brier_metric(threshold, fair=fair)
    return score_one(metric, forecast, truth, dims=dims, weights=weights, nan=nan)


def interval_coverage(
    low: Field,
    high: Field,
    truth: Field,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
) -> xr.DataArray:
    """Return how often the truth lies in the interval, <low <= o <= high>, ends included.

    Near the nominal level if the intervals are honest [1]_. A cell that is missing in any drops out.

    Parameters
    ----------
    low, high : DataArray or array
        Ends of the intervals, in the units of the truth.
    truth, dims, weights, nan
        As for `score`.

    Returns
    -------
    DataArray
        Between 0 and 1, on the dimensions that are kept.

    References
    ----------
    .. [1] Gneiting, T. and A. E. Raftery (2007), Strictly proper scoring rules, J. Am. Stat. Assoc. 102.
    """
    lower, upper = align(low, truth, nan=nan), align(high, truth, nan=nan)
    present = lower.error.notnull() & upper.error.notnull()
    inside = ((lower.error <= 0) & (upper.error >= 0)).where(present)
    state = State.of(
        {"inside": inside}, dims=resolve_dims(dims, lower.dims), weights=as_weights(weights, lower)
    )
    return state.means["inside"].rename("interval_coverage")


def reliability(
    probability: Field,
    event: Field,
    *,
    bins: int = 10,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
) -> xr.Dataset:
    """Return the points of a reliability diagram.

    Forecasts are sorted into `bins` equal bins of probability, closed on the left (the last on both
    sides); each gives its mean forecast <p>_k, the frequency <e>_k with which the event came, and its
    share of the weight [1]_. On the diagonal the forecast is reliable. A bin without forecasts is NaN.

    Parameters
    ----------
    probability, event : DataArray or array
        Within 0 ... 1, and 0 or 1 (or bool).
    bins : int
        Number of bins.
    dims, weights, nan
        As for `score`.

    Returns
    -------
    xarray.Dataset
        ``forecast``, ``observed`` and ``share`` along ``bin``, whose coordinate is the centre.

    References
    ----------
    .. [1] Wilks, D. S. (2019), Statistical Methods in the Atmospheric Sciences, 4th ed., ch. 9.
    """
    if bins < 1:
        raise ConfigError(f"bins must be at least 1, got {bins}")
    pair = align(probability, event, nan=nan)
    _check_probability(pair)
    centres = (np.arange(bins) + 0.5) / bins
    number = xr.DataArray(np.arange(bins), dims=BIN, coords={BIN: centres})
    chosen = (np.minimum(np.floor(pair.forecast * bins), bins - 1) == number) & pair.error.notnull()
    state = State.of(
        {"forecast": pair.forecast.where(chosen), "observed": pair.truth.where(chosen)},
        dims=resolve_dims(dims, pair.dims),
        weights=as_weights(weights, pair),
    )
    weight = state.table["forecast"].sel({MOMENT: "weight"}, drop=True)
    return state.means.assign(share=weight / weight.sum(BIN))


def _check_probability(pair: Pair) -> None:
    for name, values, fits in (
        ("probability", pair.forecast, (pair.forecast >= 0) & (pair.forecast <= 1)),
        ("event", pair.truth, (pair.truth == 0) | (pair.truth == 1)),
    ):
        if not values.chunks and not (fits | values.isnull()).all():
            rule = "lie in 0 ... 1" if name == "probability" else "be 0 or 1"
            raise DataError(
                f"{name} must {rule}, got values from {float(values.min())} to {float(values.max())}"
            )
