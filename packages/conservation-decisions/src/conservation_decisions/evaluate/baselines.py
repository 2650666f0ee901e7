"""What one does without a solver: nothing more, what is cheap, what is rich, or anything."""

from __future__ import annotations

import numpy as np

from conservation_decisions.allocate.problem import Problem
from conservation_decisions.landscape import Bools, Floats


def keep_status_quo(problem: Problem) -> Bools:
    """Choose nothing beyond what is locked in."""
    return problem.locked_in.copy()


def choose_cheapest(problem: Problem) -> Bools:
    """Choose the cheapest units first, as far as the budget goes."""
    return _spend(problem, problem.landscape.cost)


def choose_richest(problem: Problem) -> Bools:
    """Choose the units with the most features, by summed amounts over the mean map, first."""
    return _spend(problem, -problem.landscape.mean_amounts.sum(axis=0))


def choose_random(problem: Problem, *, seed: int = 0) -> Bools:
    """Choose units at random, as far as the budget goes."""
    return _spend(problem, np.random.default_rng(seed).random(problem.landscape.units))


def _spend(problem: Problem, order: Floats) -> Bools:
    """Take units in an order, each that still fits the budget."""
    chosen, cost = problem.locked_in.copy(), problem.landscape.cost
    left = problem.budget - float(cost[chosen].sum())
    for unit in np.argsort(order, kind="stable"):
        if not chosen[unit] and not problem.locked_out[unit] and cost[unit] <= left:
            chosen[unit] = True
            left -= cost[unit]
    return chosen
