"""Runtime, random state, run directory: light to import, checked when made."""

# ruff: noqa: NPY002 - the global generator is what is tested
from __future__ import annotations

import contextlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from isopleth.config import to_yaml
from isopleth.errors import ConfigError
from isopleth.train import RunDirectory, Runtime, load_checkpoint, seed_everything
from isopleth.train.randomness import (
    capture_random_state,
    derive_seed,
    isolated_random_state,
    restore_random_state,
)


def test_importing_the_room_loads_nothing_heavy():
    code = (
        "import sys, isopleth.train, isopleth.train.runtime; isopleth.train.Runtime();"
        "print(sorted({'torch', 'lightning', 'xarray', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"accelerator": "tpu"}, "accelerator must be one of"),
        ({"devices": 0}, "devices must be a whole number of at least 1, got 0"),
        ({"devices": True}, "devices"),
        ({"num_nodes": 0}, "num_nodes"),
        ({"strategy": "horovod"}, "strategy"),
        ({"precision": "bf16"}, "precision"),
        ({"threads": 0}, "threads"),
        ({"workers": -1}, "workers"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"ema": 1.0}, "ema"),
        ({"ema": 0.0}, "ema"),
        ({"ema": float("nan")}, "ema"),
        ({"ema": 0.9, "strategy": "fsdp"}, "ema must be off"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(setting, says):
    with pytest.raises(ConfigError, match=says):
        Runtime(**setting)


def test_runtime_is_plain_data():
    runtime = Runtime(devices="auto", ema=0.99)
    assert Runtime(**yaml.safe_load(to_yaml(runtime))) == runtime
    with pytest.raises(AttributeError):
        runtime.seed = 1  # type: ignore[misc]


def test_auto_on_a_machine_without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    runtime = Runtime(devices="auto")
    assert (runtime.device, runtime.resolved_precision) == ("cpu", "32-true")
    assert runtime.trainer_options()["devices"] == 1
    with pytest.raises(ConfigError, match="this machine has, got 'cuda'"):
        _ = Runtime(accelerator="cuda").device


@pytest.mark.parametrize(("fast", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_precision_on_a_gpu(monkeypatch, fast, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: fast)
    assert Runtime().resolved_precision == precision
    assert Runtime(precision="32-true").resolved_precision == "32-true"


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_seeds_are_repeated_and_state_is_restored():
    seed_everything(5)
    first = draw()
    state = capture_random_state()
    second = draw()
    seed_everything(5)
    assert draw() == first
    restore_random_state(state)
    assert draw() == second != first


def test_state_keeps_the_spare_gauss_and_survives_a_weights_only_file(tmp_path):
    seed_everything(5)
    random.gauss(0, 1), np.random.standard_normal()  # each makes two, and keeps one
    torch.save(capture_random_state(), tmp_path / "state.pt")
    expected = random.gauss(0, 1), np.random.standard_normal(), draw()
    restore_random_state(load_checkpoint(tmp_path / "state.pt"))
    assert (random.gauss(0, 1), np.random.standard_normal(), draw()) == expected


def test_a_block_apart_draws_the_same_and_leaves_no_trace():
    seed_everything(5)
    expected = draw()
    seed_everything(5)
    with isolated_random_state(1, 2):
        inside = draw()
    assert draw() == expected
    with isolated_random_state(1, 2):
        assert draw() == inside
    seed_everything(5)
    with contextlib.suppress(KeyError), isolated_random_state(1, 2):
        raise KeyError(draw())
    assert draw() == expected


def test_neighbouring_seeds_are_unrelated():
    seeds = {derive_seed(a, b) for a in range(50) for b in range(50)}
    assert len(seeds) == 2500


def test_threads_are_set():
    before = torch.get_num_threads()
    try:
        Runtime(accelerator="cpu", threads=1).apply()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_run_directory(tmp_path):
    run = RunDirectory(tmp_path / "a" / "run")
    assert not run.path.exists()
    assert run.prepare(resume=True) is False
    run.write_config(Runtime(seed=7))
    assert Runtime(**yaml.safe_load(run.config.read_text())).seed == 7
    run.last.write_bytes(b"")
    assert run.prepare(resume=True) is True
    with pytest.raises(ConfigError, match="must be new, or its run resumed"):
        run.prepare(resume=False)
    assert run == RunDirectory(str(run.path))
    assert {run} == {RunDirectory(run)}
