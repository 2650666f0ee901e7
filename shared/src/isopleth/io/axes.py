"""Which variable of a file is which axis: latitude, longitude, time, lead, level, member."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.units import are_compatible

_LEADING_DIMS = ("member", "time", "lead", "level", "depth", "height", "model_level")
_HORIZONTAL_DIMS = ("y", "x", "lat", "lon")

_NAMES = {
    "lat": "lat latitude nav_lat tlat geolat xlat",
    "lon": "lon longitude nav_lon tlong tlon geolon xlong",
    "time": "time valid_time t time_counter date xtime",
    "lead": "lead step lead_time leadtime prediction_timedelta forecast_period forecast_hour",
    "member": "member number realization realisation ensemble ensemble_member member_id",
    "level": "level plev lev pressure pressure_level isobaricinhpa isobaricinpa plevel air_pressure",
    "depth": "depth deptht depthu depthv z_t lev olevel",
    "height": "height",
    "model_level": "model_level model_level_number hybrid",
    "expver": "expver",
}
_SPELLED = {role: frozenset(words.split()) for role, words in _NAMES.items()}
_STANDARD = {
    "latitude": "lat",
    "longitude": "lon",
    "time": "time",
    "forecast_period": "lead",
    "realization": "member",
    "air_pressure": "level",
    "depth": "depth",
    "height": "height",
    "model_level_number": "model_level",
    "atmosphere_hybrid_sigma_pressure_coordinate": "model_level",
}
_LAT_UNITS = re.compile(r"^degrees?_?n(orth)?$", re.IGNORECASE)
_LON_UNITS = re.compile(r"^degrees?_?e(ast)?$", re.IGNORECASE)
_START_TIMES = frozenset({"forecast_reference_time", "init_time", "initial_time", "initialization_time"})
_BOUNDS = re.compile(r"(^(bounds|vertices|bnds)_)|((_bnds|_bounds|_bound|_vertices|_vertex)$)", re.IGNORECASE)


@dataclass(frozen=True)
class Horizontal:
    """Where fields lie: the names of the latitude and longitude variables, and the dims that fields have.

    ``dims`` is ``(lat_dim, lon_dim)`` on a rectilinear grid, ``(y_dim, x_dim)`` on a curvilinear one.
    """

    lat: str
    lon: str
    dims: tuple[str, str]
    kind: str  # "rectilinear", "curvilinear" or "rotated"


def find_role(name: str, variable: xr.Variable) -> str | None:
    """Say which axis a coordinate variable describes, or None.

    The units are looked at before the name: ``lev`` in metres is a depth, ``t`` in kelvin no time.
    """
    attrs, word = variable.attrs, name.lower()
    units, standard = str(attrs.get("units", "")), str(attrs.get("standard_name", ""))
    if is_bounds(name) or standard.startswith("grid_"):
        return None
    if _LAT_UNITS.match(units):
        return "lat"
    if _LON_UNITS.match(units):
        return "lon"
    if word in _START_TIMES or standard in _START_TIMES:
        return "start"
    if is_time(variable):
        return "lead" if variable.dtype.kind == "m" else "time"
    role = _STANDARD.get(standard) or _spelled_role(word, variable)
    if role in {"level", "depth"} and units:
        return _vertical_role(units)
    return role


def is_time(variable: xr.Variable) -> bool:
    """Whether values are times or spans of time, encoded or not."""
    return (
        " since " in str(variable.attrs.get("units", ""))
        or variable.dtype.kind in "mM"
        or _has_dates(variable)
    )


def is_bounds(name: str) -> bool:
    """Whether a name is one that bounds of cells and intervals go by."""
    return bool(_BOUNDS.search(name))


def order_dims(fields: xr.Dataset) -> list[str]:
    """List dims as every canonical field has them; those without a role stand before the horizontal ones."""
    dims = list(map(str, fields.dims))
    others = [dim for dim in dims if dim not in (*_LEADING_DIMS, *_HORIZONTAL_DIMS)]
    return [d for d in (*_LEADING_DIMS, *others, *_HORIZONTAL_DIMS) if d in dims]


def find_roles(raw: xr.Dataset) -> dict[str, str]:
    """Map each dimension's role to the variable that describes it, scalar coordinates included.

    A dimension's own variable counts before another one along it (NEMO's ``time_centered`` beside a
    ``time_counter`` without units).
    """
    bounds = bounds_of(raw)
    found = {
        str(n): find_role(str(n), v) for n, v in raw.variables.items() if v.ndim <= 1 and str(n) not in bounds
    }
    roles: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(found, key=lambda n: _rank(raw, n, found[n])):
        role, dims = found[name], set(map(str, raw[name].dims))
        # A second variable along a dimension (a lead time along valid times) describes it no further.
        if role is not None and role not in {"lat", "lon"} and role not in roles and not dims & taken:
            roles[role] = name
            taken |= dims
    return _settle_start(raw, roles)


def bounds_of(raw: xr.Dataset) -> frozenset[str]:
    """Name the variables that other variables call their bounds, and those that look so."""
    named = {
        str(v.attrs[key])
        for v in raw.variables.values()
        for key in ("bounds", "climatology")
        if key in v.attrs
    }
    return frozenset(named) | {str(name) for name in raw.variables if is_bounds(str(name))}


def find_horizontal(raw: xr.Dataset, wanted: Iterable[str]) -> Horizontal:
    """Find the one horizontal grid on which the wanted variables lie.

    Raises
    ------
    DataError
        If there is none, or if the variables lie on several.
    """
    grids = _pair_up(raw)
    _refuse_tracks(raw, grids)
    if not grids:
        raise DataError(
            f"fields must lie on latitude and longitude, got dimensions {_list(map(str, raw.dims))}",
            hint="name the coordinates by standard_name or units (degrees_north, degrees_east)",
        )
    chosen: dict[Horizontal, list[str]] = {}
    for name in wanted:
        grid = _grid_of(raw.variables[name], grids)
        if grid is not None:
            chosen.setdefault(grid, []).append(name)
    if not chosen:
        raise DataError(
            f"at least one variable must lie on {grids[0].lat} and {grids[0].lon}, got {_list(wanted)}",
            hint="point files and meshes are not gridded fields",
        )
    if len(chosen) > 1:
        parts = "; ".join(f"{_list(names)} on {g.lat}/{g.lon}" for g, names in chosen.items())
        raise DataError(
            f"variables opened together must share one grid, got {parts}", hint="open them one by one"
        )
    return next(iter(chosen))


def find_rotated(raw: xr.Dataset) -> Horizontal | None:
    """Find the axes of a rotated pole, from which latitude and longitude can be computed."""
    axes = {str(v.attrs.get("standard_name")): str(name) for name, v in raw.variables.items() if v.ndim == 1}
    has_pole = any("grid_north_pole_latitude" in v.attrs for v in raw.variables.values())
    lat, lon = axes.get("grid_latitude"), axes.get("grid_longitude")
    if not (has_pole and lat and lon):
        return None
    return Horizontal(lat, lon, (str(raw[lat].dims[0]), str(raw[lon].dims[0])), "rotated")


def _rank(raw: xr.Dataset, name: str, role: str | None) -> tuple[bool, bool, bool]:
    """Sort coordinates: those of time that can be decoded, then a dimension's own, then scalars last."""
    variable = raw.variables[name]
    undecodable = role == "time" and not is_time(variable) and variable.dtype.kind not in "iu"
    return undecodable, variable.ndim == 0, name not in raw.dims


def _spelled_role(word: str, variable: xr.Variable) -> str | None:
    if variable.ndim == 1 and variable.attrs.get("axis") == "T":
        return "time"
    if word == "t" and variable.attrs.get("units"):
        return None
    return next((role for role, words in _SPELLED.items() if word in words), None)


def _vertical_role(units: str) -> str | None:
    if are_compatible(units, "hPa"):
        return "level"
    return "depth" if are_compatible(units, "m") else "model_level"


def _settle_start(raw: xr.Dataset, roles: dict[str, str]) -> dict[str, str]:
    """Take the forecast's start for ``time`` where it is the dimension that fields have."""
    start = roles.pop("start", None)
    time = roles.get("time")
    if start and (time is None or (raw[start].ndim == 1 and raw[time].ndim == 0)):
        roles["time"] = start
    return roles


def _pair_up(raw: xr.Dataset) -> list[Horizontal]:
    found: dict[str, list[str]] = {"lat": [], "lon": []}
    bounds = bounds_of(raw)
    for name in map(str, raw.variables):
        role = find_role(name, raw.variables[name])
        if role in found and name not in bounds and raw[name].ndim in {1, 2}:
            found[role].append(name)
    pairs = [_pair(raw, lat, lon) for lat in found["lat"] for lon in found["lon"]]
    found_pairs = [pair for pair in pairs if pair is not None]
    rotated = find_rotated(raw)
    return found_pairs or ([rotated] if rotated else [])


def _refuse_tracks(raw: xr.Dataset, grids: list[Horizontal]) -> None:
    """Refuse latitudes and longitudes in two dimensions of which one is time: they are tracks, or a swath."""
    timed = {
        dim
        for name, v in raw.variables.items()
        if is_time(v) and str(name) not in bounds_of(raw)
        for dim in v.dims
    }
    for grid in grids:
        if grid.kind == "curvilinear" and timed & set(grid.dims):
            raise DataError(
                f"fields must lie on a fixed grid, got {grid.lat!r} and {grid.lon!r} that change with time",
                hint="tracks and swaths are not gridded fields",
            )


def _pair(raw: xr.Dataset, lat: str, lon: str) -> Horizontal | None:
    lat_dims, lon_dims = (tuple(map(str, raw[name].dims)) for name in (lat, lon))
    if len(lat_dims) == len(lon_dims) == 1 and lat_dims != lon_dims:
        return Horizontal(lat, lon, (lat_dims[0], lon_dims[0]), "rectilinear")
    if len(lat_dims) == 2 and lat_dims == lon_dims and _are_twins(lat, lon):
        return Horizontal(lat, lon, (lat_dims[0], lat_dims[1]), "curvilinear")
    return None


def _are_twins(lat: str, lon: str) -> bool:
    """Whether two names differ only by the word for the axis: TLAT goes with TLONG, not with ULONG."""
    strip = re.compile(r"lat(itude)?|lon(gitude|g)?", re.IGNORECASE)
    return strip.sub("", lat) == strip.sub("", lon)


def _grid_of(variable: xr.Variable, grids: list[Horizontal]) -> Horizontal | None:
    """Choose among the grids whose dims the variable has: the one it names, else the first."""
    fitting = [grid for grid in grids if set(grid.dims) <= set(map(str, variable.dims))]
    named = str(variable.attrs.get("coordinates", variable.encoding.get("coordinates", ""))).split()
    stated = [grid for grid in fitting if grid.lat in named or grid.lon in named]
    return next(iter(stated or fitting), None)


def _has_dates(variable: xr.Variable) -> bool:
    if variable.dtype.kind != "O" or variable.size == 0:
        return False
    return hasattr(np.ravel(variable.values)[0], "calendar")


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
