"""Bootstrap intervals of scores, by blocks of time or by groups, from sums and never from fields."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.special import ndtr, stdtrit

from isopleth.errors import ConfigError, DataError
from isopleth.verify.dependence import optimal_block_length
from isopleth.verify.metric import Metric, lookup
from isopleth.verify.state import MOMENT, State

Sample: TypeAlias = State | xr.DataArray | ArrayLike
Compare: TypeAlias = Callable[[xr.DataArray, xr.DataArray], xr.DataArray]
Seed: TypeAlias = int | np.random.Generator

# Counts of starts are held for this many (draw, step) pairs at a time.
_BATCH = 2**23
_ARM, _STATISTIC, _DRAW = "arm", "statistic", "draw"
_MEAN = Metric("mean", {"value": lambda pair: pair.forecast}, lambda means: means["value"])


@dataclass(frozen=True, eq=False)
class Interval:
    """Hold a bootstrap interval: floats, or DataArrays on the dimensions that were kept.

    Parameters
    ----------
    value : float or DataArray
        The score of the whole sample.
    low, high : float or DataArray
        The ends of the interval.
    level : float
        Its nominal probability.
    block : int or DataArray
        The length of the blocks, in steps; 1 for groups.
    """

    low: float | xr.DataArray
    high: float | xr.DataArray
    value: float | xr.DataArray
    level: float
    block: int | xr.DataArray

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends as plain numbers, of an interval that has no dimensions."""
        return float(self.low), float(self.high)

    def contains(self, value: float | xr.DataArray) -> bool | xr.DataArray:
        """Return whether a value lies in the interval, ends included."""
        return (self.low <= value) & (value <= self.high)


def block_bootstrap(
    sample: Sample,
    *,
    seed: Seed,
    against: Sample | None = None,
    metric: str | Metric | None = None,
    dim: str = "time",
    block: int | Literal["auto"] = "auto",
    draws: int = 1000,
    level: float = 0.95,
    compare: Compare = operator.sub,
) -> Interval:
    """Return a moving-block bootstrap interval of a score, or of the difference of two.

    A draw strings together ceil(n / b) blocks of b consecutive steps, each starting anywhere with equal
    chance, the last one cut so that n steps result [1]_; the statistics' sums over the draw make the
    score. The ends are the quantiles q and 1 - q of all draws, with q = Phi(sqrt(k / (k - 1)) t) and t
    the (1 - level) / 2 quantile of Student's t with k - 1 degrees of freedom for k = n / b blocks: the
    expanded percentile interval [2]_, for plain percentiles are too narrow with few blocks. Blocks keep
    the dependence up to their length, which resampling single steps (``block=1``) destroys. Only sums
    over blocks are resampled, so the cost does not depend on the size of the fields.

    The interval is for the score that an endless stationary series would have. It is still a little too
    narrow in short, strongly dependent series: on AR(1) series with a coefficient of 0.7 (0.8), a nominal
    95 % covers 90 (89) % at n = 200 and 93 (93) % at n = 2000, where single steps cover 58 (48) %. Steps
    where nothing is present have no weight.

    Parameters
    ----------
    sample : State, DataArray or array
        A state that keeps `dim` (``accumulate(..., dims=("lat", "lon"))``); or plain values along
        `dim`, whose mean is the score. Steps should be equal.
    against : optional
        A second sample on the same steps: the interval is of ``compare(score, score_against)`` with
        both drawn alike (paired).
    metric : str or Metric, optional
        Which score of the state; its only one by default.
    dim : str
        The dimension to resample; the first axis of a bare array. Others that are kept, such as lead,
        give an interval each, the same as if taken alone.
    block : int or "auto"
        Length b; by default `optimal_block_length` of the score's series (or of the paired differences).
    draws : int
        Number of draws.
    level : float
        Nominal probability of the interval.
    seed : int or Generator
        The same integer gives the same interval, bit by bit, however the state was computed.
    compare : callable
        Of the two scores; the difference by default. ``lambda a, b: 1 - a / b`` for a skill score.

    Raises
    ------
    ConfigError
        If a setting is out of range or the state does not keep `dim`.
    DataError
        If the two samples are not on the same steps, or there are fewer than two.

    References
    ----------
    .. [1] Kunsch, H. R. (1989), The jackknife and the bootstrap for general stationary observations,
       Ann. Stat. 17.
    .. [2] Hesterberg, T. C. (2015), What teachers should know about the bootstrap, Am. Stat. 69.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(size=400)
    >>> interval = block_bootstrap(values, seed=1)
    >>> bool(interval.low < values.mean() < interval.high)
    True
    """
    plan = _Plan.of(sample, against, metric, dim, compare)
    size = plan.sums.sizes[dim]
    if block != "auto" and not 1 <= block <= size:
        raise ConfigError(f"block must be 'auto' or from 1 to the number of steps, {size}, got {block}")
    lengths = plan.block_lengths() if block == "auto" else plan.fixed_lengths(block)
    return _interval(plan, plan.sums, lengths, draws, level, seed)


def group_bootstrap(
    sample: Sample,
    groups: ArrayLike,
    *,
    seed: Seed,
    against: Sample | None = None,
    metric: str | Metric | None = None,
    dim: str = "time",
    draws: int = 1000,
    level: float = 0.95,
    compare: Compare = operator.sub,
) -> Interval:
    """Return a bootstrap interval from resampling whole groups: storms, seasons, basins, floats.

    A draw takes as many groups as there are, with replacement, each with all its members [1]_, so that
    the members of a group may depend on each other in any way while groups are independent. Groups of
    different sizes enter with their weights (a ratio estimator). Too narrow with few groups: below
    about 20, do not trust it.

    Parameters
    ----------
    groups : array, shape (n,)
        The label of each point along `dim`; their order does not matter.
    sample, against, metric, dim, draws, level, seed, compare
        As for `block_bootstrap`.

    Raises
    ------
    DataError
        If there is not one label per point, or only one group.

    References
    ----------
    .. [1] Davison, A. C. and D. V. Hinkley (1997), Bootstrap Methods and their Application, section 3.8.
    """
    plan = _Plan.of(sample, against, metric, dim, compare)
    labels = np.asarray(groups)
    if labels.shape != (plan.sums.sizes[dim],):
        raise DataError(
            f"groups must have shape ({plan.sums.sizes[dim]},), one label a point, got {labels.shape}"
        )
    names, number = np.unique(labels, return_inverse=True)
    if names.size < 2:
        raise DataError(f"groups must be at least two, got {names.tolist()}")
    order = np.argsort(number, kind="stable")
    firsts = np.searchsorted(number[order], np.arange(names.size))
    summed = np.add.reduceat(plan.sums.to_numpy()[order], firsts, axis=0)
    sums = plan.sums.isel({dim: slice(names.size)}).drop_vars(dim, errors="ignore").copy(data=summed)
    return _interval(plan, sums, plan.fixed_lengths(1), draws, level, seed)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The sums to resample, (dim, arm, statistic, moment, *kept), and the score they make."""

    sums: xr.DataArray
    of_means: Callable[[Mapping[str, xr.DataArray]], xr.DataArray]
    compare: Compare
    dim: str

    @classmethod
    def of(
        cls, sample: Sample, against: Sample | None, metric: str | Metric | None, dim: str, compare: Compare
    ) -> _Plan:
        states = [_as_state(arm, dim) for arm in (sample, against) if arm is not None]
        chosen = _chosen(states[0], metric)
        tables = [_sums(state, chosen, dim) for state in states]
        try:
            tables = list(xr.align(*tables, join="exact"))
        except ValueError as error:
            raise DataError(
                f"paired samples must be on the same points, got {[dict(table.sizes) for table in tables]}",
                hint=str(error).splitlines()[0],
            ) from error
        sums = xr.concat(tables, _ARM).transpose(dim, _ARM, _STATISTIC, MOMENT, ...)
        # The order in which numpy adds depends on the layout in memory, which dask leaves open.
        sums = sums.copy(data=np.ascontiguousarray(sums.to_numpy()))
        if sums.sizes[dim] < 2:
            raise DataError(f"a bootstrap needs at least two points along {dim!r}, got {sums.sizes[dim]}")
        return cls(
            sums, (lambda means: means["value"]) if chosen.per_slice else chosen.of_means, compare, dim
        )

    def score(self, sums: xr.DataArray) -> xr.DataArray:
        """Return the score that sums make, compared if there are two arms."""
        weight = sums.sel({MOMENT: "weight"}, drop=True)
        means = sums.sel({MOMENT: "sum"}, drop=True) / weight.where(weight > 0)
        scores = self.of_means(
            {str(name): means.sel({_STATISTIC: name}, drop=True) for name in means[_STATISTIC].values}
        )
        arms = [scores.isel({_ARM: arm}) for arm in range(scores.sizes[_ARM])]
        return arms[0] if len(arms) == 1 else self.compare(*arms)

    def block_lengths(self) -> xr.DataArray:
        """Return the best block length of each kept cell, from its series of scores."""
        series = self.score(self.sums).transpose(self.dim, ...)
        flat = series.to_numpy().reshape(series.sizes[self.dim], -1)
        lengths = [optimal_block_length(cell) if np.isfinite(cell).any() else 1 for cell in flat.T]
        return series.isel({self.dim: 0}, drop=True).copy(data=np.reshape(lengths, series.shape[1:]))

    def fixed_lengths(self, block: int) -> xr.DataArray:
        """Return one block length for all kept cells."""
        cell = self.sums.isel({self.dim: 0, _ARM: 0, _STATISTIC: 0, MOMENT: 0}, drop=True)
        return cell.copy(data=np.full(cell.shape, block))


def _interval(
    plan: _Plan, sums: xr.DataArray, lengths: xr.DataArray, draws: int, level: float, seed: Seed
) -> Interval:
    if not 0 < level < 1 or draws < 2:
        raise ConfigError(f"level must lie between 0 and 1 and draws be at least 2, got {level} and {draws}")
    # A Generator gives one number, from which every cell starts afresh: cells do not depend on each other.
    start = int(seed.integers(2**63)) if isinstance(seed, np.random.Generator) else int(seed)
    values = sums.to_numpy()
    flat = values.reshape(values.shape[0], int(np.prod(values.shape[1:4])), -1)
    cell_lengths = lengths.broadcast_like(plan.fixed_lengths(1)).transpose(*sums.dims[4:])
    drawn = _resample(flat, cell_lengths.to_numpy().ravel(), draws, start)
    table = sums.isel({plan.dim: 0}, drop=True).expand_dims({_DRAW: draws})
    scores = plan.score(table.copy(data=drawn.reshape(table.shape)))
    tail = _expanded_tail((1 - level) / 2, values.shape[0] / lengths)
    low, high = (_quantile(scores, q) for q in (tail, 1 - tail))
    value = plan.score(plan.sums.sum(plan.dim))
    return Interval(
        _simple(low), _simple(high), _simple(value), level, lengths if lengths.ndim else int(lengths)
    )


def _resample(sums: np.ndarray, lengths: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return (draws, quantity, cell): sums over strings of blocks of sums (n, quantity, cell)."""
    drawn = np.empty((draws, *sums.shape[1:]))
    for length in np.unique(lengths):
        cells = np.flatnonzero(lengths == length)
        drawn[:, :, cells] = _block_sums(sums[:, :, cells], int(length), draws, np.random.default_rng(seed))
    return drawn


def _block_sums(sums: np.ndarray, length: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    size = sums.shape[0]
    full, rest = divmod(size, length)
    starts = generator.integers(0, size - length + 1, size=(draws, full + (rest > 0)))
    columns = sums.reshape(size, -1)
    blocks = _moving_sums(columns, length)
    batches = np.array_split(starts[:, :full], -(-draws * size // _BATCH))
    drawn = np.concatenate([_how_often(batch, len(blocks)) @ blocks for batch in batches])
    if rest:
        drawn += _moving_sums(columns, rest)[starts[:, full]]
    return drawn.reshape(draws, *sums.shape[1:])


def _how_often(starts: np.ndarray, size: int) -> np.ndarray:
    """Return (draw, start): how often each start occurs, so that the sum over blocks is one product."""
    counts = np.zeros((len(starts), size))
    np.add.at(counts, (np.arange(len(starts))[:, None], starts), 1.0)
    return counts


def _moving_sums(values: np.ndarray, length: int) -> np.ndarray:
    """Return the sum over each run of `length` rows, built from runs of 1, 2, 4, ... rows."""
    count = len(values) - length + 1
    total, offset, run = np.zeros((count, *values.shape[1:])), 0, 1
    while True:
        if length & run:
            total += values[offset : offset + count]
            offset += run
        if offset == length:
            return total
        values = values[:-run] + values[run:]
        run *= 2


def _expanded_tail(tail: float, blocks: xr.DataArray) -> xr.DataArray:
    """Return the tail probability at which quantiles of draws of k blocks are as wide as Student's t."""
    freedom = np.maximum(blocks, 2.0) - 1
    return xr.apply_ufunc(ndtr, stdtrit(freedom, tail) * ((freedom + 1) / freedom) ** 0.5)


def _quantile(scores: xr.DataArray, q: xr.DataArray) -> xr.DataArray:
    with np.errstate(invalid="ignore"):  # between two infinite draws
        return xr.apply_ufunc(np.quantile, scores, q, input_core_dims=[[_DRAW], []], vectorize=True)


def _as_state(sample: Sample, dim: str) -> State:
    """Take plain values as a state whose score is their mean."""
    if isinstance(sample, State):
        return sample
    if not isinstance(sample, xr.DataArray):
        values = np.asarray(sample, float)
        sample = xr.DataArray(
            values, dims=[dim, *(f"axis_{axis}" for axis in range(1, values.ndim))][: values.ndim]
        )
    return State.of({"value": sample.reset_coords(drop=True).astype(float)}, dims=())


def _chosen(state: State, metric: str | Metric | None) -> Metric:
    if metric is not None:
        return lookup(metric)[0]
    if not state.metrics:
        return _MEAN
    if len(state.metrics) > 1:
        raise ConfigError(f"metric must be one of {state.metrics}, got None")
    return lookup(state.metrics[0])[0]


def _sums(state: State, metric: Metric, dim: str) -> xr.DataArray:
    """Return (statistic, moment, dim, *kept), the moments being sum and weight."""
    if metric.per_slice:  # the mean over slices is resampled, not what each slice is made of
        slices = metric.by_slice(state)
        slices = slices.mean([name for name in state.sliced if name != dim and name in slices.dims])
        table = State.of({"value": slices}, dims=()).table
    else:
        metric.by_slice(state)  # refuses a state of other statistics
        table = state.table[list(metric.statistics)]
    if dim not in table.dims:
        raise ConfigError(
            f"dim must be a dimension that the sample keeps, {tuple(table.dims)}, got {dim!r}",
            hint=f"leave {dim!r} out of dims in accumulate()",
        )
    return table.sel({MOMENT: ["sum", "weight"]}).to_dataarray(_STATISTIC)


def _simple(values: xr.DataArray) -> float | xr.DataArray:
    return values if values.ndim else float(values)
