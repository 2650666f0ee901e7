"""What a result cost: seconds, memory, parameters, and on what machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

_MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The price of a result.

    Parameters
    ----------
    parameters : int
        Trainable parameters; 0 for a method without.
    train_seconds, predict_seconds : float
        Wall time.
    peak_memory_mb : float
        In MiB; see `measure_cost`.
    device : str
        The machine, such as ``"cpu (2 cores)"`` or ``"NVIDIA H100 80GB HBM3"``.
    """

    parameters: int
    train_seconds: float
    predict_seconds: float
    peak_memory_mb: float
    device: str

    @classmethod
    def of(cls, *, train: Meter | None = None, predict: Meter | None = None, parameters: int = 0) -> Self:
        """Add up what was measured while training and while predicting."""
        meters = [meter for meter in (train, predict) if meter is not None]
        return cls(
            parameters=int(parameters),
            train_seconds=train.seconds if train else 0.0,
            predict_seconds=predict.seconds if predict else 0.0,
            peak_memory_mb=max((meter.peak_memory_mb for meter in meters), default=0.0),
            device=meters[0].device if meters else _cpu(),
        )


@dataclass
class Meter:
    """What `measure_cost` fills when its block ends."""

    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    device: str = ""


@contextmanager
def measure_cost() -> Iterator[Meter]:
    """Measure wall time, peak memory and device of a block.

    If the block allocates on a CUDA device, memory is the most that torch held there during the block,
    and the device is the GPU's name. Else it is the peak resident memory of this process since
    it started (the kernel keeps one high-water mark; worker processes are not in it), rounded to 0.1 MiB.

    Yields
    ------
    Meter
        Filled when the block ends, also when it ends by an exception.

    Examples
    --------
    >>> with measure_cost() as predict:
    ...     total = sum(range(1000))
    >>> cost = Cost.of(predict=predict)
    >>> cost.predict_seconds > 0 and cost.train_seconds == 0
    True
    """
    meter = Meter()
    _reset_cuda_peak()
    start = time.perf_counter()
    try:
        yield meter
    finally:
        if cuda := _cuda():
            cuda.synchronize()  # kernels still in flight belong to the block
        meter.seconds = time.perf_counter() - start
        gpu = _cuda_peak()
        meter.peak_memory_mb, meter.device = gpu or (_resident_peak_mb(), _cpu())


def _cpu() -> str:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only: the cores this process may use
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return f"cpu ({cores} core{'s' if cores > 1 else ''})"


def _resident_peak_mb() -> float:
    try:
        import resource
    except ImportError:  # Windows keeps no such mark
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MEBIBYTE, 1)


def _cuda() -> Any:
    """Return torch.cuda if this process already uses it; torch is never imported for a measurement."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _reset_cuda_peak() -> None:
    if cuda := _cuda():
        cuda.synchronize()
        cuda.reset_peak_memory_stats()


def _cuda_peak() -> tuple[float, str] | None:
    cuda = _cuda()
    if cuda is None or not (peak := cuda.max_memory_allocated()):
        return None
    return round(peak / _MEBIBYTE, 1), cuda.get_device_name()
