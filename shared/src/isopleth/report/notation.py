"""Numbers and units as a reader wants them: aligned, no more digits than the interval warrants."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_EXPONENT = re.compile(r"(?<!\de)(?<=[A-Za-z%°])(?:\^|\*\*)?(-?\d+)(?![\w.])")


def choose_decimals(values: Iterable[float], intervals: Iterable[tuple[float, float] | None] = ()) -> int:
    """Choose the decimals (0 to 6) that numbers in one column share.

    Two significant digits of the narrowest interval; without intervals three of the smallest value, but
    no more than six of the largest.
    """
    widths = [interval[1] - interval[0] for interval in intervals if interval and interval[1] > interval[0]]
    sizes = [abs(value) for value in values if value]
    if widths:
        return _clip(1 - _magnitude(min(widths)))
    return _clip(min(2 - _magnitude(min(sizes)), 5 - _magnitude(max(sizes)))) if sizes else 0


def _magnitude(size: float) -> int:
    return math.floor(math.log10(size))


def _clip(decimals: int) -> int:
    return min(max(decimals, 0), 6)


def format_number(value: float, decimals: int | None = None) -> str:
    """Write a number with a true minus sign; one that would round to nothing keeps a digit.

    Examples
    --------
    >>> format_number(-61.234, 1), format_number(12345.6, 0), format_number(2.5e-9, 3)
    ('\N{MINUS SIGN}61.2', '12,346', '2.5e\N{MINUS SIGN}9')
    """
    if decimals is None:
        decimals = choose_decimals([value])
    text = f"{value:,.{decimals}f}"
    if value and not float(text.replace(",", "")):
        text = f"{value:.1g}" if abs(value) >= 1e-4 else _write_exponent(value)
    elif abs(value) >= 1e9:
        text = _write_exponent(value)
    return text.replace("-", MINUS)


def _write_exponent(value: float) -> str:
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def format_interval(interval: tuple[float, float] | None, decimals: int | None = None) -> str:
    """Write an interval as ``[low, high]``, an absent one as nothing."""
    if interval is None:
        return ""
    if decimals is None:
        decimals = choose_decimals(interval, [interval])
    return f"[{', '.join(format_number(end, decimals) for end in interval)}]"


def format_percent(fraction: float) -> str:
    """Write a fraction as a signed percentage.

    Examples
    --------
    >>> format_percent(0.342), format_percent(-0.004), format_percent(0.0)
    ('+34 %', '\N{MINUS SIGN}0.4 %', '0 %')
    """
    percent = 100 * fraction
    text = f"{percent:+.1f}" if abs(percent) < 9.5 else f"{percent:+,.0f}"
    text = text.removesuffix(".0")
    return f"{'0' if text in {'+0', '-0'} else text.replace('-', MINUS)} %"


def format_units(units: str) -> str:
    """Write UDUNITS with superscripts; the unit of a pure number is not written.

    Examples
    --------
    >>> format_units("m2 s-2"), format_units("kg m**-3"), format_units("1")
    ('m² s⁻²', 'kg m⁻³', '')
    """
    if units in {"1", ""}:
        return ""
    return _EXPONENT.sub(lambda match: match[1].translate(_SUPERSCRIPT), units)


def format_seconds(seconds: float) -> str:
    """Write a duration in the unit a person would use.

    Examples
    --------
    >>> format_seconds(0.21), format_seconds(75), format_seconds(5400)
    ('0.21 s', '1 min 15 s', '1 h 30 min')
    """
    if seconds < 59.5:
        return f"{format_number(seconds, 2 if seconds < 9.95 else 0)} s" if seconds else "0 s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


# Scores that are known by their initials.
_INITIALS = frozenset({"acc", "auc", "bss", "crps", "csi", "mae", "mse", "nse", "psnr", "rmse", "ssim"})


def name_metric(metric: str) -> str:
    """Write a metric as a heading: ``rmse`` becomes ``RMSE``, ``rank_error`` becomes ``Rank error``."""
    words = humanise(metric)
    return words.upper() if words in _INITIALS else f"{words[:1].upper()}{words[1:]}"


def humanise(name: str) -> str:
    """Write an identifier as words: ``geopotential_500`` becomes ``geopotential 500``."""
    return " ".join(name.replace("_", " ").split())
