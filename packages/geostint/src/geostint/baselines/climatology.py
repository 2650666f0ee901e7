"""The mean diurnal cycle, and linear interpolation of what departs from it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from geostint.baselines.method import Frames, Gaps, Method, mix
from isopleth.errors import ConfigError

_DAY = 86400


class DiurnalClimatology(Method):
    r"""Add a diurnal cycle, fitted to the frames that are there, to linear interpolation of the rest.

    .. math:: c(\tau) = c_0 + c_1 \cos 2\pi\tau + c_2 \sin 2\pi\tau

    for the time of day :math:`\tau`, by least squares in each cell. Frames at fewer than three times of day
    do not determine it: the cycle is then 0, and the method is linear interpolation.
    """

    name = "climatology"
    needs_fit = True

    def __init__(self) -> None:
        self.coefficients: NDArray[np.float64] | None = None

    def fit(self, frames: Iterable[tuple[Frames, NDArray[np.int64]]]) -> DiurnalClimatology:
        """Fit the cycle in one pass; see `Method.fit`."""
        normal, moments, hours = None, None, set()
        for values, seconds in frames:
            basis, present = _basis(seconds), np.isfinite(values)
            hours |= set((np.asarray(seconds) % _DAY).tolist())
            squares = np.einsum("ti,tj,tcyx->cyxij", basis, basis, present)
            products = np.einsum("ti,tcyx->cyxi", basis, np.where(present, values, 0.0))
            normal = squares if normal is None else normal + squares
            moments = products if moments is None else moments + products
        if normal is None or moments is None:
            raise ConfigError("the climatology must be fitted to frames, got none")
        if len(hours) < 3:
            self.coefficients = np.zeros((*moments.shape[:-1], 2))
            return self
        # A ridge far below one frame's weight keeps cells without frames solvable.
        solved = np.linalg.solve(normal + 1e-9 * np.eye(3), moments[..., None])[..., 0]
        self.coefficients = solved[..., 1:]
        return self

    def make(self, gaps: Gaps, fractions: tuple[float, ...]) -> Frames:
        """Make frames; see `Method.make`."""
        if self.coefficients is None:
            raise ConfigError("the climatology must be fitted before it makes frames")
        start, end = self._cycle(gaps.start), self._cycle(gaps.end)
        inside = self._cycle(gaps.at(fractions).ravel()).reshape(len(gaps), len(fractions), *start.shape[1:])
        made = mix(gaps.before - start, gaps.after - end, fractions) + inside
        return made.astype(np.float32)

    def _cycle(self, seconds: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cycle at some times, shape (time, channel, lat, lon)."""
        assert self.coefficients is not None
        cycle = np.einsum("ti,cyxi->tcyx", _basis(seconds)[:, 1:], self.coefficients)
        return cycle.astype(np.float32)


def _basis(seconds: NDArray[np.int64]) -> NDArray[np.float64]:
    angle = 2 * np.pi * (np.asarray(seconds) % _DAY) / _DAY
    return np.stack([np.ones(len(angle)), np.cos(angle), np.sin(angle)], axis=1)
