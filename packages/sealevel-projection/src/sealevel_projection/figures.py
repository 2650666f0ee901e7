"""What the report shows: maps, errors by test, contributions, coverage, and what was extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from isopleth.fields import measure_seams
from isopleth.grid import Grid
from isopleth.report import Score
from isopleth.report.figures import compare_bars, figure, line_with_interval, save_figure
from isopleth.report.maps import plot_map
from isopleth.report.style import INK, MUTED, ORANGE
from sealevel_projection.attribution import Contribution, Importance
from sealevel_projection.segments import Segments

_UNITS = "mm year-1"
_SHOWN = ("ensemble mean", "persistence", "scaling by cell", "ridge", "random forest")
_STATES = {"yes": "#0b5a8f", "added": "#56a5d8", "removed": "#c79a00", "no": "#dfe3e7", "unknown": "#ffffff"}


def draw_trends(run_dir: Path, trends: xr.Dataset, years: str, truth: xr.DataArray | None = None) -> None:
    """Draw the projected trend and the width of its interval, and truth and error where they are known."""
    grid = Grid.of(trends)
    limit = float(np.nanpercentile(np.abs(trends["trend"].values), 99))
    width = (trends["trend_upper"] - trends["trend_lower"]).values
    panels = {f"Projected, {years}": (trends["trend"].values, True), "Width of the interval": (width, False)}
    if truth is not None:
        panels["What came"] = (truth.values, True)
        panels["Projected less what came"] = (trends["trend"].values - truth.values, True)
    rows = len(panels) // 2
    with figure(rows, 2, height=2.7 * rows, squeeze=False) as (fig, axes):
        for ax, (title, (values, diverging)) in zip(axes.flat, panels.items(), strict=True):
            limits = (-limit, limit) if diverging else None
            plot_map(ax, values, grid, name="trend", units=_UNITS, diverging=diverging, limits=limits)
            ax.set_title(title)
        known = "; below, the trend that came, and the difference" if truth is not None else ""
        level = 100 * float(trends["trend_lower"].attrs["level"])
        save_figure(
            fig,
            run_dir,
            "trends",
            f"Sea level trend of {years} as projected, from the ocean's mean, and the width of its "
            f"{level:g} % interval{known}. White: land, or a cell that a model or the altimeter lacks.",
        )


def draw_segments(run_dir: Path, segments: Segments, trends: xr.Dataset, stability: float | None) -> None:
    """Draw the partition, and say how the projection jumps across its borders."""
    seams = measure_seams(trends["trend"], segments.labels)
    steady = (
        f" Clustered again with other seeds and halves of the years, partitions agree by a Rand index of "
        f"{stability:.2f}."
        if stability is not None
        else ""
    )
    jump = (
        f" Across borders neighbouring cells of the projection differ by {seams.jump:.2f} mm/year, inside "
        f"segments by {seams.inner:.2f}."
        if seams.pairs
        else ""
    )
    labels, count = segments.labels, len(segments.names)
    colours = 10 if count <= 10 else 20
    with figure(height=3.6) as (fig, ax):
        mesh = plot_map(
            ax,
            labels.where(labels >= 0).values,
            Grid.of(labels),
            name="segment",
            units="1",
            limits=(-0.5, colours - 0.5),
            cmap=f"tab{colours}",
        )
        bar = mesh.colorbar
        bar.ax.set_ylim(-0.5, min(count, colours) - 0.5)
        bar.set_ticks(range(count), labels=[name.replace("_", " ") for name in segments.names])
        bar.set_label("")
        save_figure(fig, run_dir, "segments", f"Segments, each with networks of its own.{steady}{jump}")


def draw_errors(run_dir: Path, scores: Sequence[Score]) -> None:
    """Draw the trend errors of the network and its baselines, a group a test."""
    chosen = [_with_shown(score) for score in scores if score.variable == "sea level trend"]
    with figure(height=3.8) as (fig, ax):
        compare_bars(ax, chosen, by="test")
        ax.set_ylabel("RMSE of the trend (mm/year)")
        ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        save_figure(
            fig,
            run_dir,
            "errors",
            "Root-mean-square error of trends by area, from zero. The line on the network's bar is its 95 % "
            "interval from resampling blocks of space; differences on the same blocks are in the claims, and "
            "the other partitions in the table.",
        )


def _with_shown(score: Score) -> Score:
    """Keep as many baselines as there are colours."""
    kept = {name: value for name, value in score.baselines.items() if name in _SHOWN}
    return replace(score, baselines=kept)


def draw_contributions(run_dir: Path, shares: Sequence[Contribution], *, exact: bool) -> None:
    """Draw what each signal adds to the projected trend, over the ocean and by segment."""
    regions = list(dict.fromkeys(one.region for one in shares))
    signals = list(dict.fromkeys(one.signal for one in shares))
    columns = min(3, len(regions))
    rows = -(-len(regions) // columns)
    height = 0.9 + rows * (0.9 + 0.2 * len(signals))
    with figure(rows, columns, height=height, squeeze=False, sharey=True, sharex=True) as (fig, axes):
        for ax, region in zip(axes.flat, regions, strict=False):
            own = [one for one in shares if one.region == region]
            places = np.arange(len(own))[::-1]
            ax.barh(places, [one.size for one in own], color=ORANGE, alpha=0.45, label="mean size")
            ax.plot([one.mean for one in own], places, "o", color=INK, label="mean")
            ax.hlines(places, *zip(*(one.interval for one in own), strict=True), color=INK)
            ax.set_yticks(places, [one.signal.replace("_", " ") for one in own])
            ax.axvline(0, color=MUTED, linewidth=0.8)
            ax.set_title(region)
            ax.grid(visible=False, axis="y")
        for ax in axes.flat[len(regions) :]:
            ax.set_visible(False)
        fig.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        fig.supxlabel("contribution to the trend (mm/year)", fontsize=10)
        how = "all coalitions" if exact else "random orders"
        save_figure(
            fig,
            run_dir,
            "contributions",
            f"Shapley values of the projected trend, from {how} of signals: what each adds where the others "
            "change or stay at their reference. Dots: area mean with its 95 % interval from resampling "
            "blocks of space. Bars: area mean of the size, which does not cancel.",
        )


def draw_importance(run_dir: Path, found: Sequence[Importance]) -> None:
    """Draw by how much the squared error of unseen years grows without each signal's information."""
    ocean = [one for one in found if one.region == "ocean"]
    places = np.arange(len(ocean))[::-1]
    worst = {one.signal: one for one in sorted(found, key=lambda one: one.increase) if one.region != "ocean"}
    with figure(height=1.0 + 0.26 * len(ocean)) as (fig, ax):
        ax.hlines(places, *zip(*(one.interval for one in ocean), strict=True), color=INK)
        ax.plot([one.increase for one in ocean], places, "o", color=INK, label="ocean")
        if worst:
            most = [worst[one.signal].increase for one in ocean]
            ax.plot(most, places, "D", color=ORANGE, label="segment where it matters most")
        ax.set_yticks(places, [one.signal.replace("_", " ") for one in ocean])
        ax.axvline(0, color=MUTED, linewidth=0.8)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("increase of the mean squared error (mm²)")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        save_figure(
            fig,
            run_dir,
            "importance",
            "Permutation importance: growth of the squared error of the last years, for a network that "
            "did not see them, when a signal is dealt out anew among rows; with its 95 % interval from "
            "resampling blocks of space. Models that say the same stand in for each other.",
        )


def draw_outside(run_dir: Path, outside: xr.DataArray) -> None:
    """Draw how much of the ocean has inputs that no training row had, by year."""
    years = outside["time"].dt.year.values
    with figure(height=3.0) as (fig, ax):
        for name in outside["feature"].values:
            line_with_interval(
                ax, years, 100 * outside.sel(feature=name).values, label=str(name).replace("_", " ")
            )
        ax.set_ylabel("share of the ocean (%)")
        ax.set_ylim(0, None)
        ax.legend(ncols=2)
        last = 100 * float(outside.isel(time=-1).max())
        save_figure(
            fig,
            run_dir,
            "outside",
            "Share of the ocean whose inputs lie outside the range of their segment's training rows. There "
            f"networks go on along straight lines that no data test. In the last year up to {last:.0f} %.",
        )


def draw_coverage(run_dir: Path, leads: np.ndarray, held: dict[str, np.ndarray], level: float) -> None:
    """Draw the share of the truth that intervals hold, by lead."""
    with figure(height=3.0) as (fig, ax):
        for name, shares in held.items():
            line_with_interval(ax, leads, 100 * shares, label=name)
        ax.axhline(100 * level, color=INK, linewidth=1.0, linestyle="--")
        ax.set_ylim(0, 100)
        ax.set_xlabel("years after the hindcast")
        ax.set_ylabel("truth held (%)")
        ax.legend(loc="center left")
        save_figure(
            fig,
            run_dir,
            "coverage",
            f"Share of the true sea level, by area, that the intervals hold at each lead; asked for: "
            f"{100 * level:g} % (dashed). The networks' disagreement alone knows no weather.",
        )


def draw_components(run_dir: Path, rows: Sequence[dict[str, str]]) -> None:
    """Draw the table of what each product contains, as prepared."""
    if not rows:
        return
    names = [key for key in rows[0] if key not in ("name", "product")]
    with figure(height=0.7 + 0.26 * len(rows)) as (fig, ax):
        for y, row in enumerate(rows):
            for x, name in enumerate(names):
                state = row[name]
                ax.add_patch(_box(x, y, _STATES.get(state, "#ffffff")))
                ax.text(
                    x,
                    y,
                    state,
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if state == "yes" else INK,
                )
        ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        ax.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
        ax.set_yticks(range(len(rows)), [f"{row['name']}: {row['product']}" for row in rows])
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
        save_figure(
            fig,
            run_dir,
            "components",
            "What is in each product as prepared. Models lack what ice adds to the sea; what differs between "
            "models and altimeter can be learned for the past, but not known for the future.",
        )


def _box(x: int, y: int, colour: str) -> object:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.48, y - 0.45), 0.96, 0.9, facecolor=colour, edgecolor="none")
