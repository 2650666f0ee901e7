"""Plan within a season: patrol routes, effort learned online, sites to monitor."""

from conservation_decisions.plan.bandits import Cucb, Lizard, Random, Thompson, run_bandit
from conservation_decisions.plan.environment import PatrolEnvironment, make_environment
from conservation_decisions.plan.greedy import route_greedily
from conservation_decisions.plan.knapsack import best_allocation
from conservation_decisions.plan.monitoring import Coverage, Information, choose_sites
from conservation_decisions.plan.regret import RegretPlan, route_minimax
from conservation_decisions.plan.routes import PatrolProblem, RoutePlan, find_post, route_exactly

__all__ = [
    "Coverage",
    "Cucb",
    "Information",
    "Lizard",
    "PatrolEnvironment",
    "PatrolProblem",
    "Random",
    "RegretPlan",
    "RoutePlan",
    "Thompson",
    "best_allocation",
    "choose_sites",
    "find_post",
    "make_environment",
    "route_exactly",
    "route_greedily",
    "route_minimax",
    "run_bandit",
]
