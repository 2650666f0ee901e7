"""Forecasts as files: CSV, NetCDF, GeoJSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isopleth.grid import destination, wrap_longitude
from isopleth.io.write import Provenance, write_netcdf, write_text

_CORNERS = 36


def write_forecasts(forecasts: xr.Dataset, path: Path, origin: Provenance) -> None:
    """Write forecasts in the format that the ending names: ``.csv``, ``.nc`` or ``.geojson``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".nc":
        write_netcdf(forecasts, path, provenance=origin)
    elif path.suffix == ".csv":
        table = forecasts.to_dataframe().reset_index().drop(columns="sample")
        first = ["track_id", "time", "lat", "lon", "lead", "valid_time", "forecast_lat", "forecast_lon"]
        ordered = [*first, *(name for name in table.columns if name not in first)]
        write_text(path, table[ordered].to_csv(index=False, float_format="%.3f"))
    else:
        write_text(path, json.dumps(as_geojson(forecasts)))


def as_geojson(forecasts: xr.Dataset) -> dict[str, Any]:
    """Turn forecasts into a FeatureCollection (RFC 7946): a line from each fix, and its 90 % ellipses.

    Longitudes go on from the fix without a jump at the dateline, as RFC 7946 allows by values beyond 180;
    properties hold times in UTC, and places.
    """
    features = []
    for number in range(forecasts.sizes["sample"]):
        one = forecasts.isel(sample=number)
        features.append(_line(one))
        if "ellipse_major" in one:
            features += [_ellipse(one.isel(lead=lead)) for lead in range(one.sizes["lead"])]
    return {"type": "FeatureCollection", "features": features}


def _line(one: xr.Dataset) -> dict[str, Any]:
    lat = np.r_[one["lat"].item(), one["forecast_lat"].values]
    lon = np.unwrap(np.r_[_start(one), one["forecast_lon"].values], period=360)
    return {
        "type": "Feature",
        "geometry": {"type": "LineString", "coordinates": _points(lat, lon)},
        "properties": {
            "track_id": str(one["track_id"].item()),
            "time": _utc(one["time"].values),
            "lead_hours": [int(lead) for lead in one["lead"].values],
            "valid_time": [_utc(time) for time in one["valid_time"].values],
        },
    }


def ellipse_ring(one: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Trace the 90 % ellipse of one forecast, clockwise and closed; return latitudes and longitudes."""
    turn = np.linspace(0, 2 * np.pi, _CORNERS + 1)
    along, across = one["ellipse_major"].item() * np.cos(turn), one["ellipse_minor"].item() * np.sin(turn)
    bearing = one["ellipse_azimuth"].item() + np.degrees(np.arctan2(across, along))
    lat, lon = (np.full(_CORNERS + 1, one[f"forecast_{axis}"].item()) for axis in ("lat", "lon"))
    return destination(lat, lon, bearing, np.hypot(along, across))


def _ellipse(one: xr.Dataset) -> dict[str, Any]:
    lat, lon = ellipse_ring(one)
    middle = _start(one) + (one["forecast_lon"].item() - _start(one) + 180) % 360 - 180
    lon = middle + (lon - middle + 180) % 360 - 180
    return {
        "type": "Feature",
        # Exterior rings go anticlockwise (RFC 7946).
        "geometry": {"type": "Polygon", "coordinates": [_points(lat[::-1], lon[::-1])]},
        "properties": {
            "track_id": str(one["track_id"].item()),
            "valid_time": _utc(one["valid_time"].values),
            "lead_hours": int(one["lead"].item()),
            "probability": 0.9,
        },
    }


def _start(one: xr.Dataset) -> float:
    return float(wrap_longitude(one["lon"].item(), start=-180.0))


def _points(lat: np.ndarray, lon: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 4), round(float(y), 4)] for x, y in zip(lon, lat, strict=True)]


def _utc(time: Any) -> str:
    return f"{str(time)[:19]}Z"
