"""The packed store, to read from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from isopleth.data import layout
from isopleth.data.encoding import Precision, check_precision, decode, digest, is_fill, stored_dtype
from isopleth.data.normaliser import Normaliser, channel_index
from isopleth.data.source import Channel, Source
from isopleth.data.times import Period, TimeAxis
from isopleth.errors import DataError
from isopleth.grid import Grid

# A read of many steps goes in pieces of this size, so that it needs little more than the result.
_PIECE_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class PackedStore:
    """Z-scores of shape (time, channel, lat, lon) in a folder, and all that is known about them.

    Nothing of the fields is open in a store that was only opened: each process opens the arrays for itself,
    at its first read. A store can be sent to another process; its open arrays stay behind.

    Parameters
    ----------
    path : Path
        The folder.
    dtype : {"float32", "float16", "bfloat16"}
        Precision of the fields.
    layers : tuple of Channel
        What each channel is.
    axis : TimeAxis
        Time stamps.
    grid : Grid
        Latitudes and longitudes.
    normaliser : Normaliser
        What z-scores mean.
    has_mask : bool
        Whether there are missing values, stored as 0.
    fingerprint : str
        SHA-256 of the metadata, the statistics and each time step's digest.
    plan, provenance : dict
        From what and how the store was made.
    """

    path: Path
    dtype: Precision
    layers: tuple[Channel, ...]
    axis: TimeAxis
    grid: Grid
    normaliser: Normaliser
    has_mask: bool
    fingerprint: str
    plan: dict[str, Any] = field(repr=False)
    provenance: dict[str, Any] = field(repr=False)
    _arrays: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names, in order."""
        return tuple(channel.name for channel in self.layers)

    @property
    def levels(self) -> tuple[float | None, ...]:
        """Level of each channel in hPa, None for a single-level field."""
        return tuple(channel.level for channel in self.layers)

    @cached_property
    def times(self) -> NDArray[Any]:
        """Time stamps: ``datetime64[s]``, or `cftime` objects in the calendar the data came with."""
        return self.axis.stamps

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes of (time, channel, lat, lon)."""
        return (len(self.axis), len(self.layers), *self.grid.shape)

    @property
    def step_bytes(self) -> int:
        """Bytes of one time step as it is stored, without the mask."""
        return int(np.prod(self.shape[1:])) * stored_dtype(self.dtype).itemsize

    def channel_index(self, name: str) -> int:
        """Return where a channel stands, or raise `ConfigError` that names those there are."""
        return channel_index(self.channels, name)

    def read(self, steps: slice | Sequence[int] | NDArray[Any]) -> NDArray[np.float32]:
        """Return z-scores of some time steps as float32, shape (n, channel, lat, lon).

        Raises
        ------
        DataError
            If a time step is damaged or missing; names the store and the step.
        """
        return decode(self.read_stored(steps), self.dtype)

    def read_stored(self, steps: slice | Sequence[int] | NDArray[Any]) -> NDArray[Any]:
        """Return some time steps as they are stored: bfloat16 as its 16 bits, unsigned; see `read`."""
        rows = self._rows(steps)
        values = self._read_rows(layout.FIELDS, rows, stored_dtype(self.dtype))
        self._refuse_absent(rows, is_fill(values[:, 0, 0, 0], self.dtype))
        return values

    def read_valid(self, steps: slice | Sequence[int] | NDArray[Any]) -> NDArray[np.bool_]:
        """Return where some time steps have a value, shape (n, channel, lat, lon); see `read`."""
        rows = self._rows(steps)
        if not self.has_mask:
            return np.ones((rows.size, *self.shape[1:]), dtype=bool)
        values = self._read_rows(layout.VALID, rows, np.dtype(np.uint8))
        self._refuse_absent(rows, values[:, 0, 0, 0] == layout.NOT_WRITTEN)
        return values.view(bool)

    def dataset(self, period: Period | None = None) -> xr.Dataset:
        """Return a period in physical units, loaded; missing values are NaN."""
        rows = np.flatnonzero(self.axis.select(period))
        values = self.read(rows)
        if self.has_mask:
            values = np.where(self.read_valid(rows), values, np.float32(np.nan))
        return self.to_dataset(values, self.times[rows])

    def to_dataset(self, values: Any, times: Any, *, channels: Sequence[str] | None = None) -> xr.Dataset:
        """Turn z-scores, such as a model's output, into a canonical dataset in physical units.

        Parameters
        ----------
        values : array_like, shape (time, channel, lat, lon)
        times : array_like, shape (time,)
            Time stamps.
        channels : sequence of str, optional
            What the channels are; all of the store's by default.

        Returns
        -------
        Dataset
            Variables over (time, [level,] lat, lon), with units.
        """
        names = list(self.channels if channels is None else channels)
        known = [self.layers[self.channel_index(name)] for name in names]
        physical = self.normaliser.select(names).inverse(np.asarray(values))
        coords = {"time": np.asarray(times), "lat": self.grid.lat, "lon": self.grid.lon}
        fields: dict[str, xr.DataArray] = {}
        for variable in dict.fromkeys(channel.variable for channel in known):
            rows = [row for row, channel in enumerate(known) if channel.variable == variable]
            fields[variable] = _variable(physical, rows, known, coords)
        return xr.Dataset(fields)

    def verify(self) -> None:
        """Read everything and compare it with the digests taken when it was written.

        Raises
        ------
        DataError
            At the first time step that is not what it was.
        """
        digests = self._read_rows(layout.DIGESTS, np.arange(self.shape[0]), np.dtype(np.uint8))
        for step in range(self.shape[0]):
            parts = [self.read_stored([step])[0]]
            if self.has_mask:
                parts.append(self.read_valid([step])[0])
            if not np.array_equal(digest(*parts), digests[step]):
                raise self._damage(step, "its values are not those that were written")

    def __repr__(self) -> str:
        sizes = " x ".join(map(str, self.shape))
        return f"PackedStore({sizes} {self.dtype}, {self.axis[0]} to {self.axis[-1]}, {self.path})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_arrays": {}}

    def _rows(self, steps: slice | Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
        n_steps = self.shape[0]
        if isinstance(steps, slice):
            return np.arange(n_steps)[steps]
        rows = np.asarray(steps, dtype=np.int64).reshape(-1)
        if rows.size and (rows.min() < 0 or rows.max() >= n_steps):
            raise DataError(
                f"time steps must lie in [0, {n_steps}), got {rows.min()} to {rows.max()}", where=self.path
            )
        return rows

    def _read_rows(self, name: str, rows: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
        array = self._open(name)
        values = np.empty((rows.size, *array.shape[1:]), dtype=dtype)
        longest = max(1, _PIECE_BYTES // max(1, values[:1].nbytes))
        for at, first, count in _runs(rows, longest):
            try:
                values[at : at + count] = array[first : first + count]
            # Codecs, stores and checksums each have errors of their own: whatever it is, the step is named.
            except Exception as error:
                raise self._damage(self._find_damage(array, first, count), error) from error
        return values

    def _open(self, name: str) -> Any:
        """Open an array once in each process: what a parent opened must not be used after a fork."""
        if self._arrays.get("process") != os.getpid():
            self._arrays.clear()
            self._arrays["process"] = os.getpid()
        if name not in self._arrays:
            try:
                self._arrays[name] = zarr.open_array(self.path / name, mode="r")
            except Exception as error:
                raise DataError(
                    f"a packed store must have an array {name!r}, got {error}", where=self.path, hint=_MEND
                ) from error
            self._check_array(name)
        return self._arrays[name]

    def _check_array(self, name: str) -> None:
        found = self._arrays[name].shape
        expected = (self.shape[0], 32) if name == layout.DIGESTS else self.shape
        if found != expected:
            del self._arrays[name]
            raise DataError(
                f"the array {name!r} must be of shape {expected}, got {found}", where=self.path, hint=_MEND
            )

    def _find_damage(self, array: Any, first: int, count: int) -> int:
        for step in range(first, first + count):
            try:
                array[step]
            except Exception:
                return step
        return first

    def _refuse_absent(self, rows: NDArray[np.int64], absent: NDArray[np.bool_]) -> None:
        if absent.any():
            raise self._damage(int(rows[absent.argmax()]), "its chunk is missing")

    def _damage(self, step: int, reason: object) -> DataError:
        return DataError(
            f"time step {step} ({self.axis[step]}) of a packed store must be readable, got {reason}",
            where=self.path,
            hint=_MEND,
        )


_MEND = "pack it again with resume=False"


def open_store(path: str | Path) -> PackedStore:
    """Open a packed store; reads its metadata only.

    Raises
    ------
    DataError
        If there is none at `path`, or it is of another version, or damaged.
    """
    folder = Path(path)
    record = _read_record(folder)
    normaliser = Normaliser.load(folder / layout.NORMALISER)
    try:
        check_precision(record["dtype"])
        time, grid = record["time"], record["grid"]
        store = PackedStore(
            path=folder,
            dtype=record["dtype"],
            layers=tuple(Channel(**channel) for channel in record["channels"]),
            axis=TimeAxis(time["seconds"], time["calendar"], is_cftime=time["is_cftime"]),
            grid=Grid(grid["lat"], grid["lon"]),
            normaliser=normaliser,
            has_mask=bool(record["has_mask"]),
            fingerprint=str(record["fingerprint"]),
            plan=record["plan"],
            provenance=record["provenance"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{layout.RECORD} must be whole, got {error!r}", where=folder, hint=_MEND) from error
    if store.channels != normaliser.channels:
        raise DataError(
            "a store and its normaliser must have the same channels, got others", where=folder, hint=_MEND
        )
    return store


def is_store(path: Path) -> bool:
    """Say whether a folder is a packed store, of whatever version."""
    return (path / layout.RECORD).is_file()


def describe_store(source: Source, dtype: Precision, *, masked: bool) -> dict[str, Any]:
    """Return what `open_store` must know of a source, as JSON has it."""
    return {
        "schema": layout.SCHEMA,
        "dtype": dtype,
        "channels": [asdict(channel) for channel in source.channels],
        "time": {
            "seconds": source.times.seconds.tolist(),
            "calendar": source.times.calendar,
            "is_cftime": source.times.is_cftime,
        },
        "grid": {"lat": source.grid.lat.tolist(), "lon": source.grid.lon.tolist()},
        "has_mask": masked,
    }


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / layout.RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        begun = list(folder.parent.glob(f".{folder.name}.partial-*"))
        hint = (
            "it was begun and not finished: pack it again to go on"
            if begun
            else "make one by isopleth.data.pack"
        )
        raise DataError(
            f"a packed store must be a folder with {layout.RECORD}, got none", where=folder, hint=hint
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{layout.RECORD} must be JSON, got {error}", where=folder, hint=_MEND) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != layout.SCHEMA:
        raise DataError(
            f"a packed store must be of version {layout.SCHEMA}, got {schema}",
            where=folder,
            hint="pack it again, or use the release of isopleth that wrote it",
        )
    return record


def _runs(rows: NDArray[np.int64], longest: int) -> list[tuple[int, int, int]]:
    """Cut rows into runs of consecutive ones: (place in the result, first row, how many)."""
    runs: list[tuple[int, int, int]] = []
    for at, row in enumerate(rows.tolist()):
        if runs and runs[-1][1] + runs[-1][2] == row and runs[-1][2] < longest:
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((at, row, 1))
    return runs


def _variable(
    values: NDArray[Any], rows: list[int], channels: list[Channel], coords: dict[str, Any]
) -> xr.DataArray:
    attrs = {"units": channels[rows[0]].units} if channels[rows[0]].units else {}
    levels = [channels[row].level for row in rows]
    if levels == [None]:
        return xr.DataArray(values[:, rows[0]], coords, ("time", "lat", "lon"), attrs=attrs)
    coords = {
        "time": coords["time"],
        "level": np.asarray(levels, dtype=float),
        "lat": coords["lat"],
        "lon": coords["lon"],
    }
    return xr.DataArray(values[:, rows], coords, ("time", "level", "lat", "lon"), attrs=attrs)
