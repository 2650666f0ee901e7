"""From a prepared folder to batches: two states a lead apart, and those one and more leads later."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archesweather.clock import month_and_hour, step_hours, steps_in_lead
from archesweather.config import FitConfig, TrainConfig
from archesweather.prepared import Prepared
from isopleth.data import PackedStore, WindowLoader, Windows, make_loader, split_windows
from isopleth.data.loader import BatchSampler
from isopleth.errors import ConfigError


def make_windows(prepared: Prepared, config: TrainConfig) -> dict[str, Windows]:
    """Cut the training and the validation years into windows.

    A window has the inputs at -1 and 0 leads and the targets at 1 to ``fit.rollout_steps`` leads. None
    reaches over a gap or out of its years.

    Returns
    -------
    dict of Windows
        ``train`` and ``validate``.

    Raises
    ------
    ConfigError
        If the lead is no multiple of the store's step, or the two share a state.
    DataError
        If one of them has no window.
    """
    lead = steps_in_lead(prepared.store.axis, config.lead_hours)
    return split_windows(
        prepared.store,
        {"train": config.split.train, "validate": config.split.validate},
        inputs=(-lead, 0),
        targets=[lead * number for number in range(1, config.fit.rollout_steps + 1)],
        step=f"{step_hours(prepared.store.axis)}h",
        input_channels=prepared.fields.channels,
        target_channels=prepared.fields.channels,
        memory_budget=config.memory,
    )


def make_loaders(windows: dict[str, Windows], config: TrainConfig) -> tuple[WindowLoader, WindowLoader]:
    """Make the loaders of training (a new order each pass) and of validation (always the same)."""
    fit, runtime = config.fit, config.runtime
    training = make_loader(
        windows["train"],
        batch_size=fit.batch_size,
        shuffle=True,
        seed=runtime.seed,
        workers=runtime.workers,
        drop_last=True,
        sampler=_recent_sampler(windows["train"], fit, runtime.seed),
    )
    validation = make_loader(
        windows["validate"], batch_size=fit.batch_size, shuffle=False, workers=runtime.workers
    )
    return training, validation


def clock_table(store: PackedStore, lead_hours: int, steps: int) -> NDArray[np.int64]:
    """Tabulate month and hour of each state, and of the states that follow it in a rollout.

    Parameters
    ----------
    store : PackedStore
    lead_hours : int
    steps : int
        Leads of the rollout.

    Returns
    -------
    ndarray of int64, shape (time, step, 2)
        Month (1 to 12) and hour (0 to 23), in the store's calendar, `step` leads after each stamp.
    """
    ahead = np.arange(steps) * lead_hours * 3600
    month, hour = month_and_hour(store.axis.seconds[:, None] + ahead, store.axis.calendar)
    return np.stack([month, hour], axis=-1)


class RecentSampler(BatchSampler):
    """Draw from all samples up to a batch of the run, and from some of them from then on.

    Which they are follows from the seed and the batch's number alone: a resumed run, more workers or more
    processes draw the same. Epochs keep their length, so that the few are drawn several times in one.

    Parameters
    ----------
    n_samples, batch_size, seed : int
        As in `BatchSampler`.
    recent : ndarray of int64
        The samples to draw from later.
    after_batches : int
        The first batch of the run that holds only these.
    """

    def __init__(
        self, n_samples: int, batch_size: int, *, seed: int, recent: NDArray[np.int64], after_batches: int
    ) -> None:
        self.recent, self.after_batches = recent, after_batches
        super().__init__(n_samples, batch_size, shuffle=True, seed=seed, drop_last=True)

    def order(self) -> NDArray[np.int64]:
        """Return the samples of the present epoch, of which the last may be recent ones."""
        size = self.batch_size * self.place[1]
        before = min(max(self.after_batches - self.epoch * len(self), 0), len(self)) * size
        later = len(self) * size - before
        passes = -(-later // len(self.recent))
        rng = np.random.default_rng([self.seed, self.epoch, 1])
        drawn = [rng.permutation(self.recent) for _ in range(passes)]
        return np.concatenate([super().order()[:before], *drawn])[: len(self) * size]

    def identity(self) -> dict[str, Any]:
        """Add where the recent samples begin, in the run and among all."""
        recent = {"recent": len(self.recent), "after_batches": self.after_batches}
        return {**super().identity(), **recent}


def _recent_sampler(windows: Windows, fit: FitConfig, seed: int) -> RecentSampler | None:
    if fit.recent_from is None or fit.recent_after_steps is None:
        return None
    # Whole windows: the earlier of a window's two inputs is recent too.
    inside = windows.store.axis.select((fit.recent_from, None))
    recent = np.flatnonzero(inside[windows.rows].all(axis=1))
    if recent.size == 0:
        raise ConfigError(
            f"fit.recent_from must leave training samples, got none after {fit.recent_from}",
            where=windows.store.path,
        )
    return RecentSampler(
        len(windows),
        fit.batch_size,
        seed=seed,
        recent=recent,
        after_batches=fit.recent_after_steps * fit.accumulate,
    )
