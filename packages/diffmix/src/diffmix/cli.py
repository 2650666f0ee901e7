"""The verbs of ``diffmix``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from diffmix.config import (
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    GenerateConfig,
    PrepareConfig,
    PushConfig,
    TrainConfig,
    TrainGeneratorConfig,
)
from isopleth.cli import Tool

tool = Tool(
    name="diffmix",
    package="diffmix",
    summary="Pre-train vision encoders on pairs of real and synthetic images (DiffMix, arXiv 2406.12368).",
)


@tool.verb
def train_generator(config: TrainGeneratorConfig) -> dict[str, Any]:
    """Train a small diffusion model on unlabelled images."""
    from diffmix.train_generator import train_generator_from_source

    return train_generator_from_source(config)


@tool.verb
def generate(config: GenerateConfig) -> dict[str, Any]:
    """Make synthetic twins of real images; a run that was killed goes on."""
    from diffmix.generation import generate_from_config

    return generate_from_config(config)


@tool.verb
def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Write real images and their twins into one store for training; a run that was killed can go on."""
    from diffmix.prepare import prepare_from_config

    return prepare_from_config(config)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Pre-train an encoder by SimCLR, Barlow Twins or DINO."""
    from diffmix.train import train_from_config

    return train_from_config(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Compare encoders by probes: clean, shifted and transferred."""
    from diffmix.evaluate import evaluate_runs

    return evaluate_runs(config)


@tool.verb
def export(config: ExportConfig) -> dict[str, Any]:
    """Write a run's encoder as a folder that timm loads, with a card."""
    from diffmix.export import export_run

    return export_run(config)


@tool.verb
def push(config: PushConfig) -> dict[str, Any]:
    """Upload an exported folder to the Hugging Face hub."""
    from diffmix.export import push_folder

    return push_folder(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Train a generator and encoders on handwritten digits, and compare pairs with what else there is."""
    from diffmix.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
