"""Labelled images: in memory, or read from files when a batch asks for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from isopleth.data.moments import Moments
from isopleth.errors import DataError
from isopleth.io.atomic import atomic_path

PARTS = ("train", "val", "test")
Places = Sequence[int] | np.ndarray
_BATCH_BYTES = 64 * 2**20


class ImageSource(Protocol):
    """Images that are read by their places.

    Attributes
    ----------
    labels : array of int64, shape (image,)
    shape : (channel, row, column)
    """

    @property
    def labels(self) -> np.ndarray:
        """Number of each image's class."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of every image."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, places: Places) -> np.ndarray:
        """Read images, shape (image, channel, row, column): bytes of pictures, or floats of rasters."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Images in memory.

    Attributes
    ----------
    pixels : array of uint8, shape (image, channel, row, column)
    labels : array of int64, shape (image,)
    """

    pixels: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != np.uint8 or len(self.pixels) != len(self.labels):
            raise DataError(
                "images must be uint8 (image, channel, row, column), a label each, got "
                f"{self.pixels.dtype} {self.pixels.shape} and {len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns."""
        channels, rows, columns = self.pixels.shape[1:]
        return channels, rows, columns

    def read(self, places: Places) -> np.ndarray:
        """Return copies of images."""
        return self.pixels[np.asarray(places)]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredImages:
    """Images in files, decoded each time they are asked for.

    Attributes
    ----------
    items : sequence
        A file, or a place in one, for each image.
    labels : array of int64, shape (image,)
    reader : callable
        Makes an array (channel, row, column) of an item; its repr tells all that decides the result.
    shape : (channel, row, column)
    """

    items: Sequence[Any]
    labels: np.ndarray
    reader: Callable[[Any], np.ndarray]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, places: Places) -> np.ndarray:
        """Decode images.

        Raises
        ------
        DataError
            If one cannot be read.
        """
        first, *rest = (self.items[place] for place in np.asarray(places))
        image = self.reader(first)
        images = np.empty((1 + len(rest), *image.shape), image.dtype)
        images[0] = image
        for number, item in enumerate(rest, start=1):
            images[number] = self.reader(item)
        return images


@dataclass(frozen=True, kw_only=True, eq=False)
class CachedImages:
    """Decoded images in one file, of which the operating system keeps in memory what fits.

    Attributes
    ----------
    path : Path
        An array of numpy, shape (image, channel, row, column).
    labels : array of int64, shape (image,)
    shape : (channel, row, column)
    """

    path: Path
    labels: np.ndarray
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, places: Places) -> np.ndarray:
        """Copy images out of the file."""
        return np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False)[np.asarray(places)])


@dataclass(frozen=True, eq=False)
class Domain:
    """A classification task: training, validation and test images.

    Attributes
    ----------
    name : str
    classes : tuple of str
    train, val, test : ImageSource
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSource
    val: ImageSource
    test: ImageSource


def list_batches(images: ImageSource) -> Iterator[range]:
    """Cut the places of images into ranges whose images take some tens of megabytes as floats."""
    step = int(np.clip(_BATCH_BYTES // (4 * np.prod(images.shape)), 1, 512))
    for first in range(0, len(images), step):
        yield range(first, min(first + step, len(images)))


def cache_images(images: StoredImages, folder: Path) -> CachedImages:
    """Decode images once into a file of a folder, or take the file that is there already.

    The file's name follows from the reader's settings and from names, sizes and times of the image files:
    images that changed are decoded anew. It is whole or not there.
    """
    path = folder / f"{_identify(images)}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            _decode_into(images, partial)
    return CachedImages(path=path, labels=images.labels, shape=images.shape)


def _decode_into(images: StoredImages, path: Path) -> None:
    shape = (len(images), *images.shape)
    dtype = images.read([0]).dtype
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(
            file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        )
        for places in list_batches(images):
            file.write(images.read(places).tobytes())


def _identify(images: StoredImages) -> str:
    stamps: dict[Path, tuple[int, int]] = {}
    for item in images.items:
        path = Path(getattr(item, "path", item))
        if path not in stamps:
            stat = path.stat()
            stamps[path] = (stat.st_size, stat.st_mtime_ns)
    files = [(str(path.absolute()), *stamp) for path, stamp in stamps.items()]
    known = json.dumps([repr(images.reader), files, list(map(str, images.items))])
    return hashlib.sha256(known.encode()).hexdigest()[:24]


def compute_moments(images: ImageSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of each channel in one pass; NaN carries no weight.

    Raises
    ------
    DataError
        If a channel never changes, or has no value.
    """
    parts = (Moments.of(images.read(places)) for places in list_batches(images))
    found = next(parts)
    for part in parts:
        found += part
    for channel, std in enumerate(found.std):
        if not std > 0:
            raise DataError(
                f"a band must vary over the training images, got standard deviation {std:g} "
                f"of band {channel + 1}"
            )
    return tuple(map(float, found.mean)), tuple(map(float, found.std))
