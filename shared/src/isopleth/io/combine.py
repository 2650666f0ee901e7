"""Several files, one Dataset: joined along time, lead, level or member, merged by variable, unread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.axes import order_dims
from isopleth.io.calendars import calendar_of, format_time
from isopleth.io.lazy import join, raise_dim

_JOINED = ("time", "lead", "level", "depth", "member")
_SAME_PLACE_DEG = 1e-5


@dataclass(frozen=True)
class Piece:
    """A canonical Dataset and the files it came from."""

    fields: xr.Dataset
    places: tuple[str, ...]


def combine(pieces: Sequence[Piece]) -> xr.Dataset:
    """Join and merge canonical Datasets into one.

    Raises
    ------
    DataError
        If they are on several grids or calendars, overlap, or do not fill a whole block together.
    """
    pieces = _check_calendars(_check_grids(pieces))
    for dim in _JOINED:
        pieces = _join_all(pieces, dim)
    return _merge(pieces)


def _check_grids(pieces: Sequence[Piece]) -> list[Piece]:
    """Refuse a second grid; give all pieces the first one's coordinates, which rounding may have moved."""
    first = pieces[0]
    snapped = [first]
    for piece in pieces[1:]:
        for name in ("lat", "lon"):
            here, there = first.fields[name], piece.fields[name]
            same = here.shape == there.shape and np.allclose(
                here.values, there.values, rtol=0, atol=_SAME_PLACE_DEG, equal_nan=True
            )
            if not same:
                raise DataError(
                    f"files opened together must share one grid, got {_span(here)} in {first.places[0]} "
                    f"and {_span(there)} in {piece.places[0]}",
                    hint="open them one by one and regrid",
                )
        # Variables, not arrays: an array would bring its scalar coordinates along.
        shared = {
            name: first.fields[name].variable
            for name in ("lat", "lon", "y", "x")
            if name in piece.fields.coords
        }
        snapped.append(Piece(piece.fields.assign_coords(shared), piece.places))
    return snapped


def _check_calendars(pieces: list[Piece]) -> list[Piece]:
    seen: dict[str, str] = {}
    for piece in pieces:
        if "time" in piece.fields.coords:
            seen.setdefault(calendar_of(piece.fields["time"].variable), piece.places[0])
    if len(seen) > 1:
        parts = " and ".join(f"{calendar!r} in {place}" for calendar, place in seen.items())
        raise DataError(
            f"files opened together must share one calendar, got {parts}",
            hint="open them one by one and use isopleth.io.convert_calendar",
        )
    return pieces


def _join_all(pieces: list[Piece], dim: str) -> list[Piece]:
    """Join those pieces that differ in nothing but ``dim``."""
    groups: dict[object, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(_signature(piece.fields, without=dim), []).append(piece)
    return [_join(group, dim) if len(group) > 1 else group[0] for group in groups.values()]


def _signature(fields: xr.Dataset, *, without: str) -> object:
    axes = [
        (dim, "joined" if dim == without else _fingerprint(fields[dim]))
        for dim in _JOINED
        if dim in fields.coords
    ]
    return tuple(sorted(map(str, fields.data_vars))), tuple(axes)


def _fingerprint(axis: xr.DataArray) -> object:
    values = np.ravel(axis.values)
    return axis.ndim, tuple(map(str, values)) if values.dtype.kind == "O" else values.tobytes()


def _join(group: Sequence[Piece], dim: str) -> Piece:
    if dim not in group[0].fields.coords:
        raise DataError(
            f"files opened together must differ in something, got the same variables in {_names(group)}",
            hint="give each file a time or a member coordinate",
        )
    raised = [_raise(piece, dim) for piece in group]
    raised.sort(key=lambda piece: piece.fields[dim].values[0])
    values = np.concatenate([piece.fields[dim].values for piece in raised])
    _check_order(values, raised, dim)
    first = raised[0].fields
    variables = {
        name: join([piece.fields[name].variable for piece in raised], dim)
        if dim in array.dims
        else array.variable
        for name, array in first.data_vars.items()
    }
    coords = {name: c.variable for name, c in first.coords.items() if name != dim and dim not in c.dims}
    coords = {name: c for name, c in coords.items() if all(_agree(c, piece.fields, name) for piece in raised)}
    coords[dim] = xr.Variable((dim,), values, first[dim].attrs)
    places = tuple(place for piece in raised for place in piece.places)
    return Piece(xr.Dataset(variables, coords=coords, attrs=first.attrs), places)


def _agree(variable: xr.Variable, fields: xr.Dataset, name: object) -> bool:
    return name in fields.coords and variable.identical(fields[name].variable)


def _raise(piece: Piece, dim: str) -> Piece:
    """Turn a scalar coordinate, one file a time step, into a dimension of length one."""
    fields = piece.fields
    if fields[dim].ndim:
        return piece
    variables = {name: raise_dim(array.variable, dim) for name, array in fields.data_vars.items()}
    coords = {name: c.variable for name, c in fields.coords.items() if name != dim}
    coords[dim] = xr.Variable((dim,), np.atleast_1d(fields[dim].values), fields[dim].attrs)
    raised = xr.Dataset(variables, coords=coords, attrs=fields.attrs)
    return Piece(raised.transpose(*order_dims(raised)), piece.places)


def _check_order(values: np.ndarray, pieces: Sequence[Piece], dim: str) -> None:
    step = values[1:] > values[:-1]
    if step.all():
        return
    first = int(np.argmin(step))
    ends = np.cumsum([piece.fields.sizes[dim] for piece in pieces])
    left, right = (
        pieces[int(np.searchsorted(ends, at, side="right"))].places[0] for at in (first, first + 1)
    )
    show = format_time if dim == "time" else str
    raise DataError(
        f"files opened together must not overlap in {dim}, got {show(values[first])} in {left} "
        f"and {show(values[first + 1])} in {right}",
        hint="leave one of the files out",
    )


def _merge(pieces: Sequence[Piece]) -> xr.Dataset:
    """Put variables that lie on the same axes side by side."""
    first = pieces[0]
    variables = {name: array.variable for name, array in first.fields.data_vars.items()}
    coords = {name: c.variable for name, c in first.fields.coords.items()}
    for piece in pieces[1:]:
        for name, array in piece.fields.data_vars.items():
            if name in variables:
                raise DataError(
                    f"files opened together must fill a whole block, got {name!r} in parts of "
                    f"{first.places[0]} and {piece.places[0]} that do not join",
                    hint="open variables with different levels or times one by one: variables=[...]",
                )
            variables[name] = array.variable
        for name, coord in piece.fields.coords.items():
            _check_axis(str(name), coord, coords.get(name), first.places[0], piece.places[0])
            coords.setdefault(name, coord.variable)
    shared = {
        name: c for name, c in coords.items() if c.ndim or all(_agree(c, p.fields, name) for p in pieces)
    }
    return xr.Dataset(variables, coords=shared, attrs=first.fields.attrs)


def _check_axis(name: str, coord: xr.DataArray, known: xr.Variable | None, left: str, right: str) -> None:
    """Refuse a second axis of one name; a scalar that is no axis, such as a height of 2 m, may differ."""
    if known is None or (name not in coord.dims and name not in _JOINED):
        return
    if np.array_equal(known.values, coord.values):
        return
    raise DataError(
        f"variables opened together must share their {name} axis, got {known.size} values in {left} "
        f"and {coord.size} other ones in {right}",
        hint="open them one by one: variables=[...]",
    )


def _span(axis: xr.DataArray) -> str:
    return f"{axis.name} {axis.shape} from {float(np.nanmin(axis)):g} to {float(np.nanmax(axis)):g}"


def _names(group: Iterable[Piece]) -> str:
    return ", ".join(piece.places[0] for piece in group)
