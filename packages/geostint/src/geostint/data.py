"""From files to frames at equal steps: what may be interpolated, and what trains."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from dask.base import compute
from numpy.typing import NDArray

from geostint import __version__
from geostint.config import PrepareConfig
from geostint.guards import warn_of_sampling
from isopleth.config import config_hash
from isopleth.data import PackedStore, pack
from isopleth.data.source import Source, stack
from isopleth.data.times import TimeAxis
from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.io import Provenance, open_fields

_LOG = logging.getLogger("isopleth.geostint")
Frames = NDArray[np.float32]

# Where a frame stood in its file, so that damage can be named.
SOURCE_ROW = "source_row"
# A stamp belongs to a step of the regular axis if it is this near, in steps.
_SNAP = 0.25
_TRAIN_SHARE = 0.8
# Frames whose spectrum is looked at: so many, or what fits; fewer than the least say nothing.
_SPECTRUM_FRAMES, _SPECTRUM_BYTES, _FEWEST_FRAMES = 512, 2**27, 16


@dataclass(frozen=True, eq=False)
class Sequence:
    """Frames of one or more channels, and which of them are a step apart.

    Parameters
    ----------
    source : Source
        Lazy fields.
    where : ndarray of int64, shape (time,)
        The step of the regular axis that each frame stands at.
    step : str
        Length of a step, for a reader.
    place : str
        Where the fields come from, for errors.
    """

    source: Source
    where: NDArray[np.int64]
    step: str
    place: str

    def __len__(self) -> int:
        return len(self.source.times)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names, in order."""
        return self.source.names

    @property
    def grid(self) -> Grid:
        """Latitudes and longitudes."""
        return self.source.grid

    @property
    def seconds(self) -> NDArray[np.int64]:
        """Time stamps in seconds since 1970 in their own calendar."""
        return self.source.times.seconds

    @property
    def is_gap(self) -> NDArray[np.bool_]:
        """Whether the next frame is one step on, shape (time - 1,): only then is there a gap to fill."""
        return np.diff(self.where) == 1

    @property
    def step_seconds(self) -> int:
        """Median length of a step."""
        return int(np.median(np.diff(self.seconds)[self.is_gap])) if self.is_gap.any() else 0

    def read(self, start: int, stop: int) -> Frames:
        """Return frames, shape (time, channel, lat, lon), NaN where a value is missing.

        Raises
        ------
        DataError
            If a chunk of the source is damaged; names the variable, the time and the chunk.
        """
        try:
            return stack(compute(*self.source.arrays(start, stop))).astype(np.float32, copy=False)
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise self._find_damage(start, stop, error) from error

    def read_around(self, first: int, last: int) -> Frames:
        """Return the frames on both sides of the gaps first ... last - 1, shape (gap, 4, channel, lat, lon).

        The two inner ones bound the gap. An outer one that is not a step away is NaN.
        """
        low, high = max(first - 1, 0), min(last + 2, len(self))
        frames = self.read(low, high)
        around = np.full((last - first, 4, *frames.shape[1:]), np.nan, np.float32)
        for gap in range(first, last):
            for place in range(4):
                row = gap - 1 + place
                if 0 <= row < len(self) and self.where[row] - self.where[gap] == place - 1:
                    around[gap - first, place] = frames[row - low]
        return around

    def cut(self, start: int, stop: int) -> Sequence:
        """Return a part of the frames."""
        part = Source.of(self.source.dataset.isel(time=slice(start, stop)))
        return Sequence(part, self.where[start:stop], self.step, self.place)

    def thin(self, every: int) -> Sequence:
        """Keep the frames at every so many steps, the first among them."""
        kept = np.flatnonzero((self.where - self.where[0]) % every == 0)
        source = Source.of(self.source.dataset.isel(time=kept))
        where = (self.where[kept] - self.where[0]) // every
        return Sequence(source, where, f"{every} x {self.step}" if every > 1 else self.step, self.place)

    def _find_damage(self, start: int, stop: int, error: Exception) -> DataError:
        """Read frame by frame to say which one cannot be read."""
        fields = self.source.dataset
        for name in fields.data_vars:
            for step in range(start, stop):
                try:
                    np.asarray(fields[name].isel(time=step))
                except Exception as cause:
                    return DataError(
                        f"{name} at {self.source.times[step]} cannot be read, {self._name_chunk(name, step)}"
                        f"got {type(cause).__name__}: {cause}",
                        where=self.place,
                        hint="repair or replace the chunk, then run again with --resume",
                    )
        return DataError(f"frames {start} to {stop} cannot be read, got {error}", where=self.place)

    def _name_chunk(self, name: Any, step: int) -> str:
        """Name the chunk of a zarr store that holds a frame, as far as the frame tells; nothing elsewhere."""
        array = self.source.dataset[name]
        chunks = array.encoding.get("preferred_chunks", {})
        if "time" not in chunks:
            return ""
        row = int(array[SOURCE_ROW].values[step])
        rest = "".join(
            "/0" if chunks.get(dim, array.sizes[dim]) >= array.sizes[dim] else "/*" for dim in array.dims[1:]
        )
        return f"chunk {array.attrs.get('source_name', name)}/c/{row // chunks['time']}{rest}, "


def open_sequence(
    source: str | Path | xr.Dataset,
    *,
    variables: tuple[str, ...] = (),
    period: tuple[str | None, str | None] | None = None,
    regularise: bool = False,
    frames_per_chunk: int = 16,
) -> Sequence:
    """Open fields as frames at equal steps, reading none of them.

    Parameters
    ----------
    source : str, path or Dataset
        See `isopleth.io.open_fields`.
    variables : tuple of str
        All fields over time, lat and lon by default.
    period : (str, str), optional
        Both ends included.
    regularise : bool
        Snap stamps that are off by up to a quarter of a step, leave out those that are further off, and leave
        gaps where frames are missing.
    frames_per_chunk : int
        Of dask.

    Raises
    ------
    DataError
        If there are fewer than two frames, or their steps differ and `regularise` is off.
    """
    fields = open_fields(source, variables=list(variables) or None, chunks={"time": frames_per_chunk})
    fields = _choose_fields(fields, variables)
    fields = fields.assign_coords({SOURCE_ROW: ("time", np.arange(fields.sizes["time"]))})
    place = str(source) if not isinstance(source, xr.Dataset) else "the dataset"
    axis = TimeAxis.of(fields["time"].values)
    inside = np.flatnonzero(axis.select(period)) if period else np.arange(len(axis))
    if inside.size < 2:
        raise DataError(
            f"there must be at least 2 frames, got {inside.size} in {period or 'all'}",
            where=place, hint=f"the data reach from {axis[0]} to {axis[-1]}",
        )  # fmt: skip
    fields = fields.isel(time=slice(int(inside[0]), int(inside[-1]) + 1))
    return _regular(fields, place, regularise=regularise)


def prepare_store(config: PrepareConfig) -> dict[str, Any]:
    """Pack frames as z-scores with masks: the verb ``prepare``."""
    sequence = open_sequence(config.source, variables=config.variables, regularise=config.regularise)
    sequence = sequence.thin(config.every)
    frames, train = _with_equal_steps(sequence, config.train or _first_part(sequence))
    store = pack(
        frames,
        config.out,
        train_period=train,
        missing="mask",
        constant="one",
        area_weighted=True,
        resume=config.resume,
        scheduler=config.scheduler,
        provenance=Provenance("geostint", __version__, config_hash(config), (config.source,)),
    )
    return {
        "store": str(store.path),
        "frames": len(store.axis),
        "channels": list(store.channels),
        "step": sequence.step,
        "train": list(train),
        "warnings": look_at_sampling(store),
    }


def look_at_sampling(store: PackedStore) -> list[str]:
    """Warn, in words and in the log, where sub-steps cannot be told from frames this far apart."""
    breaks = np.flatnonzero(np.diff(store.axis.positions().where) != 1) + 1
    longest = max(np.split(np.arange(len(store.axis)), breaks), key=len)
    rows = longest[: int(np.clip(_SPECTRUM_BYTES // store.step_bytes, _FEWEST_FRAMES, _SPECTRUM_FRAMES))]
    if len(rows) < _FEWEST_FRAMES:
        return []
    frames = np.where(store.read_valid(rows), store.read(rows), np.nan)
    step = int(np.median(np.diff(store.axis.seconds)))
    found = warn_of_sampling(frames, store.channels, step)
    for warning in found:
        _LOG.warning("%s", warning)
    return found


def measure_range(store: PackedStore) -> tuple[float, ...]:
    """Return the greatest less the least value of each channel in the training period, in its units."""
    period = store.normaliser.period
    rows = np.flatnonzero(store.axis.select(period))
    low = np.full(len(store.channels), np.inf)
    high = -low
    for row in rows.tolist():
        frame = np.where(store.read_valid([row]), store.read([row]), np.nan)[0]
        low = np.fmin(low, np.nanmin(frame, axis=(1, 2), initial=np.inf))
        high = np.fmax(high, np.nanmax(frame, axis=(1, 2), initial=-np.inf))
    return tuple(float(value) for value in (high - low) * store.normaliser.std)


def _choose_fields(fields: xr.Dataset, variables: tuple[str, ...]) -> xr.Dataset:
    """Keep the variables over time and a grid: in the order asked for, else by name."""
    if "time" not in fields.dims:
        raise DataError("the fields must have a time dimension, got none")
    usable = sorted(
        str(name)
        for name, array in fields.data_vars.items()
        if {"time", "lat", "lon"} <= set(array.dims) and array.dtype.kind in "fiu"
    )
    if variables or not usable:
        asked = [name for name in variables if name in fields]
        usable = [*asked, *(str(name) for name in fields.data_vars if name not in asked)]
    fields = fields[usable]
    known = ("time", "level", "lat", "lon")
    fields = fields.squeeze([dim for dim, size in fields.sizes.items() if dim not in known and size == 1])
    return fields.drop_vars([name for name in fields.coords if name not in known])


def _regular(fields: xr.Dataset, place: str, *, regularise: bool) -> Sequence:
    axis = TimeAxis.of(fields["time"].values)
    found = axis.positions()
    if found.regular.all() and (np.diff(found.where) == 1).all():
        return Sequence(Source.of(fields), found.where, found.step, place)
    if not regularise:
        steps = np.diff(axis.seconds)
        odd = int(np.flatnonzero(~found.regular[1:] | (np.diff(found.where) != 1))[0])
        raise DataError(
            f"frames must be at equal steps of {found.step}, got {steps[odd] / 3600:g} h between {axis[odd]} "
            f"and {axis[odd + 1]}",
            where=place,
            hint="--regularise true snaps stamps to a regular axis and leaves gaps open",
        )
    if found.step.endswith(("month", "year")):
        kept, where, seconds = np.flatnonzero(found.regular), found.where[found.regular], axis.seconds
        seconds = seconds[kept]
    else:
        kept, where, seconds = _snap(axis.seconds)
    stamps = TimeAxis(seconds, axis.calendar, is_cftime=axis.is_cftime).stamps
    fields = fields.isel(time=kept).assign_coords(time=("time", stamps, fields["time"].attrs))
    return Sequence(Source.of(fields), where, found.step, place)


def _snap(seconds: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the frames that are near a step of a regular axis, their steps, and the stamps there."""
    step = float(np.median(np.diff(seconds)))
    # Whole minutes: no archive has steps of a minute and a bit.
    step = max(60.0, round(step / 60) * 60)
    phase = float(np.median((seconds - seconds[0] + step / 2) % step - step / 2))
    place = (seconds - seconds[0] - phase) / step
    where = np.rint(place).astype(np.int64)
    distance = np.abs(place - where)
    # Of frames at one step the nearest is kept.
    order = np.lexsort((distance, where))
    firsts = order[np.flatnonzero(np.diff(where[order], prepend=where.min() - 1))]
    chosen = np.sort(firsts[distance[firsts] <= _SNAP])
    stamps = np.rint(seconds[0] + phase + where[chosen] * step).astype(np.int64)
    return chosen, where[chosen] - where[chosen][0], stamps


def _with_equal_steps(sequence: Sequence, train: tuple[str, str]) -> tuple[xr.Dataset, tuple[str, str]]:
    """Return the fields and the training period on stamps at equal steps: months count as equally long."""
    fields, axis = sequence.source.dataset.drop_vars(SOURCE_ROW), sequence.source.times
    if not sequence.is_gap.any() or np.ptp(np.diff(sequence.seconds)[sequence.is_gap]) == 0:
        return fields, train
    rows = np.flatnonzero(axis.select(train))
    if not rows.size:
        raise DataError(f"the training period must hold frames, got none in {train}", where=sequence.place)
    where = sequence.where - sequence.where[0]
    even = TimeAxis(axis.seconds[0] + where * sequence.step_seconds, axis.calendar, is_cftime=axis.is_cftime)
    fields = fields.assign_coords(time=("time", even.stamps, fields["time"].attrs))
    return fields, (even[int(rows[0])], even[int(rows[-1])])


def _first_part(sequence: Sequence) -> tuple[str, str]:
    last = max(int(_TRAIN_SHARE * len(sequence)) - 1, 1)
    return sequence.source.times[0], sequence.source.times[last]
