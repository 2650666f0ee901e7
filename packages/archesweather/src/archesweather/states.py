"""States of the atmosphere to start from and to score against: a packed store, or fields in any layout."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from archesweather.prepared import STATES
from isopleth.data import Normaliser, PackedStore, open_store
from isopleth.data.store import is_store
from isopleth.data.times import Period, TimeAxis
from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid
from isopleth.io import LEXICON, find_conversion, open_fields

Floats = NDArray[np.float64]
Seconds = NDArray[np.int64]

_LOG = logging.getLogger(__name__)
# Coordinates of one grid that were stored in different precisions differ by less than this, in degrees.
_SAME_DEGREES = 1e-3


class States(Protocol):
    """A series of states, read a few time steps at a time."""

    @property
    def channels(self) -> tuple[str, ...]:
        """What the channels are."""

    @property
    def axis(self) -> TimeAxis:
        """Time stamps."""

    @property
    def grid(self) -> Grid:
        """Latitudes and longitudes, both ascending."""

    @property
    def place(self) -> str:
        """Where the states are, for messages."""

    def read(self, rows: Sequence[int] | NDArray[Any]) -> Floats:
        """Return time steps in physical units, (n, channel, lat, lon); what is missing is NaN."""

    def read_scores(self, rows: Sequence[int] | NDArray[Any], normaliser: Normaliser) -> NDArray[np.float32]:
        """Return time steps as z-scores of given statistics, (n, channel, lat, lon)."""


@dataclass(frozen=True, eq=False)
class StoreStates:
    """The states of a packed store.

    Parameters
    ----------
    store : PackedStore
    channels : tuple of str
        Those wanted, in the order wanted.
    """

    store: PackedStore
    channels: tuple[str, ...]

    def __post_init__(self) -> None:
        for row in self._columns:
            layer = self.store.layers[row]
            check_units(layer.variable, layer.units, self.place)

    @property
    def axis(self) -> TimeAxis:
        """Time stamps."""
        return self.store.axis

    @property
    def grid(self) -> Grid:
        """Latitudes and longitudes."""
        return self.store.grid

    @property
    def place(self) -> str:
        """The store's folder."""
        return str(self.store.path)

    def read(self, rows: Sequence[int] | NDArray[Any]) -> Floats:
        """Return time steps in physical units; what is masked in the store is NaN."""
        scores = self.store.read(rows)[:, self._columns].astype(np.float64)
        if self.store.has_mask:
            scores[~self.store.read_valid(rows)[:, self._columns]] = np.nan
        return self._statistics.inverse(scores)

    def read_scores(self, rows: Sequence[int] | NDArray[Any], normaliser: Normaliser) -> NDArray[np.float32]:
        """Return time steps as z-scores; those of other statistics go through physical units."""
        if _same_statistics(self._statistics, normaliser):
            return self.store.read(rows)[:, self._columns]
        self._note_conversion()
        return normaliser.transform(self.read(rows)).astype(np.float32)

    @cached_property
    def _columns(self) -> list[int]:
        missing = [name for name in self.channels if name not in self.store.channels]
        if missing:
            raise _missing_channels(missing, self.store.channels, self.place)
        return [self.store.channel_index(name) for name in self.channels]

    @cached_property
    def _statistics(self) -> Normaliser:
        return self.store.normaliser.select(self.channels)

    def _note_conversion(self) -> None:
        """Say once that z-scores are converted."""
        if "converted" not in self.__dict__:
            self.__dict__["converted"] = True
            _LOG.warning(
                "%s was packed with other statistics than the model's: states go through physical units",
                self.place,
            )


@dataclass(frozen=True, eq=False)
class FieldStates:
    """The states of a canonical dataset, lazy or not.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables over (time, [level,] lat, lon), as `isopleth.io.open_fields` gives them.
    channels : tuple of str
        Those wanted, in the order wanted.
    place : str
        Where it came from, for messages.
    """

    dataset: xr.Dataset
    channels: tuple[str, ...]
    place: str = "memory"

    def __post_init__(self) -> None:
        if "time" not in self.dataset.dims:
            raise DataError("states must have a dimension time, got none", where=self.place)
        check_channels(self.dataset, self.channels, self.place)

    @cached_property
    def axis(self) -> TimeAxis:
        """Time stamps."""
        return TimeAxis.of(self.dataset["time"].values)

    @cached_property
    def grid(self) -> Grid:
        """Latitudes and longitudes."""
        return Grid.of(self.dataset)

    def read(self, rows: Sequence[int] | NDArray[Any]) -> Floats:
        """Return time steps in physical units."""
        part = self.dataset.isel(time=np.asarray(rows, dtype=np.int64))
        return stack_channels(part, self.channels, ("time",))

    def read_scores(self, rows: Sequence[int] | NDArray[Any], normaliser: Normaliser) -> NDArray[np.float32]:
        """Return time steps as z-scores."""
        return normaliser.transform(self.read(rows)).astype(np.float32)


def open_states(source: str | Path, channels: Sequence[str]) -> States:
    """Open a packed store, or whatever `isopleth.io.open_fields` reads, as states of some channels.

    Raises
    ------
    DataError
        If there is nothing to read, or a variable, a level or a unit is not what a channel needs.
    """
    for folder in (Path(source) / STATES, Path(source)):
        if is_store(folder):
            return StoreStates(open_store(folder), tuple(channels))
    variables = list(dict.fromkeys(split_channel(name)[0] for name in channels))
    return FieldStates(open_fields(str(source), variables=variables), tuple(channels), str(source))


def offered_channels(source: str | Path) -> tuple[str, ...]:
    """Return the channels that files or a store of fields have."""
    return tuple(_offers(open_fields(str(source))))


def split_channel(name: str) -> tuple[str, float | None]:
    """Return the variable of a channel and its level in hPa, None for a single-level field.

    Examples
    --------
    >>> split_channel("geopotential_500"), split_channel("2m_temperature")
    (('geopotential', 500.0), ('2m_temperature', None))
    """
    head, _, tail = name.rpartition("_")
    if name in LEXICON or not head:
        return name, None
    try:
        return head, float(tail)
    except ValueError:
        return name, None


def units_of(name: str) -> str:
    """Return the units of a channel, SI; "1" where its variable is not known."""
    variable = split_channel(name)[0]
    return LEXICON[variable].units if variable in LEXICON else "1"


def check_units(variable: str, units: str, place: str) -> None:
    """Refuse units that are not the variable's.

    Raises
    ------
    DataError
        If they are other ones; units that are not stated, or of an unknown variable, pass.
    """
    if not units or variable not in LEXICON:
        return
    wanted = LEXICON[variable].units
    try:
        same = find_conversion(units, wanted).is_identity
    except DataError:
        same = False
    if not same:
        raise DataError(
            f"{variable} must be in {wanted}, got {units!r}",
            where=place,
            hint="open the source by isopleth.io.open_fields, which converts, and prepare it again",
        )


def check_channels(dataset: xr.Dataset, channels: Sequence[str], place: str) -> None:
    """Refuse a dataset that lacks a channel's variable or level, or has it in other units."""
    missing = []
    for name in channels:
        variable, level = split_channel(name)
        if variable not in dataset or (level is not None and _find_level(dataset[variable], level) is None):
            missing.append(name)
    if missing:
        raise _missing_channels(missing, _offers(dataset), place)
    for name in channels:
        variable, level = split_channel(name)
        if level is None and "level" in dataset[variable].dims:
            raise DataError(f"{variable} must be on a single level, got several", where=place)
        check_units(variable, str(dataset[variable].attrs.get("units", "")), place)


def stack_channels(dataset: xr.Dataset, channels: Sequence[str], leading: tuple[str, ...]) -> Floats:
    """Load channels of a dataset as one array, (*leading, channel, lat, lon), float64."""
    loaded: dict[str, xr.DataArray] = {}
    layers = []
    for name in channels:
        variable, level = split_channel(name)
        if variable not in loaded:
            loaded[variable] = _wanted_levels(dataset[variable], variable, channels).load()
        array = loaded[variable]
        if level is not None:
            array = array.isel(level=_find_level(array, level))
        layers.append(array.transpose(*leading, "lat", "lon").values)
    return np.stack(layers, axis=len(leading)).astype(np.float64)


def check_same_grid(grid: Grid, other: Grid, what: str, place: str) -> None:
    """Refuse another grid: nothing is regridded behind the user's back.

    Raises
    ------
    DataError
        Shows both grids.
    """
    same = grid.shape == other.shape and all(
        np.allclose(a, b, rtol=0, atol=_SAME_DEGREES)
        for a, b in ((grid.lat, other.lat), (grid.lon, other.lon))
    )
    if not same:
        raise DataError(
            f"{what} must be on the grid {grid!r}, got {other!r}",
            where=place,
            hint="regrid it first: isopleth.io.regrid",
        )


def stamp(axis: TimeAxis, seconds: Seconds | Sequence[int]) -> NDArray[Any]:
    """Return the time stamps of seconds counted in an axis' calendar, in any order."""
    values = np.atleast_1d(np.asarray(seconds, dtype=np.int64))
    unique, where = np.unique(values, return_inverse=True)
    stamps = TimeAxis(unique, axis.calendar, is_cftime=axis.is_cftime).stamps
    return stamps[where.reshape(values.shape)]


def find_rows(axis: TimeAxis, seconds: Seconds, what: str, place: str) -> NDArray[np.int64]:
    """Return the rows of time stamps, which must all be there.

    Raises
    ------
    DataError
        Names the first that is missing, and what there is.
    """
    rows = np.searchsorted(axis.seconds, seconds).clip(max=len(axis) - 1)
    absent = axis.seconds[rows] != seconds
    if absent.any():
        first = str(stamp(axis, [int(np.ravel(seconds)[np.ravel(absent).argmax()])])[0]).replace(" ", "T")
        raise DataError(
            f"{what} must be among the time steps, got none at {first}"
            + (f" (and {int(absent.sum()) - 1} others)" if absent.sum() > 1 else ""),
            where=place,
            hint=f"there are {len(axis)} from {axis[0]} to {axis[len(axis) - 1]}",
        )
    return rows


def has_rows(axis: TimeAxis, seconds: Seconds) -> NDArray[np.bool_]:
    """Say which seconds are time stamps of an axis."""
    return np.isin(seconds, axis.seconds)


def parse_dates(axis: TimeAxis, dates: Sequence[str], place: str) -> Seconds:
    """Return the seconds of ISO dates in the calendar of an axis; each must be one of its stamps.

    Raises
    ------
    DataError
        If there is no such time step.
    """
    found = []
    for date in dates:
        # A date without an hour means midnight, not all of the day.
        text = date.strip().replace(" ", "T")
        full = text if "T" in text else f"{text}T00"
        rows = np.flatnonzero(axis.select((full, full)))
        if not rows.size:
            raise DataError(
                f"an initial time must be among the time steps, got none at {date}",
                where=place,
                hint=f"there are {len(axis)} from {axis[0]} to {axis[len(axis) - 1]}",
            )
        found.append(int(axis.seconds[rows[0]]))
    return np.array(sorted(set(found)), dtype=np.int64)


def choose_starts(axis: TimeAxis, period: Period | None, every_hours: int) -> Seconds:
    """Return the seconds of the time steps in a period that lie on multiples of an interval from midnight.

    Raises
    ------
    ConfigError
        If there is none.
    """
    inside = axis.select(period)
    seconds = axis.seconds[inside & (axis.seconds % (3600 * every_hours) == 0)]
    if not seconds.size:
        raise ConfigError(
            f"the period must hold an initial time at a multiple of {every_hours} h, got none in {period}",
            hint=f"the states reach from {axis[0]} to {axis[len(axis) - 1]}",
        )
    return seconds


def _same_statistics(one: Normaliser, other: Normaliser) -> bool:
    """Whether two normalisers give the same z-scores, wherever they were fitted."""
    return np.array_equal(one.mean, other.mean) and np.array_equal(one.std, other.std)


def _missing_channels(missing: Sequence[str], offers: Sequence[str], place: str) -> DataError:
    shown = ", ".join(offers[:12]) + (f" and {len(offers) - 12} more" if len(offers) > 12 else "")
    return DataError(
        f"the states must have every channel of the model, got no {', '.join(missing[:6])}"
        + (f" and {len(missing) - 6} more" if len(missing) > 6 else ""),
        where=place,
        hint=f"there are {shown}",
    )


def _offers(dataset: xr.Dataset) -> list[str]:
    offers = []
    for name, array in dataset.data_vars.items():
        levels = array["level"].values if "level" in array.dims and "level" in array.coords else [None]
        offers += [str(name) if level is None else f"{name}_{float(level):g}" for level in levels]
    return offers


def _find_level(array: xr.DataArray, level: float) -> int | None:
    if "level" not in array.coords:
        return None
    found = np.flatnonzero(np.isclose(np.atleast_1d(array["level"].values), level, rtol=1e-6))
    return int(found[0]) if found.size else None


def _wanted_levels(array: xr.DataArray, variable: str, channels: Sequence[str]) -> xr.DataArray:
    """Keep the levels that some channel needs, so that no other is read."""
    levels = [level for name, level in map(split_channel, channels) if name == variable and level is not None]
    if not levels or "level" not in array.dims:
        return array.expand_dims("level") if levels and "level" in array.coords else array
    return array.isel(level=[_find_level(array, level) for level in levels])
