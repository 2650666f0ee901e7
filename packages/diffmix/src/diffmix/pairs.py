"""Pairs of real and synthetic images as bytes, in memory or in a zarr store of which a chunk is a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isopleth.errors import DataError

SCHEMA = "diffmix.pairs/1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Real images and their twins, in one order.

    Attributes
    ----------
    real : array of uint8, shape (image, channel, row, column)
        NumPy's, or zarr's, of which chunks of images are read at once.
    synthetic : array of uint8, shape (image, twin, channel, row, column)
        Without twins the second axis is empty.
    labels : array of int64, shape (image,)
        -1 where unknown. Never used in training.
    ids : tuple of str
    classes : tuple of str
    chunk : int
        Images that are read at once.
    """

    real: Any
    synthetic: Any
    labels: np.ndarray
    ids: tuple[str, ...]
    classes: tuple[str, ...] = ()
    chunk: int = 64

    def __post_init__(self) -> None:
        shape, twins = tuple(self.real.shape), tuple(self.synthetic.shape)
        fits = len(shape) == 4 and len(twins) == 5 and twins[:1] + twins[2:] == shape
        if not fits or self.real.dtype != np.uint8 or self.synthetic.dtype != np.uint8:
            raise DataError(
                "pairs must be bytes (image, channel, row, column) and (image, twin, channel, row, "
                "column), got "
                f"{self.real.dtype} {shape} and {self.synthetic.dtype} {twins}"
            )
        if not len(self.labels) == len(self.ids) == shape[0]:
            raise DataError(
                f"pairs must have {shape[0]} labels and ids, got {len(self.labels)}, {len(self.ids)}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def twins(self) -> int:
        """Twins of each image."""
        return int(self.synthetic.shape[1])

    @property
    def bytes(self) -> int:
        """Size of all images."""
        return int(np.prod(self.real.shape)) * (1 + self.twins)

    def in_memory(self) -> Pairs:
        """Read all of it."""
        return Pairs(
            real=np.asarray(self.real[:]), synthetic=np.asarray(self.synthetic[:]), labels=self.labels,
            ids=self.ids, classes=self.classes, chunk=self.chunk,
        )  # fmt: skip


def open_pairs(path: Path, *, memory_gb: float = 8.0) -> Pairs:
    """Open a store that ``prepare`` wrote; a small one is read whole.

    Raises
    ------
    DataError
        If it is none, or is damaged.
    """
    import zarr

    try:
        group: Any = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
        if attributes.get("schema") != SCHEMA:
            raise DataError(
                f"a store of pairs must be of {SCHEMA}, got {attributes.get('schema')}", where=path
            )
        pairs = Pairs(
            real=group["real"], synthetic=group["synthetic"], labels=np.asarray(group["label"][:], np.int64),
            ids=unpack_names(group["id"][:]), classes=tuple(attributes["classes"]),
            chunk=group["real"].chunks[0],
        )  # fmt: skip
    except (KeyError, FileNotFoundError, OSError, ValueError, TypeError) as error:
        raise DataError(
            f"a store of pairs must be one that prepare wrote, got {type(error).__name__}: {error}",
            where=path, hint="diffmix prepare SOURCE --twins FOLDER",
        ) from error  # fmt: skip
    return pairs.in_memory() if pairs.bytes <= memory_gb * 1e9 else pairs


def pack_names(names: Sequence[str]) -> np.ndarray:
    """Write names as rows of UTF-8 bytes, filled up with zeros: zarr's own strings are not stable yet."""
    encoded = [name.encode() for name in names]
    width = max(map(len, encoded), default=1)
    rows = b"".join(name.ljust(width, b"\0") for name in encoded)
    return np.frombuffer(rows, np.uint8).reshape(len(names), width)


def unpack_names(rows: np.ndarray) -> tuple[str, ...]:
    """Read names that `pack_names` wrote."""
    return tuple(bytes(row).rstrip(b"\0").decode() for row in np.asarray(rows))
