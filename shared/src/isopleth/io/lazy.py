"""Arrays that are read when they are looked at: decoding, joining and filling without dask.

xarray's arithmetic loads a lazily opened array, and its concatenation too. These wrappers stand on xarray's
public backend interface instead (`BackendArray`, as "How to add a new backend" describes it): each knows its
shape at once and reads only the part that is indexed, so that ``chunks=None`` stays lazy over many files.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from isopleth.errors import DataError, IsoplethError

# One axis of a read: a position, a range, or sorted positions.
Index = int | np.integer | slice | np.ndarray
Key = tuple[Index, ...]
_DENSE = 2  # reading up to twice what is asked, in one piece, beats picking rows one by one


class Transform(Protocol):
    """What a value in the file means."""

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the values."""
        ...

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Return the values that the stored numbers stand for, in ``dtype``."""
        ...


class LazyArray(BackendArray, ABC):
    """An array of known shape and dtype whose `read` returns the values at orthogonal indices."""

    def __init__(self, shape: Sequence[int], dtype: np.dtype) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self.read)

    @abstractmethod
    def read(self, key: Key) -> np.ndarray:
        """Read the values at ``key``: an int drops its axis, slices go forwards, arrays are sorted."""


class _Guarded(LazyArray):
    """A stored array; what its file library throws becomes a `DataError`."""

    def __init__(self, raw: xr.Variable, where: str) -> None:
        super().__init__(raw.shape, raw.dtype)
        self.raw, self.where = raw, where

    def read(self, key: Key) -> np.ndarray:
        try:
            return np.asarray(self.raw[key].values)
        except IsoplethError:
            raise
        except Exception as error:  # each backend and codec has its own
            raise DataError(
                f"stored values must be readable, got {type(error).__name__}: {error}",
                where=self.where,
                hint="the file is damaged or went away: fetch it again",
            ) from error


class _Decoded(LazyArray):
    """Stored numbers, turned into what they mean as they are read."""

    def __init__(self, raw: xr.Variable, transform: Transform) -> None:
        super().__init__(raw.shape, transform.dtype)
        self.raw, self.transform = raw, transform

    def read(self, key: Key) -> np.ndarray:
        return self.transform.apply(read_block(self.raw, key))


class _Joined(LazyArray):
    """Several arrays end to end along one axis."""

    def __init__(self, parts: Sequence[xr.Variable], axis: int) -> None:
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        super().__init__(shape, np.result_type(*(part.dtype for part in parts)))
        self.parts, self.axis = tuple(parts), axis
        self.starts = np.cumsum([0, *(part.shape[axis] for part in parts)])

    def read(self, key: Key) -> np.ndarray:
        wanted = key[self.axis]
        positions = np.atleast_1d(np.arange(self.shape[self.axis])[wanted])
        owners = np.searchsorted(self.starts, positions, side="right") - 1
        blocks = [
            self.parts[owner][self._within(key, positions[owners == owner] - self.starts[owner])].values
            for owner in np.unique(owners)
        ]
        if not blocks:
            blocks = [self.parts[0][self._within(key, positions)].values]
        joined = np.concatenate(blocks, axis=self._axis_after(key)).astype(self.dtype, copy=False)
        return joined.squeeze(self._axis_after(key)) if _is_int(wanted) else joined

    def _within(self, key: Key, positions: np.ndarray) -> Key:
        return (*key[: self.axis], _as_slice(positions), *key[self.axis + 1 :])

    def _axis_after(self, key: Key) -> int:
        """Where the joined axis stands once the ints before it have dropped theirs."""
        return sum(not _is_int(index) for index in key[: self.axis])


class _Filled(LazyArray):
    """The first array that has a value at each place; all have one shape."""

    def __init__(self, layers: Sequence[xr.Variable]) -> None:
        super().__init__(layers[0].shape, layers[0].dtype)
        self.layers = tuple(layers)

    def read(self, key: Key) -> np.ndarray:
        values = np.array(self.layers[0][key].values)
        for layer in self.layers[1:]:
            missing = np.isnan(values)
            if missing.any():
                values = np.where(missing, layer[key].values, values)
        return values


class _Raised(LazyArray):
    """An array with an axis of length one put in front."""

    def __init__(self, inner: xr.Variable) -> None:
        super().__init__((1, *inner.shape), inner.dtype)
        self.inner = inner

    def read(self, key: Key) -> np.ndarray:
        return np.asarray(self.inner[key[1:]].values)[np.newaxis][key[0]]


def guard(raw: xr.Variable, *, where: str) -> xr.Variable:
    """Wrap a stored variable so that reading it ends in values or in a `DataError` that names it."""
    return raw if _is_dask(raw) else _variable(_Guarded(raw, where), raw.dims, like=raw)


def decode(raw: xr.Variable, transform: Transform) -> xr.Variable:
    """Wrap a stored variable so that its numbers are turned into what they mean as they are read."""
    if _is_dask(raw):
        data = raw.data.map_blocks(transform.apply, dtype=transform.dtype)
        return xr.Variable(raw.dims, data, raw.attrs, raw.encoding)
    return _variable(_Decoded(raw, transform), raw.dims, like=raw)


def join(parts: Sequence[xr.Variable], dim: str) -> xr.Variable:
    """Put variables of one layout end to end along ``dim``, reading none of them."""
    first = parts[0]
    if any(_is_dask(part) for part in parts):
        return xr.Variable.concat(parts, dim)
    return _variable(_Joined(parts, first.dims.index(dim)), first.dims, like=first)


def fill(layers: Sequence[xr.Variable]) -> xr.Variable:
    """Take each value from the first layer that has one there."""
    if any(_is_dask(layer) for layer in layers):
        return functools.reduce(lambda first, second: first.where(first.notnull(), second), layers)
    return _variable(_Filled(layers), layers[0].dims, like=layers[0])


def raise_dim(variable: xr.Variable, dim: str) -> xr.Variable:
    """Put a dimension of length one in front, reading nothing."""
    if _is_dask(variable):
        return variable.set_dims([dim, *variable.dims])
    return _variable(_Raised(variable), (dim, *variable.dims), like=variable)


def read_block(raw: xr.Variable, key: Key) -> np.ndarray:
    """Read part of a stored variable, nearly contiguous positions in one piece."""
    coarse, fine = zip(*(_coarsen(index) for index in key), strict=True) if key else ((), ())
    block = np.asarray(raw[coarse].values)
    kept = [index for index in fine if not _is_int(index)]
    for axis, index in enumerate(kept):
        if isinstance(index, np.ndarray):
            block = block.take(index, axis=axis)
    return block


def _coarsen(index: Index) -> tuple[Index, Index]:
    """Replace nearly contiguous positions by the range over them, and the positions within it."""
    if not isinstance(index, np.ndarray) or index.size == 0:
        return index, index if _is_int(index) else slice(None)
    first, last = int(index[0]), int(index[-1])
    if last - first + 1 > _DENSE * index.size:
        return index, slice(None)
    if last - first + 1 == index.size:
        return slice(first, last + 1), slice(None)
    return slice(first, last + 1), index - first


def _as_slice(positions: np.ndarray) -> Index:
    if positions.size == 0:
        return slice(0, 0)
    step = int(positions[1] - positions[0]) if positions.size > 1 else 1
    regular = step > 0 and bool((np.diff(positions) == step).all())
    return slice(int(positions[0]), int(positions[-1]) + 1, step) if regular else positions


def _is_int(index: Index) -> bool:
    return isinstance(index, int | np.integer)


def _is_dask(variable: xr.Variable) -> bool:
    return variable.chunks is not None


def _variable(array: LazyArray, dims: Sequence[Any], *, like: xr.Variable) -> xr.Variable:
    lazy = indexing.LazilyIndexedArray(array)
    return xr.Variable(tuple(dims), lazy, dict(like.attrs), dict(like.encoding), fastpath=True)
