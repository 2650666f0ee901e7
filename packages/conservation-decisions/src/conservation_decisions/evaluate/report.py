"""Decide on some predictions, judge by others, and write it all down: the verb ``evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conservation_decisions import __version__
from conservation_decisions.allocate.problem import Problem, tail_mean
from conservation_decisions.config import EvaluateConfig, UncertaintyConfig
from conservation_decisions.evaluate.core import map_core
from conservation_decisions.evaluate.regret import (
    EXPECTED,
    MEAN,
    Losses,
    decide_all,
    fix_targets,
    measure_losses,
)
from conservation_decisions.evaluate.sensitivity import measure_sensitivity
from conservation_decisions.evaluate.split import Split, pick_rule, split_members, split_space
from conservation_decisions.figures import draw_losses, draw_sensitivity, draw_units
from conservation_decisions.intervene.information import value_of_perfect_information
from conservation_decisions.landscape import Bools, Floats, Landscape
from conservation_decisions.output import write_layers
from isopleth.config import config_hash
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    fingerprint,
    measure_cost,
    publish,
)
from isopleth.verify import Interval, block_bootstrap

CHOSEN = "rule picked on the other blocks"


def evaluate_landscape(landscape: Landscape, config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate every rule of decision and write evaluation.json, maps and report.html.

    Parameters
    ----------
    landscape : Landscape
        With members.
    config : EvaluateConfig
    """
    split = split_members(landscape, by_year=config.held_out == "years")
    plain = replace(config.problem, uncertainty=UncertaintyConfig())
    problem = Problem(landscape.take_members(split.seen), plain)
    with measure_cost() as deciding:
        decisions, gaps = decide_all(problem, config.solver, level=config.level)
    with measure_cost() as judging:
        losses = measure_losses(problem, decisions, landscape.amounts[split.held_out], config.solver)
        blocks = _judge_blocks(landscape, split, config) if config.held_out == "space" else []
    scores = [score_losses(losses, seed=config.seed), score_tail(losses, config.level)]
    scores.append(score_gaps(gaps, "loss"))
    claims = judge_rules(losses, seed=config.seed, what=f"{split.held_out.size} members that none has seen")
    if blocks:
        claims.append(judge_picked(blocks, seed=config.seed))
    evaluation = Evaluation(
        tool="conservation-decisions",
        version=__version__,
        task=f"Decide within a budget ({config.problem.objective}) and lose little whichever member is true.",
        data=_describe(landscape, split, config),
        scores=scores,
        claims=claims,
        cost=Cost.of(train=deciding, predict=judging),
        provenance=Provenance.collect(
            ["conservation-decisions", "evaluate", config.source], config_hash(config), config.seed,
            packages=["conservation-decisions", "highspy"],
        ),
    )  # fmt: skip
    _draw(config, landscape, problem, decisions, losses, scores[0])
    return {
        **publish(config.out, evaluation),
        "regret": {name: float(losses.regret(name).mean()) for name in losses.loss},
        "optimality_gap": gaps,
        "perfect_information": value_of_perfect_information(losses.payoff()),
    }


def score_losses(losses: Losses, *, model: str = EXPECTED, seed: int = 0) -> Score:
    """Score the mean regret of a rule beside all the others'."""
    found = bootstrap_mean(losses.regret(model), seed=seed)
    others = {name: float(losses.regret(name).mean()) for name in losses.loss if name != model}
    return Score(
        metric="regret",
        variable="loss",
        units="1",
        better="lower",
        model=float(found.value),
        interval=found.ends,
        baselines=others,
        stratum={"rule": model},
        n=losses.oracle.size,
    )


def score_tail(losses: Losses, level: float, *, model: str = "CVaR") -> Score:
    """Score the mean of the worst losses, which is what CVaR guards against."""
    others = {name: float(tail_mean(loss, level)) for name, loss in losses.loss.items() if name != model}
    return Score(
        metric="mean_of_the_worst_losses",
        variable="loss",
        units="1",
        better="lower",
        model=float(tail_mean(losses.loss[model], level)),
        baselines=others,
        stratum={"rule": model, "worst": f"{100 * (1 - level):.0f} %"},
        n=losses.oracle.size,
    )


def score_gaps(gaps: Mapping[str, float], variable: str, *, model: str = EXPECTED, n: int = 1) -> Score:
    """Say how far from the best the answers may be: relative optimality gaps."""
    return Score(
        metric="optimality_gap",
        variable=variable,
        units="1",
        better="lower",
        model=gaps[model],
        baselines={name: gap for name, gap in gaps.items() if name != model},
        stratum={"method": model},
        n=n,
    )


def judge_rules(losses: Losses, *, seed: int, what: str) -> list[Claim]:
    """Judge whether deciding under uncertainty loses less than the mean map and than simple rules."""
    sentences = {
        MEAN: "Deciding under uncertainty loses less than deciding on the mean map",
        "richest first": "It loses less than taking the richest units first",
        "cheapest first": "It loses less than taking the cheapest units first",
    }
    return [
        judge_difference(sentence, losses.loss[EXPECTED], losses.loss[other], seed=seed, what=what)
        for other, sentence in sentences.items()
    ]


def judge_difference(sentence: str, own: Floats, other: Floats, *, seed: int, what: str) -> Claim:
    """Judge by a bootstrap of paired differences whether one loses less than another."""
    found = block_bootstrap(own, against=other, seed=seed, block=1, draws=2000)
    return Claim.judge(sentence, found, better="lower", evidence=f"paired bootstrap over {what}")


def judge_picked(blocks: Sequence[Losses], *, seed: int) -> Claim:
    """Judge out of sample in space: the rule that was best elsewhere against the mean map."""
    _, own = pick_rule(blocks)
    other = np.array([block.loss[MEAN].mean() for block in blocks])
    return judge_difference(
        "The rule that was best in other blocks loses less than the mean map", own, other, seed=seed,
        what=f"{len(blocks)} blocks of space",
    )  # fmt: skip


def bootstrap_mean(values: Floats, *, seed: int) -> Interval:
    """Give the mean of independent values with its 95 % interval."""
    return block_bootstrap(values, seed=seed, block=1, draws=2000)


def _judge_blocks(landscape: Landscape, split: Split, config: EvaluateConfig) -> list[Losses]:
    """Decide in each block of space alone; what is locked in may leave nothing to decide, and is skipped."""
    plain = replace(config.problem, uncertainty=UncertaintyConfig())
    found = []
    for block in split_space(landscape, config.block_m):
        known = block.take_members(split.seen)
        # What no member that is decided on has here cannot be asked for here.
        present = known.mean_amounts.sum(axis=1) > 0
        problem = Problem(known.take_features(present), plain)
        if float(problem.landscape.cost[problem.locked_in].sum()) > problem.budget:
            continue
        decisions, _ = decide_all(problem, config.solver, level=config.level)
        found.append(
            measure_losses(problem, decisions, block.amounts[split.held_out][:, present], config.solver)
        )
    return found


def _describe(landscape: Landscape, split: Split, config: EvaluateConfig) -> DataCard:
    return DataCard(
        name=Path(config.source).name or "landscape",
        kind="simulated" if landscape.dataset.attrs.get("kind") == "simulated" else "real",
        source=config.source or "arrays",
        train=f"{split.seen.size} members of the prediction for {landscape.units} units",
        test=f"{split.held_out.size} other members, held out by {config.held_out}",
        fingerprint=fingerprint(landscape.dataset["amount"].values, landscape.cost),
    )


def _draw(
    config: EvaluateConfig,
    landscape: Landscape,
    problem: Problem,
    decisions: dict[str, list[Bools]],
    losses: Losses,
    score: Score,
) -> None:
    core = map_core(losses.chosen, share=config.core)
    layers = {
        "chosen under uncertainty": decisions[EXPECTED][0].astype(float),
        "chosen on the mean map": decisions[MEAN][0].astype(float),
        "how often in the best": core.frequency,
    }
    columns = {"expected": layers["chosen under uncertainty"], "mean_map": layers["chosen on the mean map"]}
    columns |= {"frequency": core.frequency, "core": core.core.astype(float)}
    write_layers(landscape, columns, config.out, "decisions", config.output)
    if {"x", "y"} <= set(landscape.dataset):
        caption = (
            "Units chosen by looking at all members and on the mean map alone, and the share of held-out "
            f"members in whose own best answer a unit is; {int(core.core.sum())} units are a no-regret core."
        )
        draw_units(config.out, "units", landscape, layers, caption, coarsen_m=config.output.coarsen_m)
    draw_losses(
        config.out, score,
        "Mean regret on members that no decision has seen: loss less that of whoever knew the member. The "
        "line is a 95 % interval.",
    )  # fmt: skip
    fixed = fix_targets(problem)
    uncertain = replace(problem.config, target=None, uncertainty=UncertaintyConfig(attitude="expected"))
    changes = measure_sensitivity(Problem(fixed, uncertain), config.solver, change=config.change)
    draw_sensitivity(
        config.out, changes,
        f"Change of the expected loss when one assumption is moved by {100 * config.change:g} % and "
        "everything is decided anew.",
    )  # fmt: skip
