"""Fixtures of the cross-package tests."""

import shutil

import pytest

from workspace import ROOT


@pytest.fixture(scope="session")
def uv() -> str:
    """The uv that made this environment."""
    found = shutil.which("uv") or shutil.which("uv", path=ROOT / ".uv" / "bin")
    assert found, "uv must be on PATH or in .uv/bin: run `make setup`"
    return found
