"""How numbers are kept on disk: float32, float16, and bfloat16, which zarr does not know."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from isopleth.config import check_choice

Precision = Literal["float32", "float16", "bfloat16"]

# bfloat16 is the upper half of a float32: it is stored as those 16 bits, unsigned.
_STORED: dict[Precision, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}
_BFLOAT16_NAN = 0x7FC0


def check_precision(dtype: str) -> None:
    """Raise `ConfigError` unless `dtype` names a precision that a store can have."""
    check_choice("dtype", dtype, get_args(Precision))


def stored_dtype(dtype: Precision) -> np.dtype[Any]:
    """Return the numpy dtype in which a precision lies on disk."""
    return _STORED[dtype]


def fill_value(dtype: Precision) -> float | int:
    """Return the value that a chunk without a file reads as: never one that is stored, so that it shows."""
    return _BFLOAT16_NAN if dtype == "bfloat16" else float("nan")


def is_fill(values: NDArray[Any], dtype: Precision) -> NDArray[np.bool_]:
    """Tell where encoded values are what a missing chunk reads as."""
    return values == _BFLOAT16_NAN if dtype == "bfloat16" else np.isnan(values)


def encode(values: NDArray[Any], dtype: Precision) -> NDArray[Any]:
    """Round finite numbers to a precision, ties to even; what is too large for it becomes infinite."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, dtype=_STORED[dtype])
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half_way = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    return ((bits + half_way) >> 16).astype("<u2")


def decode(values: NDArray[Any], dtype: Precision) -> NDArray[np.float32]:
    """Give encoded numbers back as float32, exactly."""
    if dtype != "bfloat16":
        return values.astype(np.float32, copy=False)
    return (values.astype(np.uint32) << 16).view(np.float32)


def digest(*arrays: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the SHA-256 of the bytes of arrays, one after the other, shape (32,)."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return np.frombuffer(sha.digest(), dtype=np.uint8)
