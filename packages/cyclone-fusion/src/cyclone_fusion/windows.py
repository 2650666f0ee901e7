"""Windows that follow storms, cut from a reanalysis: each field is read once, for all storms in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr

from cyclone_fusion.config import WindowConfig
from cyclone_fusion.config.data import STEP_HOURS
from isopleth.data.cluster import run_tasks
from isopleth.errors import DataError
from isopleth.grid import Grid, WindowIndex, window_index
from isopleth.io import open_fields

# Components whose sign turns beyond a pole.
_VECTORS = ("u_component_of_wind", "v_component_of_wind")
# What one call reads of a variable: stored chunks are fetched and decoded side by side within a call.
_READ_BYTES = 16 * 2**20
# Reads that are under way together, so that every thread has some.
_READS_A_TASK = 8


def open_window_fields(source: Any, config: WindowConfig) -> xr.Dataset:
    """Open the variables and levels that windows are cut from, lazily.

    Parameters
    ----------
    source : str, path or Dataset
        Whatever `isopleth.io.open_fields` reads.
    config : WindowConfig

    Raises
    ------
    isopleth.errors.DataError
        If a variable or level is missing, or the grid cannot give the spacing.
    """
    fields = open_fields(source, variables=list(config.variables))
    where = None if isinstance(source, xr.Dataset) else source
    for name in config.variables:
        if name not in fields:
            raise DataError(
                f"fields must have {name}, got {', '.join(map(str, fields.data_vars))}", where=where
            )
        if not {"time", "level", "lat", "lon"} <= set(fields[name].dims):
            raise DataError(
                f"{name} must have the dimensions time, level, lat, lon, got {fields[name].dims}", where=where
            )
    have = fields["level"].values.astype(float).tolist()
    missing = [level for level in config.levels if level not in have]
    if missing:
        raise DataError(
            f"fields must have the levels {_list(missing)} hPa, got {_list(have)}",
            where=where,
            hint="name in --window.levels those to use",
        )
    stride_of(Grid.of(fields), config)
    places = _as_slice(np.array([have.index(level) for level in config.levels]))
    return fields[list(config.variables)].isel(level=places).transpose("time", "level", "lat", "lon", ...)


def stride_of(grid: Grid, config: WindowConfig) -> int:
    """Return how many cells of a grid lie between points of a window.

    Raises
    ------
    isopleth.errors.DataError
        If it is no whole number, or differs between rows and columns.
    """
    steps = np.abs(np.diff(grid.lat)), np.abs(np.diff(grid.lon))
    strides = [config.spacing_deg / float(np.median(step)) for step in steps]
    stride = round(strides[0])
    if stride < 1 or any(abs(each - stride) > 1e-2 * stride for each in strides):
        raise DataError(
            f"window.spacing_deg must be a multiple of the grid's spacing, got {config.spacing_deg:g} on one "
            f"of {np.median(steps[0]):g} x {np.median(steps[1]):g} degrees",
            where=grid,
            hint="set --window.spacing_deg and --window.size",
        )
    return stride


@dataclass(frozen=True)
class _Cuts:
    """Every window to cut, by the time of its field."""

    time: np.ndarray
    sample: np.ndarray
    offset: np.ndarray
    lat: np.ndarray
    lon: np.ndarray


@dataclass(frozen=True)
class _Block:
    """Cuts that one read serves, and the step of the fields of each."""

    cuts: slice
    rows: np.ndarray


class WindowCutter:
    """Cut the windows of many samples in the order of time.

    Parameters
    ----------
    fields : Dataset
        From `open_window_fields`.
    samples : Dataset
        From `build_samples`, sorted by time.
    config : WindowConfig
    where : object, optional
        What to name in errors.

    Attributes
    ----------
    covered : bool array, shape (sample,)
        Which samples have a field at each of their offsets.
    """

    def __init__(
        self, fields: xr.Dataset, samples: xr.Dataset, config: WindowConfig, *, where: object = None
    ) -> None:
        self.fields, self.samples, self.config, self.where = fields, samples, config, where
        self.grid = Grid.of(fields)
        self.stride = stride_of(self.grid, config)
        self.field_times = fields["time"].values.astype("datetime64[ns]")
        offsets = np.array(config.offset_hours) * np.timedelta64(3_600_000_000_000, "ns")
        self._centres = [self._find_centres(hours) for hours in config.offset_hours]
        self._wanted = samples["time"].values.astype("datetime64[ns]")[:, None] + offsets
        self.covered: np.ndarray = np.asarray(np.isin(self._wanted, self.field_times).all(axis=1))

    def require_covered(self) -> None:
        """Refuse samples of which a field is missing.

        Raises
        ------
        isopleth.errors.DataError
            Names the first storm, its time, and the fields' period.
        """
        if self.covered.all():
            return
        first = int(np.argmin(self.covered))
        raise DataError(
            f"fields must hold every time of the tracks, got none for storm "
            f"{self.samples['track_id'].values[first]} at {_text(self._wanted[first].min())} "
            f"({int((~self.covered).sum())} of {len(self.covered)} samples)",
            where=self.where,
            hint=f"fields go from {_text(self.field_times.min())} to {_text(self.field_times.max())}",
        )

    def cut(self, *, first: int = 0, scheduler: str | None = None) -> Iterator[np.ndarray]:
        """Yield windows of consecutive samples, (sample, channel, row, column) float32, from a sample on.

        Each field is read once; in memory are only the fields of a few reads and the samples that still wait
        for one of their offsets.
        """
        self.require_covered()
        cuts = self._plan(first)
        blocks = list(self._blocks(cuts))
        starts = range(0, len(blocks), _READS_A_TASK)
        tasks = (self._task(start, cuts, blocks[start : start + _READS_A_TASK]) for start in starts)
        waiting: dict[int, np.ndarray] = {}
        pending: dict[int, np.ndarray] = {}
        left: dict[int, int] = {}
        given, turn = first, 0
        for done in run_tasks(tasks, scheduler):
            pending |= dict(done)
            while turn in pending:
                self._sort_in(cuts, blocks[turn], pending.pop(turn), waiting, left)
                turn += 1
            ready = []
            while given in left and left[given] == 0:
                ready.append(waiting.pop(given))
                left.pop(given)
                given += 1
            if ready:
                yield np.stack(ready)

    def _plan(self, first: int) -> _Cuts:
        chosen = np.arange(first, self.samples.sizes["sample"])
        time = self._wanted[chosen].T.ravel()
        order = np.argsort(time, kind="stable")
        count = len(self.config.offset_hours)
        return _Cuts(
            time=time[order],
            sample=np.tile(chosen, count)[order],
            offset=np.repeat(np.arange(count), len(chosen))[order],
            lat=np.concatenate([lat[chosen] for lat, _ in self._centres])[order],
            lon=np.concatenate([lon[chosen] for _, lon in self._centres])[order],
        )

    def _find_centres(self, hours: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the centres of all windows of an offset."""
        lat, lon = self.samples["lat"].values, self.samples["lon"].values
        if hours == 0 or self.config.centre == "now":
            return lat, lon
        step = -hours // STEP_HOURS - 1
        if step >= self.samples.sizes["step"]:
            raise DataError(
                f"windows can follow a storm back to -{STEP_HOURS * self.samples.sizes['step']} h, got "
                f"{hours} h",
                hint="set --window.centre now",
            )
        return self.samples["past_lat"].values[:, step], self.samples["past_lon"].values[:, step]

    def _blocks(self, cuts: _Cuts) -> Iterator[_Block]:
        """Group the cuts by the fields that are read at once: whole chunks of the source."""
        rows = np.searchsorted(self.field_times, cuts.time)
        edges = np.flatnonzero(np.diff(np.searchsorted(self._chunk_ends(), rows, side="right"))) + 1
        for piece in np.split(np.arange(len(rows)), edges):
            if piece.size:
                yield _Block(slice(int(piece[0]), int(piece[-1]) + 1), rows[piece])

    def _chunk_ends(self) -> np.ndarray:
        """Return where a read may end: dask's chunks as they are, stored ones as many as fit."""
        arrays = [self.fields[name] for name in self.config.variables]
        if self._on_dask:
            return reduce(np.intersect1d, [np.cumsum(array.chunksizes["time"]) for array in arrays])
        stored = [array.encoding.get("preferred_chunks", {}) for array in arrays]
        steps = max(chunks.get("time", 1) for chunks in stored)
        levels = max(chunks.get("level", len(self.config.levels)) for chunks in stored)
        bytes_a_chunk = 4 * steps * levels * int(np.prod(self.grid.shape))
        steps *= max(1, _READ_BYTES // bytes_a_chunk)
        return np.arange(steps, len(self.field_times) + steps, steps)

    @property
    def _on_dask(self) -> bool:
        return any(self.fields[name].chunks is not None for name in self.config.variables)

    def _task(self, first: int, cuts: _Cuts, blocks: list[_Block]) -> Any:
        from dask.delayed import delayed

        return delayed(list)([self._cut(first + i, cuts, block) for i, block in enumerate(blocks)])

    def _cut(self, number: int, cuts: _Cuts, block: _Block) -> Any:
        from dask.delayed import delayed

        rows = np.unique(block.rows)
        if self._on_dask:
            # Steps between are in the same chunk: leaving them out would only cost a copy.
            rows = np.arange(rows[0], rows[-1] + 1)
        return delayed(_cut_block)(
            number,
            [_read_later(self.fields[name].variable[_as_slice(rows)]) for name in self.config.variables],
            self.grid,
            np.searchsorted(rows, block.rows),
            cuts.lat[block.cuts],
            cuts.lon[block.cuts],
            self.config,
            self.stride,
        )

    def _sort_in(
        self,
        cuts: _Cuts,
        block: _Block,
        windows: np.ndarray,
        waiting: dict[int, np.ndarray],
        left: dict[int, int],
    ) -> None:
        """Put the windows of a block where their samples wait for them."""
        offsets, per = len(self.config.offset_hours), windows.shape[1]
        pairs = zip(cuts.sample[block.cuts].tolist(), cuts.offset[block.cuts].tolist(), strict=True)
        for row, (sample, offset) in enumerate(pairs):
            if sample not in waiting:
                waiting[sample] = np.empty((offsets * per, *windows.shape[2:]), np.float32)
                left[sample] = offsets
            waiting[sample][offset * per : (offset + 1) * per] = windows[row]
            left[sample] -= 1


def check_windows(windows: np.ndarray, samples: xr.Dataset, config: WindowConfig, *, where: object) -> None:
    """Refuse windows with a value that is not finite.

    Raises
    ------
    isopleth.errors.DataError
        Names the storm, its time and the channel.
    """
    bad = ~np.isfinite(windows).all(axis=(2, 3))
    if bad.any():
        sample, channel = (int(each) for each in np.argwhere(bad)[0])
        raise DataError(
            f"fields around a storm must be finite, got NaN in {config.channels[channel]} around "
            f"{samples['track_id'].values[sample]} at {_text(samples['time'].values[sample])}",
            where=where,
            hint="--missing mask keeps such windows and lets the network see the channel's mean",
        )


def list_uncovered(samples: xr.Dataset, covered: np.ndarray) -> str:
    """List, as JSON, how many samples of which storms have no field."""
    storms, counts = np.unique(samples["track_id"].values[~covered], return_counts=True)
    return json.dumps(dict(zip(storms.tolist(), counts.tolist(), strict=True)))


def _read_later(variable: xr.Variable) -> Any:
    """Hand a lazy variable to a task: as it is, or as the task that computes its one chunk."""
    if variable.chunks is None:
        return variable
    return variable.data.rechunk(-1).to_delayed(optimize_graph=False).item()


def _cut_block(
    number: int,
    fields: list[Any],
    grid: Grid,
    place: np.ndarray,
    lat: np.ndarray,
    lon: np.ndarray,
    config: WindowConfig,
    stride: int,
) -> tuple[int, np.ndarray]:
    """Cut windows (cut, variable x level, row, column) from fields (time, level, lat, lon)."""
    levels, reach = len(config.levels), (config.size - 1) * stride + 1
    out = np.empty((len(place), len(fields) * levels, config.size, config.size), np.float32)
    index = window_index(grid, lat, lon, reach, reach, outside="nan")
    steps = [(int(step), np.flatnonzero(place == step)) for step in np.unique(place)]
    windows_of = [(step, here, _choose(index, here)) for step, here in steps]
    for i, (name, field) in enumerate(zip(config.variables, fields, strict=True)):
        values = np.asarray(field)
        for step, here, windows in windows_of:
            cut = windows.take(values[step], vector=name in _VECTORS)
            out[here, i * levels : (i + 1) * levels] = np.moveaxis(cut[..., ::stride, ::stride], 1, 0)
    return number, out


def _choose(index: WindowIndex, centres: np.ndarray) -> WindowIndex:
    """Keep the windows of some centres."""
    return WindowIndex(**{name: values[centres] for name, values in vars(index).items()})


def _as_slice(places: np.ndarray) -> slice | np.ndarray:
    """Write evenly ascending places as a slice: stores read a slice faster than a list."""
    steps = np.unique(np.diff(places))
    if steps.size > 1 or (steps.size and steps[0] < 1):
        return places
    step = int(steps[0]) if steps.size else 1
    return slice(int(places[0]), int(places[-1]) + 1, step)


def _list(levels: list[float]) -> str:
    return ", ".join(f"{level:g}" for level in levels)


def _text(time: np.datetime64) -> str:
    return str(time)[:16].replace("T", " ")
