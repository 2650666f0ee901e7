"""Displacements and the places they lead to, in kilometres on a tangent plane or in degrees.

One formula serves NumPy (samples, baselines) and torch (the loss). Shapes broadcast; latitude and longitude
are degrees; the last axis of a displacement is (east, north).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import array_api_compat

from isopleth.grid import (
    EARTH_RADIUS_KM,
    great_circle_km,
    initial_bearing,
    longitude_difference,
    wrap_longitude,
)

Frame = Literal["tangent", "degrees"]
_RADIANS = math.pi / 180.0


def displacement(lat: Any, lon: Any, new_lat: Any, new_lon: Any, frame: Frame) -> Any:
    """Measure the way from one place to another.

    Parameters
    ----------
    lat, lon, new_lat, new_lon : array
        Degrees, shape (...).
    frame : {"tangent", "degrees"}
        ``tangent``: length and initial direction of the great circle, so that distances from the origin
        are exact; ``degrees``: differences of longitude (the short way round) and latitude.

    Returns
    -------
    array of shape (..., 2)
        East and north, in km or degrees.
    """
    xp = array_api_compat.array_namespace(lat)
    if frame == "degrees":
        return xp.stack([longitude_difference(new_lon, lon), new_lat - lat], axis=-1)
    length = great_circle_km(lat, lon, new_lat, new_lon)
    bearing = initial_bearing(lat, lon, new_lat, new_lon) * _RADIANS
    return xp.stack([length * xp.sin(bearing), length * xp.cos(bearing)], axis=-1)


def arrive(lat: Any, lon: Any, moved: Any, frame: Frame) -> tuple[Any, Any]:
    r"""Find the place that a displacement leads to; the inverse of `displacement`.

    On the sphere this is the exponential map :math:`\cos\delta\,\hat r + (\sin\delta/\delta)\,\vec v`. As a
    function of :math:`\delta^2` it has a gradient at rest too, where bearing and distance have none.

    Parameters
    ----------
    lat, lon : array
        Degrees, shape (...).
    moved : array of shape (..., 2)
        East and north, in km (``tangent``) or degrees (``degrees``; latitude is held within ±90°).

    Returns
    -------
    lat, lon : array
        Degrees; longitude in [0, 360).
    """
    xp = array_api_compat.array_namespace(moved)
    east, north = moved[..., 0], moved[..., 1]
    if frame == "degrees":
        return xp.clip(lat + north, -90.0, 90.0), wrap_longitude(lon + east)
    east, north = east / EARTH_RADIUS_KM, north / EARTH_RADIUS_KM
    cos_delta, sinc_delta = _cos_and_sinc(xp, east * east + north * north)
    sin_lat, cos_lat = xp.sin(lat * _RADIANS), xp.cos(lat * _RADIANS)
    outward = cos_delta * cos_lat - sinc_delta * north * sin_lat
    sideways = sinc_delta * east
    upward = cos_delta * sin_lat + sinc_delta * north * cos_lat
    new_lon = lon + xp.atan2(sideways, outward) / _RADIANS
    # The squares sum to one: the root's argument vanishes only exactly at a pole.
    from_axis = xp.sqrt(outward * outward + sideways * sideways + 1e-30)
    return xp.atan2(upward, from_axis) / _RADIANS, wrap_longitude(new_lon)


def _cos_and_sinc(xp: Any, square: Any) -> tuple[Any, Any]:
    """Evaluate cos(x) and sin(x)/x from x², smoothly through zero."""
    small = square < 1e-6
    x = xp.sqrt(xp.where(small, xp.ones_like(square), square))
    cos = xp.where(small, 1.0 - square / 2.0 + square**2 / 24.0, xp.cos(x))
    sinc = xp.where(small, 1.0 - square / 6.0 + square**2 / 120.0, xp.sin(x) / x)
    return cos, sinc
