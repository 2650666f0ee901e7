"""Settings of the verbs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conservation_decisions.config.problem import ProblemConfig, SolverConfig
from isopleth.config import BaseDemoConfig, check_choice, check_fraction, check_positive, positional
from isopleth.errors import ConfigError

FORMATS = ("csv", "geotiff", "gpkg", "geojson", "zarr")
_SHORTFALL = ProblemConfig(objective="min_shortfall", budget_share=0.3)


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What is written, and how exactly places are told.

    Parameters
    ----------
    formats : tuple of {"csv", "geotiff", "gpkg", "geojson", "zarr"}
        GeoTIFF needs units on a grid, GeoPackage and GeoJSON units with shapes.
    coarsen_m : float
        Side of the squares into which every output is averaged before it is written, so that sensitive places
        cannot be read off; 0 for the units themselves.
    maps : bool
        Draw maps beside the files, where units have centres.
    """

    formats: tuple[str, ...] = ("csv",)
    coarsen_m: float = 0.0
    maps: bool = True

    def __post_init__(self) -> None:
        for one in self.formats:
            check_choice("formats", one, FORMATS)
        if self.coarsen_m < 0:
            raise ConfigError(f"coarsen_m must not be below 0, got {self.coarsen_m}")


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Look for what is wrong with a landscape and a problem before it is solved.

    Parameters
    ----------
    source : str
        A landscape (.zarr or .nc), a Marxan folder, a folder of GeoTIFFs, or a vector file.
    problem, solver
        What would be solved.
    """

    source: str = positional()
    problem: ProblemConfig = ProblemConfig()
    solver: SolverConfig = SolverConfig()


@dataclass(frozen=True, kw_only=True)
class AllocateConfig:
    """Choose units.

    Parameters
    ----------
    source : str
        A landscape (.zarr or .nc), a Marxan folder, a folder of GeoTIFFs, or a vector file.
    out : Path
        The folder for results.
    portfolio : int
        Distinct near-optimal answers to look for beside the best.
    distinct : float
        Share of the chosen units in which two of them must differ.
    slack : float
        How much worse than the best they may be, as a share.
    importance : bool
        Work out replacement costs and rank importance of the chosen units.
    annealing : bool
        Compare with simulated annealing (minimum set).
    problem, solver, output
        The parts.
    """

    source: str = positional()
    out: Path = Path("runs/conservation-decisions/allocate")
    portfolio: int = 0
    distinct: float = 0.1
    slack: float = 0.05
    importance: bool = False
    annealing: bool = False
    problem: ProblemConfig = ProblemConfig()
    solver: SolverConfig = SolverConfig()
    output: OutputConfig = OutputConfig()

    def __post_init__(self) -> None:
        if self.portfolio < 0:
            raise ConfigError(f"portfolio must not be below 0, got {self.portfolio}")
        check_fraction(distinct=self.distinct)
        if self.slack < 0:
            raise ConfigError(f"slack must not be below 0, got {self.slack}")


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Route patrols, or place monitoring sites.

    Parameters
    ----------
    source : str
        A landscape with `threat`, the chance that something happens in a unit in the season.
    out : Path
        The folder for results.
    kind : {"routes", "regret", "monitoring"}
        Routes by the expected detections; by the largest regret over the members; or monitoring sites that
        tell most about a smooth field.
    post : int
        Number of the unit at which patrols start and end; the one in the middle by default (-1).
    patrols, steps : int
        How many, and for how many steps of time each is out.
    step_minutes : float
        Length of a step.
    speed_kmh : float
        Of a patrol, between the centres of units that touch; ways are rounded up to whole steps. With 0 every
        move takes one step.
    rate : float
        Detection rate of one step of effort: what is there is found with probability 1 - exp(-rate x effort).
    sites : int
        To monitor.
    range_m : float
        Distance over which the monitored field is alike.
    noise : float
        Variance of an observation, as a share of the field's.
    solver, output
        The parts.
    """

    source: str = positional()
    out: Path = Path("runs/conservation-decisions/plan")
    kind: Literal["routes", "regret", "monitoring"] = "routes"
    post: int = -1
    patrols: int = 2
    steps: int = 10
    step_minutes: float = 30.0
    speed_kmh: float = 4.0
    rate: float = 0.7
    sites: int = 10
    range_m: float = 5000.0
    noise: float = 0.1
    solver: SolverConfig = SolverConfig(seconds=60.0)
    output: OutputConfig = OutputConfig()

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("routes", "regret", "monitoring"))
        for name in ("patrols", "steps", "step_minutes", "rate", "sites", "range_m", "noise"):
            check_positive(**{name: getattr(self, name)})
        if not self.speed_kmh >= 0:
            raise ConfigError(f"speed_kmh must not be below 0, got {self.speed_kmh}")


@dataclass(frozen=True, kw_only=True)
class InterveneConfig:
    """Decide year after year: a decision process, a partially observed one, or many sites at once.

    Parameters
    ----------
    source : str
        A NetCDF file or zarr store with `transition` and `reward`, and where states are not seen
        `observation_chance` and `start`; with a dimension `arm` a restless bandit. Or a landscape with
        `threat`, whose units decay and are repaired.
    out : Path
        The folder for results.
    discount : float
        Of one year to the next, where the source does not say.
    budget : int
        Sites acted on a year.
    repair : float
        Chance that acting mends a site of a landscape.
    precision : float
        How far apart the bounds of a partially observed process may stay, as a share of its value.
    seconds : float
        Time limit.
    output : OutputConfig
    """

    source: str = positional()
    out: Path = Path("runs/conservation-decisions/intervene")
    discount: float = 0.95
    budget: int = 5
    repair: float = 0.6
    precision: float = 0.001
    seconds: float = 60.0
    output: OutputConfig = OutputConfig()

    def __post_init__(self) -> None:
        if not 0 < self.discount < 1:
            raise ConfigError(f"discount must lie between 0 and 1, got {self.discount}")
        check_fraction(repair=self.repair)
        check_positive(budget=self.budget, precision=self.precision, seconds=self.seconds)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Say what decisions are worth under uncertain predictions.

    Parameters
    ----------
    source : str
        A landscape with members.
    out : Path
        The run directory for evaluation.json, figures and report.html.
    held_out : {"members", "years", "space"}
        What no decision has seen: every second member, the members of the last years, or blocks of space.
    block_m : float
        Side of those blocks.
    level : float
        Of CVaR.
    core : float
        Share of the members in whose own best answers a unit of the no-regret core must be.
    change : float
        By what share the sensitivity analysis moves each assumption.
    seed : int
    problem, solver, output
        The parts.
    """

    source: str = positional()
    out: Path = Path("runs/conservation-decisions/evaluate")
    held_out: Literal["members", "years", "space"] = "members"
    block_m: float = 8000.0
    level: float = 0.8
    core: float = 0.9
    change: float = 0.2
    seed: int = 0
    problem: ProblemConfig = _SHORTFALL
    solver: SolverConfig = SolverConfig(seconds=60.0)
    output: OutputConfig = OutputConfig()

    def __post_init__(self) -> None:
        check_choice("held_out", self.held_out, ("members", "years", "space"))
        check_positive(block_m=self.block_m)
        check_fraction(level=self.level, core=self.core, change=self.change)
        if self.problem.objective not in ("min_shortfall", "min_largest_shortfall", "max_utility"):
            raise ConfigError(
                "objective must be min_shortfall, min_largest_shortfall or max_utility to be evaluated, "
                f"got {self.problem.objective!r}"
            )
        if not self.problem.has_budget:
            raise ConfigError("a budget or budget_share must be given, got none")


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Read a Marxan folder, GeoTIFFs or a vector file, and keep it as one landscape.

    Parameters
    ----------
    source : str
        The folder or file.
    out : Path
        The landscape: a zarr store, or a NetCDF file by the ending .nc.
    """

    source: str = positional()
    out: Path = Path("runs/conservation-decisions/landscape.zarr")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a landscape as a Marxan folder.

    Parameters
    ----------
    source : str
        The landscape.
    out : Path
        The folder.
    target : float, optional
        Share of each feature's total; by default the landscape's own targets.
    """

    source: str = positional()
    out: Path = Path("runs/conservation-decisions/marxan")
    target: float | None = None

    def __post_init__(self) -> None:
        check_fraction(target=self.target)


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """Allocate, plan, intervene and evaluate on generated landscapes whose truth is known."""

    out: Path = Path("runs/demo/conservation-decisions")
