"""Figures in the house style: drawn without a display, saved with their captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from isopleth.errors import DataError
from isopleth.io.write import atomic_path
from isopleth.report.gallery import FOLDER, Picture, check_name, record_picture
from isopleth.report.notation import format_units, humanise, name_metric
from isopleth.report.record import Score
from isopleth.report.scores import format_stratum
from isopleth.report.style import BLUE, INK, MUTED, PALETTE, WIDTH_INCHES, make_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@contextmanager
def figure(
    rows: int = 1, columns: int = 1, *, height: float = 4.0, width: float = WIDTH_INCHES, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """Open a figure in the house style; the caller's matplotlib settings stay as they were.

    The figure belongs to no window and to no pyplot state: it needs no display, no closing, and
    may be drawn in any thread.

    Parameters
    ----------
    rows, columns : int
        Panels.
    height, width : float
        Inches.
    **options
        For ``Figure.subplots``: ``sharex``, ``width_ratios``, ...

    Yields
    ------
    (Figure, Axes or array of Axes)

    Examples
    --------
    >>> with figure(height=3) as (fig, ax):
    ...     line = line_with_interval(ax, [1, 2], [0.5, 0.7], label="model")
    >>> line.get_label()
    'model'
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(make_style()):
        canvas = Figure(figsize=(width, height))
        FigureCanvasAgg(canvas)
        yield canvas, canvas.subplots(rows, columns, **options)


def save_figure(
    fig: Figure, run_dir: str | Path, name: str, caption: str, *, alt: str | None = None, suffix: str = "svg"
) -> Path:
    """Save a figure with its caption where the report finds it; one of the same name is replaced.

    Parameters
    ----------
    fig : Figure
    run_dir : str or Path
        The run's directory; the figure goes to ``figures/`` in it.
    name : str
        File name without suffix.
    caption : str
        What it shows, on which sample, and what to see in it.
    alt : str, optional
        The finding in words, for one who cannot see it; the caption by default.
    suffix : {"svg", "png"}
        SVG is sharp at any size; PNG is smaller for many thousands of marks.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If the name is a path, the format another, or the caption empty.
    """
    import matplotlib as mpl

    file = check_name(f"{name}.{suffix}")
    if not caption.strip():
        raise DataError("a figure must have a caption, got an empty one", where=file)
    path = Path(run_dir) / FOLDER / file
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, Any] = {"Date": None, "Creator": None} if suffix == "svg" else {"Software": None}
    with atomic_path(path) as partial, mpl.rc_context(make_style()):
        # Tight, because a map keeps its shape and leaves the rest of its panel empty.
        fig.savefig(partial, format=suffix, metadata=metadata, bbox_inches="tight", pad_inches=0.06)
    record_picture(run_dir, Picture(file=file, caption=caption, alt=alt or caption))
    return path


def label_quantity(name: str, units: str) -> str:
    """Write what an axis shows with its units: ``sea surface height (m)``."""
    written = format_units(units)
    return f"{humanise(name)} ({written})" if written else humanise(name)


def line_with_interval(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    label: str,
    **style: Any,
) -> Any:
    """Draw a line in a band from the low to the high end of its interval.

    Parameters
    ----------
    ax : Axes
    x, y : array_like, shape (n,)
        NaN breaks the line.
    interval : (array_like, array_like), optional
        Low and high ends, each of shape (n,).
    label : str
        Its name in the legend.
    **style
        For ``Axes.plot``.

    Returns
    -------
    Line2D
    """
    (line,) = ax.plot(np.asarray(x), np.asarray(y, dtype=float), label=label, **style)
    if interval is not None:
        low, high = (np.asarray(end, dtype=float) for end in interval)
        ax.fill_between(np.asarray(x), low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    return line


def score_by_lead(ax: Axes, scores: Sequence[Score], *, lead: str = "lead_hours") -> None:
    """Draw a score against lead time: the model in its interval, each baseline dashed.

    Parameters
    ----------
    ax : Axes
    scores : sequence of Score
        Of one metric and one variable, each with `lead` in its stratum.
    lead : str
        The stratum's key; hours over three days are marked in days.

    Raises
    ------
    DataError
        If scores of several metrics or variables are mixed, or one has no lead.
    """
    first = _require_one_quantity(scores)
    if missing := [score for score in scores if not isinstance(score.stratum.get(lead), int | float)]:
        raise DataError(f"every score must have a number for {lead!r}, got {dict(missing[0].stratum)}")
    ordered = sorted(scores, key=lambda score: float(score.stratum[lead]))
    x, unit = _scale_lead([float(score.stratum[lead]) for score in ordered], lead)
    names = dict.fromkeys(name for score in ordered for name in score.baselines)
    for name, color in zip(names, _cycle(PALETTE[1:], len(names)), strict=True):
        y = [score.baselines.get(name, np.nan) for score in ordered]
        line_with_interval(ax, x, y, label=humanise(name), color=color, linestyle="--", linewidth=1.4)
    line_with_interval(ax, x, [score.model for score in ordered], _stack_intervals(ordered),
                       label="model", color=BLUE, marker="o")  # fmt: skip
    ax.set_xlabel(unit)
    ax.set_ylabel(label_quantity(f"{name_metric(first.metric)} of {first.variable}", first.units))
    ax.legend()


def compare_bars(ax: Axes, scores: Sequence[Score], *, by: str | None = None) -> None:
    """Draw a score's bars from zero, model with interval beside its baselines, a group a stratum.

    Parameters
    ----------
    ax : Axes
    scores : sequence of Score
        Of one metric and one variable.
    by : str, optional
        Key of the stratum that names the groups; all of it by default.

    Raises
    ------
    DataError
        If scores of several metrics or variables are mixed.
    """
    first = _require_one_quantity(scores)
    names = list(dict.fromkeys(name for score in scores for name in score.baselines))
    width = 0.8 / (len(names) + 1)
    places = np.arange(len(scores)) - 0.4 + width / 2
    colors = _cycle(PALETTE[1:], len(names))
    ax.bar(places, [score.model for score in scores], width * 0.92, color=BLUE, label="model")
    for number, (name, color) in enumerate(zip(names, colors, strict=True), 1):
        heights = [score.baselines.get(name, np.nan) for score in scores]
        ax.bar(places + number * width, heights, width * 0.92, color=color, alpha=0.55, label=humanise(name))
    if (ends := _stack_intervals(scores)) is not None:
        ax.vlines(places, *ends, color=INK, linewidth=1.4)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.set_xticks(range(len(scores)), [_name_stratum(score, by) for score in scores])
    ax.grid(visible=False, axis="x")
    ax.set_ylabel(label_quantity(f"{name_metric(first.metric)} of {first.variable}", first.units))
    ax.legend(ncols=len(names) + 1, loc="lower left", bbox_to_anchor=(0, 1))


def _require_one_quantity(scores: Sequence[Score]) -> Score:
    kinds = {(score.metric, score.variable, score.units) for score in scores}
    if len(kinds) != 1:
        raise DataError(
            f"scores in one panel must be of one metric and variable, got {sorted(kinds) or 'none'}"
        )
    return scores[0]


def _stack_intervals(scores: Sequence[Score]) -> tuple[list[float], list[float]] | None:
    """Return the low and high ends, NaN where a score has no interval; None if none has one."""
    if all(score.interval is None for score in scores):
        return None
    ends = [score.interval or (np.nan, np.nan) for score in scores]
    return [low for low, _ in ends], [high for _, high in ends]


def _scale_lead(values: Sequence[float], name: str) -> tuple[list[float], str]:
    if name.endswith("_hours") and max(values) > 72:
        return [value / 24 for value in values], f"{humanise(name.removesuffix('_hours'))} (days)"
    base, _, unit = name.rpartition("_")
    return list(values), f"{humanise(base)} ({unit})" if base else name


def _name_stratum(score: Score, by: str | None) -> str:
    keys = score.stratum if by is None else [by]
    return ", ".join(format_stratum(score.stratum.get(key)) for key in keys) or "all"


def _cycle(colors: Sequence[str], count: int) -> list[str]:
    return [colors[number % len(colors)] for number in range(count)]
