"""Scores whose statistics add up, and intervals that respect dependence in time.

Each score is a function of means of named statistics; the sums behind the means are additive states. So
one definition serves an array, a stream of chunks, a dask graph and the ranks of a distributed run:

>>> import xarray as xr
>>> truth = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("time", "lat"), coords={"time": [0, 1]})
>>> area = [1.0, 3.0]
>>> float(rmse(truth + 1, truth, weights=area))
1.0
>>> state = sum(accumulate("rmse", truth[[t]] + 1, truth[[t]], weights=area) for t in (0, 1))
>>> float(finalise(state)["rmse"])
1.0
"""

from isopleth.verify.bootstrap import Interval, block_bootstrap, group_bootstrap
from isopleth.verify.conformal import block_conformal, blocks_needed
from isopleth.verify.dependence import autocovariance, effective_sample_size, optimal_block_length
from isopleth.verify.deterministic import acc, bias, mae, mse, rmse
from isopleth.verify.ensemble import crps, ensemble_mean_rmse, rank_histogram, spread, spread_skill_ratio
from isopleth.verify.image import psnr, psnr_metric, ssim, ssim_metric
from isopleth.verify.metric import METRICS, Metric, accumulate, finalise, register, score
from isopleth.verify.probability import (
    brier,
    brier_metric,
    crps_gaussian,
    ensemble_brier,
    interval_coverage,
    reliability,
)
from isopleth.verify.significance import DieboldMariano, diebold_mariano, student_interval
from isopleth.verify.spectrum import isotropic_spectrum, power_spectrum
from isopleth.verify.state import State, combine

__all__ = [
    "METRICS",
    "DieboldMariano",
    "Interval",
    "Metric",
    "State",
    "acc",
    "accumulate",
    "autocovariance",
    "bias",
    "block_bootstrap",
    "block_conformal",
    "blocks_needed",
    "brier",
    "brier_metric",
    "combine",
    "crps",
    "crps_gaussian",
    "diebold_mariano",
    "effective_sample_size",
    "ensemble_brier",
    "ensemble_mean_rmse",
    "finalise",
    "group_bootstrap",
    "interval_coverage",
    "isotropic_spectrum",
    "mae",
    "mse",
    "optimal_block_length",
    "power_spectrum",
    "psnr",
    "psnr_metric",
    "rank_histogram",
    "register",
    "reliability",
    "rmse",
    "score",
    "spread",
    "spread_skill_ratio",
    "ssim",
    "ssim_metric",
    "student_interval",
]
