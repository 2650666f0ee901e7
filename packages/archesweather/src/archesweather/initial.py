"""States to start from: of a model's channels, grid and statistics, two for each initial time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archesweather.ensemble import Ensemble
from archesweather.states import (
    Seconds,
    States,
    check_same_grid,
    choose_starts,
    find_rows,
    has_rows,
    parse_dates,
)
from isopleth.errors import DataError
from isopleth.grid import Grid

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class InitialStates:
    """States to start from, of a model's channels, grid and statistics.

    Parameters
    ----------
    states : States
        Where they are read.
    ensemble : Ensemble
        What starts from them.
    """

    states: States
    ensemble: Ensemble

    @classmethod
    def of(cls, states: States, ensemble: Ensemble) -> InitialStates:
        """Pair states with a model, and refuse another grid."""
        config = ensemble.config
        check_same_grid(
            Grid(np.array(config.lat), np.array(config.lon)), states.grid, "the states", states.place
        )
        return cls(states, ensemble)

    @property
    def lead_seconds(self) -> int:
        """The model's step."""
        return 3600 * self.ensemble.config.lead_hours

    def find(self, dates: Sequence[str]) -> Seconds:
        """Return the initial times asked for, or the latest that can be; both their states must be there."""
        axis = self.states.axis
        if dates:
            seconds = parse_dates(axis, dates, self.states.place)
            find_rows(axis, seconds - self.lead_seconds, "the state one lead earlier", self.states.place)
            return seconds
        whole = axis.seconds[has_rows(axis, axis.seconds - self.lead_seconds)]
        if not whole.size:
            raise DataError(
                f"there must be two states {self.ensemble.config.lead_hours} h apart to start from, got none "
                f"among {len(axis)} from {axis[0]} to {axis[len(axis) - 1]}",
                where=self.states.place,
            )
        return whole[-1:]

    def find_all(self, period: tuple[str, str], every_hours: int) -> Seconds:
        """Return the initial times of a period; those without a state one lead earlier are left out."""
        axis = self.states.axis
        seconds = choose_starts(axis, period, every_hours)
        whole = has_rows(axis, seconds - self.lead_seconds)
        if not whole.any():
            find_rows(axis, seconds - self.lead_seconds, "the state one lead earlier", self.states.place)
        if not whole.all():
            _LOG.warning(
                "%d of %d initial times left out: no state one lead earlier in %s",
                int((~whole).sum()),
                len(seconds),
                self.states.place,
            )
        return seconds[whole]

    def read(self, starts: Seconds) -> tuple[Tensor, Tensor]:
        """Return the z-scored states at initial times and one lead earlier, (start, channel, lat, lon).

        Raises
        ------
        DataError
            If a value is missing or infinite: a network spreads it over the globe.
        """
        return self._read(starts), self._read(starts - self.lead_seconds)

    def _read(self, seconds: Seconds) -> Tensor:
        states = self.states
        rows = find_rows(states.axis, seconds, "an initial state", states.place)
        values = states.read_scores(rows, self.ensemble.normaliser)
        wrong = ~np.isfinite(values).all(axis=(2, 3))
        if wrong.any():
            row, channel = np.argwhere(wrong)[0]
            raise DataError(
                f"an initial state must be finite, got missing values of {states.channels[channel]} "
                f"at {states.axis[int(rows[row])]}",
                where=states.place,
            )
        return torch.from_numpy(np.ascontiguousarray(values)).to(_device(self.ensemble))


def _device(ensemble: Ensemble) -> torch.device:
    normaliser = ensemble.steppers[0].normaliser
    return next(iter(normaliser.buffers())).device if normaliser is not None else torch.device("cpu")
