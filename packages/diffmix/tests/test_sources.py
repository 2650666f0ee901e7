"""Folders, torchvision, Hugging Face data sets and WebDataset shards: ids, labels, damage."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from diffmix.pixels import cut_square, encode, to_bytes
from diffmix.sources import open_source
from diffmix.sources.folder import read_image, strip_ending
from isopleth.errors import ConfigError, DataError


def test_a_folder_has_ids_classes_and_labels(folder):
    source = open_source(folder)
    assert source.classes == ("class-0", "class-1", "class-2")
    assert source.ids[:2] == ("class-0/00", "class-0/03")
    assert source.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert source.read(0).mode == "RGB"


def test_a_flat_folder_has_no_classes(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.b.png")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    source = open_source(tmp_path)
    assert (source.ids, source.classes, source.labels.tolist()) == (("a.b",), (), [-1])
    assert source.read(0).mode == "L"


def test_two_images_of_one_name_are_refused(tmp_path):
    for ending in ("png", "jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"a.{ending}")
    with pytest.raises(DataError, match="must not differ by their endings alone"):
        open_source(tmp_path)


def test_an_empty_or_missing_folder_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="must have images"):
            open_source(path)


def test_an_unknown_kind_is_named():
    with pytest.raises(ConfigError, match="must be a folder or start with torchvision:"):
        open_source("ftp:somewhere")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_is_grey_or_colour(mode, tmp_path):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (4, 4)).save(path)
    assert read_image(path).mode in ("L", "RGB")


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    Image.new("L", (10, 10)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="must be readable"):
        read_image(tmp_path / "a.png")


def test_endings_are_those_of_images():
    assert [strip_ending(name) for name in ("a.JPEG", "a.v2", "a.b.png")] == ["a", "a.v2", "a.b"]


def test_a_square_is_cut_from_the_middle():
    wide = Image.fromarray(np.tile(np.arange(30, dtype=np.uint8), (10, 1)))
    square = cut_square(wide, 10, 1)
    assert square.shape == (1, 10, 10)
    assert square[0, 0, 0] == 10
    assert cut_square(wide, 10, 3, margin=1.2).shape == (3, 10, 10)


def test_png_keeps_every_byte():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode(pixels, "png")))), pixels)
    assert to_bytes(np.array([-1.0, 0.5, 2.0])).tolist() == [0, 128, 255]


def test_torchvision_is_read_without_a_download(folder, tmp_path):
    with pytest.raises(DataError, match="must be readable"):
        open_source(f"torchvision:CIFAR10:{tmp_path}:train")
    with pytest.raises(ConfigError, match="must have the data set, got 'Nothing'"):
        open_source(f"torchvision:Nothing:{tmp_path}")
    with pytest.raises(ConfigError, match="torchvision:NAME:ROOT"):
        open_source("torchvision:CIFAR10")
    (tmp_path / "eurosat").mkdir()
    folder.rename(tmp_path / "eurosat" / "2750")
    found = open_source(f"torchvision:EuroSAT:{tmp_path}")
    assert len(found.ids) == 12
    assert found.ids[0] == "0/00000000"
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.read(0).mode == "RGB"


def test_a_data_set_of_hugging_face_is_read_and_damage_is_named(folder, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {
        "image": [
            {"bytes": encode(np.zeros((4, 4, 3), np.uint8), "png"), "path": None},
            {"bytes": b"x", "path": None},
        ],
        "label": [1, 0],
    }
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(tmp_path / "set")
    source = open_source(f"datasets:{tmp_path / 'set'}")
    assert (source.classes, source.labels.tolist()) == (("a", "b"), [1, 0])
    assert source.ids == ("1/00000000", "0/00000001")
    assert source.read(0).size == (4, 4)
    with pytest.raises(DataError, match="must be readable"):
        source.read(1)
    with pytest.raises(DataError, match="must be a folder here"):
        open_source("datasets:owner/name")


def write_shards(folder):
    for shard in range(2):
        with tarfile.open(folder / f"s-{shard}.tar", "w") as tar:
            for number in range(3):
                pixels = np.full((4, 4, 3), 40 * (3 * shard + number), np.uint8)
                for ending, data in (("png", encode(pixels, "png")), ("cls", str(number).encode())):
                    member = tarfile.TarInfo(f"{number:04d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def test_shards_of_webdataset_are_read_in_any_order(tmp_path):
    pytest.importorskip("webdataset")
    write_shards(tmp_path)
    source = open_source(f"webdataset:{tmp_path}/s-{{0..1}}.tar")
    assert source.ids == tuple(f"s-{shard}/{number:04d}" for shard in range(2) for number in range(3))
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.asarray(source.read(5))[0, 0, 0] == 200
    assert np.asarray(source.read(0))[0, 0, 0] == 0
    assert open_source(f"webdataset:{tmp_path}/s-*.tar").ids == source.ids


def test_a_shard_cannot_lead_out_of_the_folder(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        member = tarfile.TarInfo("../../evil.png")
        tar.addfile(member, io.BytesIO(b""))
    with pytest.raises(DataError, match=r"without '\.\.'"):
        open_source(f"webdataset:{tmp_path}/s.tar")


def test_shards_must_be_tars_here(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(DataError, match="must be a tar"):
        open_source(f"webdataset:{tmp_path}/s.tar")
    with pytest.raises(DataError, match="not there"):
        open_source(f"webdataset:{tmp_path}/nowhere.tar")
    with pytest.raises(ConfigError, match="must be local files"):
        open_source("webdataset:pipe:cat x.tar")
