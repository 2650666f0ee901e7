"""Losses of decisions under every member of a prediction, beside those of whoever knew the member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from conservation_decisions.allocate.problem import Problem
from conservation_decisions.allocate.solution import Solution, allocate
from conservation_decisions.config import ProblemConfig, SolverConfig, UncertaintyConfig
from conservation_decisions.evaluate.baselines import (
    choose_cheapest,
    choose_random,
    choose_richest,
    keep_status_quo,
)
from conservation_decisions.landscape import Bools, Floats, Landscape
from isopleth.errors import DataError

# Rules of decision, the one that ignores uncertainty first.
MEAN, EXPECTED, CVAR = "mean map", "expected", "CVaR"
RULES: Final = (MEAN, EXPECTED, CVAR)
_ATTITUDES = {MEAN: "mean", EXPECTED: "expected", CVAR: "cvar"}
_RANDOM = 10


@dataclass(frozen=True, eq=False)
class Losses:
    """Losses of decisions.

    Attributes
    ----------
    loss : dict of array (member,)
        By decision.
    oracle : array, shape (member,)
        Of whoever had known the member: the solver's answer.
    bound : array, shape (member,)
        Below which not even the oracle can come.
    chosen : list of array of bool (unit,)
        What the oracle chose under each member.
    """

    loss: dict[str, Floats]
    oracle: Floats
    bound: Floats
    chosen: list[Bools]

    def regret(self, name: str) -> Floats:
        """Loss of a decision less the oracle's (member,)."""
        return self.loss[name] - self.oracle

    def payoff(self, names: tuple[str, ...] = RULES) -> Floats:
        """Minus the losses as a table (decision, member), for the value of information."""
        return -np.stack([self.loss[name] for name in names])


def decide_all(
    problem: Problem, solver: SolverConfig, *, level: float = 0.8, rules: tuple[str, ...] = RULES
) -> tuple[dict[str, list[Bools]], dict[str, float]]:
    """Decide by every rule and every baseline, on what the problem's landscape predicts.

    Returns
    -------
    decisions : dict of list of array
        By rule; random choices are several.
    gaps : dict of float
        Relative optimality gap of each rule's answer.

    Raises
    ------
    DataError
        If a rule finds nothing in time, or nothing is feasible.
    """
    found: dict[str, list[Bools]] = {}
    gaps: dict[str, float] = {}
    for rule in rules:
        before = found[EXPECTED][0] if rule == CVAR and EXPECTED in found else None
        solution = decide(problem, rule, solver, level=level, start=before)
        if solution.selected is None:
            raise DataError(f"the rule {rule!r} must find an answer, got: {solution.status}")
        found[rule], gaps[rule] = [solution.selected], solution.gap
    found["random"] = [choose_random(problem, seed=seed) for seed in range(_RANDOM)]
    found["cheapest first"] = [choose_cheapest(problem)]
    found["richest first"] = [choose_richest(problem)]
    found["status quo"] = [keep_status_quo(problem)]
    return found, gaps


def decide(
    problem: Problem, rule: str, solver: SolverConfig, *, level: float = 0.8, start: Bools | None = None
) -> Solution:
    """Decide by one rule; `start` is a choice to begin with."""
    attitude = UncertaintyConfig(attitude=_ATTITUDES[rule], level=level)  # type: ignore[arg-type]
    posed = Problem(problem.landscape, replace(problem.config, uncertainty=attitude))
    return allocate(posed, solver, start=start)


def measure_losses(
    problem: Problem, decisions: Mapping[str, list[Bools]], amounts: Floats, solver: SolverConfig
) -> Losses:
    """Measure what decisions lose under amounts that they may not have seen.

    Parameters
    ----------
    problem : Problem
        Whose targets, costs and budget hold for all.
    decisions : mapping of name to list of array (unit,)
        Losses of several are averaged.
    amounts : array, shape (member, feature, unit)
        One problem is solved for each member.
    solver : SolverConfig
    """
    loss = {
        name: np.mean([problem.losses(chosen, amounts) for chosen in several], axis=0)
        for name, several in decisions.items()
    }
    oracles = [_solve_known(problem, amount, solver) for amount in amounts]
    return Losses(
        loss=loss,
        oracle=np.array([one.objective for one in oracles]),
        bound=np.array([one.bound for one in oracles]),
        chosen=[
            np.zeros(problem.landscape.units, bool) if o.selected is None else o.selected for o in oracles
        ],
    )


def _solve_known(problem: Problem, amount: Floats, solver: SolverConfig) -> Solution:
    """Decide as one who knows the amounts, with everything else as it is."""
    known = fix_targets(problem).replace_amount(amount)
    config: ProblemConfig = replace(
        problem.config, target=None, boundary_penalty=0.0, uncertainty=UncertaintyConfig()
    )
    return allocate(Problem(known, config), solver)


def fix_targets(problem: Problem) -> Landscape:
    """Write the targets down as amounts, so that they do not move with the predictions."""
    return problem.landscape.assign(target=problem.targets)
