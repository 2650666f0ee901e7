"""Pairs: every image keeps its own twin, under shuffling, chunks, several twins, resumption and damage."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr
from PIL import Image

from diffmix.batches import ChunkSampler, PairBatches, make_loader
from diffmix.config import PrepareConfig
from diffmix.pairs import Pairs, open_pairs
from diffmix.prepare import prepare_pairs
from diffmix.sources import open_source
from isopleth.errors import DataError
from isopleth.train import ReplayableLoader


@pytest.fixture
def prepared(folder, negatives, tmp_path):
    """A store of the folder's twelve images, five to a chunk, with two twins each."""
    source = open_source(folder)
    config = PrepareConfig(
        source=str(folder), twins=negatives, out=tmp_path / "pairs.zarr", size=16, chunk=5, per_image=2
    )
    return source, config, prepare_pairs(source, config)


def assert_twins(images):
    """Both sides of every pair must be each other's negative, but for the rounding of two resizes."""
    real, synthetic = images[:, 0].astype(int), images[:, 1].astype(int)
    assert np.abs(real + synthetic - 255).max() <= 1


def test_a_store_keeps_pairs_labels_and_ids_together(prepared):
    source, config, done = prepared
    assert (done["images"], done["skipped"]) == (12, 0)
    stored = open_pairs(config.out, memory_gb=0.0)
    assert not isinstance(stored.real, np.ndarray)
    assert stored.real.chunks[0] == 5
    pairs = open_pairs(config.out)
    assert sorted(pairs.ids) == sorted(source.ids)
    assert pairs.ids != source.ids  # classes are mixed
    assert pairs.classes == source.classes
    for place, name in enumerate(pairs.ids):
        assert pairs.labels[place] == source.labels[source.ids.index(name)]
    for twin in range(2):
        assert_twins(np.stack([pairs.real, pairs.synthetic[:, twin]], axis=1))
    assert zarr.open_group(config.out).attrs["generator"]["generator"] == {"kind": "negative"}


@pytest.mark.parametrize("memory_gb", [8.0, 0.0])
def test_pairs_stay_together_under_shuffling_and_chunks(prepared, memory_gb):
    _, config, _ = prepared
    pairs = open_pairs(config.out, memory_gb=memory_gb)
    whole = open_pairs(config.out)
    loader = ReplayableLoader(make_loader(pairs, "diffmix", batch_size=4, seed=3), seed=3)
    orders = []
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == 3
        for batch in batches:
            assert_twins(batch["images"].numpy())
            assert np.array_equal(batch["images"][:, 0].numpy(), whole.real[batch["index"].numpy()])
        orders.append(torch.cat([batch["index"] for batch in batches]).tolist())
        assert sorted(orders[-1]) == list(range(12))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("memory_gb", [8.0, 0.0])
def test_an_interrupted_epoch_goes_on_with_the_same_pairs(prepared, memory_gb):
    _, config, _ = prepared

    def load():
        pairs = open_pairs(config.out, memory_gb=memory_gb)
        return ReplayableLoader(make_loader(pairs, "diffmix", batch_size=4, seed=3), seed=3)

    whole = [batch["index"].tolist() for batch in load()]
    first = load()
    begun = iter(first)
    next(begun)
    state = first.state_dict()
    second = load()
    second.load_state_dict(state)
    assert [batch["index"].tolist() for batch in second] == whole[1:]


@pytest.mark.parametrize(
    ("mode", "sides", "domains"),
    [("real", 1, {(False,)}), ("synthetic", 1, {(True,)}), ("pool", 1, {(False,), (True,)}),
     ("diffmix", 2, {(False, True)}), ("sequential", 2, {(False, True)})],
)  # fmt: skip
def test_a_mode_says_what_a_sample_is(pairs, mode, sides, domains):
    data = PairBatches(pairs, mode)
    assert len(data) == (80 if mode == "pool" else 40)
    batch = data.__getitems__(list(range(len(data))))
    assert batch["images"].shape == (len(data), sides, 3, 16, 16)
    assert {tuple(row) for row in batch["synthetic"].tolist()} == domains
    for side in range(sides):
        for image, made, place in zip(
            batch["images"][:, side].numpy(), batch["synthetic"][:, side], batch["index"], strict=True
        ):
            assert np.array_equal(image, pairs.synthetic[place, 0] if made else pairs.real[place])


def test_a_pool_has_every_image_once(pairs):
    batch = PairBatches(pairs, "pool").__getitems__(list(range(80)))
    found = {
        (int(place), bool(made)) for place, made in zip(batch["index"], batch["synthetic"][:, 0], strict=True)
    }
    assert len(found) == 80


def test_one_of_several_twins_is_drawn(pairs):
    several = replace(pairs, synthetic=np.concatenate([pairs.synthetic, pairs.real[:, None]], axis=1))
    torch.manual_seed(0)
    images = PairBatches(several, "diffmix").__getitems__(list(range(40)))["images"].numpy()
    same = (images[:, 0] == images[:, 1]).all((1, 2, 3))
    assert 5 < same.sum() < 35


def test_chunks_are_dealt_out_and_every_sample_comes_once(monkeypatch):
    orders = []
    for rank in range(3):
        monkeypatch.setattr("diffmix.batches.rank_and_world", lambda rank=rank: (rank, 3))
        sampler = ChunkSampler(100, 8, seed=1)
        sampler.set_epoch(4)
        orders.append(list(sampler))
        assert len(orders[-1]) == len(sampler) == 34
    assert set().union(*orders) == set(range(100))


def test_chunks_are_read_once_for_their_samples(prepared, monkeypatch):
    _, config, _ = prepared
    data = PairBatches(open_pairs(config.out, memory_gb=0.0), "diffmix")
    for place in range(12):
        data.__getitems__([place])
    assert len(data._chunks) == 6


def test_what_cannot_be_used_is_left_out_and_listed(folder, tmp_path, prepared):
    source, config, _ = prepared
    (folder / "class-0" / "00.png").write_bytes(b"x")
    (tmp_path / "twins" / "class-1" / "01.png").unlink()
    done = prepare_pairs(source, replace(config, out=tmp_path / "less.zarr"))
    assert (done["images"], done["skipped"]) == (10, 2)
    pairs = open_pairs(tmp_path / "less.zarr")
    assert len(pairs) == 10
    assert_twins(np.stack([pairs.real, pairs.synthetic[:, 0]], axis=1))


def test_a_changed_twin_is_found_if_asked(prepared, tmp_path):
    source, config, _ = prepared
    Image.new("RGB", (8, 8)).save(tmp_path / "twins" / "class-1" / "01.png")
    done = prepare_pairs(source, replace(config, out=tmp_path / "checked.zarr", verify=True))
    assert done["skipped"] == 1
    assert "as its manifest says" in done["reasons"][0]
    # Another image under an old name: its twin is none of it.
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "real" / "class-0" / "00.png")
    done = prepare_pairs(source, replace(config, out=tmp_path / "again.zarr", verify=True))
    assert done["skipped"] == 2
    assert any("of the image that is there now" in reason for reason in done["reasons"])


def test_a_folder_without_manifest_is_matched_by_names(folder, tmp_path):
    source = open_source(folder)
    for number, name in enumerate(source.ids):
        path = tmp_path / "theirs" / f"{name}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - np.asarray(source.read(number))).save(path, quality=95, subsampling=0)
    config = PrepareConfig(source=str(folder), twins=tmp_path / "theirs", out=tmp_path / "p.zarr", size=16)
    assert prepare_pairs(source, config)["images"] == 12
    pairs = open_pairs(config.out)
    assert np.abs(pairs.real.astype(int) + pairs.synthetic[:, 0] - 255).mean() < 3


def test_mistakes_are_named(folder, tmp_path, prepared):
    source, config, _ = prepared
    with pytest.raises(DataError, match="must be one that prepare wrote"):
        open_pairs(tmp_path / "nowhere.zarr")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(DataError, match=r"must be of diffmix\.pairs/1"):
        open_pairs(tmp_path / "other.zarr")
    with pytest.raises(DataError, match="a folder of twins must be there"):
        prepare_pairs(source, replace(config, twins=tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="must have an image that can be used"):
        prepare_pairs(source, replace(config, twins=tmp_path / "empty", out=tmp_path / "q.zarr"))
    assert not (tmp_path / "q.zarr").exists()
    prepare_pairs(source, replace(config, twins=None, out=tmp_path / "real.zarr"))
    alone = open_pairs(tmp_path / "real.zarr")
    assert alone.twins == 0
    with pytest.raises(DataError, match="must have twins for the mode diffmix"):
        PairBatches(alone, "diffmix")
    with pytest.raises(DataError, match="must fill a batch of 13"):
        make_loader(alone, "real", batch_size=13)
    with pytest.raises(DataError, match="pairs must be bytes"):
        Pairs(
            real=np.zeros((2, 1, 4, 4)),
            synthetic=np.zeros((2, 1, 1, 4, 4)),
            labels=np.zeros(2),
            ids=("a", "b"),
        )
