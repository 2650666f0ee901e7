"""Stream years of fields through a method: bounded memory, resumable, with coordinates, masks and units."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import dask.array
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geostint import __version__
from geostint.baselines import Gaps, Method, make_method
from geostint.baselines.method import Frames
from geostint.config import InterpolateConfig
from geostint.data import Sequence, open_sequence
from geostint.evaluate import check_channels, read_pieces
from geostint.semantics import Known, is_never_negative, read_meanings, split_parents
from isopleth.config import config_hash
from isopleth.data.times import TimeAxis
from isopleth.io import Provenance, ZarrWriter

_CHUNK_BYTES, _CHUNK_STEPS = 2**24, 240
# Cells that a network takes at once: its features need some hundred times their memory.
_BATCH_CELLS = 2**20


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be made of a sequence.

    Parameters
    ----------
    sequence : Sequence
    method : Method
        Fitted, where it has to be.
    factor : int
        Output steps to an input step.
    meaning : {"point", "mean", "sum"}
        Frames are instants, between which others are made; or belong to steps, which are cut into parts.
    never_negative : tuple of bool
        By channel.
    """

    sequence: Sequence
    method: Method
    factor: int
    meaning: Known
    never_negative: tuple[bool, ...]

    @property
    def fractions(self) -> tuple[float, ...]:
        """Times within a gap at which frames are made, 0 to 1."""
        if self.meaning == "point":
            return tuple(k / self.factor for k in range(1, self.factor))
        # Middles of the parts of a step, seen from the middle of the step before or of their own.
        middles = [(k + 0.5) / self.factor - 0.5 for k in range(self.factor)]
        return tuple(sorted(middle % 1 for middle in middles if middle != 0))

    def count(self, row: int) -> int:
        """Return how many output steps begin with a frame."""
        if self.meaning != "point":
            return self.factor
        return self.factor if row < len(self.sequence) - 1 and self.sequence.is_gap[row] else 1

    def seconds(self) -> NDArray[np.int64]:
        """Return all output times. Those of parts have the frame's as their mean."""
        stamps, length = self.sequence.seconds, self._lengths()
        if self.meaning == "point":
            shares = [k / self.factor for k in range(self.factor)]
        else:
            shares = [(k + 0.5) / self.factor - 0.5 for k in range(self.factor)]
        found = [
            int(stamps[row] + round(length[row] * shares[k]))
            for row in range(len(stamps))
            for k in range(self.count(row))
        ]
        return np.array(found, dtype=np.int64)

    def make(self, first: int, last: int) -> Frames:
        """Return the output that begins with some frames, shape (time, channel, lat, lon)."""
        return self._points(first, last) if self.meaning == "point" else self._parts(first, last)

    def _points(self, first: int, last: int) -> Frames:
        end = min(last, len(self.sequence) - 1)
        frames = self.sequence.read(first, last)
        gaps = self._read_gaps(first, end)
        made = self._positive(self.method.make(gaps, self.fractions)) if len(gaps) else None
        pieces = []
        for row in range(first, last):
            pieces.append(frames[row - first][None])
            if made is not None and self.count(row) > 1:
                pieces.append(made[row - first])
        return np.concatenate(pieces)

    def _parts(self, first: int, last: int) -> Frames:
        """Cut steps into parts: guessed between the middles of steps, then made to give back the parent."""
        low, high = max(first - 1, 0), min(last, len(self.sequence) - 1)
        parents = self.sequence.read(first, last)
        gaps = self._read_gaps(low, high)
        made = self.method.make(gaps, self.fractions) if len(gaps) else np.empty((0, 0))
        place = {fraction: number for number, fraction in enumerate(self.fractions)}
        guess = np.full((self.factor, *parents.shape), np.nan, np.float32)
        for part in range(self.factor):
            middle = (part + 0.5) / self.factor - 0.5
            for row in range(first, last):
                gap = row - 1 if middle < 0 else row
                if middle == 0:
                    guess[part, row - first] = parents[row - first]
                elif low <= gap < high and self.sequence.is_gap[gap]:
                    guess[part, row - first] = made[gap - low, place[middle % 1]]
        if self.meaning == "sum":
            guess = guess / self.factor
        kind: Literal["mean", "sum"] = "sum" if self.meaning == "sum" else "mean"
        split = np.empty((self.factor, *parents.shape), np.float64)
        for channel, positive in enumerate(self.never_negative):
            split[:, :, channel] = split_parents(
                parents[:, channel], guess[:, :, channel], kind, never_negative=positive
            )
        return np.moveaxis(split, 0, 1).reshape(-1, *parents.shape[1:]).astype(np.float32)

    def _read_gaps(self, first: int, last: int) -> Gaps:
        seconds = self.sequence.seconds
        frames = self.sequence.read_around(first, last)
        return Gaps(frames, seconds[first:last], seconds[first + 1 : last + 1], self.sequence.grid)

    def _positive(self, made: Frames) -> Frames:
        for channel, positive in enumerate(self.never_negative):
            if positive:
                np.maximum(made[:, :, channel], 0.0, out=made[:, :, channel])
        return made

    def _lengths(self) -> NDArray[np.float64]:
        """Return the length of each step in seconds: to the next frame, or as the one before."""
        usual = float(self.sequence.step_seconds)
        lengths = np.full(len(self.sequence), usual)
        steps = np.diff(self.sequence.seconds)
        lengths[:-1] = np.where(self.sequence.is_gap, steps, usual)
        return lengths


def interpolate_fields(config: InterpolateConfig) -> dict[str, Any]:
    """Write the fields between fields to a zarr store: the verb ``interpolate``."""
    with _cluster(config.scheduler):
        plan = make_plan(config)
        template = make_template(plan)
        provenance = Provenance(
            "geostint", __version__, config_hash(_without_machine(config)), (config.source, config.model)
        )
        chunks = {"time": _steps_per_chunk(template)}
        with ZarrWriter(
            config.out, template, resume=config.resume, provenance=provenance, chunks=chunks
        ) as writer:
            resumed = writer.done
            for piece in stream(plan, template, block=config.block, start=writer.done):
                writer.write(piece)
    return {
        "store": str(config.out),
        "frames": len(plan.sequence),
        "written": template.sizes["time"],
        "resumed_at": resumed,
        "step": plan.sequence.step,
        "factor": plan.factor,
        "meaning": plan.meaning,
        "method": plan.method.name,
        "channels": list(plan.sequence.channels),
    }


def make_plan(config: InterpolateConfig) -> Plan:
    """Open the source and the method, and see that they go together.

    Raises
    ------
    ConfigError, DataError
        If the source's steps are irregular, its variables are not the model's or are of several meanings, or
        the model makes no frame at the times asked for.
    """
    sequence = open_sequence(
        config.source, variables=config.variables, period=config.period, regularise=config.regularise,
        frames_per_chunk=config.block,
    )  # fmt: skip
    fields = sequence.source.dataset
    meaning = read_meanings({str(name): fields[name].attrs for name in fields.data_vars}, config.meaning)
    positive = tuple(
        is_never_negative(each.variable, config.non_negative) for each in sequence.source.channels
    )
    if config.model:
        from geostint.model import Geostint
        from geostint.predict import Learned

        network = Geostint.from_pretrained(config.model, device=config.device)
        check_channels(network.config, sequence)
        cells = int(np.prod(sequence.grid.shape))
        batch = int(np.clip(_BATCH_CELLS // cells, 1, config.block))
        method: Method = Learned(network, tile=config.tile, batch=batch)
        own = network.config.frames + 1
    else:
        method = make_method(config.method)
        if method.needs_fit:
            method = method.fit(read_pieces(sequence))
        own = 2
    plan = Plan(sequence, method, config.factor or own, meaning, positive)
    method.check(plan.fractions)
    return plan


def make_template(plan: Plan) -> xr.Dataset:
    """Return the output without its values: all times, coordinates, attributes and cell_methods."""
    source, axis = plan.sequence.source.dataset, plan.sequence.source.times
    seconds = plan.seconds()
    times = TimeAxis(seconds, axis.calendar, is_cftime=axis.is_cftime).stamps
    variables = {}
    for name, array in source.data_vars.items():
        shape = (len(seconds), *array.shape[1:])
        attrs = {key: value for key, value in array.attrs.items() if key != "cell_methods"}
        attrs["cell_methods"] = f"time: {plan.meaning}"
        empty = dask.array.empty(shape, dtype=np.float32, chunks=(1, *shape[1:]))
        variables[str(name)] = xr.Variable(array.dims, empty, attrs)
    coords = {name: source[name] for name in ("level", "lat", "lon") if name in source.coords}
    coords["time"] = xr.DataArray(times, dims="time", attrs=source["time"].attrs)
    attrs = {
        **source.attrs,
        "interpolation": f"{plan.method.name}, {plan.factor} steps to a step of the source",
    }
    return xr.Dataset(variables, coords, attrs)


def stream(plan: Plan, template: xr.Dataset, *, block: int, start: int = 0) -> Iterator[xr.Dataset]:
    """Yield the output in order, some input frames at a time, the next ones being made meanwhile.

    Parameters
    ----------
    plan : Plan
    template : Dataset
        From `make_template`.
    block : int
        Input frames at a time.
    start : int
        Output steps that are there already.
    """
    ends = np.cumsum([plan.count(row) for row in range(len(plan.sequence))])
    pending = []
    for first in range(0, len(plan.sequence), block):
        last = min(first + block, len(plan.sequence))
        begin, end = int(ends[first - 1]) if first else 0, int(ends[last - 1])
        if end > start:
            pending.append((first, last, begin, end))
    with ThreadPoolExecutor(1) as ahead:
        waiting = [ahead.submit(plan.make, *pending[0][:2])] if pending else []
        for number, (_, _, begin, end) in enumerate(pending):
            values = waiting.pop().result()
            if number + 1 < len(pending):
                waiting.append(ahead.submit(plan.make, *pending[number + 1][:2]))
            skip = max(start - begin, 0)
            yield _as_dataset(plan, template.isel(time=slice(begin + skip, end)), values[skip:])


def _as_dataset(plan: Plan, place: xr.Dataset, values: Frames) -> xr.Dataset:
    """Give channels their variables and levels back."""
    names = [channel.variable for channel in plan.sequence.source.channels]
    variables = {}
    for name, array in place.data_vars.items():
        layers = values[:, [number for number, each in enumerate(names) if each == name]]
        variables[name] = (array.dims, layers.reshape(array.shape))
    return xr.Dataset(variables, place.coords)


def _steps_per_chunk(template: xr.Dataset) -> int:
    """Return how many steps a chunk has: what a kill can cost, and what a reader of one step reads."""
    largest = max(array.nbytes // template.sizes["time"] for array in template.data_vars.values())
    return int(np.clip(_CHUNK_BYTES // largest, 1, _CHUNK_STEPS))


def _without_machine(config: InterpolateConfig) -> dict[str, Any]:
    """Return what decides the output, so that a run may be resumed on another machine."""
    from isopleth.config import to_dict

    machine = ("out", "block", "resume", "device", "scheduler")
    return {name: value for name, value in to_dict(config).items() if name not in machine}


def _cluster(address: str | None) -> Any:
    if address is None:
        return contextlib.nullcontext()
    from isopleth.cluster import connect

    return connect(address, set_as_default=True)
