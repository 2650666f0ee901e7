"""Resumption: an interrupted store goes on, to the bytes of one that was not."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffmix.config import PrepareConfig
from diffmix.pairs import open_pairs
from diffmix.prepare import prepare_pairs
from diffmix.sources import open_source
from diffmix.sources.folder import find_image
from isopleth.errors import DataError

SLOWLY = """
import sys, time
from pathlib import Path
from diffmix.config import PrepareConfig
from diffmix.prepare import prepare_pairs
from diffmix.sources import open_source

folder, twins, out = sys.argv[1:]
source = open_source(folder)
read = source.read

def read_slowly(place):
    time.sleep(0.3)
    return read(place)

source.read = read_slowly
config = PrepareConfig(source=folder, twins=Path(twins), out=Path(out), size=16, chunk=2, workers=1)
prepare_pairs(source, config)
"""


@pytest.fixture
def config(folder, negatives, tmp_path):
    """Eleven images that can be used and one that cannot, two to a chunk."""
    (folder / "class-1" / "04.jpg").write_bytes(b"x")
    return PrepareConfig(
        source=str(folder), twins=negatives, out=tmp_path / "parts.zarr", size=16, chunk=2, workers=1
    )


@pytest.fixture
def whole(config, tmp_path):
    """What an unbroken run makes of the same."""
    out = tmp_path / "whole.zarr"
    prepare_pairs(open_source(config.source), replace(config, out=out))
    return list_files(out)


class Watched:
    """A source that notes what is read, and dies instead of reading more than so many images."""

    def __init__(self, folder, die_after=None):
        source = open_source(folder)
        self.name, self.ids, self.labels = source.name, source.ids, source.labels
        self.classes, self.read_one = source.classes, source.read
        self.die_after, self.seen = die_after, []

    def read(self, number):
        if len(self.seen) == self.die_after:
            raise RuntimeError("killed")
        self.seen.append(number)
        return self.read_one(number)


def list_files(store):
    return {
        path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()
    }


def list_hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def interrupt(config, after):
    with pytest.raises(RuntimeError, match="killed"):
        prepare_pairs(Watched(config.source, after), config)
    assert not config.out.exists()


def find_journal(config):
    return config.out.parent / f".{config.out.name}.partial-resume" / "journal.jsonl"


def test_a_killed_run_goes_on_to_the_same_bytes(config, whole, tmp_path):
    command = [sys.executable, "-c", SLOWLY, config.source, str(config.twins), str(config.out)]
    process = subprocess.Popen(command)
    journal, deadline = find_journal(config), time.monotonic() + 300
    while not journal.is_file() or journal.read_bytes().count(b"\n") < 4:  # the plan and three chunks
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not config.out.exists()
    source = Watched(config.source)
    done = prepare_pairs(source, replace(config, resume=True))
    assert (done["images"], done["skipped"]) == (11, 1)
    assert len(source.seen) <= 6
    assert list_files(config.out) == whole
    assert list_hidden(tmp_path) == []


@pytest.mark.parametrize("after", [0, 1, 4, 7, 11])
def test_wherever_it_stops_it_goes_on(after, config, whole, tmp_path):
    interrupt(config, after)
    source = Watched(config.source)
    done = prepare_pairs(source, replace(config, resume=True))
    assert (done["images"], done["skipped"]) == (11, 1)
    assert "04: an image must be readable" in done["reasons"][0]
    assert after - 3 <= 12 - len(source.seen) <= after  # a chunk, and a skipped image, are read again at most
    assert list_files(config.out) == whole
    assert list_hidden(tmp_path) == []


def test_what_a_kill_left_half_written_does_not_matter(config, whole):
    interrupt(config, 6)
    journal = find_journal(config)
    with journal.open("ab") as file:
        file.write(b'{"seen": 12, "pla')
    for number in (3, 5):
        torn = journal.parent / config.out.name / "real" / "c" / str(number) / "0" / "0" / "0"
        torn.parent.mkdir(parents=True, exist_ok=True)
        torn.write_bytes(b"half")
        torn.with_name("0.beef.partial").write_bytes(b"half")
    interrupt(replace(config, resume=True), 3)  # a second time
    prepare_pairs(Watched(config.source), replace(config, resume=True))
    assert list_files(config.out) == whole


def die_at_the_end(config, monkeypatch):
    def die(*_, **__):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("diffmix.prepare.publish", die)
        interrupt(config, None)


def test_a_run_that_was_killed_at_the_very_end_has_little_to_do(config, whole, monkeypatch):
    die_at_the_end(config, monkeypatch)
    source = Watched(config.source)
    prepare_pairs(source, replace(config, resume=True))
    assert len(source.seen) <= 2  # what makes no whole chunk
    assert list_files(config.out) == whole


def test_an_image_that_was_mended_meanwhile_is_taken(folder, negatives, tmp_path, monkeypatch):
    config = PrepareConfig(source=str(folder), twins=negatives, out=tmp_path / "p.zarr", size=16, chunk=5)
    last = np.random.default_rng(config.seed).permutation(12)[-1]
    path = find_image(folder, open_source(folder).ids[last])
    good = path.read_bytes()
    path.write_bytes(b"x")
    die_at_the_end(config, monkeypatch)
    path.write_bytes(good)
    assert prepare_pairs(open_source(folder), replace(config, resume=True))["images"] == 12
    prepare_pairs(open_source(folder), replace(config, out=tmp_path / "whole.zarr"))
    assert list_files(config.out) == list_files(tmp_path / "whole.zarr")


def test_without_resume_it_begins_anew(config, whole, tmp_path):
    interrupt(config, 6)
    source = Watched(config.source)
    prepare_pairs(source, config)
    assert len(source.seen) == 12
    assert list_files(config.out) == whole
    assert list_hidden(tmp_path) == []


def test_a_finished_store_is_only_looked_at(config):
    first = prepare_pairs(open_source(config.source), config)
    before, source = list_files(config.out), Watched(config.source)
    assert prepare_pairs(source, replace(config, resume=True)) == first
    assert source.seen == []
    assert list_files(config.out) == before


@pytest.mark.parametrize("finished", [False, True])
def test_another_store_is_not_gone_on_with(finished, config, folder):
    if finished:
        prepare_pairs(open_source(folder), config)
    else:
        interrupt(config, 6)
    for change, said in (({"size": 8}, "size 16, not 8"), ({"twins": None}, "twins .* not None")):
        with pytest.raises(DataError, match=said):
            prepare_pairs(open_source(folder), replace(config, resume=True, **change))
    Image.new("RGB", (8, 8)).save(folder / "class-0" / "new.png")
    with pytest.raises(DataError, match="must be of the same images, twins and options, got images"):
        prepare_pairs(open_source(folder), replace(config, resume=True))


def test_a_run_without_a_usable_image_leaves_nothing(config, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="must have an image that can be used"):
        prepare_pairs(open_source(config.source), replace(config, twins=tmp_path / "none"))
    assert not config.out.exists()
    assert list_hidden(tmp_path) == []


def test_a_folder_of_other_things_is_refused_before_the_work(config):
    config.out.mkdir()
    (config.out / "thesis.txt").write_text("years")
    source = Watched(config.source)
    with pytest.raises(DataError, match="must not replace a folder that holds other things"):
        prepare_pairs(source, config)
    assert source.seen == []


def test_an_old_store_stays_until_the_new_one_is_whole(config):
    prepare_pairs(open_source(config.source), config)
    with pytest.raises(RuntimeError, match="killed"):
        prepare_pairs(Watched(config.source, 6), replace(config, size=8))
    assert open_pairs(config.out).real.shape[-1] == 16
    prepare_pairs(open_source(config.source), replace(config, size=8))
    assert open_pairs(config.out).real.shape[-1] == 8
