"""A card of any tool's run: from its evaluation.json alone, or from its predictions where it left them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from appdriven.application import Application, Goal
from appdriven.card.record import Card, Comparison, Headline, Verdict, Worst
from appdriven.case import tested_samples
from appdriven.coherence import check_evaluation
from appdriven.config import IN_MEMORY
from appdriven.evaluation import evaluate, hold_against_budget
from appdriven.grids import Grids, count_cells
from appdriven.plugins import load_application
from appdriven.predictions import read_predictions
from appdriven.schema import Unknown
from appdriven.splits import make_splits
from appdriven.stream import evaluate_grids
from appdriven.table import read_table
from isopleth.errors import ConfigError
from isopleth.report import Claim, Evaluation, Score, read_evaluation
from isopleth.verify import Interval

_WHY = "unknown: the tool ships no application.toml"


def evaluate_run(
    run: str | Path,
    *,
    tool: str | None = None,
    samples: Path | None = None,
    predictions: Path | None = None,
    in_memory: int = IN_MEMORY,
) -> Card:
    """Make the card of a run directory of any tool of the house.

    Where samples and predictions are at hand, given here or named by the tool's declaration as what its runs
    leave behind, they are evaluated anew, with its baselines. Else the scores are the tool's own, and what
    can be checked in them is checked. What the tool does not declare stands as unknown, and as missing in the
    checklists.

    Parameters
    ----------
    run : str or path
        A folder with ``evaluation.json``, or that file.
    tool : str, optional
        The tool that the run must be of; its declaration is found by the entry point of this name.
    samples, predictions : path, optional
        Both or neither; in place of those that the declaration names.
    in_memory : int
        Fields of more cells than this are read some times at a time.

    Raises
    ------
    ConfigError
        If the run is another tool's, or files are given for a tool that declares nothing.
    DataError
        If the record cannot be read.
    """
    evaluation = read_evaluation(run)
    if tool is not None and evaluation.tool != tool:
        raise ConfigError(f"the run must be of {tool}, got one of {evaluation.tool}", where=run)
    application = load_application(evaluation.tool)
    if samples is not None or predictions is not None:
        if application is None or samples is None or predictions is None:
            raise ConfigError(
                "data and predictions must be given together, for a tool that ships application.toml, got "
                f"data {samples}, predictions {predictions} for {evaluation.tool}"
            )
        return _evaluate_files(application, samples, predictions, evaluation, in_memory)
    if application is not None and (files := _find_files(Path(run), application)) is not None:
        return _evaluate_files(application, *files, evaluation, in_memory)
    if application is not None:
        evaluation = replace(evaluation, claims=(*evaluation.claims, *_judge_goals(evaluation, application)))
    return Card(
        application=describe_tool(evaluation) if application is None else application.to_dict(),
        evaluation=evaluation.to_dict(),
        headline=_headline(evaluation, application),
        comparisons=tuple(_compare(evaluation)),
        worst=tuple(_find_worst(evaluation)),
        coherence=tuple(check_evaluation(evaluation, ranges=_ranges(application))),
        budget=() if application is None else tuple(hold_against_budget(application, evaluation.cost)),
    )


def _ranges(application: Application | None) -> dict[str, float]:
    """Return the data range behind the declared variable's PSNR, where that is asked for."""
    if application is None or isinstance(application.task.range, Unknown):
        return {}
    low, high = application.task.range
    asked = any(goal.name == "psnr" for goal in application.goals)
    return {application.task.variable: high - low} if asked else {}


def _find_files(run: Path, application: Application) -> tuple[Path, Path] | None:
    """Find the samples and predictions that a declaration says a run leaves behind; None if it left none."""
    names = (application.data.samples, application.data.predictions)
    if not run.is_dir() or None in names:
        return None
    samples, predictions = (run / str(name) for name in names)
    return (samples, predictions) if samples.exists() and predictions.exists() else None


def _evaluate_files(
    application: Application, samples: Path, predictions: Path, record: Evaluation, in_memory: int
) -> Card:
    """Evaluate a run anew from its own predictions; what it cost stands in its record."""
    if count_cells(samples) > in_memory:
        grids = Grids.open(application, samples, predictions)
        return evaluate_grids(
            application, grids, cost=record.cost, command=record.provenance.command, name=record.tool
        )
    table = read_table(samples, application.columns)
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


def find_score(evaluation: Evaluation, application: Application, goal: Goal) -> Score | None:
    """Find what a declaration asks for in a record: metric, variable and stratum; None if it is not there."""
    wanted = dict(goal.where or {})
    return next(
        (
            score
            for score in evaluation.scores
            if score.metric == goal.name
            and score.variable == application.task.variable
            and {key: score.stratum.get(key) for key in wanted} == wanted
        ),
        None,
    )


def _headline(evaluation: Evaluation, application: Application | None) -> Headline | None:
    """Take the score of the declared primary metric, or else the first that has a baseline."""
    goal = None if application is None else application.metrics.primary
    declared = None if application is None or goal is None else find_score(evaluation, application, goal)
    scores = [score for score in (declared, *evaluation.scores) if score is not None and score.baselines]
    if not scores or (best := scores[0].best_baseline) is None:
        return None
    first = scores[0]
    verdicts: dict[bool | None, Verdict] = {True: "beats", False: "does not beat", None: "undecided"}
    verdict = verdicts[first.beats_baselines]
    gain = "" if first.skill is None else f" (skill {first.skill:+.1%})"
    place = ", ".join(f"{key} {value}" for key, value in first.stratum.items())
    words = "cannot be told from" if verdict == "undecided" else verdict
    sentence = (
        f"By its own interval of {first.metric} of {first.variable}{f' ({place})' if place else ''} the "
        f"model {words} {best}{gain}."
    )
    if goal is not None and first is not declared:
        sentence += f" The declared metric, {goal.name}, is not in this run."
    return Headline(metric=first.metric, baseline=best, verdict=verdict, sentence=sentence, skill=first.skill)


def _judge_goals(evaluation: Evaluation, application: Application) -> list[Claim]:
    """Judge the thresholds of a declaration by the intervals that a record has."""
    claims = []
    for goal in application.goals:
        score = find_score(evaluation, application, goal)
        if isinstance(goal.threshold, Unknown) or score is None:
            continue
        low, high = score.interval or (float("nan"), float("nan"))
        gap = Interval(low - goal.threshold, high - goal.threshold, score.model - goal.threshold, 0.95, 1)
        claims.append(
            Claim.judge(
                f"{goal.name} is at {'most' if score.better == 'lower' else 'least'} {goal.threshold:g}, "
                f"as set by {goal.set_by}",
                gap,
                better=score.better,
                evidence=f"distance from the threshold, by the record's own interval over {score.n}",
                units=score.units,
            )
        )
    return claims


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
