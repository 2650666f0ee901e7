"""A run that is killed and resumed ends with the bits of one that was not."""

from __future__ import annotations

import csv
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from isopleth.train import load_checkpoint

# What the script is told, and the step after which the process is killed.
KILLS = {
    "mid-epoch": ([], 17),
    "just after a checkpoint": ([], 12),
    "last step of an epoch": ([], 20),
    "first step of an epoch": ([], 21),
    "averaged weights": (["--ema", "0.9"], 17),
    "workers with random transforms": (["--workers", "2"], 17),
    "accumulation": (["--accumulate", "2", "--checkpoint-every", "2"], 8),
    "steps instead of epochs": (["--max-steps", "27"], 17),
    "validation within epochs": (["--validate-every", "7", "--ema", "0.9"], 16),
    "no validation": (["--no-validation"], 17),
}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "weights.pt")


def assert_equal_bits(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def unbroken(trainings, tmp_path_factory):
    """Give the folder of a run that nobody disturbed, for the same options."""
    done: dict[tuple, Path] = {}

    def train(options):
        key = tuple(options)
        if key not in done:
            done[key] = tmp_path_factory.mktemp("unbroken") / "run"
            code, _, err = trainings.run(done[key], *options)
            assert code == 0, err
        return done[key]

    return train


@pytest.mark.parametrize("kill", KILLS)
def test_kill_9_and_resume_give_the_same_bits(trainings, unbroken, tmp_path, kill):
    options, step = KILLS[kill]
    run = tmp_path / "run"
    code, _, err = trainings.run(run, *options, "--signal", int(signal.SIGKILL), "--at", step)
    assert code == -signal.SIGKILL, err
    code, _, err = trainings.run(run, *options, "--resume")
    assert code == 0, err
    whole = unbroken(options)
    assert_equal_bits(weights(run), weights(whole))
    if "--no-validation" not in options:
        best = [load_checkpoint(each / "checkpoints/best.ckpt") for each in (run, whole)]
        assert_equal_bits(best[0]["state_dict"], best[1]["state_dict"])
    steps = [row["step"] for row in rows(run) if row["loss"]]
    assert steps == sorted(set(steps), key=int)
    whole_rows = {row["step"]: row["loss"] for row in rows(whole) if row["loss"]}
    assert {row["step"]: row["loss"] for row in rows(run) if row["loss"]}.items() <= whole_rows.items()


def test_the_test_would_notice(trainings, unbroken, tmp_path):
    """Without the place in the data and the random state the weights differ: the equality above is earned."""
    run = tmp_path / "run"
    trainings.run(run, "--signal", int(signal.SIGKILL), "--at", 17)
    last = run / "checkpoints/last.ckpt"
    content = load_checkpoint(last)
    content["isopleth"]["random"][0]["torch"] = torch.get_rng_state()
    torch.save(content, last)
    code, _, err = trainings.run(run, "--resume")
    assert code == 0, err
    own, whole = weights(run), weights(unbroken([]))
    assert any(not torch.equal(own[name], whole[name]) for name in own)


def test_killed_at_any_moment_again_and_again(trainings, unbroken, tmp_path):
    run = tmp_path / "run"
    for delay in (0.6, 0.9, 1.2, 1.5):
        pid, _ = trainings.start(run, "--resume", "--checkpoint-every", 1)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        assert trainings.wait(pid) in (0, -signal.SIGKILL)
        if (run / "checkpoints/last.ckpt").exists():
            load_checkpoint(run / "checkpoints/last.ckpt")
    code, _, err = trainings.run(run, "--resume", "--checkpoint-every", 1)
    assert code == 0, err
    assert_equal_bits(weights(run), weights(unbroken([])))


@pytest.mark.parametrize(
    ("signum", "exit_code", "where", "at", "options"),
    [
        (signal.SIGTERM, 143, "train", 17, []),
        (signal.SIGINT, 130, "train", 17, []),
        (signal.SIGTERM, 143, "train", 10, []),
        (signal.SIGTERM, 143, "validation", 20, ["--ema", "0.9"]),
        (signal.SIGINT, 130, "validation", 14, ["--validate-every", "7"]),
        (signal.SIGTERM, 143, "train", 17, ["--workers", "2"]),
    ],
)
def test_a_signal_saves_first_and_loses_nothing(
    trainings, unbroken, tmp_path, signum, exit_code, where, at, options
):
    run = tmp_path / "run"
    stop = ["--signal", int(signum), "--at", at, "--where", where, "--checkpoint-every", 1000]
    code, out, err = trainings.run(run, *options, *stop)
    assert code == exit_code, err
    assert out == ""
    assert signum.name in err
    assert "Traceback" not in err
    assert load_checkpoint(run / "checkpoints/last.ckpt")["global_step"] in (at, at + 1)
    code, _, err = trainings.run(run, *options, "--resume")
    assert code == 0, err
    assert_equal_bits(weights(run), weights(unbroken(options)))
    assert rows(run) == rows(unbroken(options))
