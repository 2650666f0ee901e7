"""The network of ArchesWeather, as the paper has it, on any grid."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from archesweather.model.backbone import Backbone

if TYPE_CHECKING:
    from archesweather.model.weather import ArchesWeather

__all__ = ["ArchesWeather", "Backbone"]


def __getattr__(name: str) -> Any:
    # The network alone needs torch; what is shared and saved needs the core's data and training rooms too.
    if name != "ArchesWeather":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("archesweather.model.weather").ArchesWeather
