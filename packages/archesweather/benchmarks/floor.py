"""The compute floor of a forward pass: its arithmetic, its least traffic, and how near to them we are.

FLOPs follow from a formula, which torch's own counter confirms; one multiply-add is two. The floor is the
time that they take at the rate which this machine reaches in large square matrix products.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import archesweather.model.blocks as blocks
from archesweather.compute import count_flops
from archesweather.config import FieldsConfig, ModelConfig, NetworkConfig
from archesweather.model import Backbone
from archesweather.model.layout import plan_layout
from isopleth.benchmark import emit, ratio, side

# Multiples of S's depths, and rows and columns of the grid.
MODELS = {"s": 1, "m": 2, "l": 4}
GRIDS = {"tiny": (25, 40), "small": (49, 80), "medium": (73, 160), "paper": (121, 240)}


def make_config(model: str, grid: str, dim: int) -> ModelConfig:
    rows, columns = GRIDS[grid]
    depths = tuple(MODELS[model] * depth for depth in (2, 6, 6, 2))
    lat, lon = np.linspace(-90, 90, rows), np.arange(columns) * 360 / columns
    return ModelConfig(
        fields=FieldsConfig(),
        network=NetworkConfig(dim=dim, depths=depths),
        lat=tuple(lat.tolist()),
        lon=tuple(lon.tolist()),
    )


def count_bytes(config: ModelConfig) -> float:
    """Count the least traffic in float32: weights once, and each block's tokens in and out."""
    layout = plan_layout(config)
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in Backbone(config).parameters())
    stages = (layout.fine, *layout.inner, layout.outer)
    tokens = sum(
        2 * depth * int(np.prod(stage.grid)) * stage.width
        for stage, depth in zip(stages, config.network.depths, strict=True)
    )
    return 4.0 * (weights + tokens)


def count_by_torch(config: ModelConfig) -> int:
    """Count by torch's counter, on meta tensors; it sees the plain modules' matrix products."""
    with torch.device("meta"):
        backbone = Backbone(config).eval()
        states = torch.empty(1, 2, len(config.fields.channels), len(config.lat), len(config.lon))
        conditions = torch.empty(1, 2)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(states, conditions)
    return counter.get_total_flops()


def measure_matmul(size: int = 2048, seconds: float = 2.0) -> float:
    """Measure the rate of large square matrix products, FLOP/s: the quickest of them."""
    a = torch.randn(size, size)
    return 2.0 * size**3 / _time(lambda: a @ a, seconds)


def measure_forward(config: ModelConfig, seconds: float, *, lean: bool) -> float:
    """Time a forward pass: through the lean operators, or through plain modules."""
    backbone = Backbone(config).eval()
    states = torch.randn(1, 2, len(config.fields.channels), len(config.lat), len(config.lon))
    conditions = torch.tensor([[1.0, 6.0]])
    chosen, blocks.is_lean = blocks.is_lean, lambda _: lean
    try:
        with torch.no_grad():
            return _time(lambda: backbone(states, conditions), seconds)
    finally:
        blocks.is_lean = chosen


def _time(run, seconds: float) -> float:
    run()
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="s")
    parser.add_argument("--grid", choices=GRIDS, default="small", help="on which the forward pass is timed")
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    paper, timed = (make_config(options.model, grid, options.dim) for grid in ("paper", options.grid))
    flops, formula = sum(count_flops(paper).values()), sum(count_flops(timed).values())
    rate = measure_matmul()
    lean, plain = (measure_forward(timed, options.seconds, lean=way) for way in (True, False))
    floor = side("floor: matrix products at full rate", formula / rate, "s")
    ours, modules = side("forward, lean operators", lean, "s"), side("forward, plain modules", plain, "s")
    emit(
        {
            "benchmark": "floor",
            "sides": [
                side("forward at the paper's size", flops / 1e12, "TFLOP"),
                side("least traffic at the paper's size", count_bytes(paper) / 1e9, "GB"),
                side("forward at the timed size, formula", formula / 1e12, "TFLOP"),
                side("forward at the timed size, torch's counter", count_by_torch(timed) / 1e12, "TFLOP"),
                side("matrix products of 2048", rate / 1e9, "GFLOP/s"),
                floor,
                ours,
                modules,
            ],
            "ratios": [
                ratio("share of the matrix-product rate, lean operators", floor, ours),
                ratio("share of the matrix-product rate, plain modules", floor, modules),
            ],
            "parts": {name: round(count / 1e9, 3) for name, count in count_flops(paper).items()},
            "note": f"{options.model.upper()}, dim {options.dim}, timed on {GRIDS[options.grid]} cells with "
            f"{options.threads} threads; matrix products limit it",
        }
    )


if __name__ == "__main__":
    main()
