"""How sea level products lie in their files: names, units, stamps, fills and packing of each provider.

Each function gives variables exactly as such a file holds them, for `isopleth.io.stored.write_stored`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cftime  # type: ignore[import-untyped]
import numpy as np

from isopleth.io.stored import Stored
from isopleth.samples.waves import Floats

CMIP_FILL = np.float32(1e20)
POP_FILL = np.float32(9.969209968386869e36)
DUACS_FILL = np.int32(-2147483647)


@dataclass(frozen=True)
class Intervals:
    """The months or years that means stand for: their edges, one more than there are means.

    Parameters
    ----------
    edges : sequence of cftime.datetime
        In one calendar.
    """

    edges: Sequence[Any]

    @property
    def calendar(self) -> str:
        """The calendar's CF name."""
        return str(self.edges[0].calendar)

    def count(self, units: str) -> Floats:
        """Return the edges as numbers in units such as ``days since 1850-01-01``."""
        return np.asarray(cftime.date2num(list(self.edges), units, self.calendar), np.float64)

    @classmethod
    def of_years(cls, first: int, last: int, *, calendar: str, monthly: bool) -> Intervals:
        """Return the months, or the years, of whole years, both ends included."""
        steps = [
            (year, month) for year in range(first, last + 1) for month in range(1, 13, 1 if monthly else 12)
        ]
        return cls([cftime.datetime(y, m, 1, calendar=calendar) for y, m in [*steps, (last + 1, 1)]])


def pop_layout(
    ssh_cm: np.ndarray, lat: Floats, lon: Floats, intervals: Intervals, *, with_bounds: bool = True
) -> dict[str, Stored]:
    """Lay out CESM POP's ``SSH``: cm, stamps at the end of their interval, places missing over land.

    Parameters
    ----------
    ssh_cm : array, shape (time, nlat, nlon)
        NaN over land.
    lat, lon : array, shape (nlat, nlon)
        NaN where the file has no place.
    intervals : Intervals
    with_bounds : bool
        Whether ``time_bound`` says what the stamps do not.
    """
    units = "days since 0000-01-01 00:00:00"
    edges = intervals.count(units)
    time = {"units": units, "calendar": intervals.calendar, "long_name": "time"}
    field = {
        "long_name": "Sea Surface Height",
        "units": "centimeter",
        "coordinates": "TLONG TLAT time",
        "cell_methods": "time: mean",
        "missing_value": POP_FILL,
    }
    places = {
        "TLAT": (lat, "array of t-grid latitudes", "degrees_north"),
        "TLONG": (lon, "array of t-grid longitudes", "degrees_east"),
        "ULAT": (lat + 0.5, "array of u-grid latitudes", "degrees_north"),
        "ULONG": (lon + 0.5, "array of u-grid longitudes", "degrees_east"),
    }
    variables = {
        name: Stored(dims=("nlat", "nlon"), values=values, attrs={"long_name": text, "units": unit})
        for name, (values, text, unit) in places.items()
    }
    bounded = {"bounds": "time_bound"} if with_bounds else {}
    variables["time"] = Stored(dims=("time",), values=edges[1:], attrs={**time, **bounded})
    variables["SSH"] = Stored(
        dims=("time", "nlat", "nlon"), values=_fill(ssh_cm, POP_FILL), attrs=field, fill=POP_FILL
    )
    if with_bounds:
        text = {"long_name": "boundaries for time-averaging interval", "units": units}
        variables["time_bound"] = Stored(dims=("time", "d2"), values=_pairs(edges), attrs=text)
    return variables


def cmip_layout(
    zos: np.ndarray,
    lat: Floats,
    lon: Floats,
    intervals: Intervals,
    *,
    names: Mapping[str, str] | None = None,
    since: str = "days since 1850-01-01",
) -> dict[str, Stored]:
    """Lay out CMIP's ``zos`` on a curved grid: metres, stamps in the middle, land and its places 1e20.

    Parameters
    ----------
    zos : array, shape ([member,] time, rows, columns)
        NaN over land.
    lat, lon : array, shape (rows, columns)
        NaN where the file has no place.
    intervals : Intervals
    names : mapping, optional
        What the file calls ``j``, ``i``, ``latitude`` and ``longitude``, where it calls them otherwise.
    since : str
        Units of time.
    """
    j, i, latitude, longitude = ({**{n: n for n in _CMIP_NAMES}, **(names or {})}[n] for n in _CMIP_NAMES)
    leading = ("member", "time") if zos.ndim == 4 else ("time",)
    variables = {
        **_cmip_time(intervals, since),
        latitude: _cmip_place(lat, (j, i), "latitude", "degrees_north"),
        longitude: _cmip_place(lon, (j, i), "longitude", "degrees_east"),
        "zos": Stored(
            dims=(*leading, j, i),
            values=_fill(zos, CMIP_FILL),
            attrs={
                "standard_name": "sea_surface_height_above_geoid",
                "units": "m",
                "coordinates": f"{latitude} {longitude}",
                "cell_measures": "area: areacello",
                "missing_value": CMIP_FILL,
            },
            fill=CMIP_FILL,
        ),
    }
    if zos.ndim == 4:
        attrs = {"standard_name": "realization", "units": "1"}
        variables["member"] = Stored(
            dims=("member",), values=np.arange(1, len(zos) + 1, dtype="i4"), attrs=attrs
        )
    return variables


def zostoga_layout(
    zostoga: Floats, intervals: Intervals, *, since: str = "days since 1850-01-01"
) -> dict[str, Stored]:
    """Lay out CMIP's ``zostoga``, the global mean that ``zos`` lacks: metres, shape (time,)."""
    attrs = {
        "standard_name": "global_average_thermosteric_sea_level_change",
        "units": "m",
        "missing_value": CMIP_FILL,
    }
    field = Stored(dims=("time",), values=zostoga.astype("f4"), attrs=attrs, fill=CMIP_FILL)
    return {**_cmip_time(intervals, since), "zostoga": field}


def altimetry_layout(
    fields: Mapping[str, tuple[np.ndarray, Mapping[str, Any]]],
    lat: Floats,
    lon: Floats,
    days: Floats,
) -> dict[str, Stored]:
    """Lay out DUACS level 4, all satellites or two: 32-bit integers of 0.1 mm, longitude -180 to 180.

    Parameters
    ----------
    fields : mapping of str to (array, attributes)
        Integers (time, latitude, longitude), `DUACS_FILL` where there is no value.
    lat, lon : array
        Centres, degrees, ascending.
    days : array, shape (time,)
        Since 1950-01-01.
    """
    half = [abs(float(axis[1] - axis[0])) / 2 for axis in (lat, lon)]
    time = {"units": "days since 1950-01-01 00:00:00", "calendar": "gregorian", "standard_name": "time"}
    variables = {"time": Stored(dims=("time",), values=days.astype("f4"), attrs=time)}
    axes = (
        ("latitude", "lat", "degrees_north", lat, half[0]),
        ("longitude", "lon", "degrees_east", lon, half[1]),
    )
    for name, short, units, axis, width in axes:
        described = {"units": units, "standard_name": name, "bounds": f"{short}_bnds"}
        variables[name] = Stored(dims=(name,), values=axis.astype("f4"), attrs=described)
        edges = np.stack([axis - width, axis + width], axis=1).astype("f4")
        variables[f"{short}_bnds"] = Stored(dims=(name, "nv"), values=edges)
    for name, (values, attrs) in fields.items():
        packing = {"scale_factor": 1e-4, "coordinates": "longitude latitude"}
        dims = ("time", "latitude", "longitude")
        variables[name] = Stored(dims=dims, values=values, attrs={**attrs, **packing}, fill=DUACS_FILL)
    return variables


_CMIP_NAMES = ("j", "i", "latitude", "longitude")


def _cmip_time(intervals: Intervals, since: str) -> dict[str, Stored]:
    edges = intervals.count(since)
    attrs = {
        "units": since,
        "calendar": intervals.calendar,
        "standard_name": "time",
        "bounds": "time_bnds",
        "axis": "T",
    }
    middles = (edges[:-1] + edges[1:]) / 2.0
    return {
        "time": Stored(dims=("time",), values=middles, attrs=attrs),
        "time_bnds": Stored(dims=("time", "bnds"), values=_pairs(edges)),
    }


def _cmip_place(values: Floats, dims: tuple[str, str], name: str, units: str) -> Stored:
    attrs = {"units": units, "standard_name": name, "missing_value": 1e20}
    return Stored(dims=dims, values=_fill(values, np.float64(1e20)), attrs=attrs, fill=1e20)


def _pairs(edges: Floats) -> Floats:
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _fill(values: np.ndarray, fill: np.floating) -> np.ndarray:
    return np.where(np.isnan(values), fill, values).astype(fill.dtype)
