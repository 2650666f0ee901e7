"""Miniature sea level: CMIP6 and CESM on curved grids, DUACS, MEaSUREs, and AVISO's trend map."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import cftime  # type: ignore[import-untyped]
import numpy as np
import xarray as xr

from isopleth.samples.ocean_layouts import (
    DUACS_FILL,
    POP_FILL,
    Intervals,
    altimetry_layout,
    cmip_layout,
    pop_layout,
)
from isopleth.testing.miniature import (
    Stored,
    Written,
    daily,
    days_since,
    make_field,
    mask_land,
    pack,
    to_west_east,
    write_raw,
)

_NY, _NX = 10, 16
_AVISO_FILL = np.float32(18446744073709551616.0)


def write_cmip6_zos(folder: Path, *, seed: int = 0, months: int = 14, calendar: str = "noleap") -> Written:
    """Write CMIP6 Omon ``zos`` on a curved grid: 2-D coordinates, vertices, land filled with 1e20."""
    rng = np.random.default_rng(seed)
    lat, lon = _curved_grid(first_lon=73.0)
    intervals = _months_of(months, calendar)
    zos = _curved_field(rng, months, mean=0.1, spread=0.8)
    land = _curved_land()
    stored_lon = np.where(land, np.nan, lon)
    variables = cmip_layout(np.where(land, np.nan, zos), lat, stored_lon, intervals)
    for name, axis in (("latitude", lat), ("longitude", lon)):
        place = variables[name]
        variables[name] = replace(place, attrs={**place.attrs, "bounds": f"vertices_{name}"})
        variables[f"vertices_{name}"] = Stored(dims=("j", "i", "vertices"), values=_vertices(axis))
    for name, size in (("j", _NY), ("i", _NX)):
        attrs = {"units": "1", "long_name": "cell index"}
        variables[name] = Stored(dims=(name,), values=np.arange(size, dtype="i4"), attrs=attrs)
    attrs = {
        "Conventions": "CF-1.7 CMIP-6.2",
        "mip_era": "CMIP6",
        "table_id": "Omon",
        "source_id": "MINI-1-0",
    }
    path = write_raw(folder / f"zos_Omon_MINI_{calendar}.nc", variables, attrs=attrs, unlimited="time")
    return Written(path, _curved_truth(np.where(land, np.nan, zos), _middles(intervals), lat, stored_lon))


def write_cmip6_zos_360_day(folder: Path, *, seed: int = 0) -> Written:
    """Write CMIP6 ``zos`` with years of twelve months of thirty days."""
    return write_cmip6_zos(folder, seed=seed, calendar="360_day")


def write_cesm_pop(folder: Path, *, seed: int = 0, months: int = 14, with_bounds: bool = True) -> Written:
    """Write CESM POP ``SSH`` in cm: stamps at the end of the month, TLAT and TLONG missing over land."""
    rng = np.random.default_rng(seed)
    lat, lon = _curved_grid(first_lon=320.0)
    land = _curved_land()
    intervals = _months_of(months, "noleap")
    ssh = np.where(land, np.nan, _curved_field(rng, months, mean=0.0, spread=90.0)).astype("f4")
    stored_lat, stored_lon = (np.where(land, np.nan, values) for values in (lat, lon))
    variables = pop_layout(ssh, stored_lat, stored_lon, intervals, with_bounds=with_bounds)
    attrs = {"title": "b.e11.B20TRC5CNBDRD.f09_g16.001", "source": "CCSM POP2, the CCSM Ocean Component"}
    suffix = "" if with_bounds else "_without_bounds"
    path = write_raw(folder / f"cesm_pop_ssh{suffix}.nc", variables, attrs=attrs, unlimited="time")
    return Written(path, _curved_truth(ssh.astype("f8") / 100.0, _middles(intervals), stored_lat, stored_lon))


def write_cesm_pop_without_bounds(folder: Path, *, seed: int = 0) -> Written:
    """Write CESM POP as some archives have it: month-end stamps and nothing that says so."""
    return write_cesm_pop(folder, seed=seed, with_bounds=False)


def write_duacs(folder: Path, *, seed: int = 0, days: int = 4) -> Written:
    """Write DUACS level 4 sea level: packed 32-bit integers, longitude -180 to 180, bounds."""
    rng = np.random.default_rng(seed)
    coords = {
        "time": daily("2019-02-23", days),
        "lat": np.arange(-59.9375, 60.0, 7.5),
        "lon": np.arange(0.0625, 360.0, 15.0),
    }
    west = np.sort((coords["lon"] + 180.0) % 360.0 - 180.0)
    truth, fields = xr.Dataset(), {}
    names = {
        "sla": ("sea_level_anomaly", "sea_surface_height_above_sea_level", "m", 0.4),
        "adt": ("sea_surface_height", "sea_surface_height_above_geoid", "m", 1.2),
        "ugos": (
            "surface_geostrophic_eastward_velocity",
            "surface_geostrophic_eastward_sea_water_velocity",
            "m/s",
            0.8,
        ),
    }
    for short, (name, standard, units, spread) in names.items():
        data = mask_land(make_field(rng, coords, mean=0.0, spread=spread))
        raw, values = pack(to_west_east(data).values, 1e-4, 0.0, "i4", int(DUACS_FILL))
        truth[name] = to_west_east(data).copy(data=values).assign_coords(lon=west % 360.0).sortby("lon")
        fields[short] = (raw, {"standard_name": standard, "units": units})
    attrs = {
        "Conventions": "CF-1.6",
        "title": "NRT merged all satellites Global Ocean Gridded SSALTO/DUACS",
        "product_version": "2019",
    }
    variables = altimetry_layout(fields, coords["lat"], west, days_since(coords["time"], "1950-01-01"))
    return Written(write_raw(folder / "nrt_global_allsat_phy_l4_20190223.nc", variables, attrs=attrs), truth)


def write_measures(folder: Path, *, seed: int = 0, steps: int = 3) -> Written:
    """Write JPL MEaSUREs sea level: capitalised names, (Time, Longitude, Latitude)."""
    rng = np.random.default_rng(seed)
    coords = {
        "time": np.datetime64("1993-01-03T12:00", "ns") + np.arange(steps) * np.timedelta64(5, "D"),
        "lat": np.linspace(-79.5, 79.5, 9),
        "lon": np.arange(0.5, 360.0, 30.0),
    }
    axis = {
        "Time": ("time", "Time"),
        "Latitude": ("lat", "degrees_north"),
        "Longitude": ("lon", "degrees_east"),
    }
    variables = {
        name: Stored(
            dims=(name,),
            values=np.asarray(coords[key]),
            attrs={"units": units, "standard_name": name.lower()},
        )
        for name, (key, units) in axis.items()
        if name != "Time"
    }
    variables["Time"] = Stored(
        dims=("Time",),
        values=days_since(coords["time"], "1985-01-01").astype("f8"),
        attrs={"units": "days since 1985-01-01 00:00:00", "calendar": "gregorian", "standard_name": "time"},
    )
    truth = xr.Dataset()
    for short, name, spread in (
        ("SLA", "sea_level_anomaly", 0.4),
        ("SLA_ERR", "sea_level_anomaly_error", 0.1),
    ):
        data = mask_land(make_field(rng, coords, mean=0.0, spread=spread)).astype("f4")
        truth[name] = data
        values = data.transpose("time", "lon", "lat").fillna(float(POP_FILL)).values.astype("f4")
        dims = ("Time", "Longitude", "Latitude")
        variables[short] = Stored(
            dims=dims, values=values, attrs={"units": "m", "long_name": name}, fill=POP_FILL
        )
    return Written(
        write_raw(folder / "ssh_grids_v2205_1993010312.nc", variables, attrs={"institution": "JPL"}), truth
    )


def write_aviso_trend_map(folder: Path, *, seed: int = 0) -> Written:
    """Write AVISO's map of sea level trends: one field in mm/year, (longitude, latitude), fill 1.8e19."""
    rng = np.random.default_rng(seed)
    coords = {"lat": np.linspace(-78.0, 78.0, 12), "lon": np.arange(1.0, 360.0, 20.0)}
    data = mask_land(make_field(rng, coords, mean=3.0, spread=6.0)).astype("f4")
    values = data.transpose("lon", "lat").fillna(float(_AVISO_FILL)).values.astype("f4")
    variables = {
        "latitude": Stored(dims=("latitude",), values=coords["lat"], attrs={"units": "degrees_north"}),
        "longitude": Stored(dims=("longitude",), values=coords["lon"], attrs={"units": "degrees_east"}),
        "sea_level_trends": Stored(
            dims=("longitude", "latitude"), values=values, attrs={"units": "mm/year"}, fill=_AVISO_FILL
        ),
    }
    path = write_raw(folder / "MSL_Map_MERGED_Global.nc", variables, kind="NETCDF3_CLASSIC")
    return Written(path, xr.Dataset({"sea_level_trend": data}))


def _curved_grid(*, first_lon: float) -> tuple[np.ndarray, np.ndarray]:
    """Make a grid that bends: rows lean northwards, columns converge towards a displaced pole."""
    j, i = np.meshgrid(np.arange(_NY), np.arange(_NX), indexing="ij")
    lat = -75.0 + 15.0 * j + 3.0 * np.sin(2 * np.pi * i / _NX) * (j / _NY)
    lon = (first_lon + 360.0 / _NX * i + 4.0 * np.cos(2 * np.pi * i / _NX) * (j / _NY) ** 2) % 360.0
    return lat, lon


def _curved_land() -> np.ndarray:
    land = np.zeros((_NY, _NX), bool)
    land[4:8, 5:9] = True
    return land


def _curved_field(rng: np.random.Generator, months: int, *, mean: float, spread: float) -> np.ndarray:
    rows, columns = np.linspace(-75, 60, _NY), np.arange(_NX) * 360.0 / _NX
    coords = {"time": np.arange(months), "lat": rows, "lon": columns}
    return make_field(rng, coords, mean=mean, spread=spread).values


def _curved_truth(values: np.ndarray, times: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> xr.Dataset:
    missing = np.isnan(lat) | np.isnan(lon)
    coords = {
        "time": times,
        "lat": (("y", "x"), np.where(missing, np.nan, lat)),
        "lon": (("y", "x"), np.where(missing, np.nan, lon)),
    }
    return xr.Dataset({"sea_surface_height": (("time", "y", "x"), values)}, coords=coords)


def _months_of(count: int, calendar: str) -> Intervals:
    return Intervals(
        [cftime.datetime(1850 + n // 12, n % 12 + 1, 1, calendar=calendar) for n in range(count + 1)]
    )


def _middles(intervals: Intervals) -> np.ndarray:
    return np.array([start + (end - start) / 2 for start, end in itertools.pairwise(intervals.edges)])


def _vertices(values: np.ndarray) -> np.ndarray:
    return np.stack([values + dx for dx in (-1.0, 1.0, 1.0, -1.0)], axis=-1)
