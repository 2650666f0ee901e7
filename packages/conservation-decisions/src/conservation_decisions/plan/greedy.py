"""Patrol routes by detours: the one that finds most for each step that it takes comes first."""

from __future__ import annotations

import time

import numpy as np

from conservation_decisions.landscape import Floats
from conservation_decisions.plan.routes import PatrolProblem, RoutePlan


def route_greedily(problem: PatrolProblem) -> RoutePlan:
    """Build routes by the budgeted greedy rule: again and again the detour with the most gain a step.

    A patrol stands at its post; a detour leaves its walk at some cell, goes to another on a shortest path and
    comes back to the walk's next cell, or stays for one step. No bound comes with it; see `route_exactly`.

    Parameters
    ----------
    problem : PatrolProblem
    """
    began = time.perf_counter()
    threat = problem.threats.mean(axis=0)
    walks = [[problem.post] for _ in range(problem.patrols)]
    effort = np.zeros(problem.landscape.units)
    ways = _Ways(problem)
    while (best := _best_detour(problem, walks, effort, threat, ways)) is not None:
        patrol, place, detour = best
        walks[patrol][place + 1 : place + 1] = detour
        effort = problem.effort(walks).astype(np.float64)
    routes = [walk + [problem.post] * (problem.steps - problem.arrivals(walk)[-1]) for walk in walks]
    value = float(problem.detections(problem.effort(routes)).mean())
    return RoutePlan(routes, value, float("inf"), time.perf_counter() - began)


class _Ways:
    """Shortest paths between cells, each worked out once."""

    def __init__(self, problem: PatrolProblem) -> None:
        self.problem = problem
        matrix = problem.travel
        self.near = np.split(matrix.indices, matrix.indptr[1:-1])
        self.taken = np.split(matrix.data, matrix.indptr[1:-1])
        self.known: dict[tuple[int, int], list[int]] = {}

    def path(self, start: int, end: int) -> list[int]:
        """Give the cells after the start, to the end."""
        if (start, end) not in self.known:
            cells, here = [], start
            while here != end:
                left = self.taken[here] + self.problem.hops(end)[self.near[here]]
                here = int(self.near[here][np.argmin(left)])
                cells.append(here)
            self.known[start, end] = cells
        return self.known[start, end]


def _best_detour(
    problem: PatrolProblem, walks: list[list[int]], effort: Floats, threat: Floats, ways: _Ways
) -> tuple[int, int, list[int]] | None:
    best, most = None, 0.0
    for patrol, walk in enumerate(walks):
        left = problem.steps - problem.arrivals(walk)[-1]
        for place, here in enumerate(walk):
            inside = place + 1 < len(walk)
            follows = walk[place + 1] if inside else here
            old = [here, follows] if inside else [here]
            added = problem.hops(here) + problem.hops(follows) - problem.arrivals(old)[-1]
            added[here] = 1
            for goal in np.flatnonzero((added > 0) & (added <= left)):
                detour = [here] if goal == here else _join(ways, here, int(goal), follows, inside)
                new = [here, *detour, *old[1:]]
                gain = _gain(problem, old, new, effort, threat) / added[goal]
                if gain > most:
                    best, most = (patrol, place, detour), gain
    return best


def _join(ways: _Ways, here: int, goal: int, follows: int, inside: bool) -> list[int]:
    """Go to a goal and back to the walk, whose own next cell is not named again."""
    back = ways.path(goal, follows)
    return ways.path(here, goal) + (back[:-1] if inside else back)


def _gain(problem: PatrolProblem, old: list[int], new: list[int], effort: Floats, threat: Floats) -> float:
    """Say how much more is found if a part of a walk is replaced."""
    spent = problem.effort([new]) - problem.effort([old])
    cells = np.flatnonzero(spent)
    before = np.exp(-problem.rate * effort[cells])
    return float(threat[cells] @ (before * (1.0 - np.exp(-problem.rate * spent[cells]))))
