"""Outputs are whole or not there, however the writer ends."""

import errno
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from isopleth.io import atomic
from isopleth.io.write import atomic_path, write_json, write_netcdf, write_text, write_zarr


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_exchange_that_fails_for_another_reason_is_reported(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="No such file") as failure:
        atomic._exchange(tmp_path / "a", tmp_path / "missing")
    assert failure.value.errno == errno.ENOENT


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failed_block_leaves_the_old_output_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic_path(path) as partial:  # noqa: PT012 - the block is what fails
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(DataError, match="got nothing"), atomic_path(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


def test_folders_are_published_whole_and_replaced_only_on_request(tmp_path):
    path = tmp_path / "model"
    for text in ("1", "2"):
        with atomic_path(path, replace_folder=True) as partial:
            partial.mkdir()
            (partial / "weights").write_text(text)
    assert (path / "weights").read_text() == "2"
    with pytest.raises(DataError, match="must not replace a folder"), atomic_path(path) as partial:
        partial.mkdir()
    assert (path / "weights").read_text() == "2"
    assert names(tmp_path) == ["model"]


def test_a_strangers_folder_is_never_replaced_by_a_store(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="must not replace a folder that holds other things"):
        write_zarr(xr.Dataset({"x": ("time", [1.0])}), tmp_path / "home")
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_files_and_folders_do_not_take_each_others_place(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="must be a file, got a folder"):
        write_text(tmp_path / "folder", "x")
    with pytest.raises(DataError, match="must be a folder, got a file"):
        write_zarr(xr.Dataset({"x": ("time", [1.0])}), tmp_path / "file")


def test_a_link_is_replaced_and_what_it_points_to_is_not_touched(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a.txt").symlink_to(outside)
    write_text(folder / "a.txt", "new")
    assert outside.read_text() == "mine"
    assert not (folder / "a.txt").is_symlink()


@pytest.mark.parametrize("path", ["s3://bucket/a.json", "https://host/a.json"])
def test_only_local_paths_are_written(path):
    with pytest.raises(DataError, match="must be a local path"):
        write_text(path, "")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="must lie in a folder that can be written") as failure:
        write_text(tmp_path / "file" / "a.txt", "")
    assert failure.value.where == str(tmp_path / "file")


def test_parents_are_made_and_odd_names_work(tmp_path):
    path = tmp_path / "deep" / "er" / "strange [name] (1)*.txt"
    write_text(path, "ü")
    assert path.read_text(encoding="utf-8") == "ü"
    assert names(path.parent) == [path.name]


def test_a_living_writer_is_not_swept_away(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_path(path) as slow:
        slow.write_text("slow")
        with atomic_path(path) as quick:
            quick.write_text("quick")
        assert path.read_text() == "quick"
    assert path.read_text() == "slow"
    assert names(tmp_path) == ["a.txt"]


def test_other_outputs_leftovers_are_left_alone(tmp_path):
    others = [tmp_path / name for name in (".b.txt.partial-0123456789ab", ".a.txt.partial-mine", ".a.txt")]
    for other in others:
        other.mkdir()
    orphan = tmp_path / ".a.txt.partial-0123456789ab"
    orphan.mkdir()
    write_text(tmp_path / "a.txt", "")
    assert all(other.exists() for other in others)
    assert not orphan.exists()


@pytest.mark.parametrize("kind", ["json", "zarr", "netcdf"])
def test_of_two_writers_at_once_one_wins_whole(tmp_path, kind, read):
    path = tmp_path / f"out.{({'netcdf': 'nc'}).get(kind, kind)}"
    failures = []

    def work(value):
        try:
            for _ in range(4):
                if kind == "json":
                    write_json(path, {"values": [value] * 3000})
                else:
                    write = {"zarr": write_zarr, "netcdf": write_netcdf}[kind]
                    write(full(value), path)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert read(path) in (1, 2, 3)
    assert names(tmp_path) == [path.name]


def full(value):
    return xr.Dataset({"x": (("time", "lat", "lon"), np.full((24, 16, 32), value, "f4"))})


@pytest.mark.parametrize("moment", ["check_replaceable", "sync_tree"])
def test_a_store_that_another_writer_put_there_meanwhile_is_replaced(tmp_path, monkeypatch, moment, read):
    """Whatever the writer knew of the place when it began is out of date when it publishes."""
    path, step = tmp_path / "out.zarr", getattr(atomic, moment)

    def come_second(*args, **kwargs):
        monkeypatch.setattr(atomic, moment, step)
        write_zarr(full(1), path)
        return step(*args, **kwargs)

    monkeypatch.setattr(atomic, moment, come_second)
    write_zarr(full(2), path)
    assert read(path) == 2
    assert names(tmp_path) == [path.name]


def test_a_folder_that_appears_at_the_last_moment_is_swapped_out(tmp_path, monkeypatch, read):
    whole, target = tmp_path / ".work" / "out.zarr", tmp_path / "out.zarr"
    rename = Path.rename

    def rename_late(self, to):
        monkeypatch.setattr(Path, "rename", rename)
        write_zarr(full(1), target)
        return self.rename(to)

    write_zarr(full(2), whole)
    monkeypatch.setattr(Path, "rename", rename_late)
    atomic._place_folder(whole, target)
    assert read(target) == 2


def test_without_locks_nothing_is_swept_but_everything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "fcntl", None)
    orphan = tmp_path / ".a.txt.partial-0123456789ab"
    orphan.mkdir()
    write_text(tmp_path / "a.txt", "x")
    assert orphan.exists()
    assert (tmp_path / "a.txt").read_text() == "x"


def test_an_output_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(atomic, "_sync", lambda path: order.append(("sync", Path(path).name)))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda s, t: (order.append(("move", s.name)), replace(s, t))[1])
    write_text(tmp_path / "a.txt", "x")
    assert order == [("sync", "a.txt"), ("move", "a.txt"), ("sync", tmp_path.name)]
