"""Batches of pairs: what a sample is in each mode, and in which order they come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from diffmix.config.training import Mode
from diffmix.pairs import Pairs
from isopleth.errors import DataError
from isopleth.train.ddp import rank_and_world
from isopleth.train.randomness import derive_seed

Batch = dict[str, Tensor]
# Chunks of a store that are shuffled together, and kept: a sample's neighbours change from epoch to epoch.
_TOGETHER = 16


class PairBatches(Dataset[Batch]):
    """Samples of pairs, read a batch at a time.

    A batch has ``images`` (uint8; sample, side, channel, row, column), ``synthetic`` (bool; sample, side) and
    ``index`` (sample), the place among the pairs. There is one side where both views are of one image, and
    two where they are of a real image and its twin, the real one first.

    Parameters
    ----------
    pairs : Pairs
    mode : str
        See `ViewConfig`.

    Raises
    ------
    DataError
        If the mode needs twins and there are none.
    """

    def __init__(self, pairs: Pairs, mode: Mode) -> None:
        if mode != "real" and not pairs.twins:
            raise DataError(
                f"pairs must have twins for the mode {mode}, got none", hint="diffmix prepare --twins"
            )
        self.pairs, self.mode = pairs, mode
        self._chunks: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        """Count samples: a pool has real and synthetic images one by one."""
        return len(self.pairs) * (2 if self.mode == "pool" else 1)

    def __getitem__(self, place: int) -> Batch:
        return self.__getitems__([place])

    def __getitems__(self, places: list[int]) -> Batch:
        index, domain = np.divmod(np.asarray(places), 2 if self.mode == "pool" else 1)
        if self.mode == "pool":
            images, synthetic = np.empty((len(index), 1, *self.pairs.real.shape[1:]), np.uint8), domain == 1
            images[~synthetic, 0] = self._read("real", index[~synthetic])
            images[synthetic, 0] = self._read_twins(index[synthetic])
            sides = synthetic[:, None]
        elif self.mode in ("real", "synthetic"):
            chosen = self._read("real", index) if self.mode == "real" else self._read_twins(index)
            images, sides = chosen[:, None], np.full((len(index), 1), self.mode == "synthetic")
        else:
            images = np.stack([self._read("real", index), self._read_twins(index)], axis=1)
            sides = np.broadcast_to([False, True], (len(index), 2))
        return {
            "images": torch.from_numpy(images),
            "synthetic": torch.from_numpy(np.array(sides)),
            "index": torch.from_numpy(index),
        }

    def _read_twins(self, index: np.ndarray) -> np.ndarray:
        """Read a twin of each image, one of several at random."""
        made = self._read("synthetic", index)
        twins = self.pairs.twins
        which = torch.randint(twins, (len(index),)).numpy() if twins > 1 else np.zeros(len(index), np.int64)
        return made[np.arange(len(index)), which]

    def _read(self, name: str, index: np.ndarray) -> np.ndarray:
        array: Any = getattr(self.pairs, name)
        if isinstance(array, np.ndarray):
            return array[index]
        found = np.empty((len(index), *array.shape[1:]), np.uint8)
        numbers, within = np.divmod(index, self.pairs.chunk)
        for number in np.unique(numbers):
            mine = numbers == number
            found[mine] = self._chunk(name, int(number))[within[mine]]
        return found

    def _chunk(self, name: str, number: int) -> np.ndarray:
        """Read a chunk, or remember it."""
        key = (name, number)
        if key not in self._chunks:
            start = number * self.pairs.chunk
            self._chunks[key] = np.asarray(getattr(self.pairs, name)[start : start + self.pairs.chunk])
            while len(self._chunks) > 2 * _TOGETHER:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(key)
        return self._chunks[key]


class ChunkSampler(Sampler[int]):
    """An order for a store that does not fit in memory: random chunks, random samples among a few of them.

    The order follows from seed and epoch, and is dealt out by rank as `isopleth.train.EpochSampler` deals it.

    Parameters
    ----------
    length : int
        Samples.
    chunk : int
        Samples of a chunk.
    seed : int
    """

    def __init__(self, length: int, chunk: int, *, seed: int) -> None:
        self.length, self.chunk, self.seed, self.epoch = length, chunk, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng(derive_seed(self.seed, self.epoch))
        chunks = random.permutation(-(-self.length // self.chunk))
        order = []
        for start in range(0, len(chunks), _TOGETHER):
            group = [
                np.arange(number * self.chunk, min((number + 1) * self.chunk, self.length))
                for number in chunks[start : start + _TOGETHER]
            ]
            order.append(random.permutation(np.concatenate(group)))
        rank, world = rank_and_world()
        places = np.arange(rank, len(self) * world, world) % self.length
        return iter(np.concatenate(order)[places].tolist())

    def __len__(self) -> int:
        return -(-self.length // rank_and_world()[1])


def make_loader(
    pairs: Pairs, mode: Mode, *, batch_size: int, seed: int = 0, workers: int = 0, pin: bool = False
) -> DataLoader[Batch]:
    """Make shuffled batches, every one full: a loss of fewer negatives is another loss.

    Raises
    ------
    DataError
        If there are fewer samples than a batch has.
    """
    data = PairBatches(pairs, mode)
    if len(data) < batch_size:
        raise DataError(f"pairs must fill a batch of {batch_size}, got {len(data)}", hint="--fit.batch_size")
    in_memory = isinstance(pairs.real, np.ndarray)
    chunk = pairs.chunk * (2 if mode == "pool" else 1)
    sampler = None if in_memory else ChunkSampler(len(data), chunk, seed=seed)
    return DataLoader(
        data, batch_size=batch_size, shuffle=True if in_memory else None, sampler=sampler, drop_last=True,
        collate_fn=_take_as_it_is, num_workers=workers, pin_memory=pin, persistent_workers=workers > 0,
    )  # fmt: skip


def _take_as_it_is(batch: Any) -> Any:
    return batch
