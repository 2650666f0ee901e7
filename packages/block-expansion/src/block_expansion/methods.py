"""Methods to adapt a classifier, all by one config: what learns, and how many numbers that is."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from block_expansion.config import MethodConfig
from block_expansion.model import Classifier, SplitProjection
from block_expansion.tuner import BlockExpansionConfig, find_blocks
from isopleth.errors import ConfigError

# Names of the maps that LoRA adapts, in timm and in transformers.
_TARGETS = {"qv": ["q_proj", "v_proj"], "qkv": ["qkv"]}


def apply_method(classifier: Classifier, config: MethodConfig) -> nn.Module:
    """Freeze and extend a classifier as a method asks; it is changed in place.

    The new head learns in each of them, and is counted once.

    Parameters
    ----------
    classifier : Classifier
    config : MethodConfig

    Returns
    -------
    Module
        A `PeftModel` for block expansion and LoRA, else the classifier.

    Raises
    ------
    ConfigError
        If the network cannot be adapted so.
    """
    try:
        return _METHODS[config.kind](classifier, config)
    except ValueError as error:
        raise ConfigError(str(error), where=config.label) from error


def try_method(classifier: Classifier, config: MethodConfig) -> None:
    """Refuse what `apply_method` would, before hours go into measuring; nothing is changed.

    Raises
    ------
    ConfigError
        If the network cannot be adapted so.
    """
    with torch.random.fork_rng(devices=[]):
        apply_method(copy.deepcopy(classifier).to("meta"), config)


def merge_adapter(network: nn.Module) -> Classifier:
    """Give a plain classifier that computes the same; deeper by the copies, for block expansion."""
    merged = network.merge_and_unload() if isinstance(network, PeftModel) else network
    assert isinstance(merged, Classifier)
    return merged


def _expand(classifier: Classifier, config: MethodConfig) -> PeftModel:
    settings = BlockExpansionConfig(
        num_expansions=config.expansions, position=config.position, modules_to_save=["head"]
    )
    return get_peft_model(classifier, settings)


def _add_lora(classifier: Classifier, config: MethodConfig) -> PeftModel:
    blocks = find_blocks(classifier)
    if config.targets == "qv":
        for block in blocks.modules:
            attention: Any = getattr(block, "attn", None)
            if isinstance(getattr(attention, "qkv", None), nn.Linear):
                attention.qkv = SplitProjection(attention.qkv)
    targets = _TARGETS[config.targets]
    if not any(name.endswith(targets[0]) for name, _ in classifier.named_modules()):
        raise ValueError(
            f"targets must be qv where queries, keys and values are apart, got {config.targets!r}"
        )
    settings = LoraConfig(
        r=config.rank, lora_alpha=config.rank, lora_dropout=0.0, bias="none",
        target_modules=targets, modules_to_save=["head"],
    )  # fmt: skip
    return get_peft_model(classifier, settings)


def _train_head(classifier: Classifier, _config: MethodConfig) -> Classifier:
    classifier.requires_grad_(requires_grad=False)
    classifier.head.requires_grad_(requires_grad=True)
    return classifier


def _train_top(classifier: Classifier, config: MethodConfig) -> Classifier:
    blocks = find_blocks(classifier).modules
    if config.blocks > len(blocks):
        raise ValueError(f"blocks must be at most the network's {len(blocks)}, got {config.blocks}")
    _train_head(classifier, config)
    for block in blocks[-config.blocks :]:
        block.requires_grad_(requires_grad=True)
    return classifier


def _train_all(classifier: Classifier, _config: MethodConfig) -> Classifier:
    return classifier.requires_grad_(requires_grad=True)


_METHODS = {
    "expansion": _expand,
    "lora": _add_lora,
    "linear": _train_head,
    "top": _train_top,
    "full": _train_all,
}
