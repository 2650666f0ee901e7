"""Score outcomes beside their baselines, judge claims by blocks of ocean, and write it all down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import xarray as xr

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
from isopleth.sealevel.preparation import components_table
from isopleth.sealevel.protocol import (
    Coverage,
    Outcome,
    interval_of_rmse,
    measure_coverage,
    measure_rmse,
    run_trials,
)
from isopleth.sealevel.rows import Floats
from sealevel_trend import __version__
from sealevel_trend.config import PARTITIONS, EvaluateConfig, LearningConfig
from sealevel_trend.data import UNITS, open_prepared
from sealevel_trend.experiments import (
    BLOCKS,
    NETWORK,
    NULL_BLOCKS,
    NULL_RANDOM,
    PERFECT,
    Evidence,
    list_baselines,
    plan_blocks,
    plan_tests,
    run_baselines,
)
from sealevel_trend.intervals import calibrate_across, known_spread, scale_of
from sealevel_trend.partition import Partition, build_partition

Outcomes = Mapping[str, Mapping[str, Outcome]]

VARIABLE = "sea_level_trend"
# Coverage this near to what was asked for counts as that.
_TOLERANCE = 0.05
_DRAWS = 2000


def score_outcomes(outcomes: Outcomes, *, model: str = NETWORK, seed: int = 0) -> list[Score]:
    """Score a learner in each experiment, beside all others of the same experiment.

    Parameters
    ----------
    outcomes : mapping of mapping
        Outcomes by experiment, then by learner.
    model : str
        The learner that is not a baseline.
    seed : int
        Of the bootstrap over blocks.
    """
    scores = []
    for test, found in outcomes.items():
        own = found[model]
        scores.append(
            Score(
                metric="rmse",
                variable=VARIABLE,
                units=UNITS,
                better="lower",
                model=measure_rmse(own),
                interval=interval_of_rmse(own, seed=seed).ends,
                baselines={name: measure_rmse(one) for name, one in found.items() if name != model},
                stratum={"test": test},
                n=own.blocks,
            )
        )
    return scores


def score_coverage(test: str, coverage: Coverage, raw: float, blocks: int) -> list[Score]:
    """Write a coverage down, and that of the networks' spread taken at its word; best is near `asked`."""
    asked: dict[str, str | float] = {"test": test, "asked": coverage.level}
    kinds = {"calibrated": (coverage.share, coverage.interval), "networks alone": (raw, None)}
    return [
        Score(
            metric="interval_coverage",
            variable=VARIABLE,
            units="1",
            better="higher",
            model=share,
            interval=interval,
            stratum={**asked, "interval": kind},
            n=blocks,
        )
        for kind, (share, interval) in kinds.items()
    ]


def judge_smaller(
    sentence: str, outcome: Outcome, reference: Outcome, *, seed: int = 0, detail: str = ""
) -> Claim:
    """Judge whether a learner errs less than another on the same rows, by whole blocks of ocean."""
    found = interval_of_rmse(outcome, reference, seed=seed, draws=_DRAWS)
    return Claim.judge(
        sentence,
        found,
        better="lower",
        evidence=f"difference of area-weighted RMSE, bootstrap over {outcome.blocks} blocks of "
        f"2,000 km{detail}",
        units=UNITS,
    )


def judge_coverage(sentence: str, coverage: Coverage, blocks: int, *, detail: str = "") -> Claim:
    """Judge whether intervals cover what they say, to within 5 points.

    It holds if the interval of the coverage lies within the tolerance, does not hold if it lies wholly
    outside, and is undecided else.
    """
    low, high = (end - coverage.level for end in coverage.interval)
    holds = None
    if low >= -_TOLERANCE and high <= _TOLERANCE:
        holds = True
    elif high < -_TOLERANCE or low > _TOLERANCE:
        holds = False
    return Claim(
        claim=sentence,
        holds=holds,
        difference=coverage.share - coverage.level,
        interval=(low, high),
        units="1",
        evidence=f"coverage by area less {100 * coverage.level:g} %, tolerance 5 points, bootstrap over "
        f"{blocks} blocks of 2,000 km; {100 * coverage.blocks_short:.0f} % of the blocks cover less{detail}",
    )


def judge_null(outcomes: Outcomes, learner: str, nothing: str, *, seed: int = 0) -> list[Claim]:
    """Judge what folds make of predictors that know nothing, against the mean everywhere.

    Blocks must show no skill; random folds are expected to show some, and by that are not to be trusted.
    """
    claims = []
    for test, folds in ((NULL_RANDOM, "Random folds"), (NULL_BLOCKS, "Blocks with a buffer")):
        sentence = f"{folds} reward predictors that know nothing ({learner})"
        found = outcomes[test]
        claims.append(judge_smaller(sentence, found[learner], found[nothing], seed=seed))
    return claims


def cover_blocks(
    outcome: Outcome, internal: Floats | None, level: float, *, seed: int = 0
) -> tuple[Coverage, float]:
    """Measure the coverage of intervals on blocks that neither trained nor calibrated them.

    Returns
    -------
    tuple
        The coverage, and that of the networks' spread taken as a normal distribution's.
    """
    ends = calibrate_across(outcome, level, scale_of(outcome, internal))
    coverage = measure_coverage(outcome, *ends, level=level, seed=seed)
    return coverage, cover_raw(outcome, level)


def cover_raw(outcome: Outcome, level: float) -> float:
    """Measure how often the networks' spread, taken as a normal distribution's, covers the truth."""
    reach = NormalDist().inv_cdf(0.5 + level / 2) * known_spread(outcome)
    ends = outcome.prediction - reach, outcome.prediction + reach
    return measure_coverage(outcome, *ends, level=level).share


def evaluate_method(config: EvaluateConfig) -> dict[str, Any]:
    """Run every test on prepared fields and report it: the verb ``evaluate``."""
    from sealevel_trend.figures import draw_components, draw_coverage, draw_segments, draw_tests

    learning = config.learning
    with open_prepared(config.prepared) as prepared:
        evidence = Evidence.of(prepared, learning)
        partition, others = _cut_segments(prepared, learning)
        components = components_table(prepared)
    with measure_cost() as meter:
        outcomes, by_partition = _run(config, evidence, partition, others)
    held_out = outcomes[BLOCKS][NETWORK]
    coverage, raw = cover_blocks(held_out, evidence.past.internal, learning.level)
    perfect = outcomes[PERFECT][NETWORK]
    of_models, raw_of_models = cover_blocks(perfect, evidence.past.internal, learning.level)
    evaluation = Evaluation(
        tool="sealevel-trend",
        version=__version__,
        task=_task(learning),
        data=_describe(config, evidence, held_out),
        scores=(
            *score_outcomes(outcomes),
            *score_coverage(BLOCKS, coverage, raw, held_out.blocks),
            *score_coverage(PERFECT, of_models, raw_of_models, perfect.blocks),
        ),
        claims=tuple(_judge(learning, outcomes, by_partition, coverage, of_models)),
        cost=Cost.of(train=meter),
        provenance=Provenance.collect(
            ["sealevel-trend", "evaluate", config.prepared],
            config_hash(config),
            learning.folds.seed,
            packages=["sealevel-trend", "scikit-learn"],
        ),
    )
    config.out.mkdir(parents=True, exist_ok=True)
    draw_tests(config.out, evaluation.scores)
    draw_segments(config.out, partition)
    draw_coverage(config.out, coverage)
    draw_components(config.out, components)
    return {**publish(config.out, evaluation), **sum_up(evaluation)}


def _cut_segments(prepared: xr.Dataset, learning: LearningConfig) -> tuple[Partition, dict[str, Partition]]:
    """Cut the ocean as the learning has it, and in the other ways."""
    own, past = learning.partition, learning.period.past
    others: dict[str, Partition] = {
        kind: build_partition(prepared, past, replace(own, kind=kind))
        for kind in PARTITIONS
        if kind != own.kind
    }
    return build_partition(prepared, past, own, seeds=3), others


def _run(
    config: EvaluateConfig, evidence: Evidence, partition: Partition, others: Mapping[str, Partition]
) -> tuple[dict[str, dict[str, Outcome]], dict[str, Outcome]]:
    """Run all learners through all tests, and networks of other partitions through the blocks."""
    from sealevel_trend.train import NetworkLearner

    learning = config.learning
    plans = plan_tests(evidence, partition, learning, null_draws=config.null_draws, siblings=config.siblings)
    outcomes = run_baselines(list_baselines(learning.folds, trees=config.trees), plans)
    learner = NetworkLearner(learning=learning, seeds=config.seeds, runtime=config.runtime)
    own = replace(learner, membership=partition.membership(learning.partition))
    for test, outcome in run_trials(own, plans).items():
        outcomes[test][NETWORK] = outcome
    elsewhere = [plan_blocks(evidence, other, learning, name=kind) for kind, other in others.items()]
    return outcomes, run_trials(learner, elsewhere)


def _judge(
    learning: LearningConfig,
    outcomes: Outcomes,
    by_partition: Mapping[str, Outcome],
    coverage: Coverage,
    of_models: Coverage,
) -> list[Claim]:
    held_out, kind = outcomes[BLOCKS][NETWORK], learning.partition.kind
    return [
        judge_smaller(
            "The network errs less than ridge on blocks that it has not seen",
            held_out,
            outcomes[BLOCKS]["ridge"],
        ),
        *(
            judge_smaller(
                f"{name_partition(kind)} err less than {name_partition(other).lower()}", held_out, outcome
            )
            for other, outcome in by_partition.items()
        ),
        judge_coverage(
            f"The {100 * learning.level:g} % intervals cover blocks that they have not seen",
            coverage,
            held_out.blocks,
        ),
        judge_coverage(
            f"The {100 * learning.level:g} % intervals cover the future of models that did not set them",
            of_models,
            outcomes[PERFECT][NETWORK].blocks,
        ),
        *judge_null(outcomes, "random forest", "global mean everywhere"),
    ]


def name_partition(kind: str) -> str:
    """Say in words what networks are of."""
    return {
        "spectral": "Networks of spectral clusters",
        "basins": "Networks of given basins",
        "none": "Networks of the whole ocean",
    }[kind]


def _task(learning: LearningConfig) -> str:
    past, future = ("-".join(map(str, years)) for years in (learning.period.past, learning.period.future))
    return f"Learn observed sea-level trends of {past} from those of models, to predict those of {future}."


def _describe(config: EvaluateConfig, evidence: Evidence, outcome: Outcome) -> DataCard:
    models = ", ".join(map(str, evidence.past.models["model"].values))
    return DataCard(
        name=Path(config.prepared).name,
        kind=config.kind,
        source=config.prepared,
        train="trends of {} and of the altimeter, {}-{}".format(models, *evidence.past.years),
        test=f"{np.unique(outcome.cell).size} cells in {outcome.blocks} blocks of 2,000 km, each held out",
        fingerprint=fingerprint(outcome.truth),
    )


def sum_up(evaluation: Evaluation) -> dict[str, Any]:
    """Sum an evaluation up in a few numbers."""
    rmse: Sequence[Score] = [score for score in evaluation.scores if score.metric == "rmse"]
    return {
        "rmse": {str(score.stratum["test"]): round(score.model, 3) for score in rmse},
        "ridge": {str(score.stratum["test"]): round(score.baselines["ridge"], 3) for score in rmse},
        "units": UNITS,
    }
