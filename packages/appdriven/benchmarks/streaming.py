"""Evaluate daily 64 x 32 fields some times at a time: peak memory of ten years, of one, and of one in memory.

Each side runs in a process of its own, whose whole peak is told, imports and all.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from appdriven.application import Application
from isopleth import benchmark

YEARS, LAT, LON = 10, 32, 64
UNKNOWN = "unknown: a benchmark"
DECLARATION = {
    "name": "A field", "scope": {"out_of_scope": UNKNOWN}, "subgroups": {"columns": UNKNOWN},
    "task": {"summary": "Predict tomorrow's field.", "decision": UNKNOWN, "decided_by": UNKNOWN,
             "affected": UNKNOWN, "deployment_unit": "a day", "variable": "level", "units": "m",
             "lead": "1D", "range": [-50.0, 50.0]},
    "data": {"name": "AR(1)", "kind": "simulated", "source": UNKNOWN, "licence": UNKNOWN,
             "fingerprint": UNKNOWN,
             "columns": {"target": "level", "time": "time", "lat": "lat", "lon": "lon"}},
    "harms": {"description": UNKNOWN, "costs": UNKNOWN},
    "constraints": {"latency_seconds": UNKNOWN, "memory_mb": UNKNOWN, "notes": UNKNOWN, "max_missing": 0.0},
    "metrics": {"primary": {"name": "rmse", "threshold": UNKNOWN, "set_by": UNKNOWN}, "guard": UNKNOWN},
    "baselines": {"domain": ["persistence", "climatology"], "learned": UNKNOWN},
    "splits": {"kind": "forward", "reason": "later years", "n": 4, "embargo": "30D"},
    "uncertainty": {"over": "space-time", "tile_km": 4000.0, "draws": 1000},
    "budget": {"train_seconds": UNKNOWN, "predict_seconds": UNKNOWN, "parameters": UNKNOWN},
}  # fmt: skip


def write_fields(folder: Path, years: int) -> None:
    """Write an AR(1) field and its optimal forecast, a year at a time."""
    generator, level = np.random.default_rng(0), np.zeros((LAT, LON))
    lat, lon = np.linspace(-87.1875, 87.1875, LAT), np.arange(LON) * 360 / LON
    for year in range(years):
        days = np.datetime64("2001-01-01") + np.arange(365 * year, 365 * (year + 1))
        truth, said = np.empty((2, days.size, LAT, LON), dtype=np.float32)
        for day in range(days.size):
            said[day] = 0.8 * level
            level = 0.8 * level + generator.standard_normal(level.shape)
            truth[day] = level
        coords = {"time": days.astype("datetime64[ns]"), "lat": lat, "lon": lon}
        for name, values in {"level": truth, "prediction": said}.items():
            piece = xr.Dataset({name: (("time", "lat", "lon"), values)}, coords).chunk(time=73)
            mode = {"append_dim": "time"} if year else {"mode": "w"}
            piece.to_zarr(folder / f"{name}.zarr", consolidated=False, **mode)


def run_side(folder: Path, *, whole: bool) -> None:
    from appdriven.case import tested_samples
    from appdriven.evaluation import evaluate
    from appdriven.grids import Grids
    from appdriven.predictions import read_predictions
    from appdriven.splits import make_splits
    from appdriven.stream import evaluate_grids
    from appdriven.table import read_table

    application = Application.from_dict(DECLARATION)
    start = time.process_time()
    files = folder / "level.zarr", folder / "prediction.zarr"
    if whole:
        table = read_table(files[0], application.columns)
        folds = make_splits(application.splits, table)
        said = read_predictions(files[1], table, tested_samples(folds))
        card = evaluate(application, table, said, folds=folds)
    else:
        card = evaluate_grids(application, Grids.open(application, *files))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    score = card.record.scores[0]
    print(
        json.dumps(
            {"seconds": time.process_time() - start, "mb": peak, "rmse": score.model, "ends": score.interval}
        )
    )


def measure(years: int, *, whole: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        write_fields(Path(folder), years)
        command = [sys.executable, __file__, "--folder", folder, *(["--whole"] if whole else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=YEARS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--whole", action="store_true")
    options = parser.parse_args()
    if options.folder:
        run_side(options.folder, whole=options.whole)
        return
    found = {
        "one year in memory": measure(1, whole=True),
        "one year, streamed": measure(1, whole=False),
        f"{options.years} years, streamed": measure(options.years, whole=False),
    }
    peaks = {name: benchmark.side(f"{name}: peak memory", one["mb"], "MiB") for name, one in found.items()}
    times = [benchmark.side(f"{name}: CPU time", one["seconds"], "s") for name, one in found.items()]
    memory, short, long = peaks.values()
    ratios = [
        benchmark.ratio("memory of one year in memory over that of all years streamed", memory, long),
        benchmark.ratio("growth of memory from one year to all", long, short),
    ]
    same = ", ".join(f"{name} {one['rmse']:.6f}" for name, one in found.items())
    cells = options.years * 365 * LAT * LON
    note = f"{cells / 1e6:.1f} million cells, zarr in chunks of 73 days, 1,000 draws. RMSE: {same}"
    benchmark.emit(
        {"benchmark": "streaming", "sides": [*peaks.values(), *times], "ratios": ratios, "note": note}
    )


if __name__ == "__main__":
    main()
