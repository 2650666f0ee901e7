"""Windows of a packed store: what a model is given, and what it must find."""

from __future__ import annotations

import itertools
import logging
import operator
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from isopleth.data.memory import read_budget
from isopleth.data.store import PackedStore, open_store
from isopleth.data.times import Period
from isopleth.errors import ConfigError, DataError

Batch = dict[str, Tensor]

_LOG = logging.getLogger(__name__)
# A store is loaded in pieces of this size, so that loading needs little more than the result.
_PIECE_BYTES = 64 * 2**20


class Windows(Dataset[Batch]):
    """Pairs of inputs and targets at fixed distances in time, as tensors of z-scores.

    A window never reaches over a gap: its stamps are exactly so many steps apart, or it is left out and
    counted in `dropped`. All of them, targets included, lie in `period`.

    Indexed by a number it gives a sample, by a sequence of numbers a batch, with one more dimension in front:

    ``inputs``, ``targets``
        (step, channel, lat, lon), the steps in the order of the offsets.
    ``inputs_valid``, ``targets_valid``
        Of the same shapes, bool, where the store has a mask: False where a 0 stands for a missing value.
    ``time``, ``index``
        The stamp of the last input (of the first target where there is no input) in seconds since 1970-01-01
        in the store's calendar, and its row in the store, of which `store.times` is the stamp; int64.

    If the rows that the windows touch fit into the memory budget they are loaded once into one array, at the
    first access; a batch is then a single copy out of it. Else each access reads whole chunks from disk, a
    row that several windows share once, with arrays that each process opens for itself.

    Parameters
    ----------
    store : PackedStore or path
    inputs, targets : sequence of int
        Offsets in steps; 0 is the present.
    period : (start, end), optional
        Ends included; all of the store by default.
    stride : int
        Steps from one window to the next.
    step : str, optional
        Length of a step: ``"6h"``, ``"month"``, ``"year"``; the store's most frequent spacing by default.
    input_channels, target_channels : sequence of str, optional
        All of the store's by default.
    memory_budget : int or str, optional
        Bytes, or ``"4 GB"``; half of what is available by default; 0 reads from disk.
    dtype : torch.dtype
        Of inputs and targets.

    Raises
    ------
    ConfigError
        If an offset, a channel or the period cannot be used.
    DataError
        If there is not a single window.
    """

    def __init__(
        self,
        store: PackedStore | str | Path,
        inputs: Sequence[int] = (-1, 0),
        targets: Sequence[int] = (1,),
        *,
        period: Period | None = None,
        stride: int = 1,
        step: str | None = None,
        input_channels: Sequence[str] | None = None,
        target_channels: Sequence[str] | None = None,
        memory_budget: int | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.store = store if isinstance(store, PackedStore) else open_store(store)
        self.inputs, self.targets = _check_offsets(inputs, "inputs"), _check_offsets(targets, "targets")
        if not (self.inputs or self.targets):
            raise ConfigError("inputs or targets must have an offset, got none")
        self.input_channels = self.store.channels if input_channels is None else tuple(input_channels)
        self.target_channels = self.store.channels if target_channels is None else tuple(target_channels)
        self._columns = {
            "inputs": _columns(self.store, self.input_channels),
            "targets": _columns(self.store, self.target_channels),
        }
        self.dtype = dtype
        present = max(self.inputs) if self.inputs else min(self.targets)
        self._present = [*self.inputs, *self.targets].index(present)
        self.rows, self.dropped, self.step = self._find(period, stride, step)
        self._first, self._last = int(self.rows.min()), int(self.rows.max()) + 1
        self.in_memory = self._needed_bytes() <= read_budget(memory_budget)
        self._loaded: dict[str, Tensor] = {}
        if self.dropped:
            _LOG.warning("%s", self)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        left_out = f", {self.dropped} left out at gaps" if self.dropped else ""
        place = "memory" if self.in_memory else "disk"
        offsets = f"{list(self.inputs)} -> {list(self.targets)} steps of {self.step}"
        return f"Windows({len(self)} of {offsets} in {place}{left_out}, {self.store.path})"

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any] | Tensor) -> Batch:
        if isinstance(index, slice):
            index = range(len(self))[index]
        if isinstance(index, Sequence | np.ndarray | Tensor) and np.ndim(index) == 1:
            return self._batch(np.asarray(index, dtype=np.int64))
        number = operator.index(index)  # type: ignore[arg-type]
        batch = self._batch(np.array([number]))
        return {name: tensor[0] for name, tensor in batch.items()}

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return samples as a list, read together: what a plain `DataLoader` calls and then stacks."""
        batch = self[indices]
        return [{name: tensor[i] for name, tensor in batch.items()} for i in range(len(indices))]

    @property
    def times(self) -> NDArray[Any]:
        """The time stamp of each window's last input, or first target where it has no input."""
        return self.store.times[self.rows[:, self._present]]

    @property
    def touched(self) -> NDArray[np.int64]:
        """The rows of the store that are part of a window, each once, in order."""
        return np.unique(self.rows)

    def load(self) -> Windows:
        """Load the rows into memory now, if that is where they go; return self."""
        if self.in_memory and not self._loaded:
            self._load(shared=False)
        return self

    def share_memory(self) -> Windows:
        """Put the loaded rows where worker processes see them without a copy; return self.

        Raises
        ------
        ConfigError
            If the system's shared memory is too small.
        """
        if self.in_memory and not self._is_shared():
            _check_shared_memory(self._needed_bytes())
            if self._loaded:
                self._loaded = {name: tensor.share_memory_() for name, tensor in self._loaded.items()}
            else:
                self._load(shared=True)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # What is not shared would be copied into every worker: they read from disk instead.
        if self._is_shared():
            return self.__dict__.copy()
        return {**self.__dict__, "_loaded": {}, "in_memory": False}

    def _find(
        self, period: Period | None, stride: int, step: str | None
    ) -> tuple[NDArray[np.int64], int, str]:
        """Return the rows of each window, how many are left out at gaps, and the length of a step."""
        if stride < 1:
            raise ConfigError(f"stride must be at least 1, got {stride}")
        axis = self.store.axis
        inside, found = axis.select(period), axis.positions(step)
        usable = np.flatnonzero(inside & found.regular)
        where = found.where[usable]
        offsets = np.array([*self.inputs, *self.targets])
        wanted = where[:, None] + (offsets - offsets[self._present])
        if where.size:
            within = (wanted.min(axis=1) >= where[0]) & (wanted.max(axis=1) <= where[-1])
            wanted = wanted[within]
            wanted = wanted[(wanted[:, 0] - wanted[:1, 0]) % stride == 0]
        rows = np.searchsorted(where, wanted)
        whole = (where[rows] == wanted).all(axis=1)
        if not whole.any():
            raise DataError(
                f"there must be at least one window of offsets {offsets.tolist()} in steps of {found.step}, "
                f"got none in {int(inside.sum())} time steps of {period or 'all the store'}",
                where=self.store.path,
                hint=f"the store reaches from {axis[0]} to {axis[-1]}",
            )
        irregular = int((inside & ~found.regular).sum())
        return usable[rows[whole]], int((~whole).sum()) + irregular, found.step

    def _batch(self, numbers: NDArray[np.int64]) -> Batch:
        outside = (numbers < -len(self)) | (numbers >= len(self))
        if outside.any():
            raise IndexError(f"windows must be in [0, {len(self)}), got {numbers[outside][0]}")
        rows = self.rows[numbers]
        blocks, at = self._fetch(rows)
        batch: Batch = {}
        cut = len(self.inputs)
        for side, columns in (("inputs", slice(0, cut)), ("targets", slice(cut, None))):
            if at[:, columns].numel():
                channels = self._columns[side]
                batch[side] = _gather(blocks["fields"], at[:, columns], channels).to(self.dtype)
                if "valid" in blocks:
                    batch[f"{side}_valid"] = _gather(blocks["valid"], at[:, columns], channels)
        present = rows[:, self._present]
        batch["time"] = torch.from_numpy(self.store.axis.seconds[present])
        batch["index"] = torch.from_numpy(present)
        return batch

    def _fetch(self, rows: NDArray[np.int64]) -> tuple[dict[str, Tensor], Tensor]:
        """Return blocks of rows, and where in them the asked rows are."""
        if self.in_memory:
            return self.load()._loaded, torch.from_numpy(rows - self._first)
        needed, at = np.unique(rows, return_inverse=True)
        return self._read(needed), torch.from_numpy(at.reshape(rows.shape))

    def _read(self, rows: NDArray[np.int64] | slice) -> dict[str, Tensor]:
        blocks = {"fields": _as_tensor(self.store.read_stored(rows))}
        if self.store.has_mask:
            blocks["valid"] = torch.from_numpy(self.store.read_valid(rows))
        return blocks

    def _load(self, *, shared: bool) -> None:
        blocks: dict[str, Tensor] = {}
        piece = max(1, _PIECE_BYTES // self.store.step_bytes)
        for start in range(self._first, self._last, piece):
            stop = min(start + piece, self._last)
            for name, values in self._read(slice(start, stop)).items():
                if name not in blocks:
                    empty = torch.empty((self._last - self._first, *values.shape[1:]), dtype=values.dtype)
                    blocks[name] = empty.share_memory_() if shared else empty
                blocks[name][start - self._first : stop - self._first] = values
        self._loaded = blocks

    def _is_shared(self) -> bool:
        return bool(self._loaded) and all(tensor.is_shared() for tensor in self._loaded.values())

    def _needed_bytes(self) -> int:
        mask = int(np.prod(self.store.shape[1:])) if self.store.has_mask else 0
        return (self._last - self._first) * (self.store.step_bytes + mask)


def check_disjoint(splits: Mapping[str, Windows]) -> None:
    """Refuse splits that have a time step in common.

    Parameters
    ----------
    splits : mapping of str to Windows

    Raises
    ------
    ConfigError
        Names the two and the first step they share.
    """
    for (one, a), (other, b) in itertools.combinations(splits.items(), 2):
        shared = np.intersect1d(a.store.axis.seconds[a.touched], b.store.axis.seconds[b.touched])
        if shared.size:
            first = a.store.axis[int(np.searchsorted(a.store.axis.seconds, shared[0]))]
            raise ConfigError(
                f"{one} and {other} must not share time steps, got {shared.size} shared, the first at {first}"
            )


def split_windows(
    store: PackedStore | str | Path, periods: Mapping[str, Period], **options: Any
) -> dict[str, Windows]:
    """Make windows of several periods of a store, and see that none leaks into another.

    Parameters
    ----------
    store : PackedStore or path
    periods : mapping of str to (start, end)
        Such as ``{"train": ("1979", "2015"), "test": ("2017", "2018")}``. Only the one called ``train`` may
        have been seen by the normaliser.
    **options
        For `Windows`.

    Returns
    -------
    dict of str to Windows

    Raises
    ------
    ConfigError
        If two of them share a time step, or the statistics were fitted to one of another than ``train``.
    """
    opened = store if isinstance(store, PackedStore) else open_store(store)
    splits = {name: Windows(opened, period=period, **options) for name, period in periods.items()}
    check_disjoint(splits)
    if opened.normaliser.period is not None:
        fitted = np.flatnonzero(opened.axis.select(opened.normaliser.period))
        for name, windows in splits.items():
            seen = np.intersect1d(windows.touched, fitted)
            if name != "train" and seen.size:
                raise ConfigError(
                    f"the statistics must be fitted to the training period alone, got {seen.size} steps of "
                    f"{name} in them, the first at {opened.axis[int(seen[0])]}",
                    where=opened.path,
                    hint="pack the store with the train_period that is trained on",
                )
    return splits


def _check_offsets(offsets: Sequence[int], name: str) -> tuple[int, ...]:
    try:
        found = tuple(operator.index(offset) for offset in offsets)
    except TypeError as error:
        raise ConfigError(f"{name} must be whole numbers of steps, got {offsets!r}") from error
    if len(set(found)) != len(found):
        raise ConfigError(f"{name} must be distinct offsets, got {list(found)}")
    return found


def _columns(store: PackedStore, channels: tuple[str, ...]) -> Tensor | None:
    """Return where channels are, or None for all of them in the store's order."""
    if not channels:
        raise ConfigError("channels must be at least one, got none")
    columns = [store.channel_index(name) for name in channels]
    return None if channels == store.channels else torch.tensor(columns)


def _gather(block: Tensor, rows: Tensor, channels: Tensor | None) -> Tensor:
    """Copy rows of shape (batch, step) out of a block, once: (batch, step, channel, lat, lon)."""
    if channels is not None:
        return block[rows[:, :, None], channels]
    return block.index_select(0, rows.reshape(-1)).view(*rows.shape, *block.shape[1:])


def _as_tensor(values: NDArray[Any]) -> Tensor:
    """Take stored numbers as a tensor without a copy; unsigned 16-bit ones are bfloat16."""
    if values.dtype == np.uint16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def _check_shared_memory(needed: int) -> None:
    place = Path("/dev/shm")  # noqa: S108 - Linux's shared memory, looked at and not written to
    if place.is_dir() and shutil.disk_usage(place).free < needed:
        raise ConfigError(
            f"shared memory must hold {needed / 1e6:.0f} MB for worker processes, got "
            f"{shutil.disk_usage(place).free / 1e6:.0f} MB free in {place}",
            hint="use workers=0, which is as fast in memory, or memory_budget=0",
        )
