"""Block expansion on peft's `BaseTuner`."""

from __future__ import annotations

import re
from typing import Any

import torch
from peft import mapping
from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from block_expansion.tuner.config import PEFT_TYPE, BlockExpansionConfig
from block_expansion.tuner.layer import ExpandedBlock, copy_block
from block_expansion.tuner.layouts import Blocks, find_blocks, place_expansions


class BlockExpansionModel(BaseTuner):
    """A pretrained transformer with copies of some blocks, which learn while the rest is frozen.

    Parameters
    ----------
    model : Module
        A vision transformer, or a model that holds one.
    config : BlockExpansionConfig
    adapter_name : str

    Examples
    --------
    >>> import timm, torch
    >>> from peft import get_peft_model
    >>> vit = timm.create_model("vit_tiny_patch16_224", depth=4, embed_dim=24, img_size=32, num_classes=10)
    >>> images = torch.randn(1, 3, 32, 32)
    >>> before = vit.eval()(images)
    >>> model = get_peft_model(vit, BlockExpansionConfig(num_expansions=2, modules_to_save=["head"]))
    >>> torch.equal(model(images), before)
    True
    >>> len(model.merge_and_unload().blocks)
    6
    """

    prefix = "block_expansion_"
    tuner_layer_cls = ExpandedBlock
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012 - peft declares it so

    def _prepare_adapter_config(
        self,
        peft_config: Any,
        model_config: dict[str, Any],  # noqa: ARG002
    ) -> BlockExpansionConfig:
        """Decide where the copies go, before anything is touched."""
        blocks = self._find_blocks(peft_config)
        depth = len(blocks.modules)
        if peft_config.depth not in (None, depth):
            raise ValueError(
                f"an adapter must be put on a network as deep as its own, {peft_config.depth} blocks, "
                f"got {depth}"
            )
        if peft_config.after_blocks is None:
            peft_config.after_blocks = place_expansions(
                depth, peft_config.num_expansions, peft_config.position
            )
        if max(peft_config.after_blocks) >= depth:
            raise ValueError(
                f"after_blocks must be from 0 to {depth - 1}, the last block, got {peft_config.after_blocks}"
            )
        peft_config.depth, peft_config.blocks = depth, blocks.path
        numbers = "|".join(map(str, peft_config.after_blocks))
        peft_config.target_modules = rf"{re.escape(blocks.path)}\.({numbers})"
        return peft_config

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:  # noqa: ARG002
        """Try every copy out: a block that cannot be expanded must not leave others expanded."""
        blocks = self._find_blocks(peft_config)
        for place in peft_config.after_blocks or ():
            copy_block(blocks.modules[place], peft_config, blocks.layout)

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,  # noqa: ARG002
        parameter_name: str | None = None,  # noqa: ARG002
    ) -> None:
        _check_name(adapter_name, target)
        layout = self._find_blocks(peft_config).layout
        if isinstance(target, ExpandedBlock):
            target.update_layer(adapter_name, peft_config, layout)
            return
        expanded = ExpandedBlock(target, adapter_name, peft_config, layout).train(target.training)
        if adapter_name not in self.active_adapters:
            expanded.requires_grad_(requires_grad=False)
        self._replace_module(parent, target_name, expanded, target)

    def _find_blocks(self, config: BlockExpansionConfig) -> Blocks:
        return find_blocks(self.model, path=config.blocks, zero_modules=config.zero_modules)

    def _replace_module(
        self,
        parent: nn.Module,
        child_name: str,
        new_module: nn.Module,
        child: nn.Module,  # noqa: ARG002
    ) -> None:
        # The base class moves `weight` over to the new module, and a block has none.
        setattr(parent, child_name, new_module)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:  # noqa: ARG002
        # A copy works on its block's output, and so in its block's type.
        return

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        # The base class looks for the name at a key's end; in a copied block it stands in the middle.
        place = f".{ExpandedBlock.adapter_layer_names[0]}."
        return key.replace(f"{place}{adapter_name}.", place, 1)

    def _unload_and_optionally_merge(  # type: ignore[override] # peft declares None and returns the model
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> nn.Module:
        """Put the copies among the blocks as blocks of their own, or take them away."""
        names = (adapter_names or self.active_adapters) if merge else []
        for parent in [*self.model.modules()]:
            if isinstance(parent, nn.ModuleList | nn.Sequential) and any(
                isinstance(child, ExpandedBlock) for child in parent
            ):
                blocks = [block for child in parent for block in _splice(child, names, safe_merge=safe_merge)]
                del parent[:]
                parent.extend(blocks)
                _tell_depth(self.model, len(blocks))
        super()._unload_and_optionally_merge(merge, progressbar, safe_merge, adapter_names)
        return self.model


def register() -> None:
    """Make peft know block expansion, as its own methods; again does no harm."""
    # Their keys are declared as members of peft's enumeration; strings work as well, as those are strings.
    name: Any = PEFT_TYPE
    mapping.PEFT_TYPE_TO_CONFIG_MAPPING[name] = BlockExpansionConfig
    mapping.PEFT_TYPE_TO_TUNER_MAPPING[name] = BlockExpansionModel
    mapping.PEFT_TYPE_TO_PREFIX_MAPPING[name] = BlockExpansionModel.prefix


def _splice(child: nn.Module, names: list[str], *, safe_merge: bool) -> list[nn.Module]:
    if not isinstance(child, ExpandedBlock):
        return [child]
    copies = child.active_copies(names)
    if safe_merge and not all(torch.isfinite(p).all() for block in copies for p in block.parameters()):
        raise ValueError("weights to merge must be finite, got NaN or infinity in a copied block")
    return [child.base_layer, *copies]


def _tell_depth(model: nn.Module, depth: int) -> None:
    """Write the new depth into a transformers config, so that the saved model loads."""
    config: Any = getattr(model, "config", None)
    config = getattr(config, "vision_config", config)
    if isinstance(getattr(config, "num_hidden_layers", None), int):
        config.num_hidden_layers = depth


def _check_name(adapter_name: str, target: nn.Module) -> None:
    """Refuse names that peft could not tell from a module's when it saves another adapter."""
    parts = {part for name, _ in target.named_parameters() for part in name.split(".")}
    own = set(getattr(target, ExpandedBlock.adapter_layer_names[0], ()))
    if adapter_name in parts - own:
        raise ValueError(f"an adapter's name must not be that of a part of a block, got {adapter_name!r}")
