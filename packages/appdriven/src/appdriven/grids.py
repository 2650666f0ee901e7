"""Fields on (time, lat, lon) that are read some times at a time, as tables of a block's samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from appdriven.application import Application, Columns
from appdriven.baselines import number_or_text
from appdriven.predictions import LOWER, PROBABILITY, UPPER, VALUE, Predictions
from appdriven.schema import Unknown
from appdriven.table import AREA, Table, as_times, same_calendar
from isopleth.errors import ConfigError, DataError
from isopleth.fields.times import duration_ticks, ticks
from isopleth.grid import Grid
from isopleth.report import fingerprint

TIME, LAT, LON = DIMS = ("time", "lat", "lon")
# Samples of a block: what is held at once, beside the sums.
_BLOCK = 2**18
# Samples that learned baselines are fitted on, and that curves, shift and variogram are measured on.
_SAMPLE = 200_000


def count_cells(path: Path) -> int:
    """Return how many samples a file of fields on (time, lat, lon) holds; 0 for any other file."""
    if path.suffix not in (".nc", ".zarr") or not path.exists():
        return 0
    from isopleth.io import open_fields

    try:
        sizes = open_fields(path).sizes
    except DataError:
        return 0  # whoever reads it whole says what is wrong with it
    return int(np.prod([sizes[dim] for dim in DIMS])) if set(DIMS) == set(sizes) else 0


@dataclass(frozen=True, eq=False)
class Grids:
    """Truth and predictions on one grid, read when they are looked at.

    Parameters
    ----------
    application : Application
    fields : Dataset, dims (time, lat, lon)
        The truth, features and subgroups; each may lack dims.
    said : Dataset, dims (time, lat, lon)
        With ``prediction`` and, if there are any, ``lower``, ``upper`` and ``probability``.
    block : int
        Samples that are read at once, at least those of one time.
    """

    application: Application
    fields: xr.Dataset
    said: xr.Dataset
    block: int = _BLOCK

    def __post_init__(self) -> None:
        named = (self.columns.time, self.columns.lat, self.columns.lon)
        if named != DIMS:
            raise ConfigError(f"data.columns must name time, lat and lon so for fields, got {named}")
        missing = [name for name in self.names if name not in self.fields]
        if missing:
            known = ", ".join(map(str, self.fields.variables))
            raise DataError(f"the data must have the columns {', '.join(missing)}, got {known}")
        if VALUE not in self.said:
            raise DataError(
                f"predictions must have the column {VALUE!r}, got {', '.join(map(str, self.said))}"
            )
        for dim in (LAT, LON):
            ours, theirs = self.fields[dim].values, self.said[dim].values
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=1e-4):
                raise DataError(f"predictions must be on the data's own {dim}, got {theirs.size} others")
        same_calendar(self.fields[TIME].to_series(), self.said[TIME].to_series())

    @classmethod
    def open(cls, application: Application, data: Path, predictions: Path, *, block: int = _BLOCK) -> Grids:
        """Open two files of fields, NetCDF or zarr, as `isopleth.io.open_fields` reads them."""
        from isopleth.io import open_fields

        return cls(application, open_fields(data), open_fields(predictions), block)

    @property
    def columns(self) -> Columns:
        """Which variables play which part."""
        return self.application.columns

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The variables that are read beside the coordinates."""
        columns, wanted = self.columns, self.application.subgroups.columns
        groups = () if isinstance(wanted, Unknown) else wanted
        plain = (columns.target, columns.weight, columns.persistence, *columns.features, *groups)
        return tuple(dict.fromkeys(name for name in plain if name is not None and name not in DIMS))

    @cached_property
    def time(self) -> np.ndarray:
        """All times, as `Table.time` has them."""
        return as_times(self.fields[TIME].to_series(), TIME)

    @cached_property
    def axis(self) -> np.ndarray:
        """All times as numbers."""
        return ticks(self.time)

    @cached_property
    def place(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitude and longitude of every cell, in the order of a field's values."""
        lat, lon = np.meshgrid(self.fields[LAT].values, self.fields[LON].values, indexing="ij")
        return lat.ravel(), lon.ravel()

    @cached_property
    def area(self) -> np.ndarray:
        """Area of every cell, km2."""
        return Grid(self.fields[LAT].values, self.fields[LON].values).cell_areas_km2.ravel()

    @property
    def cells(self) -> int:
        """How many samples a time has."""
        return self.area.size

    def blocks(self) -> Iterator[slice]:
        """Yield all times, some at a time."""
        steps = max(1, self.block // self.cells)
        for start in range(0, self.time.size, steps):
            yield slice(start, min(start + steps, self.time.size))

    def field(self, name: str, steps: slice | np.ndarray) -> np.ndarray:
        """Read one variable at some times, float64, shape (step, cell)."""
        values = _spread(self.fields, name, steps)
        try:
            return values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"a column must hold numbers, got {error}", where=name) from error

    def table(self, steps: slice) -> Table:
        """Read a block's samples, times in order and cells within each."""
        count = steps.stop - steps.start
        lat, lon = self.place
        content = {
            TIME: np.repeat(self.fields[TIME].values[steps], self.cells),
            LAT: np.tile(lat, count), LON: np.tile(lon, count), AREA: np.tile(self.area, count),
        }  # fmt: skip
        content |= {name: _spread(self.fields, name, steps).ravel() for name in self.names}
        return Table(pd.DataFrame(content), self.columns)

    @cached_property
    def _said_at(self) -> np.ndarray:
        """Where the predictions of each time stand; -1 for none."""
        said = ticks(as_times(self.said[TIME].to_series(), TIME))
        if np.unique(said).size != said.size or not np.isin(said, self.axis).all():
            raise DataError("every time of the predictions must be one of the data's, and stand there once")
        return pd.Index(said).get_indexer(self.axis)

    def lacking(self, tested: np.ndarray) -> int:
        """Count the tested times, bool, that have no predictions."""
        return int((tested & (self._said_at < 0)).sum())

    def predictions(self, steps: slice) -> Predictions:
        """Read what is predicted for a block's samples, NaN where nothing is."""
        found = {name: self._predicted(name, steps) for name in (VALUE, LOWER, UPPER, PROBABILITY)}
        return Predictions(np.asarray(found[VALUE]), found[LOWER], found[UPPER], found[PROBABILITY])

    def _predicted(self, name: str, steps: slice) -> np.ndarray | None:
        if name not in self.said:
            return None
        at = self._said_at[steps]
        values = np.full((at.size, self.cells), np.nan)
        if (at >= 0).any():
            values[at >= 0] = _spread(self.said, name, at[at >= 0])
        return values.ravel()

    def before(self, duration: str, steps: slice) -> np.ndarray:
        """Read the truth that was so much earlier than each of a block's samples; NaN where there is none."""
        earlier = self.axis[steps] - duration_ticks(
            number_or_text(duration, self.axis), self.axis, name="task.lead"
        )
        at = pd.Index(self.axis).get_indexer(earlier)
        values = np.full((at.size, self.cells), np.nan)
        if (at >= 0).any():
            values[at >= 0] = self.field(self.columns.target, at[at >= 0])
        return values.ravel()

    def fingerprint(self) -> str:
        """Hash times, places and the truth; equal fields agree whatever file they are in."""
        parts = [fingerprint(self.field(self.columns.target, steps)) for steps in self.blocks()]
        return fingerprint("\n".join(map(str, self.time)), *self.place, "\n".join(parts))


@dataclass(frozen=True, eq=False)
class Sample:
    """Samples drawn evenly from a grid: at most `_SAMPLE`, or all if there are fewer.

    Parameters
    ----------
    table : Table
    time, cell : array of int, shape (sample,)
        Their numbers.
    labels : dict of str to list of str
        Of the subgroups' columns, over the whole grid.
    """

    table: Table
    time: np.ndarray
    cell: np.ndarray
    labels: dict[str, list[str]]


def draw(grids: Grids, steps: slice, *, seed: int) -> np.ndarray:
    """Draw the rows of a block that are in the sample; the same whenever they are asked for."""
    size = (steps.stop - steps.start) * grids.cells
    share = _SAMPLE / (grids.time.size * grids.cells)
    if share >= 1:
        return np.arange(size)
    return np.flatnonzero(np.random.default_rng([seed, steps.start]).random(size) < share)


def draw_sample(grids: Grids, *, seed: int) -> Sample:
    """Draw a sample of the whole grid, block by block."""
    wanted = grids.application.subgroups.columns
    columns = () if isinstance(wanted, Unknown) else wanted
    labels: dict[str, set[str]] = {column: set() for column in columns}
    tables, times, cells = [], [], []
    for steps in grids.blocks():
        rows, frame = draw(grids, steps, seed=seed), grids.table(steps).frame
        for column in columns:
            labels[column] |= set(frame[column].astype(str).unique())
        tables.append(frame.iloc[rows])
        times.append(steps.start + rows // grids.cells)
        cells.append(rows % grids.cells)
    frame = pd.concat(tables, ignore_index=True)
    return Sample(
        Table(frame, grids.columns),
        np.concatenate(times),
        np.concatenate(cells),
        {column: sorted(found) for column, found in labels.items()},
    )


def _spread(fields: xr.Dataset, name: str, steps: slice | np.ndarray) -> np.ndarray:
    """Read a variable at some times, spread over the dims that it lacks, shape (step, cell)."""
    some = fields[[name]].isel({TIME: steps}) if TIME in fields[name].dims else fields[[name]]
    count = np.arange(fields.sizes[TIME])[steps].size
    shape = (count, fields.sizes[LAT], fields.sizes[LON])
    wanted = [dim for dim in DIMS if dim in some[name].dims]
    index = tuple(slice(None) if dim in wanted else np.newaxis for dim in DIMS)
    values = some[name].transpose(*wanted).to_numpy()[index]
    return np.broadcast_to(values, shape).reshape(count, -1)
