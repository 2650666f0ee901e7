"""Every method on real images: pretrain on handwriting, adapt to textures, and see what is left."""

from __future__ import annotations

import copy
import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from block_expansion import __version__
from block_expansion.config import DemoConfig, StudyConfig
from block_expansion.data import Domain
from block_expansion.evaluate import judge_methods, list_methods, score_methods, sum_up, write_run
from block_expansion.figures import draw_curves, draw_domains, draw_plane
from block_expansion.sample import SOURCE, load_handwriting, load_textures
from isopleth.cli import load_config
from isopleth.config import config_hash
from isopleth.report import (
    Cost,
    DataCard,
    Evaluation,
    Meter,
    Provenance,
    fingerprint,
    measure_cost,
    publish,
)

if TYPE_CHECKING:
    from block_expansion.model import Classifier
    from block_expansion.train import Adapted


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Pretrain, adapt with every method and measure: the verb ``demo``.

    Settings stand in ``configs/demo.yaml`` and ``demo-full.yaml``.
    """
    study = load_config("demo-full" if config.full else "demo", StudyConfig, package="block_expansion")
    # A demo starts afresh; only what an earlier demo wrote here is removed.
    shutil.rmtree(config.out / "runs", ignore_errors=True)
    old, new = load_handwriting(), load_textures()
    with measure_cost() as training:
        runs = run_study(study, old, new, config.out / "runs", first_seed=study.first_seed + config.seed)
    evaluation = _evaluate(config, study, runs, (old, new), training)
    draw_plane(config.out, runs)
    draw_curves(config.out, runs)
    draw_domains(config.out, (old, new))
    return {**publish(config.out, evaluation, size=config.size), **sum_up(evaluation)}


def run_study(
    study: StudyConfig, old: Domain, new: Domain, out: Path, *, first_seed: int = 0
) -> list[Adapted]:
    """Adapt networks pretrained from several seeds by every contender at each of its learning rates.

    Parameters
    ----------
    study : StudyConfig
    old, new : Domain
        What to pretrain on, and what to adapt to.
    out : Path
        A folder for the runs.
    first_seed : int

    Returns
    -------
    list of Adapted
        Contenders in their order, within each seed; the same whatever the number of processes.
    """
    work = partial(run_seed, study, old, new, out)
    seeds = range(first_seed, first_seed + study.seeds)
    if study.processes == 1 or study.seeds == 1:
        found = [work(seed) for seed in seeds]
    else:
        # A process that torch's threads run in must not be forked.
        context = get_context("spawn")
        pool = ProcessPoolExecutor(study.processes, context, initializer=_end_with_parent)
        try:
            found = list(pool.map(work, seeds))
        except BaseException:
            # Who is interrupted must not wait for the seeds that are under way.
            for process in active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    return [run for runs in found for run in runs]


def _end_with_parent() -> None:
    """Let no process outlive a demo that was killed."""
    parent = parent_process()
    assert parent is not None

    def wait_and_leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_and_leave, daemon=True).start()


def run_seed(study: StudyConfig, old: Domain, new: Domain, out: Path, seed: int) -> list[Adapted]:
    """Pretrain one network, and adapt it by every contender at each of its learning rates."""
    from block_expansion.retention import Memory
    from block_expansion.train import adapt

    folder, runs = out / f"seed-{seed}", []
    original = _pretrain(study, old, len(new.classes), folder, seed)
    memory = Memory(original, old, study.retention)
    for contender in study.contenders:
        for rate in contender.learning_rates:
            run_dir = folder / f"{contender.method.label.replace(' ', '-')}-{rate:g}"
            _, adapted = adapt(
                copy.deepcopy(original), new, contender.method, replace(study.fit, learning_rate=rate),
                run_dir=run_dir, memory=memory, at_steps=study.retention.at_steps,
                runtime=replace(study.runtime, seed=seed),
            )  # fmt: skip
            write_run(run_dir, adapted)
            runs.append(adapted)
    return runs


def _pretrain(study: StudyConfig, old: Domain, classes: int, folder: Path, seed: int) -> Classifier:
    """Give a pretrained backbone and a new head; the same for every contender of a seed."""
    from block_expansion.model import build_classifier
    from block_expansion.train import pretrain
    from isopleth.train import seed_everything

    seed_everything(seed)
    classifier = build_classifier(study.backbone, classes)
    pretrain(
        classifier, old.train, study.pretrain,
        run_dir=folder / "pretraining", runtime=replace(study.runtime, seed=seed),
    )  # fmt: skip
    return classifier


def _evaluate(
    config: DemoConfig,
    study: StudyConfig,
    runs: Sequence[Adapted],
    domains: tuple[Domain, Domain],
    training: Meter,
) -> Evaluation:
    old, new = domains
    ours = next(name for name in list_methods(runs) if name.startswith("block expansion"))
    return Evaluation(
        tool="block-expansion",
        version=__version__,
        task=f"Adapt a small vision transformer, pretrained without labels on {old.name}, to "
        f"{new.name}, and keep "
        f"what it knew. The model is {ours}.",
        data=DataCard(
            name=f"{old.name} and {new.name}",
            kind="real",
            source=SOURCE,
            train=f"{len(old.train)} digits without labels; then {len(new.train)} patches of ten images",
            test=f"{len(old.test)} digits of other writers; {len(new.test)} patches from other "
            f"parts of the images",
            fingerprint=fingerprint(
                *(part.read(range(len(part))) for d in domains for part in (d.train, d.val, d.test))
            ),
        ),
        scores=score_methods(runs, ours),
        claims=judge_methods(runs, ours),
        cost=Cost.of(train=training, parameters=next(run.parameters for run in runs if run.method == ours)),
        provenance=Provenance.collect(
            f"block-expansion demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash(study),
            config.seed,
            packages=["block-expansion", "peft", "timm", "scikit-image", "scikit-learn"],
        ),
    )
