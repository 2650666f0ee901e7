"""What an evaluation found: scores with intervals, claims, skill, before it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from archesweather.figures import mark_certain
from archesweather.states import units_of
from archesweather.verification import BETTER, SEVERAL, SINGLE, Case, Plan, Tally
from isopleth.report import Claim, Score
from isopleth.verify import State

HEADLINE = (
    "geopotential_500",
    "temperature_850",
    "specific_humidity_700",
    "u_component_of_wind_850",
    "v_component_of_wind_850",
    "2m_temperature",
    "mean_sea_level_pressure",
    "10m_u_component_of_wind",
    "10m_v_component_of_wind",
)
# Leads of which spectra and claims are taken, hours, as far as they are there.
TELLING_LEADS = (24, 72, 120, 240)
_RECORDED = ("rmse", "acc", "bias")
_RECORDED_OF_MEMBERS = ("ensemble_mean_rmse", "crps", "spread_skill_ratio", "acc", "bias")
# Scored beside every forecast.
BASELINES = ("persistence", "climatology")


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that was found out, before it is written down.

    Parameters
    ----------
    plan : Plan
    tallies : dict of str to Tally
        The `model` first, then baselines and others.
    truth_spectrum : State, optional
    case : Case
    stamps : ndarray
        Initial times as time stamps.
    draws, seed : int
        Of the bootstrap.
    """

    plan: Plan
    tallies: Mapping[str, Tally]
    truth_spectrum: State | None
    case: Case
    stamps: np.ndarray
    draws: int = 1000
    seed: int = 0

    @property
    def model(self) -> Tally:
        """What is evaluated."""
        return self.tallies["model"]

    @property
    def others(self) -> dict[str, Tally]:
        """Baselines and other forecasts."""
        return {name: tally for name, tally in self.tallies.items() if name != "model"}

    @property
    def error(self) -> str:
        """The name of the score that tells most: of the only forecast, or of the ensemble's mean."""
        return "rmse" if self.model.members == 1 else "ensemble_mean_rmse"

    def scores(self) -> list[Score]:
        """Return the record's rows, a metric after the other; what cannot be computed is left out."""
        recorded = _RECORDED if self.model.members == 1 else _RECORDED_OF_MEMBERS
        return [score for metric in recorded for score in self._scores_of(metric)]

    def _scores_of(self, metric: str) -> list[Score]:
        found = self.model.interval(metric, draws=self.draws, seed=self.seed)
        value, low, high = (xr.DataArray(each) for each in (found.value, found.low, found.high))
        others = {name: tally.values(metric) for name, tally in self.others.items()}
        scores = []
        for channel in self.plan.channels:
            for lead in self.model.leads:
                at = {"lead": lead, "channel": channel}
                if not np.isfinite(value.sel(at)):
                    continue
                ends = (float(low.sel(at)), float(high.sel(at)))
                baselines = {
                    name: float(each.sel(at)) for name, each in others.items() if lead in each["lead"].values
                }
                scores.append(
                    Score(
                        metric=metric,
                        variable=channel,
                        units="1" if metric in ("acc", "spread_skill_ratio") else units_of(channel),
                        better=BETTER.get(metric, "lower"),
                        stratum={"lead_hours": lead},
                        model=_plain(metric, float(value.sel(at))),
                        interval=_ends(metric, ends),
                        baselines={k: _plain(metric, v) for k, v in baselines.items() if np.isfinite(v)},
                        n=len(self.plan.starts),
                    )
                )
        return scores

    def claim(self, channel: str, lead: int, against: str, *, metric: str | None = None) -> Claim:
        """Judge whether the model errs less than another on the same initial times, by a paired interval."""
        metric = metric or self.error
        found = self.model.difference(self.tallies[against], metric, draws=self.draws, seed=self.seed)
        at = {"lead": lead, "channel": channel}
        low, high, value = (float(xr.DataArray(end).sel(at)) for end in (found.low, found.high, found.value))
        one = replace(found, low=low, high=high, value=value)
        return Claim.judge(
            f"At {lead} h the model errs less in {channel} than {against}",
            one,
            better=BETTER.get(metric, "lower"),
            units="1" if metric == "acc" else units_of(channel),
            evidence=f"difference of {metric}, paired moving-block bootstrap over "
            f"{len(self.plan.starts)} initial times",
        )

    def claims(self) -> list[Claim]:
        """Judge the first telling variable at telling leads against every other."""
        channel = self.telling_channel
        return [
            self.claim(channel, lead, name)
            for name, tally in self.others.items()
            for lead in TELLING_LEADS[:2]
            if lead in self.model.leads and lead in tally.leads
        ]

    @property
    def telling_channel(self) -> str:
        """The mid-level geopotential where there is one, else the first channel."""
        return next((name for name in HEADLINE if name in self.plan.channels), self.plan.channels[0])

    def skill(self, relative_to: str | None) -> tuple[xr.DataArray, xr.DataArray]:
        """Return the model's skill by channel and lead, and whether it is beyond chance.

        Relative to one of the others, or in each cell to the better of the baselines.
        """
        names = [relative_to] if relative_to else list(BASELINES)
        found = [
            self.model.difference(
                self.tallies[name], self.error, relative=True, draws=self.draws, seed=self.seed
            )
            for name in names
        ]
        skills = xr.concat([xr.DataArray(each.value) for each in found], "other", join="outer")
        certain = xr.concat([mark_certain(each).astype(float) for each in found], "other", join="outer")
        # The best of them is the one that the model's skill is least against.
        hardest = skills.fillna(np.inf).argmin("other")
        return skills.isel(other=hardest), certain.isel(other=hardest) > 0

    def table(self) -> xr.Dataset:
        """Return all scores of all contenders, (contender, lead, channel), and their spectra."""
        metrics: tuple[str, ...] = SINGLE
        if self.model.several is not None:
            metrics = (*SINGLE, *SEVERAL)
        names = xr.DataArray(list(self.tallies), dims="contender", name="contender")
        data = {
            metric: xr.concat([tally.values(metric) for tally in self.tallies.values()], names, join="outer")
            for metric in metrics
        }
        spectra = {name: tally.spectrum for name, tally in self.tallies.items() if tally.spectrum is not None}
        for name, state in {**spectra, "truth": self.truth_spectrum}.items():
            if state is not None:
                data[f"zonal_power_of_{name}"] = state.means["power"].rename(lead="spectrum_lead")
        table = xr.Dataset(data)
        table["lead"].attrs["units"] = "hours"
        table["units"] = ("channel", [units_of(name) for name in self.plan.channels])
        return table


def _plain(metric: str, value: float) -> float:
    """Return a bias as its size: nearer to zero is better, whatever its sign."""
    return abs(value) if metric == "bias" else value


def _ends(metric: str, ends: tuple[float, float]) -> tuple[float, float] | None:
    """Return an interval for the record; none where it is not known, or of a size that has no sign."""
    if metric == "bias" or not all(np.isfinite(ends)):
        return None
    return ends
