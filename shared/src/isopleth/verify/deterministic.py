"""Scores of one forecast: bias, MAE, MSE, RMSE and the anomaly correlation.

Here f is the forecast, o the truth, c the climatology, and <.> the weighted mean over the cells that are
present in all of them.
"""

from __future__ import annotations

import xarray as xr

from isopleth.verify.alignment import Dims, Field, NanPolicy, Pair
from isopleth.verify.metric import Means, Metric, register, score_one


def _error(pair: Pair) -> xr.DataArray:
    return pair.error


def _absolute_error(pair: Pair) -> xr.DataArray:
    return abs(pair.error)


def _squared_error(pair: Pair) -> xr.DataArray:
    return pair.error**2


def _anomaly_product(pair: Pair) -> xr.DataArray:
    forecast, truth = pair.anomalies
    return forecast * truth


def _forecast_power(pair: Pair) -> xr.DataArray:
    return pair.anomalies[0] ** 2


def _truth_power(pair: Pair) -> xr.DataArray:
    return pair.anomalies[1] ** 2


def _correlation(means: Means) -> xr.DataArray:
    power = means["squared_forecast_anomaly"] * means["squared_truth_anomaly"]
    return means["anomaly_product"] / power.where(power > 0) ** 0.5


_ANOMALIES = {
    "anomaly_product": _anomaly_product,
    "squared_forecast_anomaly": _forecast_power,
    "squared_truth_anomaly": _truth_power,
}
BIAS = register(Metric("bias", {"error": _error}, lambda means: means["error"]))
MAE = register(Metric("mae", {"absolute_error": _absolute_error}, lambda means: means["absolute_error"]))
MSE = register(Metric("mse", {"squared_error": _squared_error}, lambda means: means["squared_error"]))
RMSE = register(
    Metric("rmse", {"squared_error": _squared_error}, lambda means: means["squared_error"] ** 0.5)
)
ACC = register(Metric("acc", _ANOMALIES, _correlation, per_slice=True))
ACC_POOLED = register(Metric("acc_pooled", _ANOMALIES, _correlation))


def bias(
    forecast: Field, truth: Field, *, dims: Dims = None, weights: Field | None = None, nan: NanPolicy = "omit"
) -> xr.DataArray:
    """Return the mean error, <f - o>.

    Positive where the forecast is too high. Unbiased for the expected error. Missing cells drop out in
    pairs; none left gives NaN. [1]_

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.

    Returns
    -------
    DataArray
        In the units of the fields, on the dimensions that are kept.

    References
    ----------
    .. [1] Wilks, D. S. (2019), Statistical Methods in the Atmospheric Sciences, 4th ed., ch. 9.
    """
    return score_one(BIAS, forecast, truth, dims=dims, weights=weights, nan=nan)


def mae(
    forecast: Field, truth: Field, *, dims: Dims = None, weights: Field | None = None, nan: NanPolicy = "omit"
) -> xr.DataArray:
    """Return the mean absolute error, <abs(f - o)>.

    Unbiased for the expected absolute error; smallest for the median of what may happen. Missing cells
    drop out in pairs; none left gives NaN. [1]_

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.

    Returns
    -------
    DataArray
        In the units of the fields, on the dimensions that are kept.

    References
    ----------
    .. [1] Wilks, D. S. (2019), Statistical Methods in the Atmospheric Sciences, 4th ed., ch. 9.
    """
    return score_one(MAE, forecast, truth, dims=dims, weights=weights, nan=nan)


def mse(
    forecast: Field, truth: Field, *, dims: Dims = None, weights: Field | None = None, nan: NanPolicy = "omit"
) -> xr.DataArray:
    """Return the mean squared error, <(f - o)^2>.

    Unbiased for the expected squared error, so that chunks and years may be averaged.
    Missing cells drop out in pairs; none left gives NaN. [1]_

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.

    Returns
    -------
    DataArray
        In squared units, on the dimensions that are kept.

    References
    ----------
    .. [1] Wilks, D. S. (2019), Statistical Methods in the Atmospheric Sciences, 4th ed., ch. 9.
    """
    return score_one(MSE, forecast, truth, dims=dims, weights=weights, nan=nan)


def rmse(
    forecast: Field, truth: Field, *, dims: Dims = None, weights: Field | None = None, nan: NanPolicy = "omit"
) -> xr.DataArray:
    """Return the root mean square error, sqrt(<(f - o)^2>).

    WeatherBench 2's definition [1]_: the mean runs over time and area, and the root is taken last (a mean
    of roots per time is smaller). The root makes it a little too low on average in small samples.
    Missing cells drop out in pairs, each with its own weight (WeatherBench 2 weighs every time the same,
    which differs where the number of missing cells varies); none left gives NaN.

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.

    Returns
    -------
    DataArray
        In the units of the fields, on the dimensions that are kept.

    References
    ----------
    .. [1] Rasp, S. et al. (2024), WeatherBench 2, J. Adv. Model. Earth Syst. 16, e2023MS004019, RMSE.

    Examples
    --------
    >>> float(rmse([3.0, 0.0], [0.0, 4.0], weights=[1.0, 3.0]))
    3.774917217635375
    """
    return score_one(RMSE, forecast, truth, dims=dims, weights=weights, nan=nan)


def acc(
    forecast: Field,
    truth: Field,
    climatology: Field,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
    pooled: bool = False,
) -> xr.DataArray:
    """Return the anomaly correlation coefficient, uncentred.

    For anomalies f' = f - c and o' = o - c,

        ACC = <f' o'> / sqrt(<f'^2> <o'^2>).

    WeatherBench 2's definition [1]_: one ACC for each time from means over the area, then the plain mean of
    these over the remaining `dims`. With `pooled` the three means run over all of `dims` and there is one
    ratio (WeatherBench-X); this is also what is done where `dims` holds no area dimension (lat, lon, y,
    x), as for a correlation over time in each cell. No mean is subtracted from the anomalies.

    Between -1 and 1. A ratio of means, so slightly biased in small samples, and biased upwards if the
    climatology was made from the years scored. A cell that is missing in forecast, truth or climatology
    drops out of all three means. A slice with no anomaly at all (a constant field) has no ACC and drops
    out; none left gives NaN.

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.
    climatology : DataArray or array
        The normal state, on the dimensions of the truth or some of them; from other years than those
        scored. By day of year: ``climatology.sel(dayofyear=truth.time.dt.dayofyear)``.
    pooled : bool
        Whether to form one ratio of pooled means; named ``"acc_pooled"`` in `score`.

    Returns
    -------
    DataArray
        Without units, on the dimensions that are kept.

    References
    ----------
    .. [1] Rasp, S. et al. (2024), WeatherBench 2, J. Adv. Model. Earth Syst. 16, e2023MS004019, ACC.
    """
    metric = ACC_POOLED if pooled else ACC
    return score_one(metric, forecast, truth, climatology=climatology, dims=dims, weights=weights, nan=nan)
