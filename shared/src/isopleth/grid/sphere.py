"""Great circles, written once for NumPy, torch and every other array-API library.

All angles are degrees. Differences are formed in degrees before anything is turned into radians: near
values then subtract exactly, so that float32 keeps its full relative precision down to millimetres. NaN
goes in, NaN comes out. Plain numbers and lists are taken as float64 NumPy arrays.
"""

from __future__ import annotations

import math
from typing import Any

import array_api_compat
import numpy as np

EARTH_RADIUS_KM = 6371.0

_RADIANS = math.pi / 180.0


def great_circle_km(lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> Any:
    r"""Return the great-circle distance between points.

    .. math::
        a &= \sin^2\tfrac{\varphi_2-\varphi_1}{2}
             + \cos\varphi_1\cos\varphi_2\sin^2\tfrac{\Delta\lambda}{2} \\
        b &= \sin^2\tfrac{\varphi_2+\varphi_1}{2}
             + \cos\varphi_1\cos\varphi_2\cos^2\tfrac{\Delta\lambda}{2} \\
        d &= 2R\,\mathrm{atan2}(\sqrt a, \sqrt b)

    ``a`` is the haversine and ``b = 1 - a`` its complement without the cancellation, so that the distance and
    its gradient are as good near the antipode as anywhere. Where the distance is exactly zero (or half the
    circumference) the gradient, which has no limit there, is zero instead of NaN.

    Parameters
    ----------
    lat1, lon1, lat2, lon2 : array or float
        Degrees, of shapes that broadcast; any longitude convention. Latitudes within [-90, 90].

    Returns
    -------
    array
        Kilometres on a sphere of radius 6371 km. Relative error below 1e-6 in float32 and 1e-14 in float64,
        of the points as given: float32 itself places a longitude of 180 only to within 0.8 m.

    Examples
    --------
    >>> round(float(great_circle_km(0.0, 179.5, 0.0, -179.5)), 3)
    111.195
    """
    xp, (lat1, lon1, lat2, lon2) = _as_arrays(lat1, lon1, lat2, lon2)
    half_lon = 0.5 * _RADIANS * longitude_difference(lon2, lon1)
    cosines = _cos_latitude(xp, lat1) * _cos_latitude(xp, lat2)
    a = xp.sin(0.5 * _RADIANS * (lat2 - lat1)) ** 2 + cosines * xp.sin(half_lon) ** 2
    b = xp.sin(0.5 * _RADIANS * (lat2 + lat1)) ** 2 + cosines * xp.cos(half_lon) ** 2
    return 2.0 * EARTH_RADIUS_KM * xp.atan2(_safe_sqrt(xp, a), _safe_sqrt(xp, b))


def initial_bearing(lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> Any:
    r"""Return the direction in which the great circle leaves the first point for the second.

    .. math::
        \theta = \mathrm{atan2}(\sin\Delta\lambda\cos\varphi_2,\;
                 \sin(\varphi_2-\varphi_1) + 2\sin\varphi_1\cos\varphi_2\sin^2\tfrac{\Delta\lambda}{2})

    Parameters
    ----------
    lat1, lon1, lat2, lon2 : array or float
        Degrees, of shapes that broadcast.

    Returns
    -------
    array
        Degrees clockwise from north in [0, 360); 0, with gradient 0, where the points coincide. At a pole the
        bearing is that of the meridian given by ``lon1``.

    Examples
    --------
    >>> float(initial_bearing(0.0, 179.0, 0.0, -179.0))
    90.0
    """
    xp, (lat1, lon1, lat2, lon2) = _as_arrays(lat1, lon1, lat2, lon2)
    delta = _RADIANS * longitude_difference(lon2, lon1)
    cos2 = _cos_latitude(xp, lat2)
    east = xp.sin(delta) * cos2
    north = xp.sin(_RADIANS * (lat2 - lat1)) + 2.0 * xp.sin(_RADIANS * lat1) * cos2 * xp.sin(0.5 * delta) ** 2
    still = (east == 0) & (north == 0)
    angle = xp.atan2(east, xp.where(still, xp.ones_like(north), north))
    return wrap_longitude(angle / _RADIANS)


def destination(lat: Any, lon: Any, bearing: Any, distance_km: Any) -> tuple[Any, Any]:
    r"""Return the point reached along a great circle.

    With :math:`\delta = d/R`, the arrival is a unit vector in the frame of the departure's meridian,

    .. math::
        x &= \cos\varphi\cos\delta - \sin\varphi\sin\delta\cos\theta \\
        y &= \sin\delta\sin\theta \\
        z &= \sin\varphi\cos\delta + \cos\varphi\sin\delta\cos\theta

    and latitude is atan2(z, |x, y|): unlike an arcsine, accurate at the poles too.

    Parameters
    ----------
    lat, lon, bearing : array or float
        Degrees; the bearing clockwise from north.
    distance_km : array or float
        Kilometres; more than half the circumference goes on round.

    Returns
    -------
    lat, lon : array
        Degrees; longitude in [0, 360). In float32 within 5 m of the true point.
    """
    xp, (lat, lon, bearing, distance_km) = _as_arrays(lat, lon, bearing, distance_km)
    delta, theta = distance_km / EARTH_RADIUS_KM, _RADIANS * bearing
    sin_lat, cos_lat = xp.sin(_RADIANS * lat), _cos_latitude(xp, lat)
    along = xp.sin(delta) * xp.cos(theta)
    x = cos_lat * xp.cos(delta) - sin_lat * along
    y = xp.sin(delta) * xp.sin(theta)
    z = sin_lat * xp.cos(delta) + cos_lat * along
    at_pole = (x == 0) & (y == 0)
    turn = xp.atan2(y, xp.where(at_pole, xp.ones_like(x), x))
    return xp.atan2(z, _safe_sqrt(xp, x * x + y * y)) / _RADIANS, wrap_longitude(lon + turn / _RADIANS)


def longitude_difference(a: Any, b: Any) -> Any:
    """Return ``a - b`` the short way round, in [-180, 180).

    Exact for near values, across the seam too: whole turns are taken off before the subtraction, so that a
    small difference is not drowned in float32.

    Examples
    --------
    >>> float(longitude_difference(-179.0, 179.0))
    2.0
    """
    xp, (a, b) = _as_arrays(a, b)
    turns = xp.round((a - b) / 360.0)
    nothing = xp.zeros_like(turns)
    difference = (a - 360.0 * xp.maximum(turns, nothing)) - (b - 360.0 * xp.maximum(-turns, nothing))
    return xp.where(difference >= 180.0, difference - 360.0, difference)


def wrap_longitude(lon: Any, start: float = 0.0) -> Any:
    """Return longitudes in [start, start + 360); those already inside stay bit for bit what they are.

    Examples
    --------
    >>> wrap_longitude([-1e-20, -90.0, 360.0, 190.0]).tolist()
    [0.0, 270.0, 0.0, 190.0]
    >>> float(wrap_longitude(190.0, start=-180.0))
    -170.0
    """
    xp, (lon,) = _as_arrays(lon)
    wrapped = lon - 360.0 * xp.floor((lon - start) / 360.0)
    wrapped = xp.where(wrapped < start, wrapped + 360.0, wrapped)
    # Rounding can land a tiny negative on the open end, which is the closed one.
    return xp.where(wrapped >= start + 360.0, xp.full_like(wrapped, start), wrapped)


def _as_arrays(*values: Any) -> tuple[Any, list[Any]]:
    """Return the namespace the values share, and the values as its floating arrays."""
    known = [value for value in values if array_api_compat.is_array_api_obj(value)]
    if not known:
        return array_api_compat.array_namespace(np.zeros(0)), [
            np.asarray(v, dtype=np.float64) for v in values
        ]
    xp = array_api_compat.array_namespace(*known)
    return xp, [_as_float(xp, value, known[0]) for value in values]


def _as_float(xp: Any, value: Any, like: Any) -> Any:
    if not array_api_compat.is_array_api_obj(value):
        dtype = like.dtype if xp.isdtype(like.dtype, "real floating") else xp.float64
        return xp.asarray(value, dtype=dtype, device=array_api_compat.device(like))
    return value if xp.isdtype(value.dtype, "real floating") else xp.astype(value, xp.float64)


def _cos_latitude(xp: Any, lat: Any) -> Any:
    """Return the cosine as the sine of the colatitude, whose degrees subtract exactly near the poles."""
    return xp.sin(_RADIANS * (90.0 - xp.abs(lat)))


def _safe_sqrt(xp: Any, x: Any) -> Any:
    """Return the square root with gradient zero, not infinite, at zero (and below, where rounding led)."""
    tiny = float(xp.finfo(x.dtype).tiny)
    none = x < tiny
    return xp.where(none, xp.zeros_like(x), xp.sqrt(xp.where(none, xp.ones_like(x), x)))
