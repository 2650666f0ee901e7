"""Inference: states in, forecasts out, in memory as xarray or streamed to a zarr store."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from archesweather import __version__
from archesweather.config import PredictConfig, SamplingConfig
from archesweather.ensemble import Average, Ensemble
from archesweather.generative import ArchesWeatherGen
from archesweather.initial import InitialStates
from archesweather.layout import WEATHERBENCH, Frame, to_weatherbench
from archesweather.model import ArchesWeather
from archesweather.rollout import Stepper, as_stepper
from archesweather.states import FieldStates, Seconds, States, open_states, split_channel, stamp
from isopleth.config import config_hash
from isopleth.errors import ConfigError
from isopleth.io import Provenance, ZarrWriter, open_fields
from isopleth.train import Runtime

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def forecast(
    model: Ensemble | nn.Module | Stepper | Sequence[Any],
    initial: xr.Dataset,
    steps: int,
    *,
    starts: Sequence[str] | None = None,
    average: Average = "step",
    members: int = 1,
    seed: int = 0,
    batch_size: int = 4,
) -> xr.Dataset:
    """Forecast from states in memory.

    Parameters
    ----------
    model : Ensemble, network, Stepper, or sequence of them
        On whatever device it is.
    initial : xarray.Dataset
        States in any layout that `isopleth.io.open_fields` understands, among them those at the initial times
        and one lead earlier. Units are converted, or refused.
    steps : int
        Leads of the model in a row.
    starts : sequence of str, optional
        Initial times (ISO dates); the latest for which there are both states by default.
    average : {"step", "trajectory", "none"}
        How several models make one forecast; see `Ensemble`.
    members : int
        Samples of each model that draws.
    seed : int
        Of the samples.
    batch_size : int
        States that pass a network together.

    Returns
    -------
    xarray.Dataset
        float32 in SI units over ([member,] time, lead, [level,] lat, lon); `time` is the initial time.
        All of it is held in memory: for more, write a store with `archesweather predict`.

    Raises
    ------
    DataError
        If a variable, a level or a time is missing, units or grid are others, or a state is not finite.
    """
    ensemble = make_ensemble(model, average=average, samples=members)
    channels = ensemble.config.fields.channels
    variables = list(dict.fromkeys(split_channel(name)[0] for name in channels))
    states = FieldStates(open_fields(initial, variables=variables), channels, "initial")
    source = InitialStates.of(states, ensemble)
    seconds = source.find(starts or ())
    frame = Frame.of(ensemble.config, states.axis, seconds, steps, members=ensemble.size)
    result = frame.empty()
    for place, part in _parts(ensemble, source, frame, batch_size, seed, None):
        for name, values in part.data_vars.items():
            result[name][{dim: place.get(str(dim), slice(None)) for dim in values.dims}] = values.variable
    return result if ensemble.size > 1 else result.isel(member=0, drop=True)


def predict_from_store(config: PredictConfig) -> dict[str, Any]:
    """Forecast from a store or files and stream a WeatherBench 2 zarr to the disk: the verb ``predict``.

    Memory does not grow with the lead, the members or the initial times: what is held is two states of each
    trajectory of a batch, and one part on its way to the disk.
    """
    config.runtime.apply()
    ensemble = load_ensemble(
        config.models,
        average=config.average,
        samples=config.members,
        sampling=config.sampling,
        runtime=config.runtime,
    )
    states = open_states(config.source, ensemble.config.fields.channels)
    source = InitialStates.of(states, ensemble)
    if config.period is None:
        starts = source.find(config.starts)
    else:
        starts = source.find_all(config.period, config.every_hours)
    frame = Frame.of(
        ensemble.config,
        states.axis,
        starts,
        count_steps(ensemble, config.lead_hours),
        members=ensemble.size,
        variables=config.variables,
    )
    written = write_forecasts(
        ensemble,
        source,
        frame,
        config.out,
        batch_size=config.batch_size,
        seed=config.runtime.seed,
        autocast=autocast_of(config.runtime),
        resume=config.resume,
        provenance=_provenance(config, ensemble, states),
    )
    stamps = stamp(states.axis, starts)
    return {
        "forecasts": str(written),
        "initial_times": len(starts),
        "first": str(stamps[0]),
        "last": str(stamps[-1]),
        "leads": frame.steps,
        "members": ensemble.size,
        "made_of": ensemble.describe(),
    }


def write_forecasts(
    ensemble: Ensemble,
    source: InitialStates,
    frame: Frame,
    path: Path,
    *,
    batch_size: int = 4,
    seed: int = 0,
    autocast: torch.dtype | None = None,
    resume: bool = False,
    provenance: Provenance | None = None,
) -> Path:
    """Stream forecasts to a zarr store in WeatherBench 2's layout, a chunk an initial time, lead and member.

    An interrupted write goes on, with `resume`, at the first batch of initial times that it had not finished.
    """
    template = to_weatherbench(frame.template(_about(ensemble, seed)))
    chunks = {name: 1 for name in ("time", "prediction_timedelta", "number") if name in template.dims}
    per_batch = min(batch_size, len(frame.starts))
    with ZarrWriter(path, template, resume=resume, provenance=provenance, chunks=chunks) as writer:
        while writer.done < writer.total:
            count = min(per_batch, writer.total - writer.done)
            batch = frame.part(slice(writer.done, writer.done + count))
            parts = _parts(ensemble, source, batch, batch_size, seed, autocast)
            writer.write_parts(count, (_as_weatherbench(place, part, ensemble.size) for place, part in parts))
            _LOG.info("%d of %d initial times written to %s", writer.done, writer.total, path)
    return path


def make_ensemble(model: Any, *, average: Average = "step", samples: int = 1) -> Ensemble:
    """Return an ensemble of whatever can forecast: an ensemble, a network, a stepper, or several."""
    if isinstance(model, Ensemble):
        return model
    several = model if isinstance(model, list | tuple) else [model]
    return Ensemble(tuple(as_stepper(each) for each in several), average, samples)


def load_ensemble(
    models: Sequence[str | Path],
    *,
    average: Average = "step",
    samples: int = 1,
    sampling: SamplingConfig | None = None,
    runtime: Runtime | None = None,
) -> Ensemble:
    """Load pretrained folders or hub ids as one ensemble, in evaluation mode on the runtime's device.

    Raises
    ------
    ConfigError
        If `sampling` is given and a model draws nothing.
    """
    runtime = runtime or Runtime()
    networks = [load_model(each, runtime.device) for each in models]
    if sampling is not None:
        for source, network in zip(models, networks, strict=True):
            if not isinstance(network, ArchesWeatherGen):
                raise ConfigError("sampling must be left out for a deterministic model, got it", where=source)
            network.sampling = sampling
    if runtime.compile:
        for network in networks:
            network.compile()
    return make_ensemble(networks, average=average, samples=samples)


def load_model(source: str | Path, device: str = "cpu") -> ArchesWeather | ArchesWeatherGen:
    """Load one pretrained model, of the class that its config names."""
    record = Path(source) / "config.json"
    kind = json.loads(record.read_text(encoding="utf-8")).get("_class") if record.is_file() else None
    chosen = ArchesWeatherGen if kind == ArchesWeatherGen.__qualname__ else ArchesWeather
    return chosen.from_pretrained(source, device=device)


def autocast_of(runtime: Runtime) -> torch.dtype | None:
    """Return the type of mixed precision that a runtime asks for, None for full precision."""
    return _MIXED.get(runtime.resolved_precision)


def count_steps(ensemble: Ensemble, lead_hours: int) -> int:
    """Return how many steps of a model make a lead.

    Raises
    ------
    ConfigError
        If it is no whole number of them.
    """
    step = ensemble.config.lead_hours
    if lead_hours % step:
        raise ConfigError(f"lead_hours must be a multiple of the model's step of {step} h, got {lead_hours}")
    return lead_hours // step


def _parts(
    ensemble: Ensemble,
    source: InitialStates,
    frame: Frame,
    batch_size: int,
    seed: int,
    autocast: torch.dtype | None,
) -> Iterator[tuple[dict[str, slice], xr.Dataset]]:
    """Yield canonical pieces of the forecasts of a frame, and where they belong along each dimension."""
    for first in range(0, len(frame.starts), batch_size):
        starts = slice(first, first + batch_size)
        batch = frame.part(starts)
        place = {"time": slice(first, first + len(batch.starts))}
        state, previous = source.read(batch.starts)
        options: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "autocast": autocast}
        stream = ensemble.stream(
            state, previous, batch.starts, batch.steps, calendar=batch.calendar, **options
        )
        for members, step, states in _without_gradients(stream):
            values = ensemble.normaliser.inverse(states.cpu().numpy())
            where = {**place, "member": members, "lead": slice(step, step + 1)}
            yield where, batch.fill(values, members, step)


def roll_out(
    source: InitialStates,
    starts: Seconds,
    steps: int,
    *,
    batch_size: int = 4,
    seed: int = 0,
    autocast: torch.dtype | None = None,
) -> Iterator[NDArray[np.float64]]:
    """Yield an ensemble's forecasts step by step in physical units, (member, start, channel, lat, lon)."""
    inverse = source.ensemble.normaliser.inverse
    state, previous = source.read(starts)
    calendar = source.states.axis.calendar
    options: dict[str, Any] = {
        "calendar": calendar,
        "batch_size": batch_size,
        "seed": seed,
        "autocast": autocast,
    }
    for members in _without_gradients(source.ensemble.rollout(state, previous, starts, steps, **options)):
        yield inverse(members.double().cpu().numpy())


def _without_gradients(stream: Iterator[T]) -> Iterator[T]:
    """Draw from a stream in inference mode, which belongs to the thread and must not last over a yield."""
    while True:
        with torch.inference_mode():
            found = next(stream, None)
        if found is None:
            return
        yield found


def _as_weatherbench(
    place: dict[str, slice], part: xr.Dataset, size: int
) -> tuple[dict[str, slice], xr.Dataset]:
    """Return a part for the writer: along `time` it is whole, and a lone member has no dimension."""
    where = {WEATHERBENCH[dim]: at for dim, at in place.items() if dim != "time"}
    if size == 1:
        where.pop("number")
        part = part.isel(member=0, drop=True)
    return where, to_weatherbench(part)


def _about(ensemble: Ensemble, seed: int) -> dict[str, str | int]:
    """Say in attributes how the forecasts were made of their models."""
    return {
        "ensemble": ensemble.describe(),
        "ensemble_average": ensemble.average if len(ensemble.steppers) > 1 else "none",
        "models": len(ensemble.steppers),
        "seed": seed,
    }


def _provenance(config: PredictConfig, ensemble: Ensemble, states: States) -> Provenance:
    """Say what the forecasts depend on: not how many states passed the network together."""
    relevant = replace(
        config, resume=False, batch_size=1, out=Path(), runtime=Runtime(seed=config.runtime.seed)
    )
    store = getattr(getattr(states, "store", None), "fingerprint", "")
    inputs = (config.source, store, *config.models, *(_weights_hash(each) for each in ensemble.steppers))
    return Provenance("archesweather", __version__, config_hash(relevant), tuple(filter(None, inputs)))


def _weights_hash(stepper: Any) -> str:
    """Hash a model's weights, so that forecasts are never gone on with by a model trained anew."""
    total = hashlib.sha256()
    for name, tensor in getattr(stepper, "network", stepper).state_dict().items():
        values = tensor.detach().cpu().contiguous()
        total.update(name.encode() + values.view(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{total.hexdigest()}"
