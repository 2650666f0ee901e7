"""The verbs of ``sample-tool``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from isopleth.cli import Tool
from sample_tool.config import DemoConfig, EvaluateConfig, PredictConfig, PrepareConfig, TrainConfig

tool = Tool(
    name="sample-tool",
    package="sample_tool",
    summary="Forecast the next frame of gridded fields from the present one.",
)


@tool.verb
def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Pack fields as frames to train and test on."""
    from sample_tool.data import prepare_store

    return prepare_store(config)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Train a network on prepared frames."""
    from sample_tool.train import train_model

    return train_model(config)


@tool.verb
def predict(config: PredictConfig) -> dict[str, Any]:
    """Forecast from the last frame of some fields."""
    from sample_tool.predict import predict_fields

    return predict_fields(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Score a network on the frames kept for testing, beside what needs no training."""
    from sample_tool.evaluate import evaluate_model

    return evaluate_model(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Simulate weather, train, forecast and score."""
    from sample_tool.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
