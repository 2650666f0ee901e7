"""From stored numbers to physical ones: fill values first, then scale and offset, then units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.lexicon import Quantity
from isopleth.io.units import Conversion

# No quantity of the lexicon comes near this in any unit: a larger number is a fill value somebody forgot to
# declare.
LARGEST_VALUE = 1e15
# Fill values met in files that do not declare them. The small ones count only where the lexicon says that the
# quantity cannot take such a value; the huge ones (NetCDF's own default among them) wherever floats are
# stored.
SMALL_FILLS = (-9999.0, -999.0, -1000.0, -99999.0, -32768.0, -32767.0)
HUGE_FILLS = (1e20, 1e30, 1e35, 1e36, -1e34, 9.969209968386869e36, 1.8446744073709552e19)
_ENCODING = frozenset({
    "_FillValue", "_Unsigned", "actual_range", "add_offset", "ancillary_variables", "bounds", "calendar",
    "cell_measures", "coordinates", "dtype", "grid_mapping", "missing_value", "scale_factor", "units",
    "valid_max", "valid_min", "valid_range",
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Decoding:
    """How stored numbers become physical ones: ``scale * raw + offset`` where ``raw`` is not missing.

    Computed in float64 and returned in ``dtype``; missing values become NaN.
    """

    dtype: np.dtype
    missing: np.ndarray
    scale: float = 1.0
    offset: float = 0.0
    unsigned: bool = False
    largest: float = field(default=np.inf)

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Return the physical values; an array that needs nothing is returned as it is."""
        raw = raw.view(raw.dtype.str.replace("i", "u")) if self.unsigned else raw
        missing = self._find_missing(raw)
        values = raw
        if (self.scale, self.offset) != (1.0, 0.0):
            with np.errstate(over="ignore", invalid="ignore"):  # fill values on their way to NaN
                values = raw.astype(np.float64) * self.scale + self.offset
        with np.errstate(over="ignore", invalid="ignore"):
            values = values.astype(self.dtype, copy=missing is not None)
        if missing is not None:
            values[missing] = np.nan
        return values

    def _find_missing(self, raw: np.ndarray) -> np.ndarray | None:
        if self.dtype.kind != "f" or raw.size == 0:
            return None
        # Two passes over the values tell which of a dozen fill values can be among them: mostly none.
        low, high = np.fmin.reduce(raw, axis=None), np.fmax.reduce(raw, axis=None)
        present = self.missing[(self.missing >= low) & (self.missing <= high)]
        too_large = bool(low < -self.largest or high > self.largest)
        if not present.size and not too_large:
            return None
        missing = np.abs(raw) > self.largest if too_large else np.zeros(raw.shape, bool)
        for value in present:
            missing |= raw == value
        return missing


def plan_decoding(raw: xr.Variable, quantity: Quantity | None, conversion: Conversion) -> Decoding:
    """Read a variable's encoding attributes, and find the fill values that they forget.

    Parameters
    ----------
    raw : xr.Variable
        As stored: ``scale_factor``, ``_FillValue`` and the like still among its attributes.
    quantity : Quantity, optional
        What the lexicon knows of it.
    conversion : Conversion
        From the file's units to the canonical ones.

    Returns
    -------
    Decoding
        Its dtype is float32 unless float64 or plain integers are stored.
    """
    attrs, stored = raw.attrs, raw.dtype
    unsigned = stored.kind == "i" and str(attrs.get("_Unsigned", "")).lower() == "true"
    if unsigned:
        stored = np.dtype(stored.str.replace("i", "u"))
    packing = (_number(attrs, "scale_factor", 1.0), _number(attrs, "add_offset", 0.0))
    declared = _declared_fills(attrs, stored)
    scale = packing[0] * conversion.scale
    offset = packing[1] * conversion.scale + conversion.offset
    changes = bool(declared.size) or packing != (1.0, 0.0) or not conversion.is_identity
    fills = _undeclared_fills(stored, quantity, scale, offset) if changes or stored.kind == "f" else []
    return Decoding(
        dtype=_result_dtype(stored, changes=changes, packed=packing != (1.0, 0.0)),
        missing=np.unique(np.concatenate([declared, np.asarray(fills, dtype=stored)])),
        scale=scale,
        offset=offset,
        unsigned=unsigned,
        largest=LARGEST_VALUE if quantity is not None and stored.kind == "f" else np.inf,
    )


def describe_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that still hold once a variable is decoded."""
    return {key: value for key, value in attrs.items() if key not in _ENCODING}


def _number(attrs: Mapping[str, Any], key: str, default: float) -> float:
    value = attrs.get(key, default)
    try:
        number = float(np.ravel(value)[0])
    except (TypeError, ValueError, IndexError) as error:
        raise DataError(f"{key} must be a number, got {value!r}") from error
    if not np.isfinite(number):
        raise DataError(f"{key} must be finite, got {number}")
    return number


def _declared_fills(attrs: Mapping[str, Any], stored: np.dtype) -> np.ndarray:
    """Collect the declared fills as the stored type sees them: 1e20 in float32 is not 1e20."""
    fills = [x for key in ("_FillValue", "missing_value") for x in np.ravel(attrs.get(key, ()))]
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.array([x for x in fills if isinstance(x, int | float | np.number)], dtype=np.float64)
        if stored.kind in "iu":
            info = np.iinfo(stored)
            # An unsigned type may declare its fill as the signed twin (-1 for 255).
            numbers = np.where(numbers < info.min, numbers + 2.0**info.bits, numbers)
            numbers = numbers[(numbers >= info.min) & (numbers <= info.max)]
        return numbers[~np.isnan(numbers)].astype(stored)


def _undeclared_fills(
    stored: np.dtype, quantity: Quantity | None, scale: float, offset: float
) -> list[float]:
    fills = list(HUGE_FILLS) if stored.kind == "f" else []
    if quantity is not None:
        fills += [
            x
            for x in SMALL_FILLS
            if not quantity.low <= scale * x + offset <= quantity.high and _fits(x, stored)
        ]
    return fills


def _fits(value: float, stored: np.dtype) -> bool:
    return stored.kind == "f" or np.iinfo(stored).min <= value <= np.iinfo(stored).max


def _result_dtype(stored: np.dtype, *, changes: bool, packed: bool) -> np.dtype:
    if stored.kind == "f":
        return np.dtype(np.float64 if stored.itemsize > 4 else np.float32)
    if not changes:
        return stored
    exact = packed or stored.itemsize <= 2
    return np.dtype(np.float32 if exact else np.float64)
