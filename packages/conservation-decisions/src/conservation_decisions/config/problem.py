"""Settings of the allocation problem, of its solver, and of the generated landscape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isopleth.config import check_choice, check_fraction, check_positive
from isopleth.errors import ConfigError

Objective = Literal["min_set", "max_coverage", "min_shortfall", "min_largest_shortfall", "max_utility"]
OBJECTIVES: tuple[Objective, ...] = (
    "min_set",
    "max_coverage",
    "min_shortfall",
    "min_largest_shortfall",
    "max_utility",
)
Attitude = Literal["mean", "expected", "chance", "cvar"]
ATTITUDES: tuple[Attitude, ...] = ("mean", "expected", "chance", "cvar")


@dataclass(frozen=True, kw_only=True)
class UncertaintyConfig:
    """How the members of an uncertain prediction enter the decision.

    Parameters
    ----------
    attitude : {"mean", "expected", "chance", "cvar"}
        Take the mean map for the truth; optimise the mean of the objective over the members; meet each target
        in a share `level` of the members (minimum set only); or guard against the mean of the worst
        1 - `level` share of them (conditional value at risk).
    level : float
        In [0, 1), of chance and CVaR.
    """

    attitude: Attitude = "mean"
    level: float = 0.8

    def __post_init__(self) -> None:
        check_choice("attitude", self.attitude, ATTITUDES)
        if not 0 <= self.level < 1:
            raise ConfigError(f"level must lie in [0, 1), got {self.level}")


@dataclass(frozen=True, kw_only=True)
class ProblemConfig:
    """Which units to choose, and what for.

    Parameters
    ----------
    objective : str
        Least cost that meets all targets (`min_set`); or within a budget: most weighted features with at
        least one occurrence (`max_coverage`), least weighted sum of relative shortfalls (`min_shortfall`),
        least largest one (`min_largest_shortfall`), most weighted amount (`max_utility`).
    target : float, optional
        Share of every feature's total; by default the targets that the landscape brings.
    denominator : {"units", "everywhere"}
        What the share is of: the planning units, or also what lies where no unit is.
    budget, budget_share : float, optional
        In units of the cost, or as a share of all units' cost; one of them for all but `min_set`.
    presence : float
        Amount above which a feature occurs in a unit (`max_coverage`).
    boundary_penalty : float
        Cost of one unit of length of outer boundary (Marxan's BLM).
    edge_factor : float
        Share of a boundary with no neighbour, such as a coast, that counts.
    group_floor : float
        Least share of each group's own benefit that must be chosen.
    protected : {"locked_in", "ignored"}
        What becomes of the units that are protected already.
    uncertainty : UncertaintyConfig
    """

    objective: Objective = "min_set"
    target: float | None = None
    denominator: Literal["units", "everywhere"] = "units"
    budget: float | None = None
    budget_share: float | None = None
    presence: float = 0.0
    boundary_penalty: float = 0.0
    edge_factor: float = 0.5
    group_floor: float = 0.0
    protected: Literal["locked_in", "ignored"] = "locked_in"
    uncertainty: UncertaintyConfig = UncertaintyConfig()

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, OBJECTIVES)
        check_choice("denominator", self.denominator, ("units", "everywhere"))
        check_choice("protected", self.protected, ("locked_in", "ignored"))
        check_fraction(
            target=self.target,
            budget_share=self.budget_share,
            edge_factor=self.edge_factor,
            group_floor=self.group_floor,
        )
        for name in ("presence", "boundary_penalty", "budget"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"{name} must not be below 0, got {value}")
        if self.budget is not None and self.budget_share is not None:
            raise ConfigError("one of budget and budget_share must be given, got both")
        _check_attitude(self.objective, self.uncertainty.attitude)

    @property
    def has_budget(self) -> bool:
        """Whether a budget is given in one way or the other."""
        return self.budget is not None or self.budget_share is not None


def _check_attitude(objective: Objective, attitude: Attitude) -> None:
    """Refuse what has no meaning: a minimum set has no expectation, the others no chance constraint."""
    refused = ("expected",) if objective == "min_set" else ("chance",)
    if attitude in refused:
        kinds = ", ".join(kind for kind in ATTITUDES if kind not in refused)
        raise ConfigError(f"attitude must be one of {kinds} for {objective}, got {attitude!r}")


@dataclass(frozen=True, kw_only=True)
class SolverConfig:
    """How far and how long the exact solver works.

    Parameters
    ----------
    gap : float
        Relative optimality gap at which it may stop.
    seconds : float
        Time limit; what was found by then is the answer, and so is nothing.
    nodes : int
        Nodes of the search tree after which it stops with what it has, 0 for no limit. Unlike a time limit,
        it gives the same answer on every machine.
    threads : int
    seed : int
    """

    gap: float = 0.01
    seconds: float = 600.0
    nodes: int = 0
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(seconds=self.seconds, threads=self.threads)
        if not 0 <= self.gap < 1:
            raise ConfigError(f"gap must lie in [0, 1), got {self.gap}")
        if self.nodes < 0:
            raise ConfigError(f"nodes must not be below 0, got {self.nodes}")


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """The generated landscape: a square of cells, uncertain species maps, people, a coast and a park.

    Parameters
    ----------
    side : int
        Cells along each side.
    features : int
        Species.
    members : int
        Draws from what surveys leave open about the species maps.
    surveys : int
        Cells where each species was looked for.
    cell_m : float
        Side of a cell, metres.
    """

    side: int = 12
    features: int = 8
    members: int = 16
    surveys: int = 20
    cell_m: float = 2000.0

    def __post_init__(self) -> None:
        for name in ("side", "features", "members", "surveys", "cell_m"):
            check_positive(**{name: getattr(self, name)})
        if self.side < 4:
            raise ConfigError(f"side must be at least 4, got {self.side}")
        if self.surveys > self.side**2:
            raise ConfigError(f"surveys must not exceed the {self.side**2} cells, got {self.surveys}")
