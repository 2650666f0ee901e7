"""What the method is tested by: blocks beside random folds, a null test, perfect models, a backtest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.fields import Folds, block_folds, random_folds
from isopleth.sealevel.baselines import (
    EnsembleMean,
    GlobalMean,
    Learner,
    Persistence,
    RandomForest,
    Ridge,
    Scaling,
)
from isopleth.sealevel.protocol import (
    Experiment,
    Outcome,
    plan_backtest,
    plan_cross_validation,
    plan_null_test,
    plan_perfect_models,
    run_trials,
)
from isopleth.sealevel.rows import Rows
from sealevel_trend.config import FoldConfig, LearningConfig
from sealevel_trend.data import Trends, compute_trends, split_record
from sealevel_trend.partition import Partition

BLOCKS, RANDOM = "blocks", "random folds"
NULL_BLOCKS, NULL_RANDOM = "null test, blocks", "null test, random folds"
PERFECT, BACKTEST = "perfect model", "backtest"
NETWORK = "network"

# Models that share code, and with it what is wrong with them.
_MARKS = ("CESM", "MPI", "GFDL", "MIROC", "CNRM", "IPSL", "UKESM", "HadGEM", "ACCESS", "CanESM", "EC-Earth")


@dataclass(frozen=True, eq=False)
class Evidence:
    """Trends of every period that the tests need.

    Attributes
    ----------
    past, future : Trends
    early, late : Trends
        Of the halves of the past.
    """

    past: Trends
    future: Trends
    early: Trends
    late: Trends

    @classmethod
    def of(cls, prepared: xr.Dataset, learning: LearningConfig) -> Evidence:
        """Compute them from prepared fields."""
        early, late = split_record(learning.period)
        periods = (learning.period.past, learning.period.future, early, late)
        past, *others = (compute_trends(prepared, years, learning.global_mean) for years in periods)
        return cls(past.check_observed(), *others)


def name_families(models: Sequence[str]) -> dict[str, str]:
    """Tell models of one family by their names, such as CESM1 and CESM2; the others are families of one."""
    return {
        model: next((mark for mark in _MARKS if mark.lower() in model.lower()), model) for model in models
    }


def list_baselines(folds: FoldConfig, *, trees: int) -> list[Learner]:
    """List what the network must beat, the simplest first."""
    ridge = {"buffer_km": folds.buffer_km, "size_km": folds.size_km, "folds": folds.folds}
    return [
        GlobalMean(),
        EnsembleMean(),
        Persistence(),
        Scaling("segment", name="scaling by segment"),
        Ridge(**ridge),  # type: ignore[arg-type]
        RandomForest(trees),
    ]


def make_block_folds(rows: Rows, folds: FoldConfig) -> Folds:
    """Hold out tiles of ocean, with a buffer round them."""
    return block_folds(
        rows.lat, rows.lon, folds.folds, buffer_km=folds.buffer_km, size_km=folds.size_km, seed=folds.seed
    )


def plan_blocks(
    evidence: Evidence, partition: Partition, learning: LearningConfig, *, name: str = BLOCKS
) -> Experiment:
    """Plan cross-validation in blocks of the past: the test by default."""
    rows = evidence.past.rows(partition.labels)
    return plan_cross_validation(rows, make_block_folds(rows, learning.folds), name=name)


def plan_tests(
    evidence: Evidence,
    partition: Partition,
    learning: LearningConfig,
    *,
    null_draws: int = 1,
    siblings: bool = False,
) -> list[Experiment]:
    """Plan every test that needs no knowledge of the future.

    Parameters
    ----------
    evidence : Evidence
    partition : Partition
    learning : LearningConfig
    null_draws : int
    siblings : bool
        Whether a perfect model's own family stays among the inputs, where enough others are left without.
    """
    rows = evidence.past.rows(partition.labels)
    folds = make_block_folds(rows, learning.folds)
    count, seed = learning.folds.folds, learning.folds.seed
    at_random = random_folds(len(rows), count, seed=seed, acknowledge_leakage=True)
    plans = [
        plan_cross_validation(rows, folds, name=BLOCKS),
        plan_cross_validation(rows, at_random, name=RANDOM),
        plan_null_test(rows, folds, draws=null_draws, seed=seed, name=NULL_BLOCKS),
        plan_null_test(rows, at_random, draws=null_draws, seed=seed, name=NULL_RANDOM),
        plan_perfect(evidence.past, evidence.future, partition, siblings=siblings),
    ]
    if evidence.early.observed is not None and evidence.late.observed is not None:
        early, late = (part.rows(partition.labels) for part in (evidence.early, evidence.late))
        told = " to ".join(f"{part.years[0]}-{part.years[1]}" for part in (evidence.early, evidence.late))
        plans.append(plan_backtest(early, late, about=f"from {told}", name=BACKTEST))
    return plans


def plan_perfect(past: Trends, future: Trends, partition: Partition, *, siblings: bool = False) -> Experiment:
    """Take each model for the truth in turn, with the weather of one member.

    Parameters
    ----------
    past, future : Trends
    partition : Partition
    siblings : bool
        Whether the truth's own family stays among the inputs; it does where too few others are left without.
    """
    models = [str(name) for name in past.models["model"].values]
    families = name_families(models)
    counts = Counter(families.values())
    alone = not siblings and all(len(models) - counts[family] >= 2 for family in families.values())
    return plan_perfect_models(
        past.models,
        future.models,
        past_truth=past.members,
        future_truth=future.members,
        families=families if alone else None,
        segments=partition.labels,
        name=PERFECT,
    )


def run_baselines(
    baselines: Sequence[Learner], experiments: Sequence[Experiment]
) -> dict[str, dict[str, Outcome]]:
    """Run every baseline through every experiment; keep those that have an answer everywhere.

    Returns
    -------
    dict of dict
        Outcomes by experiment, then by learner.
    """
    found: dict[str, dict[str, Outcome]] = {experiment.name: {} for experiment in experiments}
    for baseline in baselines:
        for name, outcome in run_trials(baseline, experiments).items():
            if outcome.complete:
                found[name][baseline.name] = outcome
    return found


def join_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Join the same experiment in several worlds; blocks of different worlds are different blocks."""
    first, most = outcomes[0], 1 + max(int(one.block.max()) for one in outcomes)
    parts: Mapping[str, list[np.ndarray]] = {
        name: [getattr(one, name) for one in outcomes]
        for name in ("truth", "prediction", "weight", "lat", "lon", "cell", "step")
    }
    spreads = [one.spread for one in outcomes]
    return Outcome(
        experiment=first.experiment,
        learner=first.learner,
        spread=None if any(one is None for one in spreads) else np.concatenate(spreads),  # type: ignore[arg-type]
        trial=np.concatenate([one.trial + 1000 * k for k, one in enumerate(outcomes)]),
        block=np.concatenate([one.block + most * k for k, one in enumerate(outcomes)]),
        **{name: np.concatenate(values) for name, values in parts.items()},
    )
