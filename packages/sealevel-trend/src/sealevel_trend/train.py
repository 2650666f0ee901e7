"""Train networks: for each segment of each table some seeds, all of them in one batched call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isopleth.errors import DataError
from isopleth.fields import tile_labels
from isopleth.sealevel.baselines import Learner, known_target
from isopleth.sealevel.protocol import Outcome, measure_rmse, plan_cross_validation, run_trials
from isopleth.sealevel.rows import Rows
from isopleth.train import Problem, RunDirectory, Runtime, train_together
from sealevel_trend.config import LearningConfig, TrainConfig
from sealevel_trend.data import Trends, compute_trends, open_prepared
from sealevel_trend.experiments import BLOCKS, PERFECT, make_block_folds, plan_perfect
from sealevel_trend.intervals import Calibration, calibrate
from sealevel_trend.model import EVERYWHERE, NetworkPredictor, TrendModel, TrendModelConfig
from sealevel_trend.partition import Partition, build_partition

# A segment with fewer training rows than this gets networks that were trained on all of them.
_FEWEST_ROWS = 100
# Validation tiles are dealt to so many parts; a seed takes as many of them as make its share.
_PARTS = 20


@dataclass(frozen=True, kw_only=True)
class NetworkLearner(Learner):
    """Fully connected networks, `seeds` of them for each segment of the rows.

    Parameters
    ----------
    learning : LearningConfig
    seeds : int
        Networks of each segment.
    name : str
    membership : array, shape (segment, cell), optional
        To blend seams by; see `NetworkPredictor`.
    runtime : Runtime, optional
    run_dir : Path, optional
        Where the training is saved, so that it can be resumed.
    resume : bool
    """

    learning: LearningConfig
    seeds: int = 1
    name: str = "network"
    membership: np.ndarray | None = None
    runtime: Runtime | None = None
    run_dir: Path | None = None
    resume: bool = False

    def fit(self, rows: Rows) -> NetworkPredictor:
        """Train on one table."""
        return self.fit_all([rows])[0]

    def fit_all(self, tables: Sequence[Rows]) -> list[NetworkPredictor]:
        """Train on several tables: all segments, tables and seeds in one batched call.

        Tables with other numbers of inputs take a call of their own, and a folder in the run's directory.
        """
        fitted: dict[int, NetworkPredictor] = {}
        widths = sorted({rows.inputs.shape[1] for rows in tables}, reverse=True)
        for width in widths:
            numbers = [k for k, rows in enumerate(tables) if rows.inputs.shape[1] == width]
            folder = self.run_dir
            if folder is not None and width != widths[0]:
                folder = folder / f"{width}-inputs"
            fitted |= dict(zip(numbers, self._train([tables[k] for k in numbers], folder), strict=True))
        return [fitted[k] for k in range(len(tables))]

    def _train(self, tables: Sequence[Rows], folder: Path | None) -> list[NetworkPredictor]:
        places: list[list[int]] = []
        labels: list[list[int]] = []
        problems: list[Problem] = []
        for number, rows in enumerate(tables):
            made = list(self._problems(number, rows))
            places.append(list(range(len(problems), len(problems) + len(made))))
            labels.append([label for label, _ in made])
            problems += [problem for _, problem in made]
        result = train_together(
            problems, self.learning.network, self.learning.fit,
            runtime=self.runtime, run_dir=folder, resume=self.resume,
        )  # fmt: skip
        passes = self.learning.ensemble.passes
        return [
            NetworkPredictor(result.networks.subset(place), tuple(label), passes, membership=self.membership)
            for place, label in zip(places, labels, strict=True)
        ]

    def _problems(self, number: int, rows: Rows) -> list[tuple[int, Problem]]:
        """Pose the problems of one table, which share its arrays."""
        target = known_target(rows)
        tiles = tile_labels(rows.lat, rows.lon, size_km=self.learning.ensemble.block_km)
        problems = []
        for label, own in split_segments(rows.segment):
            for seed in range(self.seeds):
                held = hold_out(tiles[own], self.learning.ensemble.validation, seed)
                problem = Problem(
                    name=f"table {number}, segment {label}, seed {seed}",
                    inputs=rows.inputs, targets=target, weights=rows.weight,
                    train=own[~held], validation=own[held], seed=seed,
                )  # fmt: skip
                problems.append((label, problem))
        return problems


def split_segments(segment: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """List the rows of each segment that has enough; where one has not, all rows as `EVERYWHERE` besides.

    Parameters
    ----------
    segment : array of int, shape (n,)

    Returns
    -------
    list of (int, array of int)
        Labels and positions.
    """
    labels, count = np.unique(segment, return_counts=True)
    parts = [(int(label), np.flatnonzero(segment == label)) for label in labels[count >= _FEWEST_ROWS]]
    if (count < _FEWEST_ROWS).any():
        parts.append((EVERYWHERE, np.arange(len(segment))))
    return parts


def hold_out(tiles: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose whole tiles for validation, about a share of them, others for each seed; none if there is one.

    Parameters
    ----------
    tiles : array of int, shape (n,)
    share : float
    seed : int

    Returns
    -------
    array of bool, shape (n,)
    """
    names = np.unique(tiles)
    count = min(round(share * len(names)), len(names) - 1)
    chosen = np.random.default_rng(seed).permutation(names)[:count]
    return np.asarray(np.isin(tiles, chosen))


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, and the tests that its intervals rest on: blocks of the past, and perfect models."""

    model: TrendModel
    partition: Partition
    held_out: Outcome
    perfect: Outcome | None
    calibration: Calibration


def train_model(
    trends: Trends,
    partition: Partition,
    learning: LearningConfig,
    *,
    future: Trends | None = None,
    runtime: Runtime | None = None,
    run_dir: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train the model that predicts, and calibrate its intervals on what it was not trained on.

    Parameters
    ----------
    trends : Trends
        Of the past years, with the observed ones.
    partition : Partition
    learning : LearningConfig
    future : Trends, optional
        Of the models in the years to predict; needed to calibrate by perfect models.
    runtime, run_dir, resume
        As for `isopleth.train.train_together`.
    """
    rows = trends.check_observed().rows(partition.labels)
    held_out = plan_cross_validation(rows, make_block_folds(rows, learning.folds), name=BLOCKS)
    learner = NetworkLearner(
        learning=learning, seeds=learning.ensemble.seeds, membership=partition.membership(learning.partition),
        runtime=runtime, run_dir=run_dir, resume=resume,
    )  # fmt: skip
    plans = [held_out]
    if learning.calibration == "perfect_models":
        if future is None:
            raise DataError("the models' future must be given to calibrate by perfect models, got none")
        plans.append(plan_perfect(trends, future, partition))
    predictor, *tested = learner.fit_all([rows, *(trial.train for plan in plans for trial in plan.trials)])
    outcomes = run_trials(Fitted(tested), plans)
    perfect = outcomes.get(PERFECT)
    deciding = outcomes[BLOCKS] if perfect is None else perfect
    calibration = calibrate(deciding, learning.level, internal=trends.internal)
    model = _assemble(trends, partition, learning, predictor, calibration)
    return Trained(model, partition, outcomes[BLOCKS], perfect, calibration)


@dataclass(frozen=True, eq=False)
class Fitted(Learner):
    """Predictors that are there already, in the order of the trials."""

    predictors: Sequence[NetworkPredictor]
    name: str = "network"

    def fit(self, rows: Rows) -> NetworkPredictor:  # noqa: ARG002 (of the interface)
        """Give the only one."""
        return self.predictors[0]

    def fit_all(self, tables: Sequence[Rows]) -> list[NetworkPredictor]:  # noqa: ARG002
        """Give them all."""
        return list(self.predictors)


def _assemble(
    trends: Trends,
    partition: Partition,
    learning: LearningConfig,
    predictor: NetworkPredictor,
    calibration: Calibration,
) -> TrendModel:
    labels, networks = partition.labels, predictor.networks
    # Names must stand once and say what is in the folder: the table's number is of the training alone.
    names = tuple(name.partition(", ")[2] for name in networks.config.names)
    config = TrendModelConfig(
        features=tuple(map(str, trends.models["model"].values)),
        learning=learning,
        networks=replace(networks.config, names=names),
        segment_names=partition.names,
        rows=labels.sizes["lat"],
        columns=labels.sizes["lon"],
    )
    model = TrendModel(config)
    model.networks.load_state_dict(networks.state_dict())
    values: dict[str, Any] = {
        "segments": np.asarray(predictor.segments),
        "labels": labels.transpose("lat", "lon").values,
        "lat": labels["lat"].values,
        "lon": labels["lon"].values,
        "quantiles": np.asarray([calibration.scaled, calibration.plain]),
        "mean_trend": np.asarray(trends.mean if trends.mean is not None else np.nan),
    }
    for name, value in values.items():
        getattr(model, name).copy_(torch.from_numpy(np.array(value)))
    return model.eval()


def train_from_prepared(config: TrainConfig) -> dict[str, Any]:
    """Compute trends, cut segments, train and calibrate: the verb ``train``."""
    learning = config.learning
    run = RunDirectory(config.out)
    with open_prepared(config.prepared) as prepared:
        trends = compute_trends(prepared, learning.period.past, learning.global_mean).check_observed()
        future = None
        if learning.calibration == "perfect_models":
            future = compute_trends(prepared, learning.period.future, learning.global_mean)
        partition = build_partition(prepared, learning.period.past, learning.partition, seeds=3)
    run.path.mkdir(parents=True, exist_ok=True)
    trained = train_model(
        trends,
        partition,
        learning,
        future=future,
        runtime=config.runtime,
        run_dir=config.out,
        resume=config.resume,
    )
    run.write_config(config)
    trained.model.save_pretrained(run.pretrained)
    return {
        "run": str(run.path),
        "pretrained": str(run.pretrained),
        "cells": len(np.unique(trained.held_out.cell)),
        "segments": len(partition.names),
        "stability": partition.stability,
        "held_out_rmse": measure_rmse(trained.held_out),
        "perfect_model_rmse": None if trained.perfect is None else measure_rmse(trained.perfect),
        "interval_half_width": trained.calibration.plain,
        "level": learning.level,
        "units": "mm year-1",
    }
