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

GlobalMean = Literal["keep", "remove", "add_back"]
Kind = Literal["spectral", "basins", "none"]
PARTITIONS: tuple[Kind, ...] = ("spectral", "basins", "none")
# The paper's smaller network; what it does not state is the core's choice.
_NETWORK, _FIT = FullyConnectedConfig(), TogetherConfig()


@dataclass(frozen=True, kw_only=True)
class PeriodConfig:
    """The years that are learned from, and those that are predicted.

    Parameters
    ----------
    past : (int, int)
        First and last year of the trends that train, both whole and included.
    future : (int, int)
        Of the trends that are predicted; it begins after `past` has ended.
    """

    past: tuple[int, int] = (1993, 2022)
    future: tuple[int, int] = (2023, 2052)

    def __post_init__(self) -> None:
        for name, (first, last) in (("past", self.past), ("future", self.future)):
            if last - first < 9:
                raise ConfigError(f"{name} must be at least 10 years, got {first} to {last}")
        if self.future[0] <= self.past[1]:
            raise ConfigError(
                f"future must begin after past has ended, got {self.future[0]} and {self.past[1]}"
            )


@dataclass(frozen=True, kw_only=True)
class PartitionConfig:
    """How the ocean is cut into segments, each with networks of its own.

    Parameters
    ----------
    kind : {"spectral", "basins", "none"}
        Spectral clustering of how the models' sea level varies in the past years (never the altimeter's);
        the basins that oceanographers draw; or one segment.
    clusters : int
        Of spectral clustering.
    members : int
        Members of each model whose series are clustered.
    neighbours, components : int
        Of the clustering's graph; see `isopleth.fields.cluster_regions`. Few neighbours or many components
        find enclosed seas instead of patterns of variability.
    seams : {"report", "blend"}
        Leave the steps where segments meet and report them, or blend neighbours' networks by soft membership.
    blend_km : float
        Over what distance from a seam `blend` mixes.
    seed : int
    """

    kind: Kind = "spectral"
    clusters: int = 5
    members: int = 2
    neighbours: int = 50
    components: int = 10
    seams: Literal["report", "blend"] = "report"
    blend_km: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, PARTITIONS)
        check_choice("seams", self.seams, ("report", "blend"))
        for name in ("clusters", "members", "neighbours", "components", "blend_km"):
            check_positive(**{name: getattr(self, name)})


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """How many networks, and how they are stopped.

    Parameters
    ----------
    seeds : int
        Networks of each segment in the model that predicts: a deep ensemble.
    passes : int
        Monte-Carlo dropout passes of each network.
    validation : float
        Share of the training blocks, other ones for each seed, that choose a network's best weights; 0 keeps
        the last ones.
    block_km : float
        Width of those blocks.
    """

    seeds: int = 5
    passes: int = 20
    validation: float = 0.2
    block_km: float = 2000.0

    def __post_init__(self) -> None:
        check_positive(seeds=self.seeds, passes=self.passes, block_km=self.block_km)
        if not 0 <= self.validation <= 0.5:
            raise ConfigError(f"validation must lie in [0, 0.5], got {self.validation}")


@dataclass(frozen=True, kw_only=True)
class FoldConfig:
    """Folds of space: the default test, and the source of the intervals.

    Parameters
    ----------
    folds : int
    buffer_km : float
        Least distance of a training from a test cell.
    size_km : float
        Side of the tiles that are held out.
    seed : int
        Of the dealing of tiles.
    """

    folds: int = 5
    buffer_km: float = 500.0
    size_km: float = 3000.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(size_km=self.size_km)
        if self.folds < 2 or self.buffer_km < 0:
            raise ConfigError(
                f"folds must be at least 2 and buffer_km not below 0, got {self.folds} and {self.buffer_km}"
            )


@dataclass(frozen=True, kw_only=True)
class LearningConfig:
    """Everything that a trained model follows from, besides its data.

    Parameters
    ----------
    period : PeriodConfig
    global_mean : {"keep", "remove", "add_back"}
        Learn trends as they are; or departures from the ocean's mean trend, and predict those; or learn
        departures, and add the observed mean trend of the past years to what is predicted.
    level : float
        Nominal coverage of the intervals.
    calibration : {"perfect_models", "blocks"}
        What makes intervals wide enough: errors of the future of models taken for the truth in turn, which
        hold what changes between past and future; or errors of the past on blocks of ocean held out.
    partition, network, fit, ensemble, folds
        The parts.
    """

    period: PeriodConfig = PeriodConfig()
    global_mean: GlobalMean = "remove"
    level: float = 0.9
    calibration: Literal["perfect_models", "blocks"] = "perfect_models"
    partition: PartitionConfig = PartitionConfig()
    network: FullyConnectedConfig = _NETWORK
    fit: TogetherConfig = _FIT
    ensemble: EnsembleConfig = EnsembleConfig()
    folds: FoldConfig = FoldConfig()

    def __post_init__(self) -> None:
        check_choice("global_mean", self.global_mean, ("keep", "remove", "add_back"))
        check_choice("calibration", self.calibration, ("perfect_models", "blocks"))
        check_fraction(level=self.level)
        if not 0 < self.level < 1:
            raise ConfigError(f"level must lie between 0 and 1, got {self.level}")


# Every member is kept for the perfect-model test, and the global mean for `LearningConfig.global_mean`.
_SETTINGS = PreparationSettings(members="keep", global_mean="keep")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(PreparationConfig):
    """From folders of model runs and altimetry to one dataset on one grid."""

    out: Path = Path("runs/sealevel-trend/prepared.zarr")
    settings: PreparationSettings = _SETTINGS


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From prepared fields to a trained model.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote.
    out : Path
        The run directory; the trained model goes to its folder `pretrained`.
    resume : bool
        Go on with the run in this directory.
    learning, runtime
    """

    prepared: str = positional()
    out: Path = Path("runs/sealevel-trend/train")
    resume: bool = False
    learning: LearningConfig = LearningConfig()
    runtime: Runtime = Runtime()


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """From prepared fields and a trained model to maps, tables and a report.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote, with the years of the future.
    model : str
        A pretrained folder, or a hub id.
    out : Path
        The folder for the prediction.
    formats : tuple of {"netcdf", "zarr", "geotiff"}
    cities : tuple of str
        Coastal cities of the table; all known ones by default.
    kind : {"real", "simulated"}
        What the report is to say of the data.
    """

    prepared: str = positional()
    model: str = "runs/sealevel-trend/train/pretrained"
    out: Path = Path("runs/sealevel-trend/predict")
    formats: tuple[str, ...] = ("netcdf",)
    cities: tuple[str, ...] = ()
    kind: Literal["real", "simulated"] = "real"

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("real", "simulated"))
        check_formats(self.formats)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """From prepared fields to tests of the method, beside baselines.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote.
    out : Path
        The run directory for evaluation.json, figures and report.html.
    seeds : int
        Networks of each segment in every test.
    null_draws : int
        How often the predictors are randomised in the null test.
    trees : int
        Of the random forest.
    siblings : bool
        Whether models of the truth's own family are among the inputs of the perfect-model test.
    kind : {"real", "simulated"}
        What the report is to say of the data.
    learning, runtime
    """

    prepared: str = positional()
    out: Path = Path("runs/sealevel-trend/evaluate")
    seeds: int = 1
    null_draws: int = 1
    trees: int = 200
    siblings: bool = False
    kind: Literal["real", "simulated"] = "real"
    learning: LearningConfig = LearningConfig()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("real", "simulated"))
        check_positive(seeds=self.seeds, null_draws=self.null_draws, trees=self.trees)


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """The generated world of the demo.

    Parameters
    ----------
    members : int
        Of each of the six large ensembles.
    source_deg : float
        Resolution of the generated files.
    target_deg : float
        Of the common grid.
    """

    members: int = 3
    source_deg: float = 3.0
    target_deg: float = 4.0

    def __post_init__(self) -> None:
        check_positive(members=self.members, source_deg=self.source_deg, target_deg=self.target_deg)


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """The main job on generated worlds whose future is known."""

    out: Path = Path("runs/demo/sealevel-trend")
