"""What a value stands for in time, by CF's cell_methods: an instant, a mean or a sum over its step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geostint.config import Meaning
from isopleth.errors import DataError

Known = Literal["point", "mean", "sum"]

# "time: mean (interval: 1 hour)", "month: year: mean": dimensions, then what was done over them.
_CELL_METHOD = re.compile(r"((?:\w+:\s+)+)(\w+)")
_TIMES = {"time", "day", "month", "year", "hour", "t"}
# Where a file says nothing: what these words in a name stand for.
_SUMS = ("total_precipitation", "snowfall", "accumulated", "accumulation")
_NEVER_NEGATIVE = (
    "precipitation", "snow", "rain", "humidity", "cloud", "wind_speed", "radiation", "irradiance",
    "concentration", "fraction", "mixing_ratio", "chlorophyll", "reflectivity", "aerosol", "column_water",
    "wave_height", "ice_thickness",
)  # fmt: skip


def read_meaning(name: str, attrs: Mapping[str, Any], asked: Meaning = "auto") -> Known:
    """Say what a variable's values stand for in time.

    Parameters
    ----------
    name : str
        Canonical name, which decides where the file says nothing: amounts of rain and snow are sums.
    attrs : mapping
        With ``cell_methods``, such as ``"time: mean area: point"``.
    asked : {"auto", "point", "mean", "sum"}
        Overrules both.

    Raises
    ------
    DataError
        If it is a maximum, a range or the like: its parts do not follow from it.
    """
    if asked != "auto":
        return asked
    for dims, method in _read_methods(attrs):
        if not _TIMES & set(re.findall(r"\w+", dims)):
            continue
        if method in ("point", "mean", "sum"):
            return method
        raise DataError(
            f"a value must stand for an instant, a mean or a sum over its step, got {method!r}",
            where=f"cell_methods of {name}",
            hint="parts do not follow from it; --meaning point interpolates it nevertheless",
        )
    return "sum" if any(word in name for word in _SUMS) else "point"


def write_meaning(attrs: Mapping[str, Any], meaning: Known) -> str:
    """Return cell_methods that say what values stand for in time; what they say of other dimensions stays.

    An interval in brackets was the parent's, and goes.
    """
    kept = [
        f"{dims}{method}"
        for dims, method in _read_methods(attrs)
        if not _TIMES & set(re.findall(r"\w+", dims))
    ]
    return " ".join([*kept, f"time: {meaning}"])


def is_never_negative(name: str, listed: tuple[str, ...] = ()) -> bool:
    """Say whether a variable cannot be below 0: by its name, or because the user lists it."""
    return name in listed or any(word in name for word in _NEVER_NEGATIVE)


def split_parents(
    parents: ArrayLike, guess: ArrayLike, meaning: Literal["mean", "sum"], *, never_negative: bool
) -> NDArray[np.float64]:
    r"""Correct guessed parts of means or sums so that they give back the parent.

    A part's departure is spread evenly, :math:`x_k = g_k + p - \bar g`. Where a field is never negative, the
    parts are scaled instead, :math:`x_k = \max(g_k, 0)\, p / \overline{\max(g, 0)}`, and are all the same
    where no part is above 0. For sums p is the sum over the number of parts.

    Parameters
    ----------
    parents : array, shape (...)
        NaN gives NaN parts.
    guess : array, shape (part, ...)
        Parts as intensities, in the units of a mean. NaN counts as the parent's own.
    meaning : {"mean", "sum"}
    never_negative : bool

    Returns
    -------
    ndarray of float64, shape (part, ...)
        Their mean, or sum, is the parent to rounding.
    """
    parent = np.asarray(parents, dtype=np.float64)
    parts = np.asarray(guess, dtype=np.float64)
    count = len(parts)
    if meaning == "sum":
        parent = parent / count
    parts = np.where(np.isnan(parts), parent, parts)
    if not never_negative:
        return parts + (parent - parts.mean(axis=0))
    # A parent below 0 is wrong already: its parts are its own.
    positive = np.maximum(parts, 0.0)
    total = positive.mean(axis=0)
    scaled = (total > np.finfo(np.float64).tiny) & (parent >= 0)
    shares = positive / np.where(scaled, total, 1.0)
    return np.where(scaled, shares * parent, np.broadcast_to(parent, parts.shape))


def _read_methods(attrs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return dimensions and what was done over them, without remarks in brackets."""
    stated = re.sub(r"\([^)]*\)", "", str(attrs.get("cell_methods", "")))
    return _CELL_METHOD.findall(stated)
