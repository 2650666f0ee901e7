"""The verbs of ``climalign``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from climalign.config import (
    CrossvalidateConfig,
    DemoConfig,
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    TrainConfig,
)
from isopleth.cli import Tool

tool = Tool(
    name="climalign",
    package="climalign",
    summary="Downscale temperature and rain without pairs, after ClimAlign (Groenke et al. 2020).",
)


@tool.verb
def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Bring coarse and fine fields to grids that nest, and pack both."""
    from climalign.data import prepare_fields

    return prepare_fields(config)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Train two flows that share a latent, on coarse and fine days that need not be the same."""
    from climalign.train import train_from_prepared

    return train_from_prepared(config)


@tool.verb
def predict(config: PredictConfig) -> dict[str, Any]:
    """Draw fine fields for coarse ones, or coarse for fine."""
    from climalign.predict import predict_from_files

    return predict_from_files(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Score a trained pair beside baselines on days where both are known."""
    from climalign.evaluate import evaluate_model

    return evaluate_model(config)


@tool.verb
def crossvalidate(config: CrossvalidateConfig) -> dict[str, Any]:
    """Train and score on rolling folds, each after what it has learned from, with days left out between."""
    from climalign.crossvalidation import run_folds

    return run_folds(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Train and score on a generated coast with mountains, whose coarse twin has other years."""
    from climalign.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
