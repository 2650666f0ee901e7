"""Say what a decision is worth: beside what else one could do, on predictions that it has not seen."""

from conservation_decisions.evaluate.baselines import (
    choose_cheapest,
    choose_random,
    choose_richest,
    keep_status_quo,
)
from conservation_decisions.evaluate.core import CoreMap, map_core
from conservation_decisions.evaluate.regret import RULES, Losses, decide_all, measure_losses
from conservation_decisions.evaluate.sensitivity import Change, measure_sensitivity
from conservation_decisions.evaluate.split import Split, pick_rule, split_members, split_space

__all__ = [
    "RULES",
    "Change",
    "CoreMap",
    "Losses",
    "Split",
    "choose_cheapest",
    "choose_random",
    "choose_richest",
    "decide_all",
    "keep_status_quo",
    "map_core",
    "measure_losses",
    "measure_sensitivity",
    "pick_rule",
    "split_members",
    "split_space",
]
