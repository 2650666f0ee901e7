# /// script
# requires-python = ">=3.11"
# dependencies = ["geoarches==0.2.2", "jaxtyping>=0.3.3", "array-api-compat>=1.11"]
# ///
"""Our network against the public `geoarches` package: same weights, same numbers; then time and memory.

    uv run --no-project --script packages/archesweather/benchmarks/parity_geoarches.py --size small

geoarches pins zarr<3 and xarray<2026, which the workspace cannot have. So uv runs this script in an
environment of its own, and our two packages come in as source folders: the network alone needs nothing that
disagrees. Each configuration has random weights, modulation included, so that every path counts. Parity and
each timing run in processes of their own: their step at the paper's size needs all that a 24 GB machine has.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_PACKAGE / "src"), str(_PACKAGE.parents[1] / "shared" / "src")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from archesweather.config import FieldsConfig, ModelConfig, NetworkConfig  # noqa: E402
from archesweather.model import Backbone  # noqa: E402
from archesweather.model.backbone import from_released, to_released  # noqa: E402
from archesweather.model.released import translate_weights  # noqa: E402
from isopleth.benchmark import emit, ratio, side  # noqa: E402

# dim, tokens in lat and lon; the depths are those of S. "paper" is S at 1.5 degrees.
SIZES = {"small": (96, 12, 20), "medium": (192, 24, 40), "large": (192, 36, 80), "paper": (192, 60, 120)}
TOLERANCE = 1e-5
# Gradients of weights are sums over all tokens, in another order: float32 leaves this much.
WEIGHT_TOLERANCE = 1e-4
WINDOW = (6, 10)
HEADS = (6, 12, 12, 6)


class Released(nn.Module):
    """The public package's embedder, backbone and conditioning, put together as its forecast module does."""

    def __init__(self, dim: int, levels: int, rows: int, columns: int, *, depth: int, skip: bool) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's, of its own old import
            from geoarches.backbones import archesweather, dit

        self.levels, self.skip = levels, skip
        self.embedder = archesweather.WeatherEncodeDecodeLayer(
            img_size=(levels, 2 * rows + 1, 2 * columns),
            emb_dim=dim,
            out_emb_dim=2 * dim,
            n_concatenated_states=1,
        )
        self.embedder.constant_masks = torch.randn(3, 1, 2 * rows, 2 * columns)
        # Its decoder puts out 13 levels also where it was given 12, and stumbles over the odd one.
        self.embedder.img_size = (13, 2 * rows + 1, 2 * columns)
        self.backbone = archesweather.ArchesWeatherCondBackbone(
            tensor_size=(8, rows, columns),
            emb_dim=dim,
            cond_dim=256,
            num_heads=HEADS,
            window_size=(1, *WINDOW),
            depth_multiplier=depth,
            mlp_layer="swiglu",
            axis_attn=True,
        )
        self.month_embedder, self.hour_embedder = dit.TimestepEmbedder(256), dit.TimestepEmbedder(256)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "adaLN" in name or "bias" in name:
                    parameter.normal_(std=0.3)

    def forward(self, states: Tensor, conditions: Tensor) -> Tensor:
        """Compute a state from states as ours are: turned, grouped, and turned back."""
        state, previous = (self._group(to_released(states[:, i])) for i in (0, 1))
        month, hour = conditions.unbind(1)
        condition = self.month_embedder(month) + self.hour_embedder(hour)
        out = self.embedder.decode(self.backbone(self.embedder.encode(state, previous), condition))
        levels = out["level"][:, :, : self.levels].flatten(1, 2)
        state = from_released(torch.cat([out["surface"].squeeze(2), levels], dim=1))
        return state + states[:, 0] if self.skip else state

    def _group(self, state: Tensor) -> object:
        from tensordict import TensorDict

        levels = state[:, 4:].unflatten(1, (6, self.levels))
        return TensorDict(surface=state[:, :4, None], level=levels, batch_size=len(state))


def make_ours(dim: int, levels: int, rows: int, columns: int, *, depth: int) -> Backbone:
    """Build our network in the released code's manner."""
    lat, lon = np.linspace(-90, 90, 2 * rows + 1), np.arange(2 * columns) * 180 / columns
    network = NetworkConfig(
        dim=dim,
        depths=tuple(depth * blocks for blocks in (2, 6, 6, 2)),
        heads=HEADS,
        window=WINDOW,
        drop_path=0.2 / depth,
        compat="geoarches",
    )
    return Backbone(
        ModelConfig(
            fields=FieldsConfig(levels=FieldsConfig().levels[-levels:]),
            network=network,
            lat=tuple(lat.tolist()),
            lon=tuple(lon.tolist()),
        )
    )


def convert(theirs: Released, ours: Backbone) -> None:
    """Give ours the weights and maps of theirs."""
    maps = theirs.embedder.constant_masks[:, 0]
    constants = from_released(torch.cat([maps, maps[:, -1:]], dim=1))
    weights = translate_weights(theirs.state_dict(), (1, *WINDOW))
    ours.load_state_dict({**weights, "constants": constants})


def make_inputs(levels: int, rows: int, columns: int, *, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(batch, 2, 4 + 6 * levels, 2 * rows + 1, 2 * columns, generator=generator)
    return states, torch.tensor([[1.0, 6.0], [7.0, 18.0]])[:batch]


def compare(levels: int, *, skip: bool, depth: int, size: tuple[int, int, int]) -> dict[str, float]:
    """Give the largest differences of outputs and gradients, over the largest value."""
    torch.manual_seed(0)
    dim, *tokens = size
    theirs = Released(dim, levels, *tokens, depth=depth, skip=skip).eval()
    ours = make_ours(dim, levels, *tokens, depth=depth).eval()
    convert(theirs, ours)
    states, conditions = make_inputs(levels, *tokens, batch=2)
    states.requires_grad_()
    outputs, gradients, weights = [], [], []
    for network in (theirs, ours):
        out = network(states, conditions)
        if skip and network is ours:
            out = out + states[:, 0]
        weight = torch.arange(out.numel(), dtype=torch.float32).cos().view_as(out)
        network.zero_grad()
        gradients.append(torch.autograd.grad((weight * out).sum(), states, retain_graph=True)[0])
        (weight * out).sum().backward()
        outputs.append(out.detach())
        weights.append(network)
    named = {name: p.grad for name, p in theirs.named_parameters()}
    # The gradients of their weights under our names: the translation is linear.
    named |= {n: b for n, b in theirs.state_dict().items() if "position_index" in n}
    translated = translate_weights(named, (1, *WINDOW))
    worst = max(_differ(ours.get_parameter(n).grad, g) for n, g in translated.items())
    return {"output": _differ(*outputs), "input_gradient": _differ(*gradients), "weight_gradient": worst}


def _differ(one: Tensor, other: Tensor) -> float:
    return ((one - other).abs().max() / other.abs().max()).item()


def measure(which: str, mode: str, size: str, seconds: float) -> dict[str, float]:
    """Time one side, in this process: samples a second, and the peak of memory over what was there before."""
    torch.manual_seed(0)
    dim, *tokens = SIZES[size]
    network: nn.Module = (
        Released(dim, 13, *tokens, depth=1, skip=False)
        if which == "theirs"
        else make_ours(dim, 13, *tokens, depth=1)
    )
    states, conditions = make_inputs(13, *tokens)
    before = _memory_mb("VmRSS")
    if which == "compiled":
        network.compile()

    def forward() -> None:
        with torch.no_grad():
            network(states, conditions)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        network(states, conditions).square().mean().backward()

    network.train(mode == "step")
    best = _time(step if mode == "step" else forward, seconds)
    return {"samples_per_second": 1 / best, "peak_mb": _memory_mb("VmHWM") - before}


def _time(run: Callable[[], None], seconds: float) -> float:
    """Give the time of the quickest of at least two runs after a first one: the one least disturbed."""
    run()
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _memory_mb(field: str) -> float:
    """Read what this process holds (VmRSS) or held at most (VmHWM); `getrusage` adds its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) / 1e3


def work_apart(options: argparse.Namespace) -> dict:
    """Do what `run_apart` asks this process for."""
    torch.set_num_threads(options.threads)
    if options.compare:
        return check_parity()
    return measure(*options.measure, options.size, options.seconds)


def run_apart(*arguments: str) -> dict:
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="medium")
    parser.add_argument("--seconds", type=float, default=5.0, help="least time for each measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--parity-only", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled side out")
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "MODE"), help=argparse.SUPPRESS)
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure or options.compare:
        sys.stdout.write(json.dumps(work_apart(options)) + "\n")
        return
    parity = run_apart("--compare", "--threads", str(options.threads))
    sides, ratios = [], []
    if not options.parity_only:
        sides, ratios = compare_cost(options)
    largest = max(
        differences[part] for differences in parity.values() for part in ("output", "input_gradient")
    )
    weights = max(differences["weight_gradient"] for differences in parity.values())
    emit(
        {
            "benchmark": "parity_geoarches",
            "sides": [
                side("largest relative difference of outputs and input gradients", largest, "1"),
                side("largest relative difference of weight gradients", weights, "1"),
                *sides,
            ],
            "ratios": ratios,
            "parity": parity,
            "note": f"S at dim {SIZES[options.size][0]} on {SIZES[options.size][1:]} tokens, batch 1, "
            f"{options.threads} threads; matrix products limit both, page faults of large tensors theirs",
        }
    )
    if not (largest <= TOLERANCE and weights <= WEIGHT_TOLERANCE):
        sys.exit(f"outputs and gradients must agree to {TOLERANCE}, got {largest:.2e} and {weights:.2e}")


def check_parity() -> dict[str, dict[str, float]]:
    """Compare in each configuration, and show it."""
    small = SIZES["small"]
    cases = {
        "plain, 13 levels": {"levels": 13, "skip": False, "depth": 1},
        "skip, 13 levels": {"levels": 13, "skip": True, "depth": 1},
        "plain, 12 levels": {"levels": 12, "skip": False, "depth": 1},
        "plain, 13 levels, M": {"levels": 13, "skip": False, "depth": 2},
    }
    parity = {}
    for name, case in cases.items():
        parity[name] = compare(**case, size=small)
        shown = ", ".join(f"{key} {value:.1e}" for key, value in parity[name].items())
        sys.stderr.write(f"{name}: {shown}\n")
    return parity


def compare_cost(options: argparse.Namespace) -> tuple[list[dict], list[dict]]:
    """Measure both sides, each in its own process; give the record's sides and ratios."""
    common = ("--size", options.size, "--seconds", str(options.seconds), "--threads", str(options.threads))
    asked = {"ours": 1.3, "compiled": 1.5}
    kinds = [kind for kind in asked if not (kind == "compiled" and options.no_compile)]
    sides, ratios = [], []
    for mode, title in (("forward", "forward"), ("step", "forward and backward")):
        theirs = run_apart("--measure", "theirs", mode, *common)
        base = side(f"geoarches, {title}", theirs["samples_per_second"])
        base_memory = side(f"geoarches, {title}, memory", theirs["peak_mb"], "MB")
        sides += [base, base_memory]
        for kind in kinds:
            own = run_apart("--measure", kind, mode, *common)
            name = "ours" if kind == "ours" else "ours, compiled"
            rate = side(f"{name}, {title}", own["samples_per_second"])
            memory = side(f"{name}, {title}, memory", own["peak_mb"], "MB")
            sides += [rate, memory]
            ratios.append(ratio(f"{name} / geoarches, {title}", rate, base, asked=asked[kind]))
            at_most = 0.6 if mode == "step" else None
            ratios.append(ratio(f"memory, {name} / geoarches, {title}", memory, base_memory, asked=at_most))
    return sides, ratios


if __name__ == "__main__":
    main()
