"""The embedded sample: a world whose future is known, as files of the real products."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from isopleth.samples import sea_level
from isopleth.samples.sea_level import FAMILIES, SeaLevelSample
from isopleth.samples.sea_level_files import write_sea_level_sample
from sealevel_trend.config import PeriodConfig, SampleConfig

SOURCE = "isopleth.samples.sea_level"


def make_world(
    seed: int, config: SampleConfig | None = None, period: PeriodConfig | None = None
) -> SeaLevelSample:
    """Make a world that spans both periods, with its truth on the tool's grid."""
    config, period = config or SampleConfig(), period or PeriodConfig()
    return sea_level(
        seed=seed,
        members=config.members,
        first_year=period.past[0],
        last_year=period.future[1],
        frequency="month",
        resolution_deg=config.target_deg,
    )


def write_world(folder: Path, world: SeaLevelSample, config: SampleConfig) -> Path:
    """Write the six large ensembles and the altimeter in their real layouts; give the folder."""
    write_sea_level_sample(folder, world, models=tuple(FAMILIES), resolution_deg=config.source_deg)
    return folder


def known_future(world: SeaLevelSample, period: PeriodConfig) -> xr.Dataset:
    """Give the true trends of the future years, mm/year.

    Returns
    -------
    Dataset
        ``all``, as it will be observed, and ``forced``, without the ocean's own variability; both with the
        global mean.
    """
    return xr.Dataset(
        {
            "all": world.trend(period.future).drop_attrs(),
            "forced": world.trend(period.future, part="forced").drop_attrs(),
        }
    ).assign_attrs(units="mm year-1")
