"""What the report shows: scores by lead, the scorecard, one forecast on maps, spectra."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from archesweather.states import Floats, units_of
from archesweather.verification import Case, Tally
from isopleth.grid import Grid
from isopleth.report import Score
from isopleth.report.figures import figure, label_quantity, line_with_interval, save_figure, score_by_lead
from isopleth.report.maps import plot_map
from isopleth.report.notation import format_units, humanise, name_metric
from isopleth.report.style import BLUE, DIVERGING, INK, PALETTE
from isopleth.verify import Interval, State

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = 6
_UNIT = re.compile(r"([A-Za-z%]+)(-?\d+)?")
# Power this far below the strongest wave is rounding.
_FLOOR = 1e-10
_SKILL_LIMIT = 0.5
_BLUE_IS_BETTER = DIVERGING.removesuffix("_r")


def draw_by_lead(run_dir: Path, scores: Sequence[Score], metric: str) -> None:
    """Draw a score of a few variables against the lead, a panel a variable."""
    chosen = [score for score in scores if score.metric == metric]
    variables = list(dict.fromkeys(score.variable for score in chosen))[:_PANELS]
    if not variables:
        return
    columns = min(2, len(variables))
    rows = -(-len(variables) // columns)
    with figure(rows, columns, height=2.8 * rows + 0.2, squeeze=False) as (fig, panels):
        for ax, variable in zip(panels.flat, variables, strict=False):
            score_by_lead(ax, [score for score in chosen if score.variable == variable])
            ax.set_title(humanise(variable), fontsize="small")
            ax.set_ylabel(label_quantity(name_metric(metric), chosen_units(chosen, variable)))
            ax.xaxis.get_major_locator().set_params(integer=True)
            if ax is not panels.flat[0]:
                ax.get_legend().remove()
            if metric != "acc":
                ax.set_ylim(bottom=0)
        for ax in panels.flat[len(variables) :]:
            ax.set_visible(False)
        save_figure(
            fig,
            run_dir,
            f"{metric}_by_lead",
            f"{name_metric(metric)} by lead time over {chosen[0].n} initial times, weighted by area. Band: "
            "95 % interval from a moving-block bootstrap over initial times.",
        )


def chosen_units(scores: Sequence[Score], variable: str) -> str:
    """Return the units of a variable's score."""
    return next(score.units for score in scores if score.variable == variable)


def draw_scorecard(
    run_dir: Path, skill: xr.DataArray, certain: xr.DataArray, metric: str, reference: str
) -> None:
    """Draw the skill relative to a reference, a row a variable and a column a lead.

    Parameters
    ----------
    skill : DataArray (channel, lead)
        1 - score / the reference's: above 0 where the model is better. NaN is left blank.
    certain : DataArray of bool (channel, lead)
        Whether the interval of the paired difference leaves zero out.
    metric, reference : str
        For the words.
    """
    skill, certain = skill.transpose("channel", "lead"), certain.transpose("channel", "lead")
    rows, columns = skill.shape
    limit = float(np.clip(np.nanmax(np.abs(skill.values), initial=0.05), 0.05, _SKILL_LIMIT))
    with figure(height=1.5 + 0.34 * rows) as (fig, ax):
        mesh = ax.pcolormesh(
            np.ma.masked_invalid(skill.values),
            cmap=_BLUE_IS_BETTER,
            vmin=-limit,
            vmax=limit,
            edgecolors="white",
            linewidth=1.0,
        )
        for row in range(rows):
            for column in range(columns):
                _write_cell(ax, row, column, float(skill[row, column]), bool(certain[row, column]), limit)
        ax.set_yticks(np.arange(rows) + 0.5, [humanise(str(name)) for name in skill["channel"].values])
        ax.set_xticks(np.arange(columns) + 0.5, [_in_days(lead) for lead in skill["lead"].values])
        ax.set(xlabel="lead (days)")
        ax.invert_yaxis()
        ax.grid(visible=False)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        bar = fig.colorbar(mesh, ax=ax, pad=0.02, extend="both" if limit == _SKILL_LIMIT else "neither")
        bar.set_label("skill (%)")
        bar.ax.yaxis.set_major_formatter(lambda value, _: _in_percent(value))
        bar.outline.set_visible(False)
        save_figure(
            fig,
            run_dir,
            "scorecard",
            f"Skill in {name_metric(metric)} relative to {reference}, per cent: 100 (1 \N{MINUS SIGN} "
            "model / reference); blue is better. Bold where the 95 % interval of the paired difference "
            "leaves zero out.",
        )


def draw_case(run_dir: Path, case: Case, grid: Grid, when: str, subject: str) -> None:
    """Draw one forecast beside what came, its error, and the error of persistence."""
    units, title = units_of(case.channel), humanise(case.channel)
    truth, shown = case.fields["truth"], case.fields["model"]
    panels: list[tuple[str, Floats, bool]] = [("truth", truth, False), (subject, shown, False)]
    panels.append((f"{subject} \N{MINUS SIGN} truth", shown - truth, True))
    if "persistence" in case.fields:
        panels.append(("persistence \N{MINUS SIGN} truth", case.fields["persistence"] - truth, True))
    reach = float(np.nanpercentile(np.abs(panels[-1][1]), 99)) or 1.0
    low, high = (float(end) for end in np.nanpercentile(truth, [1, 99]))
    with figure(2, 2, height=4.3, squeeze=False) as (fig, axes):
        for ax, (label, values, is_error) in zip(axes.flat, panels, strict=False):
            limits = (-reach, reach) if is_error else (low, high)
            name = "difference" if is_error else title
            plot_map(ax, values, grid, name=name, units=units, diverging=is_error, limits=limits)
            ax.set_title(label, fontsize="small")
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        save_figure(
            fig,
            run_dir,
            "case",
            f"{title[:1].upper()}{title[1:]}, {_days_ahead(case.lead)}, from {when}: what came, the "
            "forecast, its error, and the error of taking the initial state for it, in the same colours.",
            suffix="png",
        )


def draw_spectra(run_dir: Path, tallies: Mapping[str, Tally], truth: State, channel: str) -> None:
    """Draw the zonal power spectrum of the forecasts at a few leads beside the truth's."""
    of_model = tallies["model"].spectrum
    if of_model is None:
        return
    power = of_model.means["power"].sel(channel=channel)
    reference = truth.means["power"].sel(channel=channel).mean("lead")
    wave = reference["zonal_wavenumber"].values[1:]
    with figure(height=3.6) as (fig, ax):
        ax.loglog(wave, reference.values[1:], color=INK, label="truth")
        for number, lead in enumerate(power["lead"].values):
            color = [BLUE, *PALETTE[1:]][number % len(PALETTE)]
            values = power.sel(lead=lead).values[1:]
            line_with_interval(ax, wave, values, label=_days_ahead(lead), color=color, linewidth=1.4)
        ax.set_ylim(bottom=max(_FLOOR * float(reference.max()), 0.3 * float(reference.min())))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("zonal wave number")
        ax.set_ylabel(f"power of {humanise(channel)} ({_squared(units_of(channel))})")
        ax.legend()
        save_figure(
            fig,
            run_dir,
            "spectra",
            f"Zonal power spectrum of {humanise(channel)} between 30 and 60 degrees of both hemispheres: "
            "where a forecast lies below the truth, its waves are too weak, that is, it is blurred.",
        )


def mark_certain(difference: Interval) -> xr.DataArray:
    """Return where the interval of a difference leaves zero out."""
    low, high = xr.DataArray(difference.low), xr.DataArray(difference.high)
    return (low > 0) | (high < 0)


def _write_cell(ax: Axes, row: int, column: int, skill: float, certain: bool, limit: float) -> None:
    if not np.isfinite(skill):
        return
    ax.text(
        column + 0.5,
        row + 0.5,
        _in_percent(skill),
        ha="center",
        va="center",
        fontsize=8,
        fontweight="bold" if certain else "normal",
        color="white" if abs(skill) > 0.65 * limit else INK,
    )


def _in_percent(skill: float) -> str:
    number = round(100 * skill)
    return f"{number:+d}".replace("-", "\N{MINUS SIGN}") if number else "0"


def _in_days(lead: float) -> str:
    return f"{float(lead) / 24:g}"


def _days_ahead(lead: float) -> str:
    return f"{_in_days(lead)} day{'' if float(lead) == 24 else 's'} ahead"


def _squared(units: str) -> str:
    """Square units: ``m2 s-2`` becomes ``m4 s-4``."""
    parts = [_UNIT.fullmatch(part) for part in units.split()]
    if units == "1" or not all(parts):
        return units
    return format_units(" ".join(f"{part[1]}{2 * int(part[2] or 1)}" for part in parts if part))
