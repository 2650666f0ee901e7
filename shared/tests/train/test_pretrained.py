"""Sharing: what is saved comes back, what does not fit is named, nothing is unpickled or downloaded."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - to make what must be refused
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from torch import nn

from isopleth.data.normaliser import Normaliser
from isopleth.errors import ConfigError, DataError
from isopleth.train import Pretrained


@dataclass(frozen=True, kw_only=True)
class Inner:
    heads: int = 2
    kind: Literal["full", "window"] = "full"


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    channels: tuple[str, ...] = ("t2m",)
    width: int = 3
    rate: float | None = None
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width must be at least 1, got {self.width}")


class Net(Pretrained, nn.Module, license="apache-2.0", tags=["weather"]):
    """A small network for these tests."""

    def __init__(self, config: NetConfig, normaliser: Normaliser | None = None) -> None:
        super().__init__()
        self.config = config
        self.normaliser = normaliser
        self.body = nn.Linear(len(config.channels), config.width)
        self.head = nn.Linear(config.width, 1)
        self.tied = self.head  # shares its memory
        self.register_buffer("scale", torch.ones(2))


CONFIG = NetConfig(channels=("t2m", "z500"), width=4, rate=1e-3, inner=Inner(heads=8, kind="window"))
NORMALISER = Normaliser(("t2m", "z500"), [280.0, 5e4], [20.0, 3e3])


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    Net(CONFIG, NORMALISER).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_everything_comes_back(folder):
    torch.manual_seed(0)
    original = Net(CONFIG, NORMALISER)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "normaliser.json",
    ]  # fmt: skip
    torch.manual_seed(1)
    model = Net.from_pretrained(folder)
    assert model.config == CONFIG
    assert isinstance(model.config.inner, Inner)
    assert model.normaliser == NORMALISER
    assert not model.training
    for name, value in original.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    again = folder.parent / "again"
    model.save_pretrained(again)
    assert (again / "config.json").read_text() == (folder / "config.json").read_text()
    assert Net.from_pretrained(str(again)).config == CONFIG


def test_the_card_tells_how_to_load_it(folder):
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert "weather" in card.data.tags
    assert card.data.library_name == "isopleth"
    assert "# Net\n\nA small network for these tests." in card.text
    assert "Net.from_pretrained(" in card.text
    assert "kind: window" in card.text
    assert "pickle" not in card.text


def test_a_card_written_by_hand_is_kept(folder):
    (folder / "README.md").write_text("mine")
    Net(CONFIG).save_pretrained(folder)
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_a_pickle_instead_of_safetensors_is_refused(folder, name):
    mark = folder / "it ran"
    (folder / "model.safetensors").unlink()

    class Bomb:
        def __reduce__(self):
            return Path.mkdir, (mark,)

    (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=rf"must be in model\.safetensors, got {name}"):
        Net.from_pretrained(folder)
    (folder / name).rename(folder / "model.safetensors")  # a pickle in disguise
    with pytest.raises(DataError, match="whole safetensors file"):
        Net.from_pretrained(folder)
    assert not mark.exists()


def test_tensors_that_do_not_fit_are_named(folder):
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "body.weight": torch.zeros(9, 2)}, weights)
    with pytest.raises(DataError, match=r"architecture Net, got body\.weight \(9, 2\) for \(4, 2\)"):
        Net.from_pretrained(folder)
    save_file(
        {name: value for name, value in tensors.items() if name != "scale"} | {"new": torch.ones(1)}, weights
    )
    with pytest.raises(DataError, match="got no scale, unknown new"):
        Net.from_pretrained(folder)
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(DataError, match="whole safetensors file"):
        Net.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": "wide"}, "width"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"unknown": 1}, "unknown"),
        ({"inner": {"heads": 2, "kind": "none"}}, "kind"),
        ({"_class": "Other"}, "must be loaded by its class Other, got Net"),
    ],
)
def test_a_config_that_does_not_fit_is_named(folder, change, says):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=says):
        Net.from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_damaged_config(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(DataError, match="config"):
        Net.from_pretrained(folder)


def test_missing_files(folder):
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match="JSON file"):
        Net.from_pretrained(folder)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="neither"):
        Net.from_pretrained(folder)


def test_no_network_unless_a_hub_id_is_asked_for(folder, monkeypatch):
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    Net.from_pretrained(folder)
    for missing in (Path("owner/name"), "just-a-name", "./owner/name", "a/b/c"):
        with pytest.raises(DataError, match="neither"):
            Net.from_pretrained(missing)
    assert not asked
    with pytest.raises(DataError, match="check the name, and the network"):
        Net.from_pretrained("owner/name", local_files_only=True)
    assert not asked


def test_a_model_without_config_cannot_be_shared(tmp_path):
    class Bare(Pretrained, nn.Linear):
        pass

    with pytest.raises(ConfigError, match="must keep its config, a dataclass"):
        Bare(1, 1).save_pretrained(tmp_path / "model")
