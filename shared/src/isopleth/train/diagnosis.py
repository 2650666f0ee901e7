"""What to tell the user of a loss that is not finite: which samples, and where it may come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

# How a batch may name its samples.
_NAMES = ("time", "index", "indices", "id")
_SHOWN = 8


def describe_batch(batch: Any) -> str:
    """Name the samples of a batch by its entries "time", "index" or "id", as far as it has them."""
    if not isinstance(batch, Mapping):
        return ""
    parts = [f"{name} {_shorten(batch[name])}" for name in _NAMES if name in batch]
    return f" ({'; '.join(parts)})" if parts else ""


def describe_cause(module: nn.Module, batch: Any, norm: tuple[int, float] | None) -> str:
    """Say what is wrong with the batch or the weights; else what the gradient last was."""
    bad_inputs = [name for name, tensor in _tensors(batch) if not _is_finite(tensor)]
    if bad_inputs:
        return f"the batch itself holds NaN or infinity in {', '.join(bad_inputs[:_SHOWN])}"
    bad_weights = [name for name, weight in module.named_parameters() if not _is_finite(weight)]
    if bad_weights:
        return f"weights are not finite already, first {bad_weights[0]} ({len(bad_weights)} in all)"
    seen = (
        f"the gradient norm was {norm[1]:.3g} at step {norm[0]}" if norm else "no gradient norm is logged yet"
    )
    return f"batch and weights are finite, {seen}; try a lower learning rate, or clip the gradient"


def _tensors(batch: Any, name: str = "batch") -> list[tuple[str, torch.Tensor]]:
    if isinstance(batch, torch.Tensor):
        return [(name, batch)]
    if isinstance(batch, Mapping):
        return [pair for key, part in batch.items() for pair in _tensors(part, f"{name}[{key!r}]")]
    if isinstance(batch, list | tuple):
        return [pair for index, part in enumerate(batch) for pair in _tensors(part, f"{name}[{index}]")]
    return []


def _is_finite(tensor: torch.Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())


def _shorten(values: Any) -> str:
    listed = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(listed, list | tuple):
        return str(listed)
    shown = ", ".join(str(value) for value in listed[:_SHOWN])
    return f"[{shown}, ... {len(listed)} in all]" if len(listed) > _SHOWN else f"[{shown}]"
