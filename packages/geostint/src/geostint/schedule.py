"""When output steps are: instants between instants, parts of means and sums, on one time axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geostint.config import Stamp
from geostint.data import Sequence
from geostint.semantics import Known

Integers = NDArray[np.int64]

# Where in its step a stamp stands.
_PLACE: dict[Stamp, float] = {"start": 0.0, "middle": 0.5, "end": 1.0}


@dataclass(frozen=True, eq=False)
class Steps:
    """Output steps of one meaning, in the order of time.

    Attributes
    ----------
    row : ndarray of int64, shape (step,)
        The frame that each belongs to.
    part : ndarray of int64, shape (step,)
        Its number within the frame's step, 0 for an instant that was there.
    index : ndarray of int64, shape (step,)
        Its place on the time axis.
    """

    row: Integers
    part: Integers
    index: Integers

    def within(self, begin: int, end: int) -> Steps:
        """Return those at some places of the time axis."""
        part = slice(*np.searchsorted(self.index, (begin, end)).tolist())
        return Steps(self.row[part], self.part[part], self.index[part])


@dataclass(frozen=True, eq=False)
class Schedule:
    r"""The time axis of an output, and what belongs where on it.

    A frame at T with a step of length L gives instants at :math:`T + L k / f`, and parts of its own step at

    .. math:: T + L \left(\frac{k + p}{f} - p\right), \quad k = 0 \ldots f - 1

    where p is 0, 1/2 or 1 as stamps stand at the start, the middle or the end of steps: parts are stamped as
    their parents are. Where variables have other times than each other, the axis has all of them.

    Attributes
    ----------
    seconds : ndarray of int64, shape (step,)
    bounds : ndarray of int64, shape (step, 2), optional
        Start and end of each part; an instant has none but itself. None without parts.
    steps : mapping of str to Steps
        By meaning.
    begins : ndarray of int64, shape (frame + 1,)
        From which place on the axis nothing belongs to earlier frames but instants of the one before.
    """

    seconds: Integers
    bounds: Integers | None
    steps: Mapping[Known, Steps]
    begins: Integers

    @classmethod
    def of(cls, sequence: Sequence, factor: int, meanings: Iterable[Known], stamp: Stamp) -> Schedule:
        """Lay out the time axis of a sequence that is refined."""
        own = {
            meaning: _instants(sequence, factor) if meaning == "point" else _parts(sequence, factor, stamp)
            for meaning in dict.fromkeys(meanings)
        }
        times = np.unique(np.concatenate([found[2] for found in own.values()]))
        steps = {
            meaning: Steps(row, part, np.searchsorted(times, seconds))
            for meaning, (row, part, seconds) in own.items()
        }
        firsts = np.stack([each.index[each.part == 0] for each in steps.values()]).min(axis=0)
        begins = np.append(firsts, len(times))
        # What comes before the first frame's own stamp is the first block's.
        begins[0] = 0
        bounded = [meaning for meaning in steps if meaning != "point"]
        bounds = None
        if bounded:
            bounds = np.stack([times, times], axis=1)
            bounds[steps[bounded[0]].index] = _bounds(sequence, factor, stamp)
        return cls(times, bounds, steps, begins)


def _instants(sequence: Sequence, factor: int) -> tuple[Integers, Integers, Integers]:
    """Return frame, number and time of each instant; after a frame that no gap follows there is none."""
    count = np.where(np.append(sequence.is_gap, False), factor, 1)
    row = np.repeat(np.arange(len(sequence)), count)
    part = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    length = _lengths(sequence)[row]
    return row, part, sequence.seconds[row] + np.rint(length * part / factor).astype(np.int64)


def _parts(sequence: Sequence, factor: int, stamp: Stamp) -> tuple[Integers, Integers, Integers]:
    """Return frame, number and time of each part."""
    row = np.repeat(np.arange(len(sequence)), factor)
    part = np.tile(np.arange(factor), len(sequence))
    return row, part, _at(sequence, row, (part + _PLACE[stamp]) / factor, stamp)


def _bounds(sequence: Sequence, factor: int, stamp: Stamp) -> Integers:
    """Return start and end of each part, shape (part, 2)."""
    row, part, _ = _parts(sequence, factor, stamp)
    return np.stack([_at(sequence, row, (part + edge) / factor, stamp) for edge in (0, 1)], axis=1)


def _at(sequence: Sequence, row: Integers, share: NDArray[np.float64], stamp: Stamp) -> Integers:
    """Return the time at a share of the steps of some frames, 0 at their start."""
    length = _lengths(sequence, before=stamp == "end")[row]
    return sequence.seconds[row] + np.rint(length * (share - _PLACE[stamp])).astype(np.int64)


def _lengths(sequence: Sequence, *, before: bool = False) -> NDArray[np.float64]:
    """Return the length of each step in seconds: to the next frame or from the one before, else the usual."""
    usual = float(sequence.step_seconds)
    lengths = np.full(len(sequence), usual)
    lengths[slice(1, None) if before else slice(-1)] = np.where(
        sequence.is_gap, np.diff(sequence.seconds), usual
    )
    return lengths
