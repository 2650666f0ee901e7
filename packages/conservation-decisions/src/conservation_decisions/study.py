"""What one generated landscape brings: decided on its members, judged by its truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from conservation_decisions.allocate.problem import Problem
from conservation_decisions.allocate.solver import relative_gap
from conservation_decisions.config import StudyConfig
from conservation_decisions.evaluate.regret import EXPECTED, Losses, decide_all, measure_losses
from conservation_decisions.intervene import repair_arms, simulate_arms, whittle_indices
from conservation_decisions.landscape import Bools, Floats
from conservation_decisions.plan import (
    Cucb,
    Lizard,
    PatrolProblem,
    Random,
    Thompson,
    find_post,
    make_environment,
    route_exactly,
    route_greedily,
    route_minimax,
    run_bandit,
)
from conservation_decisions.plan.bandits import Counted
from conservation_decisions.sample import GeneratedLandscape, make_landscape

ROUTES, GREEDY, MINIMAX, WANDER = (
    "routes on the mean threat",
    "greedy detours",
    "minimax-regret routes",
    "random walk",
)
ORACLE = "knowing the truth"
WHITTLE, THREAT_FIRST, CHANCE, NOTHING = "Whittle index", "highest threat first", "random", "nothing"
POLICIES: dict[str, type[Counted]] = {"LIZARD": Lizard, "CUCB": Cucb, "Thompson": Thompson, "random": Random}
# Share of the chosen sites that can be looked after in a year.
_CREWS = 0.15


@dataclass(frozen=True, eq=False)
class Visit:
    """One landscape, what was decided on it, and what came of it.

    Attributes
    ----------
    losses : Losses
        Under the truth, of one member.
    detections : dict of float
        Expected under the true threat, by way of routing.
    regret : dict of float
        Largest regret over members that no route was planned for.
    reward : dict of float
        Of a year, by priority, under the true decay.
    gaps : dict of float
        Relative optimality gap of each answer of the solver, by rule and by way of routing.
    """

    made: GeneratedLandscape
    problem: Problem
    decisions: dict[str, list[Bools]]
    losses: Losses
    routes: list[list[int]]
    detections: dict[str, float]
    regret: dict[str, float]
    index: Floats
    reward: dict[str, float]
    gaps: dict[str, float]


def visit_landscape(seed: int, study: StudyConfig) -> Visit:
    """Generate a landscape and take it through allocation, planning and intervention.

    Parameters
    ----------
    seed : int
    study : StudyConfig
    """
    made = make_landscape(study.sample, seed=seed)
    problem = Problem(made.landscape, study.problem)
    decisions, gaps = decide_all(problem, study.solver)
    losses = measure_losses(problem, decisions, made.truth[None], study.solver)
    routes, detections, regret, apart = _patrol(made, study, seed)
    index, reward = _look_after(made, decisions[EXPECTED][0], study, seed)
    gaps |= {ORACLE: float(relative_gap(losses.oracle[0], losses.bound[0])), **apart}
    return Visit(made, problem, decisions, losses, routes, detections, regret, index, reward, gaps)


def _patrol(
    made: GeneratedLandscape, study: StudyConfig, seed: int
) -> tuple[list[list[int]], dict[str, float], dict[str, float], dict[str, float]]:
    """Plan patrols on half of the members; judge them by the truth and by the other half."""
    planned = made.landscape.members // 2
    landscape = made.landscape.take_members(np.arange(planned))
    problem = PatrolProblem(landscape=landscape, post=find_post(landscape))
    exact, robust = route_exactly(problem, study.solver), route_minimax(problem, study.solver)
    found = {
        ROUTES: exact.routes,
        GREEDY: route_greedily(problem).routes,
        MINIMAX: robust.routes,
        WANDER: _wander(problem, np.random.default_rng(seed)),
    }
    routes = {name: one for name, one in found.items() if one is not None}
    others = made.landscape.threats[planned:]
    best = np.array([_know(problem, threat, study) for threat in others])
    effort = {name: problem.effort(one) for name, one in routes.items()}
    detections = {name: float(problem.detections(e, made.threat)) for name, e in effort.items()}
    regret = {name: float((best - problem.detections(e, others)).max()) for name, e in effort.items()}
    return routes[MINIMAX], detections, regret, {ROUTES: exact.gap, MINIMAX: robust.gap}


def _know(problem: PatrolProblem, threat: Floats, study: StudyConfig) -> float:
    """Find what patrols would detect that knew the threat."""
    known = problem.landscape.assign(threat=np.tile(threat, (problem.landscape.members, 1)))
    return route_exactly(replace(problem, landscape=known), study.solver).value


def _wander(problem: PatrolProblem, rng: np.random.Generator) -> list[list[int]]:
    """Walk at random, but so that the post is reached in time."""
    matrix = problem.travel
    home = problem.hops(problem.post)
    routes = []
    for _ in range(problem.patrols):
        route, left = [problem.post], problem.steps
        while left:
            row = slice(matrix.indptr[route[-1]], matrix.indptr[route[-1] + 1])
            options, taken = np.append(matrix.indices[row], route[-1]), np.append(matrix.data[row], 1)
            fits = np.flatnonzero(home[options] + taken <= left)
            one = rng.choice(fits)
            route.append(int(options[one]))
            left -= int(taken[one])
        routes.append(route)
    return routes


def _look_after(
    made: GeneratedLandscape, chosen: Bools, study: StudyConfig, seed: int
) -> tuple[Floats, dict[str, float]]:
    """Look after the chosen sites by what is believed of their decay, under what is true of it."""
    sites = np.flatnonzero(chosen)
    sites = np.resize(sites, max(sites.size, study.arms)) if sites.size < study.arms else sites[: study.arms]
    worth = made.landscape.mean_amounts.sum(axis=0)[sites]
    believed = made.landscape.threats.mean(axis=0)[sites]
    # Few hands, dear repairs: a bad site is mended in one of two years.
    true = repair_arms(made.threat[sites], repair=0.5, worth=worth)
    index = whittle_indices(repair_arms(believed, repair=0.5, worth=worth)).index
    rng = np.random.default_rng([seed, 7])
    priorities = {
        WHITTLE: index,
        THREAT_FIRST: np.repeat(believed[:, None], 2, axis=1),
        CHANCE: rng.random((study.years, sites.size, 2)),
        NOTHING: np.full((sites.size, 2), np.nan),
    }
    crews = max(1, round(_CREWS * sites.size))
    reward = {
        name: float(simulate_arms(true, rank, crews, years=study.years, seed=seed).mean())
        for name, rank in priorities.items()
    }
    layer = np.full(made.landscape.units, np.nan)
    layer[sites] = index[:, 0]
    return layer, reward


def learn_online(study: StudyConfig, *, seed: int = 0) -> dict[str, Floats]:
    """Let every policy learn where to patrol in the same parks; give cumulative regrets (seed, round)."""
    found: dict[str, list[Floats]] = {name: [] for name in POLICIES}
    for number in range(study.bandit_seeds):
        park = make_environment(25, 1.0, seed=seed + number)
        for name, policy in POLICIES.items():
            found[name].append(run_bandit(policy(park), park, rounds=study.rounds, seed=number))
    return {name: np.array(runs) for name, runs in found.items()}
