"""Simulated annealing as Marxan does it, to compare with; the exact solver is what to use."""

from __future__ import annotations

import numpy as np

from conservation_decisions.allocate.problem import Problem
from conservation_decisions.landscape import Bools
from isopleth.errors import ConfigError


def anneal(
    problem: Problem, *, iterations: int = 100_000, seed: int = 0, penalty: float | None = None
) -> Bools:
    r"""Look for a cheap set that meets the targets, one random flip at a time.

    Minimises cost, boundary and a penalty :math:`P \sum_j w_j s_j` on the relative shortfalls at temperatures
    that fall geometrically (Ball, Possingham and Watts 2009), then takes out what is not needed.

    Parameters
    ----------
    problem : Problem
        A minimum set that looks at the mean map.
    iterations : int
    seed : int
    penalty : float, optional
        P; by default what the whole landscape costs.

    Returns
    -------
    array of bool, shape (unit,)
        May miss targets: see `verify_selection`.
    """
    if problem.config.objective != "min_set" or problem.config.uncertainty.attitude != "mean":
        raise ConfigError("annealing must be given a min_set on the mean map, got another problem")
    state = _State(problem, float(problem.landscape.cost.sum()) if penalty is None else penalty)
    rng = np.random.default_rng(seed)
    free = np.flatnonzero(~(problem.locked_in | problem.locked_out))
    if not free.size:
        return state.selected
    sample = [abs(state.change(unit)) for unit in rng.choice(free, min(free.size, 200))]
    hot = max(float(np.mean(sample)), 1e-12)
    temperatures = hot * np.geomspace(1.0, 1e-5, iterations)
    for unit, luck, temperature in zip(
        rng.choice(free, iterations), rng.random(iterations), temperatures, strict=True
    ):
        change = state.change(unit)
        if change <= 0 or luck < np.exp(-change / temperature):
            state.flip(unit)
    for unit in free[np.argsort(-problem.landscape.cost[free], kind="stable")]:
        if state.selected[unit] and state.change(unit) < 0:
            state.flip(unit)
    return state.selected


class _State:
    """A choice, with what it holds kept up to date."""

    def __init__(self, problem: Problem, penalty: float) -> None:
        self.cost = problem.landscape.cost
        asked = problem.targets > 0
        self.share = np.ascontiguousarray(
            (problem.landscape.mean_amounts[asked] / problem.targets[asked, None]).T
        )
        self.weight = penalty * problem.landscape.weight[asked]
        self.blm, boundary = problem.config.boundary_penalty, problem.landscape.boundary
        self.starts, self.others, self.lengths = boundary.indptr, boundary.indices, boundary.data
        self.perimeter = boundary.sum(axis=1) + problem.config.edge_factor * problem.landscape.exposed
        self.selected = problem.locked_in.copy()
        self.held = self.selected @ self.share

    def change(self, unit: int) -> float:
        """Say by how much the objective would change if a unit were flipped."""
        sign = -1.0 if self.selected[unit] else 1.0
        before = np.maximum(1.0 - self.held, 0.0)
        after = np.maximum(1.0 - self.held - sign * self.share[unit], 0.0)
        change = sign * self.cost[unit] + self.weight @ (after - before)
        if self.blm:
            near = slice(self.starts[unit], self.starts[unit + 1])
            shared = self.lengths[near] @ self.selected[self.others[near]]
            change += self.blm * sign * (self.perimeter[unit] - 2 * shared)
        return float(change)

    def flip(self, unit: int) -> None:
        """Flip a unit."""
        self.held = self.held + (-1.0 if self.selected[unit] else 1.0) * self.share[unit]
        self.selected[unit] = ~self.selected[unit]
