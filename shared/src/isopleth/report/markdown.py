"""A record as Markdown: what a README shows, so that no number in it is typed by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from isopleth.report.claims import name_verdict
from isopleth.report.notation import (
    choose_decimals,
    format_interval,
    format_number,
    format_percent,
    format_units,
    humanise,
    name_metric,
)
from isopleth.report.record import Claim, Evaluation, Score
from isopleth.report.scores import format_stratum, group

# What Markdown or the HTML within it would take for its own.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!])")


def markdown_table(
    evaluation: Evaluation, *, metrics: Iterable[str] | None = None, claims: bool = True
) -> str:
    """Write a record's claims and scores as Markdown tables.

    Parameters
    ----------
    evaluation : Evaluation
        The record, such as ``read_evaluation("packages/TOOL/evidence")``.
    metrics : iterable of str, optional
        Metrics to show; all by default, none for ``()``.
    claims : bool
        Whether to begin with the claims and their verdicts.

    Returns
    -------
    str
        Ends in one newline. Same record, same text.
    """
    wanted = None if metrics is None else set(metrics)
    scores = [score for score in evaluation.scores if wanted is None or score.metric in wanted]
    blocks = [_write_claims(evaluation.claims)] if claims and evaluation.claims else []
    blocks += [
        _write_scores(rows) for rows in group(scores, lambda score: (score.metric, score.better)).values()
    ]
    card = evaluation.data
    data = f"{card.kind.capitalize()} data: {card.name}; tested on {card.test}."
    run = f"{evaluation.tool} {evaluation.version}, on {evaluation.cost.device}."
    return "\n\n".join([*blocks, _escape(f"{data} {run}")]) + "\n"


def _write_claims(claims: Sequence[Claim]) -> str:
    rows = [
        [
            f"**{name_verdict(claim)}**",
            _escape(claim.claim),
            _write_difference(claim),
            _escape(claim.evidence),
        ]
        for claim in claims
    ]
    return _table(["verdict", "claim", "difference", "evidence"], "llrl", rows)


def _write_difference(claim: Claim) -> str:
    if claim.difference is None:
        return ""
    decimals = choose_decimals([claim.difference], [claim.interval])
    number, spread = format_number(claim.difference, decimals), format_interval(claim.interval, decimals)
    return " ".join(filter(None, (number, _escape(spread), _escape(format_units(claim.units)))))


def _write_scores(scores: Sequence[Score]) -> str:
    names = list(dict.fromkeys(name for score in scores for name in score.baselines))
    first = scores[0]
    title = f"{name_metric(first.metric)} ({first.better} is better)"
    head = [_escape(title), "model", *map(_escape, map(humanise, names)), *(["skill"] if names else []), "n"]
    by_variable = group(scores, lambda score: (score.variable, score.units))
    rows = [row for block in by_variable.values() for row in _write_rows(block, names)]
    return _table(head, "l" + "r" * (len(head) - 1), rows)


def _write_rows(scores: Sequence[Score], names: Sequence[str]) -> list[list[str]]:
    values = [value for score in scores for value in (score.model, *score.baselines.values())]
    decimals = choose_decimals(values, [score.interval for score in scores])
    return [_write_row(score, names, decimals) for score in scores]


def _write_row(score: Score, names: Sequence[str], decimals: int) -> list[str]:
    place = ", ".join(f"{humanise(key)} {format_stratum(value)}" for key, value in score.stratum.items())
    units = format_units(score.units)
    label = humanise(score.variable) + (f" ({units})" if units else "") + (f", {place}" if place else "")
    model = (
        f"{format_number(score.model, decimals)} {_escape(format_interval(score.interval, decimals))}".strip()
    )
    others = [_write_baseline(score, name, decimals) for name in names]
    skill = [] if not names else ["" if score.skill is None else format_percent(score.skill)]
    return [_escape(label), model, *others, *skill, f"{score.n:,}"]


def _write_baseline(score: Score, name: str, decimals: int) -> str:
    if name not in score.baselines:
        return ""
    text = format_number(score.baselines[name], decimals)
    return f"**{text}**" if name == score.best_baseline else text


def _table(head: Sequence[str], alignment: str, rows: Iterable[Sequence[str]]) -> str:
    rule = ["---:" if side == "r" else "---" for side in alignment]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _escape(text: str) -> str:
    """Write a text into one table cell: on one line, nothing in it taken for Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")
