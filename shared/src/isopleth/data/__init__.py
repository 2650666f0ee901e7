"""Training data: the packed store, its windows, the loader, the normaliser."""

from __future__ import annotations

import importlib
from typing import Any

from isopleth.data.normaliser import Normaliser
from isopleth.data.packing import pack
from isopleth.data.store import PackedStore, open_store

# These are torch from the first line.
_TORCH = {
    "NormaliserBuffers": "buffers",
    "WindowLoader": "loader",
    "Windows": "windows",
    "check_disjoint": "windows",
    "make_loader": "loader",
    "split_windows": "windows",
}

__all__ = [
    "Normaliser",
    "NormaliserBuffers",
    "PackedStore",
    "WindowLoader",
    "Windows",
    "check_disjoint",
    "make_loader",
    "open_store",
    "pack",
    "split_windows",
]


def __getattr__(name: str) -> Any:
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_TORCH[name]}"), name)


def __dir__() -> list[str]:
    return __all__
