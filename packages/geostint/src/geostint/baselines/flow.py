"""Optical flow in both directions: frames are carried towards each other along what moves between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from geostint.baselines.method import Frames, Gaps, Method, mix

Floats = NDArray[np.float64]

# Columns of the other side that are put beyond each end of a global grid, at most.
_RIM = 32
# Less of a value than this from cells that have one, and the line between the frames is taken instead.
_WHOLE = 0.999


class OpticalFlow(Method):
    r"""Warp both frames along TV-L1 optical flow and blend them.

    With the flows :math:`F_{ab}, F_{ba}` (Zach et al. 2007, as scikit-image has it) those from a time t back
    to the frames are (Jiang et al. 2018, eq. 4)

    .. math::
        F_{ta} = -(1 - t) t F_{ab} + t^2 F_{ba}, \qquad F_{tb} = (1 - t)^2 F_{ab} - t (1 - t) F_{ba}

    and the frame is :math:`(1 - t)\, a(x + F_{ta}) + t\, b(x + F_{tb})`. Each channel has its own flow. A
    global grid is continued around the globe. Where a warp needs a missing value, the cell is interpolated
    linearly.
    """

    name = "flow"

    def make(self, gaps: Gaps, fractions: tuple[float, ...]) -> Frames:
        """Make frames; see `Method.make`."""
        made = mix(gaps.before, gaps.after, fractions)
        rim = min(_RIM, gaps.grid.shape[1]) if gaps.grid.is_periodic else 0
        for gap in range(len(gaps)):
            for channel in range(gaps.before.shape[1]):
                a, b = (_widen(frame[gap, channel], rim) for frame in (gaps.before, gaps.after))
                for number, warped in enumerate(_warp_between(a, b, fractions)):
                    inner = warped[:, rim : warped.shape[1] - rim]
                    line = made[gap, number, channel]
                    made[gap, number, channel] = np.where(np.isfinite(inner) & np.isfinite(line), inner, line)
        return made


def _widen(field: Frames, rim: int) -> Floats:
    """Continue a field around the globe by some columns on each side."""
    return np.pad(field.astype(np.float64), ((0, 0), (rim, rim)), mode="wrap")


def _warp_between(a: Floats, b: Floats, fractions: tuple[float, ...]) -> list[Floats]:
    """Return the frames between two fields; NaN where a value would be needed that is missing."""
    from skimage.registration import optical_flow_tvl1

    known = [np.isfinite(field) for field in (a, b)]
    if not (known[0].any() and known[1].any()):
        return [np.full(a.shape, np.nan) for _ in fractions]
    filled = [_fill(field, valid) for field, valid in zip((a, b), known, strict=True)]
    # TV-L1's weights are for images between 0 and 1.
    low = min(field.min() for field in filled)
    span = max(field.max() for field in filled) - low
    if span == 0:
        return [np.where(known[0] & known[1], a, np.nan) for _ in fractions]
    images = [((field - low) / span).astype(np.float32) for field in filled]
    forth = optical_flow_tvl1(images[0], images[1]).astype(np.float64)
    back = optical_flow_tvl1(images[1], images[0]).astype(np.float64)
    return [
        (1 - t) * _warp(filled[0], known[0], -(1 - t) * t * forth + t**2 * back)
        + t * _warp(filled[1], known[1], (1 - t) ** 2 * forth - t * (1 - t) * back)
        for t in fractions
    ]


def _fill(field: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Put the nearest value where there is none."""
    if valid.all():
        return field
    nearest = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return field[tuple(nearest)]


def _warp(field: Floats, valid: NDArray[np.bool_], flow: Floats) -> Floats:
    """Look a field up at displaced places, NaN where a missing cell would take part."""
    places = np.indices(field.shape) + flow
    values = map_coordinates(field, places, order=1, mode="nearest")
    if valid.all():
        return values
    share = map_coordinates(valid.astype(np.float64), places, order=1, mode="nearest")
    return np.where(share > _WHOLE, values, np.nan)
