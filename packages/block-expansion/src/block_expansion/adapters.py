"""The verbs ``train`` and ``sequence``: images in, an adapter or a matrix of accuracies out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from block_expansion.config import AdaptConfig, SequenceConfig, TrainConfig
from block_expansion.data import Domain, compute_moments
from block_expansion.evaluate import write_run
from block_expansion.folders import open_domain
from isopleth.errors import ConfigError
from isopleth.io.atomic import atomic_path
from isopleth.io.write import write_json

if TYPE_CHECKING:
    from block_expansion.model import Classifier

ADAPTER, WEIGHTS, INPUTS, SCORES = "adapter", "model.safetensors", "inputs.json", "sequence.json"


def train_from_folders(config: TrainConfig) -> dict[str, Any]:
    """Adapt a network to images of a new domain, and save what learnt.

    An adapter is saved as peft saves one, into the folder ``adapter``; for methods that change the network's
    own weights, all of them are written there. Beside them, ``inputs.json`` tells what the network expects.
    """
    from block_expansion.methods import try_method
    from block_expansion.retention import Memory
    from block_expansion.train import adapt

    target, *others = _open_domains(config, [config.target, *filter(None, [config.source])])
    classifier = _build(config, target)
    try_method(classifier, config.method)
    memory = Memory(classifier, others[0], config.retention) if others else None
    network, adapted = adapt(
        classifier, target, config.method, config.fit,
        run_dir=config.out, memory=memory, at_steps=config.retention.at_steps,
        runtime=config.runtime, resume=config.resume,
    )  # fmt: skip
    write_run(config.out, adapted)
    folder = config.out / ADAPTER
    _save(network, folder)
    _write_inputs(folder, config, classifier, target)
    before, retained = adapted.before, adapted.retained
    return {
        "adapter": str(folder),
        "method": adapted.method,
        "parameters": adapted.parameters,
        "accuracy": {"val": adapted.target_val, "test": adapted.target_test},
        "retained": retained and {"knn": retained.knn, "frozen_head": retained.frozen_head},
        "before": before and {"knn": before.knn, "frozen_head": before.frozen_head},
        "seconds": round(adapted.seconds, 1),
    }


def train_in_sequence(config: SequenceConfig) -> dict[str, Any]:
    """Adapt one network to task after task, and tell what is left of each: the verb ``sequence``."""
    if len(config.targets) < 2:
        raise ConfigError(f"targets must be at least two, got {len(config.targets)}")
    from block_expansion.sequence import adapt_in_sequence

    tasks = _open_domains(config, config.targets)
    scores = adapt_in_sequence(
        _build(config, tasks[0]), tasks, config.method, config.fit,
        run_dir=config.out, retention=config.retention, runtime=config.runtime, resume=config.resume,
    )  # fmt: skip
    found = {
        "method": config.method.label,
        "tasks": [task.name for task in tasks],
        "accuracy": scores.matrix.tolist(),
        "average": scores.average,
        "backward_transfer": scores.backward_transfer,
        "forgetting": scores.forgetting.tolist(),
    }
    write_json(config.out / SCORES, found)
    return {"scores": str(config.out / SCORES), **found}


def _open_domains(config: AdaptConfig, places: Iterable[Path]) -> list[Domain]:
    size, channels = config.backbone.image_size, config.backbone.channels
    return [open_domain(place, size=size, channels=channels, data=config.data) for place in places]


def _build(config: AdaptConfig, target: Domain) -> Classifier:
    """Build the network where it will train; what it expects of rasters comes from the training images."""
    import torch

    from block_expansion.model import build_classifier
    from isopleth.train import seed_everything

    moments = (config.data.means, config.data.stds) if config.data.means else None
    if moments is None and target.train.read([0]).dtype.kind == "f":
        moments = compute_moments(target.train)
    seed_everything(config.runtime.seed)
    classifier = build_classifier(config.backbone, len(target.classes), moments)
    if config.runtime.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        classifier.to("cuda")
    return classifier


def _write_inputs(folder: Path, config: AdaptConfig, classifier: Classifier, target: Domain) -> None:
    """Write what one must know to feed the network; means and deviations are of what it is given."""
    write_json(
        folder / INPUTS,
        {
            "classes": target.classes,
            "image_size": config.backbone.image_size,
            "channels": config.backbone.channels,
            "bands": config.data.bands,
            "means": classifier.mean.flatten().tolist(),
            "stds": classifier.std.flatten().tolist(),
        },
    )


def _save(network: Any, folder: Path) -> None:
    from safetensors.torch import save_model

    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(network, "peft_config"):
        network.save_pretrained(folder)
        return
    with atomic_path(folder / WEIGHTS) as partial:
        save_model(network, str(partial))
