"""Checkpoints: whole, plain, and never a program."""

from __future__ import annotations

import collections
import io
import os
import pickle  # noqa: TID251 - to make what must be refused
import zipfile
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from isopleth.errors import DataError, TrainingError
from isopleth.train import Runtime, fit, load_checkpoint, save_checkpoint


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def bombs(mark: Path) -> dict[str, bytes]:
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": {}, "x": Bomb(mark)}, zipped)
    torch.save({"x": Bomb(mark)}, legacy, _use_new_zipfile_serialization=False)
    return {
        "torch.save": zipped.getvalue(),
        "torch.save, old format": legacy.getvalue(),
        "bare pickle": pickle.dumps(Bomb(mark)),
        "bare pickle, protocol 5": pickle.dumps({"state_dict": Bomb(mark)}, protocol=5),
    }


@pytest.mark.parametrize("kind", bombs(Path("x")))
def test_a_malicious_pickle_is_refused_before_it_runs(tmp_path, kind):
    mark = tmp_path / "it ran"
    path = tmp_path / "model.ckpt"
    path.write_bytes(bombs(mark)[kind])
    with pytest.raises(DataError, match="tensors and plain values only") as caught:
        load_checkpoint(path)
    assert not mark.exists()
    assert "weights_only=False" not in str(caught.value)  # no advice to do it anyway


@pytest.mark.parametrize("kind", bombs(Path("x")))
def test_resuming_from_a_malicious_pickle_is_refused_as_well(tmp_path, kind):
    mark = tmp_path / "it ran"
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(bombs(mark)[kind])
    data = DataLoader(torch.zeros(4, 1), batch_size=2)
    with pytest.raises(DataError, match="tensors and plain values only"):
        fit(
            Line(),
            data,
            run_dir=tmp_path / "run",
            runtime=Runtime(accelerator="cpu"),
            max_epochs=1,
            resume=True,
        )
    assert not mark.exists()


def test_the_bomb_works(tmp_path):
    """The tests above would see it: unpickled without care it leaves its mark."""
    mark = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", b"PK\x03\x04 and then nothing", b"\x80\x04."],
    ids=["empty", "text", "cut zip", "cut pickle"],
)
def test_a_damaged_file_is_one_error(tmp_path, content):
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.ckpt"):
        load_checkpoint(path)


def test_a_truncated_checkpoint_and_none(tmp_path):
    path = tmp_path / "model.ckpt"
    save_checkpoint({"x": torch.arange(10000.0)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        load_checkpoint(path)
    with pytest.raises(DataError, match="existing file, got none"):
        load_checkpoint(tmp_path / "nowhere.ckpt")
    torch.save([1, 2], path)
    with pytest.raises(DataError, match="must be a dict, got list"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hello.txt", "hello")
    with pytest.raises(DataError):
        load_checkpoint(path)


def test_what_is_written_comes_back(tmp_path):
    content = {
        "weights": collections.OrderedDict(a=torch.randn(3), b=torch.tensor(2, dtype=torch.bfloat16)),
        "numbers": [1, 2.5, True, None, "text", (3, 4)],
        3: {"shape": torch.Size([2, 3]), "dtype": torch.float16},
    }
    save_checkpoint(content, tmp_path / "a" / "model.ckpt")
    read = load_checkpoint(tmp_path / "a" / "model.ckpt")
    assert torch.equal(read["weights"]["a"], content["weights"]["a"])
    assert read["numbers"] == content["numbers"]
    assert read[3] == content[3]


@pytest.mark.parametrize(
    "value",
    [np.float64(1.0), np.arange(3), Path("x"), {1, 2}, collections.defaultdict(list), object(), len],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, value):
    path = tmp_path / "model.ckpt"
    save_checkpoint({"old": 1}, path)
    with pytest.raises(TrainingError, match=r"checkpoint\['callbacks'\]\['mine'\]\[0\]"):
        save_checkpoint({"callbacks": {"mine": [value]}}, path)
    assert load_checkpoint(path) == {"old": 1}


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.ckpt"
    save_checkpoint({"old": 1}, path)

    def half(content, target):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint({"new": 2}, path)
    monkeypatch.undo()
    assert load_checkpoint(path) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.ckpt"]


class Line(L.LightningModule):
    """One weight, and a constructor argument that no plain file can hold."""

    def __init__(self, odd: object = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return (self.net(batch) - 1).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_constructor_arguments_stay_out_of_the_checkpoint(tmp_path):
    data = DataLoader(torch.zeros(4, 1), batch_size=2)
    result = fit(
        Line(odd=Bomb(tmp_path / "ran")),
        data,
        run_dir=tmp_path / "run",
        runtime=Runtime(accelerator="cpu"),
        max_epochs=1,
    )
    assert not [key for key in load_checkpoint(result.checkpoint) if "hparams" in key or "hyper" in key]
