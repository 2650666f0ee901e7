"""Batches of windows in an order that can be repeated, divided among ranks, and taken up in mid-epoch."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from isopleth.config import check_choice
from isopleth.data.windows import Batch, Windows
from isopleth.errors import ConfigError, IsoplethError

StartMethod = Literal["forkserver", "spawn", "fork"]

_MOST_WORKERS = 8


class BatchSampler(DistributedSampler[list[int]]):
    """Batches of indices, of all ranks together the same in the same order whoever asks.

    The order depends on `seed` and the epoch alone: not on workers, ranks or earlier epochs. A global batch
    is `batch_size` indices a rank; each rank takes its consecutive part, so that N ranks see in a step
    exactly what one process with N times the batch size sees. If the last global batch does not divide
    among the ranks, indices from the epoch's beginning fill it up.

    It is a `DistributedSampler` in name only: Lightning leaves those alone and replaces others.

    Parameters
    ----------
    n_samples : int
    batch_size : int
        Of each rank.
    shuffle : bool
    seed : int
    drop_last : bool
        Leave out a last global batch that is not full.
    rank, world_size : int, optional
        Those of `torch.distributed` by default, looked up at the time of use.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        if (rank is None) != (world_size is None) or not 0 <= (rank or 0) < (world_size or 1):
            raise ConfigError(f"rank must be below world_size, got {rank} of {world_size}")
        self.n_samples, self.batch_size = n_samples, batch_size
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self._place = None if rank is None or world_size is None else (rank, world_size)
        self.epoch = 0
        self.delivered = 0
        self._start = 0
        self._resumed = False
        if len(self) == 0:
            raise ConfigError(
                f"batch_size must be at most the number of windows with drop_last, got {batch_size} "
                f"on {self.place[1]} ranks for {n_samples}"
            )

    @property
    def place(self) -> tuple[int, int]:
        """Rank of the process, and how many there are."""
        if self._place is not None:
            return self._place
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def __len__(self) -> int:
        size = self.batch_size * self.place[1]
        return self.n_samples // size if self.drop_last else -(-self.n_samples // size)

    def __iter__(self) -> Iterator[list[int]]:
        rank, world_size = self.place
        order, size = self.order(), self.batch_size * world_size
        for number in range(self._start, len(self)):
            batch = order[number * size : (number + 1) * size]
            if batch.size % world_size:
                batch = np.append(batch, np.resize(order, -batch.size % world_size))
            yield np.split(batch, world_size)[rank].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; one that was taken up in its middle by a state stays there."""
        done = self.delivered >= len(self) and not self._resumed
        if epoch != self.epoch or done:
            self.epoch, self.delivered, self._start = epoch, 0, 0

    def begin(self) -> None:
        """Begin where a loaded state says, else at the beginning; of the next epoch if this one ended."""
        if self.delivered >= len(self):
            self.set_epoch(self.epoch + 1)
        elif not self._resumed:
            self.delivered = 0
        self._start, self._resumed = self.delivered, False

    def state_dict(self) -> dict[str, Any]:
        """Return how far the epoch is, in batches that were handed out, and what the order depends on."""
        return {"epoch": self.epoch, "delivered": self.delivered, **self.identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up an epoch where `state_dict` left it.

        Raises
        ------
        ConfigError
            If the epoch was under way with another order: other data, seed, batch size or number of ranks.
        """
        other = {name: state.get(name) for name, value in self.identity().items() if state.get(name) != value}
        if other and 0 < state["delivered"] < state["batches"]:
            mine = {name: self.identity()[name] for name in other}
            raise ConfigError(
                f"an epoch under way must be continued with the same batches, got {mine}, not {other}",
                hint="resume with the settings it was begun with, or from the end of an epoch",
            )
        finished = state["delivered"] >= state["batches"]
        self.epoch = int(state["epoch"])
        self.delivered = len(self) if finished else int(state["delivered"])
        self._resumed = True

    def identity(self) -> dict[str, Any]:
        """Return all that the order depends on but the epoch; a class that draws otherwise adds to it."""
        names = ("n_samples", "batch_size", "shuffle", "seed", "drop_last")
        known = {name: getattr(self, name) for name in names}
        return {**known, "world_size": self.place[1], "batches": len(self)}

    def order(self) -> np.ndarray:
        """Return the indices of the present epoch in their order; a class of its own may draw others."""
        if not self.shuffle:
            return np.arange(self.n_samples)
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.n_samples)


class _Courier(Dataset[Batch | IsoplethError]):
    """Windows that hand an error over whole: torch would make a worker's traceback its message."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, numbers: list[int]) -> Batch | IsoplethError:
        try:
            return self.windows[numbers]
        except IsoplethError as error:
            return error


class WindowLoader(DataLoader[Batch]):
    """A `DataLoader` of whole batches that knows how many it has handed out; made by `make_loader`.

    Lightning calls `state_dict` and `load_state_dict` with its checkpoints, and `set_epoch` of the sampler.
    """

    sampler: BatchSampler

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # A generator begins at its first `next`: what is set between `iter` and that still counts.
        self.sampler.begin()
        for batch in super().__iter__():
            if isinstance(batch, IsoplethError):
                raise batch
            self.sampler.delivered += 1
            yield batch

    @property
    def windows(self) -> Windows:
        """What is loaded."""
        return self.dataset.windows  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state, by batches handed out and not by those workers have fetched ahead."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` left off, at the next iteration."""
        self.sampler.load_state_dict(state)


def make_loader(
    windows: Windows,
    *,
    batch_size: int,
    shuffle: bool,
    seed: int = 0,
    workers: int | Literal["auto"] = "auto",
    drop_last: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    start_method: StartMethod = "forkserver",
    prefetch: int = 2,
    pin_memory: bool | None = None,
    sampler: BatchSampler | None = None,
) -> WindowLoader:
    """Make a loader of batches of windows.

    Parameters
    ----------
    windows : Windows
    batch_size : int
        Of each rank.
    shuffle : bool
        Draw a new order each epoch, from `seed` and the epoch alone.
    seed : int
    workers : int or "auto"
        Processes that read ahead. "auto" is none for windows in memory, where a batch is one copy, else one
        less than the processors, between 1 and 8.
    drop_last : bool
        Leave out a last batch that is not full.
    rank, world_size : int, optional
        Those of `torch.distributed` by default.
    start_method : {"forkserver", "spawn", "fork"}
        How workers begin. A fork of a process with threads, such as zarr's, may deadlock; the server
        has none.
    prefetch : int
        Batches each worker reads ahead.
    pin_memory : bool, optional
        Page-lock batches for a faster copy to a GPU; by default where there is one.
    sampler : BatchSampler, optional
        Batches in another order than these options give, such as one that leaves out the past after some
        steps.

    Returns
    -------
    WindowLoader
        Yields dictionaries of tensors, see `Windows`.

    Raises
    ------
    ConfigError
        If an option cannot be used.
    """
    check_choice("start_method", start_method, tuple(multiprocessing.get_all_start_methods()))
    count = _count_workers(workers, in_memory=windows.in_memory)
    if sampler is None:
        sampler = BatchSampler(
            len(windows),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )
    processes: dict[str, Any] = {}
    if count:
        if start_method != "fork":
            windows.share_memory()
        processes = {
            "multiprocessing_context": _context(start_method),
            "prefetch_factor": prefetch,
            "persistent_workers": True,
            "worker_init_fn": _leave_interrupts,
        }
    return WindowLoader(
        _Courier(windows),  # type: ignore[arg-type]
        batch_size=None,  # the sampler's items are batches already
        sampler=sampler,
        num_workers=count,
        collate_fn=_whole,  # type: ignore[arg-type]
        pin_memory=torch.cuda.is_available() if pin_memory is None else pin_memory,
        # Its own generator: the global one must not move with the number of times a loader is iterated.
        generator=torch.Generator().manual_seed(seed),
        **processes,
    )


def _leave_interrupts(_worker: int) -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the one that trains: it saves first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _whole(batch: Batch) -> Batch:
    return batch


def _count_workers(workers: int | str, *, in_memory: bool) -> int:
    if workers == "auto":
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return 0 if in_memory else min(max(cpus - 1, 1), _MOST_WORKERS)
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise ConfigError(f"workers must be 'auto' or at least 0, got {workers!r}")
    return workers


def _context(start_method: StartMethod) -> Any:
    context = multiprocessing.get_context(start_method)
    if start_method == "forkserver":
        # The server imports torch and zarr once (neither starts a thread by that), and not each worker anew.
        context.set_forkserver_preload(["isopleth.data.windows"])
    return context
