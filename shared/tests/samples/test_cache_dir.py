from pathlib import Path

import pytest

from isopleth.cache import cache_dir


@pytest.fixture
def bare(monkeypatch):
    monkeypatch.delenv("ISOPLETH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/reader")
    return monkeypatch


def test_home_is_the_last_resort(bare):
    assert cache_dir() == Path("/home/reader/.cache/isopleth")


def test_xdg_comes_before_home(bare):
    bare.setenv("XDG_CACHE_HOME", "/var/fast")
    assert cache_dir() == Path("/var/fast/isopleth")


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_xdg_ignored_unless_absolute(bare, value):
    bare.setenv("XDG_CACHE_HOME", value)
    assert cache_dir() == Path("/home/reader/.cache/isopleth")


def test_own_variable_comes_first(bare):
    bare.setenv("XDG_CACHE_HOME", "/var/fast")
    bare.setenv("ISOPLETH_CACHE", "~/mine")
    assert cache_dir() == Path("/home/reader/mine")


def test_own_variable_may_be_relative(bare, tmp_path):
    bare.chdir(tmp_path)
    bare.setenv("ISOPLETH_CACHE", "here")
    assert cache_dir() == tmp_path / "here"


def test_folder_is_named_not_made(bare, tmp_path):
    bare.setenv("ISOPLETH_CACHE", str(tmp_path / "new"))
    assert not cache_dir().exists()
