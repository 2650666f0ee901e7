"""Provenance and cost: gathered from the running process."""

from __future__ import annotations

import platform
import subprocess
import sys
import time

import numpy as np
import pytest

from isopleth import __version__
from isopleth.errors import DataError
from isopleth.report import Cost, Provenance, fingerprint, measure_cost


def test_provenance_quotes_the_command_and_names_versions():
    found = Provenance.collect(
        ["tool", "demo", "--out", "my run"], "abc", np.int64(3), packages=["pytest", "no-such-package"]
    )
    assert found.command == "tool demo --out 'my run'"
    assert (found.config_hash, found.seed) == ("abc", 3)
    assert type(found.seed) is int
    assert found.versions["python"] == platform.python_version()
    assert found.versions["isopleth"] == __version__
    assert found.versions["numpy"] == np.__version__
    assert "pytest" in found.versions
    assert "no-such-package" not in found.versions


def test_fingerprint_known_value():
    # sha256(sha256("abc")), computed by coreutils: printf abc | sha256sum | xxd -r -p | sha256sum
    assert fingerprint("abc") == "sha256:4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358"


def test_fingerprint_tells_parts_orders_and_types_apart(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")
    assert fingerprint(file) == fingerprint(b"abc") == fingerprint("abc")
    array = np.arange(6.0)
    others = [
        fingerprint("ab", "c"),
        fingerprint("a", "bc"),
        fingerprint("bc", "a"),
        fingerprint(array),
        fingerprint(array.reshape(2, 3)),
        fingerprint(array.astype("f4")),
    ]
    assert len(set(others)) == len(others)
    assert fingerprint(array[::-1][::-1]) == fingerprint(array)


def test_fingerprint_refuses_object_arrays():
    with pytest.raises(DataError, match="must hold numbers"):
        fingerprint(np.array([object()]))


def test_cost_measures_time_and_memory():
    with measure_cost() as train:
        block = np.ones(20 * 2**17)  # 20 MiB
        time.sleep(0.05)
    with measure_cost() as predict:
        pass
    cost = Cost.of(train=train, predict=predict, parameters=7)
    assert 0.05 <= cost.train_seconds < 5
    assert cost.predict_seconds < 0.05
    assert cost.peak_memory_mb >= block.nbytes / 2**20
    assert cost.parameters == 7
    assert cost.device.startswith("cpu (")


def test_cost_is_measured_when_the_block_fails():
    kept = []

    def fail():
        with measure_cost() as meter:
            kept.append(meter)
            time.sleep(0.01)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert kept[0].seconds >= 0.01


def test_measuring_imports_neither_torch_nor_matplotlib():
    code = """
import sys, isopleth.report as report
with report.measure_cost():
    pass
print([name for name in ("torch", "matplotlib") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
