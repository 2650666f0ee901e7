"""Miniature observations over land: PRISM, Livneh, Daymet and E-OBS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from isopleth.testing.miniature import Stored, Written, daily, days_since, make_field, pack, write_raw


def write_prism(folder: Path, *, seed: int = 0, days: int = 3) -> Written:
    """Write PRISM: latitude descending, negative longitude, missing cells -9999 that nothing declares."""
    rng = np.random.default_rng(seed)
    coords = {
        "time": daily("1999-07-04", days),
        "lat": np.linspace(24.5, 49.5, 11),
        "lon": np.linspace(235, 293, 9),
    }
    rain = make_field(rng, coords, mean=0.0, spread=40.0).clip(min=0.0).astype("f4")
    warm = make_field(rng, coords, mean=25.0, spread=15.0).astype("f4")
    sea = (rain["lat"] < 30) & (rain["lon"] < 245)
    rain, warm = rain.where(~sea), warm.where(~sea)
    variables = _axes(coords, "lat", "lon", "days since 1981-01-01", descending=True)
    for short, data, units in (("ppt", rain, "mm"), ("tmax", warm, "degC")):
        values = data.fillna(-9999.0).isel(lat=slice(None, None, -1)).values.astype("f4")
        variables[short] = Stored(dims=("time", "lat", "lon"), values=values, attrs={"units": units})
    path = write_raw(folder / "prism_4km_19990704.nc", variables, attrs={"title": "PRISM"})
    truth = {
        "total_precipitation": rain.astype("f8") / 1000.0,
        "maximum_2m_temperature": warm.astype("f8") + 273.15,
    }
    return Written(path, xr.Dataset(truth))


def write_livneh(folder: Path, *, seed: int = 0, days: int = 3) -> Written:
    """Write Livneh's 1/16 degree fields: ``Prec`` and ``Tmin`` with capitals, sea filled with 1e20."""
    rng = np.random.default_rng(seed)
    coords = {
        "time": daily("1950-03-01", days),
        "lat": np.linspace(25.1, 52.9, 9),
        "lon": np.linspace(235, 292, 12),
    }
    rain = make_field(rng, coords, mean=0.0, spread=30.0).clip(min=0.0).astype("f4")
    cold = make_field(rng, coords, mean=-5.0, spread=15.0).astype("f4")
    wind = make_field(rng, coords, mean=5.0, spread=4.0).astype("f4")
    sea = (rain["lat"] < 30) & (rain["lon"] > 280)
    variables = _axes(coords, "lat", "lon", "days since 1915-01-01 00:00:00")
    truth = xr.Dataset()
    for short, name, data, units, scale, offset in (
        ("Prec", "total_precipitation", rain, "mm", 1e-3, 0.0),
        ("Tmin", "minimum_2m_temperature", cold, "C", 1.0, 273.15),
        ("wind", "10m_wind_speed", wind, "m/s", 1.0, 0.0),
    ):
        values = data.where(~sea, 1e20).values.astype("f4")
        dims = ("time", "lat", "lon")
        variables[short] = Stored(dims=dims, values=values, attrs={"units": units}, fill=np.float32(1e20))
        truth[name] = data.where(~sea).astype("f8") * scale + offset
    path = write_raw(folder / "livneh_NAmerExt_15Oct2014.195003.nc", variables, kind="NETCDF4_CLASSIC")
    return Written(path, truth)


def write_daymet(folder: Path, *, seed: int = 0) -> Written:
    """Write Daymet v4 at the end of a leap year: Lambert x and y, 2-D lat and lon, no 31 December."""
    rng = np.random.default_rng(seed)
    days = np.concatenate([daily("2020-12-28T12", 3), daily("2021-01-01T12", 2)])
    x, y = 1_000_000.0 + 1000.0 * np.arange(8), -50_000.0 - 1000.0 * np.arange(6)
    lon = 270.0 + (x - x[0])[None, :] / 9e4 + (y - y[0])[:, None] / 9e5
    lat = 40.0 + (y - y[0])[:, None] / 1.1e5 + (x - x[0])[None, :] / 2e6
    coords = {"time": np.arange(days.size), "lat": lat[:, 0], "lon": lon[0]}
    rain = make_field(rng, coords, mean=0.0, spread=25.0).clip(min=0.0).values.astype("f4")
    rain[:, 0, 0] = np.nan
    cold = make_field(rng, coords, mean=-2.0, spread=9.0).values.astype("f4")
    fill = np.float32(-9999.0)
    since = "days since 1950-01-01 00:00:00"
    variables = {
        "time": Stored(
            dims=("time",),
            values=days_since(days, "1950-01-01"),
            attrs={"units": since, "calendar": "standard", "standard_name": "time", "bounds": "time_bnds"},
        ),
        "time_bnds": Stored(
            dims=("time", "nv"),
            values=days_since(days, "1950-01-01")[:, None] + np.array([-0.5, 0.5]),
            attrs={"units": since},
        ),
        "yearday": Stored(dims=("time",), values=np.array([363, 364, 365, 1, 2], "i2")),
        "x": Stored(dims=("x",), values=x, attrs={"units": "m", "standard_name": "projection_x_coordinate"}),
        "y": Stored(dims=("y",), values=y, attrs={"units": "m", "standard_name": "projection_y_coordinate"}),
        "lat": Stored(
            dims=("y", "x"), values=lat, attrs={"units": "degrees_north", "standard_name": "latitude"}
        ),
        "lon": Stored(
            dims=("y", "x"), values=lon - 360, attrs={"units": "degrees_east", "standard_name": "longitude"}
        ),
        "lambert_conformal_conic": Stored(
            dims=(), values=np.int16(0), attrs={"grid_mapping_name": "lambert_conformal_conic"}
        ),
    }
    shared = {"grid_mapping": "lambert_conformal_conic", "coordinates": "lat lon", "missing_value": fill}
    for short, values, units in (("prcp", rain, "mm/day"), ("tmin", cold, "degrees C")):
        stored = np.where(np.isnan(values), fill, values)
        attrs = {**shared, "units": units}
        variables[short] = Stored(dims=("time", "y", "x"), values=stored, attrs=attrs, fill=fill)
    path = write_raw(
        folder / "daymet_v4_daily_na_2020.nc",
        variables,
        attrs={"Version_software": "Daymet Software Version 4.0"},
    )
    places = {"time": days, "lat": (("y", "x"), lat), "lon": (("y", "x"), lon), "y": y, "x": x}
    truth = {
        "mean_total_precipitation_rate": (("time", "y", "x"), rain.astype("f8") / 86400.0),
        "minimum_2m_temperature": (("time", "y", "x"), cold.astype("f8") + 273.15),
    }
    return Written(path, xr.Dataset(truth, coords=places))


def write_eobs(folder: Path, *, seed: int = 0, days: int = 4) -> Written:
    """Write E-OBS daily means: packed shorts in Celsius, fill -9999, longitude across Greenwich."""
    rng = np.random.default_rng(seed)
    lon = np.arange(-10.0, 20.0, 2.5)
    coords = {"time": daily("2010-01-01", days), "lat": np.arange(40.125, 60.0, 2.5), "lon": lon}
    data = make_field(rng, coords, mean=2.0, spread=14.0)
    data = data.where(~((data["lat"] > 50) & (data["lon"] < -5)))
    raw, values = pack(data.values, 0.01, 0.0, "i2", -9999)
    variables = _axes(coords, "latitude", "longitude", "days since 1950-01-01 00:00", lon=lon)
    variables["tg"] = Stored(
        dims=("time", "latitude", "longitude"),
        values=raw,
        attrs={
            "units": "Celsius",
            "standard_name": "air_temperature",
            "scale_factor": 0.01,
            "add_offset": 0.0,
        },
        fill=np.int16(-9999),
    )
    path = write_raw(
        folder / "tg_ens_mean_0.25deg_reg_v29.0e.nc", variables, attrs={"E-OBS_version": "29.0e"}
    )
    truth = data.copy(data=values + 273.15).assign_coords(lon=lon % 360.0).sortby("lon")
    return Written(path, xr.Dataset({"2m_temperature": truth}))


def _axes(
    coords: dict[str, np.ndarray],
    lat_name: str,
    lon_name: str,
    since: str,
    *,
    descending: bool = False,
    lon: np.ndarray | None = None,
) -> dict[str, Stored]:
    lat = coords["lat"][::-1] if descending else coords["lat"]
    lon = coords["lon"] - 360.0 if lon is None else lon
    start = since.split()[2]
    return {
        "time": Stored(
            dims=("time",),
            values=days_since(coords["time"], start).astype("f8"),
            attrs={"units": since, "calendar": "standard", "standard_name": "time"},
        ),
        lat_name: Stored(
            dims=(lat_name,), values=lat, attrs={"units": "degrees_north", "standard_name": "latitude"}
        ),
        lon_name: Stored(
            dims=(lon_name,), values=lon, attrs={"units": "degrees_east", "standard_name": "longitude"}
        ),
    }
