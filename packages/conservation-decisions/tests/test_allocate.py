"""The exact solver against every choice there is, on landscapes small enough to list them all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conservation_decisions.allocate import (
    Problem,
    allocate,
    anneal,
    find_portfolio,
    measure_equity,
    rank_importance,
    replacement_cost,
    verify_selection,
)
from conservation_decisions.allocate.equity import gini
from conservation_decisions.allocate.model import build_model
from conservation_decisions.allocate.problem import tail_mean
from conservation_decisions.allocate.start import find_start
from conservation_decisions.config import ProblemConfig, SampleConfig, SolverConfig, UncertaintyConfig
from conservation_decisions.landscape import Landscape
from conservation_decisions.sample import make_landscape
from isopleth.errors import ConfigError, DataError

EXACT = SolverConfig(gap=0.0)
CASES = [
    ("min_set", "mean"),
    ("min_set", "chance"),
    ("min_set", "cvar"),
    *((o, a) for o in ("max_coverage", "min_shortfall", "max_utility") for a in ("mean", "expected", "cvar")),
    *(("min_largest_shortfall", a) for a in ("mean", "expected", "cvar")),
]


def make_problem(landscape, objective, attitude, **changes):
    budget = {} if objective == "min_set" else {"budget_share": 0.45}
    return Problem(
        landscape,
        ProblemConfig(
            objective=objective, target=0.4, presence=2.0,
            uncertainty=UncertaintyConfig(attitude=attitude, level=0.6),
            **{**budget, **changes},
        ),
    )  # fmt: skip


def naive_loss(problem, chosen):
    """Compute the loss in plain loops, from the landscape alone."""
    config, land = problem.config, problem.landscape
    maps = [land.mean_amounts] if config.uncertainty.attitude == "mean" else list(land.amounts)
    targets = config.target * land.mean_amounts.sum(axis=1)
    losses = []
    for amounts in maps:
        parts = []
        for weight, row, target in zip(land.weight, amounts, targets, strict=True):
            held = sum(row[chosen])
            match config.objective:
                case "max_utility":
                    parts.append(-weight * held)
                case "max_coverage":
                    parts.append(weight * (not any(row[chosen] > config.presence)))
                case "min_largest_shortfall":
                    parts.append(max(0.0, 1 - held / target))
                case _:
                    parts.append(weight * max(0.0, 1 - held / target))
        losses.append(max(parts) if config.objective == "min_largest_shortfall" else sum(parts))
    if config.uncertainty.attitude == "cvar":
        # The minimum over eta is reached at one of the losses.
        share = 1 / ((1 - config.uncertainty.level) * len(losses))
        return min(eta + share * sum(max(0.0, loss - eta) for loss in losses) for eta in losses)
    return float(np.mean(losses))


def naive_boundary(landscape, chosen, edge_factor):
    total = sum(landscape.exposed[chosen]) * edge_factor
    for first, second, length in zip(*landscape.edges, strict=True):
        total += length * (chosen[first] != chosen[second])
    return total


@pytest.mark.parametrize(("objective", "attitude"), CASES)
@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_beats_the_answer(random_landscape, subsets, objective, attitude, penalty, seed):
    problem = make_problem(random_landscape(seed), objective, attitude, boundary_penalty=penalty)
    values = {}
    for number, chosen in enumerate(subsets(problem.landscape.units)):
        if verify_selection(problem, chosen):
            continue
        loss = problem.landscape.cost[chosen].sum() if objective == "min_set" else naive_loss(problem, chosen)
        values[number] = loss + penalty * naive_boundary(problem.landscape, chosen, 0.5)
    solution = allocate(problem, EXACT)
    if not values:
        assert solution.status == "infeasible"
        assert solution.selected is None
        return
    assert solution.status == "optimal"
    assert solution.objective == pytest.approx(min(values.values()), abs=1e-6)
    assert solution.bound <= solution.objective + 1e-6
    assert verify_selection(problem, solution.selected) == []


def test_verification_knows_what_the_attitudes_demand(random_landscape, subsets):
    land = random_landscape(5)
    for attitude in ("chance", "cvar"):
        problem = make_problem(land, "min_set", attitude)
        for chosen in subsets(land.units):
            held = land.amounts[:, :, chosen].sum(axis=2)
            if attitude == "chance":  # missed in at most floor(0.4 * 3) = 1 of 3 members
                fine = ((held < problem.targets * (1 - 1e-9)).sum(axis=0) <= 1).all()
            else:  # worst 1.2 of 3 members: the worst and a fifth of the next
                ordered = np.sort(held, axis=0)
                fine = ((ordered[0] + 0.2 * ordered[1]) / 1.2 >= problem.targets * (1 - 1e-9)).all()
            assert bool(verify_selection(problem, chosen)) != fine


def test_the_model_has_the_rows_that_the_literature_counts(random_landscape):
    # One row a target and two a shared boundary; four more numbers for each of these.
    land = random_landscape(1, units=9)
    plain = build_model(make_problem(land, "min_set", "mean"))
    joined = build_model(make_problem(land, "min_set", "mean", boundary_penalty=0.1))
    assert plain.matrix.shape == (3, 9)
    assert plain.matrix.nnz == (land.mean_amounts > 0).sum()
    assert joined.matrix.shape == (3 + 2 * 9, 9 + 9)
    assert joined.matrix.nnz == plain.matrix.nnz + 4 * 9


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.floats(0, 0.95))
def test_the_tail_mean_is_the_minimum_over_thresholds(losses, level):
    share = 1 / ((1 - level) * len(losses))
    naive = min(eta + share * sum(max(0.0, loss - eta) for loss in losses) for eta in losses)
    assert tail_mean(losses, level) == pytest.approx(naive, abs=1e-9)


def test_locks_budget_and_floors_hold(random_landscape):
    land = random_landscape(2, locked_in=[1, 0, 0, 0, 0, 0, 0], locked_out=[0, 0, 1, 0, 0, 0, 0])
    problem = make_problem(land, "min_shortfall", "expected", group_floor=0.25, budget_share=0.6)
    chosen = allocate(problem, EXACT).selected
    assert chosen[0]
    assert not chosen[2]
    assert (measure_equity(problem, chosen).share >= 0.25 - 1e-9).all()
    free = make_problem(land, "min_shortfall", "expected", budget_share=0.6)
    assert allocate(free, EXACT).objective <= allocate(problem, EXACT).objective + 1e-9


def test_protected_units_are_kept_unless_they_are_ignored(random_landscape):
    land = random_landscape(3, protected=[0, 0, 0, 0, 0, 1, 1])
    kept = allocate(make_problem(land, "min_set", "mean"), EXACT)
    free = allocate(make_problem(land, "min_set", "mean", protected="ignored"), EXACT)
    assert kept.selected[-2:].all()
    assert free.objective <= kept.objective


def test_targets_of_everywhere_count_what_no_unit_has(random_landscape):
    land = random_landscape(0)
    land = land.assign(total=2 * land.totals())
    units, everywhere = (
        Problem(land, ProblemConfig(target=0.2, denominator=kind)).targets for kind in ("units", "everywhere")
    )
    np.testing.assert_allclose(everywhere, 2 * units)
    with pytest.raises(DataError, match="total"):
        _ = Problem(random_landscape(0), ProblemConfig(target=0.2, denominator="everywhere")).targets


def test_sizes_far_apart_come_out_right():
    # Amounts of 1e12 beside 1e-6, each row scaled by its own target.
    land = Landscape.build([1, 1.5, 1], [[1e12, 2e12, 1e12], [1e-6, 2e-6, 1e-6]], target=[2e12, 2e-6])
    assert allocate(Problem(land, ProblemConfig()), EXACT).selected.tolist() == [False, True, False]
    tiny = Landscape.build([1e-9, 2e-9], [[1, 2]], target=[2])
    assert allocate(Problem(tiny, ProblemConfig()), EXACT).selected.tolist() == [False, True]


def test_a_time_limit_without_an_answer_is_an_answer():
    rng = np.random.default_rng(0)
    land = Landscape.build(rng.uniform(1, 2, 3000), rng.random((40, 3000)))
    problem = Problem(land, ProblemConfig(target=0.3, uncertainty=UncertaintyConfig()))
    solution = allocate(problem, SolverConfig(seconds=1e-9, gap=0.0))
    assert solution.status == "time limit"
    assert solution.selected is None
    told = solution.describe()
    assert told["status"] == "time limit"
    assert told["optimality_gap"] == np.inf
    assert "units" not in told


def test_a_node_limit_gives_the_same_answer_again_and_its_gap():
    land = make_landscape(SampleConfig(side=10, features=8, members=12), seed=0).landscape
    problem = make_problem(land, "min_shortfall", "cvar", budget_share=0.2)
    one, two = (allocate(problem, SolverConfig(gap=0.0, nodes=1)) for _ in range(2))
    assert one.status == "node limit"
    assert (one.selected == two.selected).all()
    assert one.bound == two.bound
    assert 0 < one.gap < 0.2
    with pytest.raises(ConfigError, match="nodes"):
        SolverConfig(nodes=-1)


@pytest.mark.parametrize("objective", ["min_shortfall", "min_largest_shortfall"])
@pytest.mark.parametrize("attitude", ["expected", "cvar"])
def test_no_single_swap_betters_the_choice_to_begin_with(random_landscape, objective, attitude):
    problem = make_problem(random_landscape(3, units=12, locked_in=[1] + [0] * 11), objective, attitude)
    chosen = find_start(problem, EXACT)
    assert verify_selection(problem, chosen) == []
    assert allocate(problem, EXACT).objective <= problem.objective(chosen) + 1e-9
    for out in (None, *np.flatnonzero(chosen & ~problem.locked_in)):
        for enters in np.flatnonzero(~chosen):
            other = chosen.copy()
            other[enters] = True
            if out is not None:
                other[out] = False
            if not verify_selection(problem, other):
                assert problem.objective(other) >= problem.objective(chosen) - 1e-8


def test_the_gap_is_measured_from_what_was_verified(random_landscape):
    solution = allocate(make_problem(random_landscape(0, units=12), "min_set", "mean"), SolverConfig(gap=0.2))
    assert solution.describe()["optimality_gap"] <= 0.2 + 1e-9
    assert solution.objective == solution.problem.objective(solution.selected)


def test_what_cannot_be_asked_is_refused(random_landscape):
    land = random_landscape(0)
    with pytest.raises(ConfigError, match="budget"):
        Problem(land, ProblemConfig(objective="min_shortfall", target=0.2))
    with pytest.raises(ConfigError, match="target"):
        Problem(land, ProblemConfig())
    with pytest.raises(ConfigError, match="chance"):
        ProblemConfig(objective="max_utility", uncertainty=UncertaintyConfig(attitude="chance"))
    nobody = Landscape.build([1, 1], [[1, 1], [0, 0]], features=["bird", "ghost"])
    with pytest.raises(DataError, match="ghost"):
        Problem(nobody, ProblemConfig(target=0.2))


def test_the_portfolio_is_distinct_and_nearly_as_good(random_landscape):
    best = allocate(make_problem(random_landscape(1, units=12), "min_set", "mean"), EXACT)
    others = find_portfolio(best, 3, distinct=0.3, slack=0.3, solver=EXACT)
    assert others
    everything = [best, *others]
    least = np.ceil(0.3 * best.selected.sum())
    for k, one in enumerate(everything):
        assert verify_selection(one.problem, one.selected) == []
        assert one.objective <= best.objective * 1.3 + 1e-9
        for other in everything[:k]:
            assert (other.selected & ~one.selected).sum() >= least


def test_replacement_costs_are_what_the_other_problem_costs(random_landscape, subsets):
    problem = make_problem(random_landscape(4), "min_set", "mean")
    best = allocate(problem, EXACT)
    found = replacement_cost(best, solver=EXACT)
    for unit in np.flatnonzero(best.selected):
        without = [c for c in subsets(7) if not c[unit] and not verify_selection(problem, c)]
        expected = min((problem.objective(c) for c in without), default=np.inf) - best.objective
        assert found[unit] == pytest.approx(expected, abs=1e-9)
    assert np.isnan(found[~best.selected]).all()


def test_ranks_fall_from_one_and_cover_what_was_chosen(random_landscape):
    best = allocate(make_problem(random_landscape(6, units=10), "min_set", "mean"), EXACT)
    rank = rank_importance(best, steps=4, solver=EXACT)
    assert (rank[best.selected] > 0).all()
    assert (rank[~best.selected] == 0).all()
    assert set(np.round(rank[best.selected], 6)) <= {0.25, 0.5, 0.75, 1.0}
    assert rank.max() == 1


@pytest.mark.parametrize("penalty", [0.0, 0.2])
def test_annealing_never_beats_the_exact_answer(random_landscape, penalty):
    problem = make_problem(random_landscape(3, units=14), "min_set", "mean", boundary_penalty=penalty)
    chosen = anneal(problem, iterations=4000, seed=1)
    assert verify_selection(problem, chosen) == []
    exact = allocate(problem, EXACT)
    assert problem.objective(chosen) >= exact.objective - 1e-9
    assert problem.objective(chosen) <= 1.3 * exact.objective


@settings(max_examples=25)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=8))
def test_gini_is_the_mean_difference(values):
    total = sum(values)
    naive = sum(abs(a - b) for a in values for b in values) / (2 * len(values) * total) if total > 0 else 0.0
    assert gini(values) == pytest.approx(naive, abs=1e-9)
