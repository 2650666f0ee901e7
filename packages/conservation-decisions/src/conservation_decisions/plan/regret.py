"""Routes that are never far from the best, whichever member of the risk prediction is true."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from conservation_decisions.allocate.solver import relative_gap, solve
from conservation_decisions.config import SolverConfig
from conservation_decisions.landscape import Floats
from conservation_decisions.plan.routes import PatrolProblem, build_flow, read_routes, route_exactly


@dataclass(frozen=True, eq=False)
class RegretPlan:
    """Routes with the least largest regret.

    Attributes
    ----------
    routes : list of list of int or None
    regret : array, shape (member,)
        Expected detections of each member's own best routes, less those of these routes.
    bound : float
        No routes have a smaller largest regret.
    best : array, shape (member,)
        Expected detections of the members' own best routes.
    """

    routes: list[list[int]] | None
    regret: Floats
    bound: float
    best: Floats
    seconds: float

    @property
    def gap(self) -> float:
        """Relative distance of the largest regret from the bound."""
        return relative_gap(float(self.regret.max()), self.bound)


def route_minimax(problem: PatrolProblem, solver: SolverConfig | None = None) -> RegretPlan:
    r"""Find routes that minimise the largest regret over the members of the threat.

    .. math:: \min_{f, s} \max_m \; V_m^* - V_m(s)

    with :math:`V_m^*` the member's own optimum, as an upper bound from the solver, so that the regret is
    never understated.

    Parameters
    ----------
    problem : PatrolProblem
        One route problem is solved for each member.
    solver : SolverConfig, optional
    """
    solver = solver or SolverConfig(seconds=60.0)
    own = [
        route_exactly(replace(problem, landscape=problem.landscape.assign(threat=_alone(problem, k))), solver)
        for k in range(len(problem.threats))
    ]
    best = np.array([one.bound for one in own])
    builder, arcs = build_flow(problem)
    builder.add_columns("regret", 1, cost=1.0)
    gains = np.einsum("mv,k->mvk", problem.threats, problem.slopes).reshape(len(best), -1)
    builder.add_rows({"seen": sparse.csr_array(gains), "regret": np.ones((len(best), 1))}, lower=best)
    answer = solve(builder.build(), solver)
    routes = read_routes(problem, answer, arcs, builder.columns["flow"])
    seconds = answer.seconds + sum(one.seconds for one in own)
    if routes is None:
        return RegretPlan(None, np.full(len(best), np.inf), answer.bound, best, seconds)
    regret = best - problem.detections(problem.effort(routes))
    return RegretPlan(routes, regret, answer.bound, best, seconds)


def _alone(problem: PatrolProblem, member: int) -> Floats:
    """Give every member the threat of one."""
    values = problem.landscape.dataset["threat"].values
    return values if values.ndim == 1 else np.broadcast_to(values[member], values.shape)
