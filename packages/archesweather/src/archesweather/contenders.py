"""What is scored: a model rolled out, a forecast store, and the baselines that they must beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import xarray as xr

from archesweather.climatology import Climatology
from archesweather.states import (
    Floats,
    Seconds,
    States,
    check_channels,
    find_rows,
    split_channel,
    stack_channels,
)
from isopleth.data.times import TimeAxis
from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.io import open_fields

if TYPE_CHECKING:
    import torch

    from archesweather.initial import InitialStates

_HOUR = 3600


class Contender(Protocol):
    """Something that forecasts."""

    @property
    def truth(self) -> States:
        """What it is scored against."""

    @property
    def members(self) -> int:
        """Size of its ensemble; 1 for a single forecast."""

    def check(self, starts: Seconds, leads: Sequence[int]) -> None:
        """Refuse, before anything is computed, initial times that are not there or have no truth."""

    def forecasts(self, starts: Seconds, leads: Sequence[int]) -> Iterator[Floats | None]:
        """Yield (member, start, channel, lat, lon) lead by lead (hours), None where there is none."""


@dataclass(frozen=True, eq=False)
class Persistence:
    """The initial state at every lead."""

    truth: States
    members: int = 1

    def check(self, starts: Seconds, leads: Sequence[int]) -> None:
        """Refuse initial times without truth."""
        check_truth(self.truth, starts, leads)

    def forecasts(self, starts: Seconds, leads: Sequence[int]) -> Iterator[Floats | None]:
        """Yield the initial states."""
        rows = find_rows(self.truth.axis, starts, "an initial time", self.truth.place)
        initial = self.truth.read(rows)[None]
        for _ in leads:
            yield initial


@dataclass(frozen=True, eq=False)
class ClimatologicalForecast:
    """The normal state of the valid time."""

    truth: States
    climatology: Climatology
    members: int = 1

    def check(self, starts: Seconds, leads: Sequence[int]) -> None:
        """Refuse initial times without truth."""
        check_truth(self.truth, starts, leads)

    def forecasts(self, starts: Seconds, leads: Sequence[int]) -> Iterator[Floats | None]:
        """Yield the normal states."""
        for lead in leads:
            yield self.climatology.at(starts + _HOUR * lead)[None]


@dataclass(frozen=True, eq=False)
class Rollout:
    """A model, rolled out while it is scored: nothing is written.

    Parameters
    ----------
    truth : States
        Of the scored channels.
    source : InitialStates
        What it starts from.
    batch_size : int
        States that pass the network together.
    seed : int
        Of samples.
    autocast : torch.dtype, optional
        Mixed precision.
    """

    truth: States
    source: InitialStates
    batch_size: int = 8
    seed: int = 0
    autocast: torch.dtype | None = None

    @property
    def members(self) -> int:
        """Size of its ensemble."""
        return self.source.ensemble.size

    def check(self, starts: Seconds, leads: Sequence[int]) -> None:
        """Refuse initial times without truth."""
        check_truth(self.truth, starts, leads)

    def forecasts(self, starts: Seconds, leads: Sequence[int]) -> Iterator[Floats | None]:
        """Yield each lead's states; those of the model's steps between leads are passed over."""
        from archesweather.predict import roll_out

        ensemble = self.source.ensemble
        step = ensemble.config.lead_hours
        columns = [ensemble.config.fields.channels.index(name) for name in self.truth.channels]
        wanted = {lead // step: lead for lead in leads}
        steps = roll_out(
            self.source,
            starts,
            max(wanted),
            batch_size=self.batch_size,
            seed=self.seed,
            autocast=self.autocast,
        )
        for number, values in enumerate(steps, 1):
            if number in wanted:
                yield values[:, :, columns]


@dataclass(frozen=True, eq=False)
class StoredForecast:
    """A forecast store, in WeatherBench 2's layout or any other that has initial times and leads.

    Parameters
    ----------
    truth : States
        Of the scored channels.
    dataset : xarray.Dataset
        Canonical, over ([member,] time, lead, [level,] lat, lon).
    place : str
        Where it came from, for messages.
    """

    truth: States
    dataset: xr.Dataset
    place: str

    @classmethod
    def open(cls, source: str, truth: States) -> StoredForecast:
        """Open a store, and refuse one that lacks a channel, is on another grid, or forecasts nothing."""
        variables = list(dict.fromkeys(split_channel(name)[0] for name in truth.channels))
        dataset = open_fields(source, variables=variables)
        missing = {"time", "lead"} - set(map(str, dataset.dims))
        if missing:
            raise DataError(
                f"a forecast must have initial times and leads, got no {' and no '.join(sorted(missing))}",
                where=source,
                hint="WeatherBench 2's names are time and prediction_timedelta",
            )
        check_channels(dataset, truth.channels, source)
        return cls(truth, dataset, source)

    @property
    def members(self) -> int:
        """Size of its ensemble."""
        return self.dataset.sizes.get("member", 1)

    @cached_property
    def axis(self) -> TimeAxis:
        """Initial times."""
        return TimeAxis.of(self.dataset["time"].values)

    @cached_property
    def grid(self) -> Grid:
        """Latitudes and longitudes."""
        return Grid.of(self.dataset)

    @cached_property
    def leads(self) -> list[float]:
        """Leads in hours."""
        return (self.dataset["lead"].values / np.timedelta64(1, "h")).tolist()

    def check(self, starts: Seconds, leads: Sequence[int]) -> None:
        """Refuse initial times that were not forecast, or have no truth."""
        find_rows(self.axis, starts, "an initial time", self.place)
        check_truth(self.truth, starts, [lead for lead in leads if lead in self.leads])

    def forecasts(self, starts: Seconds, leads: Sequence[int]) -> Iterator[Floats | None]:
        """Yield each lead's forecasts, read from the store."""
        rows = find_rows(self.axis, starts, "an initial time", self.place)
        for lead in leads:
            if lead not in self.leads:
                yield None
                continue
            part = self.dataset.isel(time=rows, lead=self.leads.index(lead))
            part = part if "member" in part.dims else part.expand_dims("member")
            yield stack_channels(part, self.truth.channels, ("member", "time"))


def check_truth(truth: States, starts: Seconds, leads: Sequence[int]) -> None:
    """Refuse valid times without truth.

    Raises
    ------
    DataError
        Names the first.
    """
    valid = starts[:, None] + _HOUR * np.asarray(leads, dtype=np.int64)
    find_rows(truth.axis, valid, "the valid time of a forecast", truth.place)
