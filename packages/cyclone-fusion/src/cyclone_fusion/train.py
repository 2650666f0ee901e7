"""Fit the track network: great-circle distance between where it says and where the storm went."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
import xarray as xr
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cyclone_fusion.config import FitConfig, TrainConfig
from cyclone_fusion.data import Split, build_samples, split_by_season
from cyclone_fusion.frame import arrive
from cyclone_fusion.model import TrackNetwork
from cyclone_fusion.tracks import read_tracks
from isopleth.grid import great_circle_km
from isopleth.train import FitResult, RunDirectory, adamw, fit, load_checkpoint, step_config, warm_schedule

Batch = dict[str, Tensor]

# A squared distance in km² would drown the optimiser; in units of (100 km)² it is of order one.
_UNIT_KM = 100.0


class TrackTraining(L.LightningModule):
    """One training step: predict the displacement, follow it over the sphere, measure the miss.

    Parameters
    ----------
    network : TrackNetwork
        With the training samples' statistics.
    config : FitConfig
        Loss and optimiser.
    total_steps : int
        Length of the learning-rate schedule.
    """

    def __init__(self, network: TrackNetwork, config: FitConfig, *, total_steps: int) -> None:
        super().__init__()
        self.network, self.config, self.total_steps = network, config, total_steps

    def errors_km(self, batch: Batch) -> Tensor:
        """Measure the forecasts' great-circle errors, shape (sample,), in km."""
        moved = self.network(batch["features"])
        lat, lon = arrive(batch["lat"], batch["lon"], moved, self.network.config.sample.frame)
        return great_circle_km(lat, lon, batch["target_lat"], batch["target_lon"])

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the mean distance, or the mean squared distance, in units of 100 km."""
        miss = self.errors_km(batch) / _UNIT_KM
        loss = miss.square().mean() if self.config.loss == "squared" else miss.mean()
        self.log("train_loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Log the mean error in km, which is the published score whatever the loss."""
        errors = self.errors_km(batch)
        self.log("val_error_km", errors.mean(), batch_size=len(errors))

    def configure_optimizers(self) -> Any:
        """Return AdamW with a tenth of the run to warm up and a cosine to cool down."""
        optimizer = adamw(self, lr=self.config.learning_rate, weight_decay=self.config.weight_decay)
        schedule = warm_schedule(optimizer, total_steps=self.total_steps, warmup_steps=self.total_steps // 10)
        return step_config(optimizer, schedule)


class SampleTable(Dataset[Batch]):
    """Samples in memory, handed out a batch at a time by one indexing operation each."""

    def __init__(self, samples: xr.Dataset) -> None:
        names = ("features", "lat", "lon", "target_lat", "target_lon")
        self.columns = {name: torch.from_numpy(samples[name].values).float() for name in names}
        self.columns["index"] = torch.arange(samples.sizes["sample"])

    def __len__(self) -> int:
        return len(self.columns["index"])

    def __getitem__(self, index: int) -> Batch:
        return {name: column[index] for name, column in self.columns.items()}

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices)
        return {name: column[chosen] for name, column in self.columns.items()}


def train_network(config: TrainConfig, split: Split) -> tuple[TrackNetwork, FitResult]:
    """Fit a network on the training seasons and keep the weights that validated best.

    Parameters
    ----------
    config : TrainConfig
        The run directory must be new, unless ``resume`` is set.
    split : Split
        Test samples are not touched.

    Returns
    -------
    TrackNetwork
        In evaluation mode; also saved to the run's folder ``pretrained``.
    FitResult
    """
    config.runtime.apply()
    train, validate = SampleTable(split.train), SampleTable(split.validate)
    network = TrackNetwork(config.model)
    network.standardise(train.columns["features"], torch.from_numpy(split.train["target"].values))
    steps = max(1, len(train) // config.fit.batch_size) * config.fit.max_epochs
    module = TrackTraining(network, config.fit, total_steps=steps)
    result = fit(
        module,
        DataLoader(train, config.fit.batch_size, shuffle=True, drop_last=True, collate_fn=_whole),
        DataLoader(validate, 8192, collate_fn=_whole),
        run_dir=config.out,
        runtime=config.runtime,
        max_epochs=config.fit.max_epochs,
        monitor="val_error_km",
        resume=config.resume,
        config=config,
    )
    module.load_state_dict(load_checkpoint(result.checkpoint)["state_dict"])
    network.eval().save_pretrained(result.run.pretrained)
    return network, result


def _whole(batch: Any) -> Batch:
    """Leave a batch as the table gave it."""
    return batch


def train_from_tracks(config: TrainConfig) -> dict[str, Any]:
    """Read tracks, cut samples, fit: the verb ``train``."""
    split = split_by_season(build_samples(read_tracks(config.tracks), config.model.sample), config.split)
    _, result = train_network(config, split)
    return {
        "run": str(RunDirectory(config.out).path),
        "pretrained": str(result.run.pretrained),
        "samples": split.train.sizes["sample"],
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
        "val_error_km": result.best_score,
    }
