"""Miniature ERA5 as the Climate Data Store serves it, old and new, and WeatherBench 2's zarr stores."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isopleth.testing.miniature import Stored, Written, daily, days_since, make_field, pack, write_raw

_LAT = np.linspace(-90, 90, 13)
_LON = np.arange(0.0, 360.0, 20.0)
_LEVELS = np.array([500.0, 850.0])
_OLD_ATTRS = {
    "Conventions": "CF-1.6",
    "history": "2023-01-01 grib_to_netcdf -S param -o cache/adaptor.mars.nc",
}
_NEW_ATTRS = {
    "GRIB_centre": "ecmf",
    "GRIB_edition": np.int64(1),
    "GRIB_subCentre": np.int64(0),
    "Conventions": "CF-1.7",
    "institution": "European Centre for Medium-Range Weather Forecasts",
}


def write_era5_old_cds(folder: Path, *, seed: int = 0, days: int = 4) -> Written:
    """Write ERA5 as the old store did: classic NetCDF, packed shorts, latitude descending."""
    rng = np.random.default_rng(seed)
    coords = {"time": daily("2001-01-30", days), "level": _LEVELS, "lat": _LAT, "lon": _LON}
    fields = {
        "geopotential": ("z", make_field(rng, coords, mean=5.5e4, spread=3e3), "m**2 s**-2", "geopotential"),
        "temperature": ("t", make_field(rng, coords, mean=265.0, spread=25.0), "K", "air_temperature"),
    }
    variables = _old_axes(coords)
    truth = xr.Dataset(coords=coords)
    for name, (short, data, units, standard) in fields.items():
        stored, values = _pack_short(data)
        attrs = {**stored.attrs, "units": units, "long_name": name.capitalize(), "standard_name": standard}
        variables[short] = Stored(dims=stored.dims, values=stored.values, attrs=attrs, fill=stored.fill)
        truth[name] = data.copy(data=values)
    path = write_raw(folder / "era5_old_cds.nc", variables, attrs=_OLD_ATTRS, kind="NETCDF3_64BIT_OFFSET")
    return Written(path, truth)


def write_era5_old_cds_expver(folder: Path, *, seed: int = 0, days: int = 6) -> Written:
    """Write ERA5 with its preliminary end: ``expver`` 1 and 5, each missing where the other is not."""
    rng = np.random.default_rng(seed)
    coords = {"time": daily("2023-10-01", days), "lat": _LAT, "lon": _LON}
    data = make_field(rng, coords, mean=288.0, spread=20.0)
    stored, values = _pack_short(data)
    both = np.repeat(stored.values[:, np.newaxis], 2, axis=1)
    final = days // 2
    both[final:, 0] = both[:final, 1] = stored.fill
    variables = _old_axes(coords)
    variables["expver"] = Stored(
        dims=("expver",), values=np.array([1, 5], "i4"), attrs={"long_name": "expver"}
    )
    variables["t2m"] = Stored(
        dims=("time", "expver", "latitude", "longitude"),
        values=both,
        attrs={**stored.attrs, "units": "K", "long_name": "2 metre temperature"},
        fill=stored.fill,
    )
    path = write_raw(folder / "era5_expver.nc", variables, attrs=_OLD_ATTRS, kind="NETCDF3_64BIT_OFFSET")
    return Written(path, xr.Dataset({"2m_temperature": data.copy(data=values)}))


def write_era5_new_cds(folder: Path, *, seed: int = 0, days: int = 3) -> Written:
    """Write ERA5 on pressure levels as the new store does: ``valid_time``, descending levels, ``number``."""
    rng = np.random.default_rng(seed)
    coords = {"time": daily("2024-02-28", days), "level": _LEVELS, "lat": _LAT, "lon": _LON}
    data = make_field(rng, coords, mean=5.0, spread=30.0).astype("f4")
    variables = _new_axes(coords)
    values = data.isel(lat=slice(None, None, -1), level=slice(None, None, -1)).values
    variables["u"] = Stored(
        dims=("valid_time", "pressure_level", "latitude", "longitude"),
        values=values,
        attrs={
            "units": "m s**-1",
            "standard_name": "eastward_wind",
            "coordinates": "number valid_time expver",
        },
        fill=np.float32(np.nan),
    )
    path = write_raw(folder / "era5_new_cds.nc", variables, attrs=_NEW_ATTRS)
    return Written(path, xr.Dataset({"u_component_of_wind": data}))


def write_era5_monthly_new_cds(folder: Path, *, seed: int = 0, months: int = 5) -> Written:
    """Write monthly means of the new store, whose time is ``date``: the integers 20240101, 20240201, ..."""
    rng = np.random.default_rng(seed)
    starts = np.datetime64("2024-01", "M") + np.arange(months)
    coords = {"time": starts.astype("datetime64[ns]"), "lat": _LAT, "lon": _LON}
    data = make_field(rng, coords, mean=290.0, spread=10.0).astype("f4")
    variables = _new_axes(coords)
    numbers = [int(str(start).replace("-", "")) * 100 + 1 for start in starts]
    dates = Stored(dims=("date",), values=np.array(numbers, "i8"))
    variables = {"date": dates, "latitude": variables["latitude"], "longitude": variables["longitude"]}
    variables["sst"] = Stored(
        dims=("date", "latitude", "longitude"),
        values=data.isel(lat=slice(None, None, -1)).values,
        attrs={"units": "K", "standard_name": "unknown", "long_name": "Sea surface temperature"},
        fill=np.float32(np.nan),
    )
    path = write_raw(folder / "era5_monthly_new_cds.nc", variables, attrs=_NEW_ATTRS)
    return Written(path, xr.Dataset({"sea_surface_temperature": data}))


def write_era5_zip(folder: Path, *, seed: int = 0, days: int = 3) -> Written:
    """Write what the new store sends for mixed requests: a zip, named .nc, of analysis and forecast files."""
    rng = np.random.default_rng(seed)
    coords = {"time": daily("2024-07-01", days), "lat": _LAT, "lon": _LON}
    t2m = make_field(rng, coords, mean=285.0, spread=20.0).astype("f4")
    rain = (make_field(rng, coords, mean=0.0, spread=0.02).clip(min=0.0)).astype("f4")
    path = folder / "era5_request.nc"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for short, data, units, kind in (("t2m", t2m, "K", "instant"), ("tp", rain, "m", "accum")):
            variables = _new_axes(coords)
            variables[short] = Stored(
                dims=("valid_time", "latitude", "longitude"),
                values=data.isel(lat=slice(None, None, -1)).values,
                attrs={"units": units, "standard_name": "unknown", "GRIB_stepType": kind},
                fill=np.float32(np.nan),
            )
            name = f"data_stream-oper_stepType-{kind}.nc"
            member = write_raw(folder / name, variables, attrs=_NEW_ATTRS)
            archive.write(member, name)
            member.unlink()
    return Written(path, xr.Dataset({"2m_temperature": t2m, "total_precipitation": rain}))


def write_weatherbench2(folder: Path, *, seed: int = 0, days: int = 5, zarr_format: int = 2) -> Written:
    """Write a WeatherBench 2 store of the 64x32 kind: no poles, longitude before latitude.

    Version 2 is consolidated. Version 3 has the order of the full-resolution stores: latitude from the north,
    then longitude.
    """
    rng = np.random.default_rng(seed)
    lat, lon = np.linspace(-90 + 7.5, 90 - 7.5, 12), np.arange(0.0, 360.0, 15.0)
    coords = {"time": daily("2020-01-01", days, hours=6), "level": _LEVELS, "lat": lat, "lon": lon}
    flat = {key: coords[key] for key in ("time", "lat", "lon")}
    truth = xr.Dataset(
        {
            "geopotential": make_field(rng, coords, mean=5.5e4, spread=3e3).astype("f4"),
            "2m_temperature": make_field(rng, flat, mean=285.0, spread=25.0).astype("f4"),
            "total_precipitation_6hr": make_field(rng, flat, mean=0.0, spread=0.01).clip(min=0).astype("f4"),
        }
    )
    for name, units in (
        ("geopotential", "m**2 s**-2"),
        ("2m_temperature", "K"),
        ("total_precipitation_6hr", "m"),
    ):
        truth[name].attrs = {"units": units, "long_name": name}
    stored = truth.rename(lat="latitude", lon="longitude").assign_coords(
        level=("level", _LEVELS.astype("i8"))
    )
    if zarr_format == 2:
        stored = stored.transpose("time", "level", "longitude", "latitude")
    else:
        stored = stored.isel(latitude=slice(None, None, -1))
    path = folder / f"weatherbench2_v{zarr_format}.zarr"
    encoding: dict[str, dict[str, Any]] = {
        str(name): {"chunks": (1, *array.shape[1:])} for name, array in stored.data_vars.items()
    }
    encoding["time"] = {
        "units": "hours since 1959-01-01",
        "calendar": "proleptic_gregorian",
        "dtype": "int64",
    }
    stored.to_zarr(path, zarr_format=zarr_format, consolidated=zarr_format == 2, encoding=encoding)
    return Written(path, truth)


def write_weatherbench2_v3(folder: Path, *, seed: int = 0) -> Written:
    """Write a WeatherBench 2 store in zarr's third version, unconsolidated."""
    return write_weatherbench2(folder, seed=seed, zarr_format=3)


def _pack_short(data: xr.DataArray) -> tuple[Stored, np.ndarray]:
    """Pack as grib_to_netcdf does: the range of the field over all shorts, from north to south."""
    low, high = float(data.min()), float(data.max())
    scale, offset = (high - low) / 65532.0, (high + low) / 2.0
    raw, values = pack(data.values, scale, offset, "i2", -32767)
    names = {"time": "time", "level": "level", "lat": "latitude", "lon": "longitude"}
    attrs = {"scale_factor": scale, "add_offset": offset, "missing_value": np.int16(-32767)}
    dims = tuple(names[str(dim)] for dim in data.dims)
    return Stored(dims=dims, values=np.flip(raw, axis=-2), attrs=attrs, fill=np.int16(-32767)), values


def _old_axes(coords: dict[str, np.ndarray]) -> dict[str, Stored]:
    hours = days_since(coords["time"], "1900-01-01", per_day=24).astype("i4")
    axes = {
        "longitude": Stored(dims=("longitude",), values=_LON.astype("f4"), attrs={"units": "degrees_east"}),
        "latitude": Stored(
            dims=("latitude",), values=_LAT[::-1].astype("f4"), attrs={"units": "degrees_north"}
        ),
        "time": Stored(
            dims=("time",),
            values=hours,
            attrs={"units": "hours since 1900-01-01 00:00:00.0", "calendar": "gregorian"},
        ),
    }
    if "level" in coords:
        axes["level"] = Stored(dims=("level",), values=_LEVELS.astype("i4"), attrs={"units": "millibars"})
    return axes


def _new_axes(coords: dict[str, np.ndarray]) -> dict[str, Stored]:
    seconds = days_since(coords["time"], "1970-01-01", per_day=86400).astype("i8")
    time_attrs = {
        "units": "seconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
        "standard_name": "time",
        "long_name": "time",
    }
    axes = {
        "number": Stored(
            dims=(),
            values=np.int64(0),
            attrs={"units": "1", "standard_name": "realization", "long_name": "member"},
        ),
        "valid_time": Stored(dims=("valid_time",), values=seconds, attrs=time_attrs),
        "latitude": Stored(
            dims=("latitude",),
            values=_LAT[::-1],
            attrs={"units": "degrees_north", "standard_name": "latitude"},
        ),
        "longitude": Stored(
            dims=("longitude",), values=_LON, attrs={"units": "degrees_east", "standard_name": "longitude"}
        ),
        "expver": Stored(dims=("valid_time",), values=np.full(seconds.size, "0001", dtype=object)),
    }
    if "level" in coords:
        axes["pressure_level"] = Stored(
            dims=("pressure_level",),
            values=_LEVELS[::-1],
            attrs={"units": "hPa", "positive": "down", "standard_name": "air_pressure"},
        )
    return axes
