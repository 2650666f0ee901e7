"""Scores by WeatherBench 2's definitions, gathered batch by batch: no forecast is kept."""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr

from archesweather.climatology import Climatology
from archesweather.contenders import Contender
from archesweather.states import Floats, Seconds, States, find_rows, has_rows
from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.verify import Interval, State, accumulate, block_bootstrap, combine, finalise, power_spectrum

_LOG = logging.getLogger(__name__)
_HOUR = 3600
# Of a single forecast, or of the mean of an ensemble.
SINGLE = ("rmse", "mae", "bias", "acc")
SEVERAL = ("crps", "ensemble_mean_rmse", "spread", "spread_skill_ratio")
BETTER: dict[str, Literal["lower", "higher"]] = {"acc": "higher"}
# Zonal spectra are averaged over the middle latitudes of both hemispheres, where the weather is.
_SPECTRUM_BAND = (30.0, 60.0)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is scored and when.

    Parameters
    ----------
    channels : tuple of str
    grid : Grid
    starts : array of int64
        Initial times. Scores are means over these at every lead: the convention of initial times.
    leads : tuple of int
        Hours.
    climatology : Climatology
        Of the training years; anomalies are taken from it.
    spectrum_leads : tuple of int
        Leads of which spectra are taken.
    """

    channels: tuple[str, ...]
    grid: Grid
    starts: Seconds
    leads: tuple[int, ...]
    climatology: Climatology
    spectrum_leads: tuple[int, ...] = ()

    @cached_property
    def weights(self) -> xr.DataArray:
        """Area weights of the rows."""
        return xr.DataArray(self.grid.weights, {"lat": self.grid.lat}, ("lat",))

    @cached_property
    def band(self) -> xr.DataArray:
        """Area weights of the rows whose spectra are averaged, 0 elsewhere; all rows if it has none."""
        low, high = _SPECTRUM_BAND
        inside = (abs(self.weights["lat"]) >= low) & (abs(self.weights["lat"]) <= high)
        return self.weights.where(inside, 0.0) if inside.any() else self.weights

    def name(self, values: Floats, starts: Seconds, lead: int) -> xr.DataArray:
        """Give ([member,] start, channel, lat, lon) its dimensions and coordinates, the lead too."""
        leading = ("member",) if values.ndim == 5 else ()
        coords = {"time": starts, "channel": list(self.channels), "lat": self.grid.lat, "lon": self.grid.lon}
        named = xr.DataArray(values, coords, (*leading, "time", "channel", "lat", "lon"))
        return named.expand_dims(lead=[lead]).transpose(*leading, "time", "lead", "channel", "lat", "lon")


@dataclass(frozen=True, eq=False)
class Tally:
    """What the scores of one contender are made of, for each initial time, lead and channel.

    Parameters
    ----------
    single : State
        RMSE, MAE, bias and ACC: of the only forecast, or of the ensemble's mean.
    several : State, optional
        The scores of an ensemble; a forecast without members is one of one member.
    spectrum : State, optional
        Zonal power by lead, channel and wave number: of the members, not of their mean.
    members : int
    """

    single: State
    several: State | None = None
    spectrum: State | None = None
    members: int = 1

    @property
    def leads(self) -> tuple[int, ...]:
        """Leads that were there, hours."""
        return tuple(int(lead) for lead in self.single.table["lead"].values)

    def values(self, metric: str) -> xr.DataArray:
        """Return a score over all initial times, by lead and channel; the root is taken last."""
        state = self._state(metric)
        if metric == "acc":
            return finalise(state, metric)[metric].mean("time")
        return finalise(replace(state, table=state.table.sum("time")), metric)[metric]

    def interval(self, metric: str, *, draws: int = 1000, seed: int = 0) -> Interval:
        """Return a score with its interval from a moving-block bootstrap over initial times."""
        if not self._can_resample:
            return _without_ends(self.values(metric))
        return block_bootstrap(self._state(metric), metric=metric, draws=draws, seed=seed)

    def difference(
        self, other: Tally, metric: str, *, relative: bool = False, draws: int = 1000, seed: int = 0
    ) -> Interval:
        """Return the difference of a score to another's on the same initial times, paired.

        Parameters
        ----------
        other : Tally
            The difference is taken at the leads that both have.
        metric : str
        relative : bool
            The skill, 1 - score / the other's, in place of the difference.
        draws, seed : int
            Of the bootstrap.
        """
        leads = [lead for lead in self.leads if lead in other.leads]
        compare = _skill if relative else operator.sub
        if not self._can_resample:
            return _without_ends(
                compare(self.values(metric).sel(lead=leads), other.values(metric).sel(lead=leads))
            )
        mine, theirs = (_at_leads(each._state(metric), leads) for each in (self, other))
        return block_bootstrap(mine, against=theirs, metric=metric, compare=compare, draws=draws, seed=seed)

    @property
    def _can_resample(self) -> bool:
        return self.single.table.sizes["time"] > 1

    def _state(self, metric: str) -> State:
        if metric in SINGLE:
            return self.single
        if self.several is None:
            raise DataError(f"a score must be one of {', '.join(SINGLE)} without members, got {metric}")
        return self.several


@dataclass(eq=False)
class Case:
    """A forecast to look at, kept as it passes: maps by contender (the mean of its members) and `truth`."""

    start: int
    lead: int
    channel: str
    fields: dict[str, Floats] = field(default_factory=dict)


def choose_leads(plan_hours: int, step_hours: int) -> tuple[int, ...]:
    """Return the leads up to a longest one, hours."""
    return tuple(range(step_hours, plan_hours + 1, step_hours))


def keep_verifiable(starts: Seconds, leads: Sequence[int], truth: States) -> Seconds:
    """Leave out initial times of which some valid time has no truth, so that all leads have the same ones.

    Raises
    ------
    DataError
        If none is left.
    """
    needed = np.array([0, *leads]) * _HOUR
    whole = has_rows(truth.axis, starts[:, None] + needed).all(axis=1)
    if not whole.any():
        find_rows(truth.axis, starts[:1, None] + needed, "the valid time of a forecast", truth.place)
    if not whole.all():
        _LOG.warning(
            "%d of %d initial times left out: %s has no truth at some of their valid times",
            int((~whole).sum()),
            len(starts),
            truth.place,
        )
    return starts[whole]


def verify(
    contenders: Mapping[str, Contender],
    plan: Plan,
    *,
    batch_size: int = 8,
    case: Case | None = None,
) -> tuple[dict[str, Tally], State | None]:
    """Score contenders side by side on the same initial times.

    A batch of initial times is in memory at one lead at a time, and sums of all: nothing grows with the test
    period but these.

    Parameters
    ----------
    contenders : mapping of str to Contender
    plan : Plan
    batch_size : int
        Initial times at once.
    case : Case, optional
        Filled on the way.

    Returns
    -------
    tallies : dict of str to Tally
    spectrum : State or None
        Of the truth of the first contender.
    """
    for contender in contenders.values():
        contender.check(plan.starts, plan.leads)
    gather = _Gatherer(plan, ensembles=any(each.members > 1 for each in contenders.values()), case=case)
    for first in range(0, len(plan.starts), batch_size):
        starts = plan.starts[first : first + batch_size]
        streams = {name: each.forecasts(starts, plan.leads) for name, each in contenders.items()}
        for lead in plan.leads:
            truths: dict[int, Floats] = {}
            for name, contender in contenders.items():
                key = id(contender.truth)
                if key not in truths:
                    truths[key] = _read_truth(contender.truth, starts, lead)
                values = next(streams[name])
                if values is not None:
                    gather.take(name, values, truths[key], starts, lead)
        _LOG.info("%d of %d initial times scored", first + len(starts), len(plan.starts))
    return gather.tallies(), gather.truth_spectrum()


class _Gatherer:
    """Sums as they come, by contender."""

    def __init__(self, plan: Plan, *, ensembles: bool, case: Case | None) -> None:
        self.plan, self.ensembles, self.case = plan, ensembles, case
        self.states: dict[tuple[str, str], list[State]] = {}
        self.members: dict[str, int] = {}
        self._first = ""

    def take(self, name: str, values: Floats, truth: Floats, starts: Seconds, lead: int) -> None:
        """Take in the forecasts of one contender at one lead, (member, start, channel, lat, lon)."""
        plan = self.plan
        self._first = self._first or name
        self.members[name] = len(values)
        observed = plan.name(truth, starts, lead)
        mean = values[0] if len(values) == 1 else values.mean(axis=0)
        climatology = plan.name(self._normal(starts, lead), starts, lead)
        averaging: dict[str, Any] = {"dims": ("lat", "lon"), "weights": plan.weights}
        single = accumulate(
            SINGLE, plan.name(mean, starts, lead), observed, climatology=climatology, **averaging
        )
        self._add(name, "single", single)
        if self.ensembles:
            members = plan.name(values, starts, lead)
            self._add(name, "several", accumulate(SEVERAL, members, observed, **averaging))
        if lead in plan.spectrum_leads:
            self._add(name, "spectrum", _spectrum(plan.name(values, starts, lead), plan))
            if name == self._first:
                self._add("truth", "spectrum", _spectrum(observed, plan))
        self._keep_case(name, mean, truth, starts, lead)

    def tallies(self) -> dict[str, Tally]:
        """Return what was gathered."""
        names = dict.fromkeys(name for name, kind in self.states if kind == "single")
        tallies: dict[str, Tally] = {}
        for name in names:
            kinds = [kind for owner, kind in self.states if owner == name]
            states: dict[str, Any] = {kind: combine(self.states[name, kind]) for kind in kinds}
            tallies[name] = Tally(**states, members=self.members[name])
        return tallies

    def truth_spectrum(self) -> State | None:
        """Return the spectrum of the truth."""
        found = self.states.get(("truth", "spectrum"))
        return combine(found) if found else None

    def _add(self, name: str, kind: str, state: State) -> None:
        self.states.setdefault((name, kind), []).append(state)

    def _normal(self, starts: Seconds, lead: int) -> Floats:
        return self.plan.climatology.at(starts + _HOUR * lead)

    def _keep_case(self, name: str, mean: Floats, truth: Floats, starts: Seconds, lead: int) -> None:
        case = self.case
        if case is None or lead != case.lead or case.start not in starts:
            return
        place = (int(np.flatnonzero(starts == case.start)[0]), self.plan.channels.index(case.channel))
        case.fields[name] = mean[place]
        case.fields.setdefault("truth", truth[place])


def _spectrum(values: xr.DataArray, plan: Plan) -> State:
    """Sum zonal power over members, times and the middle latitudes."""
    power = power_spectrum(values)
    over = [dim for dim in ("member", "time", "lat") if dim in power.dims]
    return State.of({"power": power}, dims=over, weights=plan.band)


def _read_truth(truth: States, starts: Seconds, lead: int) -> Floats:
    rows = find_rows(truth.axis, starts + _HOUR * lead, "the valid time of a forecast", truth.place)
    return truth.read(rows)


def _at_leads(state: State, leads: Sequence[int]) -> State:
    return replace(state, table=state.table.sel(lead=list(leads)))


def _skill(score: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    return 1 - score / other.where(other > 0)


def _without_ends(value: xr.DataArray) -> Interval:
    """Return a score of one initial time, of which no interval can be known."""
    unknown = value.copy(data=np.full(value.shape, np.nan))
    return Interval(low=unknown, high=unknown, value=value, level=0.95, block=1)
