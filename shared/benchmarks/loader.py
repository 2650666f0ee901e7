"""Samples a second of five ways to read training windows, from the same fields in one run.

A sample is three consecutive time steps of 20 channels as one normalised float32 tensor, drawn at random and
stacked to batches of eight, in one process without workers. The source is the friendliest zarr one meets: a
chunk a time step. Before each side that reads from disk the files are dropped from the page cache.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from isopleth.benchmark import emit, measure_rate, ratio, side
from isopleth.data import Normaliser, PackedStore, Windows, make_loader, pack

BATCH, STEPS_A_SAMPLE = 8, 3
LEVELS = (250.0, 500.0, 700.0, 850.0)
ON_LEVELS = ("geopotential", "temperature", "u_component_of_wind", "v_component_of_wind")
SINGLE = ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind", "mean_sea_level_pressure")

Read = Callable[[int], torch.Tensor]


def make_fields(n_time: int, n_lat: int, n_lon: int) -> xr.Dataset:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {}
    for name in ON_LEVELS:
        values = rng.standard_normal((n_time, len(LEVELS), n_lat, n_lon), dtype=np.float32)
        fields[name] = (("time", "level", "lat", "lon"), values)
    for name in SINGLE:
        fields[name] = (("time", "lat", "lon"), rng.standard_normal((n_time, n_lat, n_lon), dtype=np.float32))
    time = np.datetime64("2000-01-01", "ns") + np.arange(n_time) * np.timedelta64(6, "h")
    half = 90 / n_lat
    lat, lon = np.linspace(-90 + half, 90 - half, n_lat), np.arange(n_lon) * 360 / n_lon
    return xr.Dataset(fields, {"time": time, "level": list(LEVELS), "lat": lat, "lon": lon})


def write_source(fields: xr.Dataset, path: Path) -> None:
    encoding = {name: {"chunks": (1, *array.shape[1:])} for name, array in fields.data_vars.items()}
    fields.to_zarr(path, encoding=encoding, consolidated=False)


def to_tensor(sample: xr.Dataset, normaliser: Normaliser) -> torch.Tensor:
    arrays = [array.values for array in sample.data_vars.values()]
    layers = [array if array.ndim == 4 else array[:, None] for array in arrays]
    return torch.from_numpy(normaliser.transform(np.concatenate(layers, axis=1)))


def through_xarray(path: Path, normaliser: Normaliser, **options: Any) -> Read:
    dataset = xr.open_zarr(path, consolidated=False, **options)

    def read(start: int) -> torch.Tensor:
        return to_tensor(dataset.isel(time=slice(start, start + STEPS_A_SAMPLE)).compute(), normaliser)

    return read


def through_xbatcher(path: Path, normaliser: Normaliser) -> Read | None:
    try:
        import xbatcher  # type: ignore[import-untyped]
    except ImportError:
        return None
    dataset = xr.open_zarr(path, consolidated=False)
    whole = {**dataset.sizes, "time": STEPS_A_SAMPLE}
    windows = xbatcher.BatchGenerator(dataset, whole, input_overlap={"time": STEPS_A_SAMPLE - 1})

    def read(start: int) -> torch.Tensor:
        return to_tensor(windows[start], normaliser)

    return read


def rate_of_reads(read: Read, n_samples: int, seconds: float) -> float:
    order = itertools.cycle(np.random.default_rng(1).permutation(n_samples).tolist())

    def step() -> int:
        return len(torch.stack([read(next(order)) for _ in range(BATCH)]))

    return measure_rate(step, seconds=seconds, warmup=0)


def rate_of_store(store: PackedStore, seconds: float, *, budget: int | None) -> float:
    windows = Windows(store, (0, 1), (2,), memory_budget=budget).load()
    loader = make_loader(windows, batch_size=BATCH, shuffle=True, seed=1, workers=0, drop_last=True)

    def batches() -> Iterator[Any]:
        for epoch in itertools.count():
            loader.sampler.set_epoch(epoch)
            yield from loader

    endless = batches()
    return measure_rate(lambda: len(next(endless)["inputs"]), seconds=seconds, warmup=0)


def drop_from_page_cache(path: Path) -> None:
    """Ask the kernel to forget files that are on the disk already."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in filter(Path.is_file, path.rglob("*")):
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def compare(folder: Path, fields: xr.Dataset, seconds: float) -> dict[str, Any]:
    source = folder / "source.zarr"
    write_source(fields, source)
    store = pack(fields, folder / "packed.zarr", train_period=(None, None))
    normaliser, n_samples = store.normaliser, fields.sizes["time"] - STEPS_A_SAMPLE + 1

    reads = {
        "xr.open_zarr through dask": through_xarray(source, normaliser),
        "xr.open_zarr, chunks=None": through_xarray(source, normaliser, chunks=None),
        "xbatcher": through_xbatcher(source, normaliser),
    }
    sides = {}
    for name, read in reads.items():
        if read is not None:
            drop_from_page_cache(source)
            sides[name] = side(name, rate_of_reads(read, n_samples, seconds))
    drop_from_page_cache(store.path)
    naive = sides["xr.open_zarr through dask"]
    cold = side("packed store, cold", rate_of_store(store, seconds, budget=0))
    memory = side("packed store, in memory", rate_of_store(store, seconds, budget=None))
    megabytes = STEPS_A_SAMPLE * store.step_bytes / 1e6
    return {
        "benchmark": "loader",
        "sides": [*sides.values(), cold, memory],
        "ratios": [
            ratio("packed, cold / dask", cold, naive, asked=5.0),
            ratio("packed, in memory / dask", memory, naive, asked=50.0),
        ],
        "note": f"a sample is {megabytes:.2f} MB: dask is limited by its task a chunk, the cold store "
        "by one call a time step and the disk, memory by the bandwidth of one copy",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few small fields: proves that it runs")
    parser.add_argument("--seconds", type=float, default=None, help="seconds a side (10; 0.2 with --quick)")
    options = parser.parse_args()
    sizes = (24, 8, 16) if options.quick else (400, 64, 128)
    seconds = options.seconds or (0.2 if options.quick else 10.0)
    with tempfile.TemporaryDirectory() as folder:
        emit(compare(Path(folder), make_fields(*sizes), seconds))


if __name__ == "__main__":
    main()
