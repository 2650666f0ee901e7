"""The verbs of ``block-expansion``; what they need is imported when they are called."""

from __future__ import annotations

from typing import Any

from block_expansion.config import DemoConfig, EvaluateConfig, SequenceConfig, TrainConfig
from isopleth.cli import Tool

tool = Tool(
    name="block-expansion",
    package="block_expansion",
    summary="Fine-tune vision transformers without forgetting, after Bafghi et al. (2024, arXiv 2404.17245).",
)


@tool.verb
def train(config: TrainConfig) -> dict[str, Any]:
    """Adapt a pretrained network to images of a new domain, and measure what it keeps of the old one."""
    from block_expansion.adapters import train_from_folders

    return train_from_folders(config)


@tool.verb
def sequence(config: SequenceConfig) -> dict[str, Any]:
    """Adapt one network to task after task: accuracy (ACC), backward transfer (BWT) and forgetting."""
    from block_expansion.adapters import train_in_sequence

    return train_in_sequence(config)


@tool.verb
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Compare trained runs: parameters, accuracy on the new domain, what is left of the old."""
    from block_expansion.evaluate import evaluate_runs

    return evaluate_runs(config)


@tool.verb
def demo(config: DemoConfig) -> dict[str, Any]:
    """Pretrain on handwriting, adapt to textures with every method, and compare."""
    from block_expansion.demo import run_demo

    return run_demo(config)


def main() -> int:
    """Run the command."""
    return tool.main()
