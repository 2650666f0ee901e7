"""Which units matter: what it costs to do without one, and which ones to secure first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.allocate.problem import Problem
from conservation_decisions.allocate.solution import Solution, allocate
from conservation_decisions.config import SolverConfig
from conservation_decisions.landscape import Bools, Floats


def replacement_cost(
    best: Solution, *, units: ArrayLike | None = None, solver: SolverConfig | None = None
) -> Floats:
    """Compute by how much the objective worsens if a chosen unit cannot be had (Cabeza and Moilanen 2006).

    Parameters
    ----------
    best : Solution
    units : array of int, optional
        Positions to look at; by default all that were chosen freely. One problem is solved for each.
    solver : SolverConfig, optional

    Returns
    -------
    array, shape (unit,)
        Infinite where nothing can replace the unit; NaN where it was not looked at. Values below the
        optimality gap of both solutions say nothing.
    """
    found = np.full(best.problem.landscape.units, np.nan)
    if best.selected is None:
        return found
    free = best.selected & ~best.problem.locked_in
    for unit in np.flatnonzero(free) if units is None else np.asarray(units):
        out = best.problem.locked_out.copy()
        out[unit] = True
        other = allocate(_lock(best.problem, out=out), solver)
        found[unit] = other.objective - best.objective
    return found


def rank_importance(best: Solution, *, steps: int = 5, solver: SolverConfig | None = None) -> Floats:
    """Rank the chosen units by when a growing budget would first take them (Jung et al. 2021).

    In `steps` equal steps of the choice's cost, the least summed shortfall is bought from the chosen units
    alone, keeping what was bought before.

    Parameters
    ----------
    best : Solution
        Of a problem with targets.
    steps : int
    solver : SolverConfig, optional

    Returns
    -------
    array, shape (unit,)
        1 for what is bought first, falling to 1 / steps; 0 for what was not chosen.
    """
    rank = np.zeros(best.problem.landscape.units)
    if best.selected is None:
        return rank
    landscape, locked = best.problem.landscape, best.problem.locked_in
    config = replace(
        best.problem.config, objective="min_shortfall", budget_share=None, protected="ignored",
        group_floor=0.0,        uncertainty=replace(best.problem.config.uncertainty, attitude="mean"),
    )  # fmt: skip
    rank[locked & best.selected] = 1.0
    spend = float(landscape.cost[best.selected & ~locked].sum())
    held = locked & best.selected
    for step in range(1, steps + 1):
        budget = float(landscape.cost[locked].sum()) + spend * step / steps
        offered = landscape.assign(locked_in=held, locked_out=~best.selected)
        answer = allocate(Problem(offered, replace(config, budget=budget * (1 + 1e-9))), solver)
        if answer.selected is None:
            break
        new = answer.selected & ~held
        rank[new] = 1 - (step - 1) / steps
        held = held | answer.selected
    # What no shortfall needs is bought last.
    rank[best.selected & (rank == 0)] = 1 / steps
    return rank


def _lock(problem: Problem, *, out: Bools) -> Problem:
    return Problem(problem.landscape.assign(locked_out=out), problem.config)
