"""Every way to fill a gap, behind one interface: what needs no training, and a trained network."""

from __future__ import annotations

from geostint.baselines.climatology import DiurnalClimatology
from geostint.baselines.flow import OpticalFlow
from geostint.baselines.method import Gaps, Method
from geostint.baselines.polynomials import Cubic, Linear, Nearest, Pchip
from isopleth.config import check_choice

_METHODS: dict[str, type[Method]] = {
    "nearest": Nearest,
    "linear": Linear,
    "pchip": Pchip,
    "cubic": Cubic,
    "climatology": DiurnalClimatology,
    "flow": OpticalFlow,
}


def make_method(name: str) -> Method:
    """Return a method by its name; the climatology still has to be fitted.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    check_choice("method", name, tuple(_METHODS))
    return _METHODS[name]()


__all__ = [
    "Cubic",
    "DiurnalClimatology",
    "Gaps",
    "Linear",
    "Method",
    "Nearest",
    "OpticalFlow",
    "Pchip",
    "make_method",
]
