"""The verbs of ``cyclone-fusion``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from cyclone_fusion.config import DemoConfig, EvaluateConfig, PredictConfig, PrepareConfig, TrainConfig
from isopleth.cli import Tool

tool = Tool(
    name="cyclone-fusion",
    package="cyclone_fusion",
    summary="Forecast tropical-cyclone tracks, after the fused network of Giffard-Roisin et al. (2020).",
)


@tool.verb
def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Cut storm-following samples from best tracks, and windows from a reanalysis around them."""
    from cyclone_fusion.prepare import prepare_samples

    return prepare_samples(config)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Train the streams one by one, then their fusion."""
    from cyclone_fusion.train import train_from_samples

    return train_from_samples(config)


@tool.verb
def predict(config: PredictConfig) -> dict[str, Any]:
    """Forecast the positions of the storms in a track file."""
    from cyclone_fusion.predict import predict_from_tracks

    return predict_from_tracks(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Score a trained network on storms never seen against every baseline."""
    from cyclone_fusion.evaluate import evaluate_network

    return evaluate_network(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Train and score on real storms, alone and in a simulated atmosphere, with a report."""
    from cyclone_fusion.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
