"""The rooms together, as a tool uses them: fields, packed store, windows, training, prediction, scores."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from isopleth import verify
from isopleth.data import NormaliserBuffers, make_loader, open_store, pack, split_windows
from isopleth.grid import Grid
from isopleth.io import open_fields, write_netcdf
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    fingerprint,
    measure_cost,
    write_evaluation,
    write_index,
    write_report,
)
from isopleth.samples import atmosphere
from isopleth.train import Interrupted, Pretrained, Runtime, adamw, fit

PERIODS = {"train": ("2000-01-01", "2000-03-31"), "val": ("2000-04-05", "2000-04-30")}


@dataclass(frozen=True, kw_only=True)
class Shape:
    channels: tuple[str, ...] = ()
    width: int = 8


class Net(nn.Module, Pretrained):
    """A periodic convolution that predicts the day's change; it knows its normaliser."""

    def __init__(self, config: Shape, normaliser=None) -> None:
        super().__init__()
        self.config = config
        self.normaliser = NormaliserBuffers(normaliser or list(config.channels))
        count = len(config.channels)
        self.inner = nn.Conv2d(count, config.width, 3, padding="same", padding_mode="circular")
        self.outer = nn.Conv2d(config.width, count, 3, padding="same", padding_mode="circular")
        self.drop = nn.Dropout(0.1)

    def forward(self, state):
        return state + self.outer(self.drop(torch.relu(self.inner(state))))


class Training(L.LightningModule):
    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch, _index):
        return nn.functional.mse_loss(self.net(batch["inputs"][:, -1]), batch["targets"][:, 0])

    def validation_step(self, batch, _index):
        loss = nn.functional.mse_loss(self.net(batch["inputs"][:, -1]), batch["targets"][:, 0])
        self.log("val_loss", loss, batch_size=len(batch["inputs"]))

    def configure_optimizers(self):
        return adamw(self, lr=3e-3)


class StopAt(Callback):
    """Send the process the signal of a scheduler in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Days of simulated weather, written to a file, read back as a stranger's, packed."""
    folder = tmp_path_factory.mktemp("flow")
    write_netcdf(atmosphere(days=130, cache=False)[["geopotential", "temperature"]], folder / "weather.nc")
    pack(open_fields(folder / "weather.nc"), folder / "store", train_period=PERIODS["train"])
    return folder / "store"


def train(store: Path, run_dir: Path, *, memory: bool = True, stop: int | None = None, resume: bool = False):
    opened = open_store(store)
    windows = split_windows(
        opened, PERIODS, inputs=(-1, 0), targets=(1,), memory_budget=None if memory else 0
    )
    torch.manual_seed(0)
    module = Training(Net(Shape(channels=tuple(opened.channels)), opened.normaliser))
    fit(
        module,
        make_loader(windows["train"], batch_size=8, shuffle=True, seed=3, workers=0 if memory else 2),
        make_loader(windows["val"], batch_size=8, shuffle=False, workers=0),
        run_dir=run_dir,
        runtime=Runtime(accelerator="cpu", threads=1, seed=5),
        max_epochs=3,
        resume=resume,
        callbacks=[] if stop is None else [StopAt(stop)],
    )
    return module.net


@pytest.mark.parametrize("memory", [True, False], ids=["in-memory", "workers"])
def test_a_run_stopped_in_mid_epoch_ends_with_the_same_bits(store, tmp_path, memory):
    whole = train(store, tmp_path / "whole", memory=memory)
    with pytest.raises(Interrupted) as stopped:
        train(store, tmp_path / "parts", memory=memory, stop=16)
    assert stopped.value.exit_code == 143
    resumed = train(store, tmp_path / "parts", memory=memory, resume=True)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_from_a_file_to_a_report(store, tmp_path):
    with measure_cost() as training:
        net = train(store, tmp_path / "run")
    net.save_pretrained(tmp_path / "model")
    shared = Net.from_pretrained(tmp_path / "model")
    assert shared.normaliser.normaliser == open_store(store).normaliser

    opened = open_store(store)
    steps = np.flatnonzero(opened.axis.select(PERIODS["val"]))
    start, end = steps[:-1], steps[1:]
    with torch.inference_mode(), measure_cost() as predicting:
        predicted = shared(torch.from_numpy(opened.read(start))).numpy()
    stamps = opened.axis.stamps[end]
    forecast = opened.to_dataset(predicted, stamps)["geopotential"].sel(level=500)
    truth = opened.to_dataset(opened.read(end), stamps)["geopotential"].sel(level=500)
    stale = opened.to_dataset(opened.read(start), stamps)["geopotential"].sel(level=500)

    weights = Grid.of(truth).weights
    mine = verify.accumulate("rmse", forecast, truth, dims=("lat", "lon"), weights=weights)
    theirs = verify.accumulate("rmse", stale, truth, dims=("lat", "lon"), weights=weights)
    interval = verify.block_bootstrap(mine, seed=0)
    score = Score(
        metric="rmse",
        variable="geopotential_500",
        units="m2 s-2",
        better="lower",
        model=float(verify.rmse(forecast, truth, weights=weights)),
        interval=interval.ends,
        baselines={"persistence": float(verify.rmse(stale, truth, weights=weights))},
        n=len(start),
    )
    difference = verify.block_bootstrap(mine, against=theirs, seed=0)
    claim = Claim.judge("It beats persistence", difference, better="lower", evidence="RMSE, m2 s-2")
    # Ninety days are enough to learn which way the weather moves.
    assert claim.holds
    evaluation = Evaluation(
        tool="isopleth",
        version="0.1.0",
        task="Forecast a day ahead.",
        data=DataCard(
            name="atmosphere",
            kind="simulated",
            source="isopleth.samples",
            train="days",
            test="later days",
            fingerprint=fingerprint(opened.fingerprint),
        ),
        scores=(score,),
        claims=(claim,),
        cost=Cost.of(train=training, predict=predicting, parameters=1),
        provenance=Provenance.collect("pytest", "0", 0),
    )
    write_evaluation(evaluation, tmp_path / "run")
    assert write_report(tmp_path / "run").is_file()
    assert "It beats persistence" in write_index(tmp_path).read_text()
