"""Frames a second from store to store, and the share that is of the network's own rate.

The network's own rate is that of frames in memory, a batch after another. Between them stand reading,
decoding and writing; the next block is made while one is written. Sides are measured in turn, some times, and
the median of each counts.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import dask.array
import numpy as np
import torch
import xarray as xr

from geostint.baselines import Gaps, Method
from geostint.config import InterpolateConfig, ModelConfig, NetworkConfig
from geostint.interpolate import interpolate_fields, make_plan
from geostint.model import Geostint
from isopleth.benchmark import emit, measure_rate, ratio, side
from isopleth.data import Normaliser
from isopleth.grid import Grid
from isopleth.io import write_zarr


def write_source(folder: Path, grid: Grid, frames: int) -> Path:
    """Write random fields, one frame a chunk, as reanalyses have them."""
    shape = (frames, *grid.shape)
    values = dask.array.random.default_rng(0).standard_normal(
        shape, chunks=(1, *grid.shape), dtype=np.float32
    )
    times = np.datetime64("2000-01-01", "ns") + np.arange(frames) * np.timedelta64(6, "h")
    coords = {"time": times, "lat": grid.lat, "lon": grid.lon}
    fields = xr.Dataset({"x": xr.DataArray(values, coords, ("time", "lat", "lon"), attrs={"units": "K"})})
    return write_zarr(fields, folder / "in.zarr", chunks={"time": 1})


def save_model(folder: Path, widths: tuple[int, ...]) -> Path:
    config = ModelConfig(channels=("x",), frames=2, network=NetworkConfig(widths=widths))
    Geostint(config, Normaliser(("x",), [0.0], [1.0])).save_pretrained(folder / "model")
    return folder / "model"


def measure_network(method: Method, grid: Grid, block: int, seconds: float) -> float:
    frames = np.random.default_rng(0).standard_normal((block, 4, 1, *grid.shape), dtype=np.float32)
    start = 21600 * np.arange(block)
    gaps = Gaps(frames, start, start + 21600, grid)

    def step() -> int:
        return method.make(gaps, (1 / 3, 2 / 3)).shape[0] * 2

    return measure_rate(step, seconds=seconds)


def measure_stream(config: InterpolateConfig) -> float:
    """Return frames made a second; the frames that were there are copied and do not count."""
    shutil.rmtree(config.out, ignore_errors=True)
    start = time.perf_counter()
    found = interpolate_fields(config)
    return (found["written"] - found["frames"]) / (time.perf_counter() - start)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Measure all sides in turn, so that what else the machine does meets each of them alike."""
    grid = Grid.regular(options.rows, 2 * options.rows)
    source = str(write_source(folder, grid, options.frames))
    model = str(save_model(folder, tuple(options.widths)))
    network = InterpolateConfig(source=source, out=folder / "network.zarr", block=options.block, model=model)
    linear = InterpolateConfig(source=source, out=folder / "linear.zarr", block=options.block, factor=3)
    # The very method that the stream runs, with its batches.
    method = make_plan(network).method
    # What is imported and opened for the first time is no part of a rate.
    interpolate_fields(replace(linear, out=folder / "first.zarr"))
    rates: dict[str, list[float]] = {"memory": [], "network": [], "linear": []}
    for _ in range(options.repeats):
        rates["memory"].append(measure_network(method, grid, options.block, options.seconds))
        rates["network"].append(measure_stream(network))
        rates["linear"].append(measure_stream(linear))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=180)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        rates = {name: statistics.median(found) for name, found in measure(options, Path(name)).items()}
    sides = [
        side("the network in memory", rates["memory"], "frames/s"),
        side("store to store, network", rates["network"], "frames/s"),
        side("store to store, linear", rates["linear"], "frames/s"),
    ]
    emit(
        {
            "benchmark": f"interpolate {options.rows} x {2 * options.rows}, {options.frames} frames",
            "sides": sides,
            "ratios": [ratio("share of the network's own rate", sides[1], sides[0])],
            "note": "the rest is reading, decoding and writing, which linear interpolation shows alone",
        }
    )


if __name__ == "__main__":
    main()
