"""What every output says about itself: CF attributes, and who made it from what."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.io.lexicon import LEXICON

CONVENTIONS = "CF-1.11"
# The global attribute that holds the provenance, as JSON.
PROVENANCE_ATTRIBUTE = "isopleth_provenance"

# What CF says of the canonical coordinates.
COORDINATE_ATTRIBUTES: dict[str, dict[str, str]] = {
    "lat": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "lon": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"},
    "level": {
        "standard_name": "air_pressure",
        "long_name": "pressure level",
        "units": "hPa",
        "axis": "Z",
        "positive": "down",
    },
    "time": {"standard_name": "time", "long_name": "time", "axis": "T"},
    "lead": {"standard_name": "forecast_period", "long_name": "time since the start of the forecast"},
    "member": {"standard_name": "realization", "long_name": "ensemble member", "units": "1", "axis": "E"},
}


@dataclass(frozen=True)
class Provenance:
    """Who made an output, and from what.

    Parameters
    ----------
    tool, version : str
        What wrote it.
    config_hash : str
        :func:`isopleth.config.config_hash` of the settings it was made with; empty where there were none.
    inputs : tuple of str
        Paths, URLs or fingerprints of what it was made from.
    """

    tool: str = "isopleth"
    version: str = ""
    config_hash: str = ""
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(str(item) for item in self.inputs))
        if self.tool == "isopleth" and not self.version:
            from isopleth import __version__

            object.__setattr__(self, "version", __version__)

    def attributes(self, created: str) -> dict[str, str]:
        """Return global attributes: a line of history, and everything as JSON."""
        record = {
            "tool": self.tool,
            "version": self.version,
            "config_hash": self.config_hash,
            "inputs": list(self.inputs),
            "created": created,
        }
        return {
            "Conventions": CONVENTIONS,
            "history": f"{created} {self.tool} {self.version}".rstrip(),
            PROVENANCE_ATTRIBUTE: json.dumps(record),
        }


def creation_time() -> str:
    """Return the time of writing in UTC, or that of SOURCE_DATE_EPOCH for reproducible outputs.

    Examples
    --------
    >>> os.environ["SOURCE_DATE_EPOCH"] = "0"
    >>> creation_time()
    '1970-01-01T00:00:00Z'
    >>> del os.environ["SOURCE_DATE_EPOCH"]
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        moment = dt.datetime.now(dt.UTC)
    else:
        try:
            moment = dt.datetime.fromtimestamp(int(epoch), dt.UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise ConfigError(f"SOURCE_DATE_EPOCH must be whole seconds since 1970, got {epoch!r}") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def describe(ds: xr.Dataset, provenance: Provenance | None, created: str) -> xr.Dataset:
    """Return the dataset with CF attributes and provenance, all of them writable.

    Attributes that are there stay. Coordinates of the canonical names get their CF ones, variables in the
    units of the lexicon their standard name, and whatever has no ``long_name`` its name in words; units are
    never invented. An existing history is continued.
    """
    described = ds.copy(deep=False)
    for name in [*ds.data_vars, *ds.coords]:
        described[name].attrs = _writable(_cf_attributes(str(name), ds[name]))
    new = (provenance or Provenance()).attributes(created)
    if ds.attrs.get("history"):
        new["history"] = f"{ds.attrs['history']}\n{new['history']}"
    described.attrs = _writable({**ds.attrs, **new})
    return described


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy numbers, arrays, dates, paths and mappings included.

    Raises
    ------
    DataError
        If a number is not finite, which JSON cannot say, or the value is of no such kind.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        raise DataError(
            f"a JSON number must be finite, got {value}", hint="write null where nothing is known"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike | np.datetime64 | np.timedelta64):
        return str(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    raise DataError(f"a JSON value must be a number, text, list or mapping, got {type(value).__name__}")


def _cf_attributes(name: str, array: xr.DataArray) -> dict[str, Any]:
    attrs = {**COORDINATE_ATTRIBUTES.get(name, {}), **array.attrs}
    quantity = LEXICON.get(name)
    # Not for a variable in other units: a standardised or converted field is another quantity.
    if quantity and quantity.standard_names and attrs.get("units") == quantity.units:
        attrs.setdefault("standard_name", quantity.standard_names[0])
    attrs.setdefault("long_name", name.replace("_", " "))
    if array.dtype.kind in "mMO":
        # xarray writes the units (and calendar) of times itself.
        attrs.pop("units", None)
        attrs.pop("calendar", None)
    return attrs


def _writable(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as NetCDF and zarr can hold them; what is neither number nor text turns to JSON."""
    return {str(key): _writable_value(value) for key, value in attrs.items() if value is not None}


def _writable_value(value: Any) -> Any:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, list | tuple | np.ndarray):
        array = np.asarray(value)
        if array.ndim == 1 and array.size and array.dtype.kind in "iuf":
            return array.tolist()
    try:
        return json.dumps(plain(value))
    except DataError:
        return str(value)
