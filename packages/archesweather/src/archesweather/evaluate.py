"""Score forecasts by WeatherBench 2's protocol, and write it all down: the verb ``evaluate``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from archesweather import __version__
from archesweather.climatology import Climatology, fit_climatology, open_climatology
from archesweather.config import EvaluateConfig
from archesweather.contenders import (
    ClimatologicalForecast,
    Contender,
    Persistence,
    Rollout,
    StoredForecast,
)
from archesweather.figures import draw_by_lead, draw_case, draw_scorecard, draw_spectra
from archesweather.outcome import BASELINES, HEADLINE, TELLING_LEADS, Outcome
from archesweather.prepared import RECORD
from archesweather.states import (
    Seconds,
    States,
    check_same_grid,
    choose_starts,
    has_rows,
    offered_channels,
    open_states,
    stamp,
)
from archesweather.verification import (
    Case,
    Plan,
    choose_leads,
    keep_verifiable,
    verify,
)
from isopleth.config import config_hash
from isopleth.errors import ConfigError, DataError
from isopleth.io.write import Provenance as FileProvenance
from isopleth.io.write import write_netcdf
from isopleth.report import (
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    fingerprint,
    measure_cost,
    publish,
)

_FEWEST_HEADLINES = 3
TASK = "Forecast the state of the atmosphere up to {days:g} days ahead, scored by WeatherBench 2's protocol."


def evaluate_forecasts(config: EvaluateConfig) -> dict[str, Any]:
    """Score a model or a forecast store, write evaluation.json, scores.nc, figures and report.html."""
    config.runtime.apply()
    with measure_cost() as meter:
        outcome, parameters = _measure(config)
    shutil.rmtree(config.out / "figures", ignore_errors=True)  # of an earlier evaluation
    evaluation = Evaluation(
        tool="archesweather",
        version=__version__,
        task=TASK.format(days=max(outcome.plan.leads) / 24),
        data=describe_data(
            config.truth,
            outcome,
            train=f"{config.split.train[0]} to {config.split.train[1]}",
            others=config.rival_truths,
        ),
        scores=outcome.scores(),
        claims=outcome.claims(),
        cost=Cost.of(predict=meter, parameters=parameters),
        provenance=Provenance.collect(
            _command(config), config_hash(config), config.runtime.seed, packages=["archesweather"]
        ),
    )
    return publish_outcome(config.out, evaluation, outcome, relative_to=config.relative_to)


def compare_contenders(
    contenders: Mapping[str, Contender],
    truth: States,
    climatology: Climatology,
    starts: Seconds,
    leads: Sequence[int],
    *,
    batch_size: int = 8,
    draws: int = 1000,
    seed: int = 0,
) -> Outcome:
    """Score contenders, of which one is `model`, beside persistence and climatology.

    Parameters
    ----------
    contenders : mapping of str to Contender
    truth : States
        Of the scored channels: the baselines start from it and are scored against it.
    climatology : Climatology
        From the training years.
    starts : array of int64
        Initial times, seconds; those without truth at all leads are left out.
    leads : sequence of int
        Hours.
    batch_size : int
        Initial times at once.
    draws, seed : int
        Of the bootstrap.
    """
    starts = keep_verifiable(starts, leads, truth)
    telling = tuple(lead for lead in TELLING_LEADS if lead in leads) or tuple(leads[-1:])
    plan = Plan(
        channels=truth.channels,
        grid=truth.grid,
        starts=starts,
        leads=tuple(leads),
        climatology=climatology,
        spectrum_leads=telling if truth.grid.is_periodic else (),
    )
    everyone: dict[str, Contender] = {
        "model": contenders["model"],
        "persistence": Persistence(truth),
        "climatology": ClimatologicalForecast(truth, climatology),
        **contenders,
    }
    channel = next((name for name in HEADLINE if name in truth.channels), truth.channels[0])
    case = Case(int(starts[0]), telling[min(1, len(telling) - 1)], channel)
    tallies, spectrum = verify(everyone, plan, batch_size=batch_size, case=case)
    return Outcome(plan, tallies, spectrum, case, stamp(truth.axis, starts), draws, seed)


def publish_outcome(
    out: Path,
    evaluation: Evaluation,
    outcome: Outcome,
    *,
    relative_to: str | None = None,
    size: Literal["demo", "full"] | None = None,
) -> dict[str, Any]:
    """Write the record, the table of all scores, the figures and the report; sum it up in a few numbers."""
    out.mkdir(parents=True, exist_ok=True)
    draw_figures(out, outcome, evaluation.scores, relative_to)
    origin = FileProvenance("archesweather", __version__, evaluation.provenance.config_hash)
    write_netcdf(outcome.table(), out / "scores.nc", provenance=origin, dtype=None)
    channel, error = outcome.telling_channel, outcome.error
    return {
        **publish(out, evaluation, size=size),
        "initial_times": len(outcome.plan.starts),
        f"{error}_of_{channel}": {
            f"{lead} h": {
                name: round(float(tally.values(error).sel(lead=lead, channel=channel)), 4)
                for name, tally in outcome.tallies.items()
                if lead in tally.leads
            }
            for lead in TELLING_LEADS
            if lead in outcome.model.leads
        },
    }


def draw_figures(
    out: Path, outcome: Outcome, scores: Sequence[Score], relative_to: str | None = None
) -> None:
    """Draw all figures of an outcome into a run directory."""
    for metric in ("rmse", "ensemble_mean_rmse", "crps", "spread_skill_ratio", "acc"):
        draw_by_lead(out, scores, metric)
    skill, certain = outcome.skill(relative_to)
    reference = relative_to or f"the better of {' and '.join(BASELINES)} in each cell"
    draw_scorecard(out, skill, certain, outcome.error, reference)
    when = str(outcome.stamps[0]).replace("T", " ")[:16]
    if "model" in outcome.case.fields:
        draw_case(out, outcome.case, outcome.plan.grid, f"{when} UTC", "forecast")
    if outcome.truth_spectrum is not None:
        draw_spectra(out, outcome.tallies, outcome.truth_spectrum, outcome.telling_channel)


def describe_data(
    truth: str, outcome: Outcome, *, train: str, others: Mapping[str, str] | None = None
) -> DataCard:
    """Say what was scored against, and when."""
    stamps, plan = outcome.stamps, outcome.plan
    own = "".join(f"; {name} against {path}" for name, path in (others or {}).items())
    kind, source = kind_of(truth)
    return DataCard(
        name="Simulated atmosphere" if kind == "simulated" else Path(truth).name,
        kind=kind,
        source=f"{source}{own}",
        train=f"{train}, also for the climatology",
        test=f"{len(plan.starts)} initial times, {stamps[0]} to {stamps[-1]}, leads to {max(plan.leads)} h",
        fingerprint=fingerprint(source, plan.starts, np.array(plan.leads)),
    )


def kind_of(truth: str) -> tuple[Literal["real", "simulated"], str]:
    """Return whether nature or a program made the states, and from where they were prepared."""
    record = Path(truth) / RECORD
    source = json.loads(record.read_text(encoding="utf-8"))["source"] if record.is_file() else truth
    if source == "sample":
        return "simulated", "isopleth.samples.atmosphere: a global quasi-geostrophic model, no seasons"
    return "real", str(source)


def choose_channels(offered: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return what is scored: what is asked for, else the headline channels, else all.

    Raises
    ------
    ConfigError
        If something asked for is not there.
    """
    if unknown := [name for name in wanted if name not in offered]:
        raise ConfigError(
            f"variables must be among the channels that are forecast, got {', '.join(unknown)}",
            hint=f"there are {', '.join(offered[:12])}",
        )
    headline = tuple(name for name in HEADLINE if name in offered)
    return tuple(wanted) or (headline if len(headline) >= _FEWEST_HEADLINES else tuple(offered))


def _measure(config: EvaluateConfig) -> tuple[Outcome, int]:
    """Set the contenders up and score them; also return the parameters of the model."""
    model: Contender
    if config.forecast is None:
        model, truth, starts, leads, parameters = _open_model(config)
    else:
        model, truth, starts, leads = _open_forecast(config, config.forecast)
        parameters = 0
    contenders: dict[str, Contender] = {"model": model}
    for name, path in config.rivals.items():
        own = config.rival_truths.get(name)
        contenders[name] = _open_rival(path, truth, own)
    hours = sorted({int(hour) for lead in leads for hour in (starts // 3600 + lead) % 24})
    normal = config.climatology
    climatology = (
        open_climatology(normal.source, truth.channels, truth.grid)
        if normal.source
        else fit_climatology(truth, config.split.train, window_days=normal.window_days, hours=hours)
    )
    outcome = compare_contenders(
        contenders,
        truth,
        climatology,
        starts,
        leads,
        batch_size=config.batch_size,
        draws=config.draws,
        seed=config.runtime.seed,
    )
    return outcome, parameters


def _open_model(config: EvaluateConfig) -> tuple[Rollout, States, Seconds, tuple[int, ...], int]:
    from archesweather.initial import InitialStates
    from archesweather.predict import autocast_of, load_ensemble

    ensemble = load_ensemble(
        config.models,
        average=config.average,
        samples=config.members,
        sampling=config.sampling,
        runtime=config.runtime,
    )
    offered = ensemble.config.fields.channels
    truth = open_states(config.truth, choose_channels(offered, config.variables))
    source = InitialStates.of(open_states(config.truth, offered), ensemble)
    starts = source.find_all(config.split.test, config.every_hours)
    leads = choose_leads(config.lead_hours, ensemble.config.lead_hours)
    if not leads:
        raise ConfigError(
            f"lead_hours must be at least the model's step of {ensemble.config.lead_hours} h, "
            f"got {config.lead_hours}"
        )
    rollout = Rollout(truth, source, config.batch_size, config.runtime.seed, autocast_of(config.runtime))
    return rollout, truth, starts, leads, ensemble.parameters


def _open_forecast(
    config: EvaluateConfig, path: str
) -> tuple[StoredForecast, States, Seconds, tuple[int, ...]]:
    truth = open_states(config.truth, choose_channels(offered_channels(path), config.variables))
    stored = _open_stored(path, truth)
    starts = choose_starts(stored.axis, config.split.test, config.every_hours)
    leads = tuple(int(lead) for lead in stored.leads if 0 < lead <= config.lead_hours and lead == int(lead))
    if not leads:
        raise DataError(f"the forecast must have leads up to {config.lead_hours} h, got none", where=path)
    return stored, truth, starts[has_rows(truth.axis, starts)], leads


def _open_rival(path: str, truth: States, own_truth: str | None) -> StoredForecast:
    against = truth if own_truth is None else open_states(own_truth, truth.channels)
    check_same_grid(truth.grid, against.grid, "its truth", own_truth or path)
    return _open_stored(path, against)


def _open_stored(path: str, truth: States) -> StoredForecast:
    stored = StoredForecast.open(path, truth)
    check_same_grid(truth.grid, stored.grid, "a forecast", path)
    if stored.axis.calendar != truth.axis.calendar:
        raise DataError(
            f"a forecast must be in the calendar of the truth, {truth.axis.calendar}, "
            f"got {stored.axis.calendar}",
            where=path,
        )
    return stored


def _command(config: EvaluateConfig) -> list[str]:
    what = (
        ["--forecast", config.forecast]
        if config.forecast
        else ["--model", "[" + ",".join(config.models) + "]"]
    )
    rivals = [word for name, path in config.rivals.items() for word in ("--against", f"{name}={path}")]
    return ["archesweather", "evaluate", config.truth, *what, *rivals]
