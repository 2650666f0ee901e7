"""Names of a room that are imported when they are used: all of them exist, and none loads torch too early."""

import importlib
import subprocess
import sys

import pytest

ROOMS = ("data", "io", "sealevel", "train")


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there(room):
    module = importlib.import_module(f"isopleth.{room}")
    assert set(module.__all__) <= set(dir(module))
    for name in dir(module):
        assert getattr(module, name) is not None


@pytest.mark.parametrize("room", ROOMS)
def test_an_unknown_name_is_an_attribute_error(room):
    module = importlib.import_module(f"isopleth.{room}")
    with pytest.raises(AttributeError, match=f"module 'isopleth.{room}' has no attribute 'nothing'"):
        _ = module.nothing


def test_rooms_are_imported_without_torch():
    rooms = ", ".join(f"isopleth.{room}" for room in ROOMS)
    found = f"import sys, {rooms}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
