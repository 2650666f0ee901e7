"""What the reports show: error by offset, spectra, fields side by side, still and moving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geostint.outcome import Outcome
from isopleth.grid import Grid
from isopleth.io import atomic_path
from isopleth.report.figures import figure, label_quantity, line_with_interval, save_figure
from isopleth.report.gallery import FOLDER, Picture, record_picture
from isopleth.report.maps import plot_map
from isopleth.report.record import Score
from isopleth.report.style import BLUE, INK, PALETTE

Fields = NDArray[np.floating[Any]]

_FRAME_MS, _DPI = 350, 80
# Share of all power below which a wave is rounding.
_RESOLVED = 1e-7


def draw_outcome(run_dir: Path, outcome: Outcome, *, model: str = "geostint") -> None:
    """Draw error by offset and spectra of all methods."""
    draw_offsets(run_dir, outcome, model=model)
    if outcome.spectra.get("truth"):
        draw_spectra(run_dir, outcome, model=model)


def draw_offsets(run_dir: Path, outcome: Outcome, *, model: str) -> None:
    """Draw each method's error against the time since the frame before."""
    count = len(outcome.channels)
    with figure(1, count, height=3.4, squeeze=False) as (fig, panels):
        for ax, channel in zip(panels.flat, outcome.channels, strict=True):
            for name, style in _styles(outcome.methods, model).items():
                errors = [outcome.rmse(name, channel.name, offset) for offset in outcome.offsets]
                line_with_interval(ax, outcome.offsets, errors, label=name, marker="o", **style)
            ax.set_xticks(outcome.offsets)
            ax.set_ylim(bottom=0)
            ax.set_xlabel("hours after the frame before")
            ax.set_ylabel(label_quantity(f"RMSE of {channel.name}", channel.units))
        panels.flat[0].legend(fontsize="x-small", ncols=2)
        save_figure(
            fig, run_dir, "offsets",
            f"Area-weighted error of the withheld frames by their place in the gap, over {outcome.gaps} "
            "gaps. The frames that bound a gap are given.",
        )  # fmt: skip


def draw_spectra(run_dir: Path, outcome: Outcome, *, model: str) -> None:
    """Draw each method's zonal power in units of the truth's."""
    channels = [channel for channel in outcome.channels if channel.name in outcome.spectra["truth"]]
    with figure(1, len(channels), height=3.2, squeeze=False) as (fig, panels):
        for ax, channel in zip(panels.flat, channels, strict=True):
            truth = outcome.spectra["truth"][channel.name][1:]
            for name, style in _styles(outcome.methods, model).items():
                power = outcome.spectra[name][channel.name][1:]
                # Beyond the truth's own resolution a ratio means nothing.
                ratio = np.where(truth > _RESOLVED * truth.sum(), power / truth, np.nan)
                line_with_interval(ax, np.arange(1, len(truth) + 1), ratio, label=name, **style)
            ax.axhline(1, color=INK, linewidth=0.8)
            ax.set_xscale("log")
            ax.set_ylim(0, 1.6)
            ax.set_xlabel("zonal wave number")
            ax.set_ylabel(f"power of {channel.name.replace('_', ' ')} / truth")
        panels.flat[0].legend(fontsize="x-small", ncols=2)
        save_figure(
            fig, run_dir, "spectra",
            "Zonal power of the frames that were made, in units of the true frames': below 1 structures are "
            "smoothed away, as by averaging two frames in which they stand at different places.",
        )  # fmt: skip


def draw_transfers(run_dir: Path, scores: Sequence[Score]) -> None:
    """Draw the table across domains: the skill of each network in each, a panel a variable."""
    variables = list(dict.fromkeys(score.variable for score in scores))
    trained, applied = (
        list(dict.fromkeys(str(score.stratum[key]) for score in scores))
        for key in ("trained_in", "applied_to")
    )
    with figure(1, len(variables), height=1.4 + 0.5 * len(trained), squeeze=False) as (fig, panels):
        for ax, variable in zip(panels.flat, variables, strict=True):
            table = np.full((len(trained), len(applied)), np.nan)
            for score in scores:
                if score.variable == variable:
                    place = (str(score.stratum["trained_in"]), str(score.stratum["applied_to"]))
                    table[trained.index(place[0]), applied.index(place[1])] = score.model
            ax.imshow(table, cmap="RdBu", vmin=-1.6, vmax=1.6, aspect="auto")
            for (row, column), value in np.ndenumerate(table):
                ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=INK)
            for names, put in ((applied, ax.set_xticks), (trained, ax.set_yticks)):
                put(range(len(names)), [name.replace(" ", "\n") for name in names], fontsize="x-small")
            ax.set_xlabel("applied to")
            ax.set_ylabel("trained in")
            ax.set_title(variable.replace("_", " "), fontsize="small")
            ax.grid(visible=False)
        save_figure(
            fig, run_dir, "domains",
            "Skill against linear interpolation of each network in each domain: 1 for no error, 0 for linear "
            "interpolation's.",
        )  # fmt: skip


def draw_fields(
    run_dir: Path, fields: Mapping[str, Fields], grid: Grid, *, name: str, units: str, caption: str
) -> None:
    """Draw maps of one time side by side, in one range of colours."""
    limits = _limits(list(fields.values()))
    rows = -(-len(fields) // 2)
    with figure(rows, 2, height=2.3 * rows, squeeze=False) as (fig, panels):
        for ax, (title, field) in zip(panels.flat, fields.items(), strict=False):
            plot_map(ax, field, grid, name=name, units=units, limits=limits, diverging=limits[0] < 0)
            ax.set_title(title, fontsize="small")
        for ax in panels.flat[len(fields) :]:
            ax.set_visible(False)
        save_figure(fig, run_dir, "fields", caption, suffix="png")


def animate(
    run_dir: Path, series: Mapping[str, Sequence[Fields]], titles: Sequence[str], *, units: str, caption: str
) -> Path:
    """Draw series of maps side by side as an animation: a PNG that moves in the report, and a GIF.

    Parameters
    ----------
    run_dir : Path
        Gets ``animation.gif``; the report shows ``figures/animation.png``.
    series : mapping of str to sequence of array, shape (lat, lon)
        Of equal lengths.
    titles : sequence of str
        One for each frame.
    units, caption : str

    Returns
    -------
    Path
        The GIF.
    """
    from PIL import Image

    limits = _limits([field for fields in series.values() for field in fields])
    pictures = [
        Image.fromarray(
            _draw_frame({name: fields[k] for name, fields in series.items()}, title, limits, units)
        )
        for k, title in enumerate(titles)
    ]
    options: dict[str, Any] = {
        "save_all": True, "append_images": pictures[1:], "duration": _FRAME_MS, "loop": 0,
    }  # fmt: skip
    folder = run_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "animation.png") as partial:
        pictures[0].save(partial, format="PNG", **options)
    with atomic_path(run_dir / "animation.gif") as partial:
        pictures[0].save(partial, format="GIF", **options)
    record_picture(run_dir, Picture(file="animation.png", caption=caption, alt=caption))
    return run_dir / "animation.gif"


def _draw_frame(
    fields: Mapping[str, Fields], title: str, limits: tuple[float, float], units: str
) -> NDArray[np.uint8]:
    """Draw one picture of an animation, shape (row, column, 3)."""
    with figure(1, len(fields), height=1.9) as (fig, panels):
        colours = "RdBu_r" if limits[0] < 0 else "viridis"
        names = [f"{name}: {title}" if k == 0 else name for k, name in enumerate(fields)]
        for ax, name, field in zip(np.ravel(panels), names, fields.values(), strict=True):
            mesh = ax.imshow(
                field, origin="lower", aspect="auto", vmin=limits[0], vmax=limits[1], cmap=colours
            )
            ax.set_title(name, fontsize="small")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(visible=False)
        fig.colorbar(mesh, ax=list(np.ravel(panels)), label=units, shrink=0.8)
        fig.set_dpi(_DPI)
        canvas: Any = fig.canvas
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _limits(fields: Sequence[Fields]) -> tuple[float, float]:
    """Return a range of colours for all fields, about 0 where they have both signs."""
    values = np.concatenate([field[np.isfinite(field)].ravel() for field in fields])
    low, high = (float(end) for end in np.percentile(values, [0.5, 99.5]))
    if low < 0 < high:
        reach = max(-low, high)
        return -reach, reach
    return min(low, high), max(high, low + 1e-12)


def _styles(methods: Sequence[str], model: str) -> dict[str, dict[str, Any]]:
    """Give each method its line; the model's is drawn last."""
    others = [name for name in methods if name != model]
    colours = [colour for colour in PALETTE if colour != BLUE]
    found: dict[str, dict[str, Any]] = {
        name: {
            "color": colours[k % len(colours)],
            "linestyle": "--" if k < len(colours) else ":",
            "linewidth": 1.2,
            "markersize": 3,
        }
        for k, name in enumerate(others)
    }
    return {**found, model: {"color": BLUE, "linewidth": 2.0, "markersize": 4}}
