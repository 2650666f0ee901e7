"""Arithmetic counted by formula: what a network costs, and what equal compute means between two."""

from __future__ import annotations

import numpy as np

from archesweather.config import ModelConfig
from archesweather.model.layout import Layout, StageLayout, plan_layout


def count_flops(config: ModelConfig, *, states: int = 2) -> dict[str, float]:
    """Count the floating-point operations of one sample's forward pass, part by part.

    Those of matrix products, convolutions and attention; a multiplication and an addition are two. A training
    step costs three times as many, whatever the network: a product for each of both factors' gradients.

    Parameters
    ----------
    config : ModelConfig
    states : int
        States that come in.

    Returns
    -------
    dict of str to float
        By part of the network, in its order.
    """
    layout, network = plan_layout(config), config.network
    counts: dict[str, float] = {"embedding": _count_embedding(config, layout, states)}
    tokens = int(np.prod(layout.fine.grid))
    if network.column_mixing:
        counts["mixing"] = 2.0 * tokens * layout.fine.grid[0] * network.dim**2
    stages = (layout.fine, *layout.inner, layout.outer)
    for number, (stage, depth) in enumerate(zip(stages, network.depths, strict=True), start=1):
        counts[f"stage {number}"] = depth * sum(count_block(stage).values())
    inner, dim = int(np.prod(layout.inner[0].grid)), network.dim
    counts["merge and split"] = (
        2.0 * inner * (4 * dim * 2 * dim + 2 * dim * 4 * dim) + 2.0 * inner * 4 * dim**2
    )
    counts["head"] = _count_head(config, layout)
    return counts


def count_block(stage: StageLayout) -> dict[str, float]:
    r"""Count one block: :math:`2 T C^2 (4 + 4 + 8)` for its layers, :math:`4 T N C` for each attention."""
    tokens, width = int(np.prod(stage.grid)), stage.width
    partition = stage.partition(shifted=False)
    counts = {
        "window layers": 2.0 * tokens * width * 4 * width,
        "window attention": 4.0 * partition.index.numel() * partition.tokens * width,
    }
    if stage.column_heads:
        counts["column layers"] = 2.0 * tokens * width * 4 * width
        counts["column attention"] = 4.0 * tokens * stage.grid[0] * width
    hidden = int(width * 8 / 3) if stage.gated else 4 * width
    counts["mlp"] = 2.0 * tokens * width * hidden * (3 if stage.gated else 2)
    return counts


def _count_embedding(config: ModelConfig, layout: Layout, states: int) -> float:
    fields, (levels, rows, columns) = config.fields, config.network.patch
    area, (_, height, width) = (rows + layout.shared_row) * columns, layout.fine.grid
    surface = states * len(fields.surface) + len(fields.constants)
    upper = states * len(fields.upper) * levels * layout.level_tokens
    values = area * (surface * layout.surface_tokens + upper)
    return 2.0 * height * width * values * config.network.dim


def _count_head(config: ModelConfig, layout: Layout) -> float:
    fields, (levels, rows, columns) = config.fields, config.network.patch
    _, height, width = layout.fine.grid
    cells = height * width * rows * columns + (width * columns if layout.shared_row else 0)
    channels = len(fields.surface) * layout.outer.width
    channels += len(fields.upper) * len(fields.levels) * layout.outer.width // levels
    return 2.0 * 9 * cells * channels
