"""Small networks on grids of any size, their gates open so that every path counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from archesweather.config import FieldsConfig, ModelConfig, NetworkConfig
from archesweather.model import Backbone
from isopleth.grid import Grid

FIELDS = FieldsConfig(
    surface=("2m_temperature",),
    upper=("geopotential", "temperature"),
    levels=(300, 500, 850),
    constants=("land_sea_mask",),
)
NETWORK = {"dim": 8, "depths": (2, 2, 2, 2), "heads": (2, 2, 2, 2), "window": (3, 4), "column_heads": 2}


def build_config(
    lat: int | tuple[float, ...] = 24,
    lon: int | tuple[float, ...] = 32,
    *,
    poles: bool = False,
    fields: FieldsConfig = FIELDS,
    **network: Any,
) -> ModelConfig:
    if isinstance(lat, int) and isinstance(lon, int):
        grid = Grid.regular(lat, lon, poles=poles)
        lat, lon = tuple(grid.lat.tolist()), tuple(grid.lon.tolist())
    shape = NetworkConfig(**{**NETWORK, "condition_dim": 16, **network})
    return ModelConfig(fields=fields, network=shape, lat=lat, lon=lon)


def open_gates(module: torch.nn.Module, seed: int = 0) -> None:
    """Random modulation, biases and constants instead of the zeros of the start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if "modulation" in name or "table" in name or name.endswith("constants"):
                tensor.normal_(std=0.5, generator=generator)


def build_backbone(config: ModelConfig, **options: Any) -> Backbone:
    torch.manual_seed(0)
    backbone = Backbone(config, **options).double().eval()
    open_gates(backbone)
    return backbone


def build_states(config: ModelConfig, batch: int = 1, states: int = 2, seed: int = 1) -> torch.Tensor:
    shape = (batch, states, len(config.fields.channels), len(config.lat), len(config.lon))
    values = np.random.default_rng(seed).normal(size=shape)
    return torch.tensor(values)


CONDITIONS = torch.tensor([[7.0, 18.0]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(name="model_config")
def model_config_fixture() -> Callable[..., ModelConfig]:
    return build_config


@pytest.fixture(name="make_backbone")
def make_backbone_fixture() -> Callable[..., Backbone]:
    return build_backbone


@pytest.fixture(name="make_states")
def make_states_fixture() -> Callable[..., torch.Tensor]:
    return build_states


@pytest.fixture(name="open_gates")
def open_gates_fixture() -> Callable[..., None]:
    return open_gates


@pytest.fixture(name="conditions")
def conditions_fixture() -> torch.Tensor:
    return CONDITIONS


@pytest.fixture(name="lean", params=[False, True], ids=["plain", "lean"])
def lean_fixture(request, monkeypatch) -> bool:
    """Both ways through a block, whatever the size of its tokens."""
    monkeypatch.setattr("archesweather.model.blocks.is_lean", lambda x: request.param)
    return request.param
