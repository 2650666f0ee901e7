"""Attention within windows, with the Earth-specific bias, and along columns."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from archesweather.model.windows import Partition, earth_position_index


class EarthBias(nn.Module):
    """A learned bias of the logits: by place in (level, lat), and by distance in longitude.

    Tables of all kinds of window are truncated normal of standard deviation 0.02 at the start
    (Bi et al. 2022, section 3.2).
    """

    index: Tensor

    def __init__(self, partition: Partition, heads: int) -> None:
        super().__init__()
        index = earth_position_index(partition.window)
        self.table = nn.Parameter(torch.empty(int(index.max()) + 1, partition.kinds, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.register_buffer("index", torch.tensor(index.ravel()), persistent=False)

    def forward(self, mask: Tensor | None) -> Float[Tensor, "column kind head token token"]:
        """Gather the bias of each pair of tokens, and add the mask of the windows."""
        tokens = int(np.sqrt(self.index.numel()))
        pairs = self.table.flatten(1).index_select(0, self.index).T
        bias = pairs.reshape(1, *self.table.shape[1:], tokens, tokens)
        return bias if mask is None else bias + mask.to(bias.dtype)


class WindowAttention(nn.Module):
    r"""Multi-head attention among the tokens of each window.

    .. math:: softmax(q k^T / \sqrt{d} + b) v

    Parameters
    ----------
    width, heads : int
        Width of the tokens and number of heads.
    partition : Partition
        The windows; owned by the stage, not by this layer.
    """

    def __init__(self, width: int, heads: int, partition: Partition) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.bias = EarthBias(partition, heads)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch token width"], partition: Partition
    ) -> Float[Tensor, "batch token width"]:
        """Attend within the windows of `partition`."""
        bias = self.bias(partition.mask)
        return self.out(attend_windows(self.qkv(x), bias, partition, self.heads))


class ColumnAttention(nn.Module):
    """Multi-head attention among all levels of each column (cross-level attention, Couairon et al. 2024).

    The levels are told apart by a learned embedding. There is no norm here: the layer reads what the window
    attention of the same block gave.
    """

    def __init__(self, width: int, heads: int, levels: int) -> None:
        super().__init__()
        self.heads = heads
        self.level = nn.Parameter(torch.randn(levels, width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        """Attend along each column of tokens (levels lie next to each other in memory)."""
        levels, width = self.level.shape
        columns = x.reshape(-1, levels, width) + self.level
        return self.out(attend_columns(self.qkv(columns), self.heads)).view(x.shape)


def attend_windows(qkv: Tensor, bias: Tensor, partition: Partition, heads: int) -> Tensor:
    """Attend among the tokens of each window.

    Parameters
    ----------
    qkv : Tensor, shape (batch, token, 3 * width)
        Queries, keys and values, each head by head.
    bias : Tensor, shape (column or 1, kind, head, token, token)
        What is added to the logits of each kind of window: Earth-specific bias and mask.
    partition : Partition
        The windows.
    heads : int

    Returns
    -------
    Tensor, shape (batch, token, width)
    """
    batch, _, width = qkv.shape
    columns, kinds, tokens = partition.columns, partition.kinds, partition.tokens
    rows = qkv.index_select(1, partition.index.flatten())
    rows = rows.view(batch * columns, kinds, tokens, 3, heads, -1).permute(3, 0, 1, 4, 2, 5)
    # Kinds and heads are one axis, so that all columns read the same bias.
    q, k, v = rows.reshape(3, batch * columns, kinds * heads, tokens, -1)
    bias = bias.to(qkv.dtype).flatten(1, 2)
    if len(bias) > 1:
        bias = bias.repeat(batch, 1, 1, 1)
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    seen = seen.view(batch, columns, kinds, heads, tokens, -1).transpose(3, 4)
    return seen.reshape(batch, -1, width // 3).index_select(1, partition.place)


def attend_columns(qkv: Tensor, heads: int) -> Tensor:
    """Attend among the tokens of each column.

    Parameters
    ----------
    qkv : Tensor, shape (column, level, 3 * width)
        Queries, keys and values, each head by head.
    heads : int

    Returns
    -------
    Tensor, shape (column, level, width)
    """
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).transpose(1, 3).unbind(2)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
