"""How much hangs on each assumption: one moved at a time, decided anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from conservation_decisions.allocate.problem import Problem
from conservation_decisions.allocate.solution import Solution, allocate
from conservation_decisions.config import SolverConfig
from conservation_decisions.evaluate.regret import fix_targets

if TYPE_CHECKING:
    from conservation_decisions.landscape import Landscape


@dataclass(frozen=True, kw_only=True)
class Change:
    """What moving one assumption down and up does.

    Attributes
    ----------
    assumption : str
    low, high : float
        Change of the objective when the assumption is moved down, up; NaN where nothing was found.
    alike : float
        Least share of the units, of those in either answer, that stay chosen.
    """

    assumption: str
    low: float
    high: float
    alike: float


def measure_sensitivity(
    problem: Problem, solver: SolverConfig, *, change: float = 0.2, features: bool = True
) -> list[Change]:
    """Move budget, targets, costs of the dear units and amounts of each feature, one at a time.

    Parameters
    ----------
    problem : Problem
        With a budget.
    solver : SolverConfig
    change : float
        By what share each is moved down and up.
    features : bool
        Whether to move the features' amounts too: two problems are solved for each.

    Returns
    -------
    list of Change
        The most influential first.
    """
    base = allocate(problem, solver)
    found = []
    for name, (low, high) in _list_changes(problem, change, features=features).items():
        moved = [allocate(one, solver) for one in (low, high)]
        effects = [one.objective - base.objective if one.selected is not None else np.nan for one in moved]
        alike = min(_overlap(base, one) for one in moved)
        found.append(Change(assumption=name, low=effects[0], high=effects[1], alike=alike))
    return sorted(found, key=lambda one: -np.nanmax(np.abs([one.low, one.high, 0.0])))


def _list_changes(problem: Problem, change: float, *, features: bool) -> dict[str, tuple[Problem, Problem]]:
    fixed = fix_targets(problem)
    config = replace(problem.config, target=None, budget=problem.budget, budget_share=None)
    factors = (1 - change, 1 + change)
    dear = problem.landscape.cost >= np.quantile(problem.landscape.cost, 0.75)

    def build(landscape: Landscape, budget: float = 1.0) -> Problem:
        return Problem(landscape, replace(config, budget=problem.budget * budget))

    def scale(feature: int, factor: float) -> Landscape:
        amount = fixed.dataset["amount"].values.copy()
        amount[..., feature, :] *= factor
        return fixed.replace_amount(amount)

    lists = {
        "budget": [build(fixed, factor) for factor in factors],
        "targets": [build(fixed.assign(target=factor * problem.targets)) for factor in factors],
        "cost of dear units": [
            build(fixed.assign(cost=np.where(dear, factor, 1.0) * problem.landscape.cost))
            for factor in factors
        ],
    }
    for feature, name in enumerate(problem.landscape.features if features else ()):
        lists[f"amounts of {name}"] = [build(scale(feature, factor)) for factor in factors]
    return {name: (pair[0], pair[1]) for name, pair in lists.items()}


def _overlap(one: Solution, other: Solution) -> float:
    """Jaccard's share of two choices."""
    if one.selected is None or other.selected is None:
        return 0.0
    either = one.selected | other.selected
    return float((one.selected & other.selected).sum() / max(either.sum(), 1))
