"""The configs of ArchesWeatherGen's paper: what was published, and a step on WeatherBench 2 miniatures."""

from dataclasses import replace

import numpy as np
import pytest

from archesweather.config import (
    ModelConfig,
    NetworkConfig,
    SamplingConfig,
    SplitConfig,
    TrainConfig,
    TrainGenerativeConfig,
)
from archesweather.model import ArchesWeather
from archesweather.prepared import open_prepared
from archesweather.train_generative import (
    train_generative,
)
from isopleth.cli import load_config
from isopleth.config import to_yaml


@pytest.mark.parametrize("name", ["gen-paper", "gen-paper-finetune"])
def test_paper_configs_are_the_published_experiment_and_can_be_printed(name, tmp_path):
    config = load_config(name, TrainGenerativeConfig, package="archesweather")
    (tmp_path / "printed.yaml").write_text(to_yaml(config))
    assert (
        load_config(str(tmp_path / "printed.yaml"), TrainGenerativeConfig, package="archesweather") == config
    )
    rate, betas, steps, warmup = (
        (3e-4, (0.9, 0.98), 200_000, 5_000) if name == "gen-paper" else (1e-4, (0.95, 0.99), 60_000, 500)
    )
    fit = config.fit
    assert (fit.learning_rate, fit.betas, fit.max_steps, fit.warmup_steps) == (rate, betas, steps, warmup)
    assert (fit.weight_decay, fit.batch_size) == (0.01, 4)
    assert not config.loss.increment_scaled
    assert config.split.test == ("2020", "2020")


def test_paper_config_has_the_published_network_and_sampler():
    config = load_config("gen-paper", TrainGenerativeConfig, package="archesweather")
    assert config.network == NetworkConfig(depths=(2, 6, 6, 2), drop_path=0.2)
    assert config.sampling == SamplingConfig(steps=25, solver="euler", noise_scale=1.05, last_time=1e-3)
    assert config.stretch == {"vertical_velocity": 3.0}
    assert len(config.models) == 4
    assert config.prediction == "data"
    four, two = (load_config(name, TrainConfig, package="archesweather") for name in ("paper-m", "paper-s"))
    assert config.network == two.network
    assert config.split == four.split


def test_paper_config_takes_a_step_on_weatherbench_files(paper_folder, tmp_path):
    """Width and grid in miniature; variables, levels, loss and recipe as they are, then the fine-tuning."""
    config = load_config("gen-paper", TrainGenerativeConfig, package="archesweather")
    prepared = open_prepared(paper_folder)
    grid = prepared.store.grid
    narrow = {"dim": 16, "heads": (2, 2, 2, 2), "window": (2, 4), "column_heads": 2, "condition_dim": 16}
    network = replace(config.network, **narrow)
    shape = ModelConfig(
        fields=prepared.fields, network=network, lat=tuple(grid.lat.tolist()), lon=tuple(grid.lon.tolist())
    )
    ArchesWeather(shape, prepared.normaliser).save_pretrained(tmp_path / "det")
    small = {
        "data": paper_folder,
        "network": network,
        "deterministic": (str(tmp_path / "det"),) * 2,
        "scale_samples": 2,
        "runtime": replace(config.runtime, workers=0, accelerator="cpu", threads=1),
    }
    once = {"max_steps": 1, "warmup_steps": 0, "batch_size": 1}
    found = train_generative(replace(config, out=tmp_path / "run", **small, fit=replace(config.fit, **once)))
    assert np.isfinite(found["val_loss"])
    tune = load_config("gen-paper-finetune", TrainGenerativeConfig, package="archesweather")
    split = SplitConfig(
        train=("2019-01-01", "2019-01-03"), validate=("2019-01-04", "2019-01-06"), test=("2020", "2020")
    )
    second = replace(
        tune,
        out=tmp_path / "tuned",
        init=found["pretrained"],
        data=paper_folder,
        split=split,
        runtime=small["runtime"],
        fit=replace(tune.fit, **once),
    )
    assert train_generative(second)["steps"] == 1
