"""Frames a second from store to store, and the share that is of the network's own rate.

The network's own rate is that of frames in memory, a batch after another. Between them stand reading,
decoding and writing; the next block is made while one is written.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import dask.array
import numpy as np
import torch
import xarray as xr

from geostint.baselines import Gaps
from geostint.config import InterpolateConfig, ModelConfig, NetworkConfig
from geostint.interpolate import interpolate_fields
from geostint.model import Geostint
from geostint.predict import Learned
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


def make_model(folder: Path, widths: tuple[int, ...]) -> Learned:
    config = ModelConfig(channels=("x",), frames=2, network=NetworkConfig(widths=widths))
    model = Geostint(config, Normaliser(("x",), [0.0], [1.0]))
    model.save_pretrained(folder / "model")
    return Learned(model)


def measure_network(method: Learned, grid: Grid, block: int, seconds: float) -> float:
    frames = np.random.default_rng(0).standard_normal((block, 4, 1, *grid.shape), dtype=np.float32)
    start = 21600 * np.arange(block)
    gaps = Gaps(frames, start, start + 21600, grid)

    def step() -> int:
        return method.make(gaps, (1 / 3, 2 / 3)).shape[0] * 2

    return measure_rate(step, seconds=seconds)


def measure_stream(folder: Path, source: Path, block: int, *, model: bool) -> float:
    """Return frames made a second; the frames that were there are copied and do not count."""
    out = folder / "out.zarr"
    shutil.rmtree(out, ignore_errors=True)
    options = {"model": str(folder / "model")} if model else {"method": "linear", "factor": 3}
    config = InterpolateConfig(source=str(source), out=out, block=block, **options)
    start = time.perf_counter()
    found = interpolate_fields(config)
    return (found["written"] - found["frames"]) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=180)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    grid = Grid.regular(options.rows, 2 * options.rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_source(folder, grid, options.frames)
        network = measure_network(
            make_model(folder, tuple(options.widths)), grid, options.block, options.seconds
        )
        stream = measure_stream(folder, source, options.block, model=True)
        linear = measure_stream(folder, source, options.block, model=False)
    sides = [
        side("the network in memory", network, "frames/s"),
        side("store to store, network", stream, "frames/s"),
        side("store to store, linear", linear, "frames/s"),
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
