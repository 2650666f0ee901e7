"""Where ensembles and altimetry are: a folder of folders, or each named; and from there to one dataset."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from isopleth.config import config_hash, named_paths
from isopleth.errors import DataError
from isopleth.io.write import Provenance
from isopleth.sealevel.preparation import prepare_sea_level, write_prepared
from isopleth.sealevel.settings import ALL_FORCINGS, EnsembleSource, PreparationConfig

_CONTENT = (
    "sea_surface_height",
    "observed",
    "sea_mask",
    "model_global_mean",
    "observed_global_mean",
    "forcing",
)


def prepare_files(config: PreparationConfig, tool: str, version: str) -> Path:
    """Bring the ensembles and the altimetry that a config names to one dataset, and write it.

    Returns
    -------
    Path
        Of the dataset.
    """
    if config.models:
        named = named_paths("models", config.models).items()
        sources = [EnsembleSource(name=name, source=path) for name, path in named]
        altimetry = Path(config.altimetry)
    else:
        sources, altimetry = find_ensembles(config.folder)
    inputs = (str(altimetry), *(source.source for source in sources))
    origin = Provenance(tool, version, config_hash(config), inputs)
    prepared = prepare_sea_level(sources, str(altimetry), config.settings)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    return write_prepared(
        prepared, config.out, resume=config.resume, scheduler=config.scheduler, provenance=origin
    )


def open_prepared(path: str | os.PathLike[str], tool: str) -> xr.Dataset:
    """Open a dataset that `prepare_files` wrote, lazily.

    Raises
    ------
    DataError
        If it is not there, or not such a dataset; names how `tool` writes one.
    """
    place, hint = Path(path), f"{tool} prepare FOLDER --out writes one"
    if not place.exists():
        raise DataError("the prepared dataset must exist, got none", where=place, hint=hint)
    try:
        prepared = (xr.open_dataset if place.is_file() else xr.open_zarr)(place, chunks={})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"a prepared dataset must be NetCDF or zarr, got {error}", where=place) from error
    check_prepared(prepared, where=place, hint=hint)
    return prepared


def check_prepared(prepared: xr.Dataset, *, where: object = None, hint: str | None = None) -> None:
    """Raise `DataError` unless a dataset has what `prepare_sea_level` gives."""
    lacking = [name for name in _CONTENT if name not in prepared]
    if lacking or "global_mean" not in prepared.attrs:
        raise DataError(
            f"a prepared dataset must hold {', '.join(_CONTENT)}, got {', '.join(map(str, prepared))}",
            where=where,
            hint=hint,
        )


def find_ensembles(folder: str | os.PathLike[str]) -> tuple[list[EnsembleSource], Path]:
    """Take a folder of folders: one an ensemble, called by its name, and one called ``altimetry``.

    An ensemble whose name ends in ``-GHG``, ``-AAER`` or ``-BMB`` is taken for one of that single forcing.

    Raises
    ------
    DataError
        If there is no such folder, no altimetry in it, or no ensemble.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError("a folder of ensembles must exist, got none", where=root)
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    altimetry = next((f for f in folders if f.name.lower() in {"altimetry", "altimeter"}), None)
    if altimetry is None or len(folders) < 2:
        names = ", ".join(f.name for f in folders) or "none"
        raise DataError(
            f"there must be a folder 'altimetry' and one of each ensemble, got {names}",
            where=root,
            hint="or give the ensembles one by one",
        )
    others = [f for f in folders if f != altimetry]
    return [
        EnsembleSource(name=f.name, source=str(f), forcing=_forcing_of(f.name)) for f in others
    ], altimetry


_FORCING_SUFFIXES = {
    "GHG": "greenhouse_gases",
    "AAER": "aerosols",
    "AER": "aerosols",
    "BMB": "biomass_burning",
}


def _forcing_of(name: str) -> str:
    return _FORCING_SUFFIXES.get(name.rpartition("-")[2].upper(), ALL_FORCINGS)
