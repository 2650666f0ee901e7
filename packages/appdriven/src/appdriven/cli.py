"""The verbs of ``appdriven``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from appdriven.config import (
    AssertConfig,
    CardConfig,
    CheckConfig,
    CompareConfig,
    DemoConfig,
    EvaluateConfig,
    InitConfig,
    ReviewConfig,
    SplitConfig,
)
from isopleth.cli import Tool

tool = Tool(
    name="appdriven",
    package="appdriven",
    summary=(
        "Judge a model by what its application needs, inspired by Rolnick et al. (2024, arXiv 2403.17381)."
    ),
)


@tool.verb
def init(config: InitConfig) -> dict[str, Any]:
    """Write an application.toml to fill in, with every question."""
    from appdriven.commands import run_init

    return run_init(config)


@tool.verb
def check(config: CheckConfig) -> dict[str, Any]:
    """Explain what a declaration still lacks, and whether the data are those that it declares."""
    from appdriven.commands import run_check

    return run_check(config)


@tool.verb
def split(config: SplitConfig) -> dict[str, Any]:
    """Split data as declared, and audit the split for leaks."""
    from appdriven.commands import run_split

    return run_split(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate predictions as their application asks, or make the card of any tool's run."""
    from appdriven.commands import run_evaluate

    return run_evaluate(config)


@tool.verb
def compare(config: CompareConfig) -> dict[str, Any]:
    """Compare two cards; exit 1 if the second is a regression."""
    from appdriven.commands import run_compare

    return run_compare(config)


@tool.verb
def card(config: CardConfig) -> dict[str, Any]:
    """Write a card's page and Markdown anew from its JSON."""
    from appdriven.commands import run_card

    return run_card(config)


@tool.verb
def review(config: ReviewConfig) -> dict[str, Any]:
    """Go through a reviewer's checklist: verified, stated or missing."""
    from appdriven.commands import run_review

    return run_review(config)


@tool.verb
def assert_(config: AssertConfig) -> dict[str, Any]:
    """Exit 1 unless an expression about a card is true."""
    from appdriven.commands import run_assert

    return run_assert(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Show on real storms what random folds promise and later seasons deliver; then a card."""
    from appdriven.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
