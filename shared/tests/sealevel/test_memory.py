"""Preparing more than fits in memory: 20 GB go through a process that stays under 2 GB."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "sealevel_memory.py"


def run(members: int, years: int) -> dict[str, float]:
    command = [sys.executable, str(BENCHMARK), "--members", str(members), "--years", str(years)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def test_the_generated_ensemble_comes_out_as_known():
    found = run(2, 10)
    assert found["logical_gb"] == pytest.approx(2 * 120 * 384 * 320 * 4 / 1e9, abs=0.01)
    assert found["largest_error_mm"] < 1e-3


@pytest.mark.slow
def test_twenty_gigabytes_in_two():
    found = run(34, 100)
    assert found["logical_gb"] > 20.0
    assert found["peak_mb"] < 2000.0
    assert found["largest_error_mm"] < 1e-3
