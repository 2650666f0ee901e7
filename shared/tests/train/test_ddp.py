"""Two processes train as one does with twice the batch."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isopleth.train import load_checkpoint

SCRIPT = Path(__file__).with_name("training_script.py")

# The two sums of half a batch are added in another order than one sum of the whole: float32 rounding
# (6e-8 relative) that thirty steps of AdamW carry on.
TOLERANCE = 1e-6


def losses(run: Path, name: str = "loss") -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def train_on_two(trainings, run: Path, *options: object) -> list[int]:
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    started = [
        trainings.start(run, "--devices", 2, "--plain", *options, **env, LOCAL_RANK=str(rank))
        for rank in (0, 1)
    ]
    codes = [trainings.wait(pid) for pid, _ in started]
    # Gloo itself greets on stdout in older torch; nothing of ours may.
    printed = [line for _, log in started for line in log.with_suffix(".out").read_text().splitlines()]
    assert [line for line in printed if not line.startswith("[Gloo]")] == []
    return codes


def test_the_loss_curve_is_that_of_one_process(trainings, tmp_path):
    code, _, err = trainings.run(tmp_path / "one", "--plain", "--batch", 8)
    assert code == 0, err
    assert train_on_two(trainings, tmp_path / "two", "--batch", 4) == [0, 0]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 15
    assert sum(one[10:]) < 0.9 * sum(one[:5])  # it learns: the curve is no straight line
    torch.testing.assert_close(torch.tensor(two), torch.tensor(one), rtol=TOLERANCE, atol=TOLERANCE)
    validation = [torch.tensor(losses(tmp_path / name, "val_loss")) for name in ("two", "one")]
    torch.testing.assert_close(*validation, rtol=0.1, atol=0.1)  # each draws noise of its own in validation
    weights = [load_checkpoint(tmp_path / name / "weights.pt") for name in ("two", "one")]
    torch.testing.assert_close(*weights, rtol=0, atol=10 * TOLERANCE)


def test_killed_on_two_processes_and_resumed(trainings, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train_on_two(trainings, whole) == [0, 0]
    assert train_on_two(trainings, run, "--signal", int(signal.SIGTERM), "--at", 9) == [143, 143]
    assert train_on_two(trainings, run, "--resume") == [0, 0]
    assert losses(run) == losses(whole)


def test_a_nan_stops_both(trainings, tmp_path):
    assert train_on_two(trainings, tmp_path / "run", "--nan-at", 6) == [1, 1]
    assert load_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 5


@pytest.mark.slow  # every process imports torch and Lightning anew
def test_lightnings_own_launcher(tmp_path):
    """One command starts both processes; stdout stays empty."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(tmp_path / "run"), "--devices", "2", "--plain"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert load_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 15
