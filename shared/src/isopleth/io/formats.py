"""File formats: recognised by their first bytes, not by their names, and opened with nothing decoded."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from isopleth.errors import DataError, IsoplethError, MissingDependencyError, require
from isopleth.io.archives import unpack
from isopleth.io.netcdf3 import check_length
from isopleth.io.sources import fetch, is_url, is_zarr, open_filesystem, read_start

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MAGIC = (
    (b"CDF\x01", "netcdf3"),
    (b"CDF\x02", "netcdf3"),
    (b"CDF\x05", "netcdf3-64bit"),
    (_HDF5, "netcdf4"),
    (b"GRIB", "grib"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_IMPOSTORS = (
    (b"\x1f\x8b", "a gzip file", "gunzip it first"),
    (b"BZh", "a bzip2 file", "bunzip2 it first"),
    (b"II*\x00", "a TIFF image", "convert it with gdal_translate -of netCDF"),
    (b"MM\x00*", "a TIFF image", "convert it with gdal_translate -of netCDF"),
    (b"\x0e\x03\x13\x01", "an HDF4 file", "convert it with h4tonccf"),
    (b"%PDF", "a PDF", "download the data, not its description"),
)


@dataclass(frozen=True)
class RawFile:
    """A file as stored: its name, its format, and its variables undecoded."""

    place: str
    format: str
    dataset: xr.Dataset


def recognise(place: str) -> str:
    """Name the format of a file, folder or URL: "netcdf3", "netcdf4", "zarr", "grib" or "zip".

    Raises
    ------
    DataError
        If it is empty, or something else under a data file's name.
    """
    if (is_url(place) or Path(place).is_dir()) and is_zarr(place):
        return "zarr"
    try:
        start = read_start(place)
    except OSError as error:
        raise DataError(f"file must be readable, got {type(error).__name__}: {error}", where=place) from error
    if not start:
        raise DataError("file must not be empty, got 0 bytes", where=place, hint="fetch it again")
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    kind, hint = _describe_impostor(start)
    raise DataError(f"file must be NetCDF, GRIB, zarr or a zip of them, got {kind}", where=place, hint=hint)


def open_raw(place: str) -> Iterator[RawFile]:
    """Open every dataset that a file, store or URL holds, reading nothing but its header.

    Raises
    ------
    DataError
        If it is damaged or no data file.
    MissingDependencyError
        If it needs a package that is not installed.
    """
    kind = recognise(place)
    try:
        yield from _OPENERS[kind](place)
    except (IsoplethError, KeyboardInterrupt):
        raise
    except Exception as error:  # every library below raises its own
        raise DataError(
            f"{kind} file must be whole, got {type(error).__name__}: {str(error)[:200]}",
            where=place,
            hint="it is truncated or damaged: fetch it again",
        ) from error


def _open_netcdf3(place: str) -> Iterator[RawFile]:
    from xarray.backends import ScipyBackendEntrypoint

    path = _local(place)
    check_length(path)
    yield RawFile(place, "NetCDF 3", _open(path, ScipyBackendEntrypoint))


def _open_netcdf3_64bit(place: str) -> Iterator[RawFile]:
    require("netCDF4", install="netCDF4", purpose="read NetCDF 3 files of the 64-bit data kind (CDF-5)")
    from xarray.backends import NetCDF4BackendEntrypoint

    path = _local(place)
    check_length(path)
    yield RawFile(place, "NetCDF 3 (CDF-5)", _open(path, NetCDF4BackendEntrypoint))


def _open_netcdf4(place: str) -> Iterator[RawFile]:
    from xarray.backends import H5netcdfBackendEntrypoint, NetCDF4BackendEntrypoint

    has_h5py = importlib.util.find_spec("h5py") is not None
    if is_url(place) and has_h5py:
        fs, path = open_filesystem(place)
        yield RawFile(place, "NetCDF 4", _open(fs.open(path, "rb"), H5netcdfBackendEntrypoint))
    elif importlib.util.find_spec("netCDF4") is not None:
        yield RawFile(place, "NetCDF 4", _open(_local(place), NetCDF4BackendEntrypoint))
    elif has_h5py:
        yield RawFile(place, "NetCDF 4", _open(_local(place), H5netcdfBackendEntrypoint))
    else:
        raise MissingDependencyError(
            "h5py or netCDF4 is needed to read NetCDF 4 files",
            where=place,
            hint="pip install 'h5netcdf[h5py]'",
        )


def _open_zarr(place: str) -> Iterator[RawFile]:
    from xarray.backends import ZarrBackendEntrypoint

    with warnings.catch_warnings():
        # A store without consolidated metadata only opens more slowly.
        warnings.simplefilter("ignore", RuntimeWarning)
        dataset = _open(place, ZarrBackendEntrypoint)
    yield RawFile(place, _zarr_version(place), dataset)


def _open_zip(place: str) -> Iterator[RawFile]:
    for member in unpack(_local(place)):
        for raw in open_raw(str(member)):
            name = member.name.partition("-")[2]
            yield RawFile(f"{place}!{name}", f"{raw.format} in a zip", raw.dataset)


def _open_grib(place: str) -> Iterator[RawFile]:
    try:
        cfgrib = require("cfgrib", install="isopleth[grib]", purpose="read GRIB files")
    except RuntimeError as error:  # cfgrib is there, the C library under it is not
        raise MissingDependencyError(
            f"the ecCodes library is needed to read GRIB files ({error})",
            where=place,
            hint="pip install 'isopleth[grib]'",
        ) from error
    path = str(_local(place))
    # No index beside the data: the folder may be read-only, or shared.
    for dataset in cfgrib.open_datasets(path, backend_kwargs={"indexpath": ""}):
        yield RawFile(place, "GRIB", dataset)


_OPENERS: dict[str, Any] = {
    "netcdf3": _open_netcdf3,
    "netcdf3-64bit": _open_netcdf3_64bit,
    "netcdf4": _open_netcdf4,
    "zarr": _open_zarr,
    "zip": _open_zip,
    "grib": _open_grib,
}


def _open(target: Any, engine: Any) -> xr.Dataset:
    # The engine itself, not its name: xarray then loads no other engine, and warns of no broken one.
    return engine().open_dataset(
        target, mask_and_scale=False, decode_times=False, decode_coords=False, decode_timedelta=False
    )


def _local(place: str) -> Path:
    return fetch(place) if is_url(place) else Path(place)


def _zarr_version(place: str) -> str:
    if is_url(place):
        fs, path = open_filesystem(place)
        return "Zarr 3" if fs.exists(f"{path.rstrip('/')}/zarr.json") else "Zarr 2"
    return "Zarr 3" if (Path(place) / "zarr.json").is_file() else "Zarr 2"


def _describe_impostor(start: bytes) -> tuple[str, str]:
    for magic, kind, hint in _IMPOSTORS:
        if start.startswith(magic):
            return kind, hint
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page", "the download needs a login or the address moved: look at the file in a browser"
    if text.startswith((b"{", b"[")):
        return "JSON text", "it may hold the server's error message: read it"
    try:
        line = start.decode("utf-8").splitlines()[0][:60]
    except (UnicodeDecodeError, IndexError):
        return f"bytes {start[:8]!r}", "fetch it again"
    if not line.isprintable():
        return f"bytes {start[:8]!r}", "fetch it again"
    return f"text that starts {line!r}", "it may hold the server's error message: read it"
