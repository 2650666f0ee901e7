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
    list_transfers,
    sum_up,
)
from geostint.figures import animate, draw_fields, draw_outcome, draw_transfers
from geostint.outcome import LINEAR, Outcome, compare_methods, find_gaps, join_outcomes, read_gaps
from geostint.sample import TRACER, make_sequence, open_sea_temperature
from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.io import write_zarr
from isopleth.report import Claim, Cost, Evaluation, Meter, Provenance, measure_cost, publish

SINGLE = "single cycle"
WORLD, OTHER, REAL = "simulated weather", "stormier weather", "sea temperature"
ABROAD = f"trained in {OTHER}"
# What the dual cycle has to beat, chosen before any result was seen.
_RIVALS = {
    LINEAR: "linear interpolation",
    "cubic": "cubic interpolation",
    "flow": "optical flow",
    SINGLE: "a single cycle",
}
_REAL_FACTOR = 3
# The other climate's temperature contrast in units of the first one's.
_STORMIER, _OTHER_SEED = 1.25, 500
_ANIMATED_GAPS = 7


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


SHORT = Size("demo", SampleConfig(days=100, test_days=30), 1, 20)
FULL = Size("demo-full", SampleConfig(days=460, test_days=100), 4, 150)
# World 0 was seen while the defaults were chosen, 10 and 11 while rates and lengths of training were; nothing
# of the full demo's worlds was, nor of their stormier ones.
_FIRST_FULL = 100


@dataclass(frozen=True, eq=False)
class Domain:
    """One sequence: what trains, and what tests.

    Attributes
    ----------
    store : Path
        Frames to train on.
    given : Sequence
        The same frames, for methods that are fitted.
    test : Sequence
        The fine sequence to test on.
    """

    store: Path
    given: Sequence
    test: Sequence


@dataclass(frozen=True, eq=False)
class Visit:
    """What one seed brought, or the real sequence.

    Attributes
    ----------
    outcomes : dict of Outcome
        By domain.
    methods : dict of Method
        Those of the first domain.
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
    # A demo starts afresh; only what an earlier demo wrote here is removed.
    shutil.rmtree(config.out / REAL.replace(" ", "-"), ignore_errors=True)
    sea = visit_sea(config.out / REAL.replace(" ", "-"), plan, size)
    worlds: list[Visit] = []
    for seed in range(first, first + size.worlds):
        folder = config.out / f"world-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        worlds.append(visit_world(seed, folder, plan, size, like=worlds[0] if worlds else None))
    joined = {domain: join_outcomes([each.outcomes[domain] for each in worlds]) for domain in (WORLD, OTHER)}
    outcomes = {**joined, **sea.outcomes}
    visits = [*worlds, sea]
    transfers = list_transfers(joined, {WORLD: MODEL, OTHER: ABROAD}, seed=config.seed)
    evaluation = Evaluation(
        tool="geostint", version=__version__,
        task="Make the two frames between frames three steps apart, without having seen any such frame.",
        data=describe_data(
            "simulated weather and a tracer, and monthly sea temperatures", outcomes[WORLD], kind="simulated",
            train="every third of the 6-hourly frames of "
            f"{size.sample.days - size.sample.test_days} days, in each of {size.worlds} worlds and in "
            "each of as many stormier ones; every third month of the real sequence",
        ),
        scores=[*list_scores(outcomes, seed=config.seed), *transfers],
        claims=_judge(outcomes, config.seed),
        cost=Cost.of(
            train=_total([each.train for each in visits]),
            predict=_total([each.predict for each in visits]), parameters=worlds[0].parameters,
        ),
        provenance=Provenance.collect(
            f"geostint demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash((plan, size)), config.seed, packages=["geostint", "scikit-image"],
        ),
    )  # fmt: skip
    draw_outcome(config.out, outcomes[WORLD])
    draw_transfers(config.out, transfers)
    _show(config.out, worlds[0], size)
    return {**publish(config.out, evaluation, size=config.size), **sum_up(evaluation)}


def visit_world(
    seed: int, folder: Path, plan: TrainConfig, size: Size, *, like: Visit | None = None
) -> Visit:
    """Train in two climates of one seed and score both networks in both.

    Ranges and events are those of `like`, so that scores of several worlds can be joined.
    """
    sample = replace(size.sample, seed=seed)
    stormy = replace(sample, seed=seed + _OTHER_SEED, storminess=_STORMIER)
    domains = {WORLD: _simulate(sample, folder / "weather"), OTHER: _simulate(stormy, folder / "stormier")}
    plan = replace(plan, data=domains[WORLD].store, runtime=replace(plan.runtime, seed=seed))
    single = replace(
        plan, loss=replace(plan.loss, cycle=1.0, agreement=0.0), fit=replace(plan.fit, collapse="warn")
    )
    plans = {MODEL: plan, SINGLE: single, ABROAD: replace(plan, data=domains[OTHER].store)}
    return _visit(domains, plans, folder, like)


def visit_sea(folder: Path, plan: TrainConfig, size: Size) -> Visit:
    """Train on every third month of the real sequence and score the months between."""
    real = open_sequence(open_sea_temperature())
    store = _prepare(real.source.dataset, folder, _REAL_FACTOR)
    # Its grid is four times as large, and it has a dozen frames.
    short = replace(
        plan.fit, max_steps=size.real_steps, validate_every=max(size.real_steps // 4, 1), batch_size=2
    )
    domain = Domain(store, real.thin(_REAL_FACTOR), real)
    return _visit({REAL: domain}, {MODEL: replace(plan, data=store, fit=short, gap=0)}, folder, None)


def _visit(
    domains: dict[str, Domain], plans: dict[str, TrainConfig], folder: Path, like: Visit | None
) -> Visit:
    """Train networks, and score them and what needs no training in every domain."""
    from geostint.predict import Learned
    from geostint.train import train_network

    with measure_cost() as training:
        networks = {
            name: train_network(replace(each, out=folder / name.replace(" ", "-")))[0]
            for name, each in plans.items()
        }
    learned = {name: Learned(network, name=name) for name, network in networks.items()}
    outcomes, methods = {}, {}
    with measure_cost() as predicting:
        for name, domain in domains.items():
            check_channels(networks[MODEL].config, domain.test)
            factor = networks[MODEL].config.frames + 1
            methods[name] = {**learned, **fit_methods(METHODS, domain.given)}
            channels = describe_channels(domain.test, factor, networks[MODEL].config)
            if like is not None:
                channels = like.outcomes[name].channels
            outcomes[name] = compare_methods(domain.test, methods[name], factor=factor, channels=channels)
    first = next(iter(domains))
    parameters = sum(each.numel() for each in networks[MODEL].parameters())
    return Visit(outcomes, methods[first], domains[first].test, training, predicting, parameters)


def _simulate(sample: SampleConfig, folder: Path) -> Domain:
    """Simulate a sequence and cut off its end as a test."""
    fields = make_sequence(sample)
    cut = fields.sizes["time"] - sample.test_days * 24 // sample.step_hours
    past, future = (fields.isel(time=part) for part in (slice(0, cut), slice(cut, None)))
    store = _prepare(past, folder, sample.factor)
    return Domain(store, open_sequence(past).thin(sample.factor), open_sequence(future))


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
    for domain, model, words in (
        (OTHER, MODEL, "in a stormier climate than it was trained in"),
        (WORLD, ABROAD, "in a calmer climate than it was trained in"),
        (REAL, MODEL, "in real monthly data"),
    ):
        for channel in outcomes[domain].channels:
            sentence = f"It errs less than linear interpolation {words}, {channel.name.replace('_', ' ')}"
            claims.append(
                judge(outcomes[domain], channel.name, LINEAR, model=model, sentence=sentence, seed=seed)
            )
    return claims


def _show(out: Path, world: Visit, size: Size) -> None:
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
    """Add up the seconds of several visits."""
    peak = max(meter.peak_memory_mb for meter in meters)
    return Meter(sum(meter.seconds for meter in meters), peak, meters[0].device)
