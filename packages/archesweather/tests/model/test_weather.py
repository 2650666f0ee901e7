"""The model that is shared: targets, statistics, save and load."""

import json

import numpy as np
import pytest
import torch

from archesweather.model import ArchesWeather
from isopleth.data import Normaliser
from isopleth.errors import ConfigError


def make_normaliser(config, seed=0):
    rng = np.random.default_rng(seed)
    count = len(config.fields.channels)
    return Normaliser(config.fields.channels, rng.normal(size=count), rng.uniform(0.5, 2, count))


def make_inputs(config, batch=2):
    torch.manual_seed(1)
    shape = (batch, len(config.fields.channels), len(config.lat), len(config.lon))
    return torch.randn(shape), torch.randn(shape), torch.tensor([1, 7]), torch.tensor([0, 18])


def test_saved_and_loaded_it_forecasts_the_same(tmp_path, model_config, open_gates):
    config = model_config(25, 32, poles=True, target="increment")
    model = ArchesWeather(config, make_normaliser(config)).eval()
    open_gates(model)
    model.increment_std.uniform_(0.1, 1.0)
    model.save_pretrained(tmp_path / "model")
    loaded = ArchesWeather.from_pretrained(tmp_path / "model")
    inputs = make_inputs(config)
    torch.testing.assert_close(loaded(*inputs), model(*inputs), rtol=0, atol=0)
    assert loaded.config == config
    assert loaded.normaliser.normaliser == make_normaliser(config)


def test_the_saved_config_is_plain(tmp_path, model_config):
    config = model_config()
    ArchesWeather(config).save_pretrained(tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["network"]["window"] == [3, 4]
    assert ArchesWeather.from_pretrained(tmp_path).config == config


def test_an_increment_is_added_in_its_own_units(model_config, open_gates):
    config = model_config(target="increment")
    torch.manual_seed(0)
    model = ArchesWeather(config).eval()
    open_gates(model)
    state, previous, month, hour = make_inputs(config)
    change = model(state, previous, month, hour) - state
    model.increment_std.fill_(0.25)
    torch.testing.assert_close(
        model(state, previous, month, hour) - state, 0.25 * change, rtol=1e-4, atol=1e-5
    )


def test_a_state_is_what_the_backbone_gives(model_config):
    config = model_config()
    model = ArchesWeather(config).eval()
    state, previous, month, hour = make_inputs(config)
    expected = model.backbone(torch.stack([state, previous], 1), torch.stack([month, hour], 1).float())
    torch.testing.assert_close(model(state, previous, month, hour), expected, rtol=0, atol=0)


def test_month_and_hour_count_once_gates_are_open(model_config, open_gates):
    config = model_config()
    model = ArchesWeather(config).eval()
    state, previous, month, hour = make_inputs(config)
    assert torch.equal(model(state, previous, month, hour), model(state, previous, month + 1, hour))
    open_gates(model)
    assert not torch.equal(model(state, previous, month, hour), model(state, previous, month + 1, hour))
    assert not torch.equal(model(state, previous, month, hour), model(state, previous, month, hour + 6))


def test_other_statistics_and_shapes_are_refused(model_config):
    config = model_config()
    wrong = Normaliser(("a", "b"), [0.0, 0.0], [1.0, 1.0])
    with pytest.raises(ConfigError, match="must have the 7 channels"):
        ArchesWeather(config, wrong)
    state, previous, month, hour = make_inputs(config)
    with pytest.raises(ConfigError, match="previous must have the shape of state"):
        ArchesWeather(config)(state, previous[:, :-1], month, hour)
