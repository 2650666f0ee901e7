"""From files to packed stores, and from those to arrays that flows and baselines learn from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climalign import __version__
from climalign.alignment import align_coarse, block_centres, to_regular, trim
from climalign.config import Period, PrepareConfig, SplitConfig
from isopleth.config import config_hash
from isopleth.data import PackedStore, open_store, pack
from isopleth.errors import ConfigError, DataError
from isopleth.io import Provenance, find_sources, open_fields, write_json

_RECORD = "prepared.json"
COARSE, FINE = "coarse", "fine"
DataKind = Literal["real", "simulated"]
# A file a year, not a file a day.
_SHARD_DAYS = 365
# One piece more on each side of the region: what interpolation needs at its edges.
_MARGIN = 1.5


@dataclass(frozen=True, eq=False)
class Fields:
    """One variable on one grid.

    Attributes
    ----------
    values : array of float32, shape (time, lat, lon)
        In `units`; NaN where missing.
    times : array of datetime64 or cftime, shape (time,)
    lat, lon : array
    units, variable : str
    """

    values: NDArray[np.float32]
    times: NDArray[Any]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    units: str
    variable: str

    @property
    def months(self) -> NDArray[np.int64]:
        """Calendar month of each day, 0 to 11."""
        return np.asarray(xr.DataArray(self.times, dims="time").dt.month.values - 1, dtype=np.int64)

    @classmethod
    def of(cls, field: xr.DataArray) -> Fields:
        """Take them from a canonical field."""
        field = field.transpose("time", "lat", "lon")
        return cls(
            np.asarray(field.values, dtype=np.float32),
            field["time"].values,
            field["lat"].values.astype(float),
            field["lon"].values.astype(float),
            str(field.attrs.get("units", "")),
            str(field.name),
        )

    def to_dataarray(self, values: NDArray | None = None) -> xr.DataArray:
        """Give these values, or others on the same days and grid, with coordinates and units."""
        return xr.DataArray(
            self.values if values is None else values,
            {"time": self.times, "lat": self.lat, "lon": self.lon},
            ("time", "lat", "lon"),
            name=self.variable,
            attrs={"units": self.units},
        )

    def block_means(self, factor: int) -> Fields:
        """Average the known cells of each block of factor x factor; NaN where there is none."""
        days, rows, columns = self.values.shape
        blocks = self.values.reshape(days, rows // factor, factor, columns // factor, factor)
        known = np.isfinite(blocks)
        count = known.sum((2, 4))
        total = np.where(known, blocks, 0).sum((2, 4), dtype=np.float64)
        means = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
        lat, lon = block_centres(self.lat, factor), block_centres(self.lon, factor)
        return Fields(means, self.times, lat, lon, self.units, self.variable)

    def select(self, chosen: NDArray[Any]) -> Fields:
        """Keep some days."""
        return Fields(self.values[chosen], self.times[chosen], self.lat, self.lon, self.units, self.variable)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Two packed stores on grids that nest, and whether nature or a program made what they hold."""

    coarse: PackedStore
    fine: PackedStore
    factor: int
    path: Path
    kind: DataKind

    def load(self, which: str, period: Period) -> Fields:
        """Load a period of `COARSE` or `FINE` in physical units.

        Raises
        ------
        DataError
            If it has no day in the store.
        """
        store = self.coarse if which == COARSE else self.fine
        dataset = store.dataset(period)
        if not dataset.sizes["time"]:
            first, last = store.times[0], store.times[-1]
            raise DataError(
                f"the period {period[0]} to {period[1]} must have days in the {which} fields, got "
                f"{first} to {last}",
                where=store.path,
            )
        return Fields.of(dataset[store.channels[0]])

    @property
    def common_days(self) -> NDArray[Any]:
        """Dates of the days that both have, as text, in order."""
        return np.intersect1d(name_days(self.coarse.times), name_days(self.fine.times))

    def load_pairs(self, period: Period) -> tuple[Fields, Fields]:
        """Load the days of a period that both have.

        Raises
        ------
        DataError
            If there is none.
        """
        coarse, fine = self.load(COARSE, period), self.load(FINE, period)
        stamps = name_days(coarse.times), name_days(fine.times)
        _, ours, theirs = np.intersect1d(*stamps, return_indices=True)
        if not len(ours):
            raise DataError(
                f"coarse and fine fields must have days in common in {period[0]} to {period[1]}, got none",
                hint="give a period that both cover",
            )
        return coarse.select(ours), fine.select(theirs)


def prepare_fields(config: PrepareConfig) -> dict[str, Any]:
    """Read, cut, align and pack: the verb ``prepare``."""
    names = [name.strip() for name in config.variable.split(",")]
    if len(names) > 2:
        raise ConfigError(f"variable must be one name, or coarse,fine, got {config.variable!r}")
    chunks = {"time": config.chunk_days}
    fine = open_fields(config.fine, variables=[names[-1]], region=config.region, chunks=chunks)
    fine = to_regular(fine, config.resolution)
    first = open_fields(find_sources(config.coarse)[0], variables=[names[0]])
    region = _widen(fine, config.factor, first)
    coarse = open_fields(config.coarse, variables=[names[0]], region=region, chunks=chunks)
    fine = trim(fine, config.factor, like=coarse)
    coarse = align_coarse(coarse, fine, config.factor, align=config.align)
    return pack_pair(coarse, fine, config)


def pack_pair(coarse: xr.Dataset, fine: xr.Dataset, config: PrepareConfig) -> dict[str, Any]:
    """Write aligned fields as two packed stores."""
    sides = {
        COARSE: (_daily(coarse, COARSE), config.train_coarse),
        FINE: (_daily(fine, FINE), config.train_fine),
    }
    for side, (dataset, period) in sides.items():
        _check_training(dataset, period, side)
    config.out.mkdir(parents=True, exist_ok=True)
    source = Provenance(
        tool="climalign",
        version=__version__,
        config_hash=config_hash(config),
        inputs=(str(config.coarse), str(config.fine)),
    )
    stores = {}
    for side, (dataset, period) in sides.items():
        stores[side] = pack(
            dataset,
            config.out / side,
            train_period=period,
            missing="mask",
            constant="one",
            steps_per_shard=_SHARD_DAYS,
            scheduler=config.scheduler,
            provenance=source,
        )
    record = {"schema": "climalign.prepared/1", "factor": config.factor, "data": config.data}
    write_json(config.out / _RECORD, record)
    return {
        "prepared": str(config.out),
        "factor": config.factor,
        **{f"{side}_shape": list(store.shape) for side, store in stores.items()},
        **{f"{side}_days": f"{store.times[0]} to {store.times[-1]}" for side, store in stores.items()},
    }


def open_prepared(path: str | Path) -> Prepared:
    """Open what `prepare` wrote.

    Raises
    ------
    DataError
        If it is not that, or its grids do not nest.
    """
    folder = Path(path)
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        factor, kind = int(record["factor"]), record["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"prepared fields must be a folder with {_RECORD}, got none that can be read",
            where=folder,
            hint="make one by climalign prepare",
        ) from error
    stores = open_store(folder / COARSE), open_store(folder / FINE)
    centres = [block_centres(np.asarray(axis), factor) for axis in (stores[1].grid.lat, stores[1].grid.lon)]
    own = stores[0].grid.lat, stores[0].grid.lon
    if any(len(a) != len(b) or not np.allclose(a, b, atol=1e-3) for a, b in zip(centres, own, strict=True)):
        raise DataError("coarse cells must be blocks of fine ones, got grids that do not nest", where=folder)
    return Prepared(stores[0], stores[1], factor, folder, kind)


def check_embargo(split: SplitConfig, prepared: Prepared) -> None:
    """Refuse training or validation days within the embargo of a test day.

    Raises
    ------
    ConfigError
        Names the period and the distance.
    """
    test = prepared.fine.axis.seconds[prepared.fine.axis.select(split.test)]
    test = test if len(test) else prepared.coarse.axis.seconds[prepared.coarse.axis.select(split.test)]
    if not len(test):
        return
    for name in ("train_coarse", "train_fine", "validate_coarse", "validate_fine"):
        axis = (prepared.coarse if name.endswith(COARSE) else prepared.fine).axis
        days = axis.seconds[axis.select(getattr(split, name))]
        inside = (days > test.min() - split.embargo_days * 86400) & (
            days < test.max() + split.embargo_days * 86400
        )
        if inside.any():
            raise ConfigError(
                f"{name} must keep {split.embargo_days} days from the test period, got "
                f"{int(inside.sum())} days nearer or within",
                hint="move the periods apart, or set split.embargo_days",
            )


def _widen(fine: xr.Dataset, factor: int, coarse: xr.Dataset) -> tuple[float, float, float, float]:
    """Give the edges of the fine grid and a margin of coarse cells, the files' or the blocks' if larger."""
    lat, lon = fine["lat"].values, fine["lon"].values
    steps = [
        _MARGIN * max(factor * _step(fine[dim].values, axis), _step(coarse[dim].values, axis))
        for axis, dim in enumerate(("lat", "lon"))
    ]
    south, north = max(lat.min() - steps[0], -90.0), min(lat.max() + steps[0], 90.0)
    return (float(south), float(north), float(lon.min() - steps[1]), float(lon.max() + steps[1]))


def _step(values: NDArray[np.float64], axis: int) -> float:
    """Give the usual distance of neighbours, on 1-D or 2-D coordinates."""
    steps = np.abs(np.diff(values, axis=axis if values.ndim == 2 else 0))
    return float(np.nanmedian(steps)) if steps.size else 1.0


def _daily(dataset: xr.Dataset, side: str) -> xr.Dataset:
    """Keep the one field over (time, lat, lon), each day once."""
    (name,) = list(dataset.data_vars)
    extra = [dim for dim in dataset[name].dims if dim not in ("time", "lat", "lon")]
    if extra or "time" not in dataset[name].dims:
        raise DataError(
            f"{name} must have the dimensions time, lat and lon, got "
            f"{', '.join(map(str, dataset[name].dims))}",
            where=f"the {side} fields",
        )
    days = name_days(dataset["time"].values)
    if len(np.unique(days)) < len(days):
        raise DataError(
            f"{name} must have one field a day, got {len(days)} on {len(np.unique(days))} days",
            where=f"the {side} fields",
            hint="take daily means, maxima or sums first",
        )
    return dataset[[name]].transpose("time", "lat", "lon")


def _check_training(dataset: xr.Dataset, period: Period, side: str) -> None:
    """Refuse a training period without days before hours go into the other side's store."""
    if not dataset.sel(time=slice(*period)).sizes["time"]:
        days = name_days(dataset["time"].values)
        raise DataError(
            f"the training period {period[0]} to {period[1]} must have days in the {side} fields, got "
            f"{days[0]} to {days[-1]}",
            hint=f"set --train_{side}",
        )


def name_days(times: NDArray[Any]) -> NDArray[Any]:
    """Give the date of each time stamp, without its hour: ends and middles of days are the same day."""
    if np.issubdtype(times.dtype, np.datetime64):
        return times.astype("datetime64[D]").astype(str)
    return np.array([f"{t.year:04d}-{t.month:02d}-{t.day:02d}" for t in times])
