"""Small worlds: random fields of any size, the paper's variables as WeatherBench 2 stores them, a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from archesweather.config import (
    SAMPLE_FIELDS,
    FieldsConfig,
    FitConfig,
    NetworkConfig,
    PrepareConfig,
    SampleConfig,
    SplitConfig,
    TrainConfig,
)
from archesweather.prepare import prepare_store
from archesweather.prepared import Prepared, open_prepared
from isopleth.io.lexicon import LEXICON
from isopleth.train import Runtime

SMALL_FIELDS = FieldsConfig(
    surface=("2m_temperature", "mean_sea_level_pressure"),
    upper=("geopotential", "temperature"),
    levels=(300, 500, 850),
    constants=("land_sea_mask",),
)
SMALL_NETWORK = NetworkConfig(
    dim=16, depths=(1, 1, 1, 1), heads=(2, 2, 2, 2), window=(2, 4), column_heads=2, condition_dim=16
)
# 90 days of daily weather: two months train, the next fortnights validate and test.
SAMPLE = SampleConfig(start="2018-11-01", end="2019-01-29")
SAMPLE_SPLIT = SplitConfig(
    train=("2018-11-01", "2018-12-31"),
    validate=("2019-01-01", "2019-01-14"),
    test=("2019-01-15", "2019-01-29"),
)
_MEANS = {
    "geopotential": 5e4,
    "temperature": 260.0,
    "2m_temperature": 285.0,
    "mean_sea_level_pressure": 1.01e5,
}
_SPREADS = {"specific_humidity": 1e-3, "vertical_velocity": 0.1, "geopotential": 2e3, "land_sea_mask": 0.5}
_SPREADS |= {"mean_sea_level_pressure": 1e3, "soil_type": 3.0, "geopotential_at_surface": 5e3}


def make_fields(
    fields: FieldsConfig,
    *,
    n_time: int = 40,
    n_lat: int = 8,
    n_lon: int = 16,
    step_hours: int = 24,
    start: str = "2018-12-01",
    poles: bool = False,
    seed: int = 0,
    times: Any = None,
) -> xr.Dataset:
    """Make canonical random walks in time of the given fields, constants included; a step is a fifth."""
    rng = np.random.default_rng(seed)
    if times is None:
        times = np.datetime64(start, "ns") + np.arange(n_time) * np.timedelta64(step_hours, "h")
    edge = 90.0 if poles else 90.0 - 90.0 / n_lat
    coords = {
        "time": times,
        "level": np.array(fields.levels, float),
        "lat": np.linspace(-edge, edge, n_lat),
        "lon": np.arange(n_lon) * 360.0 / n_lon,
    }
    data = {}
    for name in (*fields.surface, *fields.upper, *fields.constants):
        dims = ("lat", "lon") if name in fields.constants else ("time", "lat", "lon")
        dims = ("time", "level", "lat", "lon") if name in fields.upper else dims
        noise = rng.standard_normal([len(coords[dim]) for dim in dims])
        if "time" in dims:
            noise[1:] *= 0.2
            noise = np.cumsum(noise, axis=0)
        values = _MEANS.get(name, 0.0) + _SPREADS.get(name, 10.0) * noise
        units = LEXICON[name].units if name in LEXICON else "1"
        data[name] = (dims, values.astype(np.float32), {"units": units})
    return xr.Dataset(data, coords)


def write_weatherbench(path: Path, fields: FieldsConfig, **options: Any) -> Path:
    """Write such fields as WeatherBench 2 does: longitude before latitude, a chunk a time, zarr 2."""
    stored = make_fields(fields, **options).rename(lat="latitude", lon="longitude")
    stored = stored.transpose(..., "longitude", "latitude").assign_coords(
        level=("level", np.array(fields.levels, "i8"))
    )
    encoding = {
        str(name): {"chunks": (1, *data.shape[1:])}
        for name, data in stored.data_vars.items()
        if "time" in data.dims
    }
    encoding["time"] = {
        "units": "hours since 1959-01-01",
        "calendar": "proleptic_gregorian",
        "dtype": "int64",
    }
    stored.to_zarr(path, zarr_format=2, consolidated=True, encoding=encoding)
    return path


def train_config(data: Path, out: Path, **changes: Any) -> TrainConfig:
    """Train the small network a few steps; `changes` of the fit, the runtime or the whole by name."""
    fit = {"max_steps": 6, "warmup_steps": 2, "batch_size": 4, "log_every": 1, "learning_rate": 1e-3}
    runtime = {"accelerator": "cpu", "threads": 1, "seed": 5}
    whole: dict[str, Any] = {"network": SMALL_NETWORK, "split": SAMPLE_SPLIT}
    for name, value in changes.items():
        owner = fit if name in FitConfig.__dataclass_fields__ else runtime
        owner = whole if name in TrainConfig.__dataclass_fields__ else owner
        owner[name] = value
    return TrainConfig(data=data, out=out, fit=FitConfig(**fit), runtime=Runtime(**runtime), **whole)


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety days of the simulated atmosphere, prepared for leads of 24 h."""
    out = tmp_path_factory.mktemp("sample") / "data"
    prepare_store(PrepareConfig(out=out, sample=SAMPLE, train=SAMPLE_SPLIT.train))
    return out


@pytest.fixture(scope="session")
def sample_prepared(sample_folder: Path) -> Prepared:
    return open_prepared(sample_folder)


@pytest.fixture(scope="session")
def paper_zarr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's ten variables, 13 levels and three constants, 6-hourly on 9 x 16 with poles, as on disk."""
    path = tmp_path_factory.mktemp("wb2") / "era5.zarr"
    return write_weatherbench(
        path, FieldsConfig(), n_time=48, n_lat=9, n_lon=16, step_hours=6, start="2018-12-26", poles=True
    )


@pytest.fixture(scope="session")
def paper_folder(paper_zarr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paper") / "data"
    prepare_store(PrepareConfig(source=str(paper_zarr), out=out))
    return out


@pytest.fixture(name="make_fields", scope="session")
def make_fields_fixture() -> Callable[..., xr.Dataset]:
    return make_fields


@pytest.fixture(name="write_weatherbench", scope="session")
def write_weatherbench_fixture() -> Callable[..., Path]:
    return write_weatherbench


@pytest.fixture(name="train_config", scope="session")
def train_config_fixture() -> Callable[..., TrainConfig]:
    return train_config


@pytest.fixture(scope="session")
def small_fields() -> FieldsConfig:
    return SMALL_FIELDS


@pytest.fixture(scope="session")
def small_network() -> NetworkConfig:
    return SMALL_NETWORK


@pytest.fixture(scope="session")
def sample_fields() -> FieldsConfig:
    return SAMPLE_FIELDS


@pytest.fixture
def small_zarr(tmp_path: Path) -> Path:
    """Four variables in WeatherBench 2's layout, daily for forty days, without poles."""
    return write_weatherbench(tmp_path / "small.zarr", SMALL_FIELDS)


@pytest.fixture
def small_prepare(small_zarr: Path, tmp_path: Path) -> PrepareConfig:
    """How `small_zarr` is prepared."""
    return PrepareConfig(
        source=str(small_zarr), out=tmp_path / "data", fields=SMALL_FIELDS, train=("2018-12-01", "2018-12-31")
    )


@pytest.fixture
def prepare_small(small_prepare: PrepareConfig) -> Callable[..., Prepared]:
    """Prepare `small_zarr`, with changes to its config."""

    def prepare(**changes: Any) -> Prepared:
        config = replace(small_prepare, **changes)
        prepare_store(config)
        return open_prepared(config.out)

    return prepare


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
