"""From folders of files to one dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xarray as xr

from isopleth.config import config_hash
from isopleth.io.write import Provenance
from isopleth.sealevel.preparation import find_ensembles, prepare_sea_level, write_prepared
from isopleth.sealevel.settings import EnsembleSource
from sealevel_projection import __version__
from sealevel_projection.config import PrepareConfig


def prepare_fields(config: PrepareConfig) -> dict[str, Any]:
    """Bring ensembles and altimetry to one grid, time axis and coast: the verb ``prepare``."""
    if config.models:
        pairs = [one.partition("=") for one in config.models]
        sources = [EnsembleSource(name=name, source=path) for name, _, path in pairs]
        altimetry = Path(config.altimetry)
    else:
        sources, altimetry = find_ensembles(config.folder)
    prepared = prepare_sea_level(sources, str(altimetry), config.settings)
    inputs = (str(altimetry), *(source.source for source in sources))
    origin = Provenance("sealevel-projection", __version__, config_hash(config), inputs)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    written = write_prepared(
        prepared, config.out, resume=config.resume, scheduler=config.scheduler, provenance=origin
    )
    return {"prepared": str(written), **_summarise(prepared)}


def _summarise(prepared: xr.Dataset) -> dict[str, Any]:
    names = list(map(str, prepared["model"].values))
    return {
        "ensembles": dict(zip(names, map(str, prepared["forcing"].values), strict=True)),
        "sea_cells": int(prepared["sea_mask"].sum()),
        "observed_years": prepared.attrs["observed_years"],
        "lost_cells": dict(zip(names, prepared["lost_cells"].values.tolist(), strict=True)),
        "components": json.loads(prepared.attrs["components"]),
    }
