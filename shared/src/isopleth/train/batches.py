"""The order of training batches: a function of seed and epoch alone, which can start in mid-epoch."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from isopleth.errors import ConfigError, DataError
from isopleth.train.ddp import rank_and_world
from isopleth.train.randomness import derive_seed, isolated_random_state


class EpochSampler(Sampler[int]):
    """Sample indices of one process: the order follows from (seed, epoch), and is dealt out by rank.

    Rank r of W takes the places r, r + W, r + 2 W, ... of the common order. The batches of size b on W
    processes are then, taken together, the batches of size b W on one: the same training.

    Parameters
    ----------
    length : int
        Samples of the dataset.
    shuffle : bool
        A new order each epoch, or 0, 1, 2, ... always.
    seed : int
        Seed of the orders.
    rank, world : int
        This process and the number of processes. The order is filled up from its start until every
        process has equally many samples, as DDP requires.
    """

    def __init__(self, length: int, *, shuffle: bool, seed: int, rank: int = 0, world: int = 1) -> None:
        self.length, self.shuffle, self.seed = length, shuffle, seed
        self.rank, self.world = rank, world
        self.epoch = 0
        self.position = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next, from its start."""
        self.epoch, self.position = epoch, 0

    def skip(self, samples: int) -> None:
        """Begin the next iteration, and only that, after so many samples of this process."""
        self.position = samples

    def __iter__(self) -> Iterator[int]:
        order = torch.arange(self.length)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
            order = torch.randperm(self.length, generator=generator)
        places = torch.arange(self.rank, len(self) * self.world, self.world) % max(self.length, 1)
        position, self.position = self.position, 0
        return iter(order[places[position:]].tolist())

    def __len__(self) -> int:
        return -(-self.length // self.world)


class DealtLoader:
    """A loader that gives each process its share of the samples.

    A plain `DataLoader` gets an `EpochSampler` in place of its random or sequential one; any other has to
    deal out its samples itself. Nothing is drawn from a random generator before the first batch is asked
    for.

    Parameters
    ----------
    loader : DataLoader or iterable of batches
        What gives the batches of one epoch each time it is iterated.
    seed : int
        Seed of the orders.
    """

    def __init__(self, loader: Iterable[Any], *, seed: int) -> None:
        self.loader = loader
        self.seed = seed
        self._dealt: Iterable[Any] | None = None

    @property
    def dealt(self) -> Iterable[Any]:
        """The loader of this process's share; known once the processes know each other."""
        if self._dealt is None:
            self._dealt = _deal(self.loader, self.seed)
        return self._dealt

    def __len__(self) -> int:
        return len(self.dealt)  # type: ignore[arg-type] # a loader without length raises, as it should

    def __iter__(self) -> Iterator[Any]:
        yield from self.dealt


class ReplayableLoader(DealtLoader):
    """A training loader that knows its place and can come back to it.

    A loader with ``state_dict`` and ``load_state_dict`` of its own is asked for its place; of a plain one the
    samples before the place are skipped. Others draw from generators seeded by (seed, epoch), and the
    batches before the place are drawn again and thrown away. A sampler with ``set_epoch`` is told the epoch.

    Parameters
    ----------
    loader, seed
        As in `DealtLoader`; the loader must have a length.

    Raises
    ------
    ConfigError
        If it has none.
    """

    def __init__(self, loader: Iterable[Any], *, seed: int) -> None:
        super().__init__(loader, seed=seed)
        try:
            len(loader)  # type: ignore[arg-type] # asking is the check
        except TypeError as error:
            raise ConfigError(
                f"the training loader must have a length, got {type(loader).__name__} without one",
                hint="give an iterable dataset a __len__: without it no place in it can be found again",
            ) from error
        self.epoch = 0
        self.batch = 0
        self._own_state: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        # Lightning stops asking after the last batch, so a finished epoch is noticed when the next begins.
        if self.batch and self.batch == len(self):
            self.epoch, self.batch = self.epoch + 1, 0
        done = self.batch
        with isolated_random_state(self.seed, self.epoch, rank_and_world()[0]):
            batches = self._start(done)
            # The order is drawn with the first batch, so that one belongs in here.
            first = list(islice(batches, 1 if done == 0 else 0))
        for batch in chain(first, batches):
            self.batch += 1
            yield batch
        if self.batch == 0:
            raise DataError("the training loader must give at least one batch, got none")
        self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Give the place: epochs finished, and batches delivered in the present one."""
        loader: Any = self.loader
        own = loader.state_dict() if _is_stateful(loader) else None
        return {"epoch": self.epoch, "batch": self.batch, "own": own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place; the next iteration starts there."""
        self.epoch, self.batch, self._own_state = int(state["epoch"]), int(state["batch"]), state["own"]

    def _start(self, done: int) -> Iterator[Any]:
        """Iterate over the epoch from batch number `done` on."""
        own_state, self._own_state = self._own_state, None
        if own_state is not None:
            self.dealt.load_state_dict(own_state)  # type: ignore[attr-defined] # it gave this state
        for sampler in _samplers(self.dealt):
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(self.epoch)
        if done == 0 or own_state is not None or self._skip(done):
            return iter(self.dealt)
        batches = iter(self.dealt)
        drawn = sum(1 for _ in islice(batches, done))
        if drawn < done:
            raise DataError(f"the training loader must have the {done} batches already done, got {drawn}")
        return batches

    def _skip(self, done: int) -> bool:
        """Skip samples without reading them; False where the batches must be drawn again instead."""
        loader = self.dealt
        if not isinstance(loader, DataLoader) or not isinstance(loader.sampler, EpochSampler):
            return False
        if loader.num_workers or loader.batch_size is None:
            # The random numbers of a worker are where they would be only if its batches are repeated.
            return False
        loader.sampler.skip(done * loader.batch_size)
        return True


def _is_stateful(loader: Any) -> bool:
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def _samplers(loader: Iterable[Any]) -> list[Any]:
    """List what decides the order of a loader's samples."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    found = [getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]
    return [sampler for sampler in dict.fromkeys(found) if sampler is not None]


def _deal(loader: Iterable[Any], seed: int) -> Iterable[Any]:
    """Give this process its share of a loader's samples."""
    rank, world = rank_and_world()
    if _is_plain(loader):
        return _with_sampler(loader, seed, rank, world)
    shares = any(hasattr(sampler, "set_epoch") for sampler in _samplers(loader))
    iterable = isinstance(getattr(loader, "dataset", None), IterableDataset)
    if world > 1 and not shares and not iterable:
        raise ConfigError(
            "the sampler must deal out its samples to several processes (set_epoch, rank), got "
            f"{type(getattr(loader, 'sampler', loader)).__name__}",
            hint="use torch.utils.data.DistributedSampler or one device",
        )
    return loader


def _is_plain(loader: Any) -> bool:
    """Tell whether a loader goes once through a map-style dataset, in order or shuffled."""
    if type(loader) is not DataLoader or type(loader.batch_sampler) is not BatchSampler:
        return False
    sampler = loader.sampler
    if isinstance(sampler, RandomSampler):
        return not sampler.replacement and sampler.num_samples == len(loader.dataset)  # type: ignore[arg-type]
    return isinstance(sampler, SequentialSampler)


def _with_sampler(loader: Any, seed: int, rank: int, world: int) -> DataLoader[Any]:
    """Build the loader again around an `EpochSampler`."""
    shuffle = isinstance(loader.sampler, RandomSampler)
    sampler = EpochSampler(len(loader.dataset), shuffle=shuffle, seed=seed, rank=rank, world=world)
    return DataLoader(
        loader.dataset,
        sampler=sampler,
        batch_size=loader.batch_size,
        drop_last=loader.drop_last,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=partial(_begin_worker, loader.worker_init_fn),
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )


def _begin_worker(init: Callable[[int], None] | None, number: int) -> None:
    """Leave Ctrl-C to the main process, which needs its workers until the checkpoint is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if init is not None:
        init(number)
