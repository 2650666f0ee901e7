"""The verbs of ``geostint``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from geostint.config import DemoConfig, EvaluateConfig, InterpolateConfig, PrepareConfig, TrainConfig
from isopleth.cli import Tool

tool = Tool(
    name="geostint",
    package="geostint",
    summary="Make the fields between fields, learned without seeing any (after STint, arXiv 2309.00059).",
)


@tool.verb
def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Pack fields as frames to train on, and say whether their steps allow it."""
    from geostint.data import prepare_store

    return prepare_store(config)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Train a network by dual cycle consistency: no truth between frames is needed."""
    from geostint.train import train_model

    return train_model(config)


@tool.verb
def interpolate(config: InterpolateConfig) -> dict[str, Any]:
    """Write the fields between fields, by a trained network or a method that needs no training."""
    from geostint.interpolate import interpolate_fields

    return interpolate_fields(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Withhold fields that are there and score how well they are made."""
    from geostint.evaluate import evaluate_model

    return evaluate_model(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Train and test on simulated weather, a tracer and real sea temperatures."""
    from geostint.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
