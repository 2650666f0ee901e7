"""What is wrong with a problem before it is solved, and why nothing can meet it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import sparse

from conservation_decisions.allocate.model import LinearModel, build_model
from conservation_decisions.allocate.problem import TOLERANCE, Problem
from conservation_decisions.allocate.solver import solve
from conservation_decisions.config import SolverConfig
from conservation_decisions.landscape import Floats, Landscape

# Largest over smallest number beyond which float64 and a solver's tolerances are at odds.
_RANGE, _LARGE = 1e9, 1e10
# Of an infeasible problem: units whose locks are looked at one by one.
_LOCKS = 200


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Attributes
    ----------
    kind : {"scale", "target", "unit", "boundary", "conflict"}
    severe : bool
        Whether no good answer can be had as things stand.
    what : str
        One sentence.
    """

    kind: Literal["scale", "target", "unit", "boundary", "conflict"]
    severe: bool
    what: str


def check_landscape(landscape: Landscape) -> list[Finding]:
    """Find trouble in a landscape alone: sizes of numbers, empty features, idle units, loose boundaries."""
    found = _check_scale(landscape)
    mean = landscape.mean_amounts
    for feature in np.flatnonzero(mean.sum(axis=1) <= 0):
        told = f"{landscape.features[feature]!r} occurs in no unit"
        found.append(Finding(kind="target", severe=True, what=told))
    idle = ~(mean > 0).any(axis=0) & ~landscape.locked_in
    if idle.any():
        told = f"{int(idle.sum())} of {landscape.units} units hold no feature and cannot matter to targets"
        found.append(Finding(kind="unit", severe=False, what=told))
    return found + _check_boundary(landscape)


def check_problem(problem: Problem) -> list[Finding]:
    """Find trouble in a problem: targets beyond reach, units beyond the budget, locks against the budget."""
    landscape = problem.landscape
    found = []
    if problem.config.objective in ("min_set", "min_shortfall", "min_largest_shortfall"):
        reach = landscape.mean_amounts[:, ~problem.locked_out].sum(axis=1)
        for feature in np.flatnonzero(reach < problem.targets * (1 - TOLERANCE)):
            told = (
                f"the target of {landscape.features[feature]!r} is {problem.targets[feature]:g}, but only "
                f"{reach[feature]:g} can be had"
            )
            found.append(Finding(kind="target", severe=True, what=told))
    dear = (landscape.cost > problem.budget) & ~problem.locked_in
    if dear.any():
        told = f"{int(dear.sum())} of {landscape.units} units cost more than the whole budget"
        found.append(Finding(kind="unit", severe=False, what=told))
    locked = float(landscape.cost[problem.locked_in].sum())
    if locked > problem.budget:
        told = f"the units locked in cost {locked:g}, more than the budget {problem.budget:g}"
        found.append(Finding(kind="conflict", severe=True, what=told))
    return found


def _check_scale(landscape: Landscape) -> list[Finding]:
    found = []
    named: list[tuple[str, Floats]] = [("costs", landscape.cost), ("boundary lengths", landscape.edges[2])]
    named += [
        (f"amounts of {name!r}", row)
        for name, row in zip(landscape.features, landscape.mean_amounts, strict=True)
    ]
    for name, values in named:
        real = values[values > 0]
        if real.size and real.max() / real.min() > _RANGE:
            told = f"{name} range from {real.min():g} to {real.max():g}, more than {_RANGE:g} to 1"
            found.append(Finding(kind="scale", severe=True, what=told))
        elif real.size and real.max() > _LARGE:
            told = f"{name} reach {real.max():g}: larger units of measurement would be safer"
            found.append(Finding(kind="scale", severe=False, what=told))
    return found


def _check_boundary(landscape: Landscape) -> list[Finding]:
    if not landscape.edges[2].size:
        return []
    parts, label = sparse.csgraph.connected_components(landscape.boundary, directed=False)
    if parts == 1:
        return []
    alone = int((np.bincount(label) == 1).sum())
    told = f"the boundary leaves {parts} parts that do not touch, {alone} of them single units"
    return [Finding(kind="boundary", severe=False, what=told)]


def explain(problem: Problem, *, solver: SolverConfig | None = None) -> list[str]:
    """Explain why a problem cannot be met: the smallest set of demands that contradict each other.

    Demands are the targets, the group floors, the budget, and the locks of units (those of single units where
    there are few enough, else all at once). Where one target fails against locks alone, that is found without
    a solver; else by implicit hitting sets, which give a set of least size (Ignatiev et al. 2015).

    Parameters
    ----------
    problem : Problem
    solver : SolverConfig, optional

    Returns
    -------
    list of str
        The demands; empty if they can all be met.
    """
    plain = _explain_target(problem)
    if plain:
        return plain
    model = build_model(problem)
    demands = _list_demands(problem, model)
    names = list(demands)
    config = replace(solver or SolverConfig(seconds=60.0), gap=0.5)

    def can_hold(kept: Sequence[int]) -> bool:
        relaxed = _relax(model, [demands[name] for k, name in enumerate(names) if k not in set(kept)])
        return solve(relaxed, config).status != "infeasible"

    return [names[k] for k in smallest_conflict(len(names), can_hold)]


def smallest_conflict(count: int, can_hold: Callable[[Sequence[int]], bool]) -> list[int]:
    """Find a smallest set of demands that cannot all hold.

    Parameters
    ----------
    count : int
        Demands, numbered from 0.
    can_hold : callable
        Says whether the demands of these numbers can all hold; fewer demands never hold less.

    Returns
    -------
    list of int
        Empty if all can hold.

    Examples
    --------
    >>> smallest_conflict(4, lambda kept: not ({0, 1, 2} <= set(kept) or {1, 3} <= set(kept)))
    [1, 3]
    """
    if can_hold(range(count)):
        return []
    corrections: list[set[int]] = []
    while True:
        guess = _hit(corrections, count)
        if not can_hold(guess):
            return guess
        # Grown to the most that can hold: what is left out meets every conflict.
        kept = list(guess)
        for demand in range(count):
            if demand not in kept and can_hold([*kept, demand]):
                kept.append(demand)
        corrections.append(set(range(count)) - set(kept))


def _hit(sets: list[set[int]], count: int) -> list[int]:
    """Find a smallest set that meets every one of some sets."""
    if not sets:
        return []
    rows = np.array([[float(k in one) for k in range(count)] for one in sets])
    model = LinearModel(
        cost=np.ones(count), matrix=sparse.csr_array(rows), row_lower=np.ones(len(sets)),
        row_upper=np.full(len(sets), np.inf), lower=np.zeros(count), upper=np.ones(count),
        integer=np.ones(count, bool), columns={"unit": slice(0, count)},
    )  # fmt: skip
    values = solve(model, SolverConfig(gap=0.0)).values
    assert values is not None
    return [int(k) for k in np.flatnonzero(values > 0.5)]


def _explain_target(problem: Problem) -> list[str]:
    """Find a target that fails against the fewest locks: the largest amounts locked out are the fewest."""
    if problem.config.objective != "min_set" or problem.config.uncertainty.attitude != "mean":
        return []
    landscape, out = problem.landscape, np.flatnonzero(problem.locked_out)
    best: list[str] | None = None
    for feature in range(len(landscape.features)):
        amounts, target = landscape.mean_amounts[feature], problem.targets[feature]
        order = out[np.argsort(-amounts[out], kind="stable")]
        left = amounts.sum() - np.concatenate([[0.0], np.cumsum(amounts[order])])
        short = left < target * (1 - TOLERANCE)
        if short.any():
            needed = int(np.argmax(short))
            if best is None or needed + 1 < len(best):
                best = [
                    _name_target(landscape, feature),
                    *(_name_lock(landscape, int(k), "out") for k in order[:needed]),
                ]
    return best or []


def _name_target(landscape: Landscape, feature: int) -> str:
    return f"the target of {landscape.features[feature]!r}"


def _name_lock(landscape: Landscape, unit: int, side: str) -> str:
    return f"unit {landscape.dataset['unit'].values[unit]} locked {side}"


@dataclass(frozen=True)
class _Demand:
    """Rows and unit bounds that go when a demand goes."""

    rows: tuple[int, ...] = ()
    units: tuple[int, ...] = ()


def _list_demands(problem: Problem, model: LinearModel) -> dict[str, _Demand]:
    """List the demands in the order in which `build_model` writes their rows."""
    landscape = problem.landscape
    demands: dict[str, _Demand] = {}
    rows = _target_rows(problem)
    for feature, own in rows.items():
        demands[_name_target(landscape, feature)] = _Demand(rows=own)
    # Behind the targets' rows come the budget's, the floors' and two for each boundary.
    tail = 2 * landscape.edges[2].size if problem.config.boundary_penalty else 0
    place = model.row_lower.size - tail - problem.floors.size - int(np.isfinite(problem.budget))
    if np.isfinite(problem.budget):
        demands["the budget"] = _Demand(rows=(place,))
        place += 1
    for group in range(problem.floors.size):
        demands[f"the floor of {landscape.group_names[group]!r}"] = _Demand(rows=(place + group,))
    for side, mask in (("in", problem.locked_in), ("out", problem.locked_out)):
        units = np.flatnonzero(mask)
        if units.size > _LOCKS:
            demands[f"all {units.size} units locked {side}"] = _Demand(units=tuple(units))
        else:
            demands |= {_name_lock(landscape, int(k), side): _Demand(units=(int(k),)) for k in units}
    return demands


def _target_rows(problem: Problem) -> dict[int, tuple[int, ...]]:
    """Give the last rows of each target: those that hold it against its variables."""
    if problem.config.objective != "min_set":
        return {}
    asked = np.flatnonzero(problem.targets > 0)
    members, attitude = len(problem.amounts), problem.config.uncertainty.attitude
    start = 0 if attitude == "mean" else members * asked.size
    return {int(feature): (start + k,) for k, feature in enumerate(asked)}


def _relax(model: LinearModel, dropped: Sequence[_Demand]) -> LinearModel:
    lower, upper = model.row_lower.copy(), model.row_upper.copy()
    low, high = model.lower.copy(), model.upper.copy()
    for demand in dropped:
        rows, units = list(demand.rows), list(demand.units)
        lower[rows], upper[rows] = -np.inf, np.inf
        low[units], high[units] = 0.0, 1.0
    nothing = np.zeros_like(model.cost)
    return replace(model, cost=nothing, row_lower=lower, row_upper=upper, lower=low, upper=high)
