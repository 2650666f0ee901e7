"""Cutting windows around storms: our reader against the plain loop of selections, on the same store.

Two layouts of one simulated reanalysis (1 degree, 13 levels, a month): a field a chunk, as analysis-ready
archives have it, and four days a chunk, as files made for time series have it. The loop is what one writes
first: for every storm, offset, variable and level one ``.sel`` of the window, then ``.values``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dask.array
import numpy as np
import xarray as xr

from cyclone_fusion.config import SampleConfig, WindowConfig
from cyclone_fusion.data import build_samples
from cyclone_fusion.sample import read_sample_tracks
from cyclone_fusion.windows import WindowCutter, open_window_fields
from isopleth.benchmark import emit, ratio, side

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
WINDOW = WindowConfig(levels=(250.0, 500.0, 700.0))
FIRST, LAST = np.datetime64("2020-09-01T00"), np.datetime64("2020-09-30T18")


@dataclass(frozen=True)
class Rates:
    """Windows a second, of the clock and of all threads together."""

    wall: float
    cpu: float


def write_store(path: Path, steps: int) -> None:
    """Write noise in the layout of a reanalysis; its values do not matter, its chunks do."""
    times = np.arange(FIRST - np.timedelta64(6, "h"), LAST + np.timedelta64(6, "h"), np.timedelta64(6, "h"))
    shape = (len(times), len(LEVELS), 181, 360)
    random = dask.array.random.default_rng(0)
    fields = xr.Dataset(
        {
            name: (
                ("time", "level", "lat", "lon"),
                random.normal(size=shape, chunks=(steps, -1, -1, -1)).astype("f4").round(1),
                {"units": units},
            )
            for name, units in (
                ("u_component_of_wind", "m s-1"),
                ("v_component_of_wind", "m s-1"),
                ("geopotential", "m2 s-2"),
            )
        },
        coords={
            "time": times.astype("datetime64[ns]"),
            "level": ("level", list(map(float, LEVELS)), {"units": "hPa"}),
            "lat": ("lat", np.arange(-90.0, 91.0), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(0.0, 360.0), {"units": "degrees_east"}),
        },
    )
    fields.to_zarr(path, consolidated=False)


def choose_samples() -> xr.Dataset:
    """Take the real storms of the month, away from the seam that the plain loop cannot cross."""
    tracks = read_sample_tracks()
    when = tracks["time"].values
    tracks = tracks.isel(record=np.flatnonzero((when >= FIRST - np.timedelta64(12, "h")) & (when <= LAST)))
    samples = build_samples(tracks, SampleConfig(), with_target=False)
    lon, past = samples["lon"].values, samples["past_lon"].values[:, 0]
    inside = (np.minimum(lon, past) > 13) & (np.maximum(lon, past) < 346) & (samples["time"].values >= FIRST)
    samples = samples.isel(sample=np.flatnonzero(inside))
    return samples.isel(sample=np.argsort(samples["time"].values, kind="stable"))


def loop(fields: xr.Dataset, samples: xr.Dataset) -> Iterator[np.ndarray]:
    """Cut windows one storm after the other by plain selections."""
    for number in range(samples.sizes["sample"]):
        one = samples.isel(sample=number)
        lat, lon = (
            [one["lat"].item(), one["past_lat"].values[0]],
            [one["lon"].item(), one["past_lon"].values[0]],
        )
        channels = []
        for offset, hours in enumerate(WINDOW.offset_hours):
            when = one["time"].values + np.timedelta64(hours, "h")
            row, column = (float(np.floor(each + 0.5)) for each in (lat[offset], lon[offset]))
            here = {"lat": slice(row - 12, row + 12), "lon": slice(column - 12, column + 12)}
            channels += [
                fields[name].sel(time=when, level=level, **here).values
                for name in WINDOW.variables
                for level in WINDOW.levels
            ]
        yield np.stack(channels)


def measure(store: Path, samples: xr.Dataset, loops: int) -> tuple[Rates, Rates]:
    """Return windows a second (a sample's channels are one window) of ours and of the loop."""
    fields = xr.open_zarr(store, chunks=None, consolidated=False)
    some = np.linspace(0, samples.sizes["sample"] - 1, loops).astype(int)
    # What is imported at the first use belongs to neither side.
    list(WindowCutter(open_window_fields(store, WINDOW), samples.isel(sample=[0]), WINDOW).cut())
    list(loop(fields, samples.isel(sample=[0])))
    cutter = WindowCutter(open_window_fields(store, WINDOW), samples, WINDOW)
    ours, our_rates = take_time(cutter.cut)
    theirs, their_rates = take_time(lambda: (each[None] for each in loop(fields, samples.isel(sample=some))))
    np.testing.assert_array_equal(theirs, ours[some])
    return our_rates, their_rates


def take_time(cut: Callable[[], Iterator[np.ndarray]]) -> tuple[np.ndarray, Rates]:
    """Return all windows, and how many came in a second."""
    wall, cpu = time.perf_counter(), time.process_time()
    windows = np.concatenate(list(cut()))
    count = len(windows)
    return windows, Rates(count / (time.perf_counter() - wall), count / (time.process_time() - cpu))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loops", type=int, default=24, help="samples that the plain loop cuts")
    options = parser.parse_args()
    samples = choose_samples()
    folder = Path(tempfile.mkdtemp())
    sides, ratios = [], []
    try:
        for steps, layout in ((1, "a field a chunk"), (16, "four days a chunk")):
            write_store(folder / "fields.zarr", steps)
            mine, plain = measure(folder / "fields.zarr", samples, options.loops)
            for clock, asked in (("wall", 30.0), ("cpu", None)):
                unit = "windows/s" if clock == "wall" else "windows/CPU s"
                ours = side(f"WindowCutter, {layout}, {clock}", getattr(mine, clock), unit)
                theirs = side(f"loop of .sel, {layout}, {clock}", getattr(plain, clock), unit)
                sides += [ours, theirs]
                ratios.append(ratio(f"over the plain loop, {layout}, {clock}", ours, theirs, asked=asked))
            shutil.rmtree(folder / "fields.zarr")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    times = len(np.unique(samples["time"].values))
    emit(
        {
            "benchmark": "windows",
            "sides": sides,
            "ratios": ratios,
            "note": f"{samples.sizes['sample']} samples at {times} times of September 2020, 18 channels of "
            "25 x 25 points; both sides give equal windows. The loop decodes 18 chunks a sample, ours each "
            "chunk once, on all cores: with a field a chunk decoding is nearly all of our time",
        }
    )


if __name__ == "__main__":
    main()
