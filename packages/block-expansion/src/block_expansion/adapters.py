"""The verb ``train``: folders of images in, an adapter out."""

from __future__ import annotations

from typing import Any

from block_expansion.config import TrainConfig
from block_expansion.data import open_image_folder
from block_expansion.evaluate import write_run
from isopleth.errors import DataError
from isopleth.io.atomic import atomic_path

ADAPTER, WEIGHTS = "adapter", "model.safetensors"


def train_from_folders(config: TrainConfig) -> dict[str, Any]:
    """Adapt a network to a folder of images, and save what learnt.

    An adapter is saved as peft saves one, into the folder ``adapter``; for methods that change the network's
    own weights, all of them are written there.
    """
    import torch

    from block_expansion.model import build_classifier
    from block_expansion.retention import Memory
    from block_expansion.train import adapt
    from isopleth.train import seed_everything

    shape = {"size": config.backbone.image_size, "channels": config.backbone.channels}
    if shape["channels"] not in (1, 3):
        raise DataError(
            f"images in folders must have 1 or 3 channels, got {shape['channels']}", where=config.target
        )
    target = open_image_folder(config.target, **shape)
    seed_everything(config.runtime.seed)
    classifier = build_classifier(config.backbone, len(target.classes))
    if config.runtime.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        classifier.to("cuda")
    memory = None
    if config.source is not None:
        memory = Memory(classifier, open_image_folder(config.source, **shape), config.retention)
    network, adapted = adapt(
        classifier, target, config.method, config.fit,
        run_dir=config.out, memory=memory, at_steps=config.retention.at_steps,
        runtime=config.runtime, resume=config.resume,
    )  # fmt: skip
    write_run(config.out, adapted)
    folder = config.out / ADAPTER
    _save(network, folder)
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


def _save(network: Any, folder: Any) -> None:
    from safetensors.torch import save_model

    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(network, "peft_config"):
        network.save_pretrained(folder)
        return
    with atomic_path(folder / WEIGHTS) as partial:
        save_model(network, str(partial))
