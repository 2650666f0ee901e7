"""What can be set, and what it must be. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isopleth.config import BaseDemoConfig, check_choice, check_fraction, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.sealevel.settings import PreparationConfig, PreparationSettings, check_formats
from isopleth.train.fully_connected import FullyConnectedConfig, TogetherConfig
from isopleth.train.runtime import Runtime

PREPARED = "runs/sealevel-projection/prepared.zarr"
PRETRAINED = "runs/sealevel-projection/train/pretrained"
_SHAPE = FullyConnectedConfig(hidden=(64, 32), dropout=0.1)
# Few passes and a strong penalty: chosen by perfect-model tests, see configs/demo.yaml.
_FIT = TogetherConfig(epochs=5, batch_size=512, learning_rate=5e-4, l2=1e-2)
_SETTINGS = PreparationSettings(members="keep", last_year=2049)


@dataclass(frozen=True, kw_only=True)
class PeriodConfig:
    """Which years are learned from and which are projected; all whole, both ends included.

    Parameters
    ----------
    first_year, last_year : int
        Of the hindcast that the networks learn from.
    until : int
        Last projected year.
    """

    first_year: int = 1993
    last_year: int = 2019
    until: int = 2049

    def __post_init__(self) -> None:
        if not self.first_year + 3 <= self.last_year < self.until:
            raise ConfigError(
                "first_year, last_year and until must rise, with four years at least to learn from, got "
                f"{self.first_year}, {self.last_year}, {self.until}"
            )


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """What a network sees of a cell at a time.

    Parameters
    ----------
    signals : tuple of str
        Ensembles to learn from, by their names in the prepared dataset; all of them by default. Those of
        single forcings make the contribution of each forcing readable.
    reference : {"mean", "line"}
        What is taken from each cell of every model and of the altimeter: its mean over the hindcast, or its
        straight line, carried on. With the line the networks learn only departures from a steady trend, which
        lie nearer to what they were trained on, and the observed line is put back.
    global_mean : {"remove", "keep", "add_back"}
        Of altimeter and models: learn departures from it; learn it too, though most models lack it and no
        network can know how it goes on; or learn departures and put the observed mean's straight line back.
    around : {"ensemble_mean", "zero"}
        What the networks correct: the equal-weight mean of the fully forced signals, or nothing (they give
        the sea level itself, as published). Where they know nothing they give what they are around.
    place : bool
        Whether the networks also see where a cell is (sine of latitude, sine and cosine of longitude). Off:
        with it a network can learn the map by heart, which random folds would reward.
    season : bool
        Whether they see the month (its sine and cosine); for monthly values.
    """

    signals: tuple[str, ...] = ()
    reference: Literal["mean", "line"] = "mean"
    global_mean: Literal["remove", "keep", "add_back"] = "remove"
    around: Literal["ensemble_mean", "zero"] = "ensemble_mean"
    place: bool = False
    season: bool = False

    def __post_init__(self) -> None:
        check_choice("reference", self.reference, ("mean", "line"))
        check_choice("global_mean", self.global_mean, ("remove", "keep", "add_back"))
        check_choice("around", self.around, ("ensemble_mean", "zero"))
        if len(set(self.signals)) < len(self.signals):
            raise ConfigError(f"signals must each be named once, got {', '.join(self.signals)}")


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How the ocean is divided; each segment gets networks of its own.

    Parameters
    ----------
    method : {"spectral", "basins", "none", "file"}
        Spectral clusters of the models' hindcasts, expert basins, one ocean, or labels from a NetCDF file.
    clusters : int
        Number of spectral clusters.
    file : Path, optional
        Integer labels on the prepared grid, -1 outside; the file's only variable.
    seed : int
        Of the clustering.
    blend_km : float
        Over what distance neighbouring segments' networks are mixed; 0 leaves hard seams.
    """

    method: Literal["spectral", "basins", "none", "file"] = "spectral"
    clusters: int = 5
    file: Path | None = None
    seed: int = 0
    blend_km: float = 400.0

    def __post_init__(self) -> None:
        check_choice("method", self.method, ("spectral", "basins", "none", "file"))
        check_positive(clusters=self.clusters)
        if (self.method == "file") != (self.file is not None):
            raise ConfigError(f"file must come with method file alone, got {self.file} with {self.method}")
        if self.blend_km < 0:
            raise ConfigError(f"blend_km must be at least 0, got {self.blend_km}")


@dataclass(frozen=True, kw_only=True)
class LearnConfig:
    """The networks and how they are fitted.

    Parameters
    ----------
    shape : FullyConnectedConfig
    fit : TogetherConfig
    ensemble : int
        Networks a segment, which differ by their seed: a deep ensemble.
    seed : int
        Of the first network.
    """

    shape: FullyConnectedConfig = _SHAPE
    fit: TogetherConfig = _FIT
    ensemble: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(ensemble=self.ensemble)
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")


@dataclass(frozen=True, kw_only=True)
class IntervalConfig:
    """How intervals are made: by the errors of perfect-model tests, lead by lead.

    Parameters
    ----------
    level : float
        Share of the truth that they shall cover, in (0, 1).
    window : int
        Years on either side of a lead whose errors count with it.
    """

    level: float = 0.9
    window: int = 2

    def __post_init__(self) -> None:
        check_fraction(level=self.level)
        if not 0 < self.level < 1:
            raise ConfigError(f"level must lie between 0 and 1, both excluded, got {self.level}")
        if self.window < 0:
            raise ConfigError(f"window must be at least 0, got {self.window}")


@dataclass(frozen=True, kw_only=True)
class SkillConfig:
    """How skill is measured.

    Parameters
    ----------
    folds : int
        Folds of space; the last years are held out in all of them.
    buffer_km, block_km : float
        Distance between training and test cells, and width of the blocks.
    last_years : int
        Years at the end of the hindcast that are only tested on.
    embargo_years : int
        Years before those that nothing learns from.
    random_folds : bool
        Also show what folds at random would claim.
    trees : int
        Of the random forest; 0 leaves it out.
    """

    folds: int = 5
    buffer_km: float = 500.0
    block_km: float = 2000.0
    last_years: int = 7
    embargo_years: int = 1
    random_folds: bool = True
    trees: int = 30

    def __post_init__(self) -> None:
        check_positive(folds=self.folds, block_km=self.block_km, last_years=self.last_years)
        if self.folds < 2:
            raise ConfigError(f"folds must be at least 2, got {self.folds}")
        for name in ("buffer_km", "embargo_years", "trees"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class AttributionConfig:
    """How contributions of signals are measured.

    Parameters
    ----------
    exact_up_to : int
        Up to so many signals all coalitions are computed (2 to the power of their number); beyond, Shapley
        values are estimated from permutations.
    permutations : int
        Permutations of signals, where they are estimated, and repeats of the permutation importance.
    seed : int
    """

    exact_up_to: int = 10
    permutations: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(exact_up_to=self.exact_up_to, permutations=self.permutations)


@dataclass(frozen=True, kw_only=True)
class ProjectionConfig:
    """All that decides what is learned."""

    period: PeriodConfig = PeriodConfig()
    inputs: InputConfig = InputConfig()
    segments: SegmentConfig = SegmentConfig()
    learn: LearnConfig = LearnConfig()
    intervals: IntervalConfig = IntervalConfig()


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(PreparationConfig):
    """From folders of model runs and altimetry to one dataset on one grid."""

    out: Path = Path(PREPARED)
    settings: PreparationSettings = _SETTINGS


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From a prepared dataset to trained networks.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote.
    out : Path
        The run directory; the networks go to its folder `pretrained`.
    resume : bool
        Go on with the run in this directory.
    projection : ProjectionConfig
    runtime : Runtime
    """

    prepared: str = positional(PREPARED)
    out: Path = Path("runs/sealevel-projection/train")
    resume: bool = False
    projection: ProjectionConfig = ProjectionConfig()
    runtime: Runtime = Runtime(accelerator="cpu")


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """From trained networks to a projection.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote: the same ensembles, hindcast and projection.
    model : str
        A pretrained folder, or a hub id.
    out : Path
        Folder for the projection, its table of cities, its summary and its report.
    formats : tuple of {"netcdf", "zarr", "geotiff"}
        GeoTIFF holds the maps of the trend, not the values of each year.
    kind : {"real", "simulated"}
        What the report is to say of the data.
    attribution : AttributionConfig
    """

    prepared: str = positional(PREPARED)
    model: str = PRETRAINED
    out: Path = Path("runs/sealevel-projection/predict")
    formats: tuple[str, ...] = ("netcdf",)
    kind: Literal["real", "simulated"] = "real"
    attribution: AttributionConfig = AttributionConfig()

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("real", "simulated"))
        check_formats(self.formats)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """From a prepared dataset to scores and a report; networks are trained for every fold.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote.
    out : Path
        The run directory for evaluation.json, figures and report.html.
    projection : ProjectionConfig
        As for `train`.
    test : SkillConfig
    attribution : AttributionConfig
    kind : {"real", "simulated"}
        What the report is to say of the data.
    runtime : Runtime
    """

    prepared: str = positional(PREPARED)
    out: Path = Path("runs/sealevel-projection/evaluate")
    projection: ProjectionConfig = ProjectionConfig()
    test: SkillConfig = SkillConfig()
    attribution: AttributionConfig = AttributionConfig()
    kind: Literal["real", "simulated"] = "real"
    runtime: Runtime = Runtime(accelerator="cpu")

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("real", "simulated"))


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """The main job on simulated oceans whose future is known; the seed is added to the first world's, 100."""

    out: Path = Path("runs/demo/sealevel-projection")
