"""Trouble is found, and infeasibility explained by a smallest set of demands."""

import itertools

import numpy as np
import pytest

from conservation_decisions.allocate import Problem
from conservation_decisions.check import check_landscape, check_problem, explain, smallest_conflict
from conservation_decisions.config import ProblemConfig, UncertaintyConfig
from conservation_decisions.landscape import Landscape


def kinds(findings):
    return {finding.kind for finding in findings}


def test_a_good_landscape_has_no_findings(random_landscape):
    assert check_landscape(random_landscape(0)) == []


def test_sizes_far_apart_are_found():
    found = check_landscape(Landscape.build([1e12, 1e-6], [[1, 1]]))
    assert kinds(found) == {"scale"}
    assert "1e-06 to 1e+12" in found[0].what
    large = check_landscape(Landscape.build([1e11, 2e11], [[1, 1]]))
    assert not large[0].severe


def test_empty_features_idle_units_and_loose_parts_are_found():
    land = Landscape.build(
        [1, 1, 1, 1], [[1, 2, 0, 1], [0, 0, 0, 0]], features=["bird", "ghost"], edges=([0, 2], [1, 3], [1, 1])
    )
    told = [finding.what for finding in check_landscape(land)]
    assert any("'ghost'" in one for one in told)
    assert any("1 of 4 units" in one for one in told)
    assert any("2 parts" in one for one in told)


def test_targets_beyond_reach_and_dear_locks_are_found():
    land = Landscape.build([1, 5], [[1, 1]], target=[3], locked_in=[0, 1])
    found = check_problem(Problem(land, ProblemConfig(budget=2)))
    assert kinds(found) == {"target", "conflict"}
    assert "only 2 can be had" in found[0].what


def test_one_target_against_the_fewest_locks():
    land = Landscape.build(
        [1] * 5, [[1, 1, 1, 1, 6], [1, 1, 1, 1, 1]], features=["a", "b"], target=[5, 3],
        locked_out=[1, 1, 0, 0, 1],
    )  # fmt: skip
    assert explain(Problem(land, ProblemConfig())) == ["the target of 'a'", "unit 4 locked out"]


def test_targets_against_the_budget():
    land = Landscape.build([1, 1, 1], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], target=[1, 1, 1])
    told = explain(Problem(land, ProblemConfig(budget=1.5)))
    assert len(told) == 3  # the budget and any two of the three targets
    assert "the budget" in told
    assert explain(Problem(land, ProblemConfig(budget=3))) == []


def test_locks_against_the_budget_and_floors():
    land = Landscape.build([4, 1, 1], [[1, 1, 1]], locked_in=[1, 0, 0])
    problem = Problem(land, ProblemConfig(objective="max_utility", budget=3))
    assert set(explain(problem)) == {"the budget", "unit 0 locked in"}
    groups = Landscape.build([1, 9], [[1, 1]], group=[0, 1], group_names=["a", "b"])
    problem = Problem(groups, ProblemConfig(objective="max_utility", budget=3, group_floor=0.5))
    assert set(explain(problem)) == {"the budget", "the floor of 'b'"}


@pytest.mark.parametrize("attitude", ["chance", "cvar"])
def test_a_target_that_fails_in_too_many_members(attitude):
    amount = np.array([[[1.0, 1.0]], [[0.1, 0.1]], [[0.1, 0.1]]])
    land = Landscape.build([1, 1], amount, features=["bird"], target=[1.5])
    config = ProblemConfig(uncertainty=UncertaintyConfig(attitude=attitude, level=0.9))
    assert explain(Problem(land, config)) == ["the target of 'bird'"]


@pytest.mark.parametrize("seed", range(6))
def test_the_conflict_is_as_small_as_any(seed):
    rng = np.random.default_rng(seed)
    conflicts = [set(rng.choice(7, rng.integers(2, 5), replace=False).tolist()) for _ in range(4)]

    def can_hold(kept):
        return not any(conflict <= set(kept) for conflict in conflicts)

    found = smallest_conflict(7, can_hold)
    assert not can_hold(found)
    smaller = itertools.combinations(range(7), len(found) - 1)
    assert all(can_hold(one) for one in smaller)
    assert smallest_conflict(3, lambda kept: True) == []
