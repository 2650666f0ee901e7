"""Tiles of a region that is larger than what a flow is given at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isopleth.errors import ConfigError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tiling:
    """Where tiles lie: at whole multiples, overlapping, the last ones at the far edges.

    Parameters
    ----------
    rows, columns : int
        Of the region; multiples of `multiple`.
    tile, overlap : int
        Cells along a side, and of the blend with each neighbour; they are rounded up to `multiple`.
    multiple : int
    """

    rows: int
    columns: int
    tile: int
    overlap: int
    multiple: int

    def __post_init__(self) -> None:
        if self.rows % self.multiple or self.columns % self.multiple:
            raise ConfigError(
                f"rows and columns must be multiples of {self.multiple}, got {self.rows} and {self.columns}"
            )

    def spans(self, size: int) -> list[slice]:
        """Cut one side into overlapping spans."""
        tile = min(_round_up(self.tile, self.multiple), size)
        step = max(tile - _round_up(self.overlap, self.multiple), self.multiple)
        starts = [*range(0, max(size - tile, 0), step), size - tile]
        return [slice(start, start + tile) for start in starts]

    def windows(self) -> list[tuple[slice, slice]]:
        """List the tiles, row by row."""
        return [(row, column) for row in self.spans(self.rows) for column in self.spans(self.columns)]

    def blend(self, compute: Callable[[tuple[slice, slice]], Floats]) -> Floats:
        """Compute every tile, and mix them where they overlap by weights that fall to their edges.

        Parameters
        ----------
        compute : callable
            From a window to its values, (..., row, column).
        """
        windows = self.windows()
        if len(windows) == 1:
            return compute(windows[0])
        total: Floats | None = None
        weights = np.zeros((self.rows, self.columns), dtype=np.float32)
        for window in windows:
            values = compute(window)
            weight = np.outer(
                *(self._ramp(span, size) for span, size in zip(window, weights.shape, strict=True))
            )
            if total is None:
                total = np.zeros((*values.shape[:-2], *weights.shape), dtype=np.float32)
            total[(..., *window)] += values * weight
            weights[window] += weight
        assert total is not None
        return np.asarray(total / weights, dtype=np.float32)

    def _ramp(self, span: slice, size: int) -> Floats:
        """Weigh the cells of a span: 1 inside and at the region's own edge, falling over the overlap."""
        length = span.stop - span.start
        overlap = min(_round_up(self.overlap, self.multiple), length)
        ramp = np.ones(length, dtype=np.float32)
        if overlap:
            rise = (np.arange(overlap, dtype=np.float32) + 0.5) / overlap
            if span.start > 0:
                ramp[:overlap] = np.minimum(ramp[:overlap], rise)
            if span.stop < size:
                ramp[-overlap:] = np.minimum(ramp[-overlap:], rise[::-1])
        return ramp


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
