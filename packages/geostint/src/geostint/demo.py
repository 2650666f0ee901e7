"""The main job where withheld frames are known, to see whether learning beats what needs no training."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geostint import __version__
from geostint.config import METHODS, DemoConfig, PrepareConfig, SampleConfig, TrainConfig
from geostint.data import SOURCE_ROW, Sequence, open_sequence, prepare_store
from geostint.evaluate import (
    MODEL,
    check_channels,
    describe_channels,
    describe_data,
    fit_methods,
    judge,
    list_scores,
    sum_up,
)
from geostint.figures import animate, draw_fields, draw_outcome
from geostint.outcome import LINEAR, Outcome, compare_methods, find_gaps, join_outcomes, read_gaps
from geostint.sample import TRACER, make_sequence, open_sea_temperature
from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.io import write_zarr
from isopleth.report import Claim, Cost, Evaluation, Meter, Provenance, measure_cost, publish

SINGLE = "single cycle"
WORLD, OTHER, REAL = "simulated weather", "stormier weather", "sea temperature"
# What the dual cycle has to beat, chosen before any result was seen.
_RIVALS = {
    LINEAR: "linear interpolation",
    "cubic": "cubic interpolation",
    "flow": "optical flow",
    SINGLE: "a single cycle",
}
_REAL_FACTOR = 3
# The other climate's temperature contrast in units of the first one's.
_STORMIER = 1.25
_ANIMATED_GAPS = 10


@dataclass(frozen=True)
class Size:
    """How much is simulated and trained.

    Parameters
    ----------
    config : str
        The training's shipped config.
    sample : SampleConfig
    worlds : int
        Seeds.
    real_steps : int
        Training steps on the real sequence, which is short.
    """

    config: str
    sample: SampleConfig
    worlds: int
    real_steps: int


SHORT = Size("demo", SampleConfig(days=110, test_days=40), 1, 24)
FULL = Size("demo-full", SampleConfig(days=460, test_days=100), 4, 200)
# World 0 was seen while the defaults were chosen.
_FIRST_FULL = 1


@dataclass(frozen=True, eq=False)
class World:
    """What one seed brought.

    Attributes
    ----------
    outcomes : dict of Outcome
        By domain.
    methods : dict of Method
        Those of the simulated weather.
    test : Sequence
        Its fine test sequence.
    train, predict : Meter
    parameters : int
    """

    outcomes: dict[str, Outcome]
    methods: dict[str, Any]
    test: Sequence
    train: Meter
    predict: Meter
    parameters: int


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Simulate, withhold, train without a truth, interpolate, score: the verb ``demo``."""
    size = FULL if config.full else SHORT
    first = config.seed + (_FIRST_FULL if config.full else 0)
    plan = load_config(size.config, TrainConfig, package="geostint")
    worlds: list[World] = []
    for seed in range(first, first + size.worlds):
        folder = config.out / f"world-{seed}"
        # A demo starts afresh; only what an earlier demo wrote here is removed.
        shutil.rmtree(folder, ignore_errors=True)
        worlds.append(visit_world(seed, folder, plan, size, like=worlds[0] if worlds else None))
    outcomes = {
        domain: join_outcomes([world.outcomes[domain] for world in worlds]) for domain in worlds[0].outcomes
    }
    evaluation = Evaluation(
        tool="geostint", version=__version__,
        task="Make the two frames between frames three steps apart, without having seen any such frame.",
        data=describe_data(
            "simulated weather and a tracer, and monthly sea temperatures", outcomes[WORLD], kind="simulated",
            train="every third of the 6-hourly frames of "
            f"{size.sample.days - size.sample.test_days} days, in each of {size.worlds} worlds; every third "
            "month of the real sequence",
        ),
        scores=list_scores(outcomes, seed=config.seed),
        claims=_judge(outcomes, config.seed),
        cost=Cost.of(
            train=_total([world.train for world in worlds]),
            predict=_total([world.predict for world in worlds]), parameters=worlds[0].parameters,
        ),
        provenance=Provenance.collect(
            f"geostint demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash((plan, size)), config.seed, packages=["geostint", "scikit-image"],
        ),
    )  # fmt: skip
    draw_outcome(config.out, outcomes[WORLD])
    _show(config.out, worlds[0], size)
    return {**publish(config.out, evaluation, size=config.size), **sum_up(evaluation)}


def visit_world(
    seed: int, folder: Path, plan: TrainConfig, size: Size, *, like: World | None = None
) -> World:
    """Simulate one world, train in it, and score everywhere; ranges and events are those of `like`."""
    from geostint.predict import Learned
    from geostint.train import train_network

    sample = replace(size.sample, seed=seed)
    fields = make_sequence(sample)
    cut = fields.sizes["time"] - sample.test_days * 24 // sample.step_hours
    store = _prepare(fields.isel(time=slice(0, cut)), folder / "weather", sample.factor)
    real = open_sequence(open_sea_temperature())
    store_real = _prepare(real.source.dataset, folder / "sea", _REAL_FACTOR)
    plan = replace(plan, data=store, runtime=replace(plan.runtime, seed=seed))
    single = replace(
        plan, loss=replace(plan.loss, cycle=1.0, agreement=0.0), fit=replace(plan.fit, collapse="warn")
    )
    # Its grid is four times as large, and it has a dozen frames.
    short = replace(
        plan.fit, max_steps=size.real_steps, validate_every=max(size.real_steps // 4, 1), batch_size=2
    )
    of_sea = replace(plan, data=store_real, fit=short, gap=0)
    plans = {MODEL: plan, SINGLE: single, REAL: of_sea}
    with measure_cost() as training:
        networks = {
            name: train_network(replace(each, out=folder / name.replace(" ", "-")))[0]
            for name, each in plans.items()
        }
    test = open_sequence(fields.isel(time=slice(cut, None)))
    given = open_sequence(fields.isel(time=slice(0, cut))).thin(sample.factor)
    other = open_sequence(
        make_sequence(replace(sample, days=sample.test_days + 1, seed=seed + 500, storminess=_STORMIER))
    )
    for sequence, name in ((test, MODEL), (other, MODEL), (real, REAL)):
        check_channels(networks[name].config, sequence)
    with measure_cost() as predicting:
        learned = {name: Learned(networks[name], name=name) for name in (MODEL, SINGLE)}
        methods = {**learned, **fit_methods(METHODS, given)}
        domains = {WORLD: (test, methods), OTHER: (other, methods)}
        of_real = {MODEL: Learned(networks[REAL]), **fit_methods(METHODS, real.thin(_REAL_FACTOR))}
        outcomes = {
            name: compare_methods(
                sequence, chosen, factor=sample.factor,
                channels=like.outcomes[name].channels if like is not None
                else describe_channels(sequence, sample.factor, networks[MODEL].config),
            )
            for name, (sequence, chosen) in domains.items()
        }  # fmt: skip
        outcomes[REAL] = compare_methods(
            real, of_real, factor=_REAL_FACTOR,
            channels=like.outcomes[REAL].channels if like is not None
            else describe_channels(real, _REAL_FACTOR, networks[REAL].config),
        )  # fmt: skip
    parameters = sum(each.numel() for each in networks[MODEL].parameters())
    return World(outcomes, methods, test, training, predicting, parameters)


def _prepare(fields: xr.Dataset, folder: Path, factor: int) -> Path:
    """Write fine fields as a user has them, and prepare every third of them."""
    source = write_zarr(fields.drop_vars(SOURCE_ROW, errors="ignore"), folder / "fields.zarr")
    prepare_store(PrepareConfig(source=str(source), out=folder / "frames", every=factor))
    return folder / "frames"


def _judge(outcomes: dict[str, Outcome], seed: int) -> list[Claim]:
    """Judge the paper's question in each field, against each rival."""
    claims = []
    for channel in outcomes[WORLD].channels:
        for rival, name in _RIVALS.items():
            sentence = f"Dual cycle consistency errs less than {name} in {channel.name.replace('_', ' ')}"
            claims.append(judge(outcomes[WORLD], channel.name, rival, sentence=sentence, seed=seed))
    for domain, words in (
        (OTHER, "in a stormier climate than it was trained in"),
        (REAL, "in real monthly data"),
    ):
        for channel in outcomes[domain].channels:
            sentence = f"It errs less than linear interpolation {words}, {channel.name.replace('_', ' ')}"
            claims.append(judge(outcomes[domain], channel.name, LINEAR, sentence=sentence, seed=seed))
    return claims


def _show(out: Path, world: World, size: Size) -> None:
    """Draw the first world: some days of wind moving, the tracer at one withheld time still."""
    factor, channels = size.sample.factor, world.test.channels
    kept, starts = find_gaps(world.test, factor)
    numbers = starts[:_ANIMATED_GAPS]
    gaps = read_gaps(kept, numbers)
    fractions = tuple(k / factor for k in range(1, factor))
    made = {name: world.methods[name].make(gaps, fractions) for name in (LINEAR, "flow", MODEL)}
    fine = world.test.read(0, numbers[-1] * factor + factor)
    wind = 1 - channels.index(TRACER)
    series: dict[str, list[Any]] = {"truth": list(fine[:, wind])}
    for name in (LINEAR, MODEL):
        frames = [np.concatenate([gaps.before[k : k + 1], made[name][k]]) for k in range(len(numbers))]
        series[name] = list(np.concatenate(frames)[:, wind])
    hours = world.test.step_seconds / 3600
    titles = [f"hour {k * hours:g}" + ("" if k % factor else ", given") for k in range(len(fine))]
    animate(
        out, series, titles, units="m s-1",
        caption="Meridional wind at 500 hPa as it is, by linear interpolation and by the network; every "
        "third frame is given. Linear interpolation weakens waves between two frames and strengthens them at "
        "each: it pulses.",
    )  # fmt: skip
    middle, tracer = len(numbers) // 2, channels.index(TRACER)
    stills = {name: frames[middle, 0, tracer] for name, frames in made.items()}
    draw_fields(
        out, {"truth": fine[middle * factor + 1, tracer], **stills},
        world.test.grid, name=TRACER, units="kg kg-1",
        caption=f"The tracer {hours:g} h after a given frame: as it is, and as three methods make it.",
    )  # fmt: skip


def _total(meters: list[Meter]) -> Meter:
    """Add up the seconds of several worlds."""
    peak = max(meter.peak_memory_mb for meter in meters)
    return Meter(sum(meter.seconds for meter in meters), peak, meters[0].device)
