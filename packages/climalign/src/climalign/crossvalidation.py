"""Train and score on rolling folds: the paper's test."""

from __future__ import annotations

from typing import Any

from climalign.config import BaselineConfig, CrossvalidateConfig, SplitConfig, TrainConfig
from climalign.data import open_prepared
from climalign.evaluate import make_evaluation, publish_trials, run_trial
from climalign.folds import rolling_splits
from climalign.scores import join, measure
from isopleth.config import config_hash
from isopleth.report import DataCard, Meter, fingerprint, measure_cost


def run_folds(config: CrossvalidateConfig) -> dict[str, Any]:
    """Train and score each fold, and put them together: the verb ``crossvalidate``.

    Each fold counts as one number. Folds share most of their training days, so that intervals over them are
    narrower than those of independent trials would be.
    """
    from climalign.train import train_pair

    prepared = open_prepared(config.prepared)
    splits = rolling_splits(
        prepared.common_days,
        folds=config.folds,
        test_days=config.test_days,
        validate_days=config.validate_days,
        embargo_days=config.embargo_days,
    )
    training: list[Meter] = []
    predicting: list[Meter] = []
    trials = []
    parameters = 0
    for number, split in enumerate(splits):
        with measure_cost() as meter:
            model, _ = train_pair(_plan(config, split, number), prepared)
        training.append(meter)
        baselines = BaselineConfig(
            paired=split.train_fine if config.supervised else None, bmd=config.bmd, quantiles=config.quantiles
        )
        trials.append(run_trial(model, prepared, split, config.sampling, baselines, predicting=predicting))
        parameters = sum(each.numel() for each in model.parameters())
    evaluation = make_evaluation(
        {config.field.kind: join([measure(trial) for trial in trials])},
        DataCard(
            name="prepared fields",
            kind=prepared.kind,
            source=str(config.prepared),
            train=f"{len(splits)} folds, the first of {' to '.join(splits[0].train_fine)}, the last of "
            f"{' to '.join(splits[-1].train_fine)}; {config.embargo_days} days left out before each test",
            test=f"{splits[0].test[0]} to {splits[-1].test[1]}",
            fingerprint=fingerprint(*(trial.truth.values for trial in trials)),
        ),
        unit="folds, which share training days",
        train=training,
        predict=predicting,
        parameters=parameters,
        command="climalign crossvalidate",
        settings=config_hash(config),
        seed=config.runtime.seed,
    )
    return {**publish_trials(config.out, evaluation, {config.field.kind: trials[-1]}), "folds": len(splits)}


def _plan(config: CrossvalidateConfig, split: SplitConfig, number: int) -> TrainConfig:
    return TrainConfig(
        prepared=config.prepared,
        out=config.out / f"fold-{number}" / "train",
        resume=config.resume,
        field=config.field,
        flow=config.flow,
        objective=config.objective,
        fit=config.fit,
        split=split,
        runtime=config.runtime,
    )
