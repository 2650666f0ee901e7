"""Points on the sphere as unit vectors, in which a KD-tree knows neither dateline nor poles."""

from __future__ import annotations

from typing import Any

import numpy as np

from isopleth.errors import DataError
from isopleth.grid import EARTH_RADIUS_KM


def as_points(lat: Any, lon: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return latitudes and longitudes as float64 of one shape, or say why they cannot be.

    Raises
    ------
    DataError
        If they are not numbers, not finite, beyond a pole, or do not broadcast.
    """
    try:
        lat, lon = np.broadcast_arrays(np.asarray(lat, np.float64), np.asarray(lon, np.float64))
    except (ValueError, TypeError) as error:
        raise DataError(f"lat and lon must be numbers that broadcast: {error}") from error
    if not (np.isfinite(lat).all() and np.isfinite(lon).all()):
        raise DataError("lat and lon must be finite, got NaN or infinity", hint="drop those points first")
    if (np.abs(lat) > 90).any():
        raise DataError(f"latitude must lie in [-90, 90], got {lat.flat[np.abs(lat).argmax()]:g}")
    return lat, lon


def unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return points, in degrees, as vectors from the centre of the unit sphere, shape (..., 3)."""
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def chord(distance_km: float) -> float:
    """Return the straight line through the unit sphere between points so far apart; infinity past it."""
    angle = distance_km / EARTH_RADIUS_KM
    return 2.0 * float(np.sin(angle / 2)) if angle <= np.pi else np.inf


def arc_km(chords: np.ndarray) -> np.ndarray:
    """Undo `chord`."""
    return 2.0 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chords / 2, 1.0))
