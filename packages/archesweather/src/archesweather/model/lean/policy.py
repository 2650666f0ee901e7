"""When the operators of this room are used."""

from __future__ import annotations

import torch
from torch import Tensor

# Values a sample below which a chunk would be too small to pay for its calls.
_LEAST_VALUES = 1 << 16


def is_lean(x: Tensor) -> bool:
    """Tell whether tokens (batch, token, width) come here: on a CPU, many, and in full precision."""
    exact = x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    return x.device.type == "cpu" and exact and x.shape[1] * x.shape[2] >= _LEAST_VALUES
