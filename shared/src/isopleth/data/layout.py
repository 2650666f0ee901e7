"""The files of a packed store, and how a block of time gets into them.

::

    STORE/
      store.json        what the store is; written last, so a folder with it is whole
      normaliser.json   mean and standard deviation of each channel
      fields/           zarr v3 (time, channel, lat, lon): z-scores, a chunk a time step
      valid/            the same shape, where `missing="mask"`: 1 where there is a value
      digests/          SHA-256 of each time step; written after the step, so a step with a digest is whole
      lat/ lon/ time/   coordinates, so that `xarray.open_zarr` understands the folder too

While it is being written the folder lies in a hidden one beside its place, with ``plan.json`` next to it, and
``moments/`` (the statistics of each training step) in it.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.codecs
from numpy.typing import NDArray

from isopleth.data.encoding import Precision, digest, encode, fill_value, stored_dtype
from isopleth.data.moments import Floats, step_moments
from isopleth.data.normaliser import Normaliser
from isopleth.data.source import Guard, Source, stack
from isopleth.data.times import TimeAxis
from isopleth.errors import DataError
from isopleth.io.provenance import COORDINATE_ATTRIBUTES

SCHEMA = "isopleth.store/1"
RECORD, PLAN, NORMALISER = "store.json", "plan.json", "normaliser.json"
FIELDS, VALID, DIGESTS, MOMENTS = "fields", "valid", "digests", "moments"
# No byte of this value is ever written to `valid`, so that a missing chunk shows.
NOT_WRITTEN = 255

_DIMS = ("time", "channel", "lat", "lon")
# One folder of files named c.0.0.0.0, c.1.0.0.0, ...: a quarter of the inodes of nested ones.
_FLAT: Any = {"name": "default", "separator": "."}


def create_arrays(
    path: Path,
    source: Source,
    *,
    dtype: Precision,
    masked: bool,
    compress: bool,
    steps_per_shard: int,
    block_steps: int,
) -> None:
    """Create the empty arrays of a store, in place of whatever the folder held."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    n_steps, *cells = source.shape
    chunk = {
        "shape": source.shape,
        "chunks": (1, *cells),
        "shards": (min(steps_per_shard, n_steps), *cells) if steps_per_shard > 1 else None,
        "chunk_key_encoding": _FLAT,
        "dimension_names": _DIMS,
    }
    # Weather does not compress without loss; a checksum finds what a disk forgot.
    codec = zarr.codecs.ZstdCodec(level=1, checksum=True) if compress else zarr.codecs.Crc32cCodec()
    attributes: dict[str, Any] = {"channels": list(source.names), "encoding": dtype}
    group.create_array(
        FIELDS,
        dtype=stored_dtype(dtype),
        fill_value=fill_value(dtype),
        compressors=[codec],
        attributes=attributes,
        **chunk,
    )
    if masked:
        zstd = zarr.codecs.ZstdCodec(level=1, checksum=True)
        group.create_array(VALID, dtype="u1", fill_value=NOT_WRITTEN, compressors=[zstd], **chunk)
    rows = min(block_steps, n_steps)
    dims = ("time", "byte")
    group.create_array(
        DIGESTS, shape=(n_steps, 32), chunks=(rows, 32), dtype="u1", fill_value=0, dimension_names=dims
    )
    state = (3, cells[0])
    group.create_array(MOMENTS, shape=(n_steps, *state), chunks=(rows, *state), dtype="f8", fill_value=np.nan)


def write_moments(
    arrays: Sequence[NDArray], path: Path, start: int, guard: Guard, lat_weights: Floats | None
) -> int:
    """Write the statistics of a block of training steps that begins at `start`; return how many."""
    block = stack(arrays)
    guard.check(block)
    _array(path, MOMENTS)[start : start + len(block)] = step_moments(block, lat_weights)
    return len(block)


def write_fields(
    arrays: Sequence[NDArray], path: Path, start: int, guard: Guard, normaliser: Normaliser, dtype: Precision
) -> int:
    """Write a block of time steps that begins at `start`, its digests last; return how many."""
    block = stack(arrays)
    steps = slice(start, start + len(block))
    valid = guard.check(block)
    encoded = _encode(np.where(valid, normaliser.transform(block), 0), dtype, guard)
    _array(path, FIELDS)[steps] = encoded
    written = [encoded]
    if guard.missing == "mask":
        written.append(valid.astype(np.uint8))
        _array(path, VALID)[steps] = written[-1]
    _array(path, DIGESTS)[steps] = np.stack([digest(*step) for step in zip(*written, strict=True)])
    return len(block)


def read_moments(path: Path) -> Floats:
    """Return the statistics of each time step, NaN where they are not written, shape (time, 3, channel)."""
    return np.asarray(_array(path, MOMENTS)[:])


def read_digests(path: Path) -> NDArray[np.uint8]:
    """Return the digest of each time step, zeros where it is not written, shape (time, 32)."""
    return np.asarray(_array(path, DIGESTS)[:])


def write_coordinates(path: Path, source: Source) -> None:
    """Write latitude, longitude and time as CF has them."""
    group = zarr.open_group(path, mode="r+")
    axes: tuple[tuple[str, NDArray[Any], dict[str, Any]], ...] = (
        ("lat", source.grid.lat, COORDINATE_ATTRIBUTES["lat"]),
        ("lon", source.grid.lon, COORDINATE_ATTRIBUTES["lon"]),
        ("time", source.times.seconds, _time_attributes(source.times)),
    )
    for name, values, attributes in axes:
        group.create_array(name, data=values, dimension_names=(name,), attributes=attributes, overwrite=True)
    with warnings.catch_warnings():
        # Not yet in the zarr 3 specification; without it readers list the folder and stumble over the JSON.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path, zarr_format=3)


def remove_scaffold(path: Path) -> None:
    """Remove what a store needs only while it is written, and what a killed writer left behind."""
    shutil.rmtree(path / MOMENTS, ignore_errors=True)
    for stray in path.rglob("*.partial"):
        stray.unlink()


def _encode(values: NDArray, dtype: Precision, guard: Guard) -> NDArray[Any]:
    encoded = encode(values, dtype)
    if dtype != "float32":
        largest = np.abs(values).max(axis=(2, 3))
        limit = 65504.0 if dtype == "float16" else 3.38e38
        if (largest > limit).any():
            step, channel = np.argwhere(largest > limit)[0]
            raise DataError(
                f"{guard.names[channel]} must fit into {dtype} as a z-score, got {largest[step, channel]:g} "
                f"at {guard.times[int(step)]}",
                hint="pack as float32, or look at its statistics",
            )
    return encoded


def _array(path: Path, name: str) -> Any:
    return zarr.open_array(path / name, mode="r+")


def _time_attributes(times: TimeAxis) -> dict[str, Any]:
    since = {"units": "seconds since 1970-01-01 00:00:00", "calendar": times.calendar}
    return COORDINATE_ATTRIBUTES["time"] | since
