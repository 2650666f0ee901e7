"""Two processes train and two workers prepare, started from the command line as on a cluster."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workspace import run

BIN = Path(sys.executable).parent
TOOL = str(BIN / "archesweather")
DAYS = '["2018-06-01", "2018-08-31"]'
PREPARE = [TOOL, "prepare", "sample", "--sample.start", "2018-06-01", "--train", DAYS]


@contextlib.contextmanager
def start(*command: str, cwd: Path) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def scheduler(tmp_path) -> Iterator[str]:
    """The address of a scheduler with two workers, all of them processes of their own."""
    file = tmp_path / "scheduler.json"
    dask = [str(BIN / "dask")]
    worker = [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
    with contextlib.ExitStack() as stack:
        ports = ["--port", "0", "--dashboard-address", ":0"]
        stack.enter_context(start(*dask, "scheduler", "--scheduler-file", str(file), *ports, cwd=tmp_path))
        for _ in range(600):
            if file.is_file() and file.stat().st_size:
                break
            time.sleep(0.1)
        for _ in range(2):
            stack.enter_context(start(*worker, cwd=tmp_path))
        yield json.loads(file.read_text())["address"]


def read_files(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    # Chunks of fields and their statistics; records beside them name paths and times.
    return {name: path.read_bytes() for name, path in files.items() if "/c/" in name or "/c." in name}


@pytest.mark.slow
def test_a_cluster_prepares_the_same_bytes(scheduler, tmp_path):
    alone = run(*PREPARE, "--out", "alone", "--json", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    together = run(*PREPARE, "--out", "together", "--scheduler", scheduler, "--json", cwd=tmp_path)
    assert together.returncode == 0, together.stderr
    ours, theirs = read_files(tmp_path / "alone"), read_files(tmp_path / "together")
    assert len(ours) > 90
    assert ours == theirs


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    assert run(*PREPARE, "--out", "data", cwd=tmp_path).returncode == 0
    words = ["train", "data", "--config", "demo", "--split.train", DAYS, "--fit.max_steps", "4"]
    words += ["--fit.warmup_steps", "1", "--fit.validate_every", "4"]
    words += ["--runtime.accelerator", "cpu", "--runtime.strategy", "ddp"]
    done = run(
        TOOL, *words, "--runtime.devices", "2", "--out", "two", "--json", cwd=tmp_path, OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == [4]
    assert (tmp_path / "two" / "pretrained" / "model.safetensors").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "two"}
