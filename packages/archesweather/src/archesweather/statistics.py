"""Statistics from elsewhere: means and deviations by variable and level, as their authors published them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from archesweather.config import FieldsConfig, StatisticsConfig
from archesweather.increments import Increments
from isopleth.data import Normaliser, PackedStore
from isopleth.errors import DataError


def read_normaliser(config: StatisticsConfig, fields: FieldsConfig) -> Normaliser | None:
    """Read mean and standard deviation of each channel, if they are given.

    Raises
    ------
    ConfigError, DataError
        If a file is none of statistics, or a variable or level is missing in it.
    """
    if config.normaliser is not None:
        return Normaliser.load(config.normaliser).select(fields.channels)
    if config.mean is None or config.std is None:
        return None
    mean, std = (read_table(place, fields) for place in (config.mean, config.std))
    return Normaliser(fields.channels, mean, std)


def read_increments(config: StatisticsConfig, store: PackedStore, lead_hours: int) -> Increments | None:
    """Read the deviations of increments, if they are given, in units of the states' own deviations."""
    if config.increment_std is None:
        return None
    names = {layer.variable: layer.level is None for layer in store.layers}
    levels = sorted({layer.level for layer in store.layers if layer.level is not None})
    fields = FieldsConfig(
        surface=tuple(name for name, single in names.items() if single),
        upper=tuple(name for name, single in names.items() if not single),
        levels=tuple(levels),
        constants=(),
    )
    std = read_table(config.increment_std, fields) / store.normaliser.std
    return Increments(store.channels, lead_hours, np.zeros_like(std), std, store.fingerprint)


def read_table(place: str, fields: FieldsConfig) -> NDArray[np.float64]:
    """Read one number a channel from a NetCDF file or zarr store.

    Parameters
    ----------
    place : str
        Its variables have the names of the fields, and dimension ``level`` (hPa) or none. An upper variable
        without levels has the same number at each, as pooled statistics do.
    fields : FieldsConfig

    Raises
    ------
    DataError
        If it cannot be read, or a variable or level is missing; names it.
    """
    with _open_table(place) as table:
        missing = [name for name in (*fields.surface, *fields.upper) if name not in table]
        if missing:
            have = ", ".join(sorted(map(str, table.data_vars)))
            raise DataError(f"statistics must include {', '.join(missing)}, got {have}", where=place)
        surface = [_number(table[name], None, place) for name in fields.surface]
        upper = [_number(table[name], level, place) for name in fields.upper for level in fields.levels]
    return np.array([*surface, *upper])


def _open_table(place: str) -> xr.Dataset:
    try:
        if place.rstrip("/").endswith(".zarr"):
            return xr.open_zarr(place, chunks=None)
        return xr.open_dataset(Path(place))
    except (OSError, ValueError) as error:
        raise DataError(
            f"statistics must be a NetCDF file or a zarr store, got {error}", where=place
        ) from error


def _number(data: xr.DataArray, level: float | None, place: str) -> float:
    if "level" in data.dims and level is not None:
        have = [float(each) for each in data["level"].values]
        if level not in have:
            listed = ", ".join(f"{each:g}" for each in have)
            raise DataError(
                f"statistics of {data.name} must include {level:g} hPa, got {listed}", where=place
            )
        data = data.isel(level=have.index(level))
    if data.size != 1:
        raise DataError(
            f"statistics must be one number a channel, got {data.name} over {', '.join(map(str, data.dims))}",
            where=place,
        )
    return float(data.values.reshape(()))
