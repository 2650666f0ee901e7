"""How the token grid is cut into attention windows: which token stands where, and who may see whom."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Shape = tuple[int, int, int]

_PADDING = -1


class Axis(NamedTuple):
    """One axis cut into windows: the token at each place, and the region to which that place belongs.

    Tokens see each other only within a region. Where an axis is rolled although it is not periodic, its two
    ends share a window but no region; padding has a region of its own.
    """

    source: NDArray[np.int64]
    region: NDArray[np.int64]
    windows: int


def cut_axis(size: int, window: int, shift: int, *, periodic: bool, masked: bool = True) -> Axis:
    """Cut an axis into windows after rolling it by `shift`.

    Parameters
    ----------
    size, window, shift : int
        Tokens of the axis, tokens of a window, and how far the windows are moved.
    periodic : bool
        Whether the last token is a neighbour of the first. Then the roll is over the tokens alone and the
        padding follows, so that windows hold true neighbours only.
    masked : bool
        Whether ends that the roll has joined are kept apart.

    Examples
    --------
    >>> cut_axis(5, 3, 1, periodic=False).source.tolist(), cut_axis(5, 3, 1, periodic=False).region.tolist()
    ([1, 2, 3, 4, -1, 0], [0, 0, 0, 0, -1, 1])
    """
    windows = -(-size // window)
    place = np.arange(windows * window)
    if periodic:
        source = np.where(place < size, (place + shift) % size, _PADDING)
        region = np.zeros_like(place)
    else:
        source = (place + shift) % place.size
        region = (masked & (place >= place.size - shift)).astype(np.int64)
        source = np.where(source < size, source, _PADDING)
    return Axis(source, np.where(source == _PADDING, _PADDING, region), windows)


class Partition(nn.Module):
    """The windows of one kind of block (plain or shifted) on one token grid.

    Tokens are numbered as they lie in memory, (lat, lon, level) with levels fastest. Windows that differ only
    in longitude share their Earth-specific bias, so they come in columns: `index` holds for each column the
    tokens of all its windows. A *kind* of window is a place in (level, lat).

    Parameters
    ----------
    grid : (int, int, int)
        Tokens in (level, lat, lon).
    window, shift : (int, int, int)
        Size and displacement of the windows, likewise.
    periodic : bool
        Whether longitudes go round the globe.
    masked : bool
        Whether levels and latitudes that the shift joins are kept apart.

    Attributes
    ----------
    index : Tensor of int64, shape (column, kind * token)
        Number of the token at each place; padding repeats token 0, and no one sees it.
    place : Tensor of int64, shape (lat * lon * level,)
        Where each token stands in `index`: the inverse.
    mask : Tensor, shape (column or 1, kind, 1, token, token), or None
        What is added to the logits: 0 or minus infinity; None where all see all.
    """

    index: Tensor
    place: Tensor
    mask: Tensor | None

    def __init__(
        self, grid: Shape, window: Shape, shift: Shape, *, periodic: bool, masked: bool = True
    ) -> None:
        super().__init__()
        level = cut_axis(grid[0], window[0], shift[0], periodic=False, masked=masked)
        lat = cut_axis(grid[1], window[1], shift[1], periodic=False, masked=masked)
        lon = cut_axis(grid[2], window[2], shift[2], periodic=periodic, masked=masked)
        self.window = window
        self.columns, self.kinds = lon.windows, level.windows * lat.windows
        self.tokens = int(np.prod(window))
        number = self._arrange(_number(level.source, lat.source, lon.source, grid), level, lat, lon)
        region = self._arrange(_number(level.region, lat.region, lon.region, (2, 2, 2)), level, lat, lon)
        kept = number != _PADDING
        place = np.empty(int(np.prod(grid)), dtype=np.int64)
        place[number[kept]] = np.flatnonzero(kept)
        self.register_buffer(
            "index", _as_buffer(np.where(kept, number, 0).reshape(self.columns, -1)), persistent=False
        )
        self.register_buffer("place", _as_buffer(place), persistent=False)
        self.register_buffer("mask", _build_mask(region), persistent=False)

    @property
    def padded(self) -> bool:
        """Whether windows hold places without a token."""
        return self.index.numel() != self.place.numel()

    def extra_repr(self) -> str:
        """Say how many windows of what size there are."""
        return f"{self.columns} columns of {self.kinds} windows {self.window}, masked={self.mask is not None}"

    def _arrange(self, places: NDArray[np.int64], level: Axis, lat: Axis, lon: Axis) -> NDArray[np.int64]:
        """Bring an array over (level, lat, lon) places to (column, kind, token)."""
        cut = places.reshape(
            level.windows, self.window[0], lat.windows, self.window[1], lon.windows, self.window[2]
        )
        return cut.transpose(4, 0, 2, 1, 3, 5).reshape(self.columns, self.kinds, self.tokens)


def earth_position_index(window: Shape) -> NDArray[np.int64]:
    r"""Give each pair of places in a window its number, as the Earth-specific bias tells them apart.

    Relative in longitude, absolute in latitude and level (Bi et al. 2022, Pangu-Weather): for a query at
    :math:`(z, h, w)` and a key at :math:`(z', h', w')` of a window :math:`(Z, H, W)` the row of the table is
    :math:`((z + Z z') H^2 + h + H h') (2W - 1) + w - w' + W - 1`.

    Returns
    -------
    ndarray of int64, shape (token, token)
        Query first.
    """
    levels, rows, columns = window
    z, h, w = (axis.ravel() for axis in np.indices(window))
    vertical = z[:, None] + levels * z[None, :]
    meridional = h[:, None] + rows * h[None, :]
    zonal = w[:, None] - w[None, :] + columns - 1
    return (vertical * rows**2 + meridional) * (2 * columns - 1) + zonal


def _number(
    level: NDArray[np.int64], lat: NDArray[np.int64], lon: NDArray[np.int64], grid: Shape
) -> NDArray[np.int64]:
    """Give triples their number in memory, (lat, lon, level); a triple with padding in it is padding."""
    z, h, w = np.ix_(level, lat, lon)
    number = (h * grid[2] + w) * grid[0] + z
    return np.where((z == _PADDING) | (h == _PADDING) | (w == _PADDING), _PADDING, number)


def _build_mask(region: NDArray[np.int64]) -> Tensor | None:
    apart = region[..., :, None] != region[..., None, :]
    if not apart.any():
        return None
    if (apart == apart[:1]).all():
        apart = apart[:1]
    return _as_buffer(np.where(apart[:, :, None], np.float32(-np.inf), np.float32(0)))


def _as_buffer(values: NDArray) -> Tensor:
    # torch.tensor, not from_numpy: it heeds `with torch.device(...)`.
    return torch.tensor(values)
