"""How a pair of flows is trained, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from climalign.config.model import FieldConfig, FlowConfig
from isopleth.config import check_choice, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime

Mode = Literal["unsupervised", "supervised", "nll-only"]
Period = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Years that train, that choose the weights, and that test; first and last day or year, both included.

    Parameters
    ----------
    train_coarse, train_fine : (str, str)
        They need not overlap.
    validate_coarse, validate_fine : (str, str)
    test : (str, str)
        Where both are known.
    embargo_days : int
        Least number of days between training and testing.
    """

    train_coarse: Period = ("1979", "1998")
    train_fine: Period = ("1979", "1998")
    validate_coarse: Period = ("1999", "1999")
    validate_fine: Period = ("1999", "1999")
    test: Period = ("2000", "2001")
    embargo_days: int = 5

    def __post_init__(self) -> None:
        if self.embargo_days < 0:
            raise ConfigError(f"embargo_days must not be below 0, got {self.embargo_days}")


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """The terms of the objective and their weights, as published.

    Parameters
    ----------
    mode : {"unsupervised", "supervised", "nll-only"}
        Likelihoods and critics, which never see a pair; likelihoods and the error of paired days; or
        likelihoods alone.
    nll : float
        Weight of both flows' negative log-likelihoods, in nats a cell (lambda).
    adversarial : float
        Of the critics.
    coarse : float
        Of the coarse means' absolute error (alpha).
    paired : float
        Of the absolute error on paired days, in the supervised mode.
    gradient_penalty : float
        Of the critics (WGAN-GP).
    scale_penalty, kernel_penalty : float
        Squares of log-scales and log-diagonals; squares of convolutions' kernels.
    explosion : float
        Nats a cell at which training stops, with the best weights kept.
    """

    mode: Mode = "unsupervised"
    nll: float = 1.0
    adversarial: float = 1.0
    coarse: float = 0.0
    paired: float = 1.0
    gradient_penalty: float = 10.0
    scale_penalty: float = 1e-4
    kernel_penalty: float = 1e-5
    explosion: float = 1e3

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("unsupervised", "supervised", "nll-only"))
        check_positive(explosion=self.explosion)
        names = (
            "nll",
            "adversarial",
            "coarse",
            "paired",
            "gradient_penalty",
            "scale_penalty",
            "kernel_penalty",
        )
        for name in names:
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be below 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long and how quickly is learned.

    Parameters
    ----------
    epochs, batch_size : int
    learning_rate : float
        Of the three Adams, with betas (0.5, 0.9).
    gradient_clip : float
        Largest norm of a gradient.
    window : (int, int), optional
        Rows and columns of fine cells that are cut from a larger region in each step; all of it by default.
    critic_filters : int
        Of the critics' first layer.
    """

    epochs: int = 50
    batch_size: int = 10
    learning_rate: float = 1e-4
    gradient_clip: float = 10.0
    window: tuple[int, int] | None = None
    critic_filters: int = 64

    def __post_init__(self) -> None:
        check_positive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            gradient_clip=self.gradient_clip,
            critic_filters=self.critic_filters,
        )
        if self.window is not None:
            check_positive(window=min(self.window))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From two packed stores to a trained pair of flows.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote.
    out : Path
        The run directory; the trained model goes to its folder `pretrained`.
    resume : bool
        Go on with the run in this directory.
    field, flow, objective, fit, split, runtime
        The parts. The factor is the prepared one.
    """

    prepared: str = positional("runs/climalign/prepared")
    out: Path = Path("runs/climalign/train")
    resume: bool = False
    field: FieldConfig = FieldConfig()
    flow: FlowConfig = FlowConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    fit: FitConfig = FitConfig()
    split: SplitConfig = SplitConfig()
    runtime: Runtime = Runtime()
