"""Share an encoder: a folder that timm loads, and the hub if asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffmix.config import EncoderConfig, ExportConfig, PushConfig, TrainConfig
from isopleth.errors import DataError, require

if TYPE_CHECKING:
    from diffmix.model.encoder import Encoder

WEIGHTS = "model.safetensors"


def save_encoder(encoder: Encoder, folder: Path, *, summary: str = "") -> Path:
    """Write config.json, model.safetensors and a card, whole or not at all.

    ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads it, without a line of this package.

    Parameters
    ----------
    encoder : Encoder
    folder : Path
    summary : str
        A sentence for the card.
    """
    import copy

    import torch
    from timm.models import save_for_hf

    from isopleth.io import atomic_path

    config = encoder.config
    shape = (config.channels, config.image_size, config.image_size)
    moments = {
        name: tuple(getattr(config, name)) * (config.channels if len(getattr(config, name)) == 1 else 1)
        for name in ("mean", "std")
    }
    # safetensors refuses kernels in channels-last order.
    network = copy.deepcopy(encoder.network).cpu().to(memory_format=torch.contiguous_format)
    with atomic_path(folder, replace_folder=(folder / WEIGHTS).is_file()) as partial:
        save_for_hf(
            network, str(partial), safe_serialization=True, model_args=_reconstruct(encoder),
            data_config={"input_size": shape, **moments, "interpolation": "bicubic", "crop_pct": 0.875},
        )  # fmt: skip
        (partial / "README.md").write_text(_write_card(encoder, summary), encoding="utf-8")
    return folder


def load_encoder(folder: Path) -> Encoder:
    """Read an encoder from a folder that `save_encoder` wrote.

    Raises
    ------
    DataError
        If it is none, or its weights are not safetensors that fit.
    """
    import json

    import timm

    from diffmix.model.encoder import Encoder

    if not (folder / WEIGHTS).is_file():
        raise DataError(
            f"an encoder must be a folder with {WEIGHTS}, got none", where=folder, hint="diffmix train"
        )
    try:
        # Weights are safetensors, checked above: timm would also take a pickle.
        network: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise DataError(
            f"an encoder must be readable, got {type(error).__name__}: {error}", where=folder
        ) from error
    found = settings["pretrained_cfg"]
    channels, size, _ = found["input_size"]
    args = {k: v for k, v in settings.get("model_args", {}).items() if k not in ("num_classes", "in_chans")}
    config = EncoderConfig(
        name=settings["architecture"], image_size=size, channels=channels, mean=tuple(found["mean"]),
        std=tuple(found["std"]), args=args,
    )  # fmt: skip
    return Encoder(network, config).eval()


def export_run(config: ExportConfig) -> dict[str, Any]:
    """Copy a run's encoder out of it: the verb ``export``."""
    from diffmix.train import FOLDER

    encoder = load_encoder(Path(config.run) / FOLDER)
    summary = config.summary or _summarise(Path(config.run))
    return {"encoder": str(save_encoder(encoder, Path(config.out), summary=summary))}


def push_folder(config: PushConfig) -> dict[str, Any]:
    """Upload a folder to the hub: the verb ``push``, and the only one that writes to a network."""
    load_encoder(Path(config.folder))  # what cannot be read is not shared
    hub: Any = require("huggingface_hub", install="diffmix[hub]", purpose="push to the hub")
    hub.create_repo(config.repo, private=config.private, exist_ok=True)
    done = hub.upload_folder(
        repo_id=config.repo,
        folder_path=str(config.folder),
        allow_patterns=["config.json", WEIGHTS, "README.md"],
    )
    return {"url": str(done)}


def read_run(folder: Path) -> TrainConfig:
    """Read what a run was trained with.

    Raises
    ------
    ConfigError
        If its config.yaml is missing or none of ``train``.
    """
    from isopleth.cli import load_config

    return load_config(str(folder / "config.yaml"), TrainConfig, package="diffmix")


def _summarise(run: Path) -> str:
    from diffmix.train import describe_run

    return describe_run(read_run(run))


def _reconstruct(encoder: Encoder) -> dict[str, Any]:
    """Give what `timm.create_model` must be told to build the network anew."""
    args = dict(encoder.config.args)
    if "vit" in encoder.config.name:
        args.setdefault("img_size", encoder.config.image_size)
    return args


def _write_card(encoder: Encoder, summary: str) -> str:
    config = encoder.config
    size, channels = config.image_size, config.channels
    count = sum(weight.numel() for weight in encoder.parameters())
    return f"""---
library_name: timm
pipeline_tag: image-feature-extraction
tags: [timm, self-supervised, diffmix]
---

# {config.name}

{summary or f"{config.name}, pre-trained without labels."}

{count:,} parameters; {encoder.dim} features of images of {size} pixels and {channels} channels.
Method: DiffMix (later MixDiff), arXiv 2406.12368.

```python
import timm

encoder = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
```

What it does on shifted images is in the evaluation of its run. Synthetic training images may have handed on
biases of their generator. The weights are safetensors: loading them runs no code from the file.
"""
