"""Which signal did what: Shapley values of the projected trend, permutation importance on held-out rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, require
from isopleth.fields import tile_labels
from isopleth.sealevel.rows import Floats, Rows
from isopleth.verify import Interval, Metric, State, group_bootstrap
from sealevel_projection.config import AttributionConfig
from sealevel_projection.experiments import fit_slopes

Predict = Callable[[Rows], Floats]
Groups = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Contributions:
    r"""What each signal adds to the projected trend of each cell, mm/year.

    Attributes
    ----------
    signals : tuple of str
    cells : array of int, shape (cell,)
        Places in the flattened grid.
    values : array, shape (signal, cell)
        Shapley values: over signals they sum to the trend less `base`.
    base : array, shape (cell,)
        The trend that is projected where no signal changes.
    exact : bool
        Whether all coalitions were computed.
    """

    signals: tuple[str, ...]
    cells: np.ndarray
    values: Floats
    base: Floats
    exact: bool

    @property
    def total(self) -> Floats:
        """The projected trend, shape (cell,)."""
        return np.asarray(self.base + self.values.sum(axis=0))


def single_signals(rows: Rows) -> dict[str, tuple[str, ...]]:
    """Let each signal be a player of its own."""
    return {name: (name,) for name in rows.features}


def shapley_of_trends(
    predict: Predict, rows: Rows, config: AttributionConfig, *, groups: Groups | None = None
) -> Contributions:
    r"""Share the projected trend of every cell out among the signals.

    The game: the signals of a coalition S change as the models say, the others stay at their reference (0),
    and its worth is the trend of the prediction. A signal's Shapley value

    .. math:: \varphi_k = \sum_{S \not\ni k} \frac{|S|!\,(K - |S| - 1)!}{K!}\,\big(v(S \cup k) - v(S)\big)

    is its mean worth over all orders of joining (Lundberg and Lee 2017), computed by `shap` for all cells at
    once: from all coalitions of up to `AttributionConfig.exact_up_to` signals, else from random orders. For
    a linear prediction it is the coefficient times the trend of the signal.

    Parameters
    ----------
    predict : callable
        Of rows; shape (n,).
    rows : Rows
        Of the projected times, as departures from their reference.
    config : AttributionConfig
    groups : mapping of str to tuple of str, optional
        Signals that join together, by the name of their group; each alone by default.

    Returns
    -------
    Contributions
    """
    groups = single_signals(rows) if groups is None else groups
    players = np.array([[name in members for name in rows.features] for members in groups.values()])
    if (players.sum(axis=0) != 1).any():
        raise ConfigError(f"groups must hold each of {', '.join(rows.features)} once, got {dict(groups)}")
    cells, place = np.unique(rows.cell, return_inverse=True)

    def worth(coalitions: Any) -> Floats:
        kept = np.asarray(coalitions, dtype=np.float64) @ players
        trends = [fit_slopes(rows.years, predict(rows.with_inputs(rows.inputs * one)), place) for one in kept]
        return np.stack(trends)

    exact = len(groups) <= config.exact_up_to
    found = _explain(worth, len(groups), config, exact=exact)
    return Contributions(
        signals=tuple(groups),
        cells=cells,
        # shap drops the axis of a single cell.
        values=np.asarray(found.values, dtype=np.float64).reshape(len(groups), len(cells)),
        base=np.asarray(found.base_values, dtype=np.float64).reshape(-1),
        exact=exact,
    )


def _explain(worth: Callable[[Any], Floats], players: int, config: AttributionConfig, *, exact: bool) -> Any:
    """Ask shap for the Shapley values of a game, whose coalitions are its inputs themselves."""
    with warnings.catch_warnings():
        # shap 0.51 sets colours by a function that matplotlib 3.11 is about to deprecate.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        shap = require("shap", install="shap", purpose="share projections out among signals")

    def show(mask: Any, _everyone: Any) -> tuple[Any]:
        return (np.asarray(mask, dtype=np.float64)[None],)

    everyone = np.ones((1, players))
    if exact:
        return shap.explainers.Exact(worth, show)(everyone, silent=True, max_evals=2**players)
    explainer = shap.explainers.Permutation(worth, show, seed=config.seed)
    return explainer(everyone, silent=True, max_evals=config.permutations * (2 * players + 1))


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """A signal's mean contribution to the projected trend over a region, mm/year, with its 95 % interval.

    Attributes
    ----------
    signal, region : str
    mean : float
        By area.
    interval : (float, float)
        From resampling blocks of space.
    size : float
        Area mean of its absolute value.
    seeds : (float, float), optional
        Least and largest mean over the networks of the ensemble.
    """

    signal: str
    region: str
    mean: float
    interval: tuple[float, float]
    size: float
    seeds: tuple[float, float] | None = None


def summarise_contributions(
    found: Contributions,
    rows: Rows,
    names: Sequence[str],
    *,
    members: Sequence[Contributions] = (),
    seed: int = 0,
) -> list[Contribution]:
    """Average contributions over the ocean and over each segment.

    Parameters
    ----------
    found : Contributions
        Of the ensemble's mean.
    rows : Rows
        That they are of.
    names : sequence of str
        Of the segments.
    members : sequence of Contributions
        Of each network of the ensemble alone.
    seed : int
        Of the bootstrap over blocks of space.
    """
    _, first = np.unique(rows.cell, return_index=True)
    weight, segment = rows.weight[first], rows.segment[first]
    block = tile_labels(rows.lat[first], rows.lon[first])
    regions: dict[str, np.ndarray] = {"ocean": np.ones(len(first), dtype=bool)}
    regions |= (
        {names[k].replace("_", " "): segment == k for k in np.unique(segment)} if len(names) > 1 else {}
    )
    out = []
    for k, signal in enumerate(found.signals):
        for region, own in regions.items():
            values, w = found.values[k, own], weight[own]
            each = [float(np.average(one.values[k, own], weights=w)) for one in members]
            interval = _interval_of_mean(values, w, block[own], seed)
            out.append(
                Contribution(
                    signal=signal,
                    region=region,
                    mean=float(np.average(values, weights=w)),
                    interval=interval.ends,
                    size=float(np.average(np.abs(values), weights=w)),
                    seeds=(min(each), max(each)) if each else None,
                )
            )
    return out


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much worse predictions of a region become without a signal's information, mm².

    Attributes
    ----------
    signal, region : str
    increase : float
        Of the mean squared error, by area.
    interval : (float, float)
        95 %, from resampling blocks of space.
    """

    signal: str
    region: str
    increase: float
    interval: tuple[float, float]


def permutation_importance(
    predict: Predict,
    rows: Rows,
    config: AttributionConfig,
    *,
    names: Sequence[str] = (),
    groups: Groups | None = None,
) -> list[Importance]:
    r"""Measure by how much the squared error grows when a signal is dealt out anew among rows.

    Breiman (2001), with the rows of a region alone dealt among each other. For independent signals and a
    linear prediction the increase is :math:`2\beta_k^2 \operatorname{Var} x_k`. Signals that say the same
    stand in for each other: then each looks unimportant, and a group of them is what to ask about.

    Parameters
    ----------
    predict : callable
    rows : Rows
        With targets, that the prediction was not fitted to.
    config : AttributionConfig
        Of repeats and seed.
    names : sequence of str
        Of the segments; with more than one, each is a region as well.
    groups : mapping of str to tuple of str, optional
        Signals that are dealt together.
    """
    groups = single_signals(rows) if groups is None else groups
    regions: dict[str, np.ndarray] = {"ocean": np.arange(len(rows))}
    if len(names) > 1:
        regions |= {
            names[k].replace("_", " "): np.flatnonzero(rows.segment == k) for k in np.unique(rows.segment)
        }
    out = []
    for region, own in regions.items():
        part = rows.take(own)
        block = tile_labels(part.lat, part.lon)
        before = (predict(part) - part.target) ** 2
        for signal, members in groups.items():
            grown = _dealt_error(predict, part, members, config) - before
            interval = _interval_of_mean(grown, part.weight, block, config.seed)
            increase = float(np.average(grown, weights=part.weight))
            out.append(Importance(signal=signal, region=region, increase=increase, interval=interval.ends))
    return out


def _dealt_error(predict: Predict, rows: Rows, members: Sequence[str], config: AttributionConfig) -> Floats:
    """Return each row's squared error with some inputs dealt anew, averaged over repeats."""
    columns = [rows.features.index(name) for name in members]
    rng = np.random.default_rng(config.seed)
    total = np.zeros(len(rows))
    for _ in range(config.permutations):
        inputs = rows.inputs.copy()
        inputs[:, columns] = inputs[rng.permutation(len(rows))][:, columns]
        total += (predict(rows.with_inputs(inputs)) - rows.target) ** 2
    return total / config.permutations


def _interval_of_mean(values: Floats, weight: Floats, block: np.ndarray, seed: int) -> Interval:
    """Return the interval of a weighted mean from resampling blocks."""
    state = State.of(
        {"value": xr.DataArray(values, dims="point")}, dims=(), weights=xr.DataArray(weight, dims="point")
    )
    return group_bootstrap(
        state, block, metric=Metric("mean", {"value": lambda pair: pair.forecast}, lambda m: m["value"]),
        dim="point", seed=seed,
    )  # fmt: skip
