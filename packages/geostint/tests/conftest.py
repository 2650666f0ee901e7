"""Small sequences whose truth is known, and a network that knows nothing yet."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from geostint.cli import tool
from geostint.config import ModelConfig, NetworkConfig
from geostint.model import Geostint
from isopleth.data import Normaliser
from isopleth.grid import Grid


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def run(capsys):
    """Run a command line that succeeds; return its JSON."""

    def call(*words):
        code = tool.main([*map(str, words), "--json"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return call


@pytest.fixture
def fail(capsys):
    """Run a command line that fails; return its one line."""

    def call(*words):
        code = tool.main([*map(str, words)])
        assert code in (1, 2)
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "Traceback" not in error
        return error

    return call


@pytest.fixture(scope="session")
def make_fields():
    """Waves that travel around the globe: every frame is known."""

    def make(times=25, *, hours=6, shape=(16, 32), land=False, offset=0.0, attrs=None, speed=0.35):
        grid = Grid.regular(*shape)
        lat, lon = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)[None, :]
        steps = np.arange(times)[:, None, None]
        wave = np.cos(lat) * np.cos(2 * lon - speed * steps) + 0.5 * np.sin(3 * lon + speed * steps - lat)
        values = (offset + wave).astype(np.float32)
        if land:
            values[:, 4:8, 10:20] = np.nan
        stamps = np.datetime64("2001-01-01", "ns") + np.arange(times) * np.timedelta64(hours, "h")
        coords = {"time": stamps, "lat": grid.lat, "lon": grid.lon}
        array = xr.DataArray(values, coords, ("time", "lat", "lon"), attrs={"units": "K", **(attrs or {})})
        return xr.Dataset({"wave": array})

    return make


@pytest.fixture
def network():
    """A network with random weights everywhere, so that every part takes part."""

    def make(channels=("wave",), *, frames=2, **settings):
        torch.manual_seed(0)
        shape = NetworkConfig(**{"widths": (4, 6, 8), **settings})
        count = len(channels)
        normaliser = Normaliser(channels, np.full(count, 0.1), np.full(count, 1.5))
        model = Geostint(
            ModelConfig(channels=channels, frames=frames, data_range=(3.0,) * count, network=shape),
            normaliser,
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return model.eval()

    return make
