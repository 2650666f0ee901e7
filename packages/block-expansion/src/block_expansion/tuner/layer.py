"""A block with copies of it behind it, one for each adapter."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from block_expansion.tuner.config import BlockExpansionConfig
from block_expansion.tuner.layouts import Layout


class ExpandedBlock(nn.Module, BaseTunerLayer):
    r"""A transformer block :math:`b`, followed by the active adapter's copy :math:`c` of it.

    .. math:: y = c(b(x)), \qquad c(z) = z + W_1 f(z) + W_2 g(\cdot), \quad W_1 = W_2 = 0 \text{ at first}

    The block stays in its place, so that the names of the original's weights do not change; several adapters
    live side by side, and without any the block is as it was. Several active ones follow each other.

    Parameters
    ----------
    base_layer : Module
        The block.
    adapter_name : str
    config : BlockExpansionConfig
    layout : Layout
    """

    adapter_layer_names = ("block_expansion_blocks",)

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, config: BlockExpansionConfig, layout: Layout
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.block_expansion_blocks = nn.ModuleDict()
        self.merged_adapters = []
        self._partly: dict[str, tuple[str, ...]] = {}
        self._active_adapter = [adapter_name]
        self.update_layer(adapter_name, config, layout)

    def update_layer(self, adapter_name: str, config: BlockExpansionConfig, layout: Layout) -> None:
        """Add an adapter's copy."""
        self.block_expansion_blocks[adapter_name] = copy_block(self.get_base_layer(), config, layout)
        self._partly.pop(adapter_name, None)
        if config.train == "zero_linears":
            self._partly[adapter_name] = layout.zero_modules
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the block, then the active copies; masks and the like go to each."""
        result = self.base_layer(hidden, *args, **kwargs)
        for block in () if self.disable_adapters else self.active_copies():
            result = block(result, *args, **kwargs)
        return result

    def active_copies(self, adapter_names: Sequence[str] | None = None) -> list[nn.Module]:
        """List the copies of the active adapters, or of those named, in that order."""
        names = self.active_adapters if adapter_names is None else adapter_names
        return [self.block_expansion_blocks[name] for name in names if name in self.block_expansion_blocks]

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:  # noqa: ARG002
        """Refuse: a copy is a block of its own, and no change to another one's weights."""
        raise ValueError(
            "a block expansion must be merged by merge_and_unload(), which puts the copies among the blocks, "
            "got merge_adapter()"
        )

    def unmerge(self) -> None:
        """Do nothing: nothing was merged."""

    def _freeze_non_trainable_peft_weights(self, adapter_names: str | Sequence[str] | None = None) -> None:
        """Leave only the zeroed maps of an adapter trainable, if that was asked for."""
        names = self._partly if adapter_names is None else adapter_names
        for name in [names] if isinstance(names, str) else names:
            if name in self._partly and name in self.block_expansion_blocks:
                ends = tuple(f"{end}." for end in self._partly[name])
                for path, parameter in self.block_expansion_blocks[name].named_parameters():
                    if not path.startswith(ends):
                        parameter.requires_grad = False

    def __repr__(self) -> str:
        return f"block_expansion.{super().__repr__()}"


def copy_block(block: nn.Module, config: BlockExpansionConfig, layout: Layout) -> nn.Module:
    """Copy a block so that the copy is the identity: both residual branches end in zero.

    Raises
    ------
    ValueError
        If it is not, which is tried out in training and in evaluation mode (not on the meta device).
    """
    twin = copy.deepcopy(block).requires_grad_(requires_grad=True)
    if config.init == "random":
        _draw_anew(twin)
    parameters = dict(twin.named_parameters())
    with torch.no_grad():
        for name in layout.zero_modules:
            for parameter in twin.get_submodule(name).parameters():
                parameter.zero_()
        for name in layout.scales:
            if name in parameters and config.layer_scale is not None:
                parameters[name].fill_(config.layer_scale)
    if not any(parameter.is_meta for parameter in parameters.values()):
        _check_identity(twin, layout)
    return twin.train(block.training)


def _draw_anew(block: nn.Module) -> None:
    """Draw every weight that its module knows how to draw."""
    for module in block.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()


@torch.no_grad()
def _check_identity(block: nn.Module, layout: Layout) -> None:
    end = block.get_submodule(layout.zero_modules[0])
    assert isinstance(end, nn.Linear)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 5, end.out_features, generator=generator).to(end.weight)
    # What else a block must be given may be None: a mask, positions.
    others = [
        None
        for each in list(inspect.signature(block.forward).parameters.values())[1:]
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    for training in (True, False):
        with torch.random.fork_rng(devices=[]):  # dropout must not move the caller's random numbers
            try:
                result = block.train(training)(tokens, *others)
            except Exception as error:
                raise ValueError(
                    f"a block must map tokens (batch, token, {end.out_features}) to such, got "
                    f"{type(error).__name__}: {error} in {type(block).__name__}"
                ) from error
        if not (isinstance(result, Tensor) and torch.equal(result, tokens)):
            raise ValueError(
                f"a copied block must be the identity once {', '.join(layout.zero_modules)} are zero, "
                f"got another output of {type(block).__name__}; is it a pre-norm block, and are zero_modules "
                "the ends of all its residual branches?"
            )
