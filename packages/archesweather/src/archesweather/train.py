"""Fit ArchesWeather: the published recipe, a rollout for fine-tuning, one model or several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archesweather.config import FitConfig, ModelConfig, NetworkConfig, TrainConfig
from archesweather.data import clock_table, make_loaders, make_windows
from archesweather.loss import WeightedError, channel_weights, rollout_weights
from archesweather.model import ArchesWeather
from archesweather.prepared import Prepared, check_same_statistics, open_prepared
from isopleth.errors import ConfigError
from isopleth.train import (
    FitResult,
    adamw,
    fit,
    is_main_process,
    load_checkpoint,
    seed_everything,
    step_config,
    warm_schedule,
)

Batch = dict[str, Tensor]

# Coordinates of one grid in float32 and in float64 differ by less.
_SAME_DEGREES = 1e-3
# Tables of offsets, whose size is no measure of complexity: they are not decayed, as published.
_NOT_DECAYED = ("table", "level")


class Training(L.LightningModule):
    """One step of training: forecast one lead, or several in a row, and weigh the errors.

    Parameters
    ----------
    network : ArchesWeather
    error : WeightedError
        What the forecast of one lead is judged by.
    clock : Tensor of int64, shape (time, step, 2)
        Month and hour at each row of the store and the leads after it; see `archesweather.data.clock_table`.
    config : FitConfig
    """

    clock: Tensor

    def __init__(
        self, network: ArchesWeather, error: WeightedError, clock: Tensor, config: FitConfig
    ) -> None:
        super().__init__()
        self.network, self.error, self.config = network, error, config
        self.register_buffer("clock", clock, persistent=False)
        self.lead_weights = rollout_weights(config.rollout_steps, config.discount)

    def rollout(self, batch: Batch) -> Iterator[Tensor]:
        """Yield the forecast of each lead, in float32 whatever the network computes in."""
        previous, state = batch["inputs"].unbind(1)
        for time in self.clock[batch["index"]].unbind(1):
            forecast = self._step(state, previous, *time.unbind(-1)).float()
            yield forecast
            previous, state = state, forecast

    def errors(self, batch: Batch) -> list[Tensor]:
        """Return the error of each lead."""
        targets = batch["targets"].unbind(1)
        valid = batch["targets_valid"].unbind(1) if "targets_valid" in batch else [None] * len(targets)
        forecasts = self.rollout(batch)
        return [self.error(*each) for each in zip(forecasts, targets, valid, strict=True)]

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the error, discounted over the leads."""
        loss = self._discount(self.errors(batch))
        self.log("train_loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Log the same error in the validation years."""
        loss = self._discount(self.errors(batch))
        self.log("val_loss", loss, batch_size=len(batch["index"]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule."""
        return build_optimizer(self, self.config)

    def _step(self, *inputs: Tensor) -> Tensor:
        """Forecast one lead; in a rollout, keep no more of it for the backward pass than what went in."""
        if self.config.checkpoint_rollout and self.config.rollout_steps > 1 and torch.is_grad_enabled():
            return checkpoint(self.network, *inputs, use_reentrant=False)
        return self.network(*inputs)

    def _discount(self, errors: list[Tensor]) -> Tensor:
        return torch.stack([w * error for w, error in zip(self.lead_weights, errors, strict=True)]).sum()


def build_optimizer(module: nn.Module, config: FitConfig) -> dict[str, Any]:
    """Build AdamW with a warm-up and a cosine that ends at 0 with the last step, as Lightning wants them."""
    optimizer = adamw(
        module,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=config.betas,
        no_decay=_NOT_DECAYED,
    )
    schedule = warm_schedule(optimizer, total_steps=config.max_steps, warmup_steps=config.warmup_steps)
    return step_config(optimizer, schedule)


def build_model(config: TrainConfig, prepared: Prepared) -> ArchesWeather:
    """Build the network for the prepared fields, new from the seed or from pretrained weights.

    Raises
    ------
    ConfigError
        If the pretrained network has other fields, another grid, lead or shape than asked for, or was
        trained on other statistics than the states were packed with.
    """
    grid = prepared.store.grid
    wanted = ModelConfig(
        fields=prepared.fields,
        network=config.network,
        lat=tuple(grid.lat.tolist()),
        lon=tuple(grid.lon.tolist()),
        lead_hours=config.lead_hours,
    )
    if config.init is not None:
        # Its constant maps and its scale of increments came with its weights.
        model = ArchesWeather.from_pretrained(config.init).train()
        _check_same_model(model.config, wanted, config.init)
        check_same_statistics(model.normaliser.normaliser, prepared.normaliser, where=prepared.path)
        return model
    model = ArchesWeather(wanted, prepared.normaliser)
    model.increment_std.copy_(torch.from_numpy(prepared.increment_std(config.lead_hours)))
    model.backbone.set_constants(torch.from_numpy(prepared.constants))
    return model


def build_training(config: TrainConfig, prepared: Prepared) -> Training:
    """Build the network and what it is trained by."""
    model = build_model(config, prepared)
    increments = prepared.increment_std(config.lead_hours, pooled=config.loss.pool_levels)
    weights = channel_weights(prepared.fields, increments, config.loss)
    clock = clock_table(prepared.store, config.lead_hours, config.fit.rollout_steps)
    error = WeightedError(weights, prepared.store.grid.weights)
    return Training(model, error, torch.from_numpy(clock), config.fit)


def train_member(config: TrainConfig, prepared: Prepared) -> tuple[ArchesWeather, FitResult]:
    """Train one model and keep the weights that validated best.

    Parameters
    ----------
    config : TrainConfig
        The run directory must be new, unless ``resume`` is set. ``members`` is not looked at.
    prepared : Prepared
        The test years are not touched.

    Returns
    -------
    ArchesWeather
        In evaluation mode; also saved to the run's folder ``pretrained``.
    FitResult
    """
    seed_everything(config.runtime.seed)  # the first weights are the seed's, whatever ran before
    module = build_training(config, prepared)
    return module.network, fit_network(module, config, prepared)


def fit_network(
    module: L.LightningModule, config: TrainConfig, prepared: Prepared, *, record: object | None = None
) -> FitResult:
    """Fit a module's ``network`` to the windows of a prepared folder and leave in it the best weights.

    Parameters
    ----------
    module : LightningModule
        It logs ``val_loss``; its ``network`` is saved to the run's folder ``pretrained``.
    config : TrainConfig
        Windows, schedule, machine and run directory.
    prepared : Prepared
    record : dataclass, optional
        The config that replays the run; by default `config`.
    """
    training, validation = make_loaders(make_windows(prepared, config), config)
    result = fit(
        module,
        training,
        validation,
        run_dir=config.out,
        runtime=config.runtime,
        max_steps=config.fit.max_steps,
        validate_every=config.fit.validate_every or _validation_rhythm(config.fit, len(training)),
        checkpoint_every=config.fit.checkpoint_every,
        log_every=config.fit.log_every,
        gradient_clip=config.fit.gradient_clip,
        accumulate=config.fit.accumulate,
        resume=config.resume,
        config=record or config,
    )
    module.load_state_dict(load_checkpoint(result.checkpoint)["state_dict"])
    if is_main_process():
        network: Any = module.network
        network.eval().save_pretrained(result.run.pretrained)
    return result


def train_model(config: TrainConfig) -> dict[str, Any]:
    """Train the members that are asked for, one after another: the verb ``train``."""
    config.runtime.apply()
    prepared = open_prepared(config.data, config.fields)
    results: list[FitResult] = []
    for number, folder in enumerate(config.folders):
        runtime = replace(config.runtime, seed=config.runtime.seed + number)
        member = replace(config, out=folder, members=1, runtime=runtime)
        results.append(train_member(member, prepared)[1])
    return {
        "run": str(config.out),
        "pretrained": [str(result.run.pretrained) for result in results],
        "steps": [result.steps for result in results],
        "seconds": round(sum(result.seconds for result in results), 1),
        "val_loss": [result.best_score for result in results],
    }


def _validation_rhythm(fit: FitConfig, batches: int) -> int:
    """Return batches from one validation to the next: about a pass, such that the last comes at the end."""
    total = fit.max_steps * fit.accumulate
    return total // max(1, round(total / batches))


def _check_same_model(found: ModelConfig, wanted: ModelConfig, place: str) -> None:
    """Refuse a pretrained network that is not for these states; its shape may be left to it."""
    for name in ("fields", "lead_hours", "lat", "lon"):
        mine, theirs = getattr(wanted, name), getattr(found, name)
        on_axis = name in ("lat", "lon") and len(mine) == len(theirs)
        if mine != theirs and not (on_axis and np.allclose(mine, theirs, atol=_SAME_DEGREES)):
            raise ConfigError(
                f"init must be a model of {name} {_shorten(mine)}, got {_shorten(theirs)}", where=place
            )
    if wanted.network not in (NetworkConfig(), found.network):
        raise ConfigError(
            f"network must be left out or be that of init, got {_shorten(wanted.network)}",
            where=place,
            hint=f"init has {found.network}",
        )


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
