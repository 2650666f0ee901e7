"""The whole job on handwritten digits: a generator, twins, encoders of every arm, probes and verdicts."""

from __future__ import annotations

import shutil
from typing import Any

from diffmix import __version__
from diffmix.comparison import PRIMARY, SECONDARY, judge_study, list_names, measure, score_study, select
from diffmix.config import DemoConfig, StudyConfig
from diffmix.figures import draw_arms, draw_pairs, draw_strength
from diffmix.sample import SOURCE, Sample, load_sample
from diffmix.study import Study, run_study
from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.report import Cost, DataCard, Evaluation, Meter, Provenance, fingerprint, measure_cost, publish


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Compare arms on digits: the verb ``demo``.

    Settings stand in ``configs/demo.yaml`` and ``demo-full.yaml``.
    """
    import torch

    settings: StudyConfig = load_config(
        "demo-full" if config.full else "demo", StudyConfig, package="diffmix"
    )
    # A demo starts afresh; only what an earlier demo wrote here is removed.
    shutil.rmtree(config.out / "runs", ignore_errors=True)
    sample = load_sample()
    threads = torch.get_num_threads()
    with measure_cost() as training:
        study = run_study(settings, sample, config.out / "runs", first_seed=settings.first_seed + config.seed)
    torch.set_num_threads(threads)
    evaluation = _evaluate(config, settings, study, sample, training)
    draw_pairs(config.out, study, sample)
    draw_arms(config.out, study)
    draw_strength(config.out, study)
    return {**publish(config.out, evaluation, size=config.size), **_sum_up(study)}


def _sum_up(study: Study) -> dict[str, Any]:
    """Give the two cells that were named beforehand, a mean of seeds for each arm."""
    found = {}
    for title, (probe, augmentation) in (
        ("five-shot, no augmentation", PRIMARY),
        ("linear, full augmentation", SECONDARY),
    ):
        own = {name: select(study, name, augmentation) for name in list_names(study)}
        found[title] = {
            name: round(sum(measure(each, probe) for each in runs) / len(runs), 1)
            for name, runs in own.items()
            if runs
        }
    return found


def _evaluate(
    config: DemoConfig, settings: StudyConfig, study: Study, sample: Sample, training: Meter
) -> Evaluation:
    return Evaluation(
        tool="diffmix",
        version=__version__,
        task="Pre-train a small encoder without labels on handwritten digits, with views of real images, of "
        "their variations by a diffusion model, or of one of each. The model is diffmix: pairs of a "
        "real and a "
        "synthetic image.",
        data=DataCard(
            name="handwritten digits",
            kind="real",
            source=SOURCE,
            train=f"{len(sample.train)} digits without labels; labels for probes alone",
            test=f"{len(sample.test)} digits of other writers; clean, with noise and turned",
            fingerprint=fingerprint(sample.train, sample.train_labels, sample.test, sample.test_labels),
        ),
        scores=score_study(study),
        claims=judge_study(study),
        cost=Cost.of(train=training, parameters=study.encoder_parameters),
        provenance=Provenance.collect(
            f"diffmix demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash(settings),
            config.seed,
            packages=["diffmix", "diffusers", "lightly", "timm", "scikit-learn"],
        ),
    )
