"""Z-scores: fitted in one pass over the training period, saved beside the weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from dask.base import compute
from numpy.typing import ArrayLike, NDArray

from isopleth.config import check_choice
from isopleth.data.moments import Floats, Moments, step_moments
from isopleth.data.source import Missing, Source, stack
from isopleth.data.times import Period
from isopleth.errors import ConfigError, DataError
from isopleth.io.write import write_json

Constant = Literal["error", "one"]

_SCHEMA = "isopleth.normaliser/1"
# Rounding alone gives a constant field a spread of some 1e-16 of its mean.
_CONSTANT = 1e-10


@dataclass(frozen=True, eq=False)
class Normaliser:
    r"""Mean and standard deviation of each channel.

    .. math:: z = (x - \mu_c) / \sigma_c

    Parameters
    ----------
    channels : tuple of str
        Channel names.
    mean, std : ndarray of float64, shape (channel,)
        In the channel's units; `std` is the population's, and above 0.
    period : (str, str), optional
        First and last time stamp of the data it was fitted to; None where that is not known.
    area_weighted : bool
        Whether cells were weighted by area.

    Examples
    --------
    >>> normaliser = Normaliser(("t", "q"), [280.0, 4e-3], [20.0, 2e-3])
    >>> normaliser.transform([[300.0], [0.0]], axis=0).ravel().tolist()
    [1.0, -2.0]
    """

    channels: tuple[str, ...]
    mean: Floats
    std: Floats
    period: tuple[str, str] | None = None
    area_weighted: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        for name in ("mean", "std"):
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.shape != (len(self.channels),) or not np.isfinite(values).all():
                raise DataError(f"{name} must be one finite number a channel, got {values}")
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        for channel, std in zip(self.channels, self.std, strict=True):
            if std <= 0:
                raise DataError(f"the standard deviation of {channel} must be above 0, got {std}")

    @classmethod
    def fit(
        cls,
        dataset: xr.Dataset,
        *,
        period: Period | None = None,
        area_weighted: bool = False,
        missing: Missing = "error",
        constant: Constant = "error",
        block_mb: float = 128.0,
    ) -> Normaliser:
        """Fit to a dataset in one pass over blocks of time.

        Parameters
        ----------
        dataset : Dataset
            Canonical variables over (time, [level,] lat, lon); lazy ones are read a block at a time.
        period : (start, end), optional
            The training period, ends included; all of the dataset by default.
        area_weighted : bool
            Weight each cell by its area.
        missing : {"error", "mask"}
            Refuse NaN, or leave it out.
        constant : {"error", "one"}
            Refuse a channel that never changes, or give it the standard deviation 1.
        block_mb : float
            Size of a block in MB.

        Raises
        ------
        DataError
            If the period has no time step, a value is not finite (names the channel and the time), or a
            channel is constant or has no value.
        """
        source = Source.of(dataset)
        start, stop = source.range(period)
        size = source.steps_in(block_mb)
        weights = source.grid.weights if area_weighted else None
        moments = None
        for first, last in source.blocks(size, start, stop):
            block = stack(compute(*source.arrays(first, last)))
            source.guard(first, last, missing).check(block)
            # Step after step, so that the size of a block never shows in the result.
            for state in step_moments(block, weights):
                moments = Moments(*state) if moments is None else moments + Moments(*state)
        assert moments is not None
        ends = (source.times[start], source.times[stop - 1])
        return cls.from_moments(
            moments, source.names, period=ends, area_weighted=area_weighted, constant=constant
        )

    @classmethod
    def from_moments(
        cls,
        moments: Moments,
        channels: Sequence[str],
        *,
        period: tuple[str, str] | None = None,
        area_weighted: bool = False,
        constant: Constant = "error",
    ) -> Normaliser:
        """Take mean and standard deviation from states that were added up; see `fit`."""
        check_choice("constant", constant, ("error", "one"))
        empty = [name for name, weight in zip(channels, moments.weight, strict=True) if weight <= 0]
        if empty:
            raise DataError(
                f"a channel must have values in the training period, got none for {', '.join(empty)}"
            )
        std = moments.std
        still = std <= _CONSTANT * np.abs(moments.mean)
        if still.any() and constant == "error":
            names = ", ".join(name for name, flag in zip(channels, still, strict=True) if flag)
            raise DataError(
                f"a channel must change within the training period, got a constant {names}",
                hint="drop it, or constant='one' to only subtract its mean",
            )
        return cls(tuple(channels), moments.mean, np.where(still, 1.0, std), period, area_weighted)

    def transform(self, values: ArrayLike, *, axis: int = -3) -> NDArray[Any]:
        """Turn values in physical units into z-scores, by float64; NaN stays NaN.

        Parameters
        ----------
        values : array_like, shape (..., channel, lat, lon)
        axis : int
            Where the channels are.

        Returns
        -------
        ndarray
            Of the precision of `values`, float64 for integers.
        """
        array = _as_float(values)
        mean, std = self._along(array, axis)
        return ((array - mean) / std).astype(array.dtype, copy=False)

    def inverse(self, values: ArrayLike, *, axis: int = -3) -> NDArray[Any]:
        """Turn z-scores back into physical units; the inverse of `transform`."""
        array = _as_float(values)
        mean, std = self._along(array, axis)
        return (array * std + mean).astype(array.dtype, copy=False)

    def select(self, channels: Sequence[str]) -> Normaliser:
        """Return the normaliser of some of the channels, in the order asked.

        Raises
        ------
        ConfigError
            If a channel is unknown.
        """
        rows = [channel_index(self.channels, name) for name in channels]
        return Normaliser(tuple(channels), self.mean[rows], self.std[rows], self.period, self.area_weighted)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain numbers and strings; JSON keeps each float64 exactly."""
        return {
            "schema": _SCHEMA,
            "channels": list(self.channels),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "period": None if self.period is None else list(self.period),
            "area_weighted": self.area_weighted,
        }

    @classmethod
    def from_dict(cls, record: Any, *, where: object = None) -> Normaliser:
        """Read what `to_dict` gave.

        Raises
        ------
        DataError
            If it is not that.
        """
        if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
            found = record.get("schema") if isinstance(record, dict) else type(record).__name__
            raise DataError(f"a normaliser must be of schema {_SCHEMA}, got {found}", where=where)
        try:
            period = None if record["period"] is None else tuple(record["period"])
            return cls(
                tuple(record["channels"]), record["mean"], record["std"], period, record["area_weighted"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"a normaliser must be whole, got {error!r}", where=where) from error

    def save(self, path: str | Path) -> None:
        """Write a JSON file."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Normaliser:
        """Read a file written by `save`.

        Raises
        ------
        DataError
            If there is no such file or it is damaged.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"a normaliser must be a JSON file, got {error}", where=path) from error
        return cls.from_dict(record, where=path)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Normaliser) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.channels, self.mean.tobytes(), self.std.tobytes()))

    def _along(self, array: NDArray, axis: int) -> tuple[Floats, Floats]:
        if not -array.ndim <= axis < array.ndim or array.shape[axis] != len(self.channels):
            raise DataError(
                f"values must have {len(self.channels)} channels on axis {axis}, got shape {array.shape}"
            )
        shape = [1] * array.ndim
        shape[axis] = -1
        return self.mean.reshape(shape), self.std.reshape(shape)


def channel_index(channels: Sequence[str], name: str) -> int:
    """Return where a channel stands, or raise `ConfigError` that names those there are."""
    if name not in channels:
        shown = ", ".join(channels[:12]) + (", ..." if len(channels) > 12 else "")
        raise ConfigError(
            f"channel {name!r} must be one of the {len(channels)} in the store, got none such",
            hint=f"there are {shown}",
        )
    return channels.index(name)


def _as_float(values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(np.float64)
