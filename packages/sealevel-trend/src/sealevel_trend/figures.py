"""What the reports show: maps of trends and segments, errors by test, coverage by block, components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from isopleth.grid import Grid
from isopleth.report import Score
from isopleth.report.figures import compare_bars, figure, save_figure
from isopleth.report.maps import plot_map
from isopleth.report.style import BLUE, INK, MUTED, ORANGE, PALETTE, RULE
from isopleth.sealevel.products import COMPONENTS
from isopleth.sealevel.protocol import Coverage
from sealevel_trend.partition import Partition

_TREND = "trend"
_UNITS = "mm year-1"
_SHOWN = ("global mean everywhere", "ensemble mean", "persistence", "ridge", "random forest")


def draw_prediction(run_dir: Path, output: xr.Dataset) -> None:
    """Draw the prediction, how wide its interval is, the mean of the models, and what was observed."""
    width = output["sea_level_trend_upper"] - output["sea_level_trend_lower"]
    fields = {
        "predicted": output["sea_level_trend"],
        "width of the interval": width,
        "mean of the models": output["ensemble_mean_trend"],
    }
    if "observed_trend" in output:
        fields["observed in the past"] = output["observed_trend"]
    level = output["sea_level_trend_lower"].attrs["level"]
    draw_maps(
        run_dir, "prediction", fields, sequential=("width of the interval",),
        caption=f"{output['sea_level_trend'].attrs['long_name']}: what the networks predict, the width of "
        f"the {100 * level:g} % interval, the equal-weight mean of the models, and the observed trend of the "
        "past. The observed map holds the ocean's own variability, the others hardly any.",
    )  # fmt: skip


def draw_maps(
    run_dir: Path,
    name: str,
    fields: Mapping[str, xr.DataArray],
    *,
    caption: str,
    sequential: Sequence[str] = (),
) -> None:
    """Draw maps two by two; all but the `sequential` ones share colours, centred at 0 if it is there."""
    alike = [field.values.ravel() for title, field in fields.items() if title not in sequential]
    shared = np.concatenate(alike)
    shared = shared[np.isfinite(shared)]
    centred = shared.min(initial=0.0) < 0 < shared.max(initial=0.0)
    reach = float(np.percentile(np.abs(shared), 98)) if shared.size else 1.0
    limits = (-reach, reach) if centred else tuple(np.percentile(shared, [1, 99]))
    rows = -(-len(fields) // 2)
    with figure(rows, 2, height=2.6 * rows, squeeze=False) as (fig, panels):
        for ax, (title, field) in zip(panels.flat, fields.items(), strict=False):
            own = title in sequential
            plot_map(
                ax, field.transpose("lat", "lon").values, Grid.of(field), name=_TREND, units=_UNITS,
                diverging=centred and not own, limits=None if own else limits,
            )  # fmt: skip
            ax.set_title(title, fontsize="small")
        for ax in panels.flat[len(fields) :]:
            ax.set_visible(False)
        save_figure(fig, run_dir, name, caption)


def draw_segments(run_dir: Path, partition: Partition) -> None:
    """Draw the segments, each in its colour."""
    from matplotlib.colors import ListedColormap

    labels = partition.labels.transpose("lat", "lon")
    values = np.where(labels.values >= 0, labels.values, np.nan)
    count = len(partition.names)
    colors = ListedColormap([PALETTE[k % len(PALETTE)] for k in range(count)])
    steady = ""
    if partition.stability is not None:
        steady = (
            f" Clusterings of random halves of the series agree with each other to an adjusted Rand index "
            f"of {partition.stability:.2f} (1: the same, 0: unrelated)."
        )
    with figure(height=3.6) as (fig, ax):
        mesh = plot_map(ax, values, Grid.of(labels), name="segment", units="1", limits=(-0.5, count - 0.5))
        mesh.set_cmap(colors)
        mesh.colorbar.set_ticks(range(count), labels=[name.replace("_", " ") for name in partition.names])
        save_figure(
            fig, run_dir, "segments",
            f"Segments of the ocean ({labels.attrs.get('method', 'given')}), each with networks of its own."
            + steady,
        )  # fmt: skip


def draw_tests(run_dir: Path, scores: Sequence[Score]) -> None:
    """Draw the errors of the network and its baselines, a group a test."""
    errors = [_fewer_baselines(score) for score in scores if score.metric == "rmse"]
    with figure(height=3.8) as (fig, ax):
        compare_bars(ax, errors, by="test")
        ax.set_ylabel("RMSE of the trend (mm/year)")
        ax.set_xticks(range(len(errors)), [str(s.stratum["test"]).replace(", ", ",\n") for s in errors])
        ax.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
        save_figure(
            fig, run_dir, "tests",
            "Area-weighted error in each test. Bars from zero; the line on the network's bar is its 95 % "
            "interval from resampling blocks of 2,000 km. Random folds let a test cell lean on its "
            "neighbours: in the null test, whose predictors know nothing, what lies below the mean "
            "everywhere is that leak.",
        )  # fmt: skip


def _fewer_baselines(score: Score) -> Score:
    """Leave out the baselines that have no colour of their own; the table has them all."""
    shown = {name: value for name, value in score.baselines.items() if name in _SHOWN}
    return replace(score, baselines=shown)


def draw_coverage(run_dir: Path, coverage: Coverage, *, test: str = "blocks held out") -> None:
    """Draw how many blocks the intervals cover how well."""
    with figure(height=2.8) as (fig, ax):
        shares = np.asarray(coverage.by_block)
        ax.plot(np.linspace(0, 1, len(shares)), shares, color=BLUE, label="blocks, the worst first")
        ax.axhline(coverage.level, color=INK, linestyle="--", linewidth=1.2, label="asked for")
        ax.axhline(coverage.share, color=ORANGE, linewidth=1.2, label="all of the ocean")
        ax.set(xlabel="share of the blocks", ylabel="covered share", ylim=(0, 1.03), xlim=(0, 1))
        ax.legend(loc="lower right")
        save_figure(
            fig, run_dir, "coverage",
            f"How much of each 2,000 km block the {100 * coverage.level:g} % intervals cover ({test}): over "
            f"all {100 * coverage.share:.1f} % of the area, mean width {coverage.width:.2f} mm/year. A "
            "guarantee over blocks is none for each of them.",
        )  # fmt: skip


def draw_components(run_dir: Path, components: Sequence[Mapping[str, str]]) -> None:
    """Draw the table of what each product contains."""
    names = list(COMPONENTS)
    with figure(height=0.6 + 0.3 * len(components)) as (fig, ax):
        ax.set(xlim=(-2.6, len(names)), ylim=(len(components), -1))
        ax.axis("off")
        for column, name in enumerate(names):
            ax.text(column + 0.5, -0.5, name.replace("_", " "), ha="center", va="center", weight="bold")
        for row, product in enumerate(components):
            ax.axhline(row, color=RULE, linewidth=0.8)
            ax.text(-2.6, row + 0.5, f"{product['name']} ({product['product']})", va="center", fontsize=8)
            for column, name in enumerate(names):
                word = product.get(name, "unknown")
                color = MUTED if word in ("no", "removed") else INK
                ax.text(column + 0.5, row + 0.5, word, ha="center", va="center", fontsize=9, color=color)
        save_figure(
            fig, run_dir, "components",
            "What the sea level of each product contains after preparation. "
            + "; ".join(f"{name.replace('_', ' ')}: {text}" for name, text in COMPONENTS.items())
            + ". No model here carries ice sheets: what ice adds to sea level is in the altimeter alone.",
        )  # fmt: skip
