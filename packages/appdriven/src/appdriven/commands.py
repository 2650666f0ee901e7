"""What the verbs do, each in a few lines over the rooms that do it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from appdriven.application import Application, check_application, list_unknowns
from appdriven.assertion import assert_claim
from appdriven.card.record import Card, read_card, write_card
from appdriven.case import tested_samples
from appdriven.compare import compare_cards
from appdriven.config import (
    AssertConfig,
    CardConfig,
    CheckConfig,
    CompareConfig,
    EvaluateConfig,
    InitConfig,
    ReviewConfig,
    SplitConfig,
)
from appdriven.evaluation import audit_declared, describe_run, evaluate
from appdriven.grids import Grids, count_cells
from appdriven.predictions import Predictions, load_learner, predict_folds, read_predictions
from appdriven.review import review
from appdriven.runs import evaluate_run
from appdriven.splits import make_splits
from appdriven.stream import evaluate_grids
from appdriven.table import Table, read_table
from appdriven.template import render_template
from isopleth.errors import ConfigError, DataError
from isopleth.fields import Folds
from isopleth.io import write_json, write_text
from isopleth.report import Cost, Evaluation, measure_cost, write_evaluation


def run_init(config: InitConfig) -> dict[str, Any]:
    """Write a declaration with its questions; blanks are left for `check` to name."""
    if config.out.exists() and not config.force:
        raise ConfigError("out must not exist yet", where=config.out, hint="--force overwrites it")
    answers = dict(answer.split("=", 1) for answer in config.answers)
    ask = _ask if config.ask and sys.stdin.isatty() else None
    write_text(config.out, render_template(answers, ask=ask))
    return {"written": str(config.out), "open_questions": len(check_application(config.out))}


def _ask(key: str, question: str) -> str:
    sys.stderr.write(f"{question}\n  {key} = ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def run_check(config: CheckConfig) -> dict[str, Any]:
    """List what a declaration lacks; hold it against its data."""
    problems = check_application(config.application)
    if problems:
        more = "".join(f"; {problem}" for problem in problems[1:])
        raise ConfigError(f"{len(problems)} to mend: {problems[0]}{more}", where=config.application)
    application = Application.load(config.application)
    result: dict[str, Any] = {
        "application": application.name,
        "unknown": dict(list_unknowns(application.to_dict())),
    }
    if config.data is not None:
        found = read_table(config.data, application.columns).fingerprint()
        declared = str(application.data.fingerprint)
        if declared.startswith("sha256:") and declared != found:
            raise DataError(f"the data must have the fingerprint {declared}, got {found}", where=config.data)
        result["fingerprint"] = found
    return result


def run_split(config: SplitConfig) -> dict[str, Any]:
    """Split and audit; a leak is written down, and exits with 1."""
    application = Application.load(config.application)
    table = _read_data(config.data, application)
    folds = make_splits(application.splits, table)
    statistics = None if config.statistics is None else _read_json(config.statistics)
    audit = audit_declared(application, table, folds, window=config.window, statistics=statistics)
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "audit.json", audit.to_dict())
    write_text(config.out / "folds.csv", _list_folds(folds).to_csv(index=False))
    if audit.problems:
        raise DataError("; ".join(audit.problems), where=config.out / "audit.json")
    return {"folds": str(config.out / "folds.csv"), **audit.to_dict()}


def _list_folds(folds: Folds) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"row": getattr(fold, side), "fold": number, "side": side})
        for number, fold in enumerate(folds)
        for side in ("train", "test", "dropped")
    ]
    return pd.concat(parts, ignore_index=True)


def _read_data(path: Path | None, application: Application) -> Table:
    if path is None:
        raise ConfigError("data must be given, got none", hint="--data FILE")
    return read_table(path, application.columns)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"the file must be JSON, got {error}", where=path) from error


def run_evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate, write the card, and exit with 1 if its numbers contradict each other."""
    if config.tool is not None:
        made = evaluate_run(
            config.source,
            tool=None if config.tool == "any" else config.tool,
            samples=config.data,
            predictions=config.predictions,
            in_memory=config.in_memory,
        )
        folder = config.source if config.source.is_dir() else config.source.parent
        return _publish(made, config.out or folder)
    application = Application.load(config.source)
    out = config.out or Path("runs/card")
    made = _evaluate(config, application)
    out.mkdir(parents=True, exist_ok=True)
    write_evaluation(Evaluation.from_dict(made.evaluation), out / "evaluation.json")
    return _publish(made, out)


def _evaluate(config: EvaluateConfig, application: Application) -> Card:
    parts = {
        "source": config.source,
        "data": config.data,
        "predictions": config.predictions,
        "learner": config.learner,
    }
    command = describe_run(parts)
    if config.data is not None and count_cells(config.data) > config.in_memory:
        return _evaluate_grids(config, application, command)
    table = _read_data(config.data, application)
    folds = make_splits(application.splits, table)
    predictions, cost = _predict(config, table, folds)
    statistics = None if config.statistics is None else _read_json(config.statistics)
    return evaluate(
        application, table, predictions, folds=folds, statistics=statistics, cost=cost, command=command
    )


def _evaluate_grids(config: EvaluateConfig, application: Application, command: str) -> Card:
    if config.data is None or config.predictions is None or config.statistics is not None:
        raise ConfigError(
            f"fields of more than {config.in_memory} cells must come with predictions in a file, and without "
            "statistics",
            hint="--in_memory takes more cells at once",
        )
    grids = Grids.open(application, config.data, config.predictions)
    return evaluate_grids(application, grids, cost=_stated_cost(config), command=command)


def _stated_cost(config: EvaluateConfig) -> Cost:
    return replace(
        Cost.of(parameters=config.parameters),
        train_seconds=config.train_seconds,
        predict_seconds=config.predict_seconds,
        peak_memory_mb=config.memory_mb,
    )


def _predict(config: EvaluateConfig, table: Table, folds: Folds) -> tuple[Predictions, Cost]:
    if config.predictions is not None:
        return read_predictions(config.predictions, table, tested_samples(folds)), _stated_cost(config)
    if config.learner is None:
        raise ConfigError("predictions or learner must be given, got neither", hint="--predictions FILE")
    learner = load_learner(config.learner)
    with measure_cost() as meter:
        values = predict_folds(learner, table, folds)
    return Predictions(np.asarray(values)), Cost.of(train=meter)


def _publish(made: Card, out: Path) -> dict[str, Any]:
    files = write_card(made, out)
    if made.violations:
        first = made.violations[0]
        raise DataError(
            f"the numbers must not contradict each other, got {len(made.violations)} violations: "
            f"{first.name} "
            f"({first.finding})",
            where=files["html"],
        )
    head = made.headline
    return {
        "card": files["html"],
        "headline": head.sentence if head else "compared with no baseline",
        "claims": {claim.claim: claim.holds for claim in made.record.claims},
    }


def run_compare(config: CompareConfig) -> dict[str, Any]:
    """Compare two cards, and exit with 1 on a regression."""
    found = compare_cards(read_card(config.before), read_card(config.after), tolerance=config.tolerance)
    if found.problems:
        more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        raise DataError(f"regression: {found.problems[0]}{more}", where=config.after)
    return found.to_dict()


def run_card(config: CardConfig) -> dict[str, Any]:
    """Write a card's files anew."""
    folder = config.card if config.card.is_dir() else config.card.parent
    return dict(write_card(read_card(config.card), config.out or folder))


def run_review(config: ReviewConfig) -> dict[str, Any]:
    """Go through a checklist."""
    items = review(read_card(config.card), config.profile)
    counts = {
        status: sum(item.status == status for item in items) for status in ("verified", "stated", "missing")
    }
    return {**counts, **{item.text: f"{item.status}: {item.finding}" for item in items}}


def run_assert(config: AssertConfig) -> dict[str, Any]:
    """Decide an assertion, and exit with 1 if it is not so."""
    found = assert_claim(read_card(config.card), config.expression)
    if not found.holds:
        raise DataError(f"the assertion does not hold: {found.sentence}", where=config.card)
    return {"holds": True, "found": found.sentence}
