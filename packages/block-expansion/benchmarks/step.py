"""Time and peak memory of one training step of every method, each in a process of its own.

The processes live side by side and take their steps in turn, round after round: whatever slows the machine
for a while slows every method alike. On a CPU the clock counts the seconds that the process computed, not
those in which others had the core, so that the ratios hold on a busy machine too.

What bounds block expansion: a forward pass through all blocks and a backward one through the last. With a
copy behind the last block but one of N, that is N + 1 blocks forward and 2 backward; backward costs twice a
forward, so (N + 1 + 2 * 2) / 3N of a full step: 0.47 for 12 blocks. The last block is frozen, though, and has
gradients of its inputs only, once a forward: 16/36, or 0.44. Full fine-tuning has its optimiser's work on
all weights besides, which counts the more the smaller a batch is.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from block_expansion.config import BackboneConfig, MethodConfig
from block_expansion.methods import apply_method
from block_expansion.model import build_classifier, count_parameters
from block_expansion.prefix import quieten_frozen
from isopleth.benchmark import emit, ratio, side

METHODS = {
    "full": MethodConfig(kind="full"),
    "expansion p=1": MethodConfig(expansions=1),
    "expansion p=3": MethodConfig(expansions=3),
    "LoRA r=8": MethodConfig(kind="lora"),
    "top 2": MethodConfig(kind="top", blocks=2),
    "linear": MethodConfig(kind="linear"),
}
_BACKBONE = BackboneConfig(name="vit_small_patch16_224", pretrained=False)
_SMALL = replace(_BACKBONE, image_size=16, dim=24, depth=1, heads=1)
_MEBIBYTE = 2**20


def serve(name: str, options: argparse.Namespace) -> None:
    """Take a step for each line that comes in and answer with its seconds; last, tell the memory."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    # What torch loads at its first step belongs to no method.
    _prepare_step(METHODS["full"], _SMALL, 1, device)[0]()
    before = _read_memory("VmRSS", device)
    backbone = replace(_BACKBONE, image_size=options.size)
    step, parameters = _prepare_step(METHODS[name], backbone, options.batch, device)
    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(step(), flush=True)
    peak = _read_memory("VmHWM", device) - before
    print(json.dumps({"peak_mb": peak / _MEBIBYTE, "parameters": parameters}), flush=True)


def _prepare_step(
    method: MethodConfig, backbone: BackboneConfig, batch: int, device: torch.device
) -> tuple[Callable[[], float], int]:
    network = apply_method(build_classifier(backbone, 100), method).train().to(device)
    quieten_frozen(network)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1e-3, momentum=0.9)
    images = torch.rand(batch, 3, backbone.image_size, backbone.image_size, device=device)
    labels = torch.arange(batch, device=device) % 100
    clock = time.perf_counter if device.type == "cuda" else time.process_time

    def step() -> float:
        start = clock()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    return step, count_parameters(network)


def _read_memory(field: str, device: torch.device) -> int:
    """Read bytes in use (VmRSS) or at most in use so far (VmHWM); on a GPU what torch allocated there."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated() if field == "VmRSS" else torch.cuda.max_memory_allocated()
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None, "the benchmark needs Linux: it reads /proc"
    return 1024 * int(found[1])


def measure(rounds: int) -> dict[str, dict[str, Any]]:
    """Let every method take its steps in turn, one process at a time."""
    servers = {}
    for name in METHODS:
        words = [sys.executable, __file__, *sys.argv[1:], "--serve", name]
        servers[name] = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        _read_line(servers[name], name)
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(rounds):
        for name, server in servers.items():
            assert server.stdin is not None
            server.stdin.write("step\n")
            server.stdin.flush()
            seconds[name].append(float(_read_line(server, name)))
    found = {}
    for name, server in servers.items():
        last, _ = server.communicate()
        found[name] = {**json.loads(last), "seconds": statistics.median(seconds[name])}
    return found


def _read_line(server: subprocess.Popen[str], name: str) -> str:
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        raise SystemExit(f"{name} stopped with exit code {server.wait()}")
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--serve", choices=METHODS, help="be the process of one method")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options)
        return
    found = measure(options.rounds)
    clock = "s" if options.device == "cuda" else "CPU s"
    times = {name: side(f"{name}, step", each["seconds"], clock) for name, each in found.items()}
    memory = {name: side(f"{name}, peak memory", each["peak_mb"], "MiB") for name, each in found.items()}
    asked = {("time", "expansion p=1"): 0.55, ("peak memory", "expansion p=1"): 0.4}
    emit(
        {
            "benchmark": "step",
            "sides": [*times.values(), *memory.values()],
            "ratios": [
                ratio(f"{what} of {name} to full", each[name], each["full"], asked=asked.get((what, name)))
                for what, each in (("time", times), ("peak memory", memory))
                for name in METHODS
                if name != "full"
            ],
            "note": f"ViT-S/16 at {options.size}, batch {options.batch}, {options.device}, {options.threads} "
            f"thread(s) each; median of {options.rounds} steps taken in turn; memory is what network, "
            "gradients, momentum and a step's activations add to a process that has made a step of a tiny "
            "network; by counting block passes the time of expansion p=1 is 0.44 of full",
        }
    )


if __name__ == "__main__":
    main()
