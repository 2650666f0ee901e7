"""Tell the formats of tracks apart by what a file holds, and read it."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pandas as pd
import xarray as xr

from cyclone_fusion.config import SAMPLE
from cyclone_fusion.tracks.fixes import REQUIRED, clean_fixes
from cyclone_fusion.tracks.hurdat2 import is_hurdat2, read_hurdat2
from cyclone_fusion.tracks.ibtracs import is_ibtracs, read_ibtracs_netcdf
from cyclone_fusion.tracks.table import read_best_track_table
from cyclone_fusion.tracks.winds import KNOT
from isopleth.errors import DataError, require

logger = logging.getLogger("isopleth.cyclone_fusion")

_TO_METRES_PER_SECOND = {"m s-1": 1.0, "m s**-1": 1.0, "m/s": 1.0, "kt": KNOT, "kts": KNOT, "knots": KNOT}
_NETCDF = re.compile(rb"^(CDF|\x89HDF)")


def read_tracks(source: str | Path) -> xr.Dataset:
    """Read the tracks that a command names.

    Parameters
    ----------
    source : str or path
        ``sample``; an IBTrACS file (csv or NetCDF, v04); HURDAT2; a csv table with ``track_id, time, lat,
        lon`` (and ``wind`` in knots, ``basin``, ``season``); or any other file that `huracanpy.load` reads
        (winds count only where the file states their units).

    Returns
    -------
    xarray.Dataset
        Along ``record``, sorted by storm and time: ``track_id``, ``time`` (datetime64[ns], UTC), ``lat``
        (degrees north), ``lon`` (degrees east in [0, 360)), ``wind`` (1-minute mean where the source tells
        its agency, m s-1, NaN where unknown), ``basin`` (IBTrACS code, or "unknown") and ``season``
        (southern seasons begin in July of the year before). The attributes ``left_out`` and
        ``left_out_storms`` (JSON) count the fixes left out by reason, and name the storms left out whole.

    Raises
    ------
    isopleth.errors.DataError
        If the file is missing, is no track file, or has two different fixes of a storm at one time.
    """
    if str(source) == SAMPLE:
        from cyclone_fusion.sample import read_sample_tracks

        return read_sample_tracks()
    path = Path(source)
    if not path.is_file():
        raise DataError(
            f"tracks must be a file or {SAMPLE!r}, got {str(source)!r}", where=path.absolute().parent
        )
    if path.suffix == ".csv":
        return read_best_track_table(path)
    with path.open("rb") as file:
        start = file.read(4096)
    if _NETCDF.match(start) and is_ibtracs(path):
        return read_ibtracs_netcdf(path)
    if is_hurdat2(start):
        return read_hurdat2(path)
    return _read_by_huracanpy(path)


def _read_by_huracanpy(path: Path) -> xr.Dataset:
    huracanpy = require("huracanpy", install="cyclone-fusion[sample]", purpose=f"read {path.suffix} tracks")
    try:
        loaded = huracanpy.load(str(path))
    except Exception as error:  # huracanpy lets its parsers' own errors through, whatever they are
        raise DataError(
            f"tracks must be in a format that huracanpy reads, got {type(error).__name__}: {error}",
            where=path,
        ) from error
    missing = [name for name in REQUIRED if name not in loaded]
    if missing:
        raise DataError(
            f"tracks must name {', '.join(REQUIRED)}, got none for {', '.join(missing)}",
            where=path,
            hint=f"found {', '.join(map(str, loaded.variables))}",
        )
    names = [name for name in (*REQUIRED, "wind", "basin", "season") if name in loaded]
    factor = _TO_METRES_PER_SECOND.get(loaded["wind"].attrs.get("units", "")) if "wind" in names else None
    if factor is None:
        logger.info("%s: no wind with units; intensity is taken as unknown", path.name)
        names = [name for name in names if name != "wind"]
    table = pd.DataFrame({name: loaded[name].values for name in names})
    if factor is not None:
        table["wind"] = pd.to_numeric(table["wind"], errors="coerce") * factor
    return clean_fixes(table, where=path)
