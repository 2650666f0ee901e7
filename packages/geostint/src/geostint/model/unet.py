"""A two-dimensional U-Net that halves the field at each level, with squeeze-and-excitation at every stage."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geostint.config import NetworkConfig
from geostint.model.blocks import Block, CellNorm, Clock, Convolution, Squeeze, field_mean
from isopleth.errors import DataError

_CLOCK = 32


class UNet(nn.Module):
    """Map fields to fields on grids of any size.

    Rows and columns that are no multiple of the deepest level's stride are filled up and cut off again: rows
    by the outermost one, columns by going on around the globe.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    config : NetworkConfig
    """

    def __init__(self, inputs: int, outputs: int, config: NetworkConfig) -> None:
        super().__init__()
        widths, reduction = config.widths, config.reduction
        clock = _CLOCK if config.time == "any" else 0
        self.stride, self.inputs = config.stride, inputs
        self.clock = Clock(clock) if clock else None
        self.begin = Convolution(inputs, widths[0])
        self.down, self.halve = nn.ModuleList(), nn.ModuleList()
        self.widen, self.up = nn.ModuleList(), nn.ModuleList()
        for width, deeper in itertools.pairwise(widths):
            self.down.append(Block(width, width, reduction, clock))
            self.halve.append(nn.Conv2d(width, deeper, 2, stride=2))
            self.widen.append(nn.Conv2d(deeper, width, 1))
            self.up.append(Block(2 * width, width, reduction, clock))
        self.bottom = Block(widths[-1], widths[-1], reduction, clock)
        self.norm, self.end = CellNorm(widths[0]), nn.Conv2d(widths[0], outputs, 1)

    def forward(
        self,
        fields: Tensor,
        fraction: Tensor | None = None,
        *,
        periodic: bool = True,
        squeeze: Squeeze = field_mean,
    ) -> Tensor:
        """Apply the network.

        Parameters
        ----------
        fields : Tensor, shape (batch, inputs, lat, lon)
        fraction : Tensor, shape (batch,), optional
            Time between the frames, for a network that is conditioned on it.
        periodic : bool
            Whether the columns go around the globe.
        squeeze : callable
            Gives the mean of features over the field, shape (batch, channel).

        Returns
        -------
        Tensor, shape (batch, outputs, lat, lon)
        """
        if not torch.compiler.is_compiling() and (fields.ndim != 4 or fields.shape[1] != self.inputs):
            raise DataError(
                f"fields must be of shape (batch, {self.inputs}, lat, lon), got {tuple(fields.shape)}"
            )
        rows, columns = fields.shape[-2:]
        features, kept = self._fill(fields, periodic=periodic), []
        time = None if self.clock is None or fraction is None else self.clock(fraction)
        features = self.begin(features, periodic=periodic)
        for block, halve in zip(self.down, self.halve, strict=True):
            kept.append(block(features, time, squeeze, periodic=periodic))
            features = halve(kept[-1])
        features = self.bottom(features, time, squeeze, periodic=periodic)
        for level in reversed(range(len(self.up))):
            wider = F.interpolate(self.widen[level](features), scale_factor=2, mode="nearest")
            joined = torch.cat([kept.pop(), wider], dim=1)
            features = self.up[level](joined, time, squeeze, periodic=periodic)
        return self.end(F.gelu(self.norm(features)))[..., :rows, :columns]

    def _fill(self, fields: Tensor, *, periodic: bool) -> Tensor:
        """Fill up to whole strides."""
        rows, columns = (-size % self.stride for size in fields.shape[-2:])
        if columns:
            fields = F.pad(fields, (0, columns, 0, 0), mode="circular" if periodic else "replicate")
        return F.pad(fields, (0, 0, 0, rows), mode="replicate") if rows else fields
