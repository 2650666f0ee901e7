"""A small ocean whose altimeter follows from its models by a known rule, and a world as files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from isopleth.grid import Grid
from sealevel_projection.cli import tool
from sealevel_projection.config import PeriodConfig
from sealevel_projection.data import Archive
from sealevel_projection.sample import make_world, write_world

NAMES = ("CESM1", "GFDL-ESM2M", "MPI-GE", "NorESM")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make_archive(
    *, rule: Callable[[np.ndarray], np.ndarray] | None = None, noise: float = 0.0, seed: int = 0
) -> Archive:
    """Four models of 1993-2032 on 12 degrees, whose trends are smooth maps; observed 1993-2012."""
    grid, rng = Grid.regular(15, 30), np.random.default_rng(seed)
    lat, lon = np.meshgrid(np.radians(grid.lat), np.radians(grid.lon), indexing="ij")
    times = np.arange("1993", "2033", dtype="datetime64[Y]").astype("datetime64[ns]") + np.timedelta64(
        182, "D"
    )
    years = np.arange(40) + 0.5
    waves = [np.cos(lon * (k + 1) + rng.uniform(0, 6)) * np.cos(lat) ** (k + 1) for k in range(len(NAMES))]
    fields = np.stack([2.0 * wave[None] * years[:, None, None] for wave in waves])
    fields = fields + 3.0 * rng.normal(size=fields.shape)
    sea = np.ones(grid.shape, dtype=bool)
    sea[6:9, 10:14] = False
    fields[:, :, ~sea] = np.nan
    weigh = rule or (lambda x: 0.5 * x[0] + 0.25 * x[1])
    target = weigh(fields) + noise * rng.normal(size=fields.shape[1:])
    target[20:] = np.nan
    coords = {"time": times, "lat": grid.lat, "lon": grid.lon}
    models = xr.DataArray(fields, {"model": list(NAMES), **coords}, ("model", "time", "lat", "lon"))
    weather = models + 10.0 * rng.normal(size=fields.shape)
    altimeter = xr.DataArray(target, coords, ("time", "lat", "lon"))
    return Archive(models=models, weather=weather, altimeter=altimeter, forcing=("all",) * len(NAMES))


@pytest.fixture(name="make_archive")
def make_archive_fixture():
    return make_archive


@pytest.fixture(scope="session")
def archive() -> Archive:
    return make_archive()


@pytest.fixture
def period() -> PeriodConfig:
    return PeriodConfig(first_year=1993, last_year=2012, until=2032)


@pytest.fixture(scope="session")
def world_folder(tmp_path_factory) -> Path:
    """The demo's world in the real layouts, as coarse as can be."""
    folder = tmp_path_factory.mktemp("world")
    span = PeriodConfig(first_year=1993, last_year=2019, until=2049)
    world = make_world(0, span, resolution_deg=12.0, members=2)
    return write_world(folder, world, source_deg=10.0)


@pytest.fixture(scope="session")
def prepared(world_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "prepared.zarr"
    words = ["prepare", str(world_folder), "--out", str(out), "--settings.resolution_deg", "12"]
    assert tool.main([*words, "--quiet"]) == 0
    return out


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Options that make a training short."""
    return [
        "--projection.learn.ensemble", "2", "--projection.learn.fit.epochs", "1",
        "--projection.segments.clusters", "2", "--projection.segments.blend_km", "1500",
        "--projection.learn.shape.hidden", "[8]",
    ]  # fmt: skip
