"""The verbs of ``conservation-decisions``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from conservation_decisions.config import (
    AllocateConfig,
    CheckConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    InterveneConfig,
    PlanConfig,
)
from isopleth.cli import Tool

tool = Tool(
    name="conservation-decisions",
    package="conservation_decisions",
    summary="Allocate, plan and intervene for conservation, and know how good the decision is.",
)


@tool.verb
def check(config: CheckConfig) -> dict[str, Any]:
    """Find what is wrong with a landscape and a problem, and why nothing can meet it."""
    from conservation_decisions.commands import check_source

    return check_source(config)


@tool.verb
def allocate(config: AllocateConfig) -> dict[str, Any]:
    """Choose the units to protect, exactly, and say how far from the best the choice may be."""
    from conservation_decisions.commands import allocate_source

    return allocate_source(config)


@tool.verb
def plan(config: PlanConfig) -> dict[str, Any]:
    """Route patrols or surveys, or place monitoring sites."""
    from conservation_decisions.commands import plan_source

    return plan_source(config)


@tool.verb
def intervene(config: InterveneConfig) -> dict[str, Any]:
    """Find what to do year after year, and write the policy down as a graph and as rules."""
    from conservation_decisions.commands import intervene_source

    return intervene_source(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Tell the regret of decisions on predictions that none of them has seen."""
    from conservation_decisions.commands import evaluate_source

    return evaluate_source(config)


@tool.verb
def import_marxan(config: ImportConfig) -> dict[str, Any]:
    """Read a Marxan folder (or rasters, or a vector file) into one landscape."""
    from conservation_decisions.commands import import_source

    return import_source(config)


@tool.verb
def export_marxan(config: ExportConfig) -> dict[str, Any]:
    """Write a landscape as a Marxan folder."""
    from conservation_decisions.commands import export_source

    return export_source(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Allocate, plan, intervene and evaluate on generated landscapes whose truth is known."""
    from conservation_decisions.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
