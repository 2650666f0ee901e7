"""Values that others have published, or that follow from closed forms; none is tuned to the code."""

import numpy as np
import pytest

from conservation_decisions.allocate import Problem, allocate
from conservation_decisions.config import ProblemConfig, SolverConfig
from conservation_decisions.intervene import (
    MDP,
    Arms,
    build_graph,
    evaluate_policy,
    gittins_beta,
    manage_survey_stop,
    repair_arms,
    solve_mdp,
    solve_pomdp,
    whittle_indices,
    write_rules,
)
from conservation_decisions.landscape import Landscape
from conservation_decisions.plan import Cucb, Lizard, Random, make_environment, run_bandit


def test_three_units_two_of_them_locked():
    # A test of the R package prioritizr.
    land = Landscape.build(
        [1, 2, 2], [[2, 1, 1], [10, 10, 10]], target=[2, 10], locked_in=[0, 1, 0], locked_out=[1, 0, 0]
    )
    solution = allocate(Problem(land, ProblemConfig()), SolverConfig(gap=0.0))
    assert solution.selected.tolist() == [False, True, True]
    assert solution.objective == 4


@pytest.fixture(scope="module")
def tiger():
    """The Sumatran tiger of the smsPOMDP package (Pascal et al. 2020)."""
    return solve_pomdp(manage_survey_stop(), precision=1e-6)


def test_the_tiger_is_managed_for_ten_years_and_surveyed_for_two(tiger):
    assert build_graph(tiger).runs("unseen") == [("manage", 10), ("survey", 2), ("stop", 0)]
    assert "manage for 10 years, then survey for 2 years, then stop" in write_rules(build_graph(tiger))[1]


def test_the_tigers_value_and_thresholds(tiger):
    assert tiger.lower <= 1405.29 + 0.005
    assert tiger.upper >= 1405.29 - 0.005
    assert tiger.upper - tiger.lower < 0.01
    names = tiger.pomdp.mdp.actions
    beliefs = np.linspace(0, 1, 2001)
    actions = [names[tiger.act([b, 1 - b])] for b in beliefs]
    survey = beliefs[[action == "survey" for action in actions]]
    assert survey.min() == pytest.approx(0.0881, abs=1e-3)
    assert survey.max() == pytest.approx(0.5681, abs=1e-3)
    assert actions[0] == "stop"
    assert actions[-1] == "manage"


@pytest.mark.parametrize(
    ("discount", "decay", "repair"), [(0.9, 0.2, 0.5), (0.95, 0.05, 0.9), (0.5, 0.1, 0.7)]
)
def test_repair_of_a_site_that_is_good_or_bad(discount, decay, repair):
    found = whittle_indices(repair_arms([decay], repair=repair, discount=discount))
    bad = discount * repair / (1 - discount * (1 - decay))
    good = discount * decay / (1 - discount * (1 - repair))
    np.testing.assert_allclose(found.index[0], [bad, good], rtol=1e-12)
    if (discount, decay, repair) == (0.9, 0.2, 0.5):
        np.testing.assert_allclose(found.index[0], [1.60714, 0.32727], atol=5e-6)


def make_deadlines(deadline: int, most: int, cost: float, discount: float, seed: int) -> Arms:
    """Jobs with a deadline T and B units of work left (Yu, Xu and Tong 2018); state 0 is no job."""
    rng = np.random.default_rng(seed)
    states = [(0, 0), *((t, b) for t in range(1, deadline + 1) for b in range(most + 1))]
    number = {state: k for k, state in enumerate(states)}
    arrivals = rng.random(len(states))
    arrivals /= arrivals.sum()
    transition, reward = np.zeros((2, len(states), len(states))), np.zeros((2, len(states)))
    for (t, b), k in number.items():
        for action in (0, 1):
            left = max(b - action, 0)
            if t <= 1:
                transition[action, k] = arrivals
            else:
                transition[action, k, number[t - 1, left]] = 1
            if t >= 1 and b > 0:
                reward[action, k] = (1 - cost) * action - (0.2 * left**2 if t == 1 else 0.0)
    return Arms(transition[None], reward[None], discount)


def test_deadlines_have_the_index_in_closed_form():
    discount, cost, deadline, most = 0.95, 0.5, 5, 4
    found = whittle_indices(make_deadlines(deadline, most, cost, discount, seed=1))
    assert found.indexable.all()

    def penalty(b: int) -> float:
        return 0.2 * b**2

    expected = [0.0]
    for t in range(1, deadline + 1):
        for b in range(most + 1):
            if b == 0:
                expected.append(0.0)
            elif b <= t - 1:
                expected.append(1 - cost)
            else:
                late = penalty(b - t + 1) - penalty(b - t)
                expected.append(discount ** (t - 1) * late + 1 - cost)
    np.testing.assert_allclose(found.index[0], expected, atol=1e-12)


def test_arms_that_move_alike_have_the_difference_of_rewards():
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(5), size=(20, 1, 5)).repeat(2, axis=1)
    reward = rng.random((20, 2, 5))
    found = whittle_indices(Arms(chances, reward, 0.9))
    assert found.indexable.all()
    np.testing.assert_allclose(found.index, reward[:, 1] - reward[:, 0], atol=1e-12)


def test_gittins_indices_of_an_unknown_chance():
    # Gittins, Glazebrook and Weber (2011), tables for Bernoulli rewards.
    assert gittins_beta(1, 1, 0.9, depth=200) == pytest.approx(0.70289, abs=5e-6)
    assert gittins_beta(1, 1, 0.99, depth=1200) == pytest.approx(0.86986, abs=5e-6)


def test_the_example_of_markovianbandit():
    # Its index is of the average reward: the limit of ours.
    chances = np.array([[[[0.5, 0.5], [0.25, 0.75]], [[1, 0], [0.5, 0.5]]]])
    reward = np.array([[[0.5, 0.5], [2.0, 1.0]]])
    found = whittle_indices(Arms(chances, reward, 1 - 1e-7))
    np.testing.assert_allclose(found.index[0], [1.5, 1.0], atol=1e-5)


@pytest.mark.parametrize(
    ("discount", "value"), [(0.9, (26.244, 29.484, 33.484)), (0.96, (74.65, 78.11, 82.11))]
)
def test_the_forest_is_left_to_grow(discount, value):
    wait = [[0.1, 0.9, 0], [0.1, 0, 0.9], [0.1, 0, 0.9]]
    forest = MDP.build([wait, [[1, 0, 0]] * 3], [[0, 0, 4], [0, 1, 2]], discount, actions=("wait", "cut"))
    found = solve_mdp(forest)
    assert found.policy.tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.value, value, atol=0.005)
    np.testing.assert_allclose(evaluate_policy(forest, found.policy), found.value)


@pytest.mark.parametrize("budget", [1.0, 5.0])
@pytest.mark.parametrize("parks", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_lizard_regrets_less_than_cucb_and_cucb_less_than_chance(budget, parks):
    made = [make_environment(25, budget, seed=seed) for seed in range(parks)]
    last = {
        policy: np.array(
            [run_bandit(policy(park), park, rounds=500, seed=k)[-1] for k, park in enumerate(made)]
        )
        for policy in (Random, Cucb, Lizard)
    }
    assert last[Lizard].mean() < last[Cucb].mean() < last[Random].mean()
    # In every single park too, so that the order is none of chance.
    assert (last[Lizard] < last[Cucb]).all()
