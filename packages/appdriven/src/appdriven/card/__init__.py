"""The card of a model in its application: one page, one JSON, one Markdown, and no single score."""

from appdriven.card.markdown import render_markdown
from appdriven.card.page import render_page
from appdriven.card.record import (
    BudgetLine,
    Card,
    Comparison,
    Headline,
    load_card_schema,
    make_schema,
    read_card,
    write_card,
)

__all__ = [
    "BudgetLine",
    "Card",
    "Comparison",
    "Headline",
    "load_card_schema",
    "make_schema",
    "read_card",
    "render_markdown",
    "render_page",
    "write_card",
]
