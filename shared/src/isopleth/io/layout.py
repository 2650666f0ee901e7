"""How a dataset lies on the disk: names, dtypes, chunks, compression, and the hash that tells two apart."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.provenance import Provenance, plain

# Large enough that a disk reads it at full speed, small enough that a time step costs little.
_CHUNK_BYTES = 4 * 2**20
_HUGE_BYTES = 64 * 2**20
_MOST_CHUNKS = 16


def as_dataset(data: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Return a dataset of storable names."""
    ds = data if isinstance(data, xr.Dataset) else data.to_dataset(name=data.name or "data")
    for name in ds.variables:
        if not isinstance(name, str) or not name or "/" in name or "\\" in name or name in {".", ".."}:
            raise DataError(f"a variable's name must be text without slashes, got {name!r}")
    if not ds.data_vars:
        raise DataError("a dataset must have at least one variable to write, got none")
    return ds


def prepare_for_disk(ds: xr.Dataset, dtype: str | None) -> xr.Dataset:
    """Return the dataset with floats of one kind, and without what its source file had as encoding."""
    prepared = ds.copy(deep=False)
    for name, array in ds.variables.items():
        if name in ds.data_vars:
            # The variable alone: an array would bring its coordinates back as they were.
            prepared[name] = _cast(_stream(ds[name]), dtype).variable
        if array.dtype.kind in "UT":
            # Text of fixed width, which an index of pandas 2 makes of any, has no zarr 3 specification.
            prepared[name] = prepared[name].astype(object)
        keep = {"units", "calendar"} if array.dtype.kind in "mMO" else set()
        prepared[name].encoding = {key: value for key, value in array.encoding.items() if key in keep}
    return prepared


def _stream(array: xr.DataArray) -> xr.DataArray:
    """Return an array that is still in its file as dask chunks: a cast would read it whole."""
    if array.chunks is not None or array.variable._in_memory or not array.ndim:
        return array
    lengths = chunk_lengths(array, array.dims[0], {})
    return array.chunk(dict(zip(array.dims, lengths, strict=True)))


def _cast(array: xr.DataArray, dtype: str | None) -> xr.DataArray:
    return array if dtype is None or array.dtype.kind != "f" else array.astype(dtype)


def is_zarr(path: Path) -> bool:
    """Say whether a folder is a zarr store, of version 2 or 3."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def chunk_lengths(array: xr.DataArray, dim: Hashable, chunks: Mapping[str, int]) -> tuple[int, ...]:
    """Return chunk lengths: as asked, else as dask has them or whole fields, of 4 to 64 MiB along ``dim``."""
    sizes = {str(d): int(size) for d, size in array.sizes.items()}
    lengths = {d: max(parts) for d, parts in zip(sizes, array.chunks, strict=True)} if array.chunks else sizes
    if array.chunks is None and dim in lengths:
        lengths = {**lengths, str(dim): 1}
    lengths = {d: max(1, min(chunks.get(d, length), sizes[d])) for d, length in lengths.items()}
    if dim in lengths and dim not in chunks:
        size = math.prod(lengths.values()) * array.dtype.itemsize
        length = lengths[str(dim)]
        # Multiples of dask's chunks, so that each is written once; parts of them where they are huge.
        parts = math.ceil(size / _HUGE_BYTES)
        fitting = math.ceil(length / parts) if parts > 1 else length * max(1, _CHUNK_BYTES // size)
        lengths[str(dim)] = max(1, min(fitting, sizes[str(dim)]))
    return tuple(lengths.values())


def store_chunks(ds: xr.Dataset, dim: str, chunks: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the chunk lengths of every variable, those along ``dim`` powers of two of the shortest apart.

    A few steps are then whole chunks of all variables at once, however their sizes differ.

    Raises
    ------
    DataError
        If the chunks asked for are not positive lengths of dimensions.
    """
    unknown = sorted(set(chunks) - set(map(str, ds.dims)))
    if unknown or any(length < 1 for length in chunks.values()):
        raise DataError(f"chunks must be positive lengths of {sorted(map(str, ds.dims))}, got {dict(chunks)}")
    lengths = {str(name): chunk_lengths(array, dim, chunks) for name, array in ds.data_vars.items()}
    axes = {str(name): array.dims.index(dim) for name, array in ds.data_vars.items() if dim in array.dims}
    shortest = min((lengths[name][axis] for name, axis in axes.items()), default=1)
    for name, axis in axes.items():
        multiple = min(_MOST_CHUNKS, 2 ** int(math.log2(lengths[name][axis] / shortest)))
        lengths[name] = (*lengths[name][:axis], shortest * multiple, *lengths[name][axis + 1 :])
    return lengths


def common_chunk(chunks: dict[str, tuple[int, ...]], ds: xr.Dataset, dim: str) -> int:
    """Return the length along the dimension that is whole chunks of every variable."""
    lengths = [chunks[str(n)][a.dims.index(dim)] for n, a in ds.data_vars.items() if dim in a.dims]
    return math.lcm(*lengths) if lengths else 1


def hollow(ds: xr.Dataset, dim: str) -> xr.Dataset:
    """Return the dataset with nothing in the variables that grow: no value of theirs is ever read."""
    import dask.array

    # One chunk, for nothing is computed: a task for each of a million stored chunks would take minutes.
    growing = {
        name: array.variable.copy(data=dask.array.empty(array.shape, dtype=array.dtype, chunks=-1))
        for name, array in ds.data_vars.items()
        if dim in array.dims
    }
    return ds.assign(growing)


def zarr_encoding(array: xr.DataArray, lengths: tuple[int, ...]) -> dict[str, Any]:
    """Return chunks and compression of a variable, as xarray's zarr backend takes them."""
    if not array.ndim:
        return {}
    if array.dtype.kind not in "iuf":
        return {"chunks": lengths}
    from zarr.codecs import BloscCodec

    # Shuffled bytes of neighbouring floats compress two to four times better, at the speed of the disk.
    codec = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=array.dtype.itemsize)
    return {"chunks": lengths, "compressors": (codec,)}


def fingerprint(ds: xr.Dataset, dim: str, chunks: dict[str, tuple[int, ...]], provenance: Provenance) -> str:
    """Hash everything about a dataset but the values that are still to be computed."""
    record = {
        "dim": dim,
        "chunks": chunks,
        "provenance": vars(provenance),
        "attrs": {key: repr(value) for key, value in ds.attrs.items()},
        "variables": [
            _describe_variable(str(name), array, hashed=name in ds.coords or dim not in array.dims)
            for name, array in ds.variables.items()
        ],
    }
    return hashlib.sha256(json.dumps(plain(record), sort_keys=True).encode()).hexdigest()


def _describe_variable(name: str, array: xr.Variable, *, hashed: bool) -> dict[str, Any]:
    return {
        "name": name,
        "dims": list(map(str, array.dims)),
        "shape": array.shape,
        "dtype": str(array.dtype),
        "attrs": {str(key): repr(value) for key, value in array.attrs.items()},
        "values": _hash_values(array) if hashed else None,
    }


def _hash_values(array: xr.Variable) -> str:
    values = np.asarray(array.values)
    data = (
        repr(values.tolist()).encode() if values.dtype.kind == "O" else np.ascontiguousarray(values).tobytes()
    )
    return hashlib.sha256(data).hexdigest()
