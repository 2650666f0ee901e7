"""Large ensembles as people have them: members by file or by dimension, history and scenario apart."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.calendars import calendar_of
from isopleth.io.read import Chunks, Source, open_fields
from isopleth.io.sources import find_sources
from isopleth.sealevel.months import check_complete, count_months, find_frequency, middles, whole_years
from isopleth.sealevel.products import find_product, recognise_product
from isopleth.sealevel.settings import check_member_pattern
from isopleth.sealevel.steric import STERIC, is_steric_file, open_steric_mean

HEIGHT = "sea_surface_height"
# What names of files call a member, in the archives of CESM2, CESM1, CMIP, and of those who cut their own.
_MEMBERS = (
    r"[._](LE2-\d{4}\.\d{3})\.",
    r"\.(\d{3})\.(?:pop|mom6)\.",
    r"[._-](r\d+i\d+(?:p\d+)?(?:f\d+)?)(?=[._-])",
    r"(?:member|ens|mem|run|r)[_-]?(\d+)(?=[._-])",
)
_SAME_PLACE_DEG = 1e-4
_CHUNK_BYTES = 64 * 2**20
_KEPT = {"member", "time", "lat", "lon"}


def open_ensemble(
    source: Source,
    *,
    years: tuple[int, int] | None = None,
    zostoga: bool = False,
    member_pattern: str | None = None,
    product: str | None = None,
    chunks: Chunks = None,
) -> xr.Dataset:
    """Open an ensemble's sea surface height as one lazy dataset of all members.

    Files are told apart by the member in their names (CESM1 and CESM2 large ensembles, CMIP5 and CMIP6, and
    ``member3``, ``ens_003``, ``r12`` and their like); those of one member are joined in time, history and
    scenario alike. Where no name has one, the files are one run, or hold a dimension of members. Stamps at
    the end of their interval are moved into it; then every calendar's stamps become the middles of their
    months, or years, as datetime64.

    Parameters
    ----------
    source : str, path, sequence of them, or Dataset
        As for `isopleth.io.open_fields`: a folder, file, glob, list or URL. Of a folder's files those of
        ``zostoga`` are set apart.
    years : tuple of int, optional
        First and last year, both included and all of them needed.
    zostoga : bool
        Whether to read the global mean thermosteric change as well, from files named so. CESM's archives
        have none, and none is asked of them.
    member_pattern : str, optional
        A regular expression with one group that finds the member in a file's name.
    product : str, optional
        Name of the product, see `isopleth.sealevel.products`; recognised by its metadata otherwise.
    chunks : mapping, int or "auto", optional
        Dask chunks; by default whole maps, up to ten years of months or some 64 MB at a time.

    Returns
    -------
    Dataset
        ``sea_surface_height`` (member, time, lat, lon), or (member, time, y, x) with 2-D ``lat`` and
        ``lon``; metres, dask. With `zostoga` also ``steric_mean`` (member, time). Attributes: ``frequency``
        ("month" or "year"), ``calendar``, ``product`` and ``files``.

    Raises
    ------
    DataError
        If a member lacks a month or a year, or has one twice; if members differ in grid, calendar or times;
        if there is no sea surface height.

    Examples
    --------
    >>> ensemble = open_ensemble("CESM2-LE/", years=(1993, 2052))  # doctest: +SKIP
    """
    if member_pattern is not None:
        check_member_pattern(member_pattern)
    groups, steric = _find_groups(source, member_pattern)
    runs = {label: _open_run(files, label, years, chunks) for label, files in groups.items()}
    ensemble = _join_members(runs)
    names = tuple(Path(str(place)).name for files in groups.values() for place in _places(files))
    known = find_product(product) if product else recognise_product(ensemble.attrs, names)
    if zostoga and (known is None or known.gives_steric_mean or steric):
        ensemble[STERIC] = open_steric_mean(steric, ensemble, member_pattern_of=_label_files)
    return ensemble.assign_attrs(product=known.name if known else "unknown", files=len(names))


def _find_groups(source: Source, pattern: str | None) -> tuple[dict[str, Source], list[str]]:
    """Sort a source into the files of each member, and those of zostoga."""
    if isinstance(source, xr.Dataset):
        return {"1": source}, []
    places = find_sources(source)
    steric = [place for place in places if is_steric_file(place)]
    fields = [place for place in places if place not in steric]
    if not fields:
        raise DataError("an ensemble must have files of sea surface height, got only zostoga", where=source)
    return dict(_label_files(fields, pattern)), steric


def _label_files(places: Sequence[str], pattern: str | None = None) -> dict[str, list[str]]:
    """Group files by the member that their names tell, in the order of labels."""
    names = [place.rstrip("/").rpartition("/")[2] for place in places]
    for candidate in _MEMBERS if pattern is None else (pattern,):
        found = [re.search(candidate, name) for name in names]
        if not any(found):
            continue
        unlike = [name for name, match in zip(names, found, strict=True) if match is None]
        if unlike:
            raise DataError(
                f"all files of an ensemble must tell their member alike, got {names[0]!r} and {unlike[0]!r}",
                hint="open them apart, or give member_pattern, a regular expression with one group",
            )
        groups: dict[str, list[str]] = {}
        for place, match in zip(places, found, strict=True):
            groups.setdefault(match.group(1) if match else "", []).append(place)
        return dict(sorted(groups.items(), key=lambda item: _natural(item[0])))
    if pattern is not None:
        raise DataError(f"member_pattern must be found in the files' names, got {pattern!r} and {names[0]!r}")
    return {"1": list(places)}


def _natural(label: str) -> list[tuple[int, str]]:
    """Sort r2 before r10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", label)]


def _open_run(files: Source, label: str, years: tuple[int, int] | None, chunks: Chunks) -> xr.Dataset:
    """Open the files of one member, or those that hold a dimension of members, on counted months."""
    where = f"member {label}, {_places(files)[0]}"
    # Without chunks first: joined along time while reading nothing, then cut into whole maps.
    fields = open_fields(files, variables=[HEIGHT])
    if "time" not in fields.dims:
        raise DataError(f"{HEIGHT} must have times, got dimensions {tuple(fields[HEIGHT].dims)}", where=where)
    calendar, months = calendar_of(fields["time"].variable), count_months(fields["time"])
    frequency = find_frequency(months, where=where)
    first, last = years or whole_years(months, frequency, where=where)
    inside = check_complete(months, first, last, where=where)
    fields = fields.isel(time=inside).assign_coords(time=middles(months[inside], frequency))
    fields = fields.drop_vars([name for name in fields.coords if name not in _KEPT])
    fields = fields.chunk(_default_chunks(fields, frequency) if chunks is None else chunks)
    if "member" not in fields.dims:
        fields = fields.expand_dims(member=[label])
    else:
        fields = fields.assign_coords(member=[str(m) for m in fields["member"].values])
    order = ("member", "time", ...)
    return fields.transpose(*order).assign_attrs(calendar=calendar, frequency=frequency)


def _default_chunks(fields: xr.Dataset, frequency: str) -> dict[str, int]:
    """Return chunks of whole maps: whole years of months, up to ten, as many as make some 64 MB."""
    cells = math.prod(size for dim, size in fields[HEIGHT].sizes.items() if dim not in {"member", "time"})
    steps = 12 if frequency == "month" else 1
    fitting = steps * max(1, _CHUNK_BYTES // (4 * cells * steps))
    return {"time": min(fitting, 120), **({"member": 1} if "member" in fields.dims else {})}


def _join_members(runs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Put runs of one grid, one calendar and the same times side by side."""
    labels, parts = list(runs), list(runs.values())
    first = parts[0]
    if len(parts) > 1 and any(part.sizes["member"] > 1 for part in parts):
        raise DataError(
            "members must be told apart by files or by a dimension, got both", where=f"members {labels}"
        )
    for label, part in runs.items():
        _check_same(first, part, f"member {labels[0]}", f"member {label}")
    heights = [part[HEIGHT].variable for part in parts]
    joined = xr.Variable.concat(heights, "member") if len(parts) > 1 else heights[0]
    joined.attrs = dict(first[HEIGHT].attrs)
    places = {name: first[name].variable.load() for name in ("lat", "lon")}
    members = labels if len(parts) > 1 else first["member"].values
    coords = {"member": ("member", list(map(str, members))), "time": first["time"].variable, **places}
    return xr.Dataset({HEIGHT: joined}, coords=coords, attrs=first.attrs)


def _check_same(first: xr.Dataset, other: xr.Dataset, here: str, there: str) -> None:
    for name in ("lat", "lon"):
        a, b = first[name].values, other[name].values
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=_SAME_PLACE_DEG, equal_nan=True):
            raise DataError(f"members must share one grid, got {a.shape} in {here} and {b.shape} in {there}")
    for what in ("calendar", "frequency"):
        if first.attrs[what] != other.attrs[what]:
            raise DataError(
                f"members must share one {what}, got {first.attrs[what]!r} in {here} "
                f"and {other.attrs[what]!r} in {there}",
                hint="convert one of them first, or prepare them as two ensembles",
            )
    if not np.array_equal(first["time"].values, other["time"].values):
        raise DataError(
            f"members must cover the same times, got {_span(first)} in {here} and {_span(other)} in {there}",
            hint="give years=(first, last) that all of them have",
        )


def _span(fields: xr.Dataset) -> str:
    stamps = fields["time"].values.astype("datetime64[M]")
    return f"{stamps[0]} to {stamps[-1]}"


def _places(files: Source) -> list[str]:
    return ["memory"] if isinstance(files, xr.Dataset) else find_sources(files)
