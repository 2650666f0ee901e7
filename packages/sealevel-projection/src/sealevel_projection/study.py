"""Put network and baselines through the tests: the hindcast, other models' futures, and a known one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr

from isopleth.sealevel.baselines import (
    EnsembleMean,
    GlobalMean,
    Learner,
    Persistence,
    RandomForest,
    Ridge,
    Scaling,
)
from isopleth.sealevel.protocol import (
    Coverage,
    Experiment,
    Outcome,
    Trial,
    measure_coverage,
    run_trials,
)
from isopleth.train.runtime import Runtime
from sealevel_projection.attribution import Importance, permutation_importance
from sealevel_projection.config import AttributionConfig, ProjectionConfig, SkillConfig
from sealevel_projection.data import Archive, extend_reference, make_rows, select_years
from sealevel_projection.experiments import (
    LAST_YEARS,
    cross_validation_rows,
    join_outcomes,
    plan_null,
    plan_second_half,
    plan_validation,
    to_trends,
)
from sealevel_projection.fitting import Fitted, fit_projection, make_learner
from sealevel_projection.intervals import residual_scale
from sealevel_projection.segments import Segments, divide_ocean
from sealevel_projection.train import Ready, Restricted

FUTURE, PERFECT, BACKTEST = "known future", "perfect model", "backtest"
NETWORK, RIDGE, FOREST = "network", "ridge", "random forest"
MEAN, PERSISTENCE, SCALING, NOTHING = (
    "ensemble mean", "persistence", "scaling by cell", "global mean everywhere",
)  # fmt: skip
# Experiments whose trends mean something, and in which a truth outlives the hindcast.
WITH_TRENDS = (FUTURE, PERFECT, BACKTEST)

_VARIANTS: tuple[tuple[Literal["none", "basins", "spectral"], str], ...] = (
    ("none", "network, one ocean"),
    ("basins", "network, basins"),
    ("spectral", "network, spectral"),
)
Outcomes = Mapping[str, Mapping[str, Outcome]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What was found on one archive.

    Attributes
    ----------
    outcomes : mapping of str to mapping of str to Outcome
        By learner, then by experiment: of values, mm.
    about : mapping of str to str
        What each experiment holds out.
    fitted : Fitted
    per_year : int
        Times a year.
    stability : float, optional
        Of the segments, see `isopleth.fields.region_stability`.
    importance : tuple of Importance
        Of each signal on the last years, for a network that did not see them.
    """

    outcomes: Outcomes
    about: Mapping[str, str]
    fitted: Fitted
    per_year: int
    stability: float | None
    importance: tuple[Importance, ...] = ()

    def trends(self, learner: str, experiment: str) -> Outcome:
        """Give an outcome as trends, mm/year."""
        return to_trends(self.outcomes[learner][experiment], per_year=self.per_year)


def make_baselines(archive: Archive, *, trees: int, seed: int = 0) -> list[Learner]:
    """List what the network must beat; a mean and its scaling see the fully forced ensembles alone."""
    forced = archive.fully_forced
    baselines: list[Learner] = [
        Restricted(EnsembleMean(name=MEAN), forced),
        Persistence(name=PERSISTENCE),
        Restricted(Scaling(by="cell", name=SCALING), forced),
        Ridge(name=RIDGE),
        GlobalMean(name=NOTHING),
    ]
    return [*baselines, RandomForest(trees=trees, leaf=50, seed=seed, name=FOREST)] if trees else baselines


def plan_future(
    archive: Archive, config: ProjectionConfig, fitted: Fitted, truth: xr.DataArray
) -> Experiment:
    """Plan the test that no real study can make: the projection against the sea level that came.

    Truth is taken from its own reference over the hindcast, as the altimeter is from its own.
    """
    period, reference = config.period, config.inputs.reference
    span = period.first_year, period.last_year
    departed = archive.depart(*span, reference)
    signals = list(archive.choose(config.inputs))
    known = truth - extend_reference(truth, *span, reference)
    later = period.last_year + 1, period.until
    test = make_rows(
        select_years(departed.models.sel(model=signals), *later),
        select_years(known, *later),
        fitted.segments.labels,
    )
    test = test.take(np.isin(test.cell, fitted.rows.cell))
    trial = Trial(name=FUTURE, train=fitted.rows, test=test)
    about = f"fitted to {span[0]}-{span[1]}, tested on {later[0]}-{later[1]}"
    return Experiment(name=FUTURE, trials=(trial,), about=about)


def run_study(
    archive: Archive,
    config: ProjectionConfig,
    test: SkillConfig,
    *,
    truth: xr.DataArray | None = None,
    attribution: AttributionConfig | None = None,
    runtime: Runtime | None = None,
) -> Study:
    """Train the projection, and test it and its baselines.

    Parameters
    ----------
    archive : Archive
    config : ProjectionConfig
    test : SkillConfig
    truth : DataArray, dims (time, lat, lon), optional
        The true sea level of all years, mm, where it is known.
    attribution : AttributionConfig, optional
        Of the permutation importance.
    runtime : Runtime, optional
    """
    fitted = fit_projection(archive, config, runtime=runtime)
    segments = fitted.segments
    rows = cross_validation_rows(archive, config, test, segments)
    plans = [*plan_validation(rows, config.period, test), plan_second_half(archive, config, segments)]
    nulls = plan_null(rows, config.period, test)
    plans += nulls
    main = (
        [fitted.perfect] if truth is None else [fitted.perfect, plan_future(archive, config, fitted, truth)]
    )
    outcomes = {NETWORK: _run_network(archive, config, fitted, plans, main, runtime)}
    for learner in make_baselines(archive, trees=test.trees):
        outcomes[learner.name] = run_trials(learner, _affordable(learner, [*plans, *main]))
    for name, other in other_segments(archive, config).items():
        variant = make_learner(archive, config, other, runtime=runtime)
        outcomes[name] = run_trials(replace(variant, name=name), main)
    stability = None
    if config.segments.method == "spectral":
        stability = divide_ocean(archive, config.segments, config.period, check_stability=True).stability
    about = {plan.name: plan.about for plan in [*plans, *main]}
    return Study(
        outcomes=outcomes,
        about=about,
        fitted=fitted,
        per_year=archive.per_year,
        stability=stability,
        importance=_find_importance(
            archive, config, fitted, plans, attribution or AttributionConfig(), runtime
        ),
    )


def _find_importance(
    archive: Archive,
    config: ProjectionConfig,
    fitted: Fitted,
    plans: Sequence[Experiment],
    attribution: AttributionConfig,
    runtime: Runtime | None,
) -> tuple[Importance, ...]:
    """Measure what each signal's information is worth in years that a network did not see."""
    (trial,) = next(plan for plan in plans if plan.name == LAST_YEARS).trials
    predictor = make_learner(archive, config, fitted.segments, runtime=runtime, ensemble=1).fit(trial.train)
    return tuple(
        permutation_importance(predictor.predict, trial.test, attribution, names=fitted.segments.names)
    )


def _run_network(
    archive: Archive,
    config: ProjectionConfig,
    fitted: Fitted,
    plans: Sequence[Experiment],
    main: Sequence[Experiment],
    runtime: Runtime | None,
) -> dict[str, Outcome]:
    """Test the trained ensemble where it applies; elsewhere one network a segment, all in one call."""
    single = make_learner(archive, config, fitted.segments, runtime=runtime, ensemble=1)
    found = run_trials(single, plans)
    found[PERFECT] = fitted.perfect_outcome
    future = [plan for plan in main if plan.name == FUTURE]
    return found | run_trials(Ready(NETWORK, fitted.predictor), future)


def _affordable(learner: Learner, plans: Sequence[Experiment]) -> list[Experiment]:
    """Spare a random forest the tests that need many fits; it is there for the future and for null tests."""
    if learner.name != FOREST:
        return list(plans)
    return [plan for plan in plans if len(plan.trials) == 1 or plan.name.startswith("null")]


def other_segments(archive: Archive, config: ProjectionConfig) -> dict[str, Segments]:
    """Make the partitions that a config did not choose, by the names of their networks."""
    found = {}
    for method, name in _VARIANTS:
        if method != config.segments.method:
            other = replace(config.segments, method=method, file=None)
            found[name] = divide_ocean(archive, other, config.period)
    return found


def join_studies(studies: Sequence[Study], learner: str, experiment: str, *, trends: bool) -> Outcome:
    """Put the outcomes of several worlds one after the other."""
    if trends:
        return join_outcomes([study.trends(learner, experiment) for study in studies])
    return join_outcomes([study.outcomes[learner][experiment] for study in studies])


def cover_values(study: Study, experiment: str = FUTURE) -> tuple[Outcome, np.ndarray]:
    """Return an outcome of values and the half-widths of its intervals."""
    outcome = study.outcomes[NETWORK][experiment]
    half = study.fitted.calibration.values[outcome.step] * residual_scale(study.fitted.rows)[outcome.cell]
    return outcome, half


def cover_trends(study: Study, experiment: str = FUTURE) -> tuple[Outcome, np.ndarray]:
    """Return an outcome of trends and the half-widths of its intervals."""
    outcome = study.trends(NETWORK, experiment)
    return outcome, study.fitted.calibration.trend * residual_scale(study.fitted.rows)[outcome.cell]


def measure(outcome: Outcome, half: np.ndarray, level: float) -> Coverage:
    """Measure the coverage of intervals that are as wide on both sides."""
    return measure_coverage(outcome, outcome.prediction - half, outcome.prediction + half, level=level)
