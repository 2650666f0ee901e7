"""The folder that `prepare` writes: states, constant maps, increments, and what they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from archesweather.config import FieldsConfig
from archesweather.increments import Increments, pool_levels
from isopleth.data import Normaliser, PackedStore, open_store
from isopleth.errors import ConfigError, DataError

STATES, CONSTANTS, RECORD = "states", "constants.nc", "prepared.json"
SCHEMA = "archesweather.prepared/1"


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a prepared folder holds, of the fields that were asked for.

    Parameters
    ----------
    path : Path
        The folder.
    store : PackedStore
        The states, as z-scores; it may have more channels than `fields`.
    fields : FieldsConfig
        What a state is made of.
    constants : ndarray of float32, shape (constant, lat, lon)
        Z-scored maps, in the order of ``fields.constants``.
    """

    path: Path
    store: PackedStore
    fields: FieldsConfig
    constants: NDArray[np.float32]

    @property
    def normaliser(self) -> Normaliser:
        """Statistics of the channels of `fields`."""
        return self.store.normaliser.select(self.fields.channels)

    def increments(self, lead_hours: int) -> Increments:
        """Return the increments over a lead.

        Raises
        ------
        DataError
            If this lead was not prepared, or its increments are those of another store.
        """
        found = Increments.load(self.path, lead_hours)
        if found.store != self.store.fingerprint:
            raise DataError(
                f"increments must belong to the states beside them, got another store's at {lead_hours} h",
                where=self.path,
                hint=f"call prepare again with --lead_hours {lead_hours}",
            )
        return found.select(self.fields.channels)

    def increment_std(self, lead_hours: int, *, pooled: bool = False) -> NDArray[np.float64]:
        """Return the standard deviation of each channel's increments, in units of its own deviation.

        Parameters
        ----------
        lead_hours : int
        pooled : bool
            Give all levels of a variable the same, in physical units; see `pool_levels`.
        """
        found = self.increments(lead_hours)
        if not pooled:
            return found.std
        variables = [self.store.layers[self.store.channel_index(name)].variable for name in found.channels]
        return pool_levels(found, self.normaliser.std, variables)


def open_prepared(path: str | Path, fields: FieldsConfig | None = None) -> Prepared:
    """Open a prepared folder; reads its records and its constant maps.

    Parameters
    ----------
    path : path
    fields : FieldsConfig, optional
        What is needed of it; by default all that was prepared.

    Raises
    ------
    DataError
        If it is none, or lacks a variable, level or constant that is needed; names all of them.
    """
    folder = Path(path)
    record = _read_record(folder)
    had = FieldsConfig(**{name: tuple(values) for name, values in record["fields"].items()})
    store = open_store(folder / STATES)
    if record["store"] != store.fingerprint:
        raise DataError("a prepared folder must be of one preparation, got states of another", where=folder)
    wanted = had if fields is None else fields
    _check_fields(wanted, had, folder)
    with xr.open_dataset(folder / CONSTANTS, engine="h5netcdf") as maps:
        stacked = [maps[name].values for name in wanted.constants]
    constants = np.stack(stacked) if stacked else np.zeros((0, *store.grid.shape))
    return Prepared(folder, store, wanted, constants.astype(np.float32))


def check_same_statistics(model: Normaliser, store: Normaliser, *, where: object) -> None:
    """Refuse states whose z-scores mean something else to the model.

    Raises
    ------
    ConfigError
        Names the first channel that differs, and both statistics.
    """
    for row, name in enumerate(model.channels):
        mine, theirs = (model.mean[row], model.std[row]), (store.mean[row], store.std[row])
        if name != store.channels[row] or not np.allclose(mine, theirs, rtol=1e-6, atol=1e-30):
            raise ConfigError(
                f"states must be packed with the model's statistics, got {store.channels[row]} with mean "
                f"{theirs[0]:.6g} and deviation {theirs[1]:.6g}, not {name} with {mine[0]:.6g} "
                f"and {mine[1]:.6g}",
                where=where,
                hint="prepare them with --statistics.normaliser PRETRAINED/normaliser.json",
            )


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        begun = " that was begun and not finished" if folder.is_dir() else ""
        raise DataError(
            f"data must be a prepared folder with {RECORD}, got none{begun}",
            where=folder,
            hint=f"archesweather prepare SOURCE --out {folder}",
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{RECORD} must be JSON, got {error}", where=folder) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA:
        raise DataError(f"a prepared folder must be of version {SCHEMA}, got {schema}", where=folder)
    return dict(record)


def _check_fields(wanted: FieldsConfig, had: FieldsConfig, folder: Path) -> None:
    missing = [
        name for name in (*wanted.channels, *wanted.constants) if name not in (*had.channels, *had.constants)
    ]
    if missing:
        there = [*had.surface, *had.upper, *had.constants]
        raise DataError(
            f"the prepared fields must include {', '.join(missing[:8])}{', ...' if missing[8:] else ''}, "
            f"got {', '.join(there)} at {', '.join(f'{level:g}' for level in had.levels)} hPa",
            where=folder,
            hint="name in --fields what there is, or prepare the rest into another folder",
        )
