"""How forecasts are laid out: as canonical datasets, and as WeatherBench 2's stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from archesweather.config import ModelConfig
from archesweather.states import Seconds, split_channel, stamp, units_of
from isopleth.data.times import TimeAxis
from isopleth.errors import ConfigError
from isopleth.io.provenance import COORDINATE_ATTRIBUTES

_CANONICAL = ("member", "time", "lead", "level", "lat", "lon")
# WeatherBench 2's names, and the order in which its stores have them.
WEATHERBENCH = {
    "time": "time",
    "lead": "prediction_timedelta",
    "member": "number",
    "level": "level",
    "lon": "longitude",
    "lat": "latitude",
}
_ATTRIBUTES: dict[str, dict[str, str]] = {
    **COORDINATE_ATTRIBUTES,
    "time": {
        "standard_name": "forecast_reference_time",
        "long_name": "initial time of the forecast",
        "axis": "T",
    },
}


@dataclass(frozen=True, eq=False)
class Frame:
    """The coordinates of forecasts.

    Parameters
    ----------
    channels : tuple of str
        The model's, in its order.
    variables : tuple of str
        What is kept of them.
    lat, lon : ndarray
        Degrees.
    starts : array of int64
        Initial times, seconds since 1970-01-01 in the calendar of `stamps`.
    stamps : ndarray
        The initial times as time stamps.
    steps, lead_hours, members : int
    calendar : str
    """

    channels: tuple[str, ...]
    variables: tuple[str, ...]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    starts: Seconds
    stamps: NDArray[Any]
    steps: int
    lead_hours: int
    members: int
    calendar: str

    @classmethod
    def of(
        cls,
        config: ModelConfig,
        axis: TimeAxis,
        starts: Seconds,
        steps: int,
        *,
        members: int = 1,
        variables: Sequence[str] = (),
    ) -> Frame:
        """Lay out a model's forecasts from initial times, seconds in the calendar of an axis."""
        known = (*config.fields.surface, *config.fields.upper)
        if unknown := [name for name in variables if name not in known]:
            raise ConfigError(f"variables must be among {', '.join(known)}, got {', '.join(unknown)}")
        if steps < 1:
            raise ConfigError(f"steps must be at least 1, got {steps}")
        return cls(
            channels=config.fields.channels,
            variables=tuple(name for name in known if not variables or name in variables),
            lat=np.array(config.lat),
            lon=np.array(config.lon),
            starts=starts,
            stamps=stamp(axis, starts),
            steps=steps,
            lead_hours=config.lead_hours,
            members=members,
            calendar=axis.calendar,
        )

    def part(self, steps: slice) -> Frame:
        """Return the frame of some of the initial times."""
        return replace(self, starts=self.starts[steps], stamps=self.stamps[steps])

    def empty(self) -> xr.Dataset:
        """Return the dataset to fill, canonical, with NaN."""
        return self._dataset(lambda shape: np.full(shape, np.nan, dtype=np.float32))

    def template(self, about: Mapping[str, str | int]) -> xr.Dataset:
        """Return the dataset to stream, canonical, without values, and what is to be said of it."""
        import dask.array

        dataset = self._dataset(lambda shape: dask.array.empty(shape, dtype=np.float32, chunks=-1))
        dataset.attrs = {"title": "ArchesWeather forecasts", "lead_hours": self.lead_hours, **about}
        return dataset if self.members > 1 else dataset.isel(member=0, drop=True)

    def levels(self, variable: str) -> list[float]:
        """Return the levels of a variable, none of a single-level one."""
        found = [split_channel(name) for name in self.channels]
        return [level for name, level in found if name == variable and level is not None]

    def fill(self, values: NDArray[np.float32], members: slice, step: int) -> xr.Dataset:
        """Return one step of some members, (member, start, channel, lat, lon), as variables."""
        fields = {}
        for name in self.variables:
            rows = [row for row, channel in enumerate(self.channels) if split_channel(channel)[0] == name]
            block = values[:, :, None, rows]
            array = xr.DataArray(block, dims=_CANONICAL)
            fields[name] = array if self.levels(name) else array.isel(level=0, drop=True)
        coords = {"member": np.arange(members.start, members.stop), "time": self.stamps}
        lead = np.array([self.lead_hours * (step + 1)], dtype="timedelta64[h]").astype("timedelta64[ns]")
        return xr.Dataset(fields, {**coords, "lead": lead})

    def _dataset(self, make: Any) -> xr.Dataset:
        leads = self.lead_hours * np.arange(1, self.steps + 1)
        all_levels = sorted({level for name in self.variables for level in self.levels(name)})
        whole = all(float(level).is_integer() for level in all_levels)
        coords: dict[str, Any] = {
            "member": np.arange(self.members),
            "time": self.stamps,
            "lead": leads.astype("timedelta64[h]").astype("timedelta64[ns]"),
            "level": np.array(all_levels, dtype=np.int64 if whole else np.float64),
            "lat": self.lat,
            "lon": self.lon,
        }
        fields = {}
        for name in self.variables:
            dims = _CANONICAL if self.levels(name) else tuple(dim for dim in _CANONICAL if dim != "level")
            attrs = {"units": units_of(name), "long_name": name.replace("_", " ")}
            fields[name] = (dims, make(tuple(len(coords[dim]) for dim in dims)), attrs)
        used = {dim for dims, _, _ in fields.values() for dim in dims}
        described = {dim: (dim, values, _ATTRIBUTES[dim]) for dim, values in coords.items() if dim in used}
        return xr.Dataset(fields, described)


def to_weatherbench(dataset: xr.Dataset) -> xr.Dataset:
    """Bring canonical forecasts into WeatherBench 2's names and order: longitude before latitude."""
    names = {name: new for name, new in WEATHERBENCH.items() if name in dataset.dims}
    return dataset.rename(names).transpose(*names.values())
