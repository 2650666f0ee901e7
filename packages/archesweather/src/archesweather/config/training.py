"""How models come about: trained, trained to draw, or converted from released weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal

from archesweather.config.data import SplitConfig
from archesweather.config.network import FieldsConfig, NetworkConfig, SamplingConfig
from isopleth.config import as_tuple, check_choice, check_fraction, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The weights of the squared error.

    Parameters
    ----------
    weights : dict
        Weight of a variable, by name; others have that of GraphCast: 0.1 for 10 m winds, mean sea-level
        pressure and precipitation, 1 for all else.
    pressure_weighted : bool
        Weight levels by their pressure over the mean pressure of all.
    increment_scaled : bool
        Measure errors in standard deviations of the increment over one lead, not of the field.
    pool_levels : bool
        One such standard deviation for all levels of a variable, as published.
    """

    weights: dict[str, float] = field(default_factory=dict)
    pressure_weighted: bool = True
    increment_scaled: bool = True
    pool_levels: bool = True

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not (isfinite(weight) and weight >= 0):
                raise ConfigError(f"loss.weights.{name} must be at least 0, got {weight!r}")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """The schedule of a training.

    Parameters
    ----------
    max_steps : int
        Optimiser steps; the learning rate falls to 0 with the last.
    warmup_steps : int
        Steps over which it rises.
    batch_size : int
        Samples to a step on one device.
    accumulate : int
        Batches to a step.
    learning_rate, weight_decay, betas : float, float, (float, float)
        Of AdamW; the decay is that of weights, not of biases, norms, bias tables and embeddings.
    gradient_clip : float
        Largest 2-norm of the gradient.
    rollout_steps : int
        Leads forecast in a row, each from the last; more than one is the multi-step fine-tuning.
    discount : float
        The error of lead i = 1, 2, ... has the weight 1/i^discount, over the sum of these.
    checkpoint_rollout : bool
        Compute each lead's activations anew in the backward pass of a rollout: a lead's memory for all.
    recent_from : str, optional
        Recent-past fine-tuning: a date; after `recent_after_steps` only later training samples are drawn.
    recent_after_steps : int, optional
        Step at which it begins.
    validate_every : int, optional
        Batches from one validation to the next; by default about one a pass, the last at the end.
    checkpoint_every : int
        Steps between checkpoints: what a kill can cost.
    log_every : int
        Steps between rows of metrics.csv.
    """

    max_steps: int = 300_000
    warmup_steps: int = 5_000
    batch_size: int = 4
    accumulate: int = 1
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    gradient_clip: float = 1.0
    rollout_steps: int = 1
    discount: float = 2.0
    checkpoint_rollout: bool = True
    recent_from: str | None = None
    recent_after_steps: int | None = None
    validate_every: int | None = None
    checkpoint_every: int = 1_000
    log_every: int = 50

    def __post_init__(self) -> None:
        positive = (
            "max_steps",
            "batch_size",
            "accumulate",
            "learning_rate",
            "gradient_clip",
            "rollout_steps",
        )
        rhythm = ("validate_every", "checkpoint_every", "log_every", "recent_after_steps")
        check_positive(**{f"fit.{name}": getattr(self, name) for name in (*positive, *rhythm)})
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ConfigError(
                f"fit.warmup_steps must be from 0 to max_steps - 1, "
                f"got {self.warmup_steps} of {self.max_steps}"
            )
        if (self.recent_from is None) != (self.recent_after_steps is None):
            raise ConfigError(
                "fit.recent_from and fit.recent_after_steps must be given together, "
                f"got {self.recent_from} and {self.recent_after_steps}"
            )
        if self.discount < 0 or self.weight_decay < 0:
            raise ConfigError(
                f"fit.discount and fit.weight_decay must be at least 0, got {self.discount} "
                f"and {self.weight_decay}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From a prepared folder to a trained model, or several.

    Parameters
    ----------
    data : Path
        What `archesweather prepare` wrote.
    out : Path
        The run directory; the model goes to its folder `pretrained`.
    resume : bool
        Go on with the run in this directory.
    init : str, optional
        A pretrained folder or hub id to start from; its network is taken over.
    members : int
        Models to train that differ by their seed, one after another, each in its own folder of the run.
    fields : FieldsConfig, optional
        What a state is made of, among what was prepared; by default all of it.
    lead_hours : int
        One step of the model.
    network, loss, fit, split, runtime
        The model, what it is asked for, its schedule, the years, the machine.
    memory : str, optional
        Load the states into memory if they need no more than this, such as `64 GB` (by default half of what
        is free); else each worker reads them from disk.
    """

    data: Path = positional(Path("runs/archesweather/data"))
    out: Path = Path("runs/archesweather/train")
    resume: bool = False
    init: str | None = None
    members: int = 1
    fields: FieldsConfig | None = None
    lead_hours: int = 24
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    fit: FitConfig = FitConfig()
    split: SplitConfig = SplitConfig()
    runtime: Runtime = Runtime()
    memory: str | None = None

    def __post_init__(self) -> None:
        check_positive(members=self.members, lead_hours=self.lead_hours)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The run directory of each member."""
        if self.members == 1:
            return (self.out,)
        return tuple(self.out / f"member-{number}" for number in range(self.members))


@dataclass(frozen=True, kw_only=True)
class TrainGenerativeConfig:
    """From trained models and a prepared folder to a probabilistic model.

    Parameters
    ----------
    data : Path
        What `archesweather prepare` wrote.
    deterministic : str or tuple of str
        Pretrained folders or hub ids; the mean of their outputs is what the residual is taken from.
    out : Path
        The run directory; the model goes to its folder `pretrained`, the deterministic ones inside it.
    resume : bool
        Go on with the run in this directory.
    init : str, optional
        A pretrained probabilistic model to start from. All of it is taken over, its deterministic models
        and its residual's scale included: fine-tuning on later years is such a run, with `split.train` and
        `fit` of its own.
    network : NetworkConfig
        The network of the residual; by default S.
    prediction : {"data", "blend"}
        What the network gives; see `GenerativeConfig`.
    sampling : SamplingConfig
        How the model will draw.
    scale_period : (str, str), optional
        Where the residual's scale is measured; by default the training years. Years that the deterministic
        models have not seen show how large it is.
    scale_samples : int
        On how many times of these years, evenly spread.
    stretch : dict
        Factors of the residual's scale, by variable. The published model has 3 for the vertical velocity,
        whose residual then counts less.
    loss, fit, split, runtime
        The weights of the loss, which is in units of the residual's scale; its schedule, years and machine.
    memory : str, optional
        As for `archesweather train`.
    """

    data: Path = positional(Path("runs/archesweather/data"))
    deterministic: str | tuple[str, ...] = "runs/archesweather/train/pretrained"
    out: Path = Path("runs/archesweather/train-generative")
    resume: bool = False
    init: str | None = None
    network: NetworkConfig = NetworkConfig(depths=(2, 6, 6, 2))
    prediction: Literal["data", "blend"] = "data"
    sampling: SamplingConfig = SamplingConfig()
    scale_period: tuple[str, str] | None = None
    scale_samples: int = 1000
    stretch: dict[str, float] = field(default_factory=dict)
    loss: LossConfig = LossConfig(increment_scaled=False)
    fit: FitConfig = FitConfig(max_steps=200_000, weight_decay=0.01)
    split: SplitConfig = SplitConfig()
    runtime: Runtime = Runtime()
    memory: str | None = None

    def __post_init__(self) -> None:
        check_choice("prediction", self.prediction, ("data", "blend"))
        check_positive(scale_samples=self.scale_samples)
        check_positive(**{f"stretch.{name}": factor for name, factor in self.stretch.items()})
        if self.fit.rollout_steps != 1:
            raise ConfigError(
                f"fit.rollout_steps must be 1 for a probabilistic model, got {self.fit.rollout_steps}"
            )
        if not self.models:
            raise ConfigError("deterministic must have at least one model, got none")

    @property
    def models(self) -> tuple[str, ...]:
        """The deterministic models."""
        return as_tuple(self.deterministic)

    @property
    def measured(self) -> tuple[str, str]:
        """Where the residual's scale is measured."""
        return self.scale_period or self.split.train


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """From a checkpoint released with geoarches to a pretrained folder.

    Parameters
    ----------
    checkpoint : Path
        Lightning's ``.ckpt``, a state dict (``.pt``) or safetensors. Only tensors are read, nothing is run.
    statistics : Path
        Mean and standard deviation of each channel: the authors' ``pangu_norm_stats2_with_w.pt``, or a
        `normaliser.json` such as a prepared folder has. The checkpoint itself has none.
    constants : Path
        The authors' ``archesweather_constant_masks.pt``: z-scored static maps, in the order of
        `fields.constants`. The checkpoint has none either.
    out : Path
        The pretrained folder.
    target : {"state", "increment"}, optional
        What the head gives; the "skip" models give the increment. By default what the ``config.yaml`` beside
        the checkpoint, or a folder above, says.
    fields : FieldsConfig
        Its variables and levels.
    window : (int, int)
        Tokens of its attention windows in (lat, lon).
    drop_path : float
        Largest rate of stochastic depth, where it is to be trained on: 0.2, 0.1 and 0.05 for S, M and L.
    """

    checkpoint: Path = positional()
    statistics: Path = positional()
    constants: Path = positional()
    out: Path = Path("runs/archesweather/converted")
    target: Literal["state", "increment"] | None = None
    fields: FieldsConfig = FieldsConfig()
    window: tuple[int, int] = (6, 10)
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        check_choice("target", self.target, (None, "state", "increment"))
        check_fraction(drop_path=self.drop_path)
        check_positive(**{f"window[{i}]": size for i, size in enumerate(self.window)})
