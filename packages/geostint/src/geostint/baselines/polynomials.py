"""Polynomials in time, cell by cell."""

from __future__ import annotations

import numpy as np

from geostint.baselines.method import Frames, Gaps, Method, mix


class Nearest(Method):
    """Repeat the nearer frame; halfway it is the earlier one."""

    name = "nearest"

    def make(self, gaps: Gaps, fractions: tuple[float, ...]) -> Frames:
        """Make frames; see `Method.make`."""
        made = np.stack([gaps.before if t <= 0.5 else gaps.after for t in fractions], axis=1)
        return np.where(_missing(gaps)[:, None], np.float32(np.nan), made)


class Linear(Method):
    """Draw a straight line between the two frames."""

    name = "linear"

    def make(self, gaps: Gaps, fractions: tuple[float, ...]) -> Frames:
        """Make frames; see `Method.make`."""
        return mix(gaps.before, gaps.after, fractions)


class Cubic(Method):
    """Draw the cubic through four frames (Lagrange).

    An outer frame that is not there, or has no value, is continued on the line through the inner two.
    """

    name = "cubic"

    def make(self, gaps: Gaps, fractions: tuple[float, ...]) -> Frames:
        """Make frames; see `Method.make`."""
        four = np.moveaxis(_continued(gaps), 1, 0)
        made = [
            -t * (t - 1) * (t - 2) / 6 * four[0]
            + (t + 1) * (t - 1) * (t - 2) / 2 * four[1]
            - (t + 1) * t * (t - 2) / 2 * four[2]
            + (t + 1) * t * (t - 1) / 6 * four[3]
            for t in fractions
        ]
        return np.stack(made, axis=1).astype(np.float32)


class Pchip(Method):
    """Draw the cubic that never overshoots the two frames (Fritsch and Butland 1984).

    The slope at a frame is the harmonic mean of those on both sides, 0 at a turning point. An outer frame
    that is not there, or has no value, is continued on the line through the inner two.
    """

    name = "pchip"

    def make(self, gaps: Gaps, fractions: tuple[float, ...]) -> Frames:
        """Make frames; see `Method.make`."""
        four = _continued(gaps)
        steps = np.diff(four, axis=1)
        left, right = (_harmonic(steps[:, k], steps[:, k + 1]) for k in (0, 1))
        before, rise = four[:, 1], steps[:, 1]
        made = [
            before
            + t**2 * (3 - 2 * t) * rise
            + t * (1 - t) ** 2 * left
            + t**2 * (t - 1) * right
            for t in fractions
        ]  # fmt: skip
        return np.stack(made, axis=1).astype(np.float32)


def _missing(gaps: Gaps) -> np.ndarray:
    return np.isnan(gaps.before) | np.isnan(gaps.after)


def _continued(gaps: Gaps) -> np.ndarray:
    """Return the four frames with outer ones that are missing continued linearly, float64."""
    four = gaps.frames.astype(np.float64)
    four[:, 0] = np.where(np.isnan(four[:, 0]), 2 * four[:, 1] - four[:, 2], four[:, 0])
    four[:, 3] = np.where(np.isnan(four[:, 3]), 2 * four[:, 2] - four[:, 1], four[:, 3])
    return four


def _harmonic(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the harmonic mean of slopes of one sign, else 0."""
    total = one + other
    alike = one * other > 0
    return np.where(alike, 2 * one * other / np.where(alike, total, 1.0), 0.0 * total)
