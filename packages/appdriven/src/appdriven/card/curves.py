"""Small line drawings inside the card, as SVG that needs no figure file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from isopleth.report.markup import Markup, tag
from isopleth.report.style import INK, MUTED, PALETTE, RULE

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 300, 62, 42, 12, 150


def draw_curves(
    x_values: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    x: str,
    y: str,
    floor: float | None = None,
) -> Markup:
    """Draw lines over one axis, each named at its right.

    Parameters
    ----------
    x_values : sequence of float, length n
    lines : mapping of str to sequence of float, length n
        Values below `floor` are cut off.
    x, y : str
        What the axes show.
    floor : float, optional
        Least value shown.
    """
    values = [value for line in lines.values() for value in line]
    low, high = min(values), max(values)
    low = low if floor is None else max(low, floor)
    span, reach = (high - low) or 1.0, (x_values[-1] - x_values[0]) or 1.0

    def place(a: float, b: float) -> tuple[float, float]:
        across = _LEFT + (a - x_values[0]) / reach * (_WIDTH - _LEFT - _RIGHT)
        up = _HEIGHT - _BOTTOM - (max(b, low) - low) / span * (_HEIGHT - _BOTTOM - _TOP)
        return round(across, 1), round(up, 1)

    return tag(
        "svg",
        _draw_frame(place, (x_values[0], x_values[-1]), (low, low + span), x, y),
        [_draw_line(place, x_values, line, number) for number, line in enumerate(lines.values())],
        _draw_names(list(lines)),
        role="img",
        aria_label=f"{y} by {x}: {', '.join(lines)}",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        width=_WIDTH,
        style="max-width:100%;height:auto;background:#fff",
    )


def _draw_line(
    place: Callable[[float, float], tuple[float, float]],
    x_values: Sequence[float],
    line: Sequence[float],
    number: int,
) -> Markup:
    points = [place(a, b) for a, b in zip(x_values, line, strict=True)]
    path = " ".join(f"{a},{b}" for a, b in points)
    return tag("polyline", points=path, fill="none", stroke=PALETTE[number % len(PALETTE)], stroke_width=2)


def _draw_names(names: Sequence[str]) -> list[Markup]:
    drawn = []
    for number, name in enumerate(names):
        up = _TOP + 12 + 18 * number
        color, start = PALETTE[number % len(PALETTE)], _WIDTH - _RIGHT + 14
        drawn.append(tag("line", x1=start, x2=start + 18, y1=up - 4, y2=up - 4, stroke=color, stroke_width=2))
        drawn.append(_text(start + 24, up, name, "start"))
    return drawn


def _draw_frame(
    place: Callable[[float, float], tuple[float, float]],
    across: tuple[float, float],
    up: tuple[float, float],
    x: str,
    y: str,
) -> list[Markup]:
    drawn = []
    for number in range(5):
        a = across[0] + (across[1] - across[0]) * number / 4
        b = up[0] + (up[1] - up[0]) * number / 4
        left, level = place(across[0], b)
        foot, bottom = place(a, up[0])
        right, _ = place(across[1], b)
        drawn.append(tag("line", x1=left, x2=right, y1=level, y2=level, stroke=RULE))
        drawn.append(_text(left - 6, level + 4, f"{b:.3g}", "end"))
        drawn.append(_text(foot, bottom + 17, f"{a:.3g}", "middle"))
    drawn.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x, "middle", INK))
    drawn.append(tag("text", y, x=14, y=_HEIGHT / 2, transform=f"rotate(-90 14 {_HEIGHT / 2})",
                     text_anchor="middle", font_size=12, fill=INK))  # fmt: skip
    return drawn


def _text(x: float, y: float, words: str, anchor: str, color: str = MUTED) -> Markup:
    return tag("text", words, x=x, y=y, text_anchor=anchor, font_size=12, fill=color)
