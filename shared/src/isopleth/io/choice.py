"""Which variables of a file are fields, what they are, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.axes import Horizontal, bounds_of, find_role, is_time
from isopleth.io.lexicon import Reading, read_name, suggest_names
from isopleth.io.units import Conversion, find_conversion


@dataclass(frozen=True)
class Choice:
    """The variables that are wanted, and the names of all that could have been."""

    readings: tuple[Reading, ...]
    offers: tuple[str, ...]


def choose(raw: xr.Dataset, roles: Mapping[str, str], wanted: Sequence[str] | None) -> Choice:
    """Read the names of all fields, or of those wanted by canonical name or the file's own.

    Raises
    ------
    DataError
        If a variable that is wanted has impossible units.
    """
    readings: dict[str, Reading] = {}
    problems: dict[str, DataError] = {}
    for name in _find_fields(raw, roles):
        try:
            readings[name] = read_name(name, raw[name].attrs, height_m=_height_of(raw, name))
        except DataError as error:
            problems[name] = error
    for name, problem in problems.items():
        if wanted is None or set(wanted) & {name, *suggest_names(name, raw[name].attrs)}:
            raise problem
    chosen = [r for r in readings.values() if wanted is None or {r.name, r.source_name} & set(wanted)]
    offers = sorted({r.name for r in readings.values()} | set(problems))
    return Choice(tuple(chosen), tuple(offers))


def keep_on_grid(
    raw: xr.Dataset, readings: Sequence[Reading], grid: Horizontal, *, wanted: bool
) -> list[Reading]:
    """Keep the variables that lie on the grid, each name once.

    Raises
    ------
    DataError
        If a variable asked for by name does not lie on it, or if two are the same quantity.
    """
    kept = [r for r in readings if set(grid.dims) <= set(raw[r.source_name].dims)]
    if wanted and len(kept) < len(readings):
        lost = next(r.source_name for r in readings if r not in kept)
        raise DataError(
            f"variable {lost!r} must lie on {grid.lat} and {grid.lon}, got dimensions {raw[lost].dims}"
        )
    _refuse_clashes(kept)
    return kept


def conversion_of(reading: Reading) -> Conversion:
    """Find the line from a variable's units to the canonical ones."""
    if reading.quantity is None or reading.source_units is None:
        return Conversion(1.0, 0.0)
    return find_conversion(reading.source_units, reading.units)


def changes(reading: Reading) -> bool:
    """Whether a variable's name, units or values become others."""
    same_name = reading.name == reading.source_name
    return not same_name or reading.assumed_units or not conversion_of(reading).is_identity


def describe(reading: Reading) -> str:
    """Say in words what a variable becomes."""
    text = f"{reading.source_name} is {reading.name}"
    if reading.assumed_units:
        return f"{text} (units not stated, taken to be {reading.source_units})"
    if not conversion_of(reading).is_identity:
        text += f" ({reading.source_units} to {reading.units})"
    return text


def _find_fields(raw: xr.Dataset, roles: Mapping[str, str]) -> list[str]:
    """Name the variables that may be fields: numbers in two dimensions or more that are no coordinate."""
    others = bounds_of(raw) | set(roles.values())
    return [
        str(name)
        for name, variable in raw.variables.items()
        if variable.ndim >= 2 and variable.dtype.kind in "iuf" and str(name) not in others
        if find_role(str(name), variable) not in {"lat", "lon"} and not is_time(variable)
    ]


def _height_of(raw: xr.Dataset, name: str) -> float | None:
    """Read the height above ground that a scalar coordinate states."""
    stated = str(raw[name].attrs.get("coordinates", raw[name].encoding.get("coordinates", ""))).split()
    for other in (*stated, "height", "heightAboveGround"):
        if other not in raw.variables or raw[other].size != 1:
            continue
        if find_role(other, raw.variables[other]) == "height":
            return float(np.ravel(raw[other].values)[0])
    return None


def _refuse_clashes(readings: Sequence[Reading]) -> None:
    seen: dict[str, str] = {}
    for reading in readings:
        other = seen.setdefault(reading.name, reading.source_name)
        if other != reading.source_name:
            raise DataError(
                f"one variable must be {reading.name!r}, got {other!r} and {reading.source_name!r}",
                hint=f"ask for one of them: variables=[{other!r}]",
            )
