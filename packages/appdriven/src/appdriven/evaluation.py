"""From a declaration, data and predictions to a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from appdriven import __version__
from appdriven.application import Application
from appdriven.baselines import compute_baselines, series_labels
from appdriven.calibration import Calibration, measure_calibration
from appdriven.card.record import BudgetLine, Card, Worst
from appdriven.case import MODEL, Case
from appdriven.coherence import Check, check_summaries, summarise
from appdriven.comparison import compare_with_baselines, finite_ends, list_goals, make_claims, make_headline
from appdriven.decisions import Decision, happens, weigh_decision
from appdriven.metrics import MEASURES
from appdriven.predictions import Predictions
from appdriven.schema import Unknown
from appdriven.shift import Shift, measure_shift
from appdriven.splits import SplitAudit, audit_splits, make_splits
from appdriven.table import Table
from isopleth.config import config_hash
from isopleth.errors import DataError
from isopleth.fields import Folds
from isopleth.report import Cost, DataCard, Evaluation, Provenance, Score

# Truths beyond this quantile of the training are extreme.
_EXTREME = 0.95


def evaluate(
    application: Application,
    table: Table,
    predictions: Predictions,
    *,
    folds: Folds | None = None,
    audit: SplitAudit | None = None,
    baselines: Mapping[str, np.ndarray] | None = None,
    statistics: Mapping[str, Mapping[str, float]] | None = None,
    cost: Cost | None = None,
    command: str = "appdriven.evaluate",
    name: str | None = None,
) -> Card:
    """Evaluate predictions as their application asks.

    Parameters
    ----------
    application : Application
    table : Table
        Training and test samples.
    predictions : Predictions
        For the tested samples.
    folds, audit, baselines : optional
        If they were made before; by default as declared.
    statistics : mapping of str to {"mean", "std"}, optional
        By which features were scaled, to see that they are the training's.
    cost : Cost, optional
        What training and predicting took, to hold against the budget.
    command : str
        To find the result again.
    name : str, optional
        Of the model that is judged, for the record; the application's by default.

    Returns
    -------
    Card

    Raises
    ------
    ConfigError, DataError
        If what is declared cannot be done with these data, in one line.
    """
    folds = make_splits(application.splits, table) if folds is None else folds
    audit = audit_declared(application, table, folds, statistics=statistics) if audit is None else audit
    found = compute_baselines(application, table, folds) if baselines is None else dict(baselines)
    case = Case(application, table, folds, predictions, found)
    cost = cost or Cost.of()
    comparisons = compare_with_baselines(case)
    headline = make_headline(case, comparisons)
    scores = [score(case, goal.name) for goal in list_goals(application)]
    groups, worst = score_subgroups(case)
    record = Evaluation(
        tool="appdriven",
        version=__version__,
        task=application.task.summary,
        data=_describe_data(case),
        cost=cost,
        provenance=Provenance.collect(
            command,
            config_hash(application.to_dict()),
            application.uncertainty.seed,
            packages=["appdriven", "scikit-learn"],
        ),
        scores=(*scores, *groups, *score_extremes(case)),
        claims=make_claims(case, comparisons, name or application.name),
    )
    return Card(
        application=application.to_dict(),
        evaluation=record.to_dict(),
        headline=headline,
        comparisons=tuple(comparisons),
        worst=tuple(worst),
        calibration=_calibrate(case),
        decision=_decide(case),
        shift=_shift(case),
        audit=audit.to_dict(),
        coherence=tuple(check_case(case, audit)),
        budget=tuple(hold_against_budget(application, cost)),
    )


def score(
    case: Case,
    measure: str,
    part: np.ndarray | None = None,
    stratum: Mapping[str, str | float | bool] | None = None,
) -> Score:
    """Score the model and its baselines by one metric, on all samples or on a part of them.

    Raises
    ------
    DataError
        If the score of these samples does not exist, such as the hit rate of an event that never came.
    """
    chosen = MEASURES[measure]
    values = {name: case.value(name, measure, part) for name in case.all_methods}
    if not np.isfinite(values[MODEL]):
        raise DataError(
            f"{measure} must be finite, got {values[MODEL]} of {case.count(part)} independent samples"
        )
    interval = finite_ends(case.interval(measure, part=part)) if case.count(part) > 1 else None
    task = case.application.task
    return Score(
        metric=measure,
        variable=task.variable,
        units=chosen.units(task.units),
        better=chosen.better,
        model=values[MODEL],
        interval=interval,
        baselines={name: value for name, value in values.items() if name != MODEL and np.isfinite(value)},
        stratum=dict(stratum or {}),
        n=case.count(part),
    )


def score_subgroups(case: Case) -> tuple[list[Score], list[Worst]]:
    """Score each subgroup that is large enough by the primary metric, and name the worst of each column.

    Raises
    ------
    DataError
        If a column does not exist, or no subgroup of it is large enough.
    """
    wanted = case.application.subgroups
    if isinstance(wanted.columns, Unknown):
        return [], []
    measure, scores, worst = case.application.metrics.primary.name, [], []
    for column in wanted.columns:
        if column not in case.table.frame:
            raise DataError(f"subgroups.columns must be columns of the data, got {column!r}")
        labels = case.table.frame[column].astype(str).to_numpy()[case.rows]
        parts = {str(label): labels == label for label in np.unique(labels)}
        kept = {label: part for label, part in parts.items() if case.count(part) >= wanted.minimum}
        if not kept:
            largest = max(case.count(part) for part in parts.values())
            raise DataError(
                f"some subgroup of {column!r} must have {wanted.minimum} independent samples, got at most "
                f"{largest}",
                hint="subgroups.minimum sets how many",
            )
        found = [score(case, measure, part, {column: label}) for label, part in kept.items()]
        pick = max if MEASURES[measure].better == "lower" else min
        last = pick(found, key=lambda one: one.model)
        scores += found
        worst.append(
            Worst(metric=measure, column=column, group=str(last.stratum[column]), value=last.model,
                  overall=case.value(MODEL, measure))
        )  # fmt: skip
    return scores, worst


def score_extremes(case: Case) -> list[Score]:
    """Score what was extreme, and what was predicted to be: beyond the 95th percentile of the training truth.

    To look only at what came rewards a method that always cries wolf (Lerch et al. 2017, Stat. Sci. 32), so
    that what was predicted stands beside it.
    """
    training = np.unique(np.concatenate([fold.train for fold in case.folds]))
    known = case.table.target[training]
    limit = float(np.quantile(known[np.isfinite(known)], _EXTREME))
    parts = {
        f"truth from {limit:.3g}": case.truth >= limit,
        f"prediction from {limit:.3g}": case.method(MODEL) >= limit,
    }
    minimum = case.application.subgroups.minimum
    measure = "rmse"
    return [
        score(case, measure, part, {"tail": name})
        for name, part in parts.items()
        if part.any() and case.count(part) >= minimum
    ]


def _calibrate(case: Case) -> Calibration:
    said, event = case.predictions, case.application.harms.event
    interval = (
        None if said.lower is None or said.upper is None else (said.lower[case.rows], said.upper[case.rows])
    )
    return measure_calibration(
        case.truth,
        case.method(MODEL),
        case.weight,
        interval=interval,
        nominal=case.application.metrics.level,
        probability=None if said.probability is None else said.probability[case.rows],
        event=None if event is None else happens(case.truth, event),
    )


def _decide(case: Case) -> Decision | None:
    harms = case.application.harms
    if harms.event is None or isinstance(harms.costs, Unknown):
        return None
    chance = case.predictions.probability
    return weigh_decision(
        case.truth,
        {name: case.method(name) for name in case.all_methods},
        harms.event,
        harms.costs,
        weight=case.weight,
        probability=None if chance is None else chance[case.rows],
        units=case.application.task.units,
    )


def _shift(case: Case) -> Shift | None:
    """Measure the shift of the first fold, which stands for the others."""
    if not case.table.columns.features:
        return None
    fold = case.folds[0]
    rows = np.intersect1d(fold.test, case.rows)
    if rows.size < 20 or fold.train.size < 20:
        return None
    features, labels = case.table.features, series_labels(case.table)
    error = (case.predictions.value[rows] - case.table.target[rows]) ** 2
    return measure_shift(
        features[fold.train],
        features[rows],
        case.table.columns.features,
        blocks=(labels[fold.train], labels[rows]) if np.unique(labels).size > 20 else None,
        squared_error=error,
        seed=case.application.uncertainty.seed,
    )


def audit_declared(application: Application, table: Table, folds: Folds, **options: Any) -> SplitAudit:
    """Audit a split as declared.

    Groups must be whole unless time or place keeps the sides apart, and a forecast's window is its lead if no
    other is given.

    Parameters
    ----------
    application : Application
    table : Table
    folds : Folds
    **options
        ``window`` and ``statistics`` of `audit_splits`.
    """
    whole = application.splits.kind in ("group", "column", "random")
    options["window"] = options.get("window") or _lead(application, table)
    return audit_splits(folds, table, kind=folds.kind, groups_are_whole=whole, **options)


def _lead(application: Application, table: Table) -> str | float | None:
    """Return the lead in the unit of the table's times; None where either is not known."""
    lead = application.task.lead
    if isinstance(lead, Unknown) or table.time is None:
        return None
    if table.time.dtype.kind != "f":
        return 0.0 if lead == "0" else lead
    return float(lead) if lead.replace(".", "", 1).isdigit() else None


def check_case(case: Case, audit: SplitAudit) -> list[Check]:
    """Check that the numbers of a case can all be true, and that its split does not leak."""
    checks = check_summaries(case.summaries(), max_missing=case.application.constraints.max_missing)
    limits = case.application.task.range
    if not isinstance(limits, Unknown):
        for name, values in (("truth", case.truth), ("model", case.method(MODEL))):
            inside = float(((values >= limits[0]) & (values <= limits[1])).mean())
            finding = f"{name}: {1 - inside:.2%} outside [{limits[0]:g}, {limits[1]:g}]"
            # A model may overshoot a physical bound by rounding, the truth may not.
            checks.append(
                Check(
                    "Values lie in the declared range", inside >= (1.0 if name == "truth" else 0.999), finding
                )
            )
    even = bool(np.ptp(case.table.weight) == 0)
    checks.append(
        Check(
            "Weights are stated",
            passed=True,
            finding="all samples count alike" if even else "samples are weighed",
        )
    )
    leaks = audit.problems
    checks.append(Check("Training and test are apart", not leaks, "; ".join(leaks) or audit.kind))
    return summarise(checks)


def hold_against_budget(application: Application, cost: Cost) -> list[BudgetLine]:
    """Hold what was spent against what was allowed; 0 stands for what was not measured."""
    allowed = {
        "training (s)": (application.budget.train_seconds, cost.train_seconds),
        "prediction (s)": (application.budget.predict_seconds, cost.predict_seconds),
        "latency (s)": (application.constraints.latency_seconds, cost.predict_seconds),
        "parameters": (application.budget.parameters, float(cost.parameters)),
        "memory (MiB)": (application.constraints.memory_mb, cost.peak_memory_mb),
    }
    lines = []
    for name, (limit, spent) in allowed.items():
        most = None if isinstance(limit, Unknown) else limit
        used = spent or None
        within = None if most is None or used is None else used <= most
        lines.append(BudgetLine(name=name, allowed=most, spent=used, within=within))
    return lines


def _describe_data(case: Case) -> DataCard:
    data = case.application.data
    train = sum(fold.train.size for fold in case.folds)
    many = f" in {len(case.folds)} folds" if len(case.folds) > 1 else ""
    return DataCard(
        name=data.name,
        kind=data.kind,
        source=str(data.source),
        train=f"{train} samples{many}, {case.folds.kind}",
        test=f"{case.rows.size} samples, {case.count()} taken as independent",
        fingerprint=case.table.fingerprint(),
    )


def describe_run(parts: Mapping[str, Any]) -> str:
    """Write the command that repeats an evaluation."""
    import shlex

    words = ["appdriven", "evaluate", *(str(value) for value in [parts["source"]])]
    for name, value in parts.items():
        if name != "source" and value is not None:
            words += [f"--{name}", str(Path(value) if isinstance(value, Path) else value)]
    return shlex.join(words)
