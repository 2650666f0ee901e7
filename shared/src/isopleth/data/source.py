"""A dataset on its way into a store: which channels it has, and its values a block of time at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isopleth.config import check_positive
from isopleth.data.times import Period, TimeAxis
from isopleth.errors import DataError
from isopleth.grid import Grid

Missing = Literal["error", "mask"]

_SAMPLED_STEPS = 4


@dataclass(frozen=True)
class Channel:
    """One two-dimensional field of a store.

    Parameters
    ----------
    name : str
        ``2m_temperature``, or with its level ``geopotential_500``.
    variable : str
        Name of the variable it comes from.
    level : float, optional
        Level in hPa.
    units : str
        Units of the variable, empty where it had none.
    """

    name: str
    variable: str
    level: float | None
    units: str


@dataclass(frozen=True)
class Guard:
    """Decides about the missing values of one block of time.

    Parameters
    ----------
    names : sequence of str
        Channel names.
    times : TimeAxis
        The block's stamps.
    missing : {"error", "mask"}
        Whether a NaN is an error or a masked cell. An infinite value is always an error.
    """

    names: tuple[str, ...]
    times: TimeAxis
    missing: Missing

    def check(self, block: NDArray) -> NDArray[np.bool_]:
        """Return where a block of shape (time, channel, lat, lon) has values.

        Raises
        ------
        DataError
            If it has infinite values, or NaN where that is an error; names the variable and the time.
        """
        finite = np.isfinite(block)
        wrong = ~finite if self.missing == "error" else np.isinf(block)
        if not wrong.any():
            return finite
        step, channel = np.argwhere(wrong.any(axis=(2, 3)))[0]
        count, value = int(wrong[step, channel].sum()), block[step, channel][wrong[step, channel]][0]
        raise DataError(
            f"{self.names[channel]} must be finite, got {value} in {count} of {block[0, 0].size} cells "
            f"at {self.times[int(step)]}",
            hint=None if np.isinf(value) else "missing='mask' keeps such cells out and stores where they are",
        )


@dataclass(frozen=True, eq=False)
class Source:
    """A dataset understood as fields of shape (time, channel, lat, lon).

    Parameters
    ----------
    dataset : Dataset
        Variables with dims (time, lat, lon) or (time, level, lat, lon), lazy or not.
    channels : tuple of Channel
    times : TimeAxis
    grid : Grid
    """

    dataset: xr.Dataset
    channels: tuple[Channel, ...]
    times: TimeAxis
    grid: Grid

    @classmethod
    def of(cls, dataset: xr.Dataset) -> Source:
        """Read a canonical dataset's channels, times and grid; no field is loaded.

        Raises
        ------
        DataError
            If there is no variable, a variable has other dims than (time, [level,] lat, lon), two channels
            have the same name, or the times do not increase.
        """
        if not dataset.data_vars:
            raise DataError("the dataset must have at least one variable, got none")
        if "time" not in dataset.coords:
            raise DataError(
                f"the dataset must have a time coordinate, got {sorted(map(str, dataset.coords))}"
            )
        for name, variable in dataset.data_vars.items():
            _check_dims(str(name), variable)
        ordered = dataset.transpose("time", "level", "lat", "lon", missing_dims="ignore")
        channels = tuple(channel for name in ordered.data_vars for channel in _channels(ordered[name]))
        _check_names([channel.name for channel in channels])
        return cls(ordered, channels, TimeAxis.of(ordered["time"].values), Grid.of(ordered))

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names, in order."""
        return tuple(channel.name for channel in self.channels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes of (time, channel, lat, lon)."""
        return (len(self.times), len(self.channels), *self.grid.shape)

    def arrays(self, start: int, stop: int) -> list[Any]:
        """Return each variable's array (dask where it is lazy so) over a range of time steps."""
        part = self.dataset.isel(time=slice(start, stop))
        return [part[name].data for name in part.data_vars]

    def guard(self, start: int, stop: int, missing: Missing) -> Guard:
        """Return the guard of a range of time steps."""
        axis = self.times
        times = TimeAxis(axis.seconds[start:stop], axis.calendar, is_cftime=axis.is_cftime)
        return Guard(self.names, times, missing)

    def range(self, period: Period | None) -> tuple[int, int]:
        """Return the first time step in a period, and the one after the last.

        Raises
        ------
        DataError
            If there is none.
        """
        steps = np.flatnonzero(self.times.select(period))
        if steps.size == 0:
            raise DataError(
                f"the training period must hold time steps, got none in {period}",
                hint=f"the data reach from {self.times[0]} to {self.times[-1]}",
            )
        return int(steps[0]), int(steps[-1]) + 1

    def steps_in(self, block_mb: float) -> int:
        """Return how many time steps make a block of that many MB as float64, at least 1."""
        check_positive(block_mb=block_mb)
        return max(1, int(block_mb * 1e6 // (8 * np.prod(self.shape[1:]))))

    def blocks(self, size: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Cut a range of time steps into blocks that begin at multiples of `size`."""
        for first in range(start - start % size, stop, size):
            yield max(first, start), min(first + size, stop)

    def fingerprint(self) -> str:
        """Return a hash of what the source is: its metadata, and all values of a few time steps.

        Another source with the same axes that differs only at other steps is not told apart.
        """
        sha = hashlib.sha256(repr((self.shape, self.channels, self.times.calendar)).encode())
        sha.update(self.times.seconds.tobytes() + self.grid.fingerprint.encode())
        last = len(self.times) - 1
        for step in np.unique(np.linspace(0, last, _SAMPLED_STEPS).round().astype(int)):
            for array in self.arrays(step, step + 1):
                values = np.asarray(array)
                sha.update(str(values.dtype).encode() + np.ascontiguousarray(values).tobytes())
        return sha.hexdigest()


def stack(arrays: Sequence[NDArray]) -> NDArray:
    """Join arrays of shape (time, lat, lon) or (time, level, lat, lon) along the channel axis."""
    layers = [array if array.ndim == 4 else array[:, None] for array in arrays]
    block = np.concatenate(layers, axis=1)
    return block if block.dtype.kind == "f" else block.astype(np.float64)


def _check_dims(name: str, variable: xr.DataArray) -> None:
    dims = set(variable.dims)
    if dims - {"level"} != {"time", "lat", "lon"} or variable.dtype.kind not in "fiub":
        extra = sorted(map(str, dims - {"time", "level", "lat", "lon"}))
        hint = f"select one of {', '.join(extra)}, or make a store of each" if extra else None
        if "time" not in dims and not extra:
            hint = "a field without time is no channel: drop it here and keep it beside the model"
        raise DataError(
            f"a variable must be numbers over (time, [level,] lat, lon), "
            f"got {variable.dtype} over ({', '.join(map(str, variable.dims))})",
            where=f"variable {name}",
            hint=hint,
        )


def _channels(variable: xr.DataArray) -> list[Channel]:
    name, units = str(variable.name), str(variable.attrs.get("units", ""))
    if "level" not in variable.dims:
        return [Channel(name, name, None, units)]
    if "level" not in variable.coords:
        raise DataError("level must have a coordinate in hPa, got none", where=f"variable {name}")
    levels = [float(level) for level in variable["level"].values]
    return [Channel(f"{name}_{level:g}", name, level, units) for level in levels]


def _check_names(names: list[str]) -> None:
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise DataError(f"channel names must be unique, got {', '.join(double)} more than once")
