"""Policies against every policy there is, indices against bisection, bounds against trees of beliefs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conservation_decisions.intervene import (
    MDP,
    POMDP,
    Arms,
    build_graph,
    evaluate_policy,
    manage_survey_stop,
    repair_arms,
    simulate_arms,
    solve_finite,
    solve_mdp,
    solve_pomdp,
    value_of_perfect_information,
    value_of_sample_information,
    whittle_indices,
    write_rules,
)
from conservation_decisions.intervene.process import read_process, write_process
from isopleth.errors import DataError


def random_mdp(seed: int, states: int = 4, actions: int = 3, discount: float = 0.9) -> MDP:
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(states), size=(actions, states))
    return MDP.build(chances, rng.normal(size=(actions, states)), discount)


@pytest.mark.parametrize("seed", range(5))
def test_no_policy_is_better_in_any_state(seed):
    mdp = random_mdp(seed)
    found = solve_mdp(mdp)
    every = np.array([evaluate_policy(mdp, policy) for policy in itertools.product(range(3), repeat=4)])
    np.testing.assert_allclose(found.value, every.max(axis=0))


def test_finite_horizons_end_at_the_endless_one():
    mdp = random_mdp(1)
    found = solve_finite(mdp, 300)
    np.testing.assert_allclose(found.value[0], solve_mdp(mdp).value, atol=1e-10)
    np.testing.assert_allclose(found.value[-1], mdp.reward.max(axis=0))
    assert found.policy.shape == (300, 4)


def bisect_index(transition, reward, discount, state):
    """Find the subsidy that makes both actions equally good, by value iteration."""
    low, high = -30.0, 30.0
    for _ in range(60):
        subsidy = (low + high) / 2
        paid = reward + np.array([[subsidy], [0.0]])
        found = solve_mdp(MDP.build(transition, paid, discount))
        each = paid[:, state] + discount * transition[:, state] @ found.value
        low, high = (subsidy, high) if each[1] > each[0] else (low, subsidy)
    return (low + high) / 2


@pytest.mark.parametrize("seed", range(4))
def test_indices_make_both_actions_equally_good(seed):
    rng = np.random.default_rng(seed)
    arms = Arms(rng.dirichlet(np.ones(4), size=(6, 2, 4)), rng.random((6, 2, 4)), 0.9)
    found = whittle_indices(arms)
    for arm in np.flatnonzero(found.indexable):
        expected = [bisect_index(arms.transition[arm], arms.reward[arm], 0.9, state) for state in range(4)]
        np.testing.assert_allclose(found.index[arm], expected, atol=1e-8)


def is_indexable(arms: Arms, arm: int) -> bool:
    """Look on a fine grid of subsidies whether a state that is left alone is ever acted on again."""
    before = np.zeros(arms.states, bool)
    for subsidy in np.linspace(-12, 12, 1201):
        paid = arms.reward[arm] + np.array([[subsidy], [0.0]])
        value = solve_mdp(MDP.build(arms.transition[arm], paid, arms.discount)).value
        each = paid + arms.discount * arms.transition[arm] @ value
        alone = each[0] >= each[1] - 1e-9
        if (before & ~alone).any():
            return False
        before = alone
    return True


def test_indexability_is_what_a_grid_of_subsidies_shows():
    rng = np.random.default_rng(8)
    # Near-deterministic arms without much discount, of which some are not indexable.
    chances = rng.dirichlet(np.full(3, 0.15), size=(400, 2, 3))
    arms = Arms(chances, rng.random((400, 2, 3)), 0.98)
    found = whittle_indices(arms)
    refused = np.flatnonzero(~found.indexable)
    assert 0 < refused.size < 100
    assert np.isnan(found.index[refused]).all()
    for arm in refused[:3]:
        assert not is_indexable(arms, arm)
    for arm in np.flatnonzero(found.indexable)[:3]:
        assert is_indexable(arms, arm)


def test_arms_do_not_depend_on_each_other(monkeypatch):
    import conservation_decisions.intervene.restless as module

    rng = np.random.default_rng(0)
    arms = Arms(rng.dirichlet(np.ones(5), size=(7, 2, 5)), rng.random((7, 2, 5)), 0.95)
    whole = whittle_indices(arms)
    monkeypatch.setattr(module, "_CHUNK_NUMBERS", 50)
    np.testing.assert_allclose(whittle_indices(arms).index, whole.index, rtol=1e-12)


def test_the_index_rule_earns_more_than_chance_and_spends_no_more_than_it_has():
    arms = repair_arms(np.linspace(0.02, 0.5, 40), repair=0.5)
    index = whittle_indices(arms).index
    chance = np.random.default_rng(0).random((200, 40, 2))
    nothing = np.full((40, 2), np.nan)
    earned = {
        name: simulate_arms(arms, rank, 4, years=200, seed=1).mean()
        for name, rank in {"whittle": index, "chance": chance, "nothing": nothing}.items()
    }
    assert earned["whittle"] > earned["chance"] > earned["nothing"]
    # Every site costs 2: a budget of 4 acts on two of them.
    alike = repair_arms(np.full(5, 0.5), repair=1.0)
    rich = simulate_arms(alike, np.ones((5, 2)), 10, years=50, costs=2.0)
    poor = simulate_arms(alike, np.ones((5, 2)), 4, years=50, costs=2.0)
    assert (rich == 5).all()
    assert poor.mean() < 5


@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_the_value_that_a_tree_of_beliefs_gives(seed):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(seed, states=3, actions=2, discount=0.4)
    pomdp = POMDP(mdp, rng.dirichlet(np.ones(2), size=(2, 3)), rng.dirichlet(np.ones(3)), ("o0", "o1"))

    def expand(belief, depth):
        if depth == 0:
            return 0.0
        values = []
        for action in range(2):
            chance, after = pomdp.follow(belief, action)
            ahead = sum(c * expand(b, depth - 1) for c, b in zip(chance, after, strict=True) if c > 0)
            values.append(belief @ mdp.reward[action] + 0.4 * ahead)
        return max(values)

    solution = solve_pomdp(pomdp, precision=1e-5)
    rest = 0.4**6 * np.abs(mdp.reward).max() / 0.6
    value = expand(pomdp.start, 6)
    assert solution.lower - rest <= value <= solution.upper + rest
    assert solution.upper - solution.lower <= 1e-5 * abs(solution.upper) + 1e-12


def test_seeing_everything_is_the_process_itself():
    mdp = random_mdp(2, states=3, actions=2)
    seen = np.broadcast_to(np.eye(3), (2, 3, 3)).copy()
    solution = solve_pomdp(POMDP(mdp, seen, np.array([0.0, 1.0, 0.0]), ("a", "b", "c")), precision=1e-8)
    assert solution.lower == pytest.approx(solve_mdp(mdp).value[1], abs=1e-6)


def test_a_time_limit_leaves_bounds():
    solution = solve_pomdp(manage_survey_stop(), precision=1e-12, seconds=0.05)
    assert solution.lower <= 1405.29 <= solution.upper + 0.01
    assert solution.seconds < 5


def test_graphs_and_rules_tell_the_policy():
    graph = build_graph(solve_pomdp(manage_survey_stop(), precision=1e-4))
    assert graph.to_dict()["nodes"][0]["action"] == "manage"
    assert graph.to_dot().startswith("digraph policy {\n  0 [")
    assert all(0 <= follows < len(graph.nodes) for node in graph.nodes for follows in node.after.values())
    assert "Once seen: begin anew." in write_rules(graph)
    mdp = MDP.build(
        [np.eye(2), np.eye(2)], [[1, 0], [0, 1]], 0.9, states=("wet", "dry"), actions=("wait", "act")
    )
    assert write_rules((mdp, solve_mdp(mdp))) == ["In wet: wait.", "In dry: act."]


def test_processes_come_back_from_their_dataset():
    tiger = manage_survey_stop(belief=0.7)
    back = read_process(write_process(tiger), discount=0.5)
    assert isinstance(back, POMDP)
    assert back.mdp.discount == 0.95
    assert back.observations == tiger.observations
    np.testing.assert_array_equal(back.observation, tiger.observation)
    np.testing.assert_array_equal(back.start, [0.7, 1 - 0.7])
    plain = write_process(tiger.mdp)
    assert isinstance(read_process(plain, discount=0.5), MDP)
    with pytest.raises(DataError, match="reward"):
        read_process(plain.drop_vars("reward"), discount=0.5)


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_a_sample_is_worth_no_more_than_the_truth(seed):
    rng = np.random.default_rng(seed)
    payoff, chance = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4))
    likelihood = rng.dirichlet(np.ones(3), size=4)
    sample = value_of_sample_information(payoff, likelihood, chance)
    assert -1e-12 <= sample <= value_of_perfect_information(payoff, chance) + 1e-12
    told = value_of_sample_information(payoff, np.eye(4), chance)
    assert told == pytest.approx(value_of_perfect_information(payoff, chance))
    assert value_of_sample_information(payoff, np.full((4, 2), 0.5), chance) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"transition": np.full((1, 2, 2), 0.6)}, "add up to 1, got 1.2"),
        ({"transition": np.array([[[2.0, -1.0], [0, 1]]])}, "transition"),
        ({"reward": np.array([[np.nan, 0.0]])}, "finite"),
        ({"reward": np.zeros((2, 2))}, "shape"),
        ({"discount": 1.0}, "discount"),
    ],
)
def test_what_is_no_decision_process_is_refused(change, told):
    parts = {"transition": np.array([np.eye(2)]), "reward": np.zeros((1, 2)), "discount": 0.9, **change}
    with pytest.raises(DataError, match=told):
        MDP.build(**parts)
