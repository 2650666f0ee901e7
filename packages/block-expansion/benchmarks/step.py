"""Time and peak memory of one training step of every method, each in a process of its own.

What bounds block expansion: a forward pass through all blocks and a backward one through the last. With a
copy behind the last block but one of N, that is N + 1 blocks forward and 2 backward; backward costs twice a
forward, so (N + 1 + 2 * 2) / 3N of a full step: 0.47 for 12 blocks.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

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
    "top 3": MethodConfig(kind="top"),
    "linear": MethodConfig(kind="linear"),
}


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Train some steps; memory is what the steps add to the network and its optimiser's first state."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    backbone = BackboneConfig(name="vit_small_patch16_224", pretrained=False, image_size=options.size)
    network = apply_method(build_classifier(backbone, 100), METHODS[name]).train().to(device)
    quieten_frozen(network)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1e-3, momentum=0.9)
    images = torch.rand(options.batch, 3, options.size, options.size, device=device)
    labels = torch.arange(options.batch, device=device) % 100

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    before = _peak_bytes(device)
    step()
    seconds = min(step() for _ in range(options.steps))
    return {
        "seconds": seconds,
        "step_mb": (_peak_bytes(device) - before) / 2**20,
        "peak_mb": _peak_bytes(device) / 2**20,
        "parameters": count_parameters(network),
    }


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=METHODS, help="measure one method and print its numbers")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    found = {}
    for name in METHODS:
        # The kernel keeps one high-water mark of memory for a process: each method has its own.
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--only", name],
            capture_output=True,
            text=True,
            check=True,
        )
        found[name] = json.loads(done.stdout.splitlines()[-1])
    times = {name: side(f"{name}, step", each["seconds"], "s") for name, each in found.items()}
    memory = {name: side(f"{name}, memory of a step", each["step_mb"], "MiB") for name, each in found.items()}
    emit(
        {
            "benchmark": "step",
            "sides": [*times.values(), *memory.values()],
            "ratios": [
                ratio("time of expansion p=1 to full", times["expansion p=1"], times["full"], asked=0.55),
                ratio("memory of expansion p=1 to full", memory["expansion p=1"], memory["full"], asked=0.4),
                ratio("time of LoRA r=8 to full", times["LoRA r=8"], times["full"]),
                ratio("memory of LoRA r=8 to full", memory["LoRA r=8"], memory["full"]),
            ],
            "peak_mb": {name: round(each["peak_mb"]) for name, each in found.items()},
            "note": f"ViT-S/16 at {options.size}, batch {options.batch}, {options.device}, {options.threads} "
            "threads; the quickest step; memory is what steps add to weights and images",
        }
    )


if __name__ == "__main__":
    main()
