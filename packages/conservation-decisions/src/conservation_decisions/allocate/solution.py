"""Answers to allocation problems, each verified in float64 from the landscape itself."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.allocate.model import LinearModel, build_model
from conservation_decisions.allocate.problem import TOLERANCE, Problem, tail_mean
from conservation_decisions.allocate.solver import Answer, Status, relative_gap, solve
from conservation_decisions.allocate.start import find_start, swap_units
from conservation_decisions.config import SolverConfig
from conservation_decisions.landscape import Bools, Floats
from isopleth.errors import IsoplethError

logger = logging.getLogger("isopleth.conservation_decisions")


@dataclass(frozen=True, eq=False)
class Solution:
    """A choice of units and how good it is.

    Attributes
    ----------
    selected : array of bool (unit,) or None
        None where nothing was found in time, or nothing can be.
    objective, bound : float
        As minimised: maxima are negative losses. No choice lies below the bound.
    building, solving : float
        Seconds.
    """

    problem: Problem
    status: Status
    selected: Bools | None
    objective: float
    bound: float
    building: float
    solving: float

    @property
    def gap(self) -> float:
        """Relative optimality gap."""
        return relative_gap(self.objective, self.bound)

    def describe(self) -> dict[str, Any]:
        """Sum the solution up in plain numbers; infinities where nothing is known."""
        told: dict[str, Any] = {
            "status": self.status,
            "objective": self.objective,
            "bound": self.bound,
            "optimality_gap": self.gap,
            "seconds": {"building": round(self.building, 3), "solving": round(self.solving, 3)},
        }
        if self.selected is None:
            return told
        problem, chosen = self.problem, self.selected
        told |= {
            "units": int(chosen.sum()),
            "cost": float(problem.landscape.cost[chosen].sum()),
            "boundary_m": problem.boundary_length(chosen),
        }
        if problem.config.objective != "max_utility" and problem.config.objective != "max_coverage":
            met = problem.held(chosen) >= problem.targets * (1 - TOLERANCE)
            told["targets_met"] = f"{met.mean(axis=0).sum():.4g} of {problem.targets.size}"
        return told


def allocate(problem: Problem, solver: SolverConfig | None = None, *, start: Bools | None = None) -> Solution:
    """Solve an allocation problem exactly.

    Where many members are looked at, the search begins at the answer to an easier problem bettered by swaps
    (see `conservation_decisions.allocate.start`); the bound is the solver's own.

    Parameters
    ----------
    problem : Problem
    solver : SolverConfig, optional
    start : array of bool, shape (unit,), optional
        A choice to begin with instead.

    Returns
    -------
    Solution
        Whose status may be "infeasible" (see `conservation_decisions.check.explain`), "time limit" or "node
        limit", the last two with or without a choice.

    Raises
    ------
    IsoplethError
        If the solver's answer breaks a constraint and goes on to do so at the tightest tolerance.

    Examples
    --------
    >>> from conservation_decisions.config import ProblemConfig
    >>> from conservation_decisions.landscape import Landscape
    >>> land = Landscape.build([1, 2, 2], [[2, 1, 1], [10, 10, 10]], target=[2, 10])
    >>> allocate(Problem(land, ProblemConfig())).selected.tolist()
    [True, False, False]
    """
    began, config = time.perf_counter(), solver or SolverConfig()
    model = build_model(problem)
    building = time.perf_counter() - began
    first = find_start(problem, config) if start is None else swap_units(problem, start)
    return solve_model(problem, model, config, start=first, building=building)


def solve_model(
    problem: Problem,
    model: LinearModel,
    solver: SolverConfig,
    *,
    start: Bools | None = None,
    building: float = 0.0,
) -> Solution:
    """Solve the model of a problem, perhaps with further rows, and verify the answer."""
    first = None if start is None else start.astype(np.float64)
    answer = solve(model, solver, start=first)
    solution = _wrap(problem, model, answer, building)
    if solution.selected is None or not verify_selection(problem, solution.selected):
        return solution
    answer = solve(model, solver, tight=True)
    solution = _wrap(problem, model, answer, building)
    broken = [] if solution.selected is None else verify_selection(problem, solution.selected)
    if broken:
        raise IsoplethError(
            f"a solution must keep every constraint, got: {broken[0]}",
            hint="amounts or costs of very different sizes do this: see the verb check",
        )
    return solution


def _wrap(problem: Problem, model: LinearModel, answer: Answer, building: float) -> Solution:
    selected = None if answer.values is None else answer.values[model.columns["unit"]] > 0.5
    solution = Solution(
        problem, answer.status, selected, answer.objective, answer.bound, building, answer.seconds
    )
    if selected is None:
        return solution
    return replace(solution, objective=problem.objective(selected))


def verify_selection(problem: Problem, selected: ArrayLike) -> list[str]:
    """List the constraints that a choice breaks, computed in float64 without the model.

    Returns
    -------
    list of str
        Empty where all hold to within a millionth.
    """
    mask = np.asarray(selected, bool)
    landscape = problem.landscape
    broken = []
    for name, wrong in (("in", problem.locked_in & ~mask), ("out", problem.locked_out & mask)):
        if wrong.any():
            broken.append(f"unit {landscape.dataset['unit'].values[np.argmax(wrong)]} is locked {name}")
    cost = float(landscape.cost[mask].sum())
    if cost > problem.budget * (1 + TOLERANCE):
        broken.append(f"cost {cost:g} exceeds the budget {problem.budget:g}")
    for group, least in enumerate(problem.floors):
        have = float(problem.benefit[mask & (landscape.group == group)].sum())
        if have < least * (1 - TOLERANCE):
            broken.append(f"group {landscape.group_names[group]} has {have:g} of {least:g}")
    if problem.config.objective == "min_set":
        short = _demanded(problem, problem.held(mask)) < problem.targets * (1 - TOLERANCE)
        broken += [f"{landscape.features[k]} misses its target" for k in np.flatnonzero(short)]
    return broken


def _demanded(problem: Problem, held: Floats) -> Floats:
    """Reduce what is held (member, feature) to the number that must reach the target (feature,)."""
    attitude, level = problem.config.uncertainty.attitude, problem.config.uncertainty.level
    if attitude == "chance":
        allowed = int(np.floor((1 - level) * len(held) + TOLERANCE))
        return np.sort(held, axis=0)[allowed]
    if attitude == "cvar":
        return -tail_mean(-held.T, level)
    return held[0]
