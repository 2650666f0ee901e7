"""Large fields in tiles that agree with the whole: the means that a network pools come from all of it.

Squeeze-and-excitation weighs channels by their means over the field, so a tile alone would see other numbers.
The means of the first stage follow from the input alone, those of each later stage from the input and the
means before. So the tiles are run once for every stage, each time one stage further, and a last time to the
end: the price is the number of stages over two, for memory of one tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geostint.cycle import Frame
from geostint.model.interpolator import Geostint
from isopleth.errors import ConfigError


class _StageReachedError(Exception):
    """A stage whose mean is not known yet was reached; nothing after it needs to be computed."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


class _KnownMeans:
    """Hand out the means that are known, in the order of the stages."""

    def __init__(self, known: list[Tensor]) -> None:
        self.known, self.stage = known, 0

    def __call__(self, features: Tensor) -> Tensor:
        self.stage += 1
        if self.stage > len(self.known):
            raise _StageReachedError(features)
        return self.known[self.stage - 1]


@dataclass(frozen=True)
class Tile:
    """Where a tile's own cells are, and what it reads.

    Attributes
    ----------
    rows, columns : slice
        Its own cells in the field.
    read_rows : slice
        Rows to read, halo included, cut off at the field's edges.
    read_columns : tuple of int
        First column to read and how many; they go around a periodic field.
    """

    rows: slice
    columns: slice
    read_rows: slice
    read_columns: tuple[int, int]


def cut_tiles(shape: tuple[int, int], *, size: int, halo: int, stride: int, periodic: bool) -> list[Tile]:
    """Cut a field into tiles that begin at whole strides.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the field.
    size : int
        Rows and columns of a tile, a multiple of `stride`.
    halo : int
        Cells around it, a multiple of `stride`.
    stride : int
    periodic : bool

    Raises
    ------
    ConfigError
        If sizes do not go together.
    """
    if size % stride or halo % stride:
        raise ConfigError(f"tile must be a multiple of {stride}, got {size}")
    if periodic and shape[1] % stride:
        raise ConfigError(
            f"columns around the globe must be a multiple of {stride} to be cut into tiles, got {shape[1]}",
            hint="take the field whole: --tile 0",
        )
    tiles = []
    for top in range(0, shape[0], size):
        rows = slice(top, min(top + size, shape[0]))
        read_rows = slice(max(top - halo, 0), min(rows.stop + halo, shape[0]))
        for left in range(0, shape[1], size):
            columns = slice(left, min(left + size, shape[1]))
            first, last = left - halo, columns.stop + halo
            if not periodic:
                first, last = max(first, 0), min(last, shape[1])
            tiles.append(Tile(rows, columns, read_rows, (first, last - first)))
    return tiles


@torch.inference_mode()
def run_tiled(
    network: Geostint, before: Frame, after: Frame, fractions: tuple[float, ...], *, periodic: bool, size: int
) -> Tensor:
    """Return what `Geostint.residual` returns, with the memory of a tile.

    Parameters
    ----------
    network : Geostint
    before, after : Frame
        z-scores, shape (batch, channel, lat, lon).
    fractions : tuple of float
    periodic : bool
    size : int
        Rows and columns of a tile.
    """
    config = network.config.network
    rows, columns = before.values.shape[-2:]
    tiles = cut_tiles((rows, columns), size=size, halo=config.halo, stride=config.stride, periodic=periodic)
    known: list[Tensor] = []
    while (mean := _next_mean(network, before, after, fractions, tiles, known)) is not None:
        known.append(mean)
    made = None
    for tile in tiles:
        squeeze = _KnownMeans(known)
        part = network.residual(
            _read(tile, before), _read(tile, after), fractions, periodic=False, squeeze=squeeze
        )
        if made is None:
            made = part.new_empty((*part.shape[:-2], rows, columns))
        made[..., tile.rows, tile.columns] = part[..., *_own(tile, 1)]
    assert made is not None
    return made


def _next_mean(
    network: Geostint, before: Frame, after: Frame, fractions: tuple[float, ...], tiles: list[Tile],
    known: list[Tensor],
) -> Tensor | None:  # fmt: skip
    """Return the mean over the whole field of the first stage that is not known, None after the last."""
    total, count = None, 0
    for tile in tiles:
        try:
            network.residual(
                _read(tile, before), _read(tile, after), fractions, periodic=False, squeeze=_KnownMeans(known)
            )
        except _StageReachedError as reached:
            features = reached.features
        else:
            return None
        read = tile.read_rows.stop - tile.read_rows.start
        # How many cells of the field became one of these: the network fills up to whole strides.
        filled = -(-read // network.config.network.stride) * network.config.network.stride
        scale = filled // features.shape[-2]
        own = features[..., *_own(tile, scale, field=before.values.shape[-2:])]
        part = own.double().sum((-2, -1))
        total = part if total is None else total + part
        count += own.shape[-2] * own.shape[-1]
    assert total is not None
    return (total / count).to(before.values.dtype)


def _own(tile: Tile, scale: int, *, field: tuple[int, ...] = (0, 0)) -> tuple[slice, slice]:
    """Return where a tile's own cells are in what was computed from it, `scale` cells to one.

    Tiles at the end of a `field` keep what the network fills it up by, as it does for the whole field.
    """
    read = (tile.read_rows.start, tile.read_columns[0])
    ends = (tile.read_rows.stop, sum(tile.read_columns))
    places = []
    for own, first, end, size in zip((tile.rows, tile.columns), read, ends, field, strict=True):
        start = (own.start - first) // scale
        at_end = own.stop == end == size
        places.append(slice(start, None if at_end else start + (own.stop - own.start) // scale))
    return places[0], places[1]


def _read(tile: Tile, frame: Frame) -> Frame:
    """Cut a tile with its halo out of a frame, going around the globe where it must."""
    first, count = tile.read_columns
    columns = torch.arange(first, first + count, device=frame.values.device) % frame.values.shape[-1]

    def cut(field: Tensor) -> Tensor:
        return field[..., tile.read_rows, :].index_select(-1, columns)

    return Frame(cut(frame.values), None if frame.valid is None else cut(frame.valid))
