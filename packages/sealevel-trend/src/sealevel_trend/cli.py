"""The verbs of ``sealevel-trend``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from isopleth.cli import Tool
from sealevel_trend.config import DemoConfig, EvaluateConfig, PredictConfig, PrepareConfig, TrainConfig

tool = Tool(
    name="sealevel-trend",
    package="sealevel_trend",
    summary="Predict regional sea-level trends 30 years ahead, after Sinha et al. (2023, arXiv 2310.04540).",
)


@tool.verb
def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Bring ensembles and altimetry to one grid, one calendar and one coast."""
    from sealevel_trend.data import prepare_fields

    return prepare_fields(config)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Train networks on the past years, with intervals from held-out blocks of ocean."""
    from sealevel_trend.train import train_from_prepared

    return train_from_prepared(config)


@tool.verb
def predict(config: PredictConfig) -> dict[str, Any]:
    """Predict the trends of the future years, with intervals, a table of cities and a report."""
    from sealevel_trend.predict import predict_from_prepared

    return predict_from_prepared(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Test the method: blocks beside random folds, a null test, perfect models, a backtest."""
    from sealevel_trend.evaluate import evaluate_method

    return evaluate_method(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Prepare, train, predict and evaluate in a generated world whose future is known."""
    from sealevel_trend.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
