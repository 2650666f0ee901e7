"""The main job in a generated world: prepare, train, downscale, score, judge."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from climalign.config import (
    KINDS,
    BaselineConfig,
    BmdConfig,
    DemoConfig,
    FieldConfig,
    Kind,
    PrepareConfig,
    SamplingConfig,
    TrainConfig,
    WorldConfig,
)
from climalign.data import open_prepared, pack_pair
from climalign.evaluate import make_evaluation, publish_trials, run_trial
from climalign.sample import PRECIPITATION, SOURCE, TEMPERATURE, World, make_world, plan_years
from climalign.scores import Trial, join, measure
from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.report import DataCard, Meter, fingerprint, measure_cost

VARIABLES: dict[Kind, str] = {"temperature": TEMPERATURE, "precipitation": PRECIPITATION}


@dataclass(frozen=True)
class Size:
    """How much is generated and trained.

    Attributes
    ----------
    config : str
        The training's shipped config.
    worlds : int
    first : int
        World 0 was seen while the settings were chosen.
    world : WorldConfig
    sampling : SamplingConfig
    bmd : BmdConfig
    """

    config: str
    worlds: int
    first: int
    world: WorldConfig
    sampling: SamplingConfig
    bmd: BmdConfig


SHORT = Size(
    "demo",
    1,
    0,
    WorldConfig(train_years=2, test_years=1),
    SamplingConfig(members=6, temperature=0.1),
    BmdConfig(epochs=10, learning_rate=1e-3),
)
FULL = Size(
    "demo-full",
    4,
    1,
    WorldConfig(),
    SamplingConfig(members=10, temperature=0.1),
    BmdConfig(epochs=30, learning_rate=1e-3),
)


@dataclass(frozen=True, eq=False)
class Visit:
    """What one variable of one world brought."""

    trial: Trial
    train: Meter
    predict: Meter
    parameters: int


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Generate worlds, prepare, train both variables, downscale the test years, score: the verb ``demo``.

    The flows see coarse days of some years and fine days of others; the supervised network gets pairs.
    """
    size = FULL if config.full else SHORT
    seeds = range(config.seed + size.first, config.seed + size.first + size.worlds)
    visits: dict[Kind, list[Visit]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        world = make_world(seed, size.world)
        # A demo starts afresh; only what an earlier demo made here is removed.
        shutil.rmtree(config.out / f"world-{seed}", ignore_errors=True)
        for kind in KINDS:
            visits[kind].append(visit(world, kind, config.out / f"world-{seed}" / kind, size, seed))
    found = {kind: join([measure(each.trial) for each in visits[kind]]) for kind in KINDS}
    unit = (
        "worlds" if config.full else "quarters of the test years of one world: says nothing of other worlds"
    )
    every = [each for kind in KINDS for each in visits[kind]]
    split = plan_years(size.world)
    evaluation = make_evaluation(
        found,
        DataCard(
            name="a generated coast with mountains",
            kind="simulated",
            source=f"{SOURCE}, worlds {', '.join(map(str, seeds))}",
            train=f"coarse days of {' to '.join(split.train_coarse)}, "
            f"fine days of {' to '.join(split.train_fine)}",
            test=f"days of {' to '.join(split.test)}",
            fingerprint=fingerprint(*(each.trial.truth.values for each in every)),
        ),
        unit=unit,
        train=[each.train for each in every],
        predict=[each.predict for each in every],
        parameters=every[0].parameters,
        command=f"climalign demo{' --full' if config.full else ''} --seed {config.seed}",
        settings=config_hash((size, load_config(size.config, TrainConfig, package="climalign"))),
        seed=config.seed,
    )
    first = {str(kind): visits[kind][0].trial for kind in KINDS}
    return publish_trials(config.out, evaluation, first, size=config.size)


def visit(world: World, kind: Kind, out: Path, size: Size, seed: int) -> Visit:
    """Prepare, train and test one variable of one world."""
    from climalign.train import train_pair

    name, split = VARIABLES[kind], plan_years(size.world)
    prepare = PrepareConfig(
        coarse=SOURCE,
        fine=SOURCE,
        variable=name,
        factor=size.world.factor,
        train_coarse=split.train_coarse,
        train_fine=split.train_fine,
        data="simulated",
        out=out / "prepared",
    )
    pack_pair(world.coarse[[name]], world.fine[[name]], prepare)
    plan = load_config(size.config, TrainConfig, package="climalign")
    plan = replace(
        plan,
        prepared=str(prepare.out),
        out=out / "train",
        field=FieldConfig(kind=kind, variable=name, factor=size.world.factor),
        split=split,
        runtime=replace(plan.runtime, seed=seed),
    )
    prepared = open_prepared(prepare.out)
    with measure_cost() as training:
        model, _ = train_pair(plan, prepared)
    predicting: list[Meter] = []
    baselines = BaselineConfig(paired=split.train_fine, bmd=size.bmd)
    trial = run_trial(model, prepared, split, size.sampling, baselines, predicting=predicting)
    parameters = sum(each.numel() for each in model.parameters())
    return Visit(trial, training, predicting[0], parameters)
