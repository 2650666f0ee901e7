"""Patrol routes as flow over a graph unrolled in time, with detection that saturates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from conservation_decisions.allocate.model import ModelBuilder
from conservation_decisions.allocate.solver import Answer, relative_gap, solve
from conservation_decisions.config import SolverConfig
from conservation_decisions.geometry import measure_distances
from conservation_decisions.landscape import Floats, Integers, Landscape
from isopleth.config import check_positive
from isopleth.errors import ConfigError, DataError

# Effort beyond which one more step finds less than this share of what is there.
_NEGLIGIBLE = 1e-3
# Share of a step that takes no further step: rounding must not make 2 km at 4 km/h more than half an hour.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class PatrolProblem:
    """Patrols that leave a post and come back in time.

    A move between two cells that touch takes the way between their centres at the patrols' speed, rounded up
    to whole steps of time. Half of them are spent in each cell, the odd one in the cell that is entered.

    Parameters
    ----------
    landscape : Landscape
        Whose edges say where one can walk, and whose `threat` (member, unit) what may be found.
    post : int
        Position of the unit where patrols start and end.
    patrols, steps : int
        How many, and for how many steps of time each is out.
    step_minutes : float
        Length of a step.
    speed_kmh : float
        Of a patrol, between centres of cells. With 0 every move takes one step, whatever its way; no other
        speed is possible without centres.
    rate : float
        What is there is found with probability :math:`1 - e^{-r e}` after e steps in the cell.
    """

    landscape: Landscape
    post: int
    patrols: int = 2
    steps: int = 10
    step_minutes: float = 30.0
    speed_kmh: float = 4.0
    rate: float = 0.7

    def __post_init__(self) -> None:
        check_positive(patrols=self.patrols, steps=self.steps, step_minutes=self.step_minutes, rate=self.rate)
        if not self.speed_kmh >= 0:
            raise ConfigError(f"speed_kmh must not be below 0, got {self.speed_kmh}")
        if not 0 <= self.post < self.landscape.units:
            raise ConfigError(
                f"post must be a position from 0 to {self.landscape.units - 1}, got {self.post}"
            )
        if not self.landscape.edges[2].size:
            raise DataError("units must touch each other for patrols to walk, got no edges")
        near = self.travel[[self.post]].data
        if near.size and 2 * near.min() > self.steps:
            raise ConfigError(
                f"steps must be at least {2 * near.min()} to go anywhere and come back, got {self.steps}",
                hint="take longer steps, more of them, or a higher speed",
            )

    @cached_property
    def travel(self) -> sparse.csr_array:
        """Steps that each move takes, as a symmetric sparse matrix (unit, unit)."""
        first, second, _ = self.landscape.edges
        steps = np.ones(first.size, np.int64)
        if self.speed_kmh:
            away = measure_distances(self.landscape, first, second)
            taken = away / (self.speed_kmh * 1000 / 60 * self.step_minutes)
            steps = np.maximum(np.ceil(taken - _ROUNDING), 1).astype(np.int64)
        pairs = (np.concatenate([first, second]), np.concatenate([second, first]))
        return sparse.csr_array((np.tile(steps, 2), pairs), shape=(self.landscape.units,) * 2)

    def move_steps(self, start: int, end: int) -> int:
        """Say how many steps a move takes; staying takes one."""
        return 1 if start == end else int(self.travel[start, end])

    def arrivals(self, route: list[int]) -> list[int]:
        """Say after how many steps a route is in each of its cells."""
        return [0, *accumulate(self.move_steps(a, b) for a, b in pairwise(route))]

    @cached_property
    def threats(self) -> Floats:
        """Threats (member, unit)."""
        return self.landscape.threats

    @cached_property
    def _rows(self) -> dict[int, Integers]:
        return {}

    def hops(self, unit: int) -> Integers:
        """Count the steps of time to all units (unit,); more than patrols have where there is no way."""
        if unit not in self._rows:
            found = sparse.csgraph.shortest_path(self.travel, directed=False, indices=unit)
            self._rows[unit] = np.where(np.isfinite(found), found, self.steps + 1).astype(np.int64)
        return self._rows[unit]

    @cached_property
    def slopes(self) -> Floats:
        """What each further step in a cell adds to the chance of finding what is there."""
        most = int(np.ceil(-np.log(_NEGLIGIBLE) / self.rate))
        effort = np.arange(min(most, self.patrols * self.steps) + 1)
        return np.diff(1.0 - np.exp(-self.rate * effort))

    def detections(self, effort: ArrayLike, threats: Floats | None = None) -> Floats:
        """Compute the expected detections of an effort (unit,) under each member (member,)."""
        found = 1.0 - np.exp(-self.rate * np.asarray(effort, np.float64))
        return (self.threats if threats is None else threats) @ found

    def effort(self, routes: list[list[int]]) -> Integers:
        """Count the steps of time that routes spend in each unit."""
        found = np.zeros(self.landscape.units, np.int64)
        for route in routes:
            for start, end in pairwise(route):
                steps = self.move_steps(start, end)
                found[start] += steps // 2
                found[end] += steps - steps // 2
        return found


def find_post(landscape: Landscape) -> int:
    """Find the unit nearest to the middle, or the cheapest one where units have no centres."""
    if not {"x", "y"} <= set(landscape.dataset):
        return int(landscape.cost.argmin())
    centres = landscape.centres
    return int(((centres - centres.mean(axis=0)) ** 2).sum(axis=1).argmin())


@dataclass(frozen=True, eq=False)
class RoutePlan:
    """Routes, and what they are expected to find.

    Attributes
    ----------
    routes : list of list of int or None
        Positions of units one after the other, post to post; None where none was found in time. A unit that
        stands twice is stayed in for a step; see `PatrolProblem.arrivals`.
    value : float
        Expected detections, the mean over members.
    bound : float
        No routes find more.
    """

    routes: list[list[int]] | None
    value: float
    bound: float
    seconds: float

    @property
    def gap(self) -> float:
        """Relative distance of the value from the bound."""
        return relative_gap(-self.value, -self.bound)


def route_exactly(problem: PatrolProblem, solver: SolverConfig | None = None) -> RoutePlan:
    r"""Find the routes with the most expected detections.

    Whole flows :math:`f_{uvt}` of patrols over cells unrolled in time, each move as long as its way takes;
    effort in a cell fills segments whose slopes fall, which is exact, for effort is a whole number:

    .. math:: \max \sum_v \bar\theta_v \sum_k (h(k) - h(k - 1)) s_{vk},
        \quad \sum_k s_{vk} \le
        \sum_{ut} \lceil d_{uv} / 2 \rceil f_{uvt} + \lfloor d_{vu} / 2 \rfloor f_{vut}

    Parameters
    ----------
    problem : PatrolProblem
    solver : SolverConfig, optional
    """
    builder, arcs = build_flow(problem)
    mean = problem.threats.mean(axis=0)
    place = builder.columns["seen"]
    model = builder.build()
    cost = model.cost.copy()
    cost[place] = -np.outer(mean, problem.slopes).ravel()
    answer = solve(replace(model, cost=cost), solver or SolverConfig(seconds=60.0))
    routes = read_routes(problem, answer, arcs, builder.columns["flow"])
    value = -np.inf if routes is None else float(problem.detections(problem.effort(routes)).mean())
    return RoutePlan(routes, value, -answer.bound, answer.seconds)


def build_flow(problem: PatrolProblem) -> tuple[ModelBuilder, Integers]:
    """Write down where patrols can be when, and what their effort can see.

    Returns
    -------
    builder, arcs (arc, 4)
        With the blocks ``flow`` and ``seen`` (unit x segment); arcs as (step, from, to, steps taken).
    """
    arcs = _list_arcs(problem)
    units, steps = problem.landscape.units, problem.steps
    builder = ModelBuilder()
    builder.add_columns("flow", len(arcs), upper=problem.patrols, integer=True)
    builder.add_columns("seen", units * problem.slopes.size, upper=1.0)
    count = np.arange(len(arcs))
    leaves = sparse.csr_array(
        (np.ones(len(arcs)), (arcs[:, 0] * units + arcs[:, 1], count)), shape=(steps * units, len(arcs))
    )
    enters = sparse.csr_array(
        (np.ones(len(arcs)), ((arcs[:, 0] + arcs[:, 3]) * units + arcs[:, 2], count)),
        shape=((steps + 1) * units, len(arcs)),
    )
    builder.add_rows({"flow": leaves[[problem.post]]}, lower=problem.patrols, upper=problem.patrols)
    inner = np.arange(units, steps * units)
    balance = sparse.csr_array(enters[inner] - leaves[inner])
    builder.add_rows({"flow": balance[np.diff(balance.indptr) > 0]}, lower=0.0, upper=0.0)
    before = arcs[:, 3] // 2
    spent = np.concatenate([before, arcs[:, 3] - before]).astype(np.float64)
    place = (np.concatenate([arcs[:, 1], arcs[:, 2]]), np.tile(count, 2))
    visits = sparse.csr_array((-spent, place), shape=(units, len(arcs)))
    visits.eliminate_zeros()
    fill = sparse.kron(sparse.eye_array(units), np.ones((1, problem.slopes.size)), format="csr")
    builder.add_rows({"flow": visits, "seen": fill}, upper=0.0)
    return builder, arcs


def _list_arcs(problem: PatrolProblem) -> Integers:
    """List the moves from which the post can be reached in time."""
    moves = sparse.coo_array(problem.travel)
    stay = np.arange(problem.landscape.units)
    source, target = np.concatenate([moves.row, stay]), np.concatenate([moves.col, stay])
    taken = np.concatenate([moves.data, np.ones(stay.size, np.int64)])
    away = problem.hops(problem.post)
    kept = [
        np.stack([np.full(alive.sum(), step), source[alive], target[alive], taken[alive]], axis=1)
        for step in range(problem.steps)
        if (alive := (away[source] <= step) & (away[target] <= problem.steps - step - taken)).any()
    ]
    return np.concatenate(kept)


def read_routes(
    problem: PatrolProblem, answer: Answer, arcs: Integers, place: slice
) -> list[list[int]] | None:
    """Take flows apart into one route for each patrol."""
    if answer.values is None:
        return None
    left = np.round(answer.values[place]).astype(np.int64)
    routes = []
    for _ in range(problem.patrols):
        route, step = [problem.post], 0
        while step < problem.steps:
            arc = np.flatnonzero((arcs[:, 0] == step) & (arcs[:, 1] == route[-1]) & (left > 0))[0]
            left[arc] -= 1
            route.append(int(arcs[arc, 2]))
            step += int(arcs[arc, 3])
        routes.append(route)
    return routes
