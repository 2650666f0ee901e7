"""Intervals with a guarantee for fields whose errors come in blocks: conformal prediction by blocks."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.verify.alignment import Field


def blocks_needed(level: float) -> int:
    """Return how many calibration blocks an interval of a level needs: the least K with K / (K + 1) >= level.

    Examples
    --------
    >>> blocks_needed(0.9), blocks_needed(0.95)
    (9, 19)
    """
    _check_level(level)
    exact = Fraction(str(level))
    return max(1, math.ceil(exact / (1 - exact)))


def block_conformal(
    residuals: Field,
    blocks: Field,
    *,
    level: float = 0.9,
    scale: Field | None = None,
    weights: Field | None = None,
) -> float:
    r"""Return the half-width of intervals that hold for cells of blocks never seen.

    With scores s_bi = |r_bi| / scale_bi of cell i in block b of K, and weights that sum to one in each
    block, it is the quantile [1]_

    .. math:: q = \inf\Big\{ q : \frac{1}{K + 1} \sum_{b=1}^{K} \sum_{i \in b} w_{bi}\,
        1[s_{bi} \le q] \ge \text{level} \Big\}.

    The missing mass 1 / (K + 1) stands at infinity for the block to come. If that block and the K are
    exchangeable, prediction +- q scale holds the truth with at least that probability, whatever the model,
    the distribution, and the dependence inside a block; the chance is over blocks, and over the cells of the
    new block as `weights` has them. A block counts once, however many cells it has: cells side by side are
    not independent, and to count them one by one leaves intervals too narrow (where each of 12 blocks errs
    as one, a nominal 90 % then holds in 85 %). It is conservative by at most about 1 / (K + 1). It does not
    promise the level in every block, nor where errors drift: calibrate on blocks as far from training as
    those to be predicted.

    Parameters
    ----------
    residuals : DataArray or array
        Truth less prediction on the calibration cells, in the units of the predictand. NaN drops out.
    blocks : DataArray or array
        The block of each cell, such as the fold in which it was tested, a basin or a year. Arrays broadcast
        as numpy has it, DataArrays by their dimensions; coordinates must agree.
    level : float
        Probability, between 0 and 1, both excluded.
    scale : DataArray or array, optional
        A predicted spread, above 0: intervals are then as wide as it says, times what is returned [2]_.
    weights : DataArray or array, optional
        Not negative, such as cell areas; they count inside a block. A block of weight 0 drops out.

    Returns
    -------
    float
        Half-width in the units of the residuals, or the factor on `scale`.

    Raises
    ------
    ConfigError
        If the level is out of range, or there are too few blocks for it; says how many it needs.
    DataError
        If shapes do not fit, or a scale or weight is out of range.

    References
    ----------
    .. [1] Lee, Y., R. F. Barber and R. Willett (2023), Distribution-free inference with hierarchical data,
       arXiv 2306.06342, section 3; Dunn, R., L. Wasserman and A. Ramdas (2023), Distribution-free prediction
       sets for two-layer hierarchical models, J. Am. Stat. Assoc. 118.
    .. [2] Lei, J., M. G'Sell, A. Rinaldo, R. J. Tibshirani and L. Wasserman (2018), Distribution-free
       predictive inference for regression, J. Am. Stat. Assoc. 113, section 5.2.

    Examples
    --------
    >>> residuals = np.arange(1.0, 11.0).repeat(3)  # ten blocks of three equal errors
    >>> block_conformal(residuals, np.arange(10).repeat(3), level=0.8)
    9.0
    """
    _check_level(level)
    error, block, spread, weight = _columns(residuals, blocks, scale, weights)
    scores = np.abs(error) / spread
    number, sums = _number_blocks(block, weight)
    count = len(sums)
    if count < blocks_needed(level):
        raise ConfigError(
            f"an interval of level {level:g} must have at least {blocks_needed(level)} calibration blocks, "
            f"got {count}",
            hint=f"use more and smaller blocks, or a level of at most {count / (count + 1):.3g}",
        )
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum((weight / sums[number])[order]) / (count + 1)
    # Sums of shares that are equal on paper differ in their last places.
    place = min(int(np.searchsorted(mass, level - 1e-12 * count)), len(order) - 1)
    return float(scores[order[place]])


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"level must be between 0 and 1, both excluded, got {level!r}")


def _columns(
    residuals: Field, blocks: Field, scale: Field | None, weights: Field | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return error, block, scale and weight of the cells that count, each one-dimensional."""
    residuals, blocks, scale, weights = _broadcast(residuals, blocks, scale, weights)
    error = np.asarray(residuals, float)
    if np.isinf(error).any():
        raise DataError("residuals must be finite or NaN, got an infinite one")
    spread, weight = np.asarray(scale, float), np.asarray(weights, float)
    known = ~np.isnan(error)
    if not (np.isfinite(weight[known]).all() and (weight[known] >= 0).all()):
        raise DataError("weights must be finite and not negative, got one that is not")
    known &= np.where(np.isnan(weight), 0.0, weight) > 0
    if not (np.isfinite(spread[known]).all() and (spread[known] > 0).all()):
        raise DataError("scale must be finite and above 0 wherever there is a residual, got one that is not")
    return error[known], np.asarray(blocks)[known], spread[known], weight[known]


def _broadcast(residuals: Field, blocks: Field, *others: Field | None) -> list[np.ndarray]:
    filled = [residuals, blocks, *(1.0 if other is None else other for other in others)]
    if isinstance(residuals, xr.DataArray):
        fields = [each if isinstance(each, xr.DataArray) else _like(residuals, each) for each in filled]
        try:
            fields = list(xr.align(*fields, join="exact"))
        except ValueError as error:
            raise DataError(
                f"residuals, blocks, scale and weights must share their coordinates: {error}"
            ) from error
        return [each.transpose(*residuals.dims).values for each in _grown(residuals, fields)]
    try:
        arrays = np.broadcast_arrays(*[np.asarray(each) for each in filled])
    except ValueError as error:
        raise DataError(f"residuals, blocks, scale and weights must broadcast: {error}") from error
    if arrays[0].shape != np.shape(residuals):
        raise DataError(
            f"blocks, scale and weights must not outgrow the residuals {np.shape(residuals)}, got "
            f"{arrays[0].shape}"
        )
    return list(arrays)


def _like(residuals: xr.DataArray, values: object) -> xr.DataArray:
    array = np.asarray(values)
    if array.ndim and array.shape != residuals.shape:
        raise DataError(
            f"an array beside residuals {residuals.shape} must have their shape, got {array.shape}"
        )
    return xr.DataArray(np.broadcast_to(array, residuals.shape), dims=residuals.dims, coords=residuals.coords)


def _grown(residuals: xr.DataArray, fields: list[xr.DataArray]) -> list[xr.DataArray]:
    extra = sorted({str(dim) for field in fields for dim in field.dims} - set(map(str, residuals.dims)))
    if extra:
        raise DataError(f"blocks, scale and weights must not outgrow {residuals.dims}, got {extra} besides")
    return [field.broadcast_like(residuals) for field in fields]


def _number_blocks(block: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if block.dtype.kind == "f" and np.isnan(block).any():
        raise DataError("blocks must be known wherever there is a residual, got NaN")
    _, number = np.unique(block, return_inverse=True)
    return number, np.bincount(number, weights=weight) if number.size else np.zeros(0)
