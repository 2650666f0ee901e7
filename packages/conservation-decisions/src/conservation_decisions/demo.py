"""All four verbs on generated landscapes, and what their truth says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from conservation_decisions import __version__
from conservation_decisions.allocate.problem import Problem
from conservation_decisions.config import DemoConfig, StudyConfig, UncertaintyConfig
from conservation_decisions.evaluate.core import map_core
from conservation_decisions.evaluate.regret import EXPECTED, MEAN, fix_targets, measure_losses
from conservation_decisions.evaluate.report import bootstrap_mean, judge_difference, score_gaps
from conservation_decisions.evaluate.sensitivity import measure_sensitivity
from conservation_decisions.figures import (
    draw_learning,
    draw_losses,
    draw_policy,
    draw_sensitivity,
    draw_units,
)
from conservation_decisions.intervene import (
    build_graph,
    manage_survey_stop,
    solve_pomdp,
    value_of_perfect_information,
    write_rules,
)
from conservation_decisions.landscape import Floats
from conservation_decisions.study import (
    GREEDY,
    MINIMAX,
    ROUTES,
    THREAT_FIRST,
    WHITTLE,
    Visit,
    learn_online,
    visit_landscape,
)
from isopleth.cli import load_config
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


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Allocate, plan, intervene and evaluate where the truth is known: the verb ``demo``.

    The first look takes few landscapes, ``full`` many others. Settings stand in ``configs/demo.yaml`` and
    ``demo-full.yaml``.
    """
    name = "demo-full" if config.full else "demo"
    study: StudyConfig = load_config(name, StudyConfig, package="conservation_decisions")
    first = study.first_seed + config.seed
    with measure_cost() as deciding:
        visits = [visit_landscape(seed, study) for seed in range(first, first + study.landscapes)]
    with measure_cost() as learning:
        regret = learn_online(study, seed=first)
    config.out.mkdir(parents=True, exist_ok=True)
    visits[0].made.landscape.save(config.out / "landscape.zarr")
    info = _draw(config, study, visits, regret)
    scores = _score(visits, regret)
    claims = _judge(visits, regret)
    draw_losses(
        config.out, scores[0],
        f"Mean regret under the truth of {len(visits)} landscapes: the weighted shortfall of a decision less "
        "that of whoever knew the truth. The line is a 95 % interval.",
    )  # fmt: skip
    evaluation = Evaluation(
        tool="conservation-decisions",
        version=__version__,
        task="Allocate, plan and intervene on predictions, and lose little against one who knows the truth.",
        data=_describe(visits, study, first),
        scores=scores,
        claims=claims,
        cost=Cost.of(train=deciding, predict=learning),
        provenance=Provenance.collect(
            f"conservation-decisions demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash(study), first, packages=["conservation-decisions", "highspy"],
        ),
    )  # fmt: skip
    return {
        **publish(config.out, evaluation, size=config.size),
        "regret": {"expected": scores[0].model, **scores[0].baselines},
        "optimality_gap": _collect_gaps(visits),
        **info,
    }


def _collect(visits: Sequence[Visit], take: Callable[[Visit], dict[str, float]]) -> dict[str, Floats]:
    """Turn one table a landscape into one array a name; what a solver did not find in time is left out."""
    tables = [take(visit) for visit in visits]
    names = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: np.array([table[name] for table in tables]) for name in names}


def _take_regret(visit: Visit) -> dict[str, float]:
    return {name: float(visit.losses.regret(name)[0]) for name in visit.losses.loss}


def _collect_gaps(visits: Sequence[Visit]) -> dict[str, float]:
    """Give the mean optimality gap of each kind of answer."""
    return {name: float(gaps.mean()) for name, gaps in _collect(visits, lambda v: v.gaps).items()}


def _score(visits: Sequence[Visit], learning: dict[str, Floats]) -> list[Score]:
    final = {name: runs[:, -1] for name, runs in learning.items()}
    return [
        _score_table("regret", "allocation", "1", _collect(visits, _take_regret), EXPECTED),
        _score_table(
            "detections", "patrols", "1", _collect(visits, lambda v: v.detections), ROUTES, "higher"
        ),
        _score_table("largest_regret", "patrols", "1", _collect(visits, lambda v: v.regret), MINIMAX),
        _score_table("cumulative_regret", "online_patrols", "1", final, "LIZARD"),
        _score_table(
            "reward_per_year", "interventions", "1", _collect(visits, lambda v: v.reward), WHITTLE, "higher"
        ),
        score_gaps(_collect_gaps(visits), "all_answers", n=len(visits)),
    ]


def _score_table(
    metric: str,
    variable: str,
    units: str,
    table: dict[str, Floats],
    model: str,
    better: Literal["lower", "higher"] = "lower",
) -> Score:
    """Score one method beside all the others of a table."""
    found = bootstrap_mean(table[model], seed=0)
    return Score(
        metric=metric,
        variable=variable,
        units=units,
        better=better,
        model=float(found.value),
        interval=found.ends,
        baselines={name: float(values.mean()) for name, values in table.items() if name != model},
        stratum={"method": model},
        n=table[model].size,
    )


def _judge(visits: Sequence[Visit], learning: dict[str, Floats]) -> list[Claim]:
    loss = _collect(visits, lambda visit: {name: float(one[0]) for name, one in visit.losses.loss.items()})
    found, regret = _collect(visits, lambda v: v.detections), _collect(visits, lambda v: v.regret)
    reward = _collect(visits, lambda v: v.reward)
    where = f"{len(visits)} landscapes"
    pairs = [
        ("Deciding under uncertainty loses less than deciding on the mean map", loss[EXPECTED], loss[MEAN]),
        ("It loses less than taking the richest units first", loss[EXPECTED], loss["richest first"]),
        ("It loses less than taking the cheapest units first", loss[EXPECTED], loss["cheapest first"]),
        ("Exact routes miss less than greedy detours", -found[ROUTES], -found[GREEDY]),
        (
            "Minimax-regret routes have a smaller largest regret than routes on the mean threat",
            regret[MINIMAX],
            regret[ROUTES],
        ),
        (
            "Whittle's index loses less than looking after the highest threat first",
            -reward[WHITTLE],
            -reward[THREAT_FIRST],
        ),
    ]
    claims = [judge_difference(text, own, other, seed=0, what=where) for text, own, other in pairs]
    final = {name: runs[:, -1] for name, runs in learning.items()}
    parks = f"{final['LIZARD'].size} parks"
    claims.append(
        judge_difference(
            "A Lipschitz bandit (LIZARD) regrets less than CUCB",
            final["LIZARD"],
            final["CUCB"],
            seed=0,
            what=parks,
        )
    )
    return claims


def _describe(visits: Sequence[Visit], study: StudyConfig, first: int) -> DataCard:
    sample = study.sample
    return DataCard(
        name=f"{len(visits)} generated landscapes",
        kind="simulated",
        source=f"conservation_decisions.sample: {sample.side} x {sample.side} cells, {sample.features} "
        f"species seen in {sample.surveys} cells each, seeds {first} to {first + len(visits) - 1}",
        train=f"{sample.members} draws of the species maps from what surveys leave open",
        test="the truth that was surveyed",
        fingerprint=fingerprint(*(visit.made.truth for visit in visits)),
    )


def _draw(
    config: DemoConfig, study: StudyConfig, visits: Sequence[Visit], learning: dict[str, Floats]
) -> dict[str, Any]:
    """Draw the first landscape's maps and what else the report shows; sum up what is in no score."""
    first = visits[0]
    made, landscape = first.made, first.made.landscape
    known = measure_losses(first.problem, first.decisions, landscape.amounts, study.solver)
    core = map_core(known.chosen)
    draw_units(
        config.out, "landscape", landscape,
        {
            "species, as predicted": landscape.mean_amounts.sum(axis=0),
            "spread of the prediction": landscape.amounts.sum(axis=1).std(axis=0),
            "species, in truth": made.truth.sum(axis=0),
            "chosen on the mean map": first.decisions[MEAN][0].astype(float),
            "chosen under uncertainty": first.decisions[EXPECTED][0].astype(float),
            "share of members that would": core.frequency,
        },
        "The first landscape. Above, how many species are expected in a cell, how sure that is, and what "
        "is true. Below, what is chosen within the budget, and how often a cell is in the best answer of a "
        f"single member: {int(core.core.sum())} cells are in nearly all of them, a core without regret.",
    )  # fmt: skip
    draw_units(
        config.out, "season", landscape,
        {"threat, as predicted": landscape.threats.mean(axis=0), "index of a bad site": first.index},
        "Patrol routes with the least largest regret over half of the members, on the predicted threat; and "
        "the Whittle index of the chosen sites: who is repaired first.",
        lines=first.routes,
    )  # fmt: skip
    draw_learning(
        config.out, learning,
        f"Online allocation of patrol effort in {len(learning['LIZARD'])} parks of 25 targets: cumulative "
        "regret, mean and range over the parks.",
    )  # fmt: skip
    solution = solve_pomdp(manage_survey_stop(), precision=1e-4)
    graph = build_graph(solution)
    rules = write_rules(graph)
    draw_policy(
        config.out, graph, "unseen",
        "Managing a species that nobody sees, with the published numbers of the Sumatran tiger: "
        f"{rules[1]} Bounds of the value: {solution.lower:.1f} to {solution.upper:.1f}.",
    )  # fmt: skip
    uncertain = replace(study.problem, target=None, uncertainty=UncertaintyConfig(attitude="expected"))
    changes = measure_sensitivity(
        Problem(fix_targets(first.problem), uncertain), study.solver, features=False
    )
    draw_sensitivity(
        config.out, changes,
        "The first landscape: change of the expected loss when one assumption is moved by 20 % and "
        "everything is decided anew.",
    )  # fmt: skip
    return {
        "no_regret_core": int(core.core.sum()),
        "perfect_information": value_of_perfect_information(known.payoff()),
        "rules": rules,
    }
