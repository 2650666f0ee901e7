"""How a source is understood, for a person to read before a long job: `inspect_source`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from isopleth.io.calendars import calendar_of, format_time
from isopleth.io.canonical import Understood
from isopleth.io.formats import RawFile
from isopleth.io.lexicon import LEXICON, Reading
from isopleth.io.read import Source, open_source

_SAMPLE_CELLS = 64  # of a row and of a column: enough to see a wrong unit, little enough to read anywhere
_LARGE_CHUNK_BYTES = 128 * 2**20
_REGULAR = 1e-4
# Broad limits of what stands in real files, in canonical units; a unit wrong by 273 or by 100 falls outside.
_USUAL = {
    "2m_temperature": (180.0, 340.0),
    "maximum_2m_temperature": (180.0, 340.0),
    "minimum_2m_temperature": (180.0, 340.0),
    "temperature": (100.0, 350.0),
    "sea_surface_temperature": (265.0, 320.0),
    "mean_sea_level_pressure": (8e4, 1.1e5),
    "surface_pressure": (3e4, 1.1e5),
    "sea_surface_height": (-5.0, 5.0),
    "sea_level_anomaly": (-5.0, 5.0),
    "total_precipitation": (-1e-6, 2.0),
    "mean_total_precipitation_rate": (-1e-9, 0.03),
}


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable: its name and units here and in the file, and how it is stored."""

    name: str
    source_name: str
    units: str
    source_units: str | None
    known: bool
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    stored_dtype: str
    packed: bool
    chunks: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """How a source is understood.

    Parameters
    ----------
    source, files, formats
        Where it is, how many files, and what they are.
    dims : mapping
        Length of each canonical dimension.
    axes : mapping
        Canonical axis to the file's own coordinate.
    variables : tuple of Variable
        Names and units, theirs and ours.
    time, grid : mapping
        Calendar, range and step of time; kind, resolution, extent, poles and periodicity of the grid.
    done, left_out : tuple of str
        What opening it changes, and what it leaves out.
    problems, advice : tuple of str
        What looks wrong in a small sample of the values, and what would make it better to work with.
    """

    source: str
    files: int
    formats: tuple[str, ...]
    dims: Mapping[str, int]
    axes: Mapping[str, str]
    variables: tuple[Variable, ...]
    time: Mapping[str, Any]
    grid: Mapping[str, Any]
    done: tuple[str, ...]
    left_out: tuple[str, ...]
    problems: tuple[str, ...]
    advice: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it: dicts, lists, text, numbers."""
        return _plain(asdict(self))

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.files} file{'s' * (self.files != 1)}, {', '.join(self.formats)}"]
        lines += ["", "dims    " + ", ".join(f"{dim} {size}" for dim, size in self.dims.items())]
        lines += [
            f"grid    {_sentence(self.grid)}",
            f"time    {_sentence(self.time) or 'none'}",
            "",
            *self._table(),
        ]
        for title, items in (
            ("done", self.done),
            ("left out", self.left_out),
            ("problems", self.problems),
            ("advice", self.advice),
        ):
            if items:
                lines += ["", title, *(f"  - {item}" for item in items)]
        return "\n".join(lines)

    def _table(self) -> list[str]:
        rows = [("variable", "in the file", "units", "in the file", "stored", "dims")]
        rows += [
            (v.name, v.source_name, v.units or "-", v.source_units or "-", _storage(v), _shape(v))
            for v in self.variables
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
        ]


def inspect_source(source: Source) -> Inspection:
    """Say how a source is understood: format, names, units, calendar, grid, chunks, problems and advice.

    Besides headers and coordinates it reads a sample of at most 64 by 64 values of each variable.

    Parameters
    ----------
    source : str, path, sequence of them, or xr.Dataset
        As for `open_fields`.

    Raises
    ------
    DataError
        If it cannot be understood at all.
    """
    opened = open_source(source)
    fields = opened.fields
    variables = tuple(_view(r, opened.files, fields) for r in _readings(opened.understood))
    grid, time = describe_grid(fields), describe_time(fields)
    return Inspection(
        source=_name(source),
        files=len({file.place for file in opened.files}),
        formats=tuple(dict.fromkeys(f.format for f in opened.files)),
        dims={str(dim): int(size) for dim, size in fields.sizes.items()},
        axes=dict(opened.understood[0].dims),
        variables=variables,
        time=time,
        grid=grid,
        done=tuple(dict.fromkeys(note for u in opened.understood for note in u.notes)),
        left_out=tuple(sorted({name for u in opened.understood for name in u.left_out})),
        problems=tuple(_find_problems(fields, opened.understood)),
        advice=tuple(_give_advice(variables, fields, time)),
    )


def describe_grid(fields: xr.Dataset) -> dict[str, Any]:
    """Describe the grid of canonical fields: kind, shape, resolution and extent in degrees."""
    lat, lon = fields["lat"].values, fields["lon"].values
    extent = {
        "lat": (float(np.nanmin(lat)), float(np.nanmax(lat))),
        "lon": (float(np.nanmin(lon)), float(np.nanmax(lon))),
    }
    if lat.ndim == 2:
        return {
            "kind": "curvilinear",
            "shape": tuple(lat.shape),
            **extent,
            "cells_without_place": int(np.isnan(lat).sum()),
        }
    steps = {name: np.diff(values) for name, values in (("lat", lat), ("lon", lon)) if values.size > 1}
    resolution = {name: float(np.median(step)) for name, step in steps.items()}
    regular = all(np.ptp(step) < _REGULAR for step in steps.values())
    width = resolution.get("lon", 0.0)
    return {
        "kind": "regular" if regular else "rectilinear",
        "shape": (lat.size, lon.size),
        "resolution": resolution,
        **extent,
        "poles": bool(np.abs(lat).max() > 90.0 - 1e-6),
        "periodic": bool(lon.size > 1 and abs(lon[0] + 360.0 - lon[-1] - width) < _REGULAR * lon.size),
    }


def describe_time(fields: xr.Dataset) -> dict[str, Any]:
    """Describe the times of canonical fields: calendar, first, last, count and step; empty without times."""
    if "time" not in fields.coords:
        return {}
    time = fields["time"]
    values = np.atleast_1d(time.values)
    described = {
        "calendar": calendar_of(time.variable),
        "first": format_time(values[0]),
        "last": format_time(values[-1]),
        "count": int(values.size),
    }
    return {**described, "step": _describe_step(values)} if values.size > 1 else described


def _readings(understood: Sequence[Understood]) -> list[Reading]:
    return list({reading.name: reading for u in understood for reading in u.readings}.values())


def _view(reading: Reading, files: Sequence[RawFile], fields: xr.Dataset) -> Variable:
    stored = next(f.dataset[reading.source_name] for f in files if reading.source_name in f.dataset)
    chunks = stored.encoding.get("preferred_chunks")
    array = fields[reading.name]
    return Variable(
        name=reading.name,
        source_name=reading.source_name,
        units=reading.units,
        source_units=stored.attrs.get("units"),
        known=reading.quantity is not None,
        dims=tuple(map(str, array.dims)),
        shape=tuple(array.shape),
        stored_dtype=str(stored.dtype),
        packed=bool({"scale_factor", "add_offset"} & set(stored.attrs)),
        chunks=tuple(_first(chunks.get(d, n)) for d, n in stored.sizes.items()) if chunks else None,
    )


def _first(length: Any) -> int:
    return int(length[0] if isinstance(length, tuple) else length)


def _describe_step(values: np.ndarray) -> str:
    steps = np.diff(values)
    hours = np.array([_hours(step) for step in steps])
    if np.ptp(hours) < 1e-6:
        return f"{hours[0] / 24:g} days" if hours[0] % 24 == 0 else f"{hours[0]:g} hours"
    if (hours >= 27.9 * 24).all() and (hours <= 31.1 * 24).all():
        return "monthly"
    if (hours >= 359 * 24).all() and (hours <= 366.1 * 24).all():
        return "yearly"
    return f"irregular: {hours.min():g} to {hours.max():g} hours"


def _hours(step: Any) -> float:
    if isinstance(step, np.timedelta64):
        return float(step / np.timedelta64(1, "h"))
    return float(step.total_seconds() / 3600.0)


def _find_problems(fields: xr.Dataset, understood: Sequence[Understood]) -> list[str]:
    problems = [
        f"{r.source_name}: units are not stated, taken to be {r.source_units}"
        for u in understood
        for r in u.readings
        if r.assumed_units
    ]
    for name, array in fields.data_vars.items():
        problems += _judge_sample(str(name), _sample(array))
    time = describe_time(fields)
    if str(time.get("step", "")).startswith("irregular"):
        problems.append(f"time steps are {time['step']}: steps are missing or doubled")
    return list(dict.fromkeys(problems))


def _sample(array: xr.DataArray) -> np.ndarray:
    """Read a strided piece of the middle of the first axes."""
    leading = {dim: array.sizes[dim] // 2 for dim in array.dims[:-2]}
    strides = {
        dim: slice(None, None, max(1, -(-array.sizes[dim] // _SAMPLE_CELLS))) for dim in array.dims[-2:]
    }
    return np.asarray(array.isel({**leading, **strides}).values)


def _judge_sample(name: str, sample: np.ndarray) -> list[str]:
    if sample.dtype.kind != "f":
        return []
    if np.isnan(sample).all():
        return [f"{name}: every value of a sample is missing"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = float(np.nanmin(sample)), float(np.nanmax(sample))
    quantity = LEXICON.get(name)
    if quantity is None:
        return []
    least, most = _USUAL.get(name, (quantity.low, quantity.high))
    if least <= low and high <= most:
        return []
    found, usual = f"from {low:g} to {high:g} {quantity.units}", f"{least:g} to {most:g}"
    return [f"{name}: values {found} are unusual (expected {usual}): anomalies, or a wrong units attribute?"]


def _give_advice(variables: Sequence[Variable], fields: xr.Dataset, time: Mapping[str, Any]) -> list[str]:
    advice = []
    packed = [v.name for v in variables if v.packed]
    if packed:
        advice.append(f"{', '.join(packed)}: packed integers, no finer than a step of the scale factor")
    unknown = [v.source_name for v in variables if not v.known]
    if unknown:
        advice.append(f"{', '.join(unknown)}: unknown to the lexicon, name and units kept as they are")
    advice += [_advise_chunks(v) for v in variables if v.chunks is not None and _is_large(v)]
    if time.get("calendar", "standard") not in {"standard", "proleptic_gregorian", "gregorian"}:
        advice.append(
            f"calendar {time['calendar']}: isopleth.io.convert_calendar brings it to the observations'"
        )
    if fields["lat"].ndim == 2:
        advice.append("curvilinear grid: isopleth.io.regrid brings it to latitude and longitude")
    return advice


def _is_large(variable: Variable) -> bool:
    assert variable.chunks is not None
    size = int(np.prod(variable.chunks, dtype=np.int64)) * np.dtype(variable.stored_dtype).itemsize
    return size > _LARGE_CHUNK_BYTES


def _advise_chunks(variable: Variable) -> str:
    return f"{variable.name}: chunks {variable.chunks} are large to read one step from: rechunk with prepare"


def _storage(variable: Variable) -> str:
    chunks = f" in {'x'.join(map(str, variable.chunks))}" if variable.chunks else ""
    return f"{'packed ' * variable.packed}{variable.stored_dtype}{chunks}"


def _shape(variable: Variable) -> str:
    return ", ".join(f"{dim} {size}" for dim, size in zip(variable.dims, variable.shape, strict=True))


def _sentence(described: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_brief(value)}" for key, value in described.items())


def _brief(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        joiner = " to " if all(isinstance(part, float) for part in value) else " x "
        return joiner.join(_brief(part) for part in value)
    if isinstance(value, Mapping):
        return " x ".join(_brief(part) for part in value.values())
    return str(value)


def _name(source: Source) -> str:
    if isinstance(source, xr.Dataset):
        return "a Dataset in memory"
    return (
        str(source)
        if isinstance(source, str) or not isinstance(source, Sequence)
        else f"{len(source)} sources"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
