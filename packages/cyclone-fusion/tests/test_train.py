"""Stages train what they say, go on where they stopped, and never see the test storms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from cyclone_fusion.config import (
    FitConfig,
    FusionConfig,
    NetworkConfig,
    SampleConfig,
    SplitConfig,
    StageConfig,
    TrainConfig,
    WindowConfig,
)
from cyclone_fusion.data import build_samples
from cyclone_fusion.model.tables import SampleTable
from cyclone_fusion.predict import Ensemble
from cyclone_fusion.prepare import attach_windows
from cyclone_fusion.split import split_samples
from cyclone_fusion.train import embed_samples, train_network
from isopleth.cli import load_config
from isopleth.io.write import write_zarr
from isopleth.train import Runtime

WINDOW = WindowConfig(levels=(500.0,), size=5, spacing_deg=5.0)
STAGE = StageConfig(max_epochs=2, batch_size=16)
CONFIG = TrainConfig(
    model=FusionConfig(
        sample=SampleConfig(lead_hours=(12, 24)),
        window=WINDOW,
        network=NetworkConfig(convolutions=(4,), dense=(6, 4), hemisphere="mirror", density=True),
    ),
    split=SplitConfig(by="storm", validate=0.34, test=0.2),
    fit=FitConfig(track=STAGE, images=STAGE, head=STAGE, whole=STAGE, density=STAGE),
    runtime=Runtime(accelerator="cpu", threads=1),
)


@pytest.fixture
def split(one_season, make_fields):
    samples = build_samples(one_season, CONFIG.model.sample)
    return split_samples(attach_windows(samples, make_fields(one_season), WINDOW), CONFIG.split)


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_the_test_storms_are_never_seen(split, tmp_path):
    first = train_network(replace(CONFIG, out=tmp_path / "a"), split).network
    spoilt = split.test.copy(deep=True)
    for name in ("features", "windows", "target", "target_lat", "target_lon"):
        spoilt[name] = spoilt[name] * 0 + 1e6
    second = train_network(replace(CONFIG, out=tmp_path / "b"), replace(split, test=spoilt)).network
    for name, value in weights(first).items():
        torch.testing.assert_close(value, weights(second)[name], rtol=0, atol=0, msg=name)


def test_the_published_network_takes_every_stage(one_season, tmp_path):
    """`--config paper` with an epoch a stage: published streams, windows and loss on a few samples."""
    config = load_config("paper", TrainConfig, package="cyclone_fusion")
    window, few = config.model.window, build_samples(one_season, config.model.sample)
    few = few.isel(sample=slice(None, None, 5))
    shape = (few.sizes["sample"], len(window.channels), window.size, window.size)
    fields = np.random.default_rng(0).normal(size=shape).astype("f4")
    few = few.assign(windows=(("sample", "channel", "row", "column"), fields), channel=list(window.channels))
    stages = {
        name: replace(getattr(config.fit, name), max_epochs=1, batch_size=16)
        for name in ("track", "images", "head", "whole")
    }
    fit, runtime = replace(config.fit, **stages), Runtime(accelerator="cpu", threads=1)
    plan = replace(config, fit=fit, runtime=runtime, out=tmp_path / "run")
    trained = train_network(plan, split_samples(few, config.split))
    assert config.fit.loss == "squared"
    assert set(trained.errors) == {"track", "wind", "pressure", "head", "whole"}
    assert np.isfinite([*trained.errors.values()]).all()
    # Streams of 114, 2,636,034 and 2,632,578, and their fusion.
    assert sum(weight.numel() for weight in trained.network.parameters()) == 114 + 2_636_034 + 2_632_578 + 836


def test_a_run_taken_up_again_gives_the_same_weights(split, tmp_path, monkeypatch):
    """Killed after the streams: the stages that are done are loaded, the rest is trained."""
    from cyclone_fusion import train

    whole = train_network(replace(CONFIG, out=tmp_path / "whole"), split)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "_train_head", stop)
        with pytest.raises(KeyboardInterrupt):
            train_network(replace(CONFIG, out=tmp_path / "broken"), split)
    resumed = train_network(replace(CONFIG, out=tmp_path / "broken", resume=True), split)
    for name, value in weights(whole.network).items():
        torch.testing.assert_close(value, weights(resumed.network)[name], rtol=0, atol=0, msg=name)
    assert resumed.errors == whole.errors


def test_every_stage_leaves_its_mark(split, tmp_path):
    trained = train_network(replace(CONFIG, out=tmp_path / "run"), split)
    assert trained.network.config.trained_on == CONFIG.split
    assert set(trained.errors) == {"track", "wind", "pressure", "head", "whole"}
    assert set(trained.alone) == {"track", "wind", "pressure"}
    for name, network in trained.alone.items():
        assert network.config.network.streams == (name,)
    assert (tmp_path / "run" / "pretrained" / "model.safetensors").is_file()
    assert (trained.network.density_factor > 0).all()


def test_prediction_is_the_mean_of_the_members(split, tmp_path):
    networks = [
        train_network(
            replace(CONFIG, out=tmp_path / str(seed), runtime=replace(CONFIG.runtime, seed=seed)), split
        ).network
        for seed in (0, 1)
    ]
    alone = [Ensemble([network]).predict(split.test) for network in networks]
    both = Ensemble(networks).predict(split.test)
    np.testing.assert_allclose(both.moved, (alone[0].moved + alone[1].moved) / 2, rtol=1e-5)
    apart = (alone[0].moved - alone[1].moved) / 2
    expected = (alone[0].covariance + alone[1].covariance) / 2 + apart[..., :, None] * apart[..., None, :]
    np.testing.assert_allclose(both.covariance, expected, rtol=1e-4)


def test_windows_beyond_memory_are_read_from_the_store(split, tmp_path, monkeypatch):
    from cyclone_fusion.model import tables

    write_zarr(split.train, tmp_path / "samples.zarr")
    lazy = xr.open_zarr(tmp_path / "samples.zarr", chunks=None)
    in_memory = SampleTable(split.train, windows=True)
    monkeypatch.setattr(tables, "read_budget", lambda _: 0)
    from_disk = SampleTable(lazy, windows=True)
    chosen = [5, 2, 31]
    for name, value in in_memory.__getitems__(chosen).items():
        torch.testing.assert_close(from_disk.__getitems__(chosen)[name], value, equal_nan=True)


def test_embeddings_are_those_of_the_network(split, tmp_path):
    network = train_network(replace(CONFIG, out=tmp_path / "run"), split).network
    table = SampleTable(split.test, windows=True)
    embeddings = embed_samples(network, table)
    with torch.no_grad():
        moved = network.decide(embeddings, table.columns["features"])
    np.testing.assert_allclose(moved.numpy(), Ensemble([network]).predict(split.test).moved, rtol=1e-5)
