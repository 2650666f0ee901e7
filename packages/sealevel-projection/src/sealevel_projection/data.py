"""From a prepared dataset to rows: one a cell and a time, in millimetres, as departures from a reference."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.fields import decimal_years
from isopleth.sealevel import sources
from isopleth.sealevel.rows import Rows, build_rows
from sealevel_projection.config import InputConfig

Reference = Literal["mean", "line"]
MILLIMETRES = "mm"
_MM = 1000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Archive:
    """Sea level of models and altimeter on one grid and one time axis, millimetres.

    Attributes
    ----------
    models : DataArray, dims (model, time, lat, lon)
        The forced response of each ensemble: the mean over its members.
    weather : DataArray, dims (model, time, lat, lon)
        One member of each ensemble, which has internal variability as the real ocean has; the forced response
        itself where members were not kept.
    altimeter : DataArray, dims (time, lat, lon)
        NaN at times that were not observed.
    forcing : tuple of str
        Of each model: ``"all"``, or the one that acts in it.
    observed_mean : DataArray, dims (time,), optional
        The altimeter's global mean.
    per_year : int
        Times a year.
    components : tuple of dict
        What each product contains, a row each; see `isopleth.sealevel.preparation.components_table`.
    """

    models: xr.DataArray
    weather: xr.DataArray
    altimeter: xr.DataArray
    forcing: tuple[str, ...]
    observed_mean: xr.DataArray | None = None
    per_year: int = 1
    components: tuple[dict[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all ensembles."""
        return tuple(map(str, self.models["model"].values))

    @property
    def fully_forced(self) -> tuple[str, ...]:
        """Names of the ensembles in which all forcings act."""
        return tuple(name for name, forcing in zip(self.names, self.forcing, strict=True) if forcing == "all")

    @property
    def sea(self) -> xr.DataArray:
        """Cells in which every ensemble has values at all times, (lat, lon)."""
        return self.models.notnull().all(("model", "time"))

    def choose(self, config: InputConfig) -> tuple[str, ...]:
        """Return the signals that a config asks for.

        Raises
        ------
        DataError
            If one of them is not in the dataset.
        """
        wanted = config.signals or self.names
        unknown = [name for name in wanted if name not in self.names]
        if unknown:
            raise DataError(f"signals must be among {', '.join(self.names)}, got {unknown[0]!r}")
        return tuple(wanted)

    def observed_years(self) -> tuple[int, int]:
        """Return the first and the last year in which the altimeter has values."""
        seen = self.altimeter.notnull().any(("lat", "lon")).values
        years = self.altimeter["time"].dt.year.values[seen]
        if not len(years):
            raise DataError("the altimeter must have values in the years of the models, got none")
        return int(years.min()), int(years.max())

    def check_years(self, first: int, last: int, until: int) -> None:
        """Raise `DataError` unless models reach from `first` to `until` and the altimeter to `last`."""
        years = self.models["time"].dt.year.values
        if years.min() > first or years.max() < until:
            raise DataError(f"models must cover {first} to {until}, got {years.min()} to {years.max()}")
        begin, end = self.observed_years()
        if begin > first or end < last:
            raise DataError(f"the altimeter must cover {first} to {last}, got {begin} to {end}")

    def depart(self, first: int, last: int, reference: Reference) -> Archive:
        """Give models and altimeter as departures from their references over some years."""

        def take(field: xr.DataArray) -> xr.DataArray:
            return field - extend_reference(field, first, last, reference)

        return replace(
            self, models=take(self.models), weather=take(self.weather), altimeter=take(self.altimeter)
        )


def select_years(field: xr.DataArray, first: int, last: int) -> xr.DataArray:
    """Return the times of whole years, both included."""
    year = field["time"].dt.year.values
    return field.isel(time=np.flatnonzero((year >= first) & (year <= last)))


def extend_reference(field: xr.DataArray, first: int, last: int, reference: Reference) -> xr.DataArray:
    r"""Fit each cell's mean, or straight line, over some years, and give it at all times of the field.

    .. math:: \bar y + b\,(t - \bar t), \qquad b = \frac{\sum (t - \bar t)\, y}{\sum (t - \bar t)^2}
        \text{ or } 0

    Parameters
    ----------
    field : DataArray, dims (..., time, lat, lon)
    first, last : int
        Years that are fitted to, both included. A cell with a missing value in them becomes NaN.
    reference : {"mean", "line"}

    Returns
    -------
    DataArray
        As the field.
    """
    fitted = select_years(field, first, last)
    if fitted.sizes["time"] < 3:
        raise DataError(
            f"a reference needs three times at least, got {fitted.sizes['time']}", where=f"{first}-{last}"
        )
    level = fitted.mean("time", skipna=False)
    if reference == "mean":
        return level.broadcast_like(field)
    axis = xr.DataArray(decimal_years(fitted["time"].values), {"time": fitted["time"]}, ("time",))
    distance = axis - axis.mean()
    slope = (fitted * distance).sum("time", skipna=False) / (distance**2).sum()
    everywhere = xr.DataArray(decimal_years(field["time"].values), {"time": field["time"]}, ("time",))
    line = level + slope * (everywhere - axis.mean())
    return line.transpose(*field.dims)


def make_rows(
    models: xr.DataArray, target: xr.DataArray | None, segments: xr.DataArray | None = None
) -> Rows:
    """Make rows of some times of models, and of a target, that are departures already."""
    models = models.assign_attrs(units=MILLIMETRES)
    target = None if target is None else target.assign_attrs(units=MILLIMETRES)
    return build_rows(models, target, segments=segments)


def select_features(rows: Rows, names: tuple[str, ...]) -> Rows:
    """Give rows with some of their inputs, in the order asked for."""
    columns = [rows.features.index(name) for name in names]
    return replace(rows, inputs=rows.inputs[:, columns], features=tuple(names))


def network_inputs(rows: Rows, *, place: bool, season: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    r"""Return what a network sees of rows: their inputs, and if asked for where and when they are.

    Places enter as :math:`\sin\varphi, \sin\lambda, \cos\lambda`, months as sine and cosine of the phase of
    the year, so that neither the dateline nor New Year is an edge.

    Returns
    -------
    tuple
        Float32 of shape (n, feature), and the features' names.
    """
    columns, names = [rows.inputs], list(rows.features)
    if place:
        lat, lon = np.radians(rows.lat), np.radians(rows.lon)
        columns.append(np.stack([np.sin(lat), np.sin(lon), np.cos(lon)], axis=1))
        names += ["sin_lat", "sin_lon", "cos_lon"]
    if season:
        phase = 2.0 * np.pi * (rows.years % 1.0)
        columns.append(np.stack([np.sin(phase), np.cos(phase)], axis=1))
        names += ["sin_month", "cos_month"]
    return np.concatenate(columns, axis=1).astype(np.float32), tuple(names)


def share_outside(train: Rows, future: Rows) -> xr.DataArray:
    """Return how much of the ocean has inputs that no training row of its segment had: (time, feature).

    By area, for each time of the future rows and each input: the share outside the range from the least to
    the largest training value of the cell's segment. There a network of ReLUs goes on along straight lines,
    and a random forest stands still.
    """
    outside = np.zeros(future.inputs.shape, dtype=bool)
    for segment in np.unique(future.segment):
        own = train.inputs[train.segment == segment]
        here = future.segment == segment
        if len(own):
            values = future.inputs[here]
            outside[here] = (values < own.min(axis=0)) | (values > own.max(axis=0))
        else:
            outside[here] = True
    times = np.unique(future.step)
    total = np.bincount(future.step, future.weight)[times]
    shares = [np.bincount(future.step, future.weight * column)[times] / total for column in outside.T]
    coords = {"time": np.asarray(future.times)[times], "feature": list(future.features)}
    return xr.DataArray(
        np.stack(shares, axis=1), coords, ("time", "feature"), "share_outside", {"units": "1"}
    )


def open_prepared(path: str | Path, config: InputConfig) -> Archive:
    """Open what `prepare` wrote and bring it to millimetres, with the global mean as a config asks for.

    Raises
    ------
    DataError
        If it is not there, or not such a dataset.
    """
    with sources.open_prepared(path, "sealevel-projection") as prepared:
        return read_archive(prepared, config, where=path)


def read_archive(prepared: xr.Dataset, config: InputConfig, *, where: object = None) -> Archive:
    """Take an archive from a prepared dataset (see `isopleth.sealevel.preparation`)."""
    sources.check_prepared(prepared, where=where)
    height = _with_mean(prepared, "sea_surface_height", "model_global_mean", config)
    observed = _with_mean(prepared, "observed", "observed_global_mean", config)
    forced = height.mean("member") if "member" in height.dims else height
    weather = height.isel(member=0, drop=True) if "member" in height.dims else height
    dims = ("model", "time", "lat", "lon")
    return Archive(
        models=forced.transpose(*dims),
        weather=weather.transpose(*dims),
        altimeter=observed.transpose(*dims[1:]),
        forcing=tuple(map(str, prepared["forcing"].values)),
        observed_mean=prepared["observed_global_mean"].compute() * _MM,
        per_year=12 if prepared.attrs.get("frequency") == "month" else 1,
        components=tuple(json.loads(prepared.attrs.get("components", "[]"))),
    )


def _with_mean(prepared: xr.Dataset, name: str, mean: str, config: InputConfig) -> xr.DataArray:
    """Load a field in millimetres, its global mean put back or taken out if it is not as asked for."""
    field = prepared[name].compute().astype(np.float64) * _MM
    removed, keep = prepared.attrs.get("global_mean") == "removed", config.global_mean == "keep"
    if removed == (not keep):
        return field
    shift = prepared[mean].compute() * _MM
    return field + shift if keep else field - shift
