"""Samples in one table, whatever they came in: CSV, Parquet, a NetCDF or zarr of samples or of fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from appdriven.application import Columns
from isopleth.errors import DataError, require
from isopleth.grid import Grid, wrap_longitude
from isopleth.report import fingerprint

AREA = "cell_area"
SUFFIXES = (".csv", ".parquet", ".nc", ".zarr")
# Numbers are read to the last bit by pandas 3, by pandas 2 when told to.
_EXACT: dict[str, Any] = (
    {} if int(pd.__version__.partition(".")[0]) >= 3 else {"float_precision": "round_trip"}
)


@dataclass(frozen=True, eq=False)
class Table:
    """Samples as rows, and which column plays which part.

    Parameters
    ----------
    frame : DataFrame
        A row a sample. Rows without a target are kept, and never scored.
    columns : Columns
        The declaration's ``data.columns``.
    """

    frame: pd.DataFrame
    columns: Columns

    def __post_init__(self) -> None:
        named = (getattr(self.columns, part) for part in _PARTS)
        missing = [
            name for name in (*named, *self.columns.features) if name is not None and name not in self.frame
        ]
        if missing:
            raise DataError(
                f"the data must have the columns {', '.join(missing)}, got {', '.join(map(str, self.frame))}"
            )
        if self.frame.empty:
            raise DataError("the data must hold at least one sample, got none")

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def target(self) -> np.ndarray:
        """The truth, float64, NaN where it is missing."""
        return self.numbers(self.columns.target)

    @cached_property
    def time(self) -> np.ndarray | None:
        """Times as datetime64[us], cftime objects or numbers; None if no column holds them."""
        return (
            None if self.columns.time is None else as_times(self.frame[self.columns.time], self.columns.time)
        )

    @cached_property
    def place(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Latitude and longitude in degrees; None if no columns hold them."""
        if self.columns.lat is None or self.columns.lon is None:
            return None
        return self.numbers(self.columns.lat), self.numbers(self.columns.lon)

    @cached_property
    def group(self) -> np.ndarray | None:
        """The label of each sample's group; None if no column holds it."""
        return None if self.columns.group is None else self.frame[self.columns.group].to_numpy().astype(str)

    @cached_property
    def weight(self) -> np.ndarray:
        """What each sample counts: the column named, else the cell's area on a grid, else 1."""
        name = self.columns.weight or (AREA if AREA in self.frame else None)
        weight = np.ones(len(self)) if name is None else self.numbers(name)
        if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
            raise DataError("weights must be finite, not negative and not all zero", where=name)
        return weight

    @cached_property
    def features(self) -> np.ndarray:
        """What a model may look at, float64, shape (sample, feature)."""
        names = self.columns.features
        return np.stack([self.numbers(name) for name in names], axis=1) if names else np.empty((len(self), 0))

    def numbers(self, name: str) -> np.ndarray:
        """Return one column as float64.

        Raises
        ------
        DataError
            If it is not there or does not hold numbers.
        """
        if name not in self.frame:
            raise DataError(f"the data must have the column {name!r}, got {', '.join(map(str, self.frame))}")
        try:
            return self.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise DataError(f"a column must hold numbers, got {error}", where=name) from error

    def take(self, rows: np.ndarray) -> Table:
        """Return some of the samples, in the order given."""
        return Table(self.frame.iloc[rows].reset_index(drop=True), self.columns)

    def fingerprint(self) -> str:
        """Hash the columns that the declaration names; equal values agree whatever file they are in."""
        named = dict.fromkeys(name for part in _PARTS if (name := getattr(self.columns, part)) is not None)
        parts: list[Any] = []
        for name in dict.fromkeys((*named, *self.columns.features)):
            parts += [name, _plain_values(self.frame[name], is_time=name == self.columns.time)]
        return fingerprint(*parts)


def _plain_values(column: pd.Series, *, is_time: bool) -> np.ndarray | str:
    """Return a column in one type whatever it was read from: float64, or text."""
    if is_time:
        times = as_times(column, str(column.name))
        return "\n".join(map(str, times)) if times.dtype == object else times.astype(np.float64)
    values = column.to_numpy()
    return values.astype(np.float64) if values.dtype.kind in "biuf" else "\n".join(map(str, values))


_PARTS = ("target", "time", "lat", "lon", "group", "weight", "persistence", "split")


def hash_rows(frame: pd.DataFrame) -> np.ndarray:
    """Hash each row's values, so that equal rows have equal numbers."""
    plain = frame.copy()
    for name in plain.columns:
        if plain[name].dtype == object:  # cftime and mixed text
            plain[name] = plain[name].astype(str)
    return np.asarray(pd.util.hash_pandas_object(plain, index=False), dtype=np.uint64)


def as_times(column: pd.Series, where: str) -> np.ndarray:
    """Return a column as datetime64[us], as cftime objects, or as the numbers that it holds."""
    values = column.to_numpy()
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    if len(values) and hasattr(values[0], "calendar"):
        return np.asarray(values, dtype=object)
    try:
        return pd.to_datetime(column).to_numpy().astype("datetime64[us]")
    except (ValueError, TypeError) as error:
        raise DataError(f"times must be dates or numbers, got {error}", where=where) from error


def read_table(path: str | Path, columns: Columns) -> Table:
    """Read a file of samples.

    Parameters
    ----------
    path : str or path
        ``.csv``, ``.parquet`` (needs pyarrow), ``.nc`` or ``.zarr``. Fields
        become a row a cell, with the cell's area as weight, under the canonical names of `isopleth.io`.
    columns : Columns

    Raises
    ------
    DataError
        If the file is missing or broken, or a column is.
    """
    try:
        return Table(read_frame(path), columns)
    except DataError as error:
        raise DataError(error.what, where=error.where or path, hint=error.hint) from error


def read_frame(path: str | Path) -> pd.DataFrame:
    """Read a file of samples as rows, whatever is in it."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise DataError(f"a file of samples must end in {', '.join(SUFFIXES)}, got {path.name!r}")
    if not path.exists():
        raise DataError("the file must exist", where=path.absolute())
    if path.suffix in (".nc", ".zarr"):
        return _read_arrays(path)
    if path.suffix == ".parquet":
        require("pyarrow", install="appdriven[parquet]", purpose="read Parquet")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path, engine="pyarrow")
        # The basin "NA" is the North Atlantic, not a missing value.
        return pd.read_csv(path, keep_default_na=False, na_values=["", "nan", "NaN"], **_EXACT)
    except Exception as error:  # pandas trusts what Parquet files say of their columns
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"the table cannot be read: {reason}", where=path) from error


def _read_arrays(path: Path) -> pd.DataFrame:
    try:
        with _open_arrays(path) as ds:
            if all(field.ndim < 2 for field in ds.values()):
                return ds.to_dataframe().reset_index()
    except (OSError, ValueError, KeyError, TypeError):
        pass  # what is no plain dataset the core's reader explains
    from isopleth.io import open_fields

    return flatten(open_fields(path))


def _open_arrays(path: Path) -> xr.Dataset:
    if path.suffix == ".zarr":
        return xr.open_zarr(path, chunks=None, consolidated=False)
    return xr.open_dataset(path, engine="h5netcdf" if _is_hdf5(path) else "scipy")


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x89HDF"


def flatten(fields: xr.Dataset) -> pd.DataFrame:
    """Turn fields on (time, lat, lon) into a row a cell, with the area of the cell.

    Parameters
    ----------
    fields : Dataset
        As `isopleth.io.open_fields` gives it.
    """
    if {"lat", "lon"} <= set(fields.dims):
        area = Grid(fields["lat"].values, fields["lon"].values).cell_areas_km2
        fields = fields.assign({AREA: (("lat", "lon"), area)})
    return pd.DataFrame(fields.to_dataframe().reset_index())


def match_rows(table: Table, keys: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Find the row of the table that each row of another file is for, by the columns they share.

    Parameters
    ----------
    table : Table
    keys : DataFrame
        With the columns `names`; places may be rounded to a ten-thousandth of a degree, any convention of
        longitude.
    names : sequence of str

    Returns
    -------
    ndarray of int, shape (keys,)

    Raises
    ------
    DataError
        If a row is for no sample or for several, or the two files' times are of different calendars.
    """
    if table.columns.time in names:
        same_calendar(table.frame[table.columns.time], keys[table.columns.time])
    ours, theirs = (_key(frame, table.columns, names) for frame in (table.frame, keys))
    if ours.has_duplicates or theirs.has_duplicates:
        which = "data" if ours.has_duplicates else "predictions"
        raise DataError(f"rows must be told apart by {', '.join(names)}, got two alike in the {which}")
    rows = np.asarray(ours.get_indexer(theirs))
    if (rows < 0).any():
        first = keys[list(names)].iloc[int((rows < 0).argmax())].to_dict()
        raise DataError(
            f"every prediction must be for a sample of the data, got {int((rows < 0).sum())} that are not, "
            f"the first {first}"
        )
    return rows


def same_calendar(ours: pd.Series, theirs: pd.Series) -> None:
    """Refuse times of another calendar than the data's."""
    kinds = [_calendar(as_times(column, "time")) for column in (ours, theirs)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"predictions must be in the calendar of the data, {kinds[0]}, got {kinds[1]}",
            hint="isopleth.io.convert_calendar brings one to the other",
        )


def _calendar(times: np.ndarray) -> str:
    if times.dtype == object:
        return str(times[0].calendar)
    return "standard" if times.dtype.kind == "M" else "plain numbers"


def _key(frame: pd.DataFrame, columns: Columns, names: Sequence[str]) -> pd.MultiIndex:
    parts: list[Any] = []
    for name in names:
        values = frame[name]
        if name == columns.time:
            parts.append(as_times(values, name))
        elif name in (columns.lat, columns.lon):
            degrees = _as_degrees(values, name)
            degrees = wrap_longitude(degrees) if name == columns.lon else degrees
            parts.append(
                np.rint(degrees * 1e4).astype(np.int64) % 3_600_000
                if name == columns.lon
                else np.rint(degrees * 1e4).astype(np.int64)
            )
        else:
            parts.append(values.astype(str).to_numpy())
    return pd.MultiIndex.from_arrays(parts)


def _as_degrees(values: pd.Series, name: str) -> np.ndarray:
    try:
        degrees = values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"a column must hold numbers, got {error}", where=name) from error
    if not (np.abs(degrees) <= 360).all():
        raise DataError("a column of places must hold degrees, got some that are none", where=name)
    return degrees


def with_columns(table: Table, **values: np.ndarray) -> Table:
    """Return the table with columns added."""
    return replace(table, frame=table.frame.assign(**values))
