"""A training that is stopped goes on to the weights, and to the measurements, of an unbroken one."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

import block_expansion.tuner  # noqa: F401 - registers block expansion
from block_expansion.cli import tool
from block_expansion.train import Tuning

SMALL = {
    "backbone.name": "vit_tiny_patch16_224", "backbone.pretrained": "false", "backbone.image_size": 16,
    "backbone.channels": 1, "backbone.dim": 24, "backbone.depth": 4, "backbone.heads": 3,
    "backbone.patch_size": 4, "method.expansions": 2, "fit.steps": 6, "fit.batch_size": 16,
    "fit.warmup_steps": 1, "runtime.accelerator": "cpu", "runtime.threads": 1,
}  # fmt: skip
WORDS = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]


def stop_in_step(monkeypatch, number):
    """Send this process a SIGTERM when it comes to a step, counted over all trainings."""
    step, count = Tuning.training_step, iter(range(1, 1000))

    def step_and_stop(self, *batch):
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *batch)

    monkeypatch.setattr(Tuning, "training_step", step_and_stop)


@pytest.mark.parametrize("kind", ["expansion", "full"])
def test_a_stopped_training_goes_on_to_the_same_weights(folders, kind, monkeypatch, capsys):
    words = ["train", str(folders / "new"), "--source", str(folders / "old"), "--method.kind", kind, *WORDS]
    words += ["--retention.at_steps", "[2, 5]", "--out"]
    with monkeypatch.context() as patch:
        stop_in_step(patch, 4)
        assert tool.main([*words, str(folders / "run")]) == 143
    assert not (folders / "run" / "adapter").exists()
    assert "saved" in capsys.readouterr().err
    assert tool.main([*words, str(folders / "run"), "--resume", "true"]) == 0
    assert tool.main([*words, str(folders / "whole")]) == 0
    name = "adapter_model.safetensors" if kind == "expansion" else "model.safetensors"
    resumed, whole = (load_file(folders / run / "adapter" / name) for run in ("run", "whole"))
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())
    records = [json.loads((folders / run / "adapted.json").read_text()) for run in ("run", "whole")]
    assert sorted(records[0]["curve"]) == ["0", "2", "5", "6"]
    for record in records:
        del record["seconds"]
    assert records[0] == records[1]


def test_a_stopped_sequence_goes_on_to_the_same_accuracies(folders, monkeypatch, capsys):
    words = ["sequence", "--targets", f"[{folders / 'old'}, {folders / 'new'}]", *WORDS, "--json", "--out"]
    with monkeypatch.context() as patch:
        stop_in_step(patch, 9)
        assert tool.main([*words, str(folders / "run")]) == 143
    capsys.readouterr()
    found = []
    for run, more in (("run", ["--resume", "true"]), ("whole", [])):
        assert tool.main([*words, str(folders / run), *more]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["accuracy"] == found[1]["accuracy"]
    matrix = found[0]["accuracy"]
    assert found[0]["average"] == pytest.approx((matrix[1][0] + matrix[1][1]) / 2)
    assert found[0]["backward_transfer"] == pytest.approx(matrix[1][0] - matrix[0][0])
    assert found[0]["forgetting"] == pytest.approx([matrix[0][0] - matrix[1][0], 0.0])
    assert json.loads((folders / "run" / "sequence.json").read_text())["tasks"] == ["old", "new"]
