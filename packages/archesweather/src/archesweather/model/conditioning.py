"""What the blocks are told besides their tokens: month, hour, and whatever scalar else."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

FREQUENCIES = 256
MAX_PERIOD = 1e4
# Shift, scale and gate, for the attention and for the MLP.
MODULATIONS = 6


class ScalarEmbedding(nn.Module):
    r"""Embed one number a sample: sinusoids, then two linear layers.

    .. math:: [\cos(t f_i), \sin(t f_i)], \quad f_i = 10^{-4 i / 128}, \quad i = 0 \ldots 127

    as timesteps are in diffusion models (Peebles and Xie 2023). The slowest sinusoid turns once in 60,000
    units, the fastest in 6: a number should be of the order of 1 to 1000.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        steps = torch.arange(FREQUENCIES // 2, dtype=torch.float32) / (FREQUENCIES // 2)
        self.register_buffer("frequencies", torch.exp(-math.log(MAX_PERIOD) * steps), persistent=False)
        self.layers = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, values: Float[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """Embed each number."""
        phases = values.to(self.frequencies.dtype)[:, None] * self.frequencies
        return self.layers(torch.cat([phases.cos(), phases.sin()], dim=-1))


class Conditions(nn.Module):
    """The sum of one embedding for each named scalar."""

    def __init__(self, names: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({name: ScalarEmbedding(width) for name in names})

    def forward(self, values: Float[Tensor, "batch condition"]) -> Float[Tensor, "batch width"]:
        """Embed and add up, in the order of the names."""
        columns = zip(self.embeddings.values(), values.unbind(1), strict=True)
        return torch.stack([layer(column) for layer, column in columns]).sum(0)


class Modulation(nn.Module):
    """Shift, scale and gate for all blocks of a stage, all zero at the start (AdaLN-Zero)."""

    def __init__(self, condition_width: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(condition_width, MODULATIONS * width)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, condition: Float[Tensor, "batch condition"]) -> tuple[Tensor, ...]:
        """Give six tensors of shape (batch, width): shift, scale, gate; shift, scale, gate."""
        return self.layer(nn.functional.silu(condition)).chunk(MODULATIONS, dim=-1)


def modulate(norm: nn.LayerNorm, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    r"""Take a norm's scale and shift and those of the conditions together.

    .. math:: (w n + b) (1 + scale) + shift = w (1 + scale) \, n + (b (1 + scale) + shift)

    Returns
    -------
    tuple of Tensor, shape (batch, width)
    """
    scale = 1 + scale
    return norm.weight * scale, torch.addcmul(shift, norm.bias, scale)


def normalise(
    x: Float[Tensor, "batch token width"],
    weight: Float[Tensor, "batch width"],
    bias: Float[Tensor, "batch width"],
) -> Float[Tensor, "batch token width"]:
    """Normalise tokens, each sample with a scale and shift of its own."""
    if len(x) == 1:
        return nn.functional.layer_norm(x, weight.shape[1:], weight[0], bias[0])
    return torch.addcmul(bias[:, None], nn.functional.layer_norm(x, weight.shape[1:]), weight[:, None])


def drop_gate(gate: Tensor, rate: float, *, training: bool) -> Tensor:
    """Close the gate of some samples and open that of the others wider: stochastic depth, same mean."""
    if rate == 0.0 or not training:
        return gate
    keep = torch.rand(len(gate), 1, device=gate.device) >= rate
    return gate * (keep / (1 - rate)).to(gate.dtype)
