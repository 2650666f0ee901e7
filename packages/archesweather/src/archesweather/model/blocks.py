"""Blocks of attention and MLP, stages of blocks, and what lies between stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from archesweather.model.attention import ColumnAttention, WindowAttention
from archesweather.model.conditioning import Modulation, drop_gate, modulate, normalise
from archesweather.model.layout import StageLayout
from archesweather.model.lean import column_branch, is_lean, mlp_branch, window_branch
from archesweather.model.windows import Partition


class GatedMLP(nn.Module):
    """A gated hidden layer: ``out(GELU(a x) * b x)``, of width 8/3 that of the tokens (Shazeer 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * (4.0 * 2 / 3))
        self.hidden = nn.Linear(width, 2 * hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself."""
        return self.out(self._gate(self.hidden(x)))

    @staticmethod
    def _gate(hidden: Tensor) -> Tensor:
        gate, value = hidden.chunk(2, dim=-1)
        return F.gelu(gate) * value


class PlainMLP(nn.Module):
    """One hidden layer with GELU, four times as wide as the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself."""
        return self.out(F.gelu(self.hidden(x)))


class Block(nn.Module):
    r"""Windowed attention, attention along columns inside its gated branch, and an MLP.

    .. math::
        a &= A(LN(x) (1 + s_1) + t_1) \\
        x &\leftarrow x + g_1 (a + C(a)) \\
        x &\leftarrow x + g_2 M(LN(x) (1 + s_2) + t_2)

    with A, C and M the window attention, column attention and MLP, and shifts t, scales s and gates g from
    the conditions (Couairon et al. 2024). All gates are zero at the start: the block is the identity.
    """

    def __init__(self, stage: StageLayout, number: int, drop_rate: float) -> None:
        super().__init__()
        width = stage.width
        self.drop_rate = drop_rate
        self.norm_attention = nn.LayerNorm(width)
        self.attention = WindowAttention(width, stage.heads, stage.partition(shifted=bool(number % 2)))
        self.columns = (
            ColumnAttention(width, stage.column_heads, stage.grid[0]) if stage.column_heads else None
        )
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = GatedMLP(width) if stage.gated else PlainMLP(width)

    def forward(
        self, x: Float[Tensor, "batch token width"], modulation: tuple[Tensor, ...], partition: Partition
    ) -> Float[Tensor, "batch token width"]:
        """Transform the tokens of a stage."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation
        lean = is_lean(x)
        branches = (self._attend_lean, self._mlp_lean) if lean else (self._attend, self._mlp)
        x = branches[0](x, *modulate(self.norm_attention, shift, scale), self._drop(gate), partition)
        return branches[1](x, *modulate(self.norm_mlp, shift_mlp, scale_mlp), self._drop(gate_mlp))

    def _attend(self, x: Tensor, weight: Tensor, bias: Tensor, gate: Tensor, partition: Partition) -> Tensor:
        a = self.attention(normalise(x, weight, bias), partition)
        if self.columns is None:
            return torch.addcmul(x, gate[:, None], a)
        columns = self.columns(a)
        return x + gate[:, None] * a + self._drop(gate)[:, None] * columns

    def _attend_lean(
        self, x: Tensor, weight: Tensor, bias: Tensor, gate: Tensor, partition: Partition
    ) -> Tensor:
        layer = self.attention
        a, _ = window_branch(
            x,
            weight,
            bias,
            layer.qkv.weight,
            layer.qkv.bias,
            layer.out.weight,
            layer.out.bias,
            layer.bias(partition.mask),
            partition.index,
            partition.place,
            layer.heads,
            torch.is_grad_enabled(),
        )
        if self.columns is None:
            return torch.addcmul(x, gate[:, None], a)
        c = self.columns
        weights = (c.level, c.qkv.weight, c.out.weight, c.out.bias)
        return column_branch(x, a, *weights, gate, self._drop(gate), c.heads, torch.is_grad_enabled())[0]

    def _mlp(self, x: Tensor, weight: Tensor, bias: Tensor, gate: Tensor) -> Tensor:
        return torch.addcmul(x, gate[:, None], self.mlp(normalise(x, weight, bias)))

    def _mlp_lean(self, x: Tensor, weight: Tensor, bias: Tensor, gate: Tensor) -> Tensor:
        hidden, out = self.mlp.hidden, self.mlp.out
        weights = (hidden.weight, hidden.bias, out.weight, out.bias)
        return mlp_branch(x, weight, bias, *weights, gate, torch.is_grad_enabled())[0]

    def _drop(self, gate: Tensor) -> Tensor:
        return drop_gate(gate, self.drop_rate, training=self.training)


class Stage(nn.Module):
    """Blocks on one token grid, their windows plain and shifted in turn, their modulation shared."""

    def __init__(self, stage: StageLayout, drop_rates: Sequence[float], condition_width: int) -> None:
        super().__init__()
        self.checkpointed = False
        self.modulation = Modulation(condition_width, stage.width)
        self.partitions = nn.ModuleList([stage.partition(shifted=False), stage.partition(shifted=True)])
        self.blocks = nn.ModuleList(Block(stage, number, rate) for number, rate in enumerate(drop_rates))

    def forward(
        self, x: Float[Tensor, "batch token width"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch token width"]:
        """Run the blocks; a checkpointed stage keeps only what lies between them for its backward pass."""
        modulation = self.modulation(condition)
        for number, block in enumerate(self.blocks):
            partition = self.partitions[number % 2]
            if self.checkpointed and torch.is_grad_enabled():
                x = checkpoint(block, x, modulation, partition, use_reentrant=False)
            else:
                x = block(x, modulation, partition)
        return x


class ColumnMixing(nn.Module):
    """One linear layer over whole columns, added to the tokens."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(levels * width, levels * width)

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        """Mix each column with itself."""
        columns = x.view(len(x), -1, self.layer.in_features)
        return (columns + self.layer(columns)).view(x.shape)


class Merge(nn.Module):
    """Halve both axes of the token grid: 2 x 2 neighbours become one token of twice the width.

    An axis of odd length is first made even by its next token: round the globe the first one, else the last
    one again.
    """

    def __init__(self, fine: StageLayout, width: int) -> None:
        super().__init__()
        self.layout = fine
        self.norm = nn.LayerNorm(4 * fine.width)
        self.layer = nn.Linear(4 * fine.width, width, bias=False)

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token_4 width_2"]:
        """Merge 2 x 2 tokens."""
        levels, rows, columns = self.layout.grid
        x = x.view(len(x), rows, columns, levels, -1)
        if rows % 2:
            x = torch.cat([x, x[:, -1:]], dim=1)
        if columns % 2:
            x = torch.cat([x, x[:, :, :1] if self.layout.periodic else x[:, :, -1:]], dim=2)
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 5, 2, 4, 6)
        return self.layer(self.norm(x.flatten(4).flatten(1, 3)))


class Split(nn.Module):
    """Double both axes of the token grid: one token becomes 2 x 2 of half the width."""

    def __init__(self, coarse: StageLayout, fine: StageLayout) -> None:
        super().__init__()
        self.coarse, self.fine = coarse, fine
        self.spread = nn.Linear(coarse.width, 4 * fine.width, bias=False)
        self.norm = nn.LayerNorm(fine.width)
        self.layer = nn.Linear(fine.width, fine.width, bias=False)

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token_4 width_2"]:
        """Split tokens into 2 x 2; what was added to make the axes even is cut off."""
        levels, rows, columns = self.coarse.grid
        x = self.layer(self.norm(self.spread(x).unflatten(-1, (4, -1))))
        x = x.view(len(x), rows, columns, levels, 2, 2, -1).permute(0, 1, 4, 2, 5, 3, 6)
        x = x.flatten(3, 4).flatten(1, 2)
        return x[:, : self.fine.grid[1], : self.fine.grid[2]].flatten(1, 3)
