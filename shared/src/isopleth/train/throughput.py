"""How fast a model is on this machine: samples and operations a second, and the memory it takes."""

from __future__ import annotations

import contextlib
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from isopleth.config import check_positive
from isopleth.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """One measurement.

    Attributes
    ----------
    samples_per_second : float
        From the median time of a step.
    flops_per_second : float
        Floating-point operations a second, as torch's counter sees them: matrix products, convolutions and
        attention, a multiplication and an addition counted as two; the rest not.
    flops_per_sample : float
        The same for one sample.
    seconds_per_step : float
        Median over the repeats.
    spread : float
        Range of the repeats over their median: a large one says that the machine was busy.
    peak_memory_mb : float
        Most memory (10**6 bytes) held at a time during the repeats: allocated by torch on a GPU, the whole
        process's resident set on a CPU.
    device : str
        Device and its name.
    repeats : int
        Steps measured.
    """

    samples_per_second: float
    flops_per_second: float
    flops_per_sample: float
    seconds_per_step: float
    spread: float
    peak_memory_mb: float
    device: str
    repeats: int


def measure_throughput(
    module: nn.Module,
    batch: Any,
    *,
    step: Callable[[nn.Module, Any], Any] | None = None,
    samples: int | None = None,
    backward: bool = False,
    warmup: int = 3,
    repeats: int = 10,
) -> Throughput:
    """Time steps of a module on one batch; nothing else should run meanwhile.

    Parameters
    ----------
    module : Module
        On its device. Its weights and mode stay; gradients are cleared after.
    batch : any
        Moved nowhere: it must be on the module's device.
    step : callable, optional
        What a step is, of module and batch; by default ``module(batch)``, with a tuple, list or dict spread
        out as arguments.
    samples : int, optional
        Samples in the batch; by default the length of the first tensor in it.
    backward : bool
        Go backward from the step's result too (its sum, over all tensors in it).
    warmup : int
        Steps before the clock starts, at least 1: the first allocates and compiles.
    repeats : int
        Steps measured.

    Raises
    ------
    ConfigError
        If a number is not positive, or the number of samples cannot be told.
    """
    check_positive(warmup=warmup, repeats=repeats, samples=samples)
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    count = samples if samples is not None else _count_samples(batch)
    call = step or _call

    def run() -> None:
        with torch.enable_grad() if backward else torch.no_grad():
            result = call(module, batch)
            if backward:
                _total(result).backward()
                module.zero_grad(set_to_none=True)
        _synchronise(device)

    for _ in range(warmup):
        run()
    with FlopCounterMode(display=False) as counter:
        run()
    with _PeakMemory(device) as memory:
        seconds = [_clock(run) for _ in range(repeats)]
    median = statistics.median(seconds)
    flops = float(counter.get_total_flops())
    return Throughput(
        samples_per_second=count / median,
        flops_per_second=flops / median,
        flops_per_sample=flops / count,
        seconds_per_step=median,
        spread=(max(seconds) - min(seconds)) / median,
        peak_memory_mb=memory.peak / 1e6,
        device=_name(device),
        repeats=repeats,
    )


class _PeakMemory:
    """Bytes held at most inside the block."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak = 0

    def __enter__(self) -> _PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            # Linux forgets the process's earlier peak on request; elsewhere it is the peak since the start.
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        cuda = self.device.type == "cuda"
        self.peak = torch.cuda.max_memory_allocated(self.device) if cuda else _peak_resident_set()


def _peak_resident_set() -> int:
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            return int(found[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _call(module: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return module(**batch)
    return module(*batch) if isinstance(batch, list | tuple) else module(batch)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _total(result: Any) -> torch.Tensor:
    return torch.stack([t.float().sum() for t in _tensors(result) if t.requires_grad]).sum()


def _count_samples(batch: Any) -> int:
    found = next((tensor for tensor in _tensors(batch) if tensor.ndim), None)
    if found is None or not len(found):
        raise ConfigError("samples must be given for a batch without a tensor of samples, got none")
    return len(found)


def _clock(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else device.type
