"""How long a long job will still take, said honestly."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO

logger = logging.getLogger("isopleth.diffmix")

_LINE_EVERY = 60.0


class Estimate:
    """A bar on a terminal, a line a minute in a log.

    The first advance is left out of the rate: loading and compiling are in it. What was found already made is
    not counted as progress. Until a second advance there is no estimate.

    Parameters
    ----------
    total : int
        What is to do.
    unit : str
    clock : callable
        Seconds.
    stream : file, optional
        Of the bar; stderr if that is a terminal.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        stream: TextIO | None = None,
    ) -> None:
        self.total, self.unit, self.clock = total, unit, clock
        self.stream = stream or (sys.stderr if sys.stderr.isatty() else None)
        self.done = 0
        self._first: tuple[float, int] | None = None
        self._said = clock()

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds still to go at the rate since the first advance; None before there is one."""
        if self._first is None or self.done <= self._first[1]:
            return None
        rate = (self.done - self._first[1]) / max(self.clock() - self._first[0], 1e-9)
        return (self.total - self.done) / rate

    def advance(self, count: int) -> None:
        """Note that so many more are done."""
        self.done += count
        now = self.clock()
        if self._first is None:
            self._first = (now, self.done)
        if self.stream is not None:
            self.stream.write(f"\r{self.describe():<78}")
            self.stream.flush()
        elif now - self._said >= _LINE_EVERY:
            self._said = now
            logger.info("%s", self.describe())

    def describe(self) -> str:
        """Say where it stands."""
        left = self.remaining_seconds
        guess = "time left unknown yet" if left is None else f"about {format_duration(left)} left"
        return f"{self.done:,} of {self.total:,} {self.unit}, {guess}"

    def close(self) -> None:
        """End the bar's line."""
        if self.stream is not None and self.done:
            self.stream.write("\n")


def format_duration(seconds: float) -> str:
    """Write a duration in its two largest units.

    Examples
    --------
    >>> [format_duration(value) for value in (42, 90, 3660, 200_000)]
    ['42 s', '1 min 30 s', '1 h 1 min', '2 d 7 h']
    """
    whole = round(seconds)
    for name, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // part} {smaller}"
    return f"{whole} s"
