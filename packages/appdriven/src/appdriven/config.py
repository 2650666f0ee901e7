"""What the verbs take. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isopleth.config import BaseDemoConfig, check_fraction, check_positive, positional
from isopleth.errors import ConfigError

Profile = Literal["use-inspired", "reforms", "dome"]
#: Fields of more cells than this, times included, are read some times at a time.
IN_MEMORY = 2_000_000


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """A new declaration.

    Parameters
    ----------
    out : Path
        Where it goes; an existing file is kept unless `force`.
    answers : tuple of str
        ``task.decision=...`` and so on, for any key.
    ask : bool
        Ask for what is missing, on a terminal.
    force : bool
        Overwrite.
    """

    out: Path = Path("application.toml")
    answers: tuple[str, ...] = ()
    ask: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for answer in self.answers:
            if "=" not in answer:
                raise ConfigError(f"answers must be key=value, got {answer!r}")


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """A look at a declaration, and at data if they are given.

    Parameters
    ----------
    application : Path
        ``application.toml``.
    data : Path, optional
        The data that it declares: columns and fingerprint are checked.
    """

    application: Path = positional()
    data: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """A split, and its audit.

    Parameters
    ----------
    application : Path
    data : Path, optional
        Required.
    out : Path
        A folder for ``folds.csv`` (row, fold, side) and ``audit.json``.
    window : str, optional
        What a sample covers from its time on, such as ``24h``, to look for overlaps.
    statistics : Path, optional
        JSON of feature to mean and std, as features were scaled, to look for what was fitted on the test.
    """

    application: Path = positional()
    data: Path | None = None
    out: Path = Path("runs/split")
    window: str | None = None
    statistics: Path | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """An evaluation.

    Parameters
    ----------
    source : Path
        ``application.toml``; or, with `tool`, a run directory of that tool.
    tool : str, optional
        Make the card of this tool's run from its ``evaluation.json``, or from `data` and `predictions` by
        its declaration; ``any`` for whatever tool it is of.
    data : Path, optional
        Samples: CSV, Parquet, NetCDF or zarr.
    predictions : Path, optional
        Their predictions, in any of these formats.
    learner : str, optional
        Instead of predictions: ``module:function`` that takes training and test tables.
    statistics : Path, optional
        JSON of feature to mean and std, as features were scaled, to look for what was fitted on the test.
    train_seconds, predict_seconds, memory_mb : float
        What the model took, to hold against the budget; 0 for what nobody measured. A learner is measured.
    parameters : int
        Of the model.
    in_memory : int
        Fields of more cells than this, times included, are read some times at a time.
    out : Path, optional
        Where the card goes; by default runs/card, or the run directory itself.
    """

    source: Path = positional()
    tool: str | None = None
    data: Path | None = None
    predictions: Path | None = None
    learner: str | None = None
    statistics: Path | None = None
    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    memory_mb: float = 0.0
    parameters: int = 0
    in_memory: int = IN_MEMORY
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.predictions is not None and self.learner is not None:
            raise ConfigError("predictions and learner must not be given together, got both")
        if self.tool is not None and self.learner is not None:
            raise ConfigError("tool and learner must not be given together, got both")
        for name in ("train_seconds", "predict_seconds", "memory_mb", "parameters", "in_memory"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Two cards.

    Parameters
    ----------
    before, after : Path
        ``card.json``, or folders that hold one.
    tolerance : float
        Share of a score that may be lost.
    """

    before: Path = positional()
    after: Path = positional()
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        check_fraction(tolerance=self.tolerance)


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """A card, written anew.

    Parameters
    ----------
    card : Path
        ``card.json``, or a folder that holds one.
    out : Path, optional
        Where page, JSON and Markdown go; beside the card by default.
    """

    card: Path = positional()
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """A reviewer's checklist of a card.

    Parameters
    ----------
    card : Path
    profile : str
    """

    card: Path = positional()
    profile: Profile = "use-inspired"


@dataclass(frozen=True, kw_only=True)
class AssertConfig:
    """An assertion about a card.

    Parameters
    ----------
    card : Path
    expression : str
        Such as ``rmse_skill_vs_persistence > 0.1``.
    """

    card: Path = positional()
    expression: str = positional()


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """The model that the demo judges, the same one on every split.

    Parameters
    ----------
    trees : int
        Of the forest of extremely randomised trees.
    least_leaf : int
        Samples in a leaf.
    """

    trees: int = 30
    least_leaf: int = 2

    def __post_init__(self) -> None:
        check_positive(trees=self.trees, least_leaf=self.least_leaf)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """How much of the best tracks the demo takes.

    Parameters
    ----------
    seasons : (int, int)
        First and last season that models are developed on.
    deployed_until : int
        Last of the later seasons, on which they are then used.
    every : int
        Take every so many of the storms.
    folds : int
    seeds : int
        Forests, and dealings of folds, that are averaged.
    block_km : float
        Of the folds in space.
    draws : int
        Of the bootstrap.
    learner : LearnerConfig
    """

    seasons: tuple[int, int] = (2005, 2017)
    deployed_until: int = 2024
    every: int = 2
    folds: int = 5
    seeds: int = 1
    block_km: float = 1500.0
    draws: int = 1000
    learner: LearnerConfig = LearnerConfig()

    def __post_init__(self) -> None:
        check_positive(every=self.every, seeds=self.seeds, draws=self.draws, block_km=self.block_km)
        if not self.seasons[0] < self.seasons[1] < self.deployed_until:
            raise ConfigError(
                f"seasons must come before deployed_until, got {self.seasons} and {self.deployed_until}"
            )
        if self.folds < 2:
            raise ConfigError(f"folds must be at least 2, got {self.folds}")


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """Random folds beside folds by storm, season and place, and then what later seasons deliver."""

    out: Path = Path("runs/demo/appdriven")
