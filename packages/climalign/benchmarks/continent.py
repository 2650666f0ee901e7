"""Downscale a continent by dask: peak memory of a month and of a year, each in a process of its own.

The coarse store is written day by day, the flows are untrained: memory and time do not depend on what they
have learned. Nothing but the days in work is ever in memory, so that both peaks should be equal.
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

import dask
import numpy as np
import torch
import xarray as xr

from climalign.config import FieldConfig, FlowConfig, ModelConfig, PredictConfig, SamplingConfig
from climalign.model import ClimAlign
from climalign.predict import predict_from_files
from isopleth.benchmark import emit, ratio, side
from isopleth.io import write_zarr

_FACTOR = 4
_NAME = "2m_temperature"


def write_model(folder: Path, rows: int, columns: int) -> Path:
    """Write an untrained pair for a continent at a quarter of a degree."""
    config = ModelConfig(
        field=FieldConfig(variable=_NAME, factor=_FACTOR),
        flow=FlowConfig(levels=2, steps=2, filters=16),
        lat=tuple((10.125 + 0.25 * np.arange(rows)).tolist()),
        lon=tuple((200.125 + 0.25 * np.arange(columns)).tolist()),
    )
    model = ClimAlign(config)
    for scale in (model.coarse_scale, model.fine_scale):
        scale.known.fill_(value=True)
        scale.monthly.fill_(285.0)
        scale.scale.fill_(5.0)
    for part in model.modules():
        if hasattr(part, "initialized"):
            part.initialized.fill_(value=True)
    model.save_pretrained(folder / "model")
    return folder / "model"


def write_coarse(folder: Path, rows: int, columns: int, days: int) -> Path:
    """Write the coarse fields, lazily made."""
    shape = (days, rows // _FACTOR + 4, columns // _FACTOR + 4)
    values = dask.array.random.default_rng(0).normal(285, 5, shape, chunks=(10, -1, -1)).astype(np.float32)
    coords = {
        "time": np.datetime64("2001-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D"),
        "lat": 10.5 + np.arange(-2, shape[1] - 2),
        "lon": 200.5 + np.arange(-2, shape[2] - 2),
    }
    field = xr.DataArray(values, coords, ("time", "lat", "lon"), name=_NAME, attrs={"units": "K"})
    return write_zarr(field.to_dataset(), folder / "coarse.zarr")


def measure(options: argparse.Namespace) -> None:
    """Downscale, and print what it took: what a child process does."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_model(folder, options.rows, options.columns)
        source = write_coarse(folder, options.rows, options.columns, options.days)
        start = time.perf_counter()
        with dask.config.set(scheduler="threads", num_workers=options.threads):
            predict_from_files(
                PredictConfig(
                    source=str(source),
                    model=str(model),
                    out=folder / "fine.zarr",
                    chunk_days=options.chunk_days,
                    sampling=SamplingConfig(members=options.members),
                )
            )
        seconds = time.perf_counter() - start
        with xr.open_zarr(folder / "fine.zarr", chunks=None) as made:
            written = sum(each.nbytes for each in made.values()) / 1e6
            last = np.isfinite(made[_NAME].isel(time=-1).values).all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "seconds": seconds, "written": written, "complete": bool(last)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--columns", type=int, default=384)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--chunk_days", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", action="store_true", help="measure in this process, for the other one")
    options = parser.parse_args()
    if options.measure:
        measure(options)
        return
    found = {}
    for days in (max(options.days // 12, 1), options.days):
        words = [
            f"--{name}={value}"
            for name, value in {**vars(options), "days": days}.items()
            if name != "measure"
        ]
        child = subprocess.run(
            [sys.executable, __file__, "--measure", *words], capture_output=True, text=True, check=True
        )
        found[days] = json.loads(child.stdout.splitlines()[-1])
        assert found[days]["complete"]
    peaks = [side(f"peak memory, {days} days", each["peak"], "MiB") for days, each in found.items()]
    written = [side(f"written, {days} days", each["written"], "MB") for days, each in found.items()]
    emit(
        {
            "benchmark": "continent",
            "sides": [*peaks, *written, side("time", found[options.days]["seconds"], "s")],
            "ratios": [
                ratio("memory, year over month", peaks[1], peaks[0], asked=1.1),
                ratio("written, year over month", written[1], written[0]),
            ],
            "note": f"{options.rows} x {options.columns} fine cells, {options.members} members, "
            f"{options.chunk_days} days a chunk, {options.threads} workers; memory grows with these alone",
        }
    )


if __name__ == "__main__":
    main()
