"""Writing: text, JSON, NetCDF and zarr that are whole or not there, and say where they came from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.atomic import atomic_path, recover_output
from isopleth.io.layout import as_dataset, chunk_lengths, prepare_for_disk
from isopleth.io.provenance import Provenance, creation_time, describe, plain
from isopleth.io.zarr_writer import ZarrWriter

__all__ = [
    "Provenance",
    "ZarrWriter",
    "atomic_path",
    "recover_output",
    "write_json",
    "write_netcdf",
    "write_text",
    "write_zarr",
]

# A region is as many chunks as fit in this, at least one: what a kill can cost, and what is held in memory.
_REGION_BYTES = 16 * 2**20


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a UTF-8 text file atomically; return its path."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | os.PathLike[str], obj: Any) -> Path:
    """Write an object as JSON atomically; NumPy numbers, dates and paths are turned into JSON's kinds.

    Raises
    ------
    DataError
        If a number is not finite or an object has no JSON form; an old file stays as it was.
    """
    try:
        text = json.dumps(plain(obj), indent=2, allow_nan=False, ensure_ascii=False)
    except DataError as error:
        raise DataError(error.what, where=path, hint=error.hint) from error
    return write_text(path, text + "\n")


def write_netcdf(
    ds: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    provenance: Provenance | None = None,
    dtype: str | None = "float32",
) -> Path:
    """Write a dataset as one compressed NetCDF 4 file, atomically.

    Parameters
    ----------
    ds : Dataset or DataArray
        What to write; dask arrays are written chunk by chunk and never held whole.
    path : path
        The file to make or replace.
    provenance : Provenance, optional
        Who made it and from what.
    dtype : str or None
        What floating-point variables are stored as; None keeps each one's own. Coordinates keep theirs.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If the dataset cannot be stored, or a folder stands at ``path``.
    """
    described = describe(prepare_for_disk(as_dataset(ds), dtype), provenance, creation_time())
    encoding = {str(name): _netcdf_encoding(described[name]) for name in described.data_vars}
    with atomic_path(path) as partial:
        described.to_netcdf(partial, engine="h5netcdf", format="NETCDF4", encoding=encoding)
    return Path(path)


def write_zarr(
    ds: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    provenance: Provenance | None = None,
    dim: str = "time",
    chunks: Mapping[str, int] | None = None,
    dtype: str | None = "float32",
) -> Path:
    """Write a dataset as a zarr 3 store, atomically, resumable on request.

    Parameters
    ----------
    ds : Dataset or DataArray
        What to write; dask arrays stay lazy, and so do variables of an opened file.
    path : path
        The store to make or replace. A folder that is no zarr store is never replaced.
    resume : bool
        Write region by region along ``dim`` and, when an earlier call with the same dataset was killed, go on
        at the first region it had not finished; the store ends with the same bytes as an unbroken one. A
        store that is already there and complete is left as it is. What depends on all of ``dim`` at once (an
        anomaly from the mean, say) is computed again for each region: persist it first.
    provenance : Provenance, optional
        Who made it and from what. Part of what "the same dataset" means; values are not, as they may not
        have been computed yet.
    dim : str
        The dimension along which regions run.
    chunks : mapping of str to int, optional
        Chunk lengths. By default those of the dask arrays, else whole fields; along ``dim`` as many as make
        4 to 64 MiB.
    dtype : str or None
        What floating-point variables are stored as; None keeps each one's own. Coordinates keep theirs.

    Returns
    -------
    Path
        The store.

    Raises
    ------
    DataError
        If ``resume`` finds a dataset of other variables, shapes, coordinates, attributes, chunks or
        provenance, or a second process at work; if the dataset cannot be stored.
    """
    ds = as_dataset(ds)
    settings: dict[str, Any] = {"dim": dim, "provenance": provenance, "chunks": chunks, "dtype": dtype}
    with ZarrWriter(path, ds, resume=resume, **settings) as writer:
        step = writer.total if not resume and _is_dask(ds, dim) else writer.region_length(_REGION_BYTES)
        for start in range(writer.done, writer.total, max(step, 1)):
            writer.write(ds.isel({dim: slice(start, start + step)}))
    return Path(path)


def _is_dask(ds: xr.Dataset, dim: str) -> bool:
    """Say whether dask streams every variable that runs along ``dim``."""
    return all(array.chunks is not None for array in ds.data_vars.values() if dim in array.dims)


def _netcdf_encoding(array: xr.DataArray) -> dict[str, Any]:
    if array.dtype.kind not in "iuf" or not array.ndim or not array.size:
        return {}
    lengths = chunk_lengths(array, array.dims[0], {})
    encoding: dict[str, Any] = {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": lengths}
    if array.dtype.kind == "f":
        encoding["_FillValue"] = np.array(np.nan, array.dtype)
    return encoding
