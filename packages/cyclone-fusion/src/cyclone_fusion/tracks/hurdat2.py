"""HURDAT2: the National Hurricane Center's best tracks, a header line a storm and a line a fix."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from cyclone_fusion.tracks.fixes import clean_fixes
from cyclone_fusion.tracks.winds import KNOT
from isopleth.errors import DataError

_HEADER = re.compile(r"^\s*([A-Z]{2})(\d{2})(\d{4})\s*,\s*([^,]*),\s*(\d+)\s*,?\s*$")
_BASINS = {"AL": "NA", "EP": "EP", "CP": "EP", "WP": "WP", "IO": "NI", "SH": "SI", "SL": "SA"}
_FIX = re.compile(r"^\s*\d{8}\s*,\s*\d{1,4}\s*,(?:[^,]*,){4}\s*-?\d+")
_FIELDS = 7


def is_hurdat2(start: bytes) -> bool:
    """Tell from its first bytes whether a file is HURDAT2."""
    first = start.decode("latin-1").lstrip("\ufeff").splitlines()[:1]
    return bool(first and _HEADER.match(first[0]))


def read_hurdat2(path: Path) -> xr.Dataset:
    """Read HURDAT2, with or without trailing commas; winds are 1-minute means.

    Raises
    ------
    isopleth.errors.DataError
        If a line is neither, or a storm has other than the announced number of fixes; names the line.
    """
    rows: list[tuple[str, ...]] = []
    storm, announced, began = "", 0, 0
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
        if not line.strip():
            continue
        header = _HEADER.match(line)
        if header is None:
            rows.append(_fix(line, storm, path, number))
            continue
        _check_count(storm, len(rows) - began, announced, path, number)
        storm = "".join(header.group(1, 2, 3))
        announced, began = int(header.group(5)), len(rows)
    _check_count(storm, len(rows) - began, announced, path, number)
    table = pd.DataFrame(rows, columns=["track_id", "time", "lat", "lon", "wind"])
    wind = pd.to_numeric(table["wind"], errors="coerce")
    return clean_fixes(
        table.assign(
            wind=wind.where(wind > 0) * KNOT,
            basin=table["track_id"].str[:2].map(_BASINS),
            season=table["track_id"].str[4:8].astype(np.int64),
        ),
        where=path,
    )


def _fix(line: str, storm: str, path: Path, number: int) -> tuple[str, ...]:
    parts = [part.strip() for part in line.split(",")]
    if not (storm and _FIX.match(line)):
        raise DataError(
            f"a HURDAT2 line must be a storm's header or a fix under one, got {line[:40]!r}",
            where=f"{path}, line {number}",
        )
    date, hour, _, _, lat, lon, wind = parts[:_FIELDS]
    return storm, f"{date} {hour:0>4}", _degrees(lat), _degrees(lon), wind


def _degrees(text: str) -> str:
    """Turn ``75.1W`` into ``-75.1``; W beyond 180 occurs and is wrapped later."""
    number, side = text[:-1].strip(), text[-1:].upper()
    sign = "-" if side in ("S", "W") else ""
    return f"{sign}{number}" if side in ("N", "S", "E", "W") else text


def _check_count(storm: str, found: int, announced: int, path: Path, number: int) -> None:
    if storm and found != announced:
        raise DataError(
            f"storm {storm} must have the {announced} fixes its header announces, got {found}",
            where=f"{path}, before line {number}",
        )
