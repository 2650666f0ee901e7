"""What every benchmark prints: the machine, both sides of each ratio, and what limits it."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "xarray", "zarr", "dask", "torch", "lightning")


def describe_machine() -> dict[str, Any]:
    """Describe the machine that a benchmark runs on; imports nothing heavy.

    Returns
    -------
    dict
        ``cpu`` (model), ``cores`` (those this process may use), ``memory_gb``, ``load_1min`` (mean number of
        processes that ran in the last minute, by which a reader sees whether others disturbed), ``threads``
        (``OMP_NUM_THREADS``, None where it is not set), ``system``, ``python`` and ``versions`` of packages.
    """
    return {
        "cpu": _cpu_model(),
        "cores": _usable_cores(),
        "memory_gb": _memory_gb(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def measure_rate(step: Callable[[], int], *, seconds: float, warmup: int = 1) -> float:
    """Return how many samples a second a step yields, over at least so many seconds and two steps.

    Parameters
    ----------
    step : callable
        Does some work and returns how many samples that was.
    seconds : float
        Least time to measure.
    warmup : int
        Steps before the clock starts.
    """
    for _ in range(warmup):
        step()
    samples, steps, start = 0, 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - start < seconds:
        samples += step()
        steps += 1
    return samples / (time.perf_counter() - start)


def side(name: str, value: float, unit: str = "samples/s") -> dict[str, Any]:
    """Return one side of a comparison as a record has it, to four digits."""
    return {"name": name, "value": _round(value), "unit": unit}


def ratio(
    name: str, above: Mapping[str, Any], below: Mapping[str, Any], *, asked: float | None = None
) -> dict[str, Any]:
    """Return how many times one side is the other, and how many times were asked."""
    return {"name": name, "ratio": _round(above["value"] / below["value"]), "asked": asked}


def emit(record: Mapping[str, Any]) -> None:
    """Print a record: a table on stderr, and as the last line of stdout one JSON object.

    Parameters
    ----------
    record : mapping
        ``benchmark`` (its name), ``sides`` (see `side`), ``ratios`` (see `ratio`) and ``note`` (what limits
        it). ``machine`` is added where it is absent.
    """
    whole = {"benchmark": record["benchmark"], "machine": describe_machine(), **record}
    sys.stderr.write("\n".join(_table(whole)) + "\n")
    sys.stderr.flush()
    sys.stdout.write(json.dumps(whole) + "\n")
    sys.stdout.flush()


def _table(record: Mapping[str, Any]) -> list[str]:
    machine = record["machine"]
    head = (
        f"{record['benchmark']} on {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Python {machine['python']}, load {machine['load_1min']}"
    )
    width = max(len(entry["name"]) for entry in (*record["sides"], *record["ratios"]))
    sides = [f"  {s['name']:<{width}}  {s['value']:>12,.4g} {s['unit']}" for s in record["sides"]]
    ratios = [f"  {r['name']:<{width}}  {r['ratio']:>12,.4g} times{_asked(r)}" for r in record["ratios"]]
    return [head, *sides, *ratios, f"  {record['note']}"]


def _asked(entry: Mapping[str, Any]) -> str:
    return "" if entry.get("asked") is None else f", asked {entry['asked']:g}"


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _round(value: float) -> float:
    """Keep four digits: the rest is noise."""
    return float(f"{value:.4g}") if math.isfinite(value) else value
