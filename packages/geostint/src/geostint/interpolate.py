"""Stream years of fields through a method: bounded memory, resumable, with coordinates, masks and units."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask.array
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geostint import __version__
from geostint.baselines import Method, make_method
from geostint.baselines.method import Frames
from geostint.config import InterpolateConfig
from geostint.data import open_sequence
from geostint.evaluate import check_channels, read_pieces
from geostint.plan import Plan
from geostint.semantics import Known, is_never_negative, read_meaning, write_meaning
from isopleth.config import config_hash
from isopleth.data.times import TimeAxis
from isopleth.io import Provenance, ZarrWriter

_CHUNK_BYTES, _CHUNK_STEPS = 2**24, 240
# Cells that a network takes at once: its features need some hundred times their memory.
_BATCH_CELLS = 2**20
_BOUNDS = "time_bnds"


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
        "meaning": _by_variable(plan),
        "method": plan.method.name,
        "channels": list(plan.sequence.channels),
    }


def make_plan(config: InterpolateConfig) -> Plan:
    """Open the source and the method, and see that they go together.

    Raises
    ------
    ConfigError, DataError
        If the source's steps are irregular, its variables are not the model's or are extremes, or the model
        makes no frame at the times asked for.
    """
    sequence = open_sequence(
        config.source, variables=config.variables, period=config.period, regularise=config.regularise,
        frames_per_chunk=config.block,
    )  # fmt: skip
    fields, channels = sequence.source.dataset, sequence.source.channels
    meanings = tuple(
        read_meaning(each.variable, fields[each.variable].attrs, config.meaning) for each in channels
    )
    positive = tuple(is_never_negative(each.variable, config.non_negative) for each in channels)
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
    plan = Plan(sequence, method, config.factor or own, meanings, positive, config.stamp)
    method.check(plan.fractions)
    return plan


def make_template(plan: Plan) -> xr.Dataset:
    """Return the output without its values: all times, coordinates, attributes and cell_methods."""
    source, schedule = plan.sequence.source.dataset, plan.schedule
    meanings, variables = _by_variable(plan), {}
    for name, array in source.data_vars.items():
        shape = (len(schedule.seconds), *array.shape[1:])
        attrs = {**array.attrs, "cell_methods": write_meaning(array.attrs, meanings[str(name)])}
        empty = dask.array.empty(shape, dtype=np.float32, chunks=(1, *shape[1:]))
        variables[str(name)] = xr.Variable(array.dims, empty, attrs)
    coords = {name: source[name] for name in ("level", "lat", "lon") if name in source.coords}
    coords["time"] = xr.DataArray(_stamps(plan, schedule.seconds), dims="time", attrs=source["time"].attrs)
    if schedule.bounds is not None:
        coords["time"].attrs["bounds"] = _BOUNDS
        coords[_BOUNDS] = xr.DataArray(_stamps(plan, schedule.bounds), dims=("time", "bnds"))
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
    cuts = [*range(0, len(plan.sequence), block), len(plan.sequence)]
    places = plan.schedule.begins[cuts].tolist()
    blocks = zip(itertools.pairwise(cuts), itertools.pairwise(places), strict=True)
    pending = [(*rows, begin, end) for rows, (begin, end) in blocks if end > start]
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


def _by_variable(plan: Plan) -> dict[str, Known]:
    """Return what each variable's values stand for."""
    return {
        each.variable: meaning
        for each, meaning in zip(plan.sequence.source.channels, plan.meanings, strict=True)
    }


def _stamps(plan: Plan, seconds: NDArray[np.int64]) -> NDArray[Any]:
    """Return times in the source's calendar, of any shape and order."""
    axis = plan.sequence.source.times
    unique, place = np.unique(seconds, return_inverse=True)
    stamps = TimeAxis(unique, axis.calendar, is_cftime=axis.is_cftime).stamps
    return stamps[place.reshape(seconds.shape)]


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
