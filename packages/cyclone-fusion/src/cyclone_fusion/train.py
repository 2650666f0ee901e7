"""Fit the network as published: each stream alone, then the fusion head, then everything together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import xarray as xr
from torch import Tensor, nn

from cyclone_fusion.config import FitConfig, StageConfig, TrainConfig
from cyclone_fusion.loss import density_loss, distance_loss, frame_error, miss_km, square_radius
from cyclone_fusion.model import FusedNetwork
from cyclone_fusion.model.tables import Batch, EmbeddingTable, SampleTable, make_loader
from cyclone_fusion.prepare import open_samples
from cyclone_fusion.split import Split, split_samples
from isopleth.errors import ConfigError, DataError
from isopleth.train import FitResult, adamw, fit, load_checkpoint, step_config, warm_schedule
from isopleth.verify import block_conformal, blocks_needed

PRETRAINED = "pretrained"
# What the ellipses are calibrated to hold.
ELLIPSE_LEVEL = 0.9
_EVALUATION_BATCH = 2048
Forecast = Callable[[Batch], Tensor]


class Stage(L.LightningModule):
    """One stage of the training: a part of the network, and how it makes a forecast.

    Parameters
    ----------
    network : FusedNetwork
        All of it goes to the device and into checkpoints.
    part : Module
        What of it is trained; the rest stands still.
    forecast : callable
        From a batch to displacements.
    config : FitConfig
    stage : StageConfig
    steps : int
        Length of the learning-rate schedule.
    """

    def __init__(
        self,
        network: FusedNetwork,
        part: nn.Module,
        forecast: Forecast,
        config: FitConfig,
        stage: StageConfig,
        *,
        steps: int,
    ) -> None:
        super().__init__()
        self.network, self.forecast = network, forecast
        self.frame = network.config.sample.frame
        network.requires_grad_(requires_grad=False)
        part.requires_grad_(requires_grad=True)
        self.config, self.stage, self.steps = config, stage, steps

    def misses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the great-circle errors in km and where they are known, (sample, lead) each."""
        moved = self.forecast(batch)
        places = (batch["lat"], batch["lon"], batch["target_lat"], batch["target_lon"])
        return miss_km(moved, *places, frame=self.frame), torch.isfinite(batch["target_lat"])

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the loss in units of 100 km, or their squares."""
        loss = distance_loss(*self.misses(batch), self.config.loss)
        self.log("train_loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Log the mean error in km, which is the published score whatever the loss."""
        miss, known = self.misses(batch)
        self.log("val_error_km", miss.sum() / known.sum().clamp(min=1), batch_size=int(known.sum()))

    def configure_optimizers(self) -> Any:
        """Return AdamW with a tenth of the stage to warm up and a cosine to cool down."""
        optimizer = adamw(self.network, lr=self.stage.learning_rate, weight_decay=self.config.weight_decay)
        schedule = warm_schedule(optimizer, total_steps=self.steps, warmup_steps=self.steps // 10)
        return step_config(optimizer, schedule)


class DensityStage(Stage):
    """The spread of the errors of a forecast that stands still."""

    def __init__(self, network: FusedNetwork, config: FitConfig, stage: StageConfig, *, steps: int) -> None:
        super().__init__(network, network.density, lambda batch: batch["moved"], config, stage, steps=steps)

    def likelihood(self, batch: Batch) -> Tensor:
        """Return the mean negative log-likelihood."""
        factor = self.network.spread(batch["embeddings"], batch["features"])
        return density_loss(factor, batch["error"], torch.isfinite(batch["target_lat"]))

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the mean negative log-likelihood."""
        loss = self.likelihood(batch)
        self.log("train_loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Log the negative log-likelihood under the name that the best weights are chosen by."""
        self.log("val_error_km", self.likelihood(batch), batch_size=len(batch["index"]))


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out of the stages.

    Attributes
    ----------
    network : FusedNetwork
        In evaluation mode.
    alone : dict of str to FusedNetwork
        Each stream as it was trained by itself, before the fusion.
    errors : dict of str to float
        Validation error of each stage, km.
    """

    network: FusedNetwork
    alone: dict[str, FusedNetwork]
    errors: dict[str, float]


@dataclass(frozen=True)
class _Sides:
    """Tables of both sides, and a run's settings."""

    train: SampleTable
    validate: SampleTable
    config: TrainConfig
    out: Path

    def fit(self, name: str, module: Stage, train: Any, validate: Any) -> FitResult:
        """Run a stage and leave the weights that validated best in its module."""
        # An earlier stage may have left batch normalisation in evaluation mode.
        module.train()
        result = fit(
            module,
            make_loader(train, module.stage.batch_size, shuffle=True),
            make_loader(validate, _EVALUATION_BATCH, shuffle=False),
            run_dir=self.out / name,
            runtime=self.config.runtime,
            max_epochs=module.stage.max_epochs,
            monitor="val_error_km",
            patience=module.stage.patience,
            resume=self.config.resume,
            config=self.config,
        )
        module.load_state_dict(load_checkpoint(result.checkpoint)["state_dict"])
        return result


def train_network(config: TrainConfig, split: Split, *, out: Path | None = None) -> Trained:
    """Fit one network on the training storms; after each stage the weights that validated best are kept.

    Parameters
    ----------
    config : TrainConfig
        The run directory must be new, unless ``resume`` is set; stages that are done are then only loaded.
    split : Split
        Test samples are not touched.
    out : Path, optional
        The run directory, if not the config's.

    Returns
    -------
    Trained
        The network is also saved to the run's folder ``pretrained``.
    """
    config.runtime.apply()
    network = FusedNetwork(replace(config.model, trained_on=config.split))
    _check_windows(network, split.train)
    _check_storms(config, split)
    train = SampleTable(split.train, windows=network.sees_fields)
    validate = SampleTable(split.validate, windows=network.sees_fields)
    _standardise(network, split.train, train)
    sides = _Sides(train, validate, config, out or config.out)
    names = config.model.network.streams
    found: dict[str, float] = {name: _train_stream(name, network, sides) for name in names}
    alone: dict[str, FusedNetwork] = {name: network.extract(name) for name in names}
    if len(names) > 1:
        network.start_fusion()
        found["head"] = _train_head(network, sides)
        found["whole"] = _train_whole(network, sides)
    network.eval()
    if config.model.network.density:
        _train_density(network, sides, split)
    network.requires_grad_(requires_grad=True).save_pretrained(sides.out / PRETRAINED)
    return Trained(network, alone, found)


def train_from_samples(config: TrainConfig) -> dict[str, Any]:
    """Open samples, split, fit every member: the verb ``train``."""
    split = split_samples(open_samples(config.data, config.model.sample), config.split)
    members = []
    for number in range(config.members):
        seeded = replace(config, runtime=replace(config.runtime, seed=config.runtime.seed + number))
        members.append(train_network(seeded, split, out=config.out / f"member-{number}"))
    return {
        "run": str(config.out),
        "members": config.members,
        "samples": split.train.sizes["sample"],
        "val_error_km": {name: round(value, 2) for name, value in members[0].errors.items()},
    }


def embed_samples(network: FusedNetwork, table: SampleTable, *, device: str = "cpu") -> Tensor:
    """Return the embeddings of all samples, in evaluation mode; they, and the network, end on the CPU."""
    network.eval().to(device)
    parts = []
    with torch.no_grad():
        for batch in make_loader(table, _EVALUATION_BATCH, shuffle=False):
            inputs = (batch[name].to(device) for name in ("features", "windows") if name in batch)
            parts.append(network.embed(*inputs).cpu())
    network.cpu()
    return torch.cat(parts)


def _train_stream(name: str, network: FusedNetwork, sides: _Sides) -> float:
    stage = sides.config.fit.track if name == "track" else sides.config.fit.images

    def forecast(batch: Batch) -> Tensor:
        return network.forward_stream(name, batch["features"], batch.get("windows"))

    module = _stage(network, network.streams[name], forecast, sides, stage)
    train, validate = (
        (_without_windows(sides.train), _without_windows(sides.validate))
        if name == "track"
        else (sides.train, sides.validate)
    )
    return _score(sides.fit(name, module, train, validate))


def _train_head(network: FusedNetwork, sides: _Sides) -> float:
    """Train the fusion on embeddings that are computed once."""
    device = sides.config.runtime.device
    train, validate = (
        EmbeddingTable(table, embed_samples(network, table, device=device))
        for table in (sides.train, sides.validate)
    )

    def forecast(batch: Batch) -> Tensor:
        return network.decide(batch["embeddings"], batch["features"])

    module = _stage(network, network.fusion, forecast, sides, sides.config.fit.head)
    return _score(sides.fit("head", module, train, validate))


def _train_whole(network: FusedNetwork, sides: _Sides) -> float:
    def forecast(batch: Batch) -> Tensor:
        return network(batch["features"], batch.get("windows"))

    module = _stage(network, network, forecast, sides, sides.config.fit.whole)
    return _score(sides.fit("whole", module, sides.train, sides.validate))


def _train_density(network: FusedNetwork, sides: _Sides, split: Split) -> None:
    """Fit the spread on training errors, then calibrate its size on validation storms."""
    tables = []
    for table in (sides.train, sides.validate):
        each = EmbeddingTable(table, embed_samples(network, table, device=sides.config.runtime.device))
        each.columns |= _errors_of(network, each.columns)
        tables.append(each)
    stage = sides.config.fit.density
    steps = _count_steps(stage, len(sides.train))
    module = DensityStage(network, sides.config.fit, stage, steps=steps)
    sides.fit("density", module, tables[0], tables[1])
    _calibrate(network, tables[1].columns, split.validate)


@torch.no_grad()
def _errors_of(network: FusedNetwork, columns: Batch) -> Batch:
    moved = network.decide(columns["embeddings"], columns["features"])
    lat, lon, there_lat, there_lon = (columns[name] for name in ("lat", "lon", "target_lat", "target_lon"))
    error = frame_error(moved, lat, lon, there_lat, there_lon, network.config.sample.frame)
    return {"moved": moved, "error": error}


@torch.no_grad()
def _calibrate(network: FusedNetwork, columns: Batch, samples: xr.Dataset) -> None:
    """Find the radius that holds the wanted share of errors of storms never seen (conformal, by storms)."""
    factor = network.spread(columns["embeddings"], columns["features"])
    radius = square_radius(factor, columns["error"]).sqrt()
    radius = torch.where(torch.isfinite(columns["target_lat"]), radius, torch.nan)
    storms = samples["track_id"].values
    for lead in range(radius.shape[1]):
        network.density_factor[lead] = block_conformal(radius[:, lead].numpy(), storms, level=ELLIPSE_LEVEL)


def _stage(
    network: FusedNetwork, part: nn.Module, forecast: Forecast, sides: _Sides, stage: StageConfig
) -> Stage:
    steps = _count_steps(stage, len(sides.train))
    return Stage(network, part, forecast, sides.config.fit, stage, steps=steps)


def _count_steps(stage: StageConfig, samples: int) -> int:
    return max(1, samples // stage.batch_size) * stage.max_epochs


def _score(result: FitResult) -> float:
    assert result.best_score is not None  # every stage validates
    return result.best_score


def _without_windows(table: SampleTable) -> EmbeddingTable:
    """Spare the track stream the windows."""
    return EmbeddingTable(table, torch.empty(len(table), 0))


def _standardise(network: FusedNetwork, samples: xr.Dataset, table: SampleTable) -> None:
    windows = table.windows
    if windows is not None and not isinstance(windows, Tensor):
        # Statistics need no more than some: every k-th sample, as many as fit.
        every = max(1, len(table) // 8192)
        windows = torch.from_numpy(windows[::every].values)
    network.standardise(table.columns["features"], torch.from_numpy(samples["target"].values), windows)


def _check_storms(config: TrainConfig, split: Split) -> None:
    """Refuse before the training what could not be calibrated after it."""
    needed, have = blocks_needed(ELLIPSE_LEVEL), len(set(split.validate["track_id"].values))
    if config.model.network.density and have < needed:
        raise ConfigError(
            f"a {ELLIPSE_LEVEL:.0%} ellipse must be calibrated on at least {needed} validation storms, "
            f"got {have}",
            hint="let more storms validate, or set --model.network.density false",
        )


def _check_windows(network: FusedNetwork, samples: xr.Dataset) -> None:
    """Refuse samples whose windows are not those that the network was configured for."""
    if not network.sees_fields:
        return
    if "windows" not in samples:
        raise ConfigError(
            "a network with wind and pressure streams must have samples with windows, got none",
            hint="give cyclone-fusion prepare --fields, or train --config track",
        )
    have, window = samples["channel"].values.tolist(), network.config.window
    size = samples.sizes["row"]
    if tuple(have) != window.channels or size != window.size:
        raise DataError(
            f"samples must have the network's windows, {len(window.channels)} channels of {window.size} x "
            f"{window.size} points, got {len(have)} of {size} x {size}",
            hint="give prepare and train the same --window options",
        )
