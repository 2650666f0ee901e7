"""From folders of files to one dataset."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from isopleth.sealevel.sources import open_prepared, prepare_files
from sealevel_projection import __version__
from sealevel_projection.config import PrepareConfig


def prepare_fields(config: PrepareConfig) -> dict[str, Any]:
    """Bring ensembles and altimetry to one grid, time axis and coast: the verb ``prepare``."""
    written = prepare_files(config, "sealevel-projection", __version__)
    with open_prepared(written, "sealevel-projection") as prepared:
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
