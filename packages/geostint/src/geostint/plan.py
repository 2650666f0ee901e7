"""What is to be made of a sequence, block by block: by one method, each variable by its own meaning."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geostint.baselines import Gaps, Method
from geostint.baselines.method import Frames
from geostint.config import Stamp
from geostint.data import Sequence
from geostint.schedule import Schedule, Steps
from geostint.semantics import Known, split_parents


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be made of a sequence.

    Parameters
    ----------
    sequence : Sequence
    method : Method
        Fitted, where it has to be.
    factor : int
        Output steps to an input step.
    meanings : tuple of {"point", "mean", "sum"}
        By channel: frames are instants, between which others are made; or belong to steps, which are cut into
        parts.
    never_negative : tuple of bool
        By channel.
    stamp : {"start", "middle", "end"}
        Where in its step the stamp of a mean or sum stands.
    """

    sequence: Sequence
    method: Method
    factor: int
    meanings: tuple[Known, ...]
    never_negative: tuple[bool, ...]
    stamp: Stamp = "middle"

    @cached_property
    def schedule(self) -> Schedule:
        """When the output's steps are."""
        return Schedule.of(self.sequence, self.factor, self.meanings, self.stamp)

    @cached_property
    def ticks(self) -> tuple[int, ...]:
        """Times within a gap at which frames are made, in half steps of the output: exact, unlike shares."""
        instants = set(range(2, 2 * self.factor, 2)) if "point" in self.meanings else set()
        cut = set(self.meanings) != {"point"}
        parts = {self._tick(part) % (2 * self.factor) for part in range(self.factor)} if cut else set()
        return tuple(sorted((instants | parts) - {0}))

    @property
    def fractions(self) -> tuple[float, ...]:
        """The same as shares of a gap, 0 to 1."""
        return tuple(tick / (2 * self.factor) for tick in self.ticks)

    def make(self, first: int, last: int) -> Frames:
        """Return the output that begins with some frames, shape (time, channel, lat, lon).

        A variable is NaN at the times of others that are not its own.
        """
        schedule, count = self.schedule, len(self.sequence)
        begin, end = schedule.begins[[first, last]].tolist()
        low = first if set(self.meanings) == {"point"} else max(first - 1, 0)
        high = min(last, count - 1)
        gaps = self._read_gaps(low, high)
        frames = gaps.before
        if last > high:
            frames = np.concatenate([frames, self.sequence.read(high, last)])
        made = self.method.make(gaps, self.fractions) if len(gaps) else np.empty((0,) * 5, np.float32)
        values = np.full((end - begin, *frames.shape[1:]), np.nan, np.float32)
        for meaning, steps in schedule.steps.items():
            mine = steps.within(begin, end)
            channels = [number for number, each in enumerate(self.meanings) if each == meaning]
            place = np.ix_(mine.index - begin, channels)
            if meaning == "point":
                values[place] = self._points(mine, frames[:, channels], made, low, channels)
            else:
                values[place] = self._parts(mine, frames[:, channels], made, low, channels, meaning)
        return values

    def _tick(self, part: int) -> int:
        """Return where a part's middle is, seen from its parent's, in half steps of the output."""
        return 2 * part + 1 - self.factor

    def _points(self, steps: Steps, frames: Frames, made: Frames, low: int, channels: Listing[int]) -> Frames:
        """Return instants: those that were there, and those between them."""
        values = frames[steps.row - low]
        between = np.flatnonzero(steps.part)
        places = np.searchsorted(self.ticks, 2 * steps.part[between])
        if between.size:
            values[between] = made[(steps.row - low)[between], places][:, channels]
        for number, channel in enumerate(channels):
            if self.never_negative[channel]:
                values[between, number] = np.maximum(values[between, number], 0.0)
        return values

    def _parts(
        self, steps: Steps, frames: Frames, made: Frames, low: int, channels: Listing[int],
        meaning: Literal["mean", "sum"],
    ) -> NDArray[np.float64]:  # fmt: skip
        """Cut steps into parts: guessed between the middles of steps, then made to give back the parent."""
        rows = steps.row[:: self.factor]
        parents = frames[rows - low]
        guess = np.full((self.factor, *parents.shape), np.nan, np.float32)
        for part in range(self.factor):
            tick = self._tick(part)
            if tick == 0:
                guess[part] = parents
                continue
            gap = rows - (tick < 0)
            there = (gap >= low) & (gap - low < len(made))
            there[there] = self.sequence.is_gap[gap[there]]
            place = self.ticks.index(tick % (2 * self.factor))
            guess[part, there] = made[gap[there] - low, place][:, channels]
        if meaning == "sum":
            guess = guess / self.factor
        split = np.empty(guess.shape, np.float64)
        for number, channel in enumerate(channels):
            split[:, :, number] = split_parents(
                parents[:, number], guess[:, :, number], meaning,
                never_negative=self.never_negative[channel],
            )  # fmt: skip
        return np.moveaxis(split, 0, 1).reshape(-1, *parents.shape[1:])

    def _read_gaps(self, first: int, last: int) -> Gaps:
        seconds = self.sequence.seconds
        frames = self.sequence.read_around(first, last)
        return Gaps(frames, seconds[first:last], seconds[first + 1 : last + 1], self.sequence.grid)
