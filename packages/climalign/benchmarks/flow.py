"""Ours against the same flow composed plainly from nflows parts: time and memory of a training step, samples.

Both have the same levels, steps, filters and couplings' convolutions. The plain one lacks the learned split
prior, which nflows has not: ours does a little more. Memory is the most that is allocated in a step beyond
what stands before it: activations, gradients and workspace, as torch's profiler counts them.
"""

from __future__ import annotations

import argparse
import time
import warnings

import torch
from nflows.transforms import (
    ActNorm,
    AffineCouplingTransform,
    CompositeTransform,
    MultiscaleCompositeTransform,
    OneByOneConvolution,
    SqueezeTransform,
)
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from climalign.config import FlowConfig
from climalign.model.glow import Glow, standard_normal
from isopleth.benchmark import emit, ratio, side

ROWS, COLUMNS = 32, 64


class PlainNetwork(nn.Module):
    """The convolutions of `climalign.model.coupling.CouplingNetwork`, one module after another."""

    def __init__(self, inputs: int, outputs: int, filters: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(inputs, filters, 3, padding=1), Norm(filters), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(filters, filters, 3, padding=1),
            Norm(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1),
            Norm(filters),
        )
        self.leave = nn.Conv2d(filters, outputs, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, inputs, context=None):  # noqa: ARG002 (of the interface)
        """Give shift and scale."""
        hidden = self.enter(inputs)
        return self.leave(F.relu(hidden + self.block(hidden)))


class Norm(ActNorm):
    """An activation normalisation that is no step of the flow."""

    def forward(self, inputs, context=None):  # noqa: ARG002 (of the interface)
        """Normalise."""
        return super().forward(inputs)[0]


class PlainGlow(nn.Module):
    """The flow as one composes it from nflows."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.flow = MultiscaleCompositeTransform(config.levels)
        channels, rows, columns = 1, ROWS, COLUMNS
        for level in range(config.levels):
            channels, rows, columns = 4 * channels, rows // 2, columns // 2
            parts: list[nn.Module] = [SqueezeTransform(2)]
            for _ in range(config.steps):
                mask = [0] * (channels // 2) + [1] * (channels // 2)
                filters = config.filters_at(level)
                network = lambda i, o, filters=filters: PlainNetwork(i, o, filters)  # noqa: E731
                parts += [
                    ActNorm(channels),
                    OneByOneConvolution(channels),
                    AffineCouplingTransform(mask, network),
                ]
            hidden = self.flow.add_transform(CompositeTransform(parts), (channels, rows, columns))
            channels = hidden[0] if hidden else channels

    def log_density(self, images):
        """Give log-densities, nats."""
        latent, logabsdet = self.flow(images)
        return standard_normal(latent[:, None, None]) + logabsdet

    def inverse(self, latent):
        """Give samples."""
        return self.flow.inverse(latent.flatten(1))


def train_step(flow, images, optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    (-flow.log_density(images).mean() / images[0].numel()).backward()
    optimizer.step()


def best_time(run, seconds: float) -> float:
    run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mb(run) -> float:
    """Follow what is allocated and freed during a call; give the highest level above the start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as found:
            run()
    moves = [
        (event.start_ns(), event.nbytes())
        for event in found.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    level = peak = 0
    for _, size in sorted(moves):
        level += size
        peak = max(peak, level)
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    shape = {"levels": options.levels, "steps": options.steps, "filters": options.filters}
    flows = {
        "plain nflows": PlainGlow(FlowConfig(**shape)),
        "ours": Glow(FlowConfig(**shape)),
        "ours, reversible": Glow(FlowConfig(**shape, reversible=True)),
    }
    images = torch.randn(options.batch, 1, ROWS, COLUMNS)
    sides, train, peak, draw = [], {}, {}, {}
    for name, flow in flows.items():
        flow.train()
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-5)
        step = lambda flow=flow, optimizer=optimizer: train_step(flow, images, optimizer)  # noqa: E731
        seconds = best_time(step, options.seconds)
        train[name] = side(f"training, {name}", 1 / seconds, "steps/s")
        peak[name] = side(f"memory of a training step, {name}", peak_mb(step), "MB")
        flow.zero_grad(set_to_none=True)
        held = lambda flow=flow: flow.log_density(images).mean()  # noqa: E731
        kept = side(f"kept for the backward pass, {name}", _kept_mb(flow, held), "MB")
        peak[f"{name}, kept"] = kept
        flow.eval()
        if isinstance(flow, Glow):
            flow.use_caches()
        with torch.no_grad():
            seconds = best_time(lambda flow=flow: flow.inverse(images), options.seconds / 2)
        draw[name] = side(f"sampling, {name}", options.batch / seconds, "samples/s")
        sides += [train[name], peak[name], kept, draw[name]]
    plain, ours, lean = flows
    parameters = sum(each.numel() for each in flows[ours].parameters())
    emit(
        {
            "benchmark": "flow",
            "sides": sides,
            "ratios": [
                ratio("training, ours over plain", train[ours], train[plain], asked=1.1),
                ratio("time of a step, reversible over plain", train[plain], train[lean], asked=1.4),
                ratio("memory of a step, reversible over plain", peak[lean], peak[plain], asked=0.4),
                ratio(
                    "kept for backward, reversible over plain", peak[f"{lean}, kept"], peak[f"{plain}, kept"]
                ),
                ratio("sampling, ours over plain", draw[ours], draw[plain]),
            ],
            "note": f"{parameters / 1e6:.1f} M parameters, batch {options.batch} of {ROWS} x {COLUMNS}, "
            f"{options.threads} threads, fastest of several; convolutions are most of either side",
        }
    )


def _kept_mb(flow: nn.Module, run) -> float:
    """Add up what autograd keeps besides the weights."""
    held: dict[int, int] = {}
    own = {each.untyped_storage().data_ptr() for each in (*flow.parameters(), *flow.buffers())}

    def keep(tensor):
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result
    return sum(size for place, size in held.items() if place not in own) / 1e6


if __name__ == "__main__":
    main()
