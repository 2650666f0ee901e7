"""Frozen blocks at the start: kept still, and where the images do not change computed once."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor, nn

from block_expansion.data import ImageSource, list_batches
from block_expansion.model import base_classifier
from block_expansion.retention import as_floats
from block_expansion.tuner import find_blocks

_LOG = logging.getLogger(__name__)


def quieten_frozen(network: nn.Module) -> None:
    """Put whatever has only frozen weights into evaluation mode, where it drops nothing at random."""
    for module in network.modules():
        parameters = [*module.parameters()]
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def count_frozen_blocks(network: nn.Module) -> int:
    """Count the blocks before anything that learns; 0 if something before them learns.

    A block whose copy learns is frozen itself, but what follows it is not the original any more.
    """
    blocks = _list_blocks(network)
    inside = {id(parameter) for block in blocks for parameter in block.parameters()}
    head = {id(parameter) for parameter in base_classifier(network).head.parameters()}
    if any(p.requires_grad and id(p) not in inside | head for p in network.parameters()):
        return 0
    for number, block in enumerate(blocks):
        if any(parameter.requires_grad for parameter in block.parameters()):
            return number
    return len(blocks)


class CachedPrefix:
    """The tokens that leave the frozen blocks, computed once for all images.

    Without augmentation an image is the same in every epoch, and so is what frozen blocks make of it. While
    this is in use, the blocks hand on remembered tokens instead. What comes before the blocks, the patch
    embedding, is computed still; it costs little.

    Parameters
    ----------
    network : Module
        What `apply_method` gave.
    images : ImageSource
        The training images; batches are asked for by their places among them.
    most_mb : float
        Most memory; if the tokens take more, nothing is remembered and all is computed each time.
    """

    def __init__(self, network: nn.Module, images: ImageSource, *, most_mb: float = math.inf) -> None:
        self.network, self.count, self.most_mb = network, count_frozen_blocks(network), most_mb
        self.tokens = self._compute(images) if self.count else torch.empty(0)

    @torch.no_grad()
    def _compute(self, images: ImageSource) -> Tensor:
        quieten_frozen(self.network)
        seen: list[Tensor] = []
        last = _list_blocks(self.network)[self.count - 1]
        device = next(self.network.parameters()).device
        handle = last.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        try:
            for places in list_batches(images):
                self.network(as_floats(torch.from_numpy(images.read(places)).to(device)))
                if seen[0].nbytes / len(seen[0]) * len(images) > self.most_mb * 1e6:
                    _LOG.info("what frozen blocks make of the images takes more than %g MB", self.most_mb)
                    self.count = 0
                    return torch.empty(0)
        finally:
            handle.remove()
        return torch.cat(seen)

    def __call__(self, images: Tensor, places: Tensor) -> Tensor:
        """Compute logits; `places` says which of the training images these are."""
        if not self.count:
            return self.network(images)
        blocks = _block_list(self.network)
        kept = [blocks[number] for number in range(self.count)]
        try:
            for number in range(self.count):
                blocks[number] = _Recall(self.tokens[places.to(self.tokens.device)])
            return self.network(images)
        finally:
            for number, block in enumerate(kept):
                blocks[number] = block


class _Recall(nn.Module):
    """A block that hands on what it remembers."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, *_inputs: Any, **_others: Any) -> Tensor:
        return self.tokens


def _block_list(network: nn.Module) -> Any:
    classifier = base_classifier(network)
    return classifier.get_submodule(find_blocks(classifier).path)


def _list_blocks(network: nn.Module) -> list[nn.Module]:
    return [*_block_list(network)]
