"""The embedded sample: a world whose future is known, as files of the real products."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from isopleth.samples import sea_level
from isopleth.samples.sea_level import SeaLevelSample
from isopleth.samples.sea_level_files import write_sea_level_sample
from isopleth.sealevel.global_mean import remove_ocean_mean
from sealevel_projection.config import PeriodConfig

SOURCE = "isopleth.samples.sea_level"
_MM = 1000.0


def make_world(seed: int, period: PeriodConfig, *, resolution_deg: float, members: int) -> SeaLevelSample:
    """Make a world of annual means that spans hindcast and projection, truth on a grid of some resolution."""
    return sea_level(
        seed=seed,
        members=members,
        first_year=period.first_year,
        last_year=period.until,
        resolution_deg=resolution_deg,
    )


def write_world(folder: Path, world: SeaLevelSample, *, source_deg: float) -> Path:
    """Write all ensembles, single-forcing ones included, and the altimeter in their real layouts."""
    write_sea_level_sample(folder, world, resolution_deg=source_deg)
    return folder


def known_sea_level(world: SeaLevelSample, sea: xr.DataArray) -> xr.DataArray:
    """Give the true sea level of all years on some cells, mm, from their mean: (time, lat, lon)."""
    truth = world.truth().where(sea) * _MM
    return remove_ocean_mean(truth)[0]
