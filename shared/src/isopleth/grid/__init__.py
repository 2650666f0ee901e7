"""Latitude/longitude grids: cell areas, bounds, periodicity, distances, windows across the dateline."""

from isopleth.grid.rectilinear import Grid
from isopleth.grid.sphere import (
    EARTH_RADIUS_KM,
    destination,
    great_circle_km,
    initial_bearing,
    longitude_difference,
    wrap_longitude,
)
from isopleth.grid.windows import WindowIndex, cut_window, window_index

__all__ = [
    "EARTH_RADIUS_KM",
    "Grid",
    "WindowIndex",
    "cut_window",
    "destination",
    "great_circle_km",
    "initial_bearing",
    "longitude_difference",
    "window_index",
    "wrap_longitude",
]
