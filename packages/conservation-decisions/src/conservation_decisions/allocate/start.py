"""A good choice to begin with, where many members make the exact search slow.

Within a budget, what a choice may cost and what is locked are alike for all members: the answer for the mean
map is a valid one for every attitude, and swaps of single units soon make it a good one. The solver then only
has to better it a little, and to prove how good it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conservation_decisions.allocate.model import build_model
from conservation_decisions.allocate.problem import Problem
from conservation_decisions.allocate.solver import solve
from conservation_decisions.config import SolverConfig, UncertaintyConfig
from conservation_decisions.landscape import Bools, Floats

# Of answers that are only a beginning; the last is a share of the time limit.
_GAP, _NODES, _SHARE = 0.02, 20, 0.25
# Numbers in a round of swaps beyond which none is made, and the least that a swap must bring.
_MOST, _LEAST = 5e7, 1e-9


def find_start(problem: Problem, solver: SolverConfig) -> Bools | None:
    """Find a choice to begin with: for the mean over members the mean map's, for their tail that of the mean.

    Each is bettered by swaps.

    Parameters
    ----------
    problem : Problem
    solver : SolverConfig
        Of the search that will follow; beginning takes a third of its time limit at most.

    Returns
    -------
    array of bool, shape (unit,), or None
        None for problems that look at one map, or whose constraints depend on the members.
    """
    if problem.config.uncertainty.attitude == "mean" or problem.config.objective == "min_set":
        return None
    easier = UncertaintyConfig(
        attitude="expected" if problem.config.uncertainty.attitude == "cvar" else "mean"
    )
    plain = Problem(problem.landscape, replace(problem.config, uncertainty=easier))
    short = replace(
        solver, gap=max(solver.gap, _GAP), nodes=min(solver.nodes or _NODES, _NODES),
        seconds=_SHARE * solver.seconds,
    )  # fmt: skip
    before = find_start(plain, short)
    answer = solve(build_model(plain), short, start=None if before is None else before.astype(np.float64))
    if answer.values is None:
        return None
    return swap_units(problem, answer.values[: problem.landscape.units] > 0.5)


def swap_units(problem: Problem, selected: Bools) -> Bools:
    """Better a choice by the best single swap or addition within the budget, again and again.

    Parameters
    ----------
    problem : Problem
        That minimises shortfalls; others are left as they are, and so are those with a boundary penalty or
        group floors, and those too large to look at every pair of units.
    selected : array of bool, shape (unit,)
        Within the budget.

    Returns
    -------
    array of bool, shape (unit,)
        No swap of two units, and no addition of one, makes it better.
    """
    config, chosen = problem.config, selected.copy()
    pairs = float(chosen.sum()) * float((~chosen).sum())
    if (
        config.objective not in ("min_shortfall", "min_largest_shortfall")
        or config.boundary_penalty
        or problem.floors.size
        or pairs * problem.amounts[..., 0].size > _MOST
    ):
        return chosen
    amounts = np.ascontiguousarray(np.moveaxis(problem.amounts, 2, 0))
    while (move := _find_move(problem, chosen, amounts)) is not None:
        leaving, entering = move
        chosen[leaving], chosen[entering] = False, True
    return chosen


def _find_move(problem: Problem, chosen: Bools, amounts: Floats) -> tuple[list[int], int] | None:
    """Find the units to give up, one or none, and the one to take instead that better a choice most."""
    cost, best, move = problem.landscape.cost, problem.objective(chosen) - _LEAST, None
    left = problem.budget - float(cost[chosen].sum())
    offered = np.flatnonzero(~chosen & ~problem.locked_out)
    single = [[int(unit)] for unit in np.flatnonzero(chosen & ~problem.locked_in)]
    for leaving in ([], *single):
        coming = offered[cost[offered] <= left + cost[leaving].sum()]
        if not coming.size:
            continue
        kept = chosen.copy()
        kept[leaving] = False
        values = _value(problem, problem.held(kept), amounts[coming])
        if values.min() < best:
            best, move = float(values.min()), (leaving, int(coming[values.argmin()]))
    return move


def _value(problem: Problem, held: Floats, added: Floats) -> Floats:
    """Compute the objective (unit,) of what is held (member, feature) and one more of some units."""
    return problem.aggregate(problem.lose(problem.fall_short(held + added)))
