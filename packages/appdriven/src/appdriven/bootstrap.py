"""Intervals from sums: what a time step and a tile of space contribute is added up once, then resampled."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from scipy.stats import norm, t

from isopleth.errors import ConfigError, DataError
from isopleth.verify import (
    DieboldMariano,
    Interval,
    Metric,
    State,
    accumulate,
    block_bootstrap,
    diebold_mariano,
    effective_sample_size,
    group_bootstrap,
    optimal_block_length,
)
from isopleth.verify.bootstrap import Compare
from isopleth.verify.state import MOMENT, MOMENTS

SAMPLE, TIME, TILE = "sample", "time", "tile"
# Rows of draws that are held at once, as (draw, step) pairs.
_BATCH = 2**21
# Bytes of one field that `accumulate_fields` works on at once.
_PIECE = 2**22


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are made.

    Parameters
    ----------
    over : {"time", "group", "space-time"}
        Moving blocks of time; whole groups; or blocks of time and tiles of space together.
    block : int or "auto"
        Steps in a block of time; by default the length at which the mean of the score errs least.
    draws, level, seed
        As for `isopleth.verify.block_bootstrap`.
    """

    over: Literal["time", "group", "space-time"] = "time"
    block: int | Literal["auto"] = "auto"
    draws: int = 1000
    level: float = 0.95
    seed: int = 0


def sample_state(
    metric: Metric | Sequence[Metric], prediction: np.ndarray, truth: np.ndarray, weight: np.ndarray
) -> State:
    """Return each sample's contribution to metrics: a state that keeps the dimension ``sample``."""
    pair = (xr.DataArray(values, dims=SAMPLE) for values in (prediction, truth))
    state = accumulate(metric, *pair, dims=())
    moments = xr.DataArray(
        np.stack([weight, weight, weight > 0]), dims=(MOMENT, SAMPLE), coords={MOMENT: list(MOMENTS)}
    )
    table = {name: values.transpose(MOMENT, SAMPLE) * moments for name, values in state.table.items()}
    return State(xr.Dataset(table), state.metrics, state.sliced)


def gather(
    state: State, step: np.ndarray, tile: np.ndarray | None = None, *, shape: tuple[int, int] | None = None
) -> State:
    """Add samples up by time step and tile.

    Parameters
    ----------
    state : State
        From `sample_state`.
    step, tile : array of int, shape (sample,)
        Numbers from 0, of times (or groups) and of blocks of space. Without tiles there is one.
    shape : (int, int), optional
        How many steps and tiles there are; by default up to the highest that occurs.

    Returns
    -------
    State
        On (time, tile); what has no sample has no weight.
    """
    tile = np.zeros_like(step) if tile is None else tile
    shape = shape or (int(step.max()) + 1, int(tile.max()) + 1)
    cell = step * shape[1] + tile

    def add(values: np.ndarray) -> np.ndarray:
        size = shape[0] * shape[1]
        return np.stack([np.bincount(cell, row, size).reshape(shape) for row in values])

    table = {name: ((MOMENT, TIME, TILE), add(np.asarray(values))) for name, values in state.table.items()}
    return State(xr.Dataset(table, {MOMENT: list(MOMENTS)}), state.metrics, state.sliced)


def accumulate_fields(
    metric: Metric | str,
    forecast: xr.DataArray,
    truth: xr.DataArray,
    *,
    tiles: np.ndarray,
    weights: np.ndarray,
) -> State:
    """Add fields up by time step and tile, some steps at a time, in an order that no chunking changes.

    Parameters
    ----------
    metric : Metric or str
    forecast, truth : DataArray, dims (time, lat, lon)
        In memory or under dask, in any chunks.
    tiles : array of int, shape (lat, lon)
        Numbers from 0; see `isopleth.fields.tile_labels`.
    weights : array, shape (lat, lon)
        Areas of the cells.

    Returns
    -------
    State
        On (time, tile). The same bits however the fields are chunked: each step is summed by itself, over
        whole fields, tile by tile.
    """
    if forecast.sizes != truth.sizes:
        raise DataError(
            f"forecast and truth must be of one shape, got {dict(forecast.sizes)} and {dict(truth.sizes)}"
        )
    masks = xr.DataArray(
        [(tiles == number) * weights for number in np.unique(tiles)], dims=(TILE, "lat", "lon")
    )
    kept = [
        accumulate(metric, left, right, dims=("lat", "lon"), weights=masks).compute()
        for left, right in _pieces(forecast, truth)
    ]
    table = xr.concat([state.table for state in kept], TIME)
    return State(table.transpose(MOMENT, TIME, TILE), kept[0].metrics, kept[0].sliced)


def _pieces(*fields: xr.DataArray) -> Iterator[list[xr.DataArray]]:
    """Yield the fields some whole steps at a time, in memory."""
    steps = max(1, int(_PIECE // max(1, fields[0].nbytes // fields[0].sizes[TIME])))
    for start in range(0, fields[0].sizes[TIME], steps):
        yield [
            field.isel(time=slice(start, start + steps)).transpose(TIME, "lat", "lon").compute()
            for field in fields
        ]


def bootstrap(
    state: State,
    metric: Metric,
    how: Resampling,
    *,
    against: State | None = None,
    compare: Compare = operator.sub,
) -> Interval:
    """Return the interval of a score, or of the comparison of two on the same samples (paired).

    Times and groups are the core's `block_bootstrap` and `group_bootstrap`. For blocks of space and time a
    draw takes moving blocks of consecutive steps [1]_ and, independently, as many tiles as there are with
    replacement; a tile's step counts as often as its step was drawn times as often as its tile was [2]_. That
    product never understates what both kinds of dependence do to a mean, and is a little too wide where only
    one of them is there. Only sums are drawn, so the cost does not depend on the number of cells.

    Parameters
    ----------
    state, against : State
        From `gather` or `accumulate_fields`; for ``over="group"`` a step is a group.
    metric : Metric
    how : Resampling
    compare : callable
        Of the two scores; the difference by default.

    Raises
    ------
    DataError
        If there is nothing to resample: one group, one step, or one tile.

    References
    ----------
    .. [1] Kunsch, H. R. (1989), The jackknife and the bootstrap for general stationary observations,
       Ann. Stat. 17.
    .. [2] Owen, A. B. (2007), The pigeonhole bootstrap, Ann. Appl. Stat. 1.
    """
    options = {
        "against": against,
        "metric": metric,
        "draws": how.draws,
        "level": how.level,
        "compare": compare,
    }
    if how.over == "space-time":
        return _bootstrap_space_time(state, metric, how, against, compare)
    sums = _sum_tiles(state)
    options["against"] = None if against is None else _sum_tiles(against)
    if how.over == "group":
        labels = np.arange(sums.table.sizes[TIME])
        return group_bootstrap(sums, labels, dim=TIME, seed=how.seed, **options)  # type: ignore[arg-type]
    return block_bootstrap(sums, dim=TIME, block=how.block, seed=how.seed, **options)  # type: ignore[arg-type]


def _sum_tiles(state: State) -> State:
    return State(state.table.sum(TILE), state.metrics, state.sliced)


def _bootstrap_space_time(
    state: State, metric: Metric, how: Resampling, against: State | None, compare: Compare
) -> Interval:
    arms = [arm for arm in (state, against) if arm is not None]
    sums = [_as_array(arm, metric) for arm in arms]
    _check_alike(sums)
    steps, tiles = sums[0].shape[1:]
    block = _choose_block(sums, metric, compare) if how.block == "auto" else how.block
    if not 1 <= block <= steps:
        raise ConfigError(f"block must be from 1 to the {steps} steps, got {block}")
    by_step, by_tile = (np.random.default_rng([how.seed, stream]) for stream in (0, 1))
    tile_counts = by_tile.multinomial(tiles, np.full(tiles, 1 / tiles), size=how.draws).astype(np.float64)
    drawn = [np.empty((arm.shape[0], how.draws)) for arm in sums]
    for rows in np.array_split(np.arange(how.draws), max(1, how.draws * steps // _BATCH)):
        counts = _count_steps(by_step, rows.size, steps, block)
        for arm, into in zip(sums, drawn, strict=True):
            into[:, rows] = np.einsum("qdp,dp->qd", counts @ arm, tile_counts[rows])
    scores = _compare([_score(arm, metric) for arm in drawn], compare)
    value = float(_compare([_score(arm.sum(axis=(1, 2)), metric) for arm in sums], compare))
    tail = _expand_tail((1 - how.level) / 2, min(steps / block, tiles))
    low, high = np.quantile(scores[np.isfinite(scores)], [tail, 1 - tail])
    return Interval(float(low), float(high), value, how.level, block)


def _check_alike(sums: list[np.ndarray]) -> None:
    shapes = {arm.shape[1:] for arm in sums}
    if len(shapes) > 1:
        raise DataError(f"paired samples must be on the same steps and tiles, got {sorted(shapes)}")
    steps, tiles = shapes.pop()
    if steps < 2 or tiles < 2:
        raise DataError(f"blocks of space and time need two steps and two tiles, got {steps} and {tiles}")


def _choose_block(sums: list[np.ndarray], metric: Metric, compare: Compare) -> int:
    """Choose the length of blocks by the series of scores, space added up."""
    series = _compare([_score(arm.sum(axis=2), metric) for arm in sums], compare)
    return optimal_block_length(series) if np.isfinite(series).any() else 1


def _as_array(state: State, metric: Metric) -> np.ndarray:
    """Return (quantity, step, tile): sum and weight of each statistic."""
    table = state.table[list(metric.statistics)].sel({MOMENT: ["sum", "weight"]})
    stacked = table.to_dataarray("statistic").transpose("statistic", MOMENT, TIME, TILE).to_numpy()
    return np.ascontiguousarray(stacked.reshape(-1, *stacked.shape[2:]))


def _score(quantities: np.ndarray, metric: Metric) -> np.ndarray:
    """Return the score that sums make, quantities along the first axis."""
    sums, weights = quantities[::2], quantities[1::2]
    dims = [f"axis_{axis}" for axis in range(quantities.ndim - 1)]
    means = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)
    named = {name: xr.DataArray(mean, dims=dims) for name, mean in zip(metric.statistics, means, strict=True)}
    return np.asarray(metric.of_means(named))


def _compare(scores: list[np.ndarray], compare: Compare) -> np.ndarray:
    if len(scores) == 1:
        return scores[0]
    return np.asarray(compare(*(xr.DataArray(score) for score in scores)))


def _count_steps(generator: np.random.Generator, draws: int, steps: int, block: int) -> np.ndarray:
    """Count how often each step is in moving blocks that together are as long as the series, (draw, step)."""
    number = -(-steps // block)
    starts = generator.integers(0, steps - block + 1, size=(draws, number))
    lengths = np.full(number, block)
    lengths[-1] = steps - (number - 1) * block
    edges = np.zeros((draws, steps + 1))
    row = np.broadcast_to(np.arange(draws)[:, None], starts.shape)
    np.add.at(edges, (row, starts), 1.0)
    np.add.at(edges, (row, starts + lengths), -1.0)
    return np.asarray(np.cumsum(edges, axis=1)[:, :-1])


def _expand_tail(tail: float, blocks: float) -> float:
    """Return the tail at which draws of few blocks are as wide as Student's t (Hesterberg 2015)."""
    freedom = max(blocks, 2.0) - 1
    return float(norm.cdf(t.ppf(tail, freedom) * ((freedom + 1) / freedom) ** 0.5))


@dataclass(frozen=True)
class Dependence:
    """How much a series of losses tells: steps, and how many independent ones they are worth."""

    steps: int
    effective: float
    diebold_mariano: DieboldMariano | None = None


def measure_dependence(
    loss: np.ndarray, reference: np.ndarray | None = None, *, horizon: int = 1
) -> Dependence:
    """Measure a series of losses' effective sample size and, against a reference, the Diebold-Mariano test.

    Parameters
    ----------
    loss, reference : array, shape (step,)
        Mean losses at the same steps, in order; NaN where a step has none.
    horizon : int
        Lead in steps.
    """
    series = loss if reference is None else loss - reference
    present = int(np.isfinite(series).sum())
    if present < 3:
        return Dependence(present, float(present))
    test = None if reference is None else diebold_mariano(loss, reference, horizon=min(horizon, present - 1))
    return Dependence(present, effective_sample_size(series), test)


def number_steps(times: Iterable[object]) -> np.ndarray:
    """Give each sample the number of its time, from 0, in the order of times."""
    from isopleth.fields.times import ticks

    return np.unique(ticks(np.asarray(times)), return_inverse=True)[1]
