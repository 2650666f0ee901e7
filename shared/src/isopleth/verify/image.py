"""Scores of images: PSNR and SSIM, with a data range that is stated and never guessed."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.verify.alignment import AREA_DIMS, Dims, Field, NanPolicy, Pair
from isopleth.verify.metric import Means, Metric, score_one

_SIGMA = 1.5
_RADIUS = 5
_K1, _K2 = 0.01, 0.03


def psnr(
    forecast: Field,
    truth: Field,
    *,
    data_range: float,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
) -> xr.DataArray:
    """Return the peak signal-to-noise ratio in decibels.

        PSNR = 10 log10(data_range^2 / <(f - o)^2>)

    made for each image (over lat, lon or y, x) and averaged over the other `dims`, as is the custom in
    image restoration [1]_; without such dimensions it is made once from all cells. By convexity the mean
    over images is not below the PSNR of their mean error. Identical images give infinity. Missing cells
    drop out; an image without any drops out of the mean.

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.
    data_range : float
        The span between the least and the greatest possible value, the same for all models compared;
        1.0 for images in 0 ... 1. Nothing is inferred from the data.

    Returns
    -------
    DataArray
        In decibels, on the dimensions that are kept.

    References
    ----------
    .. [1] Hore, A. and D. Ziou (2010), Image quality metrics: PSNR vs. SSIM, ICPR.
    """
    return score_one(psnr_metric(data_range), forecast, truth, dims=dims, weights=weights, nan=nan)


def psnr_metric(data_range: float) -> Metric:
    """Return the metric "psnr" for `score` and `accumulate`; see `psnr`."""
    peak = 20 * np.log10(_positive(data_range))

    def of_means(means: Means) -> xr.DataArray:
        error = means["squared_error"]
        return (peak - 10 * np.log10(error.where(error > 0))).where(error != 0, np.inf)

    return Metric("psnr", {"squared_error": lambda pair: pair.error**2}, of_means, per_slice=True)


def ssim(
    forecast: Field,
    truth: Field,
    *,
    data_range: float,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
) -> xr.DataArray:
    """Return the mean structural similarity index.

    In a window around each cell, with local means m, variances v and covariance v_fo, all weighted by a
    Gaussian of 11 x 11 cells and standard deviation 1.5 that sums to one,

        SSIM = (2 m_f m_o + C1) (2 v_fo + C2) / ((m_f^2 + m_o^2 + C1) (v_f + v_o + C2)),

    C1 = (0.01 data_range)^2, C2 = (0.03 data_range)^2, then averaged: exactly the definition of [1]_
    (variances without the n/(n - 1) correction; scikit-image gives the same with ``gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False``). Only cells whose whole window lies in the image count, so
    5 rows and columns at each edge do not, nor do those near a missing cell; longitude is not wrapped
    around. Between -1 and 1, 1 for identical images. C1 is not indifferent to the zero of a physical unit:
    compare values only for one `data_range` and offset.

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.
    data_range : float
        The span between the least and the greatest possible value; nothing is inferred from the data.

    Returns
    -------
    DataArray
        Between -1 and 1, on the dimensions that are kept.

    Raises
    ------
    DataError
        If there is no image plane: lat and lon, y and x, or else the last two dimensions.

    References
    ----------
    .. [1] Wang, Z. et al. (2004), Image quality assessment: from error visibility to structural
       similarity, IEEE Trans. Image Process. 13, section III.
    """
    return score_one(ssim_metric(data_range), forecast, truth, dims=dims, weights=weights, nan=nan)


def ssim_metric(data_range: float) -> Metric:
    """Return the metric "ssim" for `score` and `accumulate`; see `ssim`. A piece must hold whole images."""
    constants = ((_K1 * _positive(data_range)) ** 2, (_K2 * data_range) ** 2)

    def statistic(pair: Pair) -> xr.DataArray:
        plane = _plane(pair)
        fields = [
            field.chunk(dict.fromkeys(plane, -1)) if field.chunks else field
            for field in (pair.forecast, pair.truth)
        ]
        return xr.apply_ufunc(
            _ssim_kernel,
            *fields,
            input_core_dims=[plane, plane],
            output_core_dims=[plane],
            kwargs={"constants": constants},
            dask="parallelized",
            output_dtypes=[float],
        )

    name = f"ssim_{data_range!r}"
    return Metric("ssim", {name: statistic}, lambda means: means[name])


def _ssim_kernel(forecast: np.ndarray, truth: np.ndarray, *, constants: tuple[float, float]) -> np.ndarray:
    """Return the SSIM around each cell of (..., y, x); NaN where the window leaves the image."""
    forecast, truth = np.broadcast_arrays(forecast, truth)
    mean_f, mean_o = _blur(forecast), _blur(truth)
    variance_f = _blur(forecast**2) - mean_f**2
    variance_o = _blur(truth**2) - mean_o**2
    covariance = _blur(forecast * truth) - mean_f * mean_o
    luminance = (2 * mean_f * mean_o + constants[0]) / (mean_f**2 + mean_o**2 + constants[0])
    structure = (2 * covariance + constants[1]) / (variance_f + variance_o + constants[1])
    return luminance * structure


def _blur(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import correlate1d  # half a second that only images need

    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    window = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    window /= window.sum()
    for axis in (-2, -1):
        image = correlate1d(image, window, axis=axis, mode="constant", cval=np.nan)
    return image


def _plane(pair: Pair) -> list[Hashable]:
    named: list[Hashable] = [dim for dim in pair.forecast.dims if dim in AREA_DIMS]
    plane = named if len(named) == 2 else list(pair.forecast.dims[-2:])
    if len(plane) < 2 or not set(plane) <= set(pair.truth.dims):
        raise DataError(
            f"images must have two dimensions in common, got {pair.forecast.dims} and {pair.truth.dims}"
        )
    return plane


def _positive(data_range: float) -> float:
    if not (np.isfinite(data_range) and data_range > 0):
        raise ConfigError(f"data_range must be positive and finite, got {data_range}")
    return float(data_range)
