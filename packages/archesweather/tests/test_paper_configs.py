"""The configs of the papers: what was published, and one step each on WeatherBench 2 miniatures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from archesweather.config import (
    FieldsConfig,
    ModelConfig,
    NetworkConfig,
    SplitConfig,
    TrainConfig,
)
from archesweather.model import ArchesWeather
from archesweather.train import train_model
from isopleth.cli import load_config
from isopleth.config import to_yaml

PAPER = {
    "s": ((2, 6, 6, 2), 0.2, (40e6, 55e6)),
    "m": ((4, 12, 12, 4), 0.1, (80e6, 95e6)),
    "l": ((8, 24, 24, 8), 0.05, (155e6, 172e6)),
}


@pytest.mark.parametrize("size", PAPER)
def test_a_paper_config_is_the_published_experiment_and_can_be_printed(size, tmp_path):
    config = load_config(f"paper-{size}", TrainConfig, package="archesweather")
    depths, drop_path, parameters = PAPER[size]
    with torch.device("meta"):
        lat, lon = np.linspace(-90, 90, 121), np.arange(240) * 1.5
        shape = ModelConfig(fields=config.fields, network=config.network, lat=tuple(lat), lon=tuple(lon))
        model = ArchesWeather(shape)
    assert parameters[0] < sum(each.numel() for each in model.parameters()) < parameters[1]
    assert config.fields == FieldsConfig()
    assert len(config.fields.channels) == 82
    assert config.network == NetworkConfig(depths=depths, drop_path=drop_path)
    assert (config.fit.max_steps, config.fit.warmup_steps, config.fit.batch_size) == (300_000, 5_000, 4)
    assert (config.fit.recent_from, config.fit.recent_after_steps) == ("2007", 250_000)
    assert config.split.train == ("1979", "2018")
    assert (config.split.validate, config.split.test) == (("2019", "2019"), ("2020", "2020"))
    (tmp_path / "printed.yaml").write_text(to_yaml(config))
    assert load_config(str(tmp_path / "printed.yaml"), TrainConfig, package="archesweather") == config


def paper_step(size, folder, out, **network):
    """One optimiser step of a paper config on the miniature store; the grid decides windows, not widths."""
    config = load_config(f"paper-{size}", TrainConfig, package="archesweather")
    small = replace(
        config,
        data=folder,
        out=out,
        network=replace(config.network, window=(2, 4), **network),
        fit=replace(
            config.fit, max_steps=1, warmup_steps=0, batch_size=1, recent_from=None, recent_after_steps=None
        ),
        runtime=replace(config.runtime, workers=0, accelerator="cpu", threads=1),
        split=SplitConfig(train=("1979", "2018"), validate=("2019", "2019"), test=("2020", "2020")),
    )
    return train_model(small)


@pytest.mark.parametrize("size", PAPER)
def test_a_paper_config_takes_a_step_on_weatherbench_files(paper_folder, tmp_path, size):
    narrow = {"dim": 16, "heads": (2, 2, 2, 2), "column_heads": 2, "condition_dim": 16}
    found = paper_step(size, paper_folder, tmp_path / "run", **narrow)
    assert found["steps"] == [1]
    assert np.isfinite(found["val_loss"][0])


@pytest.mark.slow  # tens of millions of weights, and their optimiser
@pytest.mark.parametrize("size", ["s", "m"])
def test_a_paper_config_takes_a_step_at_its_full_width(paper_folder, tmp_path, size):
    found = paper_step(size, paper_folder, tmp_path / "run")
    model = ArchesWeather.from_pretrained(found["pretrained"][0])
    assert model.config.network.dim == 192
