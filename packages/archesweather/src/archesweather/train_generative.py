"""Fit ArchesWeatherGen: what deterministic models leave unexplained, learnt by flow matching."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from archesweather.clock import step_hours, steps_in_lead
from archesweather.config import FieldsConfig, FitConfig, TrainConfig, TrainGenerativeConfig
from archesweather.data import clock_table
from archesweather.flow import draw_flow_times, draw_noise, interpolate, loss_weight, scale_samples
from archesweather.generative import ArchesWeatherGen
from archesweather.loss import WeightedError, channel_weights
from archesweather.model import ArchesWeather
from archesweather.prepared import Prepared, check_same_statistics, open_prepared
from archesweather.states import check_same_grid
from archesweather.train import build_optimizer, fit_network
from isopleth.data import Windows
from isopleth.data.moments import Moments
from isopleth.errors import ConfigError
from isopleth.grid import Grid
from isopleth.train import RunDirectory, load_checkpoint, seed_everything
from isopleth.train.randomness import derive_seed
from isopleth.train.trainer import compile_networks

Batch = dict[str, Tensor]


class GenerativeTraining(L.LightningModule):
    r"""One step of training: mix the residual with noise, predict it, and weigh the errors.

    .. math:: L = E_{s, \varepsilon} \Bigl[ \frac{1 - s}{s}
              \sum_c w_c \bigl\langle a_\varphi (\hat x_c(x_s, s) - x_c)^2 \bigr\rangle \Bigr],
              \qquad \operatorname{logit} s \sim N(0, 1)

    with the weights of the deterministic loss, in units of the residual's scale. Flow time and noise of a
    sample follow from the seed, the step and the sample: not from the batch or the process it is in.

    Parameters
    ----------
    network : ArchesWeatherGen
    error : WeightedError
    clock : Tensor of int64, shape (time, 1, 2)
        Month and hour at each row of the store; see `archesweather.data.clock_table`.
    config : FitConfig
    seed : int
    """

    clock: Tensor

    def __init__(
        self, network: ArchesWeatherGen, error: WeightedError, clock: Tensor, config: FitConfig, *, seed: int
    ) -> None:
        super().__init__()
        self.network, self.error, self.config, self.seed = network, error, config, seed
        self.register_buffer("clock", clock, persistent=False)

    def loss(self, batch: Batch, seeds: Sequence[int]) -> Tensor:
        """Return the weighted error of the residual predicted from its mixture with noise."""
        previous, state = batch["inputs"].unbind(1)
        month, hour = self.clock[batch["index"], 0].unbind(-1)
        mean = self.network.forecast(state, previous, month, hour)
        residual = self.network.scaled_residual(batch["targets"][:, 0], mean)
        valid = batch["targets_valid"][:, 0] if "targets_valid" in batch else None
        if valid is not None:  # a missing value is no residual, and must not look like one in the mixture
            residual = residual.masked_fill(~valid, 0.0)
        s = draw_flow_times([derive_seed(seed, 1) for seed in seeds], device=residual.device)
        noise = draw_noise(residual.shape[1:], seeds, device=residual.device, stream=residual.device)
        predicted = self.network(interpolate(residual, noise, s), s, mean, state, previous, month, hour)
        weight = loss_weight(s).sqrt()
        return self.error(scale_samples(predicted, weight), scale_samples(residual, weight), valid)

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the loss, of noise that is new in each step."""
        rows = batch["index"].tolist()
        loss = self.loss(batch, [derive_seed(self.seed, self.global_step, row) for row in rows])
        self.log("train_loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Log the loss of noise that is always the same."""
        rows = batch["index"].tolist()
        loss = self.loss(batch, [derive_seed(self.seed, row) for row in rows])
        self.log("val_loss", loss, batch_size=len(rows), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule, of the flow's network alone."""
        return build_optimizer(self, self.config)


def measure_residual(
    model: ArchesWeatherGen, prepared: Prepared, period: tuple[str, str], *, samples: int, batch_size: int = 4
) -> Tensor:
    """Measure the standard deviation of what the deterministic mean misses, in one streaming pass.

    Parameters
    ----------
    model : ArchesWeatherGen
        On the device to compute on.
    prepared : Prepared
    period : (str, str)
        Years to measure in.
    samples : int
        Times, evenly spread over them.
    batch_size : int
        States that pass the networks together.

    Returns
    -------
    Tensor, shape (channel,)
        In z-scores, cells weighted by area.
    """
    lead = steps_in_lead(prepared.store.axis, model.config.lead_hours)
    channels = prepared.fields.channels
    windows = Windows(
        prepared.store,
        inputs=(-lead, 0),
        targets=(lead,),
        period=period,
        step=f"{step_hours(prepared.store.axis)}h",
        input_channels=channels,
        target_channels=channels,
        memory_budget=0,  # a few samples of many: they are read as they come
    )
    clock = clock_table(prepared.store, model.config.lead_hours, 1)[:, 0]
    spread = np.linspace(0, len(windows) - 1, min(samples, len(windows))).round().astype(int)
    total = None
    for start in range(0, len(spread), batch_size):
        batch = windows[spread[start : start + batch_size]]
        state = Moments.of(_miss(model, batch, clock), prepared.store.grid.weights)
        total = state if total is None else total + state
    assert total is not None
    return torch.from_numpy(total.std).float()


def build_generative(config: TrainGenerativeConfig) -> ArchesWeatherGen:
    """Build the model around the trained ones, new from the seed or as `init` left it.

    A new one's residual has the scale 1 until it is measured.
    """
    if config.init is not None:
        return ArchesWeatherGen.from_pretrained(config.init).train()
    models = [ArchesWeather.from_pretrained(name) for name in config.models]
    model = ArchesWeatherGen.around(
        models, config.network, prediction=config.prediction, sampling=config.sampling
    )
    return model.train()


def open_states(model: ArchesWeatherGen, config: TrainGenerativeConfig) -> Prepared:
    """Open the prepared folder, of which the model says what is needed.

    Raises
    ------
    ConfigError, DataError
        If it has not the model's fields, grid or statistics.
    """
    prepared = open_prepared(config.data, model.config.fields)
    grid = Grid(np.array(model.config.lat), np.array(model.config.lon))
    check_same_grid(grid, prepared.store.grid, "the prepared states", str(prepared.path))
    assert model.normaliser is not None  # `around` asks for one
    check_same_statistics(model.normaliser.normaliser, prepared.normaliser, where=prepared.path)
    return prepared


def scale_residual(model: ArchesWeatherGen, config: TrainGenerativeConfig, prepared: Prepared) -> None:
    """Give a new model its residual's scale: measured, or from the checkpoint that is resumed."""
    last = RunDirectory(config.out).last
    if config.resume and last.exists():
        model.set_residual_scale(load_checkpoint(last)["state_dict"]["network.residual_scale"])
    elif config.init is None:
        model.to(config.runtime.device)
        scale = measure_residual(model, prepared, config.measured, samples=config.scale_samples)
        model.cpu().set_residual_scale(scale * _stretch(config.stretch, prepared.fields))


def build_training(
    config: TrainGenerativeConfig, model: ArchesWeatherGen, prepared: Prepared
) -> GenerativeTraining:
    """Build what the model is trained by."""
    increments = np.ones(len(prepared.fields.channels))
    if config.loss.increment_scaled:
        measured = prepared.increment_std(model.config.lead_hours, pooled=config.loss.pool_levels)
        increments = measured / model.residual_scale.double().numpy()
    weights = channel_weights(prepared.fields, increments, config.loss)
    clock = clock_table(prepared.store, model.config.lead_hours, 1)
    return GenerativeTraining(
        model,
        WeightedError(weights, prepared.store.grid.weights),
        torch.from_numpy(clock),
        config.fit,
        seed=config.runtime.seed,
    )


def train_generative(config: TrainGenerativeConfig) -> dict[str, Any]:
    """Measure what deterministic models leave unexplained, and learn its distribution: a verb of the tool."""
    config.runtime.apply()
    seed_everything(config.runtime.seed)  # the first weights are the seed's, whatever ran before
    model = build_generative(config)
    prepared = open_states(model, config)
    scale_residual(model, config, prepared)
    if config.runtime.compile:
        compile_networks(model.deterministic)  # the core compiles what is called itself: the flow's part
    module = build_training(config, model, prepared)
    with warnings.catch_warnings():
        # Lightning takes frozen models in evaluation mode for an oversight.
        warnings.filterwarnings("ignore", "Found .* in eval mode at the start of training")
        result = fit_network(module, _as_train_config(config, model), prepared, record=config)
    return {
        "run": str(config.out),
        "pretrained": str(result.run.pretrained),
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "val_loss": result.best_score,
        "residual_scale": dict(zip(prepared.fields.channels, model.residual_scale.tolist(), strict=True)),
    }


def _miss(model: ArchesWeatherGen, batch: Batch, clock: np.ndarray) -> np.ndarray:
    """Return target minus deterministic mean, (sample, channel, lat, lon); NaN where there is no target."""
    device = model.residual_scale.device
    with torch.inference_mode():
        previous, state = batch["inputs"].to(device).unbind(1)
        month, hour = torch.from_numpy(clock[batch["index"].numpy()]).to(device).unbind(-1)
        missed = batch["targets"][:, 0] - model.forecast(state, previous, month, hour).cpu()
    if "targets_valid" in batch:
        missed = missed.masked_fill(~batch["targets_valid"][:, 0], float("nan"))
    return missed.numpy()


def _stretch(factors: dict[str, float], wanted: FieldsConfig) -> Tensor:
    """Return each channel's factor of the residual's scale."""
    variables = [*wanted.surface, *(name for name in wanted.upper for _ in wanted.levels)]
    unknown = sorted(set(factors) - set(variables))
    if unknown:
        raise ConfigError(f"stretch must name variables of the state, got {', '.join(unknown)}")
    return torch.tensor([factors.get(name, 1.0) for name in variables])


def _as_train_config(config: TrainGenerativeConfig, model: ArchesWeatherGen) -> TrainConfig:
    """Give what a deterministic training on the same windows would be told."""
    return TrainConfig(
        data=config.data,
        out=config.out,
        resume=config.resume,
        fields=model.config.fields,
        lead_hours=model.config.lead_hours,
        fit=config.fit,
        split=config.split,
        runtime=config.runtime,
        memory=config.memory,
    )
