"""A card of any tool's run: from its evaluation.json alone, or from its predictions where it left them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appdriven.application import Application
from appdriven.card.record import Card, Comparison, Headline, Verdict, Worst
from appdriven.case import tested_samples
from appdriven.coherence import check_evaluation
from appdriven.evaluation import evaluate, hold_against_budget
from appdriven.plugins import load_application
from appdriven.predictions import read_predictions
from appdriven.schema import Unknown
from appdriven.splits import make_splits
from appdriven.table import read_table
from isopleth.errors import ConfigError
from isopleth.report import Evaluation, Score, read_evaluation

_WHY = "unknown: the tool ships no application.toml"


def evaluate_run(run: str | Path, *, tool: str | None = None) -> Card:
    """Make the card of a run directory of any tool of the house.

    Where the tool's declaration names the samples and predictions that a run leaves behind, they are
    evaluated anew, with its baselines. Else the scores are the tool's own, and what can be checked in them is
    checked. What the tool does not declare stands as unknown, and as missing in the checklists.

    Parameters
    ----------
    run : str or path
        A folder with ``evaluation.json``, or that file.
    tool : str, optional
        The tool that the run must be of; its declaration is found by the entry point of this name.

    Raises
    ------
    ConfigError
        If the run is another tool's.
    DataError
        If the record cannot be read.
    """
    evaluation = read_evaluation(run)
    if tool is not None and evaluation.tool != tool:
        raise ConfigError(f"the run must be of {tool}, got one of {evaluation.tool}", where=run)
    application = load_application(evaluation.tool)
    if application is not None and (files := _find_files(Path(run), application)) is not None:
        return _evaluate_files(application, *files, evaluation)
    return Card(
        application=describe_tool(evaluation) if application is None else application.to_dict(),
        evaluation=evaluation.to_dict(),
        headline=_headline(evaluation, application),
        comparisons=tuple(_compare(evaluation)),
        worst=tuple(_find_worst(evaluation)),
        coherence=tuple(check_evaluation(evaluation, data_range=_span(application))),
        budget=() if application is None else tuple(hold_against_budget(application, evaluation.cost)),
    )


def _span(application: Application | None) -> float | None:
    """Return the width of the declared range, None where there is none."""
    if application is None or isinstance(application.task.range, Unknown):
        return None
    low, high = application.task.range
    return high - low


def _find_files(run: Path, application: Application) -> tuple[Path, Path] | None:
    """Find the samples and predictions that a declaration says a run leaves behind; None if it left none."""
    names = (application.data.samples, application.data.predictions)
    if not run.is_dir() or None in names:
        return None
    samples, predictions = (run / str(name) for name in names)
    return (samples, predictions) if samples.exists() and predictions.exists() else None


def _evaluate_files(application: Application, samples: Path, predictions: Path, record: Evaluation) -> Card:
    """Evaluate a run anew from its own predictions; what it cost stands in its record."""
    table = read_table(samples, application.data.columns)
    folds = make_splits(application.splits, table)
    said = read_predictions(predictions, table, tested_samples(folds))
    command = record.provenance.command
    return evaluate(
        application, table, said, folds=folds, cost=record.cost, command=command, name=record.tool
    )


def describe_tool(evaluation: Evaluation) -> dict[str, Any]:
    """Write as much of a declaration as a record says; the rest is unknown, and why."""
    baselines = list(dict.fromkeys(name for score in evaluation.scores for name in score.baselines))
    first = evaluation.scores[0] if evaluation.scores else None
    return {
        "name": evaluation.tool,
        "task": {"summary": evaluation.task, "decision": _WHY, "affected": _WHY, "deployment_unit": _WHY},
        "data": {
            "name": evaluation.data.name, "kind": evaluation.data.kind, "source": evaluation.data.source,
            "licence": _WHY, "fingerprint": evaluation.data.fingerprint,
        },
        "harms": {"description": _WHY, "costs": _WHY},
        "metrics": {"primary": {"name": first.metric if first else _WHY, "threshold": _WHY, "set_by": _WHY}},
        "baselines": {"domain": baselines or _WHY},
        "splits": {"reason": _WHY},
        "scope": {"out_of_scope": _WHY},
    }  # fmt: skip


def _headline(evaluation: Evaluation, application: Application | None) -> Headline | None:
    """Take the first score that has a baseline, of the declared primary metric if there is one."""
    wanted = None if application is None else application.metrics.primary.name
    scores = [score for score in evaluation.scores if score.baselines]
    first = next((score for score in scores if score.metric == wanted), scores[0] if scores else None)
    if first is None or first.best_baseline is None:
        return None
    verdicts: dict[bool | None, Verdict] = {True: "beats", False: "does not beat", None: "undecided"}
    verdict = verdicts[first.beats_baselines]
    gain = "" if first.skill is None else f" (skill {first.skill:+.1%})"
    place = ", ".join(f"{key} {value}" for key, value in first.stratum.items())
    sentence = (
        f"By its own interval of {first.metric} of {first.variable}{f' ({place})' if place else ''} the "
        "model "
        f"{'cannot be told from' if verdict == 'undecided' else verdict} {first.best_baseline}{gain}."
    )
    return Headline(
        metric=first.metric,
        baseline=first.best_baseline,
        verdict=verdict,
        sentence=sentence,
        skill=first.skill,
    )


def _compare(evaluation: Evaluation) -> list[Comparison]:
    """Compare where the record has intervals: the score's own, shifted by the baseline, which is too wide."""
    found = []
    for score in evaluation.scores:
        if score.stratum or score.interval is None:
            continue
        for name, value in score.baselines.items():
            ends = (score.interval[0] - value, score.interval[1] - value)
            found.append(
                Comparison(metric=score.metric, baseline=name, difference=score.model - value, interval=ends,
                           skill=_skill(score, value))
            )  # fmt: skip
    return found


def _skill(score: Score, baseline: float) -> float | None:
    if baseline <= 0:
        return None
    return 1 - score.model / baseline if score.better == "lower" else score.model / baseline - 1


def _find_worst(evaluation: Evaluation) -> list[Worst]:
    """Name the worst value of each stratum's key among scores that differ in that key alone."""
    families: dict[tuple[str, str, str, tuple[tuple[str, str], ...]], list[Score]] = {}
    for score in evaluation.scores:
        for key, value in score.stratum.items():
            if isinstance(value, str) and value != "all":
                others = tuple(
                    sorted((name, str(item)) for name, item in score.stratum.items() if name != key)
                )
                families.setdefault((score.metric, score.variable, key, others), []).append(score)
    worst = []
    for (metric, variable, column, _), scores in families.items():
        if len(scores) > 1:
            pick = max if scores[0].better == "lower" else min
            last = pick(scores, key=lambda one: one.model)
            mean = sum(one.model for one in scores) / len(scores)
            worst.append(
                Worst(metric=f"{metric} of {variable}", column=column, group=str(last.stratum[column]),
                      value=last.model, overall=mean)
            )  # fmt: skip
    return worst
