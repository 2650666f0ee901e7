"""The paper's question: whether attention along columns beats local 3D windows at equal compute."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import xarray as xr

from archesweather.compute import count_flops
from archesweather.config import TrainConfig
from archesweather.outcome import Outcome
from archesweather.prepared import Prepared
from archesweather.states import units_of
from archesweather.train import build_model
from isopleth.report import Claim
from isopleth.report.figures import figure, save_figure
from isopleth.report.notation import humanise
from isopleth.report.style import PALETTE
from isopleth.verify import Interval, student_interval

COLUMNS, WINDOWS = "column attention", "local 3D windows"

_LOG = logging.getLogger(__name__)


def plan_pairs(
    plan: TrainConfig, prepared: Prepared, seeds: Sequence[int], out: Path
) -> list[dict[str, TrainConfig]]:
    """Plan two trainings for each seed: one of either kind, on the same samples, for the same arithmetic.

    Parameters
    ----------
    plan : TrainConfig
        Of the network with columns.
    prepared : Prepared
    seeds : sequence of int
    out : Path
        Each training gets a folder in it.

    Returns
    -------
    list of dict
        The plans of `COLUMNS` and `WINDOWS`. The second takes as many steps as cost what the first's cost, in
        counted operations.
    """
    windows = replace(plan, network=replace(plan.network, vertical="windows"))
    cost, other = (sum(count_flops(build_model(each, prepared).config).values()) for each in (plan, windows))
    steps = round(plan.fit.max_steps * cost / other)
    longer = replace(windows, fit=replace(windows.fit, max_steps=steps, validate_every=steps))
    _LOG.info(
        "%.4g GFLOP a sample and %d steps with columns, %.4g and %d with 3D windows",
        cost / 1e9,
        plan.fit.max_steps,
        other / 1e9,
        steps,
    )
    kinds = {COLUMNS: (plan, "columns"), WINDOWS: (longer, "windows")}
    return [
        {
            name: replace(kind, out=out / str(seed) / folder, runtime=replace(kind.runtime, seed=seed))
            for name, (kind, folder) in kinds.items()
        }
        for seed in seeds
    ]


def judge_pairs(outcomes: Sequence[Outcome], channel: str, lead: int) -> Claim:
    """Judge the paper's claim for one channel and lead.

    With one pair of networks the interval is that of a bootstrap over initial times. With several it is
    Student's for the mean difference over pairs, since what varies most is a network trained anew.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Of each pair: the model with columns, and `WINDOWS` among the others.
    channel : str
    lead : int
        Hours.
    """
    found = [pair_difference(outcome, channel, lead) for outcome in outcomes]
    times = len(outcomes[0].plan.starts)
    if len(found) == 1:
        interval = found[0]
        how = f"one pair of networks, bootstrap over {times} initial times: says nothing of other seeds"
    else:
        interval = student_interval([float(each.value) for each in found])
        how = f"mean of {len(found)} pairs, each of one seed, {times} initial times; Student's interval"
    return Claim.judge(
        f"Column attention errs less than local 3D windows at equal compute ({humanise(channel)}, {lead} h)",
        interval,
        better="lower",
        units=units_of(channel),
        evidence=f"difference of RMSE, {how}",
    )


def pair_difference(outcome: Outcome, channel: str, lead: int) -> Interval:
    """Return the RMSE of columns minus that of windows, paired by initial time."""
    found = outcome.model.difference(outcome.tallies[WINDOWS], "rmse", draws=outcome.draws, seed=outcome.seed)
    return pick(found, channel, lead)


def pick(interval: Interval, channel: str, lead: int) -> Interval:
    """Take one channel and lead out of an interval."""
    low, value, high = (
        float(xr.DataArray(each).sel(lead=lead, channel=channel))
        for each in (interval.low, interval.value, interval.high)
    )
    return replace(interval, low=low, value=value, high=high)


def draw_pairs(run_dir: Path, outcomes: Sequence[Outcome], channel: str) -> None:
    """Draw, by lead, how much the RMSE of columns is below that of windows, a line a pair."""
    with figure(height=3.0) as (fig, ax):
        for number, outcome in enumerate(outcomes):
            found = outcome.model.difference(
                outcome.tallies[WINDOWS], "rmse", relative=True, draws=outcome.draws
            )
            gain = 100 * xr.DataArray(found.value).sel(channel=channel)
            days = gain["lead"].values / 24
            ax.plot(days, gain.values, color=PALETTE[0], alpha=0.7, label="one pair" if number == 0 else None)
            if len(outcomes) == 1:
                low, high = (
                    100 * xr.DataArray(end).sel(channel=channel).values for end in (found.low, found.high)
                )
                ax.fill_between(days, low, high, color=PALETTE[0], alpha=0.2, linewidth=0)
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set_xlabel("lead (days)")
        ax.set_ylabel("gain in RMSE (%)")
        ax.legend()
        save_figure(
            fig,
            run_dir,
            "columns_against_windows",
            f"How much lower the RMSE of {humanise(channel)} is with column attention than with local 3D "
            "windows that cost the same arithmetic; above zero columns are better."
            + (" Band: 95 % over initial times." if len(outcomes) == 1 else ""),
        )
