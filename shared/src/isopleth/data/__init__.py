"""Training data: the packed store, its windows, the loader, the normaliser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isopleth.data.normaliser import Normaliser
from isopleth.data.packing import pack
from isopleth.data.store import PackedStore, open_store
from isopleth.lazy import lazy_names

if TYPE_CHECKING:
    from isopleth.data.buffers import NormaliserBuffers
    from isopleth.data.loader import WindowLoader, make_loader
    from isopleth.data.windows import Windows, check_disjoint, split_windows

# These are torch from the first line.
_HOMES = {
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

__getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
