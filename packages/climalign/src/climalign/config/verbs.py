"""What the other verbs take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from climalign.config.model import FieldConfig, FlowConfig, SamplingConfig
from climalign.config.training import FitConfig, ObjectiveConfig, Period, SplitConfig
from isopleth.config import BaseDemoConfig, check_choice, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """From coarse and fine files to two packed stores on grids that nest.

    Parameters
    ----------
    coarse, fine : str
        Files, globs, folders or URLs.
    variable : str
        Canonical name of the variable in both, or one for each as coarse,fine.
    region : (float, float, float, float), optional
        South, north, west and east edge in degrees; all of the fine grid by default.
    factor : int
        Fine cells along a side of a coarse one.
    resolution : float, optional
        Bring the fine fields to a regular grid of so many degrees; needed for grids with 2-D coordinates.
    align : {"regrid", "strict"}
        What to do with a coarse grid that the fine one does not divide: interpolate it, or refuse it.
    train_coarse, train_fine : (str, str)
        Where the stores' statistics are fitted.
    data : {"real", "simulated"}
        Whether nature or a program made the fine fields: every report says so.
    out : Path
    chunk_days : int
        Time steps that are worked on at once.
    scheduler : str, optional
        Address of a dask.distributed scheduler.
    """

    coarse: str = positional()
    fine: str = positional()
    variable: str = "maximum_2m_temperature"
    region: tuple[float, float, float, float] | None = None
    factor: int = 4
    resolution: float | None = None
    align: Literal["regrid", "strict"] = "regrid"
    train_coarse: Period = ("1979", "1998")
    train_fine: Period = ("1979", "1998")
    data: Literal["real", "simulated"] = "real"
    out: Path = Path("runs/climalign/prepared")
    chunk_days: int = 365
    scheduler: str | None = None

    def __post_init__(self) -> None:
        check_positive(resolution=self.resolution, chunk_days=self.chunk_days)
        check_choice("align", self.align, ("regrid", "strict"))
        check_choice("data", self.data, ("real", "simulated"))
        if self.factor < 2:
            raise ConfigError(f"factor must be at least 2, got {self.factor}")


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """From coarse files and a trained model to fine fields, or the other way.

    Parameters
    ----------
    source : str
        Coarse fields (or fine ones for the direction `upscale`).
    model : str
        A pretrained folder, or a hub id.
    out : Path
        A zarr store, or a NetCDF file by the ending .nc.
    direction : {"downscale", "upscale"}
    period : (str, str), optional
    density : bool
        Add the log-density of each input field, in nats.
    chunk_days : int
        Days that are in memory at once.
    sampling : SamplingConfig
    scheduler : str, optional
        Address of a dask.distributed scheduler.
    """

    source: str = positional()
    model: str = "runs/climalign/train/pretrained"
    out: Path = Path("runs/climalign/fine.zarr")
    direction: Literal["downscale", "upscale"] = "downscale"
    period: Period | None = None
    density: bool = False
    chunk_days: int = 30
    sampling: SamplingConfig = SamplingConfig()
    scheduler: str | None = None

    def __post_init__(self) -> None:
        check_choice("direction", self.direction, ("downscale", "upscale"))
        check_positive(chunk_days=self.chunk_days)


@dataclass(frozen=True, kw_only=True)
class BmdConfig:
    """The supervised network (Baño-Medina et al. 2020): 50-25-10 filters and a dense head.

    Parameters
    ----------
    filters : tuple of int
    epochs, batch_size : int
    learning_rate : float
    """

    filters: tuple[int, ...] = (50, 25, 10)
    epochs: int = 50
    batch_size: int = 100
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        check_positive(
            filters=min(self.filters, default=0),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """What the flows are compared with.

    Parameters
    ----------
    paired : (str, str), optional
        Days on which the supervised network is trained: coarse and fine must both be known there. Without
        them it is left out.
    bmd : BmdConfig
    quantiles : int
        Of each calendar month, in quantile mapping and BCSD.
    """

    paired: Period | None = None
    bmd: BmdConfig = BmdConfig()
    quantiles: int = 50

    def __post_init__(self) -> None:
        check_positive(quantiles=self.quantiles)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Score a trained model on days where coarse and fine are both known, beside baselines.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote.
    model : str
        A pretrained folder.
    out : Path
        The run directory for evaluation.json, figures and report.html.
    split, sampling, baselines
        The parts.
    """

    prepared: str = positional("runs/climalign/prepared")
    model: str = "runs/climalign/train/pretrained"
    out: Path = Path("runs/climalign/evaluate")
    split: SplitConfig = SplitConfig()
    sampling: SamplingConfig = SamplingConfig()
    baselines: BaselineConfig = BaselineConfig()


@dataclass(frozen=True, kw_only=True)
class CrossvalidateConfig:
    """Train and score on rolling folds: each tests days that come after all that it has learned from.

    Parameters
    ----------
    prepared : str
        What `prepare` wrote; days that both sides have are divided into folds.
    out : Path
        The run directory: a training in each folder fold-N, one report of all.
    resume : bool
        Go on with what was begun there.
    folds, test_days : int
        The last ``folds * test_days`` days are tested, each once (published: 5 and 146).
    validate_days : int
        Last days before a test, which choose the weights.
    embargo_days : int
        Days left out before each test.
    supervised : bool
        Train the supervised network too, on the pairs of each fold's training days.
    field, flow, objective, fit, sampling, runtime
        The parts, as in training and evaluation.
    bmd : BmdConfig
    quantiles : int
    """

    prepared: str = positional("runs/climalign/prepared")
    out: Path = Path("runs/climalign/crossvalidate")
    resume: bool = False
    folds: int = 5
    test_days: int = 146
    validate_days: int = 365
    embargo_days: int = 5
    supervised: bool = True
    field: FieldConfig = FieldConfig()
    flow: FlowConfig = FlowConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    fit: FitConfig = FitConfig()
    sampling: SamplingConfig = SamplingConfig()
    runtime: Runtime = Runtime()
    bmd: BmdConfig = BmdConfig()
    quantiles: int = 50

    def __post_init__(self) -> None:
        check_positive(folds=self.folds, test_days=self.test_days, validate_days=self.validate_days)
        check_positive(quantiles=self.quantiles)
        if self.embargo_days < 0:
            raise ConfigError(f"embargo_days must not be below 0, got {self.embargo_days}")


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """The generated world of the demo.

    Parameters
    ----------
    rows, columns : int
        Fine cells.
    factor : int
    train_years : int
        Of the coarse twin, and as many others of the fine fields; the supervised baseline gets pairs of the
        latter.
    validate_years, test_years : int
    """

    rows: int = 32
    columns: int = 32
    factor: int = 4
    train_years: int = 5
    validate_years: int = 1
    test_years: int = 2

    def __post_init__(self) -> None:
        check_positive(train_years=self.train_years, validate_years=self.validate_years)
        check_positive(test_years=self.test_years, rows=self.rows, columns=self.columns)
        if self.rows % self.factor or self.columns % self.factor:
            raise ConfigError(f"rows and columns must be multiples of {self.factor}")


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """The main job on a generated world whose fine fields are known."""

    out: Path = Path("runs/demo/climalign")
