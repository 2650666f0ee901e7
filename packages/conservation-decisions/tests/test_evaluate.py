"""Regret, splits, the core and the sensitivity of decisions."""

import numpy as np
import pytest

from conservation_decisions.allocate import Problem, allocate, verify_selection
from conservation_decisions.config import EvaluateConfig, OutputConfig, ProblemConfig, SolverConfig
from conservation_decisions.evaluate import (
    Losses,
    choose_cheapest,
    choose_random,
    choose_richest,
    decide_all,
    keep_status_quo,
    map_core,
    measure_losses,
    measure_sensitivity,
    pick_rule,
    split_members,
    split_space,
)
from conservation_decisions.evaluate.report import evaluate_landscape
from conservation_decisions.output import coarsen
from isopleth.errors import ConfigError, DataError
from isopleth.report import read_evaluation

EXACT = SolverConfig(gap=0.0, seconds=20)
CONFIG = ProblemConfig(objective="min_shortfall", target=0.4, budget_share=0.3)


def test_no_decision_beats_the_oracle(landscape):
    problem = Problem(landscape, CONFIG)
    decisions, gaps = decide_all(problem, EXACT)
    assert all(gap <= 1e-6 for gap in gaps.values())
    losses = measure_losses(problem, decisions, landscape.amounts, EXACT)
    for name in decisions:
        assert (losses.regret(name) >= -1e-6).all()
    means = {name: loss.mean() for name, loss in losses.loss.items()}
    # On the members that were decided on, the expected rule is the best there is.
    assert means["expected"] <= min(means.values()) + 1e-9
    assert (losses.bound <= losses.oracle + 1e-9).all()
    assert losses.payoff().shape == (3, landscape.members)


def test_simple_rules_keep_the_budget_and_the_locks(landscape):
    problem = Problem(landscape, CONFIG)
    for chosen in (
        choose_cheapest(problem), choose_richest(problem), choose_random(problem, seed=3),
        keep_status_quo(problem),
    ):  # fmt: skip
        assert verify_selection(problem, chosen) == []
    cheap = choose_cheapest(problem)
    left = problem.budget - landscape.cost[cheap].sum()
    assert (landscape.cost[~cheap] > left).all()
    assert keep_status_quo(problem).sum() == landscape.protected.sum()


def test_losses_are_by_the_targets_of_what_was_decided_on(landscape):
    problem = Problem(landscape.take_members([0, 1]), CONFIG)
    chosen = choose_richest(problem)
    other = 2 * landscape.amounts[[4]]
    held = other[0][:, chosen].sum(axis=1)
    naive = np.clip(1 - held / problem.targets, 0, 1).sum()
    losses = measure_losses(problem, {"richest": [chosen]}, other, EXACT)
    assert losses.loss["richest"][0] == pytest.approx(naive)
    assert losses.oracle[0] <= naive + 1e-9


def test_members_are_held_out_one_by_one_or_by_year(landscape):
    plain = split_members(landscape)
    assert sorted([*plain.seen, *plain.held_out]) == list(range(6))
    late = split_members(landscape, by_year=True)
    year = landscape.dataset["year"].values
    assert year[late.seen].max() < year[late.held_out].min()
    with pytest.raises(DataError, match="at least 4"):
        split_members(landscape.take_members([0, 1]))
    with pytest.raises(DataError, match="years"):
        split_members(landscape.replace_amount(landscape.amounts), by_year=True)


def test_blocks_of_space_are_the_whole(landscape):
    blocks = split_space(landscape, 6000.0)
    assert sum(block.units for block in blocks) == landscape.units
    assert len(blocks) == 4
    with pytest.raises(DataError, match="two or more"):
        split_space(landscape, 1e7)


def test_a_rule_is_never_picked_by_its_own_block():
    def block(**loss):
        return Losses({name: np.array([value]) for name, value in loss.items()}, np.zeros(1), np.zeros(1), [])

    blocks = [block(a=0.0, b=5.0), block(a=3.0, b=1.0), block(a=3.0, b=1.0)]
    rules, losses = pick_rule(blocks, ("a", "b"))
    assert rules == ["b", "a", "a"]  # block 0 would have wanted a
    assert losses.tolist() == [5.0, 3.0, 3.0]


def test_the_core_is_in_nearly_all_answers():
    chosen = [np.array(bits, bool) for bits in ((1, 1, 0), (1, 0, 0), (1, 1, 0), (1, 1, 0))]
    found = map_core(chosen, share=0.75)
    np.testing.assert_allclose(found.frequency, [1, 0.75, 0])
    assert found.core.tolist() == [True, True, False]
    assert found.never.tolist() == [False, False, True]


def test_sensitivity_tells_what_a_new_decision_would_cost(landscape):
    problem = Problem(landscape, CONFIG)
    found = {one.assumption: one for one in measure_sensitivity(problem, EXACT)}
    base = allocate(problem, EXACT).objective
    from dataclasses import replace

    less = Problem(landscape, replace(CONFIG, budget_share=0.24))
    assert found["budget"].low == pytest.approx(allocate(less, EXACT).objective - base, abs=1e-6)
    assert found["budget"].low >= -1e-9 >= found["budget"].high - 1e-6
    assert found["targets"].high >= -1e-9
    assert all(0 <= one.alike <= 1 for one in found.values())
    assert len(found) == 3 + len(landscape.features)


def test_coarse_maps_hold_means_and_no_unit(landscape):
    values = np.arange(landscape.units, dtype=float)
    grid = coarsen(landscape, {"value": values}, 4000.0)
    assert dict(grid.sizes) == {"y": 3, "x": 3}
    # The upper left square holds cells (0, 0), (0, 1), (1, 0), (1, 1) of six columns.
    assert float(grid["value"][0, 0]) == np.mean([0, 1, 6, 7])
    assert float(grid["value"].mean()) == pytest.approx(values.mean())


@pytest.mark.parametrize("held_out", ["members", "space", pytest.param("years", marks=pytest.mark.slow)])
def test_a_whole_evaluation(landscape, tmp_path, held_out):
    config = EvaluateConfig(
        source="landscape.zarr", out=tmp_path, held_out=held_out, block_m=6000, problem=CONFIG,
        solver=SolverConfig(seconds=5, gap=0.1), output=OutputConfig(coarsen_m=4000),
    )  # fmt: skip
    told = evaluate_landscape(landscape, config)
    record = read_evaluation(tmp_path)
    assert {"mean map", "random", "cheapest first", "richest first", "status quo"} <= set(
        record.scores[0].baselines
    )
    assert len(record.claims) == (4 if held_out == "space" else 3)
    assert told["regret"]["expected"] == pytest.approx(record.scores[0].model)
    assert "unit" not in (tmp_path / "decisions.csv").read_text().splitlines()[0].split(",")
    assert (tmp_path / "report.html").is_file()


def test_what_cannot_be_evaluated_is_refused():
    with pytest.raises(ConfigError, match="objective"):
        EvaluateConfig(source="x", problem=ProblemConfig())
    with pytest.raises(ConfigError, match="budget"):
        EvaluateConfig(source="x", problem=ProblemConfig(objective="min_shortfall"))
