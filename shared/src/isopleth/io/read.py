"""One call that opens gridded data in any layout: `open_fields`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

import isopleth
from isopleth.errors import DataError
from isopleth.io.canonical import Understood, understand
from isopleth.io.combine import Piece, combine
from isopleth.io.formats import RawFile, open_raw
from isopleth.io.sources import Location, find_sources, is_url
from isopleth.io.subset import Period, Region, select_period, select_region

Source = Location | Sequence[Location] | xr.Dataset
Chunks = Mapping[str, int] | int | str | None


@dataclass(frozen=True)
class Opened:
    """What a source turned out to be, file by file, and the canonical Dataset made of it."""

    files: tuple[RawFile, ...]
    understood: tuple[Understood, ...]
    fields: xr.Dataset


def open_fields(
    source: Source,
    *,
    variables: Sequence[str] | None = None,
    period: Period | None = None,
    region: Region | None = None,
    chunks: Chunks = None,
) -> xr.Dataset:
    """Open gridded data as one canonical Dataset, reading nothing that is not looked at.

    NetCDF 3 and 4, Zarr 2 and 3, GRIB (with ``isopleth[grib]``) and zips of them are told apart by content.
    Dims come in the order ``(member, time, lead, level, lat, lon)`` as far as present; curvilinear grids
    keep 2-D ``lat`` and ``lon`` on ``(y, x)``. Latitude ascends, longitude lies in [0, 360) and ascends,
    pressure levels are in hPa and ascend, depth and height are in m. Names and units are those of
    `isopleth.io.lexicon`; a variable it does not know keeps its own. Calendars stay what they are:
    datetime64 for the standard one, cftime for the others.

    Floats are float32 (float64 where stored so). Declared fill values become NaN before any arithmetic; so do
    magnitudes above 1e15, which no known quantity takes, the usual huge fill values in variables that the
    lexicon does not know, and an undeclared -9999 and its like where the quantity cannot take that value.
    In a zarr store a chunk that is not there holds the store's fill value: that is how zarr writes empty
    chunks.

    Parameters
    ----------
    source : str, path, sequence of them, or xr.Dataset
        A file, glob, folder, list or URL (see `find_sources`); files are joined along time, lead, level or
        member and merged by variable. A Dataset in memory is brought into canonical form.
    variables : sequence of str, optional
        Canonical names or the files' own; all fields otherwise.
    period : tuple of str, optional
        ``(start, end)``, both included, each as precise as written; None leaves an end open.
    region : tuple of float, optional
        ``(lat_min, lat_max, lon_min, lon_max)`` in degrees, longitudes in any convention, west to east.
    chunks : mapping, int or "auto", optional
        Dask chunks; ``{}`` takes the files' own. None keeps xarray's lazy indexing, without dask.

    Returns
    -------
    xr.Dataset
        ``attrs["history"]`` tells what was done, ``attrs["source"]`` where it came from if the file does
        not say.

    Raises
    ------
    DataError
        If something cannot be understood: what, where, and what to do.
    MissingDependencyError
        If the format needs a package that is not installed.

    Examples
    --------
    >>> fields = open_fields("era5/*.nc", period=("2001", "2002-06"))  # doctest: +SKIP
    """
    return open_source(source, variables=variables, period=period, region=region, chunks=chunks).fields


def open_source(
    source: Source,
    *,
    variables: Sequence[str] | None = None,
    period: Period | None = None,
    region: Region | None = None,
    chunks: Chunks = None,
) -> Opened:
    """Open gridded data as `open_fields` does, and keep the record of how it was understood."""
    variables = [variables] if isinstance(variables, str) else variables
    files, understood = _understand_files(_open_files(source), variables)
    pieces = [Piece(u.fields, (f.place,)) for u, f in zip(understood, files, strict=True)]
    fields = combine(pieces)
    fields = select_region(select_period(fields, period), region)
    fields = fields.assign_attrs(_record(fields, files, understood))
    if chunks is not None:
        fields = _chunk(fields, chunks, files)
    fields.set_close(functools.partial(_close, files))
    return Opened(tuple(files), tuple(understood), fields)


def _open_files(source: Source) -> list[RawFile]:
    if isinstance(source, xr.Dataset):
        return [RawFile("memory", "xarray", source)]
    return [raw for place in find_sources(source) for raw in open_raw(place)]


def _understand_files(
    files: Sequence[RawFile], variables: Sequence[str] | None
) -> tuple[list[RawFile], list[Understood]]:
    """Understand each file, and keep those that have something of what is wanted."""
    understood = [understand(f.dataset, where=f.place, variables=variables) for f in files]
    found = {name for u in understood for r in u.readings for name in (r.name, r.source_name)}
    for name in variables or ():
        if name not in found:
            offers = sorted({offer for u in understood for offer in u.offers})
            raise DataError(
                f"variable must be one of {', '.join(offers) or 'none at all'}, got {name!r}",
                where=files[0].place if len(files) == 1 else f"{len(files)} files",
            )
    kept = [(f, u) for f, u in zip(files, understood, strict=True) if u.readings]
    return [f for f, _ in kept], [u for _, u in kept]


def _record(fields: xr.Dataset, files: Sequence[RawFile], understood: Sequence[Understood]) -> dict[str, str]:
    done = list(dict.fromkeys(note for u in understood for note in u.notes))
    left_out = sorted({name for u in understood for name in u.left_out})
    if left_out:
        done.append(f"left out {', '.join(left_out)}, which are no fields on this grid")
    places = list(dict.fromkeys(f.place for f in files))  # a GRIB file comes as several datasets
    if len(places) > 1:
        done.append(f"combined {len(places)} files")
    line = f"isopleth {isopleth.__version__} open_fields: {'; '.join(done) or 'nothing to change'}"
    before = str(fields.attrs.get("history", "")).strip()
    names = [place if is_url(place) else Path(place).name for place in places]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return {
        "history": f"{line}\n{before}" if before else line,
        "source": str(fields.attrs.get("source", listed)),
    }


def _chunk(fields: xr.Dataset, chunks: Chunks, files: Sequence[RawFile]) -> xr.Dataset:
    """Chunk for dask; the name of each chunk comes from the files, for hashing the values would read them."""
    from dask.base import tokenize

    if chunks == {}:
        chunks = _stored_chunks(fields)
    token = tokenize([(f.place, _stamp(f.place)) for f in files], fields.attrs["history"], dict(fields.sizes))
    return fields.chunk(chunks, token=token)


def _stored_chunks(fields: xr.Dataset) -> dict[str, int]:
    """Take the largest stored chunk along each dim, so that all variables share one chunking."""
    chunks: dict[str, int] = {}
    for array in fields.data_vars.values():
        for dim, length in array.encoding.get("preferred_chunks", {}).items():
            size = max(length) if isinstance(length, tuple) else int(length)
            chunks[dim] = max(chunks.get(dim, 0), size)
    return {dim: size for dim, size in chunks.items() if dim in fields.dims}


def _close(files: Sequence[RawFile]) -> None:
    for file in files:
        file.dataset.close()


def _stamp(place: str) -> Any:
    try:
        stat = Path(place.partition("!")[0]).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
