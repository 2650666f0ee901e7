"""A small world, prepared without files: the schema of `prepare_sea_level` on a 6° grid."""

import json

import numpy as np
import pytest
import xarray as xr

from isopleth.samples import sea_level
from isopleth.sealevel.global_mean import ocean_mean

MODELS = ("CESM1", "CESM2", "GFDL-ESM2M", "MPI-GE")


@pytest.fixture(scope="session")
def world():
    return sea_level(members=2, first_year=1993, last_year=2052, frequency="year", resolution_deg=6.0)


def as_prepared(world) -> xr.Dataset:
    height = xr.concat([world.model(name) for name in MODELS], "model").assign_coords(model=list(MODELS))
    observed = world.altimeter().reindex(time=height["time"])
    ds = xr.Dataset(
        {
            "sea_surface_height": height.assign_attrs(units="m"),
            "observed": observed.assign_attrs(units="m"),
            "sea_mask": (("lat", "lon"), world.sea),
            "model_global_mean": ocean_mean(height),
            "observed_global_mean": ocean_mean(observed),
            "lost_cells": ("model", np.zeros(len(MODELS), int)),
        },
        coords={"forcing": ("model", ["all"] * len(MODELS))},
    )
    yes = dict.fromkeys(("dynamic", "steric_mean", "barystatic", "gia", "seasonal"), "yes")
    rows = [{"name": name, "product": "generated", **yes} for name in (*MODELS, "altimeter")]
    return ds.assign_attrs(
        global_mean="kept", frequency="year", seasonal_cycle="removed", observed_years="1993-2022",
        components=json.dumps(rows),
    )  # fmt: skip


@pytest.fixture(scope="session")
def prepared(world) -> xr.Dataset:
    return as_prepared(world)


@pytest.fixture(scope="session")
def prepared_file(prepared, tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared") / "prepared.nc"
    prepared.drop_attrs(deep=False).assign_attrs(prepared.attrs).to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Options that make a training short."""
    return [
        "--learning.fit.epochs", "4", "--learning.fit.batch_size", "64", "--learning.network.hidden", "[16]",
        "--learning.ensemble.seeds", "2", "--learning.ensemble.passes", "3",
        "--learning.partition.clusters", "3", "--runtime.accelerator", "cpu", "--runtime.threads", "1",
    ]  # fmt: skip
