"""Reading, writing and regridding gridded data."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Conversion": "units",
    "Inspection": "inspection",
    "LEXICON": "lexicon",
    "Provenance": "write",
    "Quantity": "lexicon",
    "atomic_path": "write",
    "convert": "units",
    "convert_calendar": "calendars",
    "find_conversion": "units",
    "find_sources": "sources",
    "inspect_source": "inspection",
    "open_fields": "read",
    "regrid": "regrid",
    "write_json": "write",
    "write_netcdf": "write",
    "write_text": "write",
    "write_zarr": "write",
}

if TYPE_CHECKING:
    from isopleth.io.calendars import convert_calendar
    from isopleth.io.inspection import Inspection, inspect_source
    from isopleth.io.lexicon import LEXICON, Quantity
    from isopleth.io.read import open_fields
    from isopleth.io.regrid import regrid
    from isopleth.io.sources import find_sources
    from isopleth.io.units import Conversion, convert, find_conversion
    from isopleth.io.write import Provenance, atomic_path, write_json, write_netcdf, write_text, write_zarr

__all__ = [
    "LEXICON",
    "Conversion",
    "Inspection",
    "Provenance",
    "Quantity",
    "atomic_path",
    "convert",
    "convert_calendar",
    "find_conversion",
    "find_sources",
    "inspect_source",
    "open_fields",
    "regrid",
    "write_json",
    "write_netcdf",
    "write_text",
    "write_zarr",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Kept, so that the submodule of the same name (regrid) does not hide the function.
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
