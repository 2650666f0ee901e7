"""The whole job on simulated weather, over one seed or several."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.data import PackedStore, open_store
from isopleth.io import write_zarr
from isopleth.report import Cost, Evaluation, Meter, Provenance, measure_cost, publish
from isopleth.samples import atmosphere
from isopleth.verify import combine
from sample_tool import __version__
from sample_tool.config import DemoConfig, PrepareConfig, TrainConfig
from sample_tool.data import prepare_store
from sample_tool.evaluate import States, describe_data, draw_scores, judge, list_scores, score_network
from sample_tool.train import train_network


@dataclass(frozen=True)
class Size:
    """How much is simulated and trained.

    Parameters
    ----------
    config : str
        The training's shipped config.
    days, worlds : int
        Of each seed; how many seeds.
    """

    config: str
    days: int
    worlds: int


SHORT, FULL = Size("demo", 300, 1), Size("demo-full", 1500, 5)
# Choices are made on world 0; the full demo takes others.
_FIRST_FULL = 1


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Simulate, train, forecast, score: the verb ``demo``."""
    size = FULL if config.full else SHORT
    first = config.seed + (_FIRST_FULL if config.full else 0)
    plan = load_config(size.config, TrainConfig, package="sample_tool")
    worlds = []
    with measure_cost() as meter:
        for seed in range(first, first + size.worlds):
            folder = config.out / f"world-{seed}" if config.full else config.out
            worlds.append(visit_world(seed, folder, plan, size))
    states = join([world[0] for world in worlds])
    store = worlds[0][1]
    scores = list_scores(states, store, config.seed)
    evaluation = Evaluation(
        tool="sample-tool",
        version=__version__,
        task="Forecast the next frame of simulated weather, six hours ahead, from the present one.",
        data=replace(describe_data(store, kind="simulated"), name=f"simulated weather, {size.worlds} seeds"),
        scores=scores,
        claims=judge(states, config.seed),
        cost=Cost.of(train=Meter(meter.seconds, meter.peak_memory_mb, meter.device)),
        provenance=Provenance.collect(
            f"sample-tool demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash((plan, size)),
            config.seed,
            packages=["sample-tool"],
        ),
    )
    draw_scores(scores, config.out)
    return publish(config.out, evaluation, size=config.size)


def visit_world(seed: int, folder: Path, plan: TrainConfig, size: Size) -> tuple[States, PackedStore]:
    """Simulate the weather of one seed, train on its beginning and test on its end."""
    for name in ("frames", "train"):
        # A demo starts afresh; only what an earlier demo wrote here is removed.
        shutil.rmtree(folder / name, ignore_errors=True)
    source = write_zarr(atmosphere(size.days, seed=seed, step_hours=6), folder / "fields.zarr")
    prepare_store(PrepareConfig(source=str(source), out=folder / "frames"))
    runtime = replace(plan.runtime, seed=seed)
    network, _ = train_network(replace(plan, data=folder / "frames", out=folder / "train", runtime=runtime))
    store = open_store(folder / "frames")
    return score_network(network, store), store


def join(worlds: list[States]) -> States:
    """Put the times of several worlds after one another."""
    joined = {}
    for name in worlds[0]:
        tables = [world[name].table for world in worlds]
        length = tables[0].sizes["time"]
        shifted = [
            table.assign_coords(time=range(number * length, (number + 1) * length))
            for number, table in enumerate(tables)
        ]
        joined[name] = combine(
            replace(world[name], table=table) for world, table in zip(worlds, shifted, strict=True)
        )
    return joined
