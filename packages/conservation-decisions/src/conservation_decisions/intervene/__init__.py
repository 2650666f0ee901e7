"""Decide year after year: seen states, unseen ones, and many sites with few hands."""

from conservation_decisions.intervene.information import (
    value_of_perfect_information,
    value_of_sample_information,
)
from conservation_decisions.intervene.mdp import MDP, PolicyValue, evaluate_policy, solve_finite, solve_mdp
from conservation_decisions.intervene.policy import PolicyGraph, build_graph, write_rules
from conservation_decisions.intervene.pomdp import POMDP, PomdpSolution, solve_pomdp
from conservation_decisions.intervene.restless import (
    Arms,
    WhittleIndices,
    gittins_beta,
    repair_arms,
    simulate_arms,
    whittle_indices,
)
from conservation_decisions.intervene.species import manage_survey_stop

__all__ = [
    "MDP",
    "POMDP",
    "Arms",
    "PolicyGraph",
    "PolicyValue",
    "PomdpSolution",
    "WhittleIndices",
    "build_graph",
    "evaluate_policy",
    "gittins_beta",
    "manage_survey_stop",
    "repair_arms",
    "simulate_arms",
    "solve_finite",
    "solve_mdp",
    "solve_pomdp",
    "value_of_perfect_information",
    "value_of_sample_information",
    "whittle_indices",
    "write_rules",
]
