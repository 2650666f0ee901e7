"""The main job in generated worlds, from files to predicted trends, and what the known future says."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Meter,
    Provenance,
    fingerprint,
    measure_cost,
    publish,
)
from isopleth.sealevel.global_mean import ocean_mean
from isopleth.sealevel.preparation import components_table
from isopleth.sealevel.protocol import Coverage, Experiment, Outcome, Trial, measure_coverage, run_trials
from isopleth.sealevel.rows import Floats, build_rows
from sealevel_trend import __version__
from sealevel_trend.config import (
    PARTITIONS,
    DemoConfig,
    EvaluateConfig,
    LearningConfig,
    PrepareConfig,
    SampleConfig,
)
from sealevel_trend.data import UNITS, open_prepared, prepare_fields
from sealevel_trend.evaluate import (
    Outcomes,
    cover_raw,
    judge_coverage,
    judge_null,
    judge_smaller,
    name_partition,
    score_coverage,
    score_outcomes,
    sum_up,
)
from sealevel_trend.experiments import (
    BLOCKS,
    NETWORK,
    PERFECT,
    Evidence,
    join_outcomes,
    list_baselines,
    plan_tests,
    run_baselines,
)
from sealevel_trend.partition import Partition, build_partition
from sealevel_trend.sample import SOURCE, known_future, make_world, write_world

WORLDS_FULL = 4
# The known future of world 0 was seen while the defaults were chosen.
FIRST_WORLD_FULL = 1
SAMPLE_FULL = SampleConfig(members=5)
FUTURE, FORCED = "known future", "known future, forced part"
_OTHERS: dict[str, str] = {kind: f"network, {kind}" for kind in PARTITIONS}


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """What one world brought.

    Attributes
    ----------
    outcomes : dict of dict
        By test, then by learner; in `FUTURE` networks of the other partitions are learners too.
    ends : tuple of array
        Of the intervals in `FUTURE`.
    held_out : Outcome
        Of the networks that predict, on blocks of the past.
    """

    outcomes: dict[str, dict[str, Outcome]]
    ends: tuple[Floats, Floats]
    held_out: Outcome
    partition: Partition
    output: xr.Dataset
    truth: xr.DataArray
    components: list[dict[str, str]]
    train: Meter
    predict: Meter
    parameters: int


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Prepare, train, predict and evaluate where the future is known: the verb ``demo``.

    The first look takes one world on a 4° grid, ``full`` four others with more members and networks. Settings
    stand in ``configs/demo.yaml`` and ``full.yaml``.
    """
    settings = load_config("full" if config.full else "demo", EvaluateConfig, package="sealevel_trend")
    sample = SAMPLE_FULL if config.full else SampleConfig()
    worlds = []
    for seed in choose_worlds(config):
        # A demo starts afresh; only what an earlier demo wrote here is removed.
        shutil.rmtree(config.out / f"world-{seed}", ignore_errors=True)
        worlds.append(visit_world(seed, config.out / f"world-{seed}", sample, settings))
    outcomes = {
        test: {name: join_outcomes([world.outcomes[test][name] for world in worlds]) for name in found}
        for test, found in worlds[0].outcomes.items()
    }
    level = settings.learning.level
    ends = [np.concatenate([world.ends[side] for world in worlds]) for side in (0, 1)]
    coverage = measure_coverage(outcomes[FUTURE][NETWORK], ends[0], ends[1], level=level)
    evaluation = _evaluate(worlds, outcomes, coverage, config, settings, sample)
    _draw(config.out, worlds[0], evaluation, coverage)
    return {**publish(config.out, evaluation, size=config.size), **sum_up(evaluation)}


def choose_worlds(config: DemoConfig) -> range:
    """Return the seeds of the worlds to visit."""
    first, count = (FIRST_WORLD_FULL, WORLDS_FULL) if config.full else (0, 1)
    return range(config.seed + first, config.seed + first + count)


def visit_world(seed: int, out: Path, sample: SampleConfig, settings: EvaluateConfig) -> World:
    """Make a world, write it as files, read it back, train, predict and test."""
    from sealevel_trend.predict import predict_trends
    from sealevel_trend.train import train_model

    learning = settings.learning
    world = make_world(seed, sample, learning.period)
    prepared = _prepare(write_world(out / "files", world, sample), out, sample, learning)
    with open_prepared(prepared) as fields:
        evidence = Evidence.of(fields, learning)
        components = components_table(fields)
        partitions: dict[str, Partition] = {
            kind: build_partition(
                fields, learning.period.past, replace(learning.partition, kind=kind),
                seeds=3 if kind == learning.partition.kind else 0,
            )
            for kind in PARTITIONS
        }  # fmt: skip
    partition = partitions[learning.partition.kind]
    with measure_cost() as training:
        trained = train_model(
            evidence.past, partition, learning, future=evidence.future, runtime=settings.runtime
        )
    trained.model.save_pretrained(out / "pretrained")
    with measure_cost() as predicting:
        output = predict_trends(trained.model, evidence.past, evidence.future)
    truth = known_future(world, learning.period)
    outcomes = _run_tests(evidence, partition, settings, trained.held_out, trained.perfect)
    outcomes[FUTURE] = _test_future(evidence, partitions, truth["all"], settings, trained.model.predictor)
    outcomes[FORCED] = {
        name: _against(one, truth["forced"], learning) for name, one in outcomes[FUTURE].items()
    }
    own = outcomes[FUTURE][NETWORK]
    ends = [output[f"sea_level_trend_{side}"].values.ravel()[own.cell] for side in ("lower", "upper")]
    return World(
        outcomes=outcomes, ends=(ends[0], ends[1]), held_out=trained.held_out,
        partition=partition, output=output, truth=_departures(truth["all"], learning), components=components,
        train=training, predict=predicting,
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
    )  # fmt: skip


def _prepare(folder: Path, out: Path, sample: SampleConfig, learning: LearningConfig) -> str:
    """Read the world's files back by the verb ``prepare``."""
    config = PrepareConfig(folder=str(folder), out=out / "prepared.zarr")
    settings = replace(
        config.settings,
        resolution_deg=sample.target_deg,
        first_year=learning.period.past[0],
        last_year=learning.period.future[1],
    )
    return str(prepare_fields(replace(config, settings=settings))["prepared"])


def _departures(truth: xr.DataArray, learning: LearningConfig) -> xr.DataArray:
    """Give the truth as it is predicted: with the global mean only if that is kept."""
    kept = truth if learning.global_mean == "keep" else truth - ocean_mean(truth)
    return kept.assign_attrs(units=UNITS)


def _run_tests(
    evidence: Evidence,
    partition: Partition,
    settings: EvaluateConfig,
    held_out: Outcome,
    perfect: Outcome | None,
) -> dict[str, dict[str, Outcome]]:
    """Run the tests that need no known future, each with all baselines; some have been run by training."""
    from sealevel_trend.train import NetworkLearner

    learning = settings.learning
    plans = plan_tests(
        evidence, partition, learning, null_draws=settings.null_draws, siblings=settings.siblings
    )
    outcomes = run_baselines(list_baselines(learning.folds, trees=settings.trees), plans)
    learner = NetworkLearner(
        learning=learning, seeds=settings.seeds, membership=partition.membership(learning.partition),
        runtime=settings.runtime,
    )  # fmt: skip
    known = {BLOCKS: held_out} | ({} if perfect is None or settings.siblings else {PERFECT: perfect})
    found = known | run_trials(learner, [plan for plan in plans if plan.name not in known])
    for test, outcome in found.items():
        outcomes[test][NETWORK] = outcome
    return outcomes


def _test_future(
    evidence: Evidence,
    partitions: dict[str, Partition],
    truth: xr.DataArray,
    settings: EvaluateConfig,
    predictor: Any,
) -> dict[str, Outcome]:
    """Predict the known future by the trained networks, by every baseline, and by other partitions."""
    from sealevel_trend.train import Fitted, NetworkLearner

    learning = settings.learning
    own = learning.partition.kind
    plans = {
        kind: _plan_future(evidence, partition, truth, learning, name=_OTHERS[kind])
        for kind, partition in partitions.items()
    }
    found = run_baselines(list_baselines(learning.folds, trees=settings.trees), [plans[own]])[_OTHERS[own]]
    found[NETWORK] = run_trials(Fitted([predictor]), [plans[own]])[_OTHERS[own]]
    learner = NetworkLearner(learning=learning, seeds=learning.ensemble.seeds, runtime=settings.runtime)
    return found | run_trials(learner, [plan for kind, plan in plans.items() if kind != own])


def _plan_future(
    evidence: Evidence, partition: Partition, truth: xr.DataArray, learning: LearningConfig, *, name: str
) -> Experiment:
    past = evidence.past.rows(partition.labels)
    future = build_rows(evidence.future.models, _departures(truth, learning), segments=partition.labels)
    return Experiment(
        name=name, trials=(Trial(name=name, train=past, test=future),), about="the known future"
    )


def _against(outcome: Outcome, truth: xr.DataArray, learning: LearningConfig) -> Outcome:
    """Compare the same prediction with another truth."""
    return replace(outcome, truth=_departures(truth, learning).values.ravel()[outcome.cell])


def _evaluate(
    worlds: Sequence[World],
    outcomes: Outcomes,
    coverage: Coverage,
    config: DemoConfig,
    settings: EvaluateConfig,
    sample: SampleConfig,
) -> Evaluation:
    learning = settings.learning
    own = outcomes[FUTURE][NETWORK]
    held_out = join_outcomes([world.held_out for world in worlds])
    shown = {test: found for test, found in outcomes.items() if test not in (FUTURE, FORCED)}
    first = {test: outcomes[test] for test in (FUTURE, FORCED)}
    return Evaluation(
        tool="sealevel-trend",
        version=__version__,
        task="Predict sea-level trends of {}-{} from observed and simulated trends of {}-{}, in generated "
        "worlds whose future is known.".format(*learning.period.future, *learning.period.past),
        data=DataCard(
            name=f"{len(worlds)} generated world{'s' if len(worlds) > 1 else ''} of sea level",
            kind="simulated",
            source=f"{SOURCE}: 6 large ensembles of {sample.members} members and an altimeter, in the "
            f"layouts of real products at {sample.source_deg:g}° and read back to {sample.target_deg:g}°; "
            f"seeds {', '.join(map(str, choose_worlds(config)))}",
            train="altimeter and models, {}-{}".format(*learning.period.past),
            test="truth, {}-{}: ".format(*learning.period.future)
            + f"{len(own.truth)} cells in {own.blocks} blocks of 2,000 km",
            fingerprint=fingerprint(own.truth, held_out.truth),
        ),
        scores=(
            *score_outcomes({**first, **shown}),
            *score_coverage(FUTURE, coverage, cover_raw(own, learning.level), own.blocks),
        ),
        claims=tuple(_judge(outcomes, coverage, worlds, learning)),
        cost=Cost.of(
            train=_total([world.train for world in worlds]),
            predict=_total([world.predict for world in worlds]),
            parameters=worlds[0].parameters,
        ),
        provenance=Provenance.collect(
            f"sealevel-trend demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash((settings, sample)),
            config.seed,
            packages=["sealevel-trend", "scikit-learn"],
        ),
    )


def _judge(
    outcomes: Outcomes, coverage: Coverage, worlds: Sequence[World], learning: LearningConfig
) -> list[Claim]:
    future = outcomes[FUTURE]
    own, kind = future[NETWORK], learning.partition.kind
    where = f" of {len(worlds)} worlds" if len(worlds) > 1 else " of one world"
    in_future = f"{where}, known future"
    sentences = {
        "The network errs less than ridge": "ridge",
        "The network errs less than the mean of the models": "ensemble mean",
        "The network errs less than persistence of the observed trend": "persistence",
        **{
            f"{name_partition(kind)} err less than {name_partition(other).lower()}": _OTHERS[other]
            for other in PARTITIONS
            if other != kind
        },
    }
    return [
        *(judge_smaller(text, own, future[name], detail=in_future) for text, name in sentences.items()),
        judge_coverage(
            f"The {100 * learning.level:g} % intervals cover the known future",
            coverage,
            own.blocks,
            detail=where,
        ),
        *judge_null(outcomes, "random forest", "global mean everywhere"),
    ]


def _total(meters: Sequence[Meter]) -> Meter:
    """Add up the seconds of several worlds."""
    peak = max(meter.peak_memory_mb for meter in meters)
    return Meter(sum(meter.seconds for meter in meters), peak, meters[0].device)


def _draw(out: Path, world: World, evaluation: Evaluation, coverage: Coverage) -> None:
    from sealevel_trend.figures import (
        draw_components,
        draw_coverage,
        draw_maps,
        draw_segments,
        draw_tests,
    )

    own = world.outcomes[FUTURE]
    grid = world.truth
    error = grid.copy(data=np.full(grid.shape, np.nan))
    error.values.ravel()[own[NETWORK].cell] = own[NETWORK].error
    draw_maps(
        out, "future",
        {
            "truth": grid,
            "network": world.output["sea_level_trend"],
            "mean of the models": world.output["ensemble_mean_trend"],
            "error of the network": error,
        },
        caption="Trends of the known future in the first world: what comes, what the networks predict, the "
        "equal-weight mean of the models, and the networks' error. Much of the error is variability of the "
        "ocean itself, which no method here can know.",
    )  # fmt: skip
    draw_tests(out, evaluation.scores)
    draw_coverage(out, coverage, test="the known future")
    draw_segments(out, world.partition)
    draw_components(out, world.components)
