"""Word-sized graphics within a line of text: a value, its interval, and what it is measured against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isopleth.report.markup import Markup, tag

_WIDTH, _HEIGHT, _MARGIN = 132, 18, 6


def draw_strip(
    value: float,
    interval: tuple[float, float] | None,
    references: Iterable[float],
    limits: tuple[float, float],
    *,
    label: str,
) -> Markup:
    """Draw a dot with its interval among upright reference lines.

    Parameters
    ----------
    value : float
        Where the dot goes.
    interval : (float, float) or None
        The bar through the dot.
    references : iterable of float
        Where the upright lines go: baselines, or zero. The first is drawn strong.
    limits : (float, float)
        Values at the two ends of the strip, shared by strips that are to be compared.
    label : str
        The same in words, for a screen reader.
    """
    low, high = limits
    span = (high - low) or 1.0

    def place(x: float) -> float:
        inside = min(max((x - low) / span, 0.0), 1.0)
        return round(_MARGIN + inside * (_WIDTH - 2 * _MARGIN), 1)

    middle = _HEIGHT / 2
    rule = tag("line", class_="rule", x1=0, x2=_WIDTH, y1=middle, y2=middle)
    lines = [_upright(place(x), strong=not number) for number, x in enumerate(references)]
    ends = interval or (value, value)
    bar = tag("line", class_="bar", x1=place(ends[0]), x2=place(ends[1]), y1=middle, y2=middle)
    dot = tag("circle", class_="dot", cx=place(value), cy=middle, r=3.5)
    return tag(
        "svg",
        rule,
        lines,
        bar,
        dot,
        class_="strip",
        role="img",
        aria_label=label,
        width=_WIDTH,
        height=_HEIGHT,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
    )


def _upright(x: float, *, strong: bool) -> Markup:
    inset = 1 if strong else 5
    return tag("line", class_="best" if strong else "other", x1=x, x2=x, y1=inset, y2=_HEIGHT - inset)


def find_limits(values: Sequence[float]) -> tuple[float, float]:
    """Find the ends of a strip that holds all values."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
