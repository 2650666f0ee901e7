"""Reading, writing and regridding gridded data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isopleth.lazy import lazy_names

_HOMES = {
    "Conversion": "units",
    "Inspection": "inspection",
    "LEXICON": "lexicon",
    "Provenance": "write",
    "Quantity": "lexicon",
    "ZarrWriter": "write",
    "atomic_path": "write",
    "convert": "units",
    "convert_calendar": "calendars",
    "find_conversion": "units",
    "find_sources": "sources",
    "inspect_source": "inspection",
    "open_fields": "read",
    "recover_output": "write",
    "regrid": "regridding",
    "valid_fraction": "regridding",
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
    from isopleth.io.regridding import regrid, valid_fraction
    from isopleth.io.sources import find_sources
    from isopleth.io.units import Conversion, convert, find_conversion
    from isopleth.io.write import (
        Provenance,
        ZarrWriter,
        atomic_path,
        recover_output,
        write_json,
        write_netcdf,
        write_text,
        write_zarr,
    )

__all__ = [
    "LEXICON",
    "Conversion",
    "Inspection",
    "Provenance",
    "Quantity",
    "ZarrWriter",
    "atomic_path",
    "convert",
    "convert_calendar",
    "find_conversion",
    "find_sources",
    "inspect_source",
    "open_fields",
    "recover_output",
    "regrid",
    "valid_fraction",
    "write_json",
    "write_netcdf",
    "write_text",
    "write_zarr",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
