"""How the streams meet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cyclone_fusion.model.streams import Stream


class Fusion(nn.Module):
    r"""Two linear layers over all embeddings: 64 + 64 + 8 -> 2 + 2 + 2 -> 2 as published.

    Between them is no nonlinearity, so that they can begin as the mean of the streams,

    .. math:: \hat y = \frac1S \sum_s (W_s e_s + b_s),

    with each stream's own head as a block of the first layer, zeros across, and shares 1/S in the second.

    Parameters
    ----------
    streams : sequence of Stream
    outputs : int
        Of each stream.
    """

    def __init__(self, streams: Sequence[Stream], outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.mix = nn.Linear(sum(stream.width for stream in streams), len(streams) * outputs)
        self.average = nn.Linear(len(streams) * outputs, outputs)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Fuse concatenated embeddings, (sample, width), into displacements, (sample, output)."""
        return self.average(self.mix(embeddings))

    @torch.no_grad()
    def start_from(self, streams: Sequence[Stream]) -> None:
        """Copy the streams' heads in, so that the output is exactly the mean of theirs."""
        self.mix.weight.copy_(torch.block_diag(*(stream.head.weight for stream in streams)))
        self.mix.bias.copy_(torch.cat([stream.head.bias for stream in streams]))
        share = torch.eye(self.outputs, device=self.mix.weight.device) / len(streams)
        self.average.weight.copy_(share.repeat(1, len(streams)))
        nn.init.zeros_(self.average.bias)
