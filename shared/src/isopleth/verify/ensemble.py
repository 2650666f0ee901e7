"""Scores of an ensemble: CRPS by ranks, spread and skill, rank histogram.

Here x_1 ... x_M are the members, o the truth, and <.> the weighted mean over cells. The forecast has the
dimension ``member``; a cell in which any member or the truth is missing drops out, for ensembles of
different sizes are not comparable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError
from isopleth.verify.alignment import MEMBER, Dims, Field, NanPolicy, Pair
from isopleth.verify.metric import Means, Metric, register, score_one

RANK = "rank"


def _per_cell(kernel: Callable[..., np.ndarray], pair: Pair, **options: object) -> xr.DataArray:
    """Apply a function of (..., member) and (...) to every cell, lazily where the fields are lazy."""
    return xr.apply_ufunc(
        kernel,
        pair.ensemble,
        pair.truth,
        input_core_dims=[[MEMBER], []],
        kwargs=options,
        dask="parallelized",
        output_dtypes=[float],
    )


def _crps_kernel(members: np.ndarray, truth: np.ndarray, *, fair: bool) -> np.ndarray:
    # Errors are sorted, not values: the ranks below sum to zero, and small numbers keep their digits.
    errors = np.sort(members - truth[..., None], axis=-1)
    size = errors.shape[-1]
    pairs = size * (size - 1) if fair and size > 1 else size * size
    ranks = 2.0 * np.arange(size) - (size - 1)
    return np.abs(errors).mean(axis=-1) - errors @ ranks / pairs


def _fair_crps(pair: Pair) -> xr.DataArray:
    return _per_cell(_crps_kernel, pair, fair=True)


def _ecdf_crps(pair: Pair) -> xr.DataArray:
    return _per_cell(_crps_kernel, pair, fair=False)


def _variance(pair: Pair) -> xr.DataArray:
    """Return the unbiased variance over members, missing where the truth is, for they are compared."""
    size = pair.ensemble.sizes[MEMBER]
    centred = pair.ensemble - pair.ensemble.mean(MEMBER, skipna=False)
    variance = (centred**2).sum(MEMBER, skipna=False) / (size - 1 if size > 1 else np.nan)
    return variance.where(pair.truth.notnull())


def _predictive_variance(pair: Pair) -> xr.DataArray:
    size = pair.ensemble.sizes[MEMBER]
    return _variance(pair) * ((size + 1) / size)


def _squared_mean_error(pair: Pair) -> xr.DataArray:
    return (pair.ensemble.mean(MEMBER, skipna=False) - pair.truth) ** 2


def _rank_shares(pair: Pair) -> xr.DataArray:
    """Return (..., rank): 1 at the truth's rank, or equal shares over the ranks that a tie allows."""
    below = (pair.ensemble < pair.truth).sum(MEMBER)
    ties = (pair.ensemble == pair.truth).sum(MEMBER)
    return _shares(pair, below, ties)


def _shares(pair: Pair, below: xr.DataArray, ties: xr.DataArray) -> xr.DataArray:
    size = pair.ensemble.sizes[MEMBER]
    ranks = xr.DataArray(np.arange(size + 1), dims=RANK, coords={RANK: np.arange(size + 1)})
    allowed = (ranks >= below) & (ranks <= below + ties)
    present = pair.ensemble.notnull().all(MEMBER) & pair.truth.notnull()
    return (allowed / (ties + 1)).where(present)


def _spread_skill(means: Means) -> xr.DataArray:
    error = means["squared_mean_error"]
    return (means["predictive_variance"] / error.where(error > 0)) ** 0.5


CRPS = register(Metric("crps", {"fair_crps": _fair_crps}, lambda means: means["fair_crps"]))
CRPS_ECDF = register(Metric("crps_ecdf", {"ecdf_crps": _ecdf_crps}, lambda means: means["ecdf_crps"]))
SPREAD = register(Metric("spread", {"variance": _variance}, lambda means: means["variance"] ** 0.5))
ENSEMBLE_MEAN_RMSE = register(
    Metric(
        "ensemble_mean_rmse",
        {"squared_mean_error": _squared_mean_error},
        lambda means: means["squared_mean_error"] ** 0.5,
    )
)
SPREAD_SKILL_RATIO = register(
    Metric(
        "spread_skill_ratio",
        {"predictive_variance": _predictive_variance, "squared_mean_error": _squared_mean_error},
        _spread_skill,
    )
)
RANK_HISTOGRAM = register(
    Metric("rank_histogram", {"rank_shares": _rank_shares}, lambda means: means["rank_shares"])
)


def crps(
    forecast: Field,
    truth: Field,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
    method: Literal["fair", "ecdf"] = "fair",
) -> xr.DataArray:
    """Return the continuous ranked probability score of an ensemble.

    With members sorted, x_(1) <= ... <= x_(M), the mean difference of pairs is a sum over ranks, so that

        CRPS = < 1/M sum_i abs(x_i - o)  -  1/P sum_i (2 i - M - 1) x_(i) >

    takes M log M steps and not M^2. ``"fair"`` has P = M (M - 1) [1]_: the expected score does not depend
    on M when members are exchangeable, and estimates that of an endless ensemble without bias; it is
    WeatherBench 2's [2]_. ``"ecdf"`` has P = M^2: the score of the step function itself, higher in
    expectation by half the mean absolute pair difference over M; ``"crps_ecdf"`` in `score`. A single
    member has no pairs: both are then the mean absolute error. Fair values can be negative in a single
    cell.

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`; the forecast has members.
    method : {"fair", "ecdf"}
        Which of the two.

    Returns
    -------
    DataArray
        In the units of the fields, on the dimensions that are kept.

    References
    ----------
    .. [1] Ferro, C. A. T. (2014), Fair scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140.
    .. [2] Rasp, S. et al. (2024), WeatherBench 2, J. Adv. Model. Earth Syst. 16, e2023MS004019, CRPS.

    Examples
    --------
    >>> float(crps([0.0, 2.0], 1.0)), float(crps([0.0, 2.0], 1.0, method="ecdf"))
    (0.0, 0.5)
    """
    if method not in ("fair", "ecdf"):
        raise ConfigError(f"method must be 'fair' or 'ecdf', got {method!r}")
    metric = CRPS if method == "fair" else CRPS_ECDF
    return score_one(metric, forecast, truth, dims=dims, weights=weights, nan=nan)


def spread(
    forecast: Field,
    truth: Field | None = None,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
) -> xr.DataArray:
    """Return the ensemble spread, sqrt(<s^2>) with s^2 = sum_i (x_i - mean)^2 / (M - 1).

    The variance is unbiased in each cell, averaged, and the root is taken last [1]_: a mean of standard
    deviations would be too low. The truth, if given, only says which cells count: those that skill is
    taken over. One member has no spread: NaN.

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
    .. [1] Fortin, V. et al. (2014), Why should ensemble spread match the RMSE of the ensemble mean?,
       J. Hydrometeorol. 15.
    """
    if truth is None:
        truth = forecast.isel({MEMBER: 0}) if isinstance(forecast, xr.DataArray) else np.asarray(forecast)[0]
    return score_one(SPREAD, forecast, truth, dims=dims, weights=weights, nan=nan)


def ensemble_mean_rmse(
    forecast: Field, truth: Field, *, dims: Dims = None, weights: Field | None = None, nan: NanPolicy = "omit"
) -> xr.DataArray:
    """Return the root mean square error of the ensemble mean, sqrt(<(mean_i x_i - o)^2>).

    Over time and area with the root last. The mean of M members errs more than that of endless ones: for
    a reliable ensemble the expected square is (1 + 1/M) times the variance [1]_; nothing is corrected
    here.

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
    .. [1] Leutbecher, M. and T. N. Palmer (2008), Ensemble forecasting, J. Comput. Phys. 227.
    """
    return score_one(ENSEMBLE_MEAN_RMSE, forecast, truth, dims=dims, weights=weights, nan=nan)


def spread_skill_ratio(
    forecast: Field, truth: Field, *, dims: Dims = None, weights: Field | None = None, nan: NanPolicy = "omit"
) -> xr.DataArray:
    """Return spread over error of the ensemble mean: 1 for a reliable ensemble of any size.

        ratio = sqrt((M + 1) / M) * spread / ensemble_mean_rmse

    The factor [1]_ accounts for the sampling error of the mean of M members. Below 1 the ensemble is
    overconfident. A ratio of roots, so slightly biased in small samples. One member, or an error that is
    zero everywhere, gives NaN.

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.

    Returns
    -------
    DataArray
        Without units, on the dimensions that are kept.

    References
    ----------
    .. [1] Fortin, V. et al. (2014), Why should ensemble spread match the RMSE of the ensemble mean?,
       J. Hydrometeorol. 15, eq. 15.
    """
    return score_one(SPREAD_SKILL_RATIO, forecast, truth, dims=dims, weights=weights, nan=nan)


def rank_histogram(
    forecast: Field,
    truth: Field,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    nan: NanPolicy = "omit",
    ties: Literal["share", "random"] = "share",
    seed: int | np.random.Generator | None = None,
) -> xr.DataArray:
    """Return how often the truth takes each rank among the members.

    Frequency of rank r = #{i: x_i < o}, r = 0 ... M; flat, 1/(M + 1), for a reliable ensemble, though a
    flat one need not be reliable [1]_. Where k members equal the truth (rain, clipped values), ranks r
    to r + k are possible: ``"share"`` gives each 1/(k + 1), which is what drawing gives on average, needs
    no chance and adds up over chunks; ``"random"`` draws one, so that counts are whole.

    Parameters
    ----------
    forecast, truth, dims, weights, nan
        As for `score`.
    ties : {"share", "random"}
        What to do with ties.
    seed : int or Generator
        For ``ties="random"``, which holds one random number per cell in memory.

    Returns
    -------
    DataArray
        Frequencies along ``rank``, which sum to 1.

    References
    ----------
    .. [1] Hamill, T. M. (2001), Interpretation of rank histograms, Mon. Weather Rev. 129.
    """
    if ties not in ("share", "random") or (ties == "random" and seed is None):
        raise ConfigError(f"ties must be 'share', or 'random' with a seed, got {ties!r} and seed {seed!r}")
    metric = RANK_HISTOGRAM
    if ties == "random":
        metric = Metric(
            "rank_histogram", {"drawn_ranks": _drawn(np.random.default_rng(seed))}, lambda m: m["drawn_ranks"]
        )
    return score_one(metric, forecast, truth, dims=dims, weights=weights, nan=nan)


def _drawn(generator: np.random.Generator) -> Callable[[Pair], xr.DataArray]:
    """Return the statistic that draws one of the ranks a tie allows, the same under any dask chunks."""

    def statistic(pair: Pair) -> xr.DataArray:
        below = (pair.ensemble < pair.truth).sum(MEMBER)
        ties = (pair.ensemble == pair.truth).sum(MEMBER)
        chance = below.copy(data=generator.random(below.shape))
        return _shares(pair, below + np.floor(chance * (ties + 1)), xr.zeros_like(ties))

    return statistic
