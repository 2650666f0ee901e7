"""Settings of the study that the demo runs: how many landscapes, and how large each of its parts is."""

from __future__ import annotations

from dataclasses import dataclass

from conservation_decisions.config.problem import ProblemConfig, SampleConfig, SolverConfig
from isopleth.config import check_positive

_PROBLEM = ProblemConfig(objective="min_shortfall", target=0.25, budget_share=0.2)
_SOLVER = SolverConfig(nodes=400)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What `demo` reads: the parts of the study, each at a size that two minutes (or 45) allow.

    Parameters
    ----------
    landscapes : int
        Generated landscapes, each with a truth that only the evaluation sees.
    first_seed : int
        Of the first landscape; those of the full study were not looked at before.
    rounds, bandit_seeds : int
        Of the online allocation of patrol effort.
    arms : int
        Sites under repair in the simulated intervention.
    years : int
        That the interventions are simulated for.
    sample, problem, solver
        The parts.
    """

    landscapes: int = 10
    first_seed: int = 0
    rounds: int = 300
    bandit_seeds: int = 4
    arms: int = 40
    years: int = 30
    sample: SampleConfig = SampleConfig()
    problem: ProblemConfig = _PROBLEM
    solver: SolverConfig = _SOLVER

    def __post_init__(self) -> None:
        for name in ("landscapes", "rounds", "bandit_seeds", "arms", "years"):
            check_positive(**{name: getattr(self, name)})
