"""The interface of everything that makes frames between frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isopleth.grid import Grid

Frames = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Gaps:
    """Some gaps, each with the two frames on either side of it.

    Parameters
    ----------
    frames : ndarray of float32, shape (gap, 4, channel, lat, lon)
        The inner two bound the gap; an outer one that does not exist is NaN, as every missing value is.
    start, end : ndarray of int64, shape (gap,)
        Times of the inner two, seconds since 1970 in their own calendar.
    grid : Grid
    """

    frames: Frames
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    grid: Grid

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def before(self) -> Frames:
        """The frames that begin the gaps, shape (gap, channel, lat, lon)."""
        return self.frames[:, 1]

    @property
    def after(self) -> Frames:
        """The frames that end them."""
        return self.frames[:, 2]

    def at(self, fractions: tuple[float, ...]) -> NDArray[np.int64]:
        """Return times within the gaps, to the nearest second, shape (gap, frame)."""
        length = (self.end - self.start)[:, None]
        return self.start[:, None] + np.rint(length * np.asarray(fractions)).astype(np.int64)


class Method(ABC):
    """Fill gaps.

    Attributes
    ----------
    name : str
    needs_fit : bool
        Whether `fit` must see frames first.
    """

    name: str
    needs_fit = False

    def fit(self, frames: Iterable[tuple[Frames, NDArray[np.int64]]]) -> Method:
        """Learn from the frames that are there, never from what lies between them; return self.

        Parameters
        ----------
        frames : iterable of (frames, seconds)
            Pieces of shape (time, channel, lat, lon) and (time,).
        """
        del frames
        return self

    def check(self, fractions: tuple[float, ...]) -> None:
        """Raise `ConfigError` if it makes no frame at one of these times; most make any."""
        del fractions

    @abstractmethod
    def make(self, gaps: Gaps, fractions: tuple[float, ...]) -> Frames:
        """Make the frames at some times between 0 and 1.

        Parameters
        ----------
        gaps : Gaps
        fractions : tuple of float

        Returns
        -------
        ndarray of float32, shape (gap, frame, channel, lat, lon)
            NaN exactly where either of the inner frames is.
        """


def mix(before: Frames, after: Frames, fractions: tuple[float, ...]) -> Frames:
    """Interpolate linearly, shape (gap, frame, channel, lat, lon).

    What is the same before and after stays so to the bit.
    """
    t = np.asarray(fractions, dtype=np.float32)[:, None, None, None]
    return before[:, None] + t * (after - before)[:, None]
