"""The verbs of ``sealevel-projection``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from isopleth.cli import Tool
from sealevel_projection.config import DemoConfig, EvaluateConfig, PredictConfig, PrepareConfig, TrainConfig

tool = Tool(
    name="sealevel-projection",
    package="sealevel_projection",
    summary="Project regional sea level 30 years ahead, after Sinha et al. (2023, arXiv 2308.02460).",
)


@tool.verb
def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Bring ensembles and altimetry to one grid, one time axis and one coast."""
    from sealevel_projection.prepare import prepare_fields

    return prepare_fields(config)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Train networks on the hindcast, with intervals from other models' futures."""
    from sealevel_projection.fitting import train_from_prepared

    return train_from_prepared(config)


@tool.verb
def predict(config: PredictConfig) -> dict[str, Any]:
    """Project sea level, with intervals, contributions of each signal, and a table of cities."""
    from sealevel_projection.predict import predict_from_prepared

    return predict_from_prepared(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Test networks against baselines: space and time held out, backtest, perfect models, null test."""
    from sealevel_projection.evaluate import evaluate_prepared

    return evaluate_prepared(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Project a simulated ocean whose future is known, with a report."""
    from sealevel_projection.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
