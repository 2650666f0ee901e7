"""Read what `Landscape.save` wrote, and decision processes that are kept as datasets."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from conservation_decisions.landscape import Landscape
from isopleth.errors import DataError


def read_dataset(path: Path) -> xr.Dataset:
    """Read a whole NetCDF file or zarr store into memory.

    Raises
    ------
    DataError
        If it cannot be read as what its ending says.
    """
    try:
        if path.is_dir():
            with xr.open_zarr(path, chunks=None) as found:
                return found.load()
        with xr.open_dataset(path, engine="h5netcdf") as found:
            return found.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"a store must be zarr or NetCDF 4 that can be read, got: {reason}", where=path
        ) from error


def read_store(path: Path) -> Landscape:
    """Read a landscape from a zarr store or a NetCDF file."""
    return Landscape(read_dataset(path))
