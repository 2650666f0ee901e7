"""Operational forecasts' errors from the National Hurricane Center's database, on a homogeneous sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from isopleth.errors import DataError
from isopleth.grid import great_circle_km

_NAUTICAL_MILE_KM = 1.852
_MODELS = re.compile(r"^\s*Model\(s\) verified:\s*(.+)$")
_TRACK_ERROR = re.compile(r"^(\d{3})hT(\d{2})$")
_MISSING = -9000.0
# Best tracks of two archives differ by rounding, and by later revisions.
_SAME_PLACE_KM = 120.0


def read_error_database(path: str | Path) -> pd.DataFrame:
    """Read a tabulation of individual track and intensity errors (``..._TI_errors*.txt``).

    Forecasts stand in it only where the storm was tropical or subtropical at both initial and valid time: the
    Center's own rule, which a comparison on this sample inherits.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataFrame
        ``storm`` (ATCF id), ``time``, ``lat``, ``lon`` (degrees east) of the fix, ``model``, ``lead_hours``
        and ``error_km``; forecasts that were not made are not in it.

    Raises
    ------
    isopleth.errors.DataError
        If it is no such file.
    """
    lines = Path(path).read_text(encoding="latin-1").splitlines() if Path(path).is_file() else []
    models = next((match.group(1).split() for line in lines if (match := _MODELS.match(line))), None)
    head = next((i for i, line in enumerate(lines) if line.lstrip().startswith("Date/Time")), None)
    if models is None or head is None:
        raise DataError(
            "operational must be a file of the NHC error database, with lines 'Model(s) verified:' and "
            f"'Date/Time ...', got {len(lines)} lines without",
            where=path,
        )
    names = lines[head].split()
    rows = [line.split() for line in lines[head + 1 :] if re.match(r"\s*\d{2}-\d{2}-\d{4}/", line)]
    bad = next((row for row in rows if len(row) != len(names)), None)
    if bad is not None or not rows:
        raise DataError(
            f"each row must have {len(names)} columns, got {len(bad) if bad else 'no row'}", where=path
        )
    try:
        return _tabulate(pd.DataFrame(rows, columns=names), models)
    except (KeyError, ValueError) as error:
        raise DataError(
            f"each row must have Date/Time, STMID, Lat, Lon and track errors as numbers, got {error}",
            where=path,
        ) from error


def _tabulate(table: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    fixes = pd.DataFrame(
        {
            "storm": table["STMID"],
            "time": pd.to_datetime(table["Date/Time"], format="%d-%m-%Y/%H:%M:%S"),
            "lat": table["Lat"].astype(float),
            # Degrees west.
            "lon": -table["Lon"].astype(float),
        }
    )
    parts = []
    for column in table.columns:
        match = _TRACK_ERROR.match(column)
        if match and int(match.group(2)) <= len(models) and int(match.group(1)) > 0:
            error = table[column].astype(float)
            parts.append(
                fixes.assign(
                    model=models[int(match.group(2)) - 1],
                    lead_hours=int(match.group(1)),
                    error_km=error.where(error > _MISSING) * _NAUTICAL_MILE_KM,
                )
            )
    return pd.concat(parts, ignore_index=True).dropna(subset="error_km")


def align_errors(errors: pd.DataFrame, samples: xr.Dataset) -> dict[str, np.ndarray]:
    """Give each sample the errors of the operational forecasts from the same fix.

    Fixes are matched by time and place, since archives name storms differently.

    Returns
    -------
    dict of str to array of shape (sample, lead)
        By model, km; NaN where it made no forecast.
    """
    leads = samples["lead"].values.tolist()
    out = {
        model: np.full((samples.sizes["sample"], len(leads)), np.nan) for model in errors["model"].unique()
    }
    ours = pd.DataFrame(
        {
            "time": samples["time"].values.astype("datetime64[ns]"),
            "our_lat": samples["lat"].values,
            "our_lon": samples["lon"].values,
            "sample": np.arange(samples.sizes["sample"]),
        }
    )
    wanted = errors[errors["lead_hours"].isin(leads)]
    wanted = wanted.assign(time=wanted["time"].astype("datetime64[ns]"))
    pairs = wanted.merge(ours, on="time")
    away = great_circle_km(*(pairs[name].to_numpy() for name in ("lat", "lon", "our_lat", "our_lon")))
    pairs = pairs[away <= _SAME_PLACE_KM]
    for row in pairs.itertuples():
        out[row.model][row.sample, leads.index(row.lead_hours)] = row.error_km
    return out


def homogeneous(*errors: np.ndarray) -> np.ndarray:
    """Mark the forecasts that everyone has made: finite in all arrays."""
    return np.all([np.isfinite(each) for each in errors], axis=0)
