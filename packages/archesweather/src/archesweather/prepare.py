"""From gridded fields to the folder that training, prediction and evaluation read: the verb ``prepare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from archesweather import __version__
from archesweather.config import SAMPLE, FieldsConfig, PrepareConfig
from archesweather.increments import Increments, measure_increments
from archesweather.prepared import CONSTANTS, RECORD, SCHEMA, STATES
from archesweather.sample import simulate_sample
from archesweather.statistics import read_increments, read_normaliser
from isopleth.config import config_hash, to_dict
from isopleth.data import PackedStore, pack
from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.io import open_fields, regrid
from isopleth.io.write import Provenance, write_json, write_netcdf

_CHUNK_BYTES = 64 * 2**20


def prepare_store(config: PrepareConfig) -> dict[str, Any]:
    """Pack states, standardise constant maps, measure increments.

    Interrupted, it goes on where it was when it is called again; finished, it only looks.

    Parameters
    ----------
    config : PrepareConfig

    Returns
    -------
    dict
        The folder, what is in it, and the store's fingerprint.

    Raises
    ------
    DataError
        If the source lacks a variable, level or constant, has one in units that cannot be converted, or the
        folder holds something else.
    """
    fields = config.chosen_fields
    sample = simulate_sample(config.sample) if config.source == SAMPLE else None
    states = _open_states(config, fields, sample)
    maps = _read_constants(config, fields, sample)
    normaliser = read_normaliser(config.statistics, fields)
    config.out.mkdir(parents=True, exist_ok=True)
    store = pack(
        states,
        config.out / STATES,
        train_period=None if normaliser else config.train,
        normaliser=normaliser,
        dtype=config.dtype,
        missing=config.missing,
        resume=config.resume,
        scheduler=config.scheduler,
        provenance=Provenance("archesweather", __version__, config_hash(config), (config.source,)),
    )
    write_netcdf(standardise_maps(maps, store.grid), config.out / CONSTANTS)
    increments = _find_increments(config, store)
    record = {
        "schema": SCHEMA,
        "fields": to_dict(fields),
        "store": store.fingerprint,
        "source": config.source,
    }
    write_json(config.out / RECORD, record)
    return {
        "out": str(config.out),
        "states": store.shape[0],
        "channels": store.shape[1],
        "grid": list(store.grid.shape),
        "first": store.axis[0],
        "last": store.axis[-1],
        "constants": list(fields.constants),
        "lead_hours": increments.lead_hours,
        "fingerprint": store.fingerprint,
    }


def select_fields(source: xr.Dataset, fields: FieldsConfig, *, where: object = None) -> xr.Dataset:
    """Keep the variables and levels of `fields`, in the order of their channels.

    Raises
    ------
    DataError
        If a level is missing, or a variable has levels where it should not, or none where it should.
    """
    missing = [name for name in (*fields.surface, *fields.upper) if name not in source]
    if missing:
        have = ", ".join(sorted(map(str, source.data_vars)))
        raise DataError(f"the source must have {', '.join(missing)}, got {have}", where=where)
    for name in fields.surface:
        if "level" in source[name].dims:
            raise DataError(f"a surface variable must have no levels, got {name} with some", where=where)
    chosen = {name: source[name] for name in fields.surface}
    for name in fields.upper:
        chosen[name] = _select_levels(source[name], fields.levels, where)
    return xr.Dataset(chosen, attrs=source.attrs)


def standardise_maps(maps: xr.Dataset, grid: Grid) -> xr.Dataset:
    """Turn constant maps into z-scores over the grid's cells; a map that is the same everywhere becomes 0.

    Raises
    ------
    DataError
        If a map is not finite, or not on the grid of the states.
    """
    scored = xr.Dataset(coords={"lat": grid.lat, "lon": grid.lon})
    for name, data in maps.data_vars.items():
        values = data.transpose("lat", "lon").values.astype(np.float64)
        if not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise DataError(f"a constant map must be finite, got {count} missing cells in {name}")
        here = Grid.of(data)
        if values.shape != grid.shape or not (
            np.allclose(here.lat, grid.lat) and np.allclose(here.lon, grid.lon)
        ):
            raise DataError(
                f"constant maps must be on the grid of the states, {grid.shape[0]} x {grid.shape[1]}, "
                f"got {name} on {values.shape[0]} x {values.shape[1]}",
                hint="regrid both with --grid LATITUDES,LONGITUDES",
            )
        spread = values.std()
        score = (values - values.mean()) / (spread if spread > 0 else 1.0)
        scored[str(name)] = (("lat", "lon"), score, {"units": "1", "mean": values.mean(), "std": spread})
    return scored


def _open_states(config: PrepareConfig, fields: FieldsConfig, sample: xr.Dataset | None) -> xr.Dataset:
    """Open the states, chunked for dask."""
    if sample is not None:
        return select_fields(sample, fields, where="the simulated atmosphere")
    names = [*fields.surface, *fields.upper]
    lazy = open_fields(config.source, variables=names, period=config.period)
    chunks = {"time": _steps_in_chunk(lazy, len(fields.channels))}
    opened = open_fields(config.source, variables=names, period=config.period, chunks=chunks)
    return _on_grid(select_fields(opened, fields, where=config.source), config)


def _steps_in_chunk(source: xr.Dataset, channels: int) -> int:
    """Choose time steps to a dask chunk: those of the chunks on disk, else what makes 64 MB."""
    stored = [data.encoding.get("preferred_chunks", {}).get("time") for data in source.data_vars.values()]
    known = [int(np.max(length)) for length in stored if length is not None]
    step_bytes = 4 * channels * source.sizes["lat"] * source.sizes["lon"]
    return max(known) if known else max(1, _CHUNK_BYTES // step_bytes)


def _read_constants(config: PrepareConfig, fields: FieldsConfig, sample: xr.Dataset | None) -> xr.Dataset:
    """Read the constant maps, from the source of the states or from their own."""
    if not fields.constants:
        return xr.Dataset()
    place = config.constants or config.source
    found = sample if sample is not None and config.constants is None else open_fields(place)
    missing = [name for name in fields.constants if name not in found]
    if missing:
        there = [str(name) for name, data in found.data_vars.items() if _is_map(data)]
        raise DataError(
            f"the constant maps must include {', '.join(missing)}, got {', '.join(there) or 'none'}",
            where=place,
            hint="give --constants FILE, or name in --fields.constants those to use",
        )
    maps = xr.Dataset({name: _first_time(found[name]) for name in fields.constants})
    return _on_grid(maps, config)


def _first_time(data: xr.DataArray) -> xr.DataArray:
    """Take a map that a file keeps at each time, as ERA5's do, from the first."""
    return data.isel(time=0, drop=True) if "time" in data.dims else data


def _is_map(data: xr.DataArray) -> bool:
    return set(data.dims) == {"lat", "lon"}


def _on_grid(fields: xr.Dataset, config: PrepareConfig) -> xr.Dataset:
    if config.grid is None or config.source == SAMPLE:
        return fields
    n_lat, n_lon = config.grid
    return regrid(fields, Grid.regular(n_lat, n_lon, poles=n_lat % 2 == 1))


def _select_levels(data: xr.DataArray, levels: Sequence[float], where: object) -> xr.DataArray:
    if "level" not in data.dims:
        raise DataError(f"an upper variable must have levels, got {data.name} without", where=where)
    have = [float(level) for level in data["level"].values]
    missing = [level for level in levels if level not in have]
    if missing:
        raise DataError(
            f"{data.name} must have the levels {_list(missing)} hPa, got {_list(have)}",
            where=where,
            hint="name in --fields.levels those to use",
        )
    if list(levels) == have:
        return data
    return data.isel(level=[have.index(level) for level in levels])


def _list(levels: Sequence[float]) -> str:
    return ", ".join(f"{level:g}" for level in levels)


def _find_increments(config: PrepareConfig, store: PackedStore) -> Increments:
    """Take the increments that are given, or were measured before, or measure them."""
    given = read_increments(config.statistics, store, config.lead_hours)
    if given is None:
        given = _measured_before(config.out, store, config.lead_hours)
    if given is None:
        given = measure_increments(store, config.lead_hours, period=config.train, scheduler=config.scheduler)
    given.save(config.out)
    return given


def _measured_before(folder: Path, store: PackedStore, lead_hours: int) -> Increments | None:
    try:
        found = Increments.load(folder, lead_hours)
    except DataError:
        return None
    return found if found.store == store.fingerprint else None
