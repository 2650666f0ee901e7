"""SIGKILL at any moment: the old output is whole or the new one is, and a long write goes on."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from isopleth.io.write import atomic_path, recover_output, write_json, write_zarr

# A process with everything imported that forks a writer for each line it reads: a kill then costs
# milliseconds, not the import of xarray. It forks before any of the libraries has started a thread.
NURSERY = """
import os, sys, time
os.environ["SOURCE_DATE_EPOCH"] = "0"
import numpy as np, xarray as xr, dask, dask.array, zarr, h5netcdf, h5py, zarr.codecs, xarray.backends.zarr
from isopleth.io import atomic, write as room
from isopleth.io.write import write_json, write_netcdf, write_zarr
dask.config.set(scheduler="synchronous")

def dataset(data):
    return xr.Dataset({"x": (("time", "lat", "lon"), data)}, coords={"time": np.arange(len(data))})

def full(value):
    return dataset(np.full((24, 16, 32), value, "f4"))

def forever(kind, path):
    for value in range(1, 10**9):
        if kind == "json":
            write_json(path, {"values": [value] * 3000})
        elif kind == "netcdf":
            write_netcdf(full(value), path)
        else:
            write_zarr(full(value), path, chunks={"time": 4})

def swap_by_renames(value, path, die):
    atomic._exchange = lambda a, b: False
    rename, calls = atomic.Path.rename, []
    def rename_once(self, to):
        if calls:
            os._exit(9)
        calls.append(rename(self, to))
    if die == "die":
        atomic.Path.rename = rename_once
    write_zarr(full(int(value)), path)

def slowly(path, log):
    room._REGION_BYTES = 1
    def slow(block, block_info=None):
        with open(log, "a") as file:
            file.write(f"{block_info[0]['chunk-location'][0]} ")
        time.sleep(0.02)
        return block
    data = dask.array.arange(40, chunks=2, dtype="f4")[:, None, None] * dask.array.ones((1, 6, 8), dtype="f4")
    lazy = data.map_blocks(slow, dtype="f4", meta=np.zeros((0, 0, 0), "f4"))
    write_zarr(dataset(lazy), path, resume=True, chunks={"time": 2})

for line in sys.stdin:
    name, *arguments = line.split()
    child = os.fork()
    if child == 0:
        globals()[name](*arguments)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Starts writers in a process of their own, and ends them."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *arguments):
        self.process.stdin.write(" ".join(map(str, arguments)) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self):
        return int(self.process.stdout.readline())

    def run(self, *arguments):
        self.start(*arguments)
        return self.wait()


@pytest.fixture(scope="module")
def nursery():
    made = Nursery()
    with made.process:
        yield made
        # A closed pipe does not end it while a forked worker of some loader has it open, too.
        made.process.terminate()


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("rounds", [10, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", ["json", "nc", "zarr"])
def test_an_output_is_whole_after_a_kill_at_any_moment(nursery, suffix, rounds, tmp_path, read):
    path, kind = tmp_path / f"out.{suffix}", {"nc": "netcdf"}.get(suffix, suffix)
    rng, seen = random.Random(suffix), set()
    for _ in range(rounds):
        seen_before = path.stat().st_ino if path.exists() else None
        child = nursery.start("forever", kind, path)
        deadline = time.monotonic() + 20
        while not seen and time.monotonic() < deadline and not path.exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.3))
        os.kill(child, signal.SIGKILL)
        assert nursery.wait() == -signal.SIGKILL
        if path.exists():
            read(path)
            seen.add(path.stat().st_ino != seen_before)
        assert len(hidden(tmp_path)) <= 1
    assert True in seen, "no kill came after a finished write: the test did not test"
    if suffix == "json":
        write_json(path, {})
        assert hidden(tmp_path) == []


def test_without_an_exchange_a_kill_between_the_renames_is_mended(nursery, tmp_path, read):
    path = tmp_path / "out.zarr"
    assert nursery.run("swap_by_renames", 1, path, "live") == 0
    assert nursery.run("swap_by_renames", 2, path, "live") == 0
    assert nursery.run("swap_by_renames", 3, path, "die") == 9
    assert not path.exists()
    assert recover_output(path)
    assert read(path) == 2
    assert not recover_output(path)
    shutil.rmtree(path)
    assert nursery.run("swap_by_renames", 4, path, "live") == 0
    assert read(path) == 4
    assert hidden(tmp_path) == []


def test_the_next_write_brings_back_the_old_output_before_it_starts(nursery, tmp_path, read):
    path = tmp_path / "out.zarr"
    assert nursery.run("swap_by_renames", 1, path, "live") == 0
    assert nursery.run("swap_by_renames", 2, path, "die") == 9
    with pytest.raises(RuntimeError, match="stop"), atomic_path(path, replace_folder=True):  # noqa: PT012
        assert read(path) == 1
        raise RuntimeError("stop")
    assert read(path) == 1


def test_a_long_write_goes_on_after_each_kill_and_ends_with_the_same_bytes(nursery, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    path, log = tmp_path / "out.zarr", tmp_path / "log"
    rng, kills, computed = random.Random(0), 0, 0
    log.touch()
    while kills < 5:
        child = nursery.start("slowly", path, log)
        computed += rng.randint(1, 4)
        while len(log.read_text().split()) < computed:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.04))
        os.kill(child, signal.SIGKILL)
        assert nursery.wait() == -signal.SIGKILL
        kills, computed = kills + 1, len(log.read_text().split())
        assert not path.exists()
    assert nursery.run("slowly", path, log) == 0
    data = np.arange(40, dtype="f4")[:, None, None] * np.ones((1, 6, 8), "f4")
    ds = xr.Dataset({"x": (("time", "lat", "lon"), data)}, coords={"time": np.arange(40)})
    whole = write_zarr(ds, tmp_path / "whole.zarr", resume=True, chunks={"time": 2})
    assert contents(path) == contents(whole)
    regions = [int(word) for word in log.read_text().split()]
    assert set(regions) == set(range(20))
    # Each killed writer had at most the region at work to compute again.
    assert len(regions) <= 20 + kills


def contents(store):
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}
