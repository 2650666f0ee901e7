"""The card as Markdown, with the front matter that model hubs read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appdriven.application import list_unknowns
from appdriven.card.record import Card
from isopleth.config import to_yaml
from isopleth.report import DataCard, markdown_table

_USE = ("decision", "decided_by", "affected", "deployment_unit", "lead")


def render_markdown(card: Card) -> str:
    """Render a card as Markdown: ``README.md`` of a model repository.

    Parameters
    ----------
    card : Card
    """
    record, application = card.record, card.application
    head, unknown = card.headline, list_unknowns(dict(card.application))
    parts = [
        _front_matter(card),
        f"# {application.get('name', record.tool)}",
        record.task,
        f"**{head.sentence}**" if head else "**Compared with no baseline.**",
        *_section("What it is for", _lines(application.get("task", {}), _USE)),
        *_section("What it is not for", _lines(application.get("scope", {}), ("out_of_scope",))),
        *_section("Harms", _lines(application.get("harms", {}), ("description",))),
        *_section("Claims and scores", markdown_table(record)),
        *_section("Coherence", _coherence(card)),
        *_section("Data", _data(record.data)),
        *_section("Not known", "\n".join(f"- `{key}`: {reason}" for key, reason in unknown)),
        f"Made by appdriven {record.version}: `{record.provenance.command}`",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _front_matter(card: Card) -> str:
    record = card.record
    licence = card.application.get("data", {}).get("licence", "unknown")
    results = [
        {
            "task": {"type": "other", "name": str(card.application.get("name", record.tool))},
            "dataset": {"type": "other", "name": record.data.name},
            "metrics": [
                {
                    "type": score.metric,
                    "value": round(score.model, 6),
                    "name": f"{score.metric} ({score.units})",
                }
            ],
        }
        for score in record.scores
        if not score.stratum
    ]
    content: dict[str, Any] = {
        "tags": ["appdriven"],
        "datasets_licence": licence,
        "model-index": [{"name": str(card.application.get("name", record.tool)), "results": results}],
    }
    return f"---\n{to_yaml(content)}---"


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", text] if text else []


def _lines(table: dict[str, Any], keys: Sequence[str]) -> str:
    return "\n".join(f"- {key.replace('_', ' ')}: {_words(table[key])}" for key in keys if key in table)


def _words(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _data(data: DataCard) -> str:
    origin = f"{data.name} ({data.kind}), {data.source}."
    return f"{origin} Train: {data.train}. Test: {data.test}. `{data.fingerprint}`"


def _coherence(card: Card) -> str:
    if not card.violations:
        return f"{len(card.coherence)} checks, none violated." if card.coherence else ""
    return "\n".join(f"- **violated**: {check.name} ({check.finding})" for check in card.violations)
