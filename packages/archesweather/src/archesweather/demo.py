"""The main job on a simulated atmosphere: prepare, train, forecast ten days, score, judge the claims."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archesweather import __version__
from archesweather.climatology import fit_climatology
from archesweather.comparison import COLUMNS, WINDOWS, draw_pairs, judge_pairs, pick, plan_pairs
from archesweather.config import DemoConfig, PrepareConfig, SampleConfig, TrainConfig
from archesweather.contenders import Contender, Rollout
from archesweather.evaluate import TASK, compare_contenders, describe_data, publish_outcome
from archesweather.initial import InitialStates
from archesweather.model import ArchesWeather
from archesweather.outcome import Outcome
from archesweather.predict import make_ensemble
from archesweather.prepare import prepare_store
from archesweather.prepared import Prepared, open_prepared
from archesweather.states import open_states, units_of
from archesweather.train import train_member
from archesweather.verification import choose_leads
from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.report import Claim, Cost, Evaluation, Provenance, measure_cost

LEAD_HOURS = 240
# What the claims are about, chosen before any result was seen.
CHANNEL, DAYS = "geopotential_500", (24, 48, 72)
PERSISTENCE_SHARE = 0.6
# Initial times at once: they are small.
_BATCH = 128


@dataclass(frozen=True)
class Size:
    """How much is simulated and trained.

    Parameters
    ----------
    config : str
        The training's shipped config.
    pairs : int
        Networks of either kind; seeds.
    sample : SampleConfig
        The simulated years, of which the last tests.
    every_hours : int
        Hours from one initial time of the test year to the next.
    """

    config: str
    pairs: int
    sample: SampleConfig
    every_hours: int


SHORT = Size("demo", 1, SampleConfig(start="2014-01-01"), 96)
FULL = Size("demo-full", 5, SampleConfig(start="2000-01-01"), 24)


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Simulate, prepare, train pairs of networks, forecast the test year, score: the verb ``demo``.

    The scores are those of the first network with column attention; the claim about the paper's question is
    judged over all pairs.
    """
    size = FULL if config.full else SHORT
    plan = replace(load_config(size.config, TrainConfig, package="archesweather"), data=config.out / "data")
    # A demo starts afresh; only what an earlier demo made here is removed.
    for name in ("data", "train"):
        shutil.rmtree(config.out / name, ignore_errors=True)
    prepare_store(PrepareConfig(out=plan.data, train=plan.split.train, sample=size.sample))
    prepared = open_prepared(plan.data)
    seeds = range(config.seed, config.seed + size.pairs)
    pairs = plan_pairs(plan, prepared, seeds, config.out / "train")
    with measure_cost() as training:
        networks = [{name: train_member(each, prepared)[0] for name, each in pair.items()} for pair in pairs]
    with measure_cost() as predicting:
        outcomes = [_score(pair, prepared, plan, size) for pair in networks]
    first = outcomes[0]
    draw_pairs(config.out, outcomes, CHANNEL)
    evaluation = Evaluation(
        tool="archesweather",
        version=__version__,
        task=TASK.format(days=LEAD_HOURS / 24),
        data=describe_data(str(plan.data), first, train=" to ".join(plan.split.train)),
        scores=first.scores(),
        claims=[*_claims_about_skill(first), *(judge_pairs(outcomes, CHANNEL, lead) for lead in (24, 72))],
        cost=Cost.of(
            train=training,
            predict=predicting,
            parameters=sum(each.numel() for each in networks[0][COLUMNS].parameters()),
        ),
        provenance=Provenance.collect(
            f"archesweather demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash((plan, size)),
            config.seed,
            packages=["archesweather"],
        ),
    )
    return publish_outcome(config.out, evaluation, first, size=config.size)


def _score(
    networks: Mapping[str, ArchesWeather], prepared: Prepared, plan: TrainConfig, size: Size
) -> Outcome:
    """Roll both networks of a pair out over the test year, beside the baselines."""
    truth = open_states(prepared.path, prepared.fields.channels)
    sources = {
        name: InitialStates.of(truth, make_ensemble(network.eval())) for name, network in networks.items()
    }
    contenders: dict[str, Contender] = {
        "model": Rollout(truth, sources[COLUMNS], batch_size=_BATCH),
        WINDOWS: Rollout(truth, sources[WINDOWS], batch_size=_BATCH),
    }
    starts = sources[COLUMNS].find_all(plan.split.test, size.every_hours)
    # The simulated climate has no seasons: its normal state is one mean.
    climatology = fit_climatology(truth, plan.split.train, window_days=0, hours=[0])
    leads = choose_leads(LEAD_HOURS, plan.lead_hours)
    return compare_contenders(contenders, truth, climatology, starts, leads, batch_size=_BATCH)


def _claims_about_skill(outcome: Outcome) -> list[Claim]:
    """Judge what a forecast must at least be."""
    times = f"paired block bootstrap over {len(outcome.plan.starts)} initial times"
    persistence = outcome.model.difference(
        outcome.tallies["persistence"], "rmse", relative=True, draws=outcome.draws, seed=outcome.seed
    )
    skill = pick(persistence, CHANNEL, DAYS[0])
    # From the skill 1 - a / b to how far the ratio a / b is above the share.
    ends = [1 - PERSISTENCE_SHARE - float(each) for each in (skill.high, skill.value, skill.low)]
    ratio = replace(skill, low=ends[0], value=ends[1], high=ends[2])
    claims = [
        Claim.judge(
            f"At 24 h the RMSE of geopotential 500 is below {PERSISTENCE_SHARE:.0%} of persistence's",
            ratio,
            better="lower",
            evidence=f"ratio of RMSE minus {PERSISTENCE_SHARE}, {times}",
        )
    ]
    return [*claims, *(_claim_through(outcome, name, times) for name in ("persistence", "climatology"))]


def _claim_through(outcome: Outcome, baseline: str, times: str) -> Claim:
    """Judge the first three days by the one of least gain."""
    found = outcome.model.difference(
        outcome.tallies[baseline], "rmse", draws=outcome.draws, seed=outcome.seed
    )
    worst = max((pick(found, CHANNEL, day) for day in DAYS), key=lambda each: float(each.high))
    return Claim.judge(
        f"Through day three the model errs less in geopotential 500 than {baseline}",
        worst,
        better="lower",
        units=units_of(CHANNEL),
        evidence=f"difference of RMSE at the least favourable of the three days, {times}",
    )
