"""What the reports show: maps of units, losses of decisions, learning, policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conservation_decisions.evaluate.sensitivity import Change
from conservation_decisions.intervene.policy import PolicyGraph
from conservation_decisions.landscape import Floats, Landscape
from isopleth.report import Score, compare_bars, figure, line_with_interval, save_figure
from isopleth.report.style import BLUE, DIVERGING, GREEN, INK, MUTED, ORANGE, SEQUENTIAL, SKY


def draw_units(
    run_dir: Path,
    name: str,
    landscape: Landscape,
    layers: Mapping[str, NDArray[Any]],
    caption: str,
    *,
    coarsen_m: float = 0.0,
    lines: Sequence[list[int]] = (),
) -> Path:
    """Draw numbers of the units as maps side by side, each with its own colour bar.

    Parameters
    ----------
    run_dir, name, caption
        See `save_figure`.
    landscape : Landscape
        With centres.
    layers : mapping of title to array (unit,)
    coarsen_m : float
        Draw means over squares of this side instead of units; routes are then not drawn.
    lines : sequence of list of int
        Routes over units, drawn on the first map.
    """
    from conservation_decisions.output import coarsen, to_grid

    grid = None
    if coarsen_m:
        grid, lines = coarsen(landscape, layers, coarsen_m), ()
    elif "raster_transform" in landscape.dataset.attrs:
        grid = to_grid(landscape, layers)
    columns = min(3, len(layers))
    rows = -(-len(layers) // columns)
    with figure(rows, columns, height=3.1 * rows, squeeze=False) as (fig, panels):
        for ax, (title, values) in zip(panels.flat, layers.items(), strict=False):
            _draw_panel(ax, landscape, np.asarray(values, np.float64), None if grid is None else grid[title])
            ax.set_title(title, fontsize="small")
        for number, route in enumerate(lines):
            _draw_route(panels.flat[0], landscape.centres[route] / 1000, number)
        for ax in panels.flat[len(layers) :]:
            ax.set_visible(False)
        return save_figure(fig, run_dir, name, caption)


def _draw_route(ax: Any, places: Floats, number: int) -> None:
    """Draw a route a little beside the others, so that shared ways stay visible."""
    step = float(np.abs(np.diff(places, axis=0)).max(initial=0.0))
    x, y = (places + 0.15 * step * number).T
    color = (ORANGE, SKY, GREEN)[number % 3]
    ax.plot(x, y, color=color, linewidth=1.8)
    ax.plot(x[:1], y[:1], marker="s", color=color, markersize=5)


def _draw_panel(ax: Any, landscape: Landscape, values: Floats, grid: Any) -> None:
    known = values[np.isfinite(values)]
    signed = bool((known < 0).any())
    high = float(np.abs(known).max(initial=0.0)) or 1.0
    low = -high if signed else float(known.min(initial=high))
    style: dict[str, Any] = {"cmap": DIVERGING if signed else SEQUENTIAL, "vmin": low, "vmax": high}
    if grid is None:
        x, y = landscape.centres.T
        shown = ax.scatter(x, y, c=values, s=14, linewidths=0, **style)
    else:
        x, y = grid["x"].values / 1000, grid["y"].values / 1000
        field = np.ma.masked_invalid(grid.values)
        shown = ax.pcolormesh(x, y, field, shading="nearest", rasterized=True, **style)
        ax.set_xlabel("km")
    ax.set_aspect("equal")
    ax.grid(visible=False)
    ax.locator_params(nbins=4)
    ax.ticklabel_format(useOffset=False)
    ax.figure.colorbar(shown, ax=ax, shrink=0.75).outline.set_visible(False)


def draw_losses(run_dir: Path, score: Score, caption: str, *, name: str = "losses") -> None:
    """Draw the loss of the decision and of all others."""
    with figure(height=3.6) as (fig, ax):
        compare_bars(ax, [score])
        ax.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
        save_figure(fig, run_dir, name, caption)


def draw_learning(run_dir: Path, regret: Mapping[str, Floats], caption: str) -> None:
    """Draw cumulative regrets (seed, round) as means in the range of the seeds."""
    with figure(height=3.4) as (fig, ax):
        for name, runs in regret.items():
            turns = np.arange(1, runs.shape[1] + 1)
            line_with_interval(ax, turns, runs.mean(axis=0), (runs.min(axis=0), runs.max(axis=0)), label=name)
        ax.set_xlabel("round")
        ax.set_ylabel("cumulative regret (expected finds)")
        ax.legend()
        save_figure(fig, run_dir, "learning", caption)


def draw_policy(run_dir: Path, graph: PolicyGraph, observation: str, caption: str) -> None:
    """Draw what is done while one thing is observed again and again, and what is believed meanwhile."""
    node, beliefs, actions = 0, [], []
    for _ in range(sum(years for _, years in graph.runs(observation)) + 3):
        beliefs.append(graph.nodes[node].belief[0])
        actions.append(graph.nodes[node].action)
        node = graph.nodes[node].after.get(observation, node)
    year = np.arange(len(beliefs))
    names = list(dict.fromkeys(actions))
    with figure(height=3.0) as (fig, ax):
        ax.plot(year, beliefs, color=MUTED, linewidth=1, zorder=1)
        for name, color in zip(names, (BLUE, ORANGE, INK, MUTED), strict=False):
            own = np.array([action == name for action in actions])
            ax.scatter(year[own], np.array(beliefs)[own], color=color, label=name, s=42, zorder=2)
        ax.set_xlabel(f"years {observation}")
        ax.set_ylabel("chance that it is there")
        ax.set_ylim(0, 1.05)
        ax.legend(title="do this year")
        save_figure(fig, run_dir, "policy", caption)


def draw_sensitivity(run_dir: Path, changes: Sequence[Change], caption: str) -> None:
    """Draw a tornado: the change of the objective when each assumption is moved down and up."""
    shown = list(changes)[:10][::-1]
    places = np.arange(len(shown))
    with figure(height=0.8 + 0.32 * len(shown)) as (fig, ax):
        ax.barh(places, [one.low for one in shown], color=ORANGE, label="moved down", height=0.7)
        ax.barh(places, [one.high for one in shown], color=BLUE, label="moved up", height=0.7)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set_yticks(places, [one.assumption for one in shown])
        ax.set_xlabel("change of the objective")
        ax.grid(visible=False, axis="y")
        ax.legend()
        save_figure(fig, run_dir, "sensitivity", caption)
