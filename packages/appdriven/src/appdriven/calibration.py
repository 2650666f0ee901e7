"""Whether predictions mean what they say: coverage, reliability, and errors by what was predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.verify import interval_coverage, reliability

_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far predictions can be taken at their word.

    Attributes
    ----------
    slope, intercept : float
        Of the regression of truth on prediction: 1 and 0 for predictions that are right on average at each
        value.
    coverage, nominal : float, optional
        Share of truths in the stated interval, and the share that it claims.
    reliability : mapping of str to tuple, optional
        ``forecast``, ``observed`` and ``share`` by bins of probability.
    by_prediction : mapping of str to tuple
        ``prediction``, ``truth`` and ``share`` by tenths of the predictions.
    """

    slope: float
    intercept: float
    by_prediction: Mapping[str, tuple[float, ...]]
    coverage: float | None = None
    nominal: float | None = None
    reliability: Mapping[str, tuple[float, ...]] | None = None


def measure_calibration(
    truth: np.ndarray,
    prediction: np.ndarray,
    weight: np.ndarray,
    *,
    interval: tuple[np.ndarray, np.ndarray] | None = None,
    nominal: float | None = None,
    probability: np.ndarray | None = None,
    event: np.ndarray | None = None,
) -> Calibration:
    """Measure calibration of point predictions, and of intervals and probabilities where there are any.

    Parameters
    ----------
    truth, prediction, weight : array, shape (sample,)
        Finite.
    interval : (array, array), optional
        Lower and upper ends; where either is NaN the sample drops out.
    nominal : float, optional
        What the interval claims to cover.
    probability, event : array, shape (sample,), optional
        Of the event, and whether it came.
    """
    slope, intercept = _regress(prediction, truth, weight)
    coverage = None
    if interval is not None:
        low, high, came, counts = (xr.DataArray(part, dims="sample") for part in (*interval, truth, weight))
        coverage = float(interval_coverage(low, high, came, weights=counts))
    return Calibration(
        slope=slope,
        intercept=intercept,
        by_prediction=_by_tenths(prediction, truth, weight),
        coverage=coverage,
        nominal=None if coverage is None else nominal,
        reliability=None
        if probability is None or event is None
        else _reliability(probability, event, weight),
    )


def _regress(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
    spread = np.average((x - mean_x) ** 2, weights=weight)
    slope = float(np.average((x - mean_x) * (y - mean_y), weights=weight) / spread) if spread > 0 else 0.0
    return slope, float(mean_y - slope * mean_x)


def _by_tenths(prediction: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> dict[str, tuple[float, ...]]:
    edges = np.unique(np.quantile(prediction, np.linspace(0, 1, _BINS + 1)))
    number = np.clip(np.searchsorted(edges, prediction, side="right") - 1, 0, max(len(edges) - 2, 0))
    total = np.bincount(number, weights=weight)
    filled = total > 0

    def mean(values: np.ndarray) -> tuple[float, ...]:
        return tuple(map(float, np.bincount(number, weights=weight * values)[filled] / total[filled]))

    share = tuple(map(float, total[filled] / total.sum()))
    return {"prediction": mean(prediction), "truth": mean(truth), "share": share}


def _reliability(
    probability: np.ndarray, event: np.ndarray, weight: np.ndarray
) -> dict[str, tuple[float, ...]]:
    arrays = (xr.DataArray(values, dims="sample") for values in (probability, event.astype(np.float64)))
    found = reliability(*arrays, bins=_BINS, weights=xr.DataArray(weight, dims="sample"))
    filled = found["share"].to_numpy() > 0
    return {
        name: tuple(map(float, found[name].to_numpy()[filled])) for name in ("forecast", "observed", "share")
    }
