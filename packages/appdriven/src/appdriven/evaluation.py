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
from appdriven.card.record import BudgetLine, Card
from appdriven.case import MODEL, Case
from appdriven.coherence import Check, check_summaries, summarise
from appdriven.comparison import compare_with_baselines, make_claims, make_headline
from appdriven.decisions import Decision, happens, weigh_decision
from appdriven.metrics import MEASURES
from appdriven.predictions import Predictions
from appdriven.schema import Unknown
from appdriven.scoring import score, score_extremes, score_subgroups
from appdriven.shift import Shift, measure_shift
from appdriven.splits import SplitAudit, audit_splits, make_splits
from appdriven.table import Table
from isopleth.config import config_hash
from isopleth.errors import ConfigError
from isopleth.fields import Folds
from isopleth.report import Cost, DataCard, Evaluation, Provenance


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
    if own := [goal.name for goal in application.goals if goal.is_own]:
        raise ConfigError(
            f"the metric must be one of {', '.join(MEASURES)} to be computed from predictions, got {own[0]}, "
            "which only a tool's own record has"
        )
    folds = make_splits(application.splits, table) if folds is None else folds
    audit = audit_declared(application, table, folds, statistics=statistics) if audit is None else audit
    found = compute_baselines(application, table, folds) if baselines is None else dict(baselines)
    case = Case(application, table, folds, predictions, found)
    return make_card(case, audit, cost=cost or Cost.of(), command=command, name=name)


def make_card(case: Case, audit: SplitAudit, *, cost: Cost, command: str, name: str | None = None) -> Card:
    """Make the card of a case: scores, claims, and all that is looked at besides.

    Parameters
    ----------
    case : Case
    audit : SplitAudit
    cost, command, name
        As for `evaluate`.
    """
    case.check_present()
    application = case.application
    comparisons = compare_with_baselines(case)
    headline = make_headline(case, comparisons)
    scores = [score(case, goal.name) for goal in application.goals]
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
        calibration=_calibrate(case.sample),
        decision=_decide(case.sample),
        shift=_shift(case.sample),
        audit=audit.to_dict(),
        coherence=tuple(check_case(case, audit)),
        budget=tuple(hold_against_budget(application, cost)),
    )


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
    options["window"] = options.get("window") or lead_of(application, table.time)
    return audit_splits(folds, table, kind=folds.kind, groups_are_whole=whole, **options)


def lead_of(application: Application, time: np.ndarray | None) -> str | float | None:
    """Return the lead in the unit of the times; None where either is not known."""
    lead = application.task.lead
    if isinstance(lead, Unknown) or time is None:
        return None
    if time.dtype.kind != "f":
        return 0.0 if lead == "0" else lead
    return float(lead) if lead.replace(".", "", 1).isdigit() else None


def check_case(case: Case, audit: SplitAudit) -> list[Check]:
    """Check that the numbers of a case can all be true, and that its split does not leak."""
    checks = check_summaries(case.summaries(), max_missing=case.application.constraints.max_missing)
    limits = case.application.task.range
    if not isinstance(limits, Unknown):
        for name, share in case.outside.items():
            finding = f"{name}: {share:.2%} outside [{limits[0]:g}, {limits[1]:g}]"
            # A model may overshoot a physical bound by rounding, the truth may not.
            most = 0.0 if name == "truth" else 0.001
            checks.append(Check("Values lie in the declared range", share <= most, finding))
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
    train, test = case.describe_sides()
    return DataCard(
        name=data.name,
        kind=data.kind,
        source=str(data.source),
        train=train,
        test=test,
        fingerprint=case.data_fingerprint,
    )


def describe_run(parts: Mapping[str, Any]) -> str:
    """Write the command that repeats an evaluation."""
    import shlex

    words = ["appdriven", "evaluate", *(str(value) for value in [parts["source"]])]
    for name, value in parts.items():
        if name != "source" and value is not None:
            words += [f"--{name}", str(Path(value) if isinstance(value, Path) else value)]
    return shlex.join(words)
