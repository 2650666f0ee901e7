"""The verbs of ``archesweather``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from archesweather.config import (
    ConvertConfig,
    DemoConfig,
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    TrainConfig,
    TrainGenerativeConfig,
)
from isopleth.cli import Tool

tool = Tool(
    name="archesweather",
    package="archesweather",
    summary="Train, roll out and verify ArchesWeather (Couairon et al. 2024).",
)


@tool.verb
def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Turn ERA5 or other fields into one folder to train, forecast and score from."""
    from archesweather.prepare import prepare_store

    return prepare_store(config)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Train the deterministic model, or several that differ by their seed."""
    from archesweather.train import train_model

    return train_model(config)


@tool.verb
def train_generative(config: TrainGenerativeConfig) -> dict[str, Any]:
    """Train ArchesWeatherGen: samples around the deterministic forecast, by flow matching."""
    from archesweather import train_generative as training

    return training.train_generative(config)


@tool.verb
def predict(config: PredictConfig) -> dict[str, Any]:
    """Roll forecasts out and stream them into a zarr store in WeatherBench 2's layout."""
    from archesweather.predict import predict_from_store

    return predict_from_store(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Score a model or a forecast zarr by WeatherBench 2's protocol, with a report."""
    from archesweather.evaluate import evaluate_forecasts

    return evaluate_forecasts(config)


@tool.verb
def convert(config: ConvertConfig) -> dict[str, Any]:
    """Turn a checkpoint released with geoarches into a pretrained folder."""
    from archesweather.convert import convert_checkpoint

    return convert_checkpoint(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Train on a simulated atmosphere, forecast ten days, and put the paper's claim to the test."""
    from archesweather.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
