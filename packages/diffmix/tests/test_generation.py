"""Twins: the same whatever the batch, the shard or the resume; failures listed; nothing leaves the folder."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffmix.config import GenerateConfig, GeneratorConfig
from diffmix.estimate import Estimate, format_duration
from diffmix.generation import generate_twins, judge_twin
from diffmix.manifest import Entry, Manifest, derive_image_seed, list_damaged, read_manifest
from diffmix.paths import check_id, resolve_inside
from diffmix.sources import open_source
from isopleth.errors import ConfigError, DataError


class Noise:
    """A generator whose twin is a function of image and seed alone; can be told to fail."""

    def __init__(self, fail=(), kind="noise"):
        self.fail, self.kind, self.seen = set(fail), kind, []

    def describe(self):
        return {"kind": self.kind}

    def generate(self, images, ids, seeds):
        self.seen += list(zip(ids, seeds, strict=True))
        return [self._make(*each) for each in zip(images, ids, seeds, strict=True)]

    def _make(self, image, name, seed):
        pixels = np.random.default_rng(seed).random((8, 8, 3), np.float32)
        pixels[0, 0] = np.asarray(image)[0, 0] / 255
        if (name, "nan") in self.fail:
            pixels[3, 3] = np.nan
        return np.zeros_like(pixels) if (name, "black") in self.fail else pixels


@pytest.fixture
def config(folder, tmp_path):
    return GenerateConfig(source=str(folder), out=tmp_path / "twins", batch_size=5)


def read_all(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_batches_shards_and_resumption_change_nothing(folder, config, tmp_path):
    source = open_source(folder)
    done = generate_twins(source, Noise(), config)
    assert (done["made"], done["failed"], done["found"]) == (12, 0, 0)
    reference = read_all(config.out)
    assert set(reference) == {f"{name}.png" for name in source.ids}
    pieces = replace(config, out=tmp_path / "pieces", batch_size=2, shards=3)
    for shard in (2, 0, 1):
        generate_twins(source, Noise(), replace(pieces, shard=shard))
    assert read_all(pieces.out) == reference
    # A kill: some files are gone, a line is torn; another number of shards goes on.
    for path in list(pieces.out.rglob("*.png"))[:5]:
        path.unlink()
    manifest = pieces.out / "manifest-00001-of-00003.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-7])
    again = generate_twins(source, Noise(), replace(pieces, shards=1))
    assert 5 <= again["made"] <= 6
    assert read_all(pieces.out) == reference
    generate_twins(source, Noise(), replace(pieces, shard=1))
    assert generate_twins(source, Noise(), replace(pieces, shards=1))["made"] == 0


def test_the_manifest_names_seed_and_hashes(folder, config):
    generate_twins(open_source(folder), Noise(), replace(config, twins=2))
    entries = read_manifest(config.out)
    assert len(entries) == 24
    assert entries["class-0/00", 1].path == "class-0/00~1.png"
    assert entries["class-0/00", 0].seed == derive_image_seed(25, "class-0/00", 0)
    assert entries["class-0/00", 0].seed != entries["class-0/00", 1].seed
    assert list_damaged(config.out, entries.values()) == []
    (config.out / "class-0" / "00.png").write_bytes(b"x")
    assert list_damaged(config.out, entries.values()) == ["class-0/00.png"]


def test_more_twins_are_added_to_those_that_exist(folder, config):
    generate_twins(open_source(folder), Noise(), config)
    before = read_all(config.out)
    done = generate_twins(open_source(folder), Noise(), replace(config, twins=2))
    assert (done["made"], done["found"]) == (12, 12)
    assert {name: data for name, data in read_all(config.out).items() if "~" not in name} == before


def test_black_and_undefined_images_are_made_again_and_then_given_up(folder, config):
    generator = Noise(fail=[("class-0/00", "nan"), ("class-1/01", "black")])
    done = generate_twins(open_source(folder), generator, replace(config, retries=2))
    assert (done["made"], done["failed"]) == (10, 2)
    assert "class-0/00: the generator returned NaN or infinity, 3 times" in done["reasons"]
    assert "class-1/01: the generator returned a black image, 3 times" in done["reasons"]
    seeds = [seed for name, seed in generator.seen if name == "class-0/00"]
    assert len(set(seeds)) == 3
    assert not (config.out / "class-0" / "00.png").exists()
    # The next run tries them again, and a success wins over the failure in the manifest.
    assert generate_twins(open_source(folder), Noise(), config)["made"] == 2
    assert not any(entry.error for entry in read_manifest(config.out).values())


def test_a_black_image_may_have_a_black_twin():
    black = np.zeros((4, 4, 3))
    assert judge_twin(black, np.zeros((4, 4, 3), np.uint8)) == ""
    assert "black" in judge_twin(black, np.full((4, 4, 3), 200, np.uint8))
    assert "NaN" in judge_twin(np.full((4, 4, 3), np.inf), np.zeros((4, 4, 3), np.uint8))


def test_corrupt_images_are_listed_and_never_fatal(folder, config):
    whole = (folder / "class-0" / "00.png").read_bytes()
    (folder / "class-0" / "00.png").write_bytes(whole[: len(whole) // 2])
    (folder / "class-1" / "empty.png").write_bytes(b"")
    (folder / "class-1" / "text.jpg").write_text("not an image")
    done = generate_twins(open_source(folder), Noise(), config)
    assert (done["made"], done["failed"]) == (11, 3)
    assert all("must be readable" in reason for reason in done["reasons"])


def test_a_source_of_which_nothing_can_be_read_is_an_error(tmp_path):
    for number in range(120):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / f"{number}.png").write_bytes(b"x")
    config = GenerateConfig(source=str(tmp_path / "bad"), out=tmp_path / "twins", batch_size=50)
    with pytest.raises(DataError, match="must have usable images"):
        generate_twins(open_source(tmp_path / "bad"), Noise(), config)


def test_a_folder_has_twins_of_one_kind(folder, config):
    generate_twins(open_source(folder), Noise(), config)
    with pytest.raises(ConfigError, match="must have one kind of them, got generator"):
        generate_twins(open_source(folder), Noise(kind="other"), config)
    with pytest.raises(ConfigError, match="seed 25 for 26"):
        generate_twins(open_source(folder), Noise(), replace(config, seed=26))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "", "a\\b", "c:x", "a\0b"])
def test_paths_cannot_leave_their_folder(name, tmp_path):
    with pytest.raises(DataError, match="relative path"):
        check_id(name)
    with pytest.raises(DataError):
        resolve_inside(tmp_path, name)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    with pytest.raises(DataError, match="must lie in its folder"):
        resolve_inside(tmp_path / "in", "link/file.png")
    assert resolve_inside(tmp_path / "in", "deep/file..png").name == "file..png"


def test_a_manifest_of_a_stranger_cannot_lead_out(tmp_path):
    entry = {"id": "a", "path": "../../secret.png"}
    (tmp_path / "manifest-00000-of-00001.jsonl").write_text(json.dumps(entry) + "\n")
    with pytest.raises(DataError, match=r"without '\.\.'"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("line", ["{", "[1]", '{"id": "a", "surprise": 1}'])
def test_a_damaged_manifest_is_named(line, tmp_path):
    (tmp_path / "manifest-00000-of-00001.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match="manifest"):
        read_manifest(tmp_path)


def test_a_torn_line_is_as_if_it_had_not_been_written(tmp_path):
    with Manifest(tmp_path, {"a": 1}) as manifest:
        manifest.add([Entry(id="x", path="x.png"), Entry(id="y", path="y.png")])
    path = manifest.path
    path.write_bytes(path.read_bytes()[:-5])
    assert set(read_manifest(tmp_path)) == {("x", 0)}
    with Manifest(tmp_path, {"a": 1}) as again:
        again.add([Entry(id="z", path="z.png")])
    assert set(read_manifest(tmp_path)) == {("x", 0), ("z", 0)}


def test_seeds_follow_from_names():
    seeds = {
        derive_image_seed(s, name, twin, a)
        for s in (0, 1)
        for name in "ab"
        for twin in (0, 1)
        for a in (0, 1)
    }
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Never to change: sets that were begun must go on.
    assert derive_image_seed(25, "n01/1", 0) == 3250319491074814117


def test_the_estimate_is_honest():
    now, stream = [0.0], io.StringIO()
    estimate = Estimate(40, "twins", clock=lambda: now[0], stream=stream)
    now[0] = 100.0  # to load the model: no part of the rate
    estimate.advance(10)
    assert estimate.remaining_seconds is None
    assert "10 of 40 twins, time left unknown yet" in stream.getvalue()
    now[0] = 102.0
    estimate.advance(10)
    assert estimate.remaining_seconds == pytest.approx(4.0)
    assert "20 of 40 twins, about 4 s left" in stream.getvalue()
    estimate.close()
    assert stream.getvalue().endswith("\n")


def test_durations_have_two_units():
    assert format_duration(59.6) == "1 min 0 s"
    assert format_duration(3 * 86400 + 7200) == "3 d 2 h"


def test_precomputed_twins_are_read_by_name(folder, config, tmp_path):
    from diffmix.generators import build_generator

    twins = tmp_path / "made"
    for name in open_source(folder).ids[:-1]:
        path = twins / f"{name}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (250, 10, 10)).save(path)
    generator = build_generator(GeneratorConfig(kind="precomputed", model=str(twins)))
    done = generate_twins(open_source(folder), generator, config)
    assert (done["made"], done["failed"]) == (11, 1)
    assert np.asarray(Image.open(config.out / "class-0" / "00.png"))[0, 0, 0] > 240
