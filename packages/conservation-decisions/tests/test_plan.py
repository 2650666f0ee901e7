"""Routes against every walk there is, the knapsack against every allocation, sites against every set."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conservation_decisions.config import SolverConfig
from conservation_decisions.landscape import Landscape
from conservation_decisions.plan import (
    Coverage,
    Information,
    Lizard,
    PatrolProblem,
    Thompson,
    best_allocation,
    choose_sites,
    make_environment,
    route_exactly,
    route_greedily,
    route_minimax,
    run_bandit,
)
from isopleth.errors import ConfigError, DataError

EXACT = SolverConfig(gap=0.0)


def make_park(seed: int, *, side: int = 3, members: int = 3, **options) -> PatrolProblem:
    rng = np.random.default_rng(seed)
    rows, cols = (axis.ravel() for axis in np.mgrid[:side, :side])
    number = np.arange(side * side).reshape(side, side)
    first = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    second = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    land = Landscape.build(
        np.ones(side * side), np.ones((1, side * side)), edges=(first, second, np.ones(first.size)),
        threat=rng.random((members, side * side)), x=cols, y=rows,
    )  # fmt: skip
    return PatrolProblem(landscape=land, post=0, **{"patrols": 1, "steps": 4, "rate": 0.8, **options})


def list_walks(problem):
    near = problem.landscape.boundary.toarray() > 0
    np.fill_diagonal(near, 1)
    for cells in itertools.product(range(len(near)), repeat=problem.steps - 1):
        walk = [problem.post, *cells, problem.post]
        if all(near[a, b] for a, b in itertools.pairwise(walk)):
            yield walk


def naive_value(problem, routes, threat):
    total = 0.0
    for cell in range(problem.landscape.units):
        effort = sum(route[1:].count(cell) for route in routes)
        total += threat[cell] * (1 - np.exp(-problem.rate * effort))
    return total


def assert_walks(problem, routes):
    near = problem.landscape.boundary.toarray() > 0
    np.fill_diagonal(near, 1)
    assert len(routes) == problem.patrols
    for route in routes:
        assert len(route) == problem.steps + 1
        assert route[0] == route[-1] == problem.post
        assert all(near[a, b] for a, b in itertools.pairwise(route))


@pytest.mark.parametrize(("seed", "patrols"), [(0, 1), (1, 1), (2, 2)])
def test_no_walk_finds_more(seed, patrols):
    problem = make_park(seed, patrols=patrols)
    threat = problem.threats.mean(axis=0)
    walks = list(list_walks(problem))
    best = max(
        naive_value(problem, routes, threat)
        for routes in itertools.combinations_with_replacement(walks, patrols)
    )
    found = route_exactly(problem, EXACT)
    assert_walks(problem, found.routes)
    assert found.value == pytest.approx(best, abs=1e-6)
    assert found.value == pytest.approx(naive_value(problem, found.routes, threat))
    assert found.bound >= found.value - 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_greedy_routes_are_walks_and_never_better(seed):
    problem = make_park(seed, side=5, patrols=2, steps=8)
    greedy, exact = route_greedily(problem), route_exactly(problem, EXACT)
    assert_walks(problem, greedy.routes)
    assert 0.7 * exact.value <= greedy.value <= exact.value + 1e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_no_walk_has_a_smaller_largest_regret(seed):
    problem = make_park(seed)
    walks = list(list_walks(problem))
    values = np.array(
        [[naive_value(problem, [walk], threat) for threat in problem.threats] for walk in walks]
    )
    regret = (values.max(axis=0) - values).max(axis=1)
    found = route_minimax(problem, EXACT)
    assert_walks(problem, found.routes)
    np.testing.assert_allclose(found.best, values.max(axis=0), atol=1e-6)
    assert found.regret.max() == pytest.approx(regret.min(), abs=1e-6)


def make_uneven_park(seed: int, **options) -> PatrolProblem:
    """A grid whose columns lie 2, 4 and 6 km apart, its rows 2 km: moves of one, two and three steps."""
    park = make_park(seed, side=4).landscape
    x, y = park.dataset["x"].values, park.dataset["y"].values
    land = park.assign(x=np.array([0.0, 2000, 6000, 12_000])[x], y=2000.0 * y)
    return PatrolProblem(landscape=land, post=1, **{"patrols": 1, "steps": 6, "rate": 0.8, **options})


def list_timed_walks(problem, walk, left):
    """List every walk that comes back in time, with the steps spent in each cell, in plain recursion."""
    x, y = problem.landscape.centres.T
    here = walk[-1][0]
    if left == 0 and here == problem.post:
        yield walk
    for end in range(problem.landscape.units):
        beside = abs(x[end] - x[here]) + abs(y[end] - y[here])
        touch = problem.landscape.boundary[here, end] > 0
        steps = 1 if end == here else round(beside / 2000) if touch else left + 1
        if steps <= left:
            yield from list_timed_walks(problem, [*walk, (end, steps)], left - steps)


@pytest.mark.parametrize("seed", [0, 1])
def test_ways_take_their_time_and_no_timed_walk_finds_more(seed):
    problem = make_uneven_park(seed)
    threat, best = problem.threats.mean(axis=0), 0.0
    for walk in list_timed_walks(problem, [(problem.post, 0)], problem.steps):
        spent = np.zeros(problem.landscape.units)
        for (start, _), (end, steps) in itertools.pairwise(walk):
            spent[start] += steps // 2
            spent[end] += steps - steps // 2
        best = max(best, float(threat @ (1 - np.exp(-problem.rate * spent))))
    exact, greedy = route_exactly(problem, EXACT), route_greedily(problem)
    assert exact.value == pytest.approx(best, abs=1e-6)
    for found in (exact, greedy, route_minimax(problem, EXACT)):
        (route,) = found.routes
        assert problem.arrivals(route)[-1] == problem.steps
        assert problem.effort(found.routes).sum() == problem.steps
    assert greedy.value <= exact.value + 1e-6


def test_ways_are_measured_on_the_ground():
    # A degree of longitude at 60 degrees north is half one at the equator: 55.8 km on the ellipsoid.
    land = make_park(0).landscape
    far = Landscape(land.assign(y=60.0 + 0 * land.dataset["y"]).dataset.assign_attrs(crs="EPSG:4326"))
    problem = PatrolProblem(landscape=far, post=0, steps=24, speed_kmh=5.0, step_minutes=60)
    assert problem.move_steps(0, 1) == 12  # 11.16 hours
    one = PatrolProblem(landscape=far, post=0, speed_kmh=0)
    assert one.move_steps(0, 1) == 1
    with pytest.raises(ConfigError, match=r"steps must be at least \d+ to go anywhere"):
        make_uneven_park(0, speed_kmh=0.5)
    with pytest.raises(ConfigError, match="speed_kmh"):
        make_uneven_park(0, speed_kmh=-1.0)


def test_parks_without_paths_or_threats_are_refused():
    alone = Landscape.build([1, 1], [[1, 1]], threat=[0.1, 0.2])
    with pytest.raises(DataError, match="edges"):
        PatrolProblem(landscape=alone, post=0)
    with pytest.raises(ConfigError, match="post"):
        PatrolProblem(landscape=make_park(0).landscape, post=99)
    quiet = Landscape(make_park(0).landscape.dataset.drop_vars("threat"))
    with pytest.raises(DataError, match="threat"):
        route_exactly(PatrolProblem(landscape=quiet, post=0))


def test_islands_are_left_alone():
    land = Landscape.build([1] * 3, [[1] * 3], edges=([0], [1], [1.0]), threat=[0.1, 0.2, 1.0])
    problem = PatrolProblem(landscape=land, post=0, patrols=1, steps=4, speed_kmh=0)
    for routes in (route_exactly(problem).routes, route_greedily(problem).routes):
        assert 2 not in routes[0]


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 4), st.integers(0, 6))
def test_the_knapsack_is_exact(seed, targets, levels, budget):
    values = np.random.default_rng(seed).normal(size=(targets, levels))
    costs = np.arange(levels)
    found = best_allocation(values, costs, budget)
    assert costs[found].sum() <= budget
    every = itertools.product(range(levels), repeat=targets)
    best = max(values[range(targets), list(c)].sum() for c in every if costs[list(c)].sum() <= budget)
    assert values[range(targets), found].sum() == pytest.approx(best)


def test_lizards_index_is_the_tightest_of_all_bounds():
    park = make_environment(6, 1.0, seed=2)
    policy, rng = Lizard(park), np.random.default_rng(0)
    run_bandit(policy, park, rounds=30, seed=0)
    found = policy.index(31, rng)
    mean = np.where(policy.visits > 0, policy.finds / np.maximum(policy.visits, 1), 1.0)
    upper = mean + np.sqrt(-np.log(0.1) / (2 * np.maximum(policy.visits, 1)))
    upper[:, 0] = 0
    effort = np.linspace(0, 1, 11)
    for i, j in itertools.product(range(6), range(11)):
        bounds = [
            upper[k, m]
            + park.slope * max(0.0, effort[j] - effort[m])
            + park.slope * np.abs(park.features[i] - park.features[k]).max()
            for k in range(6)
            for m in range(11)
        ]
        assert found[i, j] == pytest.approx(min(bounds))


def test_the_parks_slope_bounds_what_rewards_do():
    for seed in range(5):
        park = make_environment(40, 1.0, seed=seed)
        apart = np.abs(park.features[:, None] - park.features[None]).max(axis=2)
        differ = np.abs(park.mean[:, None] - park.mean[None]).max(axis=2)
        assert (differ <= park.slope * apart + 1e-12).all()
        assert (np.diff(park.mean, axis=1) <= park.slope * 0.1 + 1e-12).all()
        assert (np.diff(park.mean, axis=1) >= 0).all()


def test_regret_is_of_expectations_and_comes_back_with_the_seed():
    park = make_environment(8, 1.0, seed=0)
    one, two = (run_bandit(Thompson(park), park, rounds=50, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert (np.diff(one, prepend=0.0) >= -1e-12).all()


def test_information_is_the_log_determinant():
    rng = np.random.default_rng(0)
    places = rng.random((12, 2))
    sites, gains = choose_sites(Information(places, reach=0.3, noise=0.2), 5)
    apart = ((places[sites][:, None] - places[sites][None]) ** 2).sum(axis=2)
    covariance = np.exp(-0.5 * apart / 0.3**2)
    expected = 0.5 * np.linalg.slogdet(np.eye(5) + covariance / 0.2)[1]
    assert sum(gains) == pytest.approx(expected)
    assert (np.diff(gains) <= 1e-12).all()


@pytest.mark.parametrize("seed", range(4))
def test_lazy_is_greedy_and_greedy_reaches_its_guarantee(seed):
    rng = np.random.default_rng(seed)
    chance, weight = rng.random((9, 15)) * (rng.random((9, 15)) < 0.4), rng.random(15)

    def worth(sites):
        return float(weight @ (1 - np.prod(1 - chance[list(sites)], axis=0)))

    sites, gains = choose_sites(Coverage(chance, weight), 4)
    plain: list[int] = []
    for _ in range(4):
        plain.append(max(set(range(9)) - set(plain), key=lambda s: worth([*plain, s])))
    assert sites == plain
    assert sum(gains) == pytest.approx(worth(sites))
    best = max(worth(one) for one in itertools.combinations(range(9), 4))
    assert worth(sites) >= (1 - 1 / np.e) * best
    with pytest.raises(ConfigError, match="sites"):
        choose_sites(Coverage(chance), 10)
