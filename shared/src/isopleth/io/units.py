"""Units: how the spellings of many providers are read, and the straight line between two of them."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

import numpy as np

from isopleth.errors import DataError

# Spellings that UDUNITS or the providers know and pint reads as something else, or not at all.
_SPELLINGS = {
    "c": "degC",
    "celsius": "degC",
    "centigrade": "degC",
    "deg c": "degC",
    "deg_c": "degC",
    "degree_c": "degC",
    "degrees_c": "degC",
    "degrees c": "degC",
    "degree_celsius": "degC",
    "degrees_celsius": "degC",
    "degrees celsius": "degC",
    "degk": "kelvin",
    "deg_k": "kelvin",
    "degree_k": "kelvin",
    "degrees k": "kelvin",
    "degrees_k": "kelvin",
    "degrees kelvin": "kelvin",
    "f": "degF",
    "gpm": "meter",
    "geopotential meters": "meter",
    "m of water equivalent": "meter",
    "kg m**-2 of water equivalent": "kg / m**2",
    "mb": "millibar",
    "millibars": "millibar",
    "psu": "permille",
    "pss-78": "permille",
    "1e-3": "permille",
    "0.001": "permille",
    "g/kg": "permille",
    "%": "percent",
    "degrees_north": "degree",
    "degree_north": "degree",
    "degrees_east": "degree",
    "degree_east": "degree",
    "(0 - 1)": "",
    "0-1": "",
    "1": "",
    "dimensionless": "",
    "none": "",
    "yr": "year",
}
# A letter followed by an exponent written the UDUNITS way (m2, s-1), or as m^2 or m**2.
_POWER = re.compile(r"([A-Za-z_]+)\s*(?:\*\*|\^)?\s*\(?([+-]?\d+)\)?")
_WATER_DENSITY = 1000.0  # kg m-3: a kg of rain on a square metre is a millimetre deep


class Conversion(NamedTuple):
    """The line ``scale * x + offset`` that takes one unit to another."""

    scale: float
    offset: float

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self.scale == 1.0 and self.offset == 0.0


@functools.cache
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    registry.define("permille = 0.001")
    # A trend "per year" means the calendar's year; pint's is the Julian one.
    registry.define("calendar_year = 365.2425 day")
    water: Any = pint.Context("water")
    for extra in ("", " / [time]"):
        depth, mass = f"[length]{extra}", f"[mass] / [length] ** 2{extra}"
        water.add_transformation(depth, mass, _depth_to_mass)
        water.add_transformation(mass, depth, _mass_to_depth)
    registry.add_context(water)
    return registry


def _depth_to_mass(registry: Any, value: Any) -> Any:
    return value * registry.Quantity(_WATER_DENSITY, "kg / m**3")


def _mass_to_depth(registry: Any, value: Any) -> Any:
    return value / registry.Quantity(_WATER_DENSITY, "kg / m**3")


def _normalise(text: str) -> str:
    text = " ".join(str(text).split())
    known = _SPELLINGS.get(text.lower())
    if known is not None:
        return known
    text = re.sub(r"(?<=[A-Za-z0-9])\.(?=[A-Za-z])", " ", text)
    text = re.sub(r"\byr\b", "year", text).replace("%", "percent")
    return _POWER.sub(r"\1**(\2)", text).replace("year", "calendar_year")


@functools.lru_cache(maxsize=512)
def parse_units(text: str) -> Any:
    """Return the pint unit that a CF, UDUNITS or provider's spelling means.

    Parameters
    ----------
    text : str
        Such as ``"m2 s-2"``, ``"m**2 s**-2"``, ``"mm/day"``, ``"degree_C"``, ``"centimeter"``.

    Raises
    ------
    DataError
        If no unit is written so.
    """
    try:
        return _registry().parse_units(_normalise(text))
    except Exception as error:  # pint raises its own, tokenize's and plain ValueErrors
        raise DataError(f"units must be a known unit, got {text!r}") from error


@functools.lru_cache(maxsize=512)
def find_conversion(source: str, target: str) -> Conversion:
    """Find the line from one unit to another; a depth of water and a mass per area count as the same thing.

    Parameters
    ----------
    source, target : str
        Units as written in a file, and as wanted.

    Returns
    -------
    Conversion
        ``scale`` and ``offset`` with ``target = scale * source + offset``.

    Raises
    ------
    DataError
        If either is unknown, or if they measure different things.

    Examples
    --------
    >>> find_conversion("cm", "m")
    Conversion(scale=0.01, offset=0.0)
    >>> find_conversion("degC", "K")
    Conversion(scale=1.0, offset=273.15)
    >>> find_conversion("mm/day", "kg m-2 s-1").scale * 86400
    1.0
    """
    if source == target:
        return Conversion(1.0, 0.0)
    registry = _registry()
    here, there = parse_units(source), parse_units(target)
    try:
        with registry.context("water"):
            at_zero, at_one = (float(registry.Quantity(x, here).to(there).magnitude) for x in (0.0, 1.0))
    except Exception as error:  # DimensionalityError, and what offset units raise inside products
        raise DataError(f"units must be convertible to {target!r}, got {source!r}") from error
    if at_zero == 0.0:
        return Conversion(at_one, 0.0)
    # The difference of two large numbers invents its last digits.
    return Conversion(float(f"{at_one - at_zero:.10g}"), float(f"{at_zero:.10g}"))


def are_compatible(source: str, target: str) -> bool:
    """Whether two spellings measure the same thing; an unknown spelling is compatible with none."""
    try:
        find_conversion(source, target)
    except DataError:
        return False
    return True


def convert(values: np.ndarray, source: str, target: str) -> np.ndarray:
    """Convert an array between units, in float64; NaN stays NaN."""
    scale, offset = find_conversion(source, target)
    return np.asarray(values, dtype=np.float64) * scale + offset
