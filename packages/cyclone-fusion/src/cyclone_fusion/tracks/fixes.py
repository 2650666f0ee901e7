"""Fixes as they come, made one clean table: everything left out is counted, and storms are named."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from isopleth.errors import DataError
from isopleth.fields.groups import storm_seasons
from isopleth.grid import wrap_longitude

logger = logging.getLogger("isopleth.cyclone_fusion")

UNKNOWN = "unknown"
REQUIRED = ("track_id", "time", "lat", "lon")
# Tracks that share so much of the shorter one are the same storm under two names.
_SAME_SHARE = 0.5
_SAME_DEG = 0.1


def clean_fixes(table: pd.DataFrame, *, where: Path) -> xr.Dataset:
    """Give the columns their types, leave out what cannot be used, sort and check.

    Parameters
    ----------
    table : DataFrame
        ``track_id``, ``time``, ``lat``, ``lon``; ``wind`` in m s-1, ``basin``, ``season`` and ``track_type``
        (IBTrACS' ``main``, ``spur-...``, ``PROVISIONAL``) as far as known.
    where : Path
        The file, for errors.

    Returns
    -------
    xarray.Dataset
        As `cyclone_fusion.tracks.read_tracks` gives it.
    """
    fixes = _typed(table)
    spurs = _text(table, "track_type", "").str.lower().str.startswith("spur")
    no_time = fixes["time"].isna()
    no_place = ~(fixes["lat"].abs() <= 90) | ~(fixes["lon"].abs() <= 540)
    off_hours = (fixes["time"].dt.hour % 6 != 0) | (fixes["time"] != fixes["time"].dt.floor("h"))
    left_out: dict[str, int] = {}
    kept = pd.Series(data=True, index=fixes.index)
    for reason, bad in (
        ("of a spur track", spurs),
        ("no time", no_time),
        ("no valid position", no_place),
        ("not at 00, 06, 12 or 18 UTC", off_hours),
    ):
        left_out[reason] = int((bad & kept).sum())
        kept &= ~bad
    storms = set(fixes["track_id"])
    fixes = fixes[kept].sort_values(["track_id", "time"], kind="stable")
    fixes, left_out["repeated"] = _drop_repeated(fixes, where)
    fixes, twins = _drop_twins(fixes)
    left_out["of a storm under a second name"] = sum(twins.values())
    fixes["season"] = fixes["season"].fillna(_derive_season(fixes)).astype(np.int64)
    missing = dict.fromkeys(sorted(storms - set(fixes["track_id"])), "no usable fix")
    missing |= dict.fromkeys(twins, "the same storm under a second name")
    _report(where, left_out, missing)
    return _as_dataset(fixes, left_out, missing)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "track_id": _text(table, "track_id", ""),
            "time": _times(table["time"]),
            "lat": pd.to_numeric(table["lat"], errors="coerce").astype(np.float64),
            "lon": pd.to_numeric(table["lon"], errors="coerce").astype(np.float64),
            "wind": _numbers(table, "wind"),
            "basin": _text(table, "basin", UNKNOWN).replace("", UNKNOWN),
            "season": _numbers(table, "season").replace([np.inf, -np.inf], np.nan),
        }
    )


def _times(column: pd.Series) -> pd.Series:
    """Read stamps; NaT for what is none, or lies outside what nanoseconds can tell."""
    times = pd.to_datetime(column, errors="coerce", format="mixed")
    return times.where(times.dt.year.between(1678, 2261)).astype("datetime64[ns]")


def _text(table: pd.DataFrame, name: str, default: str) -> pd.Series:
    if name not in table:
        return pd.Series(default, index=table.index)
    return table[name].fillna(default).astype(str).str.strip()


def _numbers(table: pd.DataFrame, name: str) -> Any:
    """Read a column of numbers; all NaN where the table has none, NaN for blanks and negative fill."""
    if name not in table:
        return pd.Series(np.nan, index=table.index)
    values = pd.to_numeric(table[name], errors="coerce").astype(np.float64)
    return values.where(values > 0)


def _drop_repeated(fixes: pd.DataFrame, where: Path) -> tuple[pd.DataFrame, int]:
    """Leave out a fix that stands there twice; two different ones are an error."""
    if fixes.empty:
        raise DataError("tracks must hold at least one six-hourly fix, got none", where=where)
    wrapped = fixes.assign(lon=wrap_longitude(fixes["lon"].to_numpy()))
    once = wrapped[~wrapped.duplicated(["track_id", "time", "lat", "lon"])]
    twice = once.duplicated(["track_id", "time"])
    if twice.any():
        first = once[twice].iloc[0]
        raise DataError(
            f"a storm must have one fix at a time, got two of {first.track_id} at {first.time} "
            f"({int(twice.sum())} in all)",
            where=where,
        )
    return once, len(fixes) - len(once)


def _drop_twins(fixes: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Leave out the shorter of two tracks that are one storm: the same places at the same times."""
    key = pd.DataFrame(
        {
            "time": fixes["time"],
            "lat": (fixes["lat"] / _SAME_DEG).round(),
            "lon": (fixes["lon"] / _SAME_DEG).round(),
            "track_id": fixes["track_id"],
        }
    )
    shared = key[key.duplicated(["time", "lat", "lon"], keep=False)]
    pairs = shared.merge(shared, on=["time", "lat", "lon"])
    pairs = pairs[pairs["track_id_x"] < pairs["track_id_y"]]
    length = fixes.groupby("track_id").size()
    twins: dict[str, int] = {}
    counted = pairs.groupby(["track_id_x", "track_id_y"]).size().reset_index(name="count")
    for one, other, count in counted.itertuples(index=False):
        shorter = other if length[other] <= length[one] else one
        if count > 1 and count >= _SAME_SHARE * length[shorter]:
            twins[str(shorter)] = int(length[shorter])
    return fixes[~fixes["track_id"].isin(list(twins))], twins


def _derive_season(fixes: pd.DataFrame) -> pd.Series:
    """Derive a season for tables without one: that of a storm's first fix, from July in the south."""
    first = fixes.groupby("track_id")[["time", "lat"]].transform("first")
    seasons = storm_seasons(first["time"].to_numpy(), first["lat"].to_numpy())
    return pd.Series(seasons, index=fixes.index)


def _report(where: Path, left_out: dict[str, int], storms: dict[str, str]) -> None:
    counted = ", ".join(f"{number} fixes ({reason})" for reason, number in left_out.items() if number)
    if counted:
        named = f"; without any: {', '.join(list(storms)[:5])}" if storms else ""
        logger.info("%s: left out %s%s", where.name, counted, named)


def _as_dataset(fixes: pd.DataFrame, left_out: dict[str, int], storms: dict[str, str]) -> xr.Dataset:
    attributes = {
        "lat": {"units": "degrees_north", "standard_name": "latitude"},
        "lon": {"units": "degrees_east", "standard_name": "longitude"},
        "wind": {"units": "m s-1", "long_name": "maximum sustained wind, 1-minute mean"},
        "time": {"standard_name": "time"},
        "track_id": {"cf_role": "trajectory_id"},
    }
    tracks = xr.Dataset(
        {
            name: ("record", _plain(fixes[name]), attributes.get(name, {}))
            for name in ("track_id", "time", "lat", "lon", "wind", "basin", "season")
        }
    )
    return tracks.assign_attrs(left_out=json.dumps(left_out), left_out_storms=json.dumps(storms))


def _plain(column: pd.Series) -> np.ndarray:
    """Give NumPy's own types: strings of fixed width, not pandas' extension arrays."""
    values = column.to_numpy()
    return values.astype(str) if values.dtype.kind not in "fiM" else values
