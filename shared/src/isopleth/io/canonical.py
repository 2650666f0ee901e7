"""One file, understood: from variables as stored to a canonical Dataset, with a record of what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.axes import Horizontal, find_horizontal, find_roles, is_time, order_dims
from isopleth.io.calendars import centre_stamps, check_times, decode_lead, decode_time
from isopleth.io.choice import changes, choose, conversion_of, describe, keep_on_grid
from isopleth.io.decode import describe_attrs, plan_decoding
from isopleth.io.horizontal import place_fields
from isopleth.io.lazy import decode, fill, guard
from isopleth.io.lexicon import Reading
from isopleth.io.units import convert

_CESM_MARKS = ("cesm", "ccsm", "pop2", "parallel ocean program")
_VERTICAL_UNITS = {"level": "hPa", "depth": "m", "height": "m"}


@dataclass(frozen=True)
class Understood:
    """A canonical Dataset, and how it came about.

    ``offers`` names what the file has; ``fields`` is empty where nothing of it was wanted.
    """

    fields: xr.Dataset = field(default_factory=xr.Dataset)
    readings: tuple[Reading, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    dims: Mapping[str, str] = field(default_factory=dict)
    offers: tuple[str, ...] = ()


def understand(raw: xr.Dataset, *, where: str, variables: Sequence[str] | None = None) -> Understood:
    """Turn one file's variables, as stored, into a canonical Dataset; no field is read.

    Parameters
    ----------
    raw : xr.Dataset
        Opened with ``decode_cf=False``; an in-memory Dataset that is decoded already does as well.
    where : str
        The file's name, for errors.
    variables : sequence of str, optional
        Canonical or own names of the variables wanted; all fields otherwise. A file need not have them all.

    Raises
    ------
    DataError
        For everything that cannot be understood.
    """
    try:
        return _understand(raw.reset_coords(), where, variables)
    except DataError as error:
        if error.where is not None:
            raise
        raise DataError(error.what, where=where, hint=error.hint) from error


def _understand(raw: xr.Dataset, where: str, variables: Sequence[str] | None) -> Understood:
    raw = _guard(raw, where)
    roles = find_roles(raw)
    choice = choose(raw, roles, variables)
    if variables is not None and not choice.readings:
        return Understood(offers=choice.offers)
    grid = find_horizontal(raw, [reading.source_name for reading in choice.readings])
    readings = keep_on_grid(raw, choice.readings, grid, wanted=variables is not None)
    notes = [describe(reading) for reading in readings if changes(reading)]
    decoded, filled = _decode_fields(raw, readings, roles)
    fields, placing = place_fields(decoded, raw, grid)
    fields, timing = _attach_axes(fields, raw, roles, where)
    fields = fields.transpose(*order_dims(fields))
    _rename_chunks(
        fields, {str(raw[name].dims[0]): role for role, name in roles.items() if raw[name].ndim}, grid
    )
    known = {r.source_name for r in readings} | {grid.lat, grid.lon, *grid.dims} | set(roles.values())
    left_out = _left_out(raw, known | set(map(str, fields.coords)), variables)
    return Understood(
        fields=fields.assign_attrs(dict(raw.attrs)),
        readings=tuple(readings),
        notes=(*notes, *filled, *placing, *timing),
        left_out=left_out,
        offers=choice.offers,
        dims={role: str(name) for role, name in _named_dims(roles, grid).items()},
    )


def _guard(raw: xr.Dataset, where: str) -> xr.Dataset:
    """Guard every variable, and drop the indexes, whose making would read."""
    guarded = {
        name: guard(variable, where=f"{where}, variable {name!r}") for name, variable in raw.variables.items()
    }
    coords = xr.Coordinates({name: guarded[name] for name in raw.coords}, indexes={})
    return xr.Dataset({name: guarded[name] for name in raw.data_vars}, coords, raw.attrs)


def _decode_fields(
    raw: xr.Dataset, readings: Sequence[Reading], roles: Mapping[str, str]
) -> tuple[xr.Dataset, list[str]]:
    decoded, notes = {}, []
    for reading in readings:
        stored = raw.variables[reading.source_name]
        conversion = conversion_of(reading)
        plan = plan_decoding(stored, reading.quantity, conversion)
        variable = decode(stored, plan)
        variable, merged = _merge_expver(variable, raw, roles.get("expver"))
        if merged:
            notes.append(f"merged ERA5 (expver 1) and ERA5T (expver 5) of {reading.name}")
        variable.attrs = _field_attrs(reading, stored)
        variable.encoding = {k: v for k, v in stored.encoding.items() if k == "preferred_chunks"}
        decoded[reading.name] = variable
    return xr.Dataset(decoded), notes


def _field_attrs(reading: Reading, stored: xr.Variable) -> dict[str, str]:
    attrs = describe_attrs(stored.attrs)
    if reading.quantity is not None:
        attrs.pop("standard_name", None)
        if reading.quantity.standard_names:
            stated = stored.attrs.get("standard_name")
            known = reading.quantity.standard_names
            attrs["standard_name"] = stated if stated in known else known[0]
    attrs.setdefault("long_name", reading.name.replace("_", " "))
    if reading.source_units is not None or reading.quantity is not None:
        attrs["units"] = reading.units
    attrs["source_name"] = reading.source_name
    return attrs


def _merge_expver(variable: xr.Variable, raw: xr.Dataset, name: str | None) -> tuple[xr.Variable, bool]:
    """Fill the months that ERA5 has not finished with the preliminary ones: lowest version first."""
    if name is None or name not in variable.dims:
        return variable, False
    versions = [int(x) for x in np.ravel(raw[name].values)]
    if variable.dtype.kind != "f":
        raise DataError(
            f"variable with an {name} dimension must mark missing values, got dtype {variable.dtype}"
        )
    return fill([variable[{name: int(i)}] for i in np.argsort(versions)]), True


def _attach_axes(
    fields: xr.Dataset, raw: xr.Dataset, roles: Mapping[str, str], where: str
) -> tuple[xr.Dataset, list[str]]:
    """Rename and decode every axis but the horizontal ones."""
    notes: list[str] = []
    for role, name in roles.items():
        stored = raw.variables[name]
        if stored.ndim and stored.dims[0] not in fields.dims:
            continue
        if role == "expver":
            continue
        axis, note = _read_axis(role, stored, raw, where)
        notes += [note] if note else []
        fields = _attach(fields, role, stored, axis)
    for role in ("level", "depth", "height", "member"):
        fields, note = _sort_along(fields, role)
        notes += [note] if note else []
    return _attach_others(fields, raw, set(roles.values())), notes


def _read_axis(role: str, stored: xr.Variable, raw: xr.Dataset, where: str) -> tuple[xr.Variable, str | None]:
    name = str(stored.attrs.get("long_name", role))
    if role == "time":
        return _read_time(stored, raw, where)
    if role == "lead":
        return decode_lead(stored, name), None
    attrs = {
        k: v
        for k, v in describe_attrs(stored.attrs).items()
        if k in {"standard_name", "long_name", "positive"}
    }
    if role not in _VERTICAL_UNITS or stored.dtype.kind not in "iuf":
        return xr.Variable(stored.dims, stored.values, attrs), None
    target = _VERTICAL_UNITS[role]
    values = np.asarray(stored.values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"coordinate {role!r} must be finite, got {values[~np.isfinite(values)][0]}")
    units = str(stored.attrs.get("units") or target)
    return xr.Variable(
        stored.dims, np.round(convert(values, units, target), 9), {**attrs, "units": target}
    ), None


def _read_time(stored: xr.Variable, raw: xr.Dataset, where: str) -> tuple[xr.Variable, str | None]:
    time = decode_time(stored, "time")
    check_times(time, where=where)
    name = stored.attrs.get("bounds") or next((n for n in ("time_bound", "time_bnds") if n in raw), None)
    bounds = None
    if name in raw.variables and raw[name].ndim == 2 and raw[name].dims[0] in stored.dims:
        inherited = {k: stored.attrs[k] for k in ("units", "calendar") if k in stored.attrs}
        boundary = raw.variables[name]
        attrs = {**inherited, **{k: v for k, v in boundary.attrs.items() if k != "bounds"}}
        bounds = decode_time(xr.Variable(boundary.dims, boundary.values, attrs), str(name))
    time, note = centre_stamps(time, bounds, stamped_at_end=_is_cesm(raw))
    time.attrs = {"standard_name": "time", "axis": "T"} if time.ndim else {"standard_name": "time"}
    return time, note


def _is_cesm(raw: xr.Dataset) -> bool:
    text = " ".join(
        str(raw.attrs.get(key, "")) for key in ("source", "title", "model", "institution")
    ).lower()
    return any(mark in text for mark in _CESM_MARKS) or {"nlat", "nlon"} <= set(raw.dims)


def _attach(fields: xr.Dataset, role: str, stored: xr.Variable, axis: xr.Variable) -> xr.Dataset:
    if not stored.ndim:
        return fields.assign_coords({role: axis})
    dim = str(stored.dims[0])
    if dim != role:
        fields = fields.rename_dims({dim: role})
    return fields.assign_coords({role: ((role,), axis.values, axis.attrs)})


def _sort_along(fields: xr.Dataset, dim: str) -> tuple[xr.Dataset, str | None]:
    if dim not in fields.dims or fields[dim].dtype.kind not in "iuf":
        return fields, None
    values = fields[dim].values
    order = np.argsort(values, kind="stable")
    if (np.diff(values[order]) == 0).any():
        raise DataError(f"values of {dim!r} must be unique, got {values.tolist()}")
    if (np.diff(order) == 1).all():
        return fields, None
    return fields.isel({dim: order}), f"put {dim} in ascending order"


def _attach_others(fields: xr.Dataset, raw: xr.Dataset, used: set[str]) -> xr.Dataset:
    """Keep scalar and one-dimensional coordinates that the file's fields name, such as a height of 2 m."""
    named = set()
    for variable in raw.variables.values():
        named |= set(str(variable.attrs.get("coordinates", variable.encoding.get("coordinates", ""))).split())
    for name in sorted(named - used):
        if name not in raw.variables or name in fields.variables or raw[name].ndim:
            continue
        stored = raw.variables[name]
        value = decode_time(stored, name) if is_time(stored) and stored.dtype.kind != "m" else stored
        attrs = {**describe_attrs(stored.attrs)}
        if "units" in stored.attrs and value is stored:
            attrs["units"] = stored.attrs["units"]
        fields = fields.assign_coords({name: xr.Variable((), value.values, attrs)})
    return fields


def _rename_chunks(fields: xr.Dataset, renamed: dict[str, str], grid: Horizontal) -> None:
    """Carry the stored chunks over to canonical dims, for ``chunks={}``."""
    horizontal = ("lat", "lon") if grid.kind == "rectilinear" else ("y", "x")
    renamed |= dict(zip(grid.dims, horizontal, strict=True))
    for array in fields.data_vars.values():
        stored = array.encoding.pop("preferred_chunks", None)
        if stored:
            array.encoding["preferred_chunks"] = {
                renamed.get(dim, dim): length for dim, length in stored.items()
            }


def _left_out(raw: xr.Dataset, known: set[str], variables: Sequence[str] | None) -> tuple[str, ...]:
    if variables is not None:
        return ()
    return tuple(sorted(str(name) for name in raw.variables if str(name) not in known and raw[name].ndim))


def _named_dims(roles: Mapping[str, str], grid: Horizontal) -> dict[str, str]:
    named = {role: name for role, name in roles.items() if role != "expver"}
    return {**named, "lat": grid.lat, "lon": grid.lon}
