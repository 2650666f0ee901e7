"""Metrics: a score is a function of the means of named statistics."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.verify.alignment import AREA_DIMS, Dims, Field, NanPolicy, Pair, align, as_weights, resolve_dims
from isopleth.verify.state import State

Statistic: TypeAlias = Callable[[Pair], xr.DataArray]
Means: TypeAlias = Mapping[str, xr.DataArray]

# Statistics of scores that are made slice by slice are summed over the area only; their names say so.
_PER_SLICE = "slice:"


@dataclass(frozen=True)
class Metric:
    """Define a score: the statistics that are averaged, and the function of their means.

    Parameters
    ----------
    name : str
        What the field calls it, in lower case.
    statistics : mapping of str to callable
        Each maps a `Pair` to values per cell, NaN where a cell is missing. A name stands for one
        function in the whole package, so that scores share the work.
    of_means : callable
        Maps the means of these statistics, by name, to the score.
    per_slice : bool
        Whether the score is made for each slice (over lat, lon) and then averaged over slices,
        instead of once from pooled means. Slices that are undefined (NaN) drop out.
    """

    name: str
    statistics: Mapping[str, Statistic]
    of_means: Callable[[Means], xr.DataArray]
    per_slice: bool = False

    def by_slice(self, state: State) -> xr.DataArray:
        """Return the score on all dimensions that the state keeps, before the average over slices."""
        means = state.means
        prefix = _PER_SLICE if self.per_slice else ""
        missing = [name for name in self.statistics if prefix + name not in means]
        if missing:
            raise DataError(
                f"the state must hold the statistics of {self.name}, got one for {state.metrics}",
                hint=f"accumulate({self.name!r}, ...)",
            )
        return self.of_means({name: means[prefix + name] for name in self.statistics}).rename(self.name)

    def value(self, state: State) -> xr.DataArray:
        """Return the score that a state amounts to."""
        values = self.by_slice(state)
        return values.mean([dim for dim in state.sliced if dim in values.dims]) if self.per_slice else values


METRICS: dict[str, Metric] = {}


def register(metric: Metric) -> Metric:
    """Make a metric known by its name to `score`, `accumulate` and `finalise`."""
    METRICS[metric.name] = metric
    return metric


def lookup(metrics: str | Metric | Iterable[str | Metric]) -> list[Metric]:
    """Return metrics by name.

    Raises
    ------
    ConfigError
        If a name is not known.
    """
    wanted = [metrics] if isinstance(metrics, str | Metric) else list(metrics)
    unknown = [name for name in wanted if isinstance(name, str) and name not in METRICS]
    if unknown or not wanted:
        raise ConfigError(
            f"metrics must be among {', '.join(METRICS)}, got {', '.join(map(str, unknown)) or 'none'}",
            hint="a metric with parameters (psnr_metric, ssim_metric, ...) is passed as an object",
        )
    return [METRICS[name] if isinstance(name, str) else name for name in wanted]


def accumulate(
    metrics: str | Metric | Iterable[str | Metric],
    forecast: Field,
    truth: Field,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    climatology: Field | None = None,
    nan: NanPolicy = "omit",
) -> State:
    """Sum what scores need over one piece of the data; see `score` for the parameters.

    Under dask the state is lazy: ``state.compute()`` evaluates all of it in one pass.

    Examples
    --------
    >>> truth = xr.DataArray([1.0, 2.0, 3.0, 4.0], dims="time")
    >>> pieces = [accumulate("rmse", truth[part] + 2, truth[part]) for part in (slice(3), slice(3, 4))]
    >>> float(finalise(sum(pieces))["rmse"])
    2.0
    """
    chosen = lookup(metrics)
    pair = align(forecast, truth, climatology, nan=nan)
    averaged = resolve_dims(dims, pair.dims)
    weighing = as_weights(weights, pair)
    area: list[Hashable] = [dim for dim in averaged if dim in AREA_DIMS] or list(averaged)
    with xr.set_options(arithmetic_join="exact"):
        values = {name: of(pair) for metric in chosen for name, of in metric.statistics.items()}
        pooled = {
            name: values[name] for metric in chosen if not metric.per_slice for name in metric.statistics
        }
        sliced = {
            _PER_SLICE + name: values[name]
            for metric in chosen
            if metric.per_slice
            for name in metric.statistics
        }
        tables = [
            State.of(statistics, dims=over, weights=weighing).table
            for statistics, over in ((pooled, averaged), (sliced, area))
        ]
    return State(
        xr.merge(tables, compat="override", join="exact"),
        metrics=tuple(metric.name for metric in chosen),
        sliced=tuple(str(dim) for dim in averaged if sliced and dim not in area),
    )


def finalise(state: State, metrics: str | Metric | Iterable[str | Metric] | None = None) -> xr.Dataset:
    """Return the scores that a state amounts to.

    Parameters
    ----------
    state : State
        From `accumulate`, or the sum of several.
    metrics : optional
        Which scores; those that the state was gathered for by default. A metric with parameters must
        be given again as an object, for a state keeps its name only.

    Returns
    -------
    xarray.Dataset
        One variable per score, on the dimensions that were kept.
    """
    return xr.Dataset({metric.name: metric.value(state) for metric in lookup(metrics or state.metrics)})


def score(
    metrics: str | Metric | Iterable[str | Metric],
    forecast: Field | xr.Dataset,
    truth: Field | xr.Dataset,
    *,
    dims: Dims = None,
    weights: Field | None = None,
    climatology: Field | xr.Dataset | None = None,
    nan: NanPolicy = "omit",
) -> xr.Dataset:
    """Score a forecast against the truth.

    Parameters
    ----------
    metrics : str, Metric, or several
        Names in `METRICS`, or metrics with parameters.
    forecast, truth : DataArray, Dataset or array
        Broadcast against each other by dimension name; where both have a coordinate it must agree.
        Computed in float64. Bare arrays match from their last axis, and a forecast with one leading
        axis more is an ensemble.
    dims : str or iterable of str, optional
        Dimensions to average over, all by default. Others are kept: leave out ``lead`` for a score by
        lead. The ensemble scores use up ``member`` themselves.
    weights : DataArray or array, optional
        Finite and not negative; equal by default. ``grid.weights`` for area means. A dimension that
        only the weights have is kept: weights (region, lat, lon) give scores by region.
    climatology : DataArray, Dataset or array, optional
        For the ACC, on the dimensions of the truth or some of them.
    nan : {"omit", "raise"}
        With ``"omit"`` a cell that is NaN in forecast, truth (or climatology, where used) drops out
        and the weights are renormalised over what is left; nothing left gives NaN. Infinite values
        are not missing: they make the score infinite or NaN.

    Returns
    -------
    xarray.Dataset
        One variable per score. For Datasets: one variable per field that both have, with the scores
        along a dimension ``metric``.

    Raises
    ------
    DataError
        If coordinates or units disagree, or weights are not usable.
    ConfigError
        If a metric or a dimension is not known.

    Examples
    --------
    >>> result = score(["bias", "mse"], [1.0, 3.0], [0.0, 0.0])
    >>> float(result["bias"]), float(result["mse"])
    (2.0, 5.0)
    """
    if not isinstance(forecast, xr.Dataset) or not isinstance(truth, xr.Dataset):
        state = accumulate(
            metrics, forecast, truth, dims=dims, weights=weights, climatology=climatology, nan=nan
        )
        return finalise(state, metrics)
    shared = [name for name in forecast if name in truth]
    if not shared:
        raise DataError(f"forecast and truth must share a variable, got {list(forecast)} and {list(truth)}")
    results = {}
    for name in shared:
        normal = climatology[name] if isinstance(climatology, xr.Dataset) else climatology
        state = accumulate(
            metrics, forecast[name], truth[name], dims=dims, weights=weights, climatology=normal, nan=nan
        )
        results[name] = finalise(state, metrics).to_dataarray("metric")
    return xr.Dataset(results)


def score_one(metric: Metric, forecast: Field, truth: Field, **options: object) -> xr.DataArray:
    """Return one score as a DataArray: the body of every function that is named after a score."""
    return metric.value(accumulate(metric, forecast, truth, **options))  # type: ignore[arg-type]
