"""A trained network as one more way to fill gaps: arrays in physical units in, the same out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from geostint.baselines.method import Frames, Gaps, Method, mix
from geostint.cycle import Frame
from geostint.model import Geostint
from geostint.model.tiles import run_tiled

# From a network's input to its output on fields of any size.
Run = Callable[[Frame, Frame, tuple[float, ...], bool], Tensor]


class Learned(Method):
    """Fill gaps by a network.

    Its residual is added to linear interpolation in the fields' own units, so that a residual of 0 is linear
    interpolation to the bit.

    Parameters
    ----------
    network : Geostint
    name : str
    tile : int
        Rows and columns of tiles; 0 takes fields whole.
    batch : int
        Gaps at a time.
    """

    def __init__(self, network: Geostint, *, name: str = "geostint", tile: int = 0, batch: int = 8) -> None:
        self.network, self.name, self.tile, self.batch = network.eval(), name, tile, batch

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def check(self, fractions: tuple[float, ...]) -> None:
        """Raise `ConfigError` if the network was not trained to make one of these times."""
        if not self.network.is_any_time:
            self.network.select(fractions)

    @torch.inference_mode()
    def make(self, gaps: Gaps, fractions: tuple[float, ...]) -> Frames:
        """Make frames; see `Method.make`."""
        self.check(fractions)
        made = mix(gaps.before, gaps.after, fractions)
        for first in range(0, len(gaps), self.batch):
            part = slice(first, first + self.batch)
            before, after = self._frame(gaps.before[part]), self._frame(gaps.after[part])
            residual = self._residual(before, after, fractions, periodic=gaps.grid.is_periodic)
            made[part] = self._add(made[part], residual)
        return made

    def _residual(
        self, before: Frame, after: Frame, fractions: tuple[float, ...], *, periodic: bool
    ) -> Tensor:
        if self.tile:
            return run_tiled(self.network, before, after, fractions, periodic=periodic, size=self.tile)
        return self.network.residual(before, after, fractions, periodic=periodic)

    def _frame(self, values: Frames) -> Frame:
        fields = torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
        return Frame(self.network.normaliser(fields), torch.isfinite(fields))

    def _add(self, line: Frames, residual: Tensor) -> Frames:
        """Turn the network's output into fields; NaN in the line stays NaN."""
        buffers = self.network.normaliser
        if self.network.config.network.output == "raw":
            made = buffers.inverse(residual.float()).cpu().numpy()
            return np.where(np.isnan(line), line, made)
        return line + (residual.float() * buffers.std).cpu().numpy()
