"""Labelled images in memory, and folders of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isopleth.errors import DataError

PARTS = ("train", "val", "test")
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Images and their classes.

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


@dataclass(frozen=True, eq=False)
class Domain:
    """A classification task: training, validation and test images.

    Attributes
    ----------
    name : str
    classes : tuple of str
    train, val, test : Images
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    val: Images
    test: Images


def open_image_folder(folder: Path, *, size: int, channels: int = 3) -> Domain:
    """Read ``train/CLASS/*.png``, ``val/...`` and ``test/...`` (or jpg, webp, gif), cut to squares.

    The shorter side is brought to 8/7 of `size`, and the middle is cut out, as is usual for vision
    transformers (256 and 224).

    Parameters
    ----------
    folder : Path
    size : int
        Pixels of a side.
    channels : {1, 3}

    Raises
    ------
    DataError
        If a part or a class is missing, or a file is no image.
    """
    names = _list_classes(folder)
    parts = {}
    for part in PARTS:
        files = [
            (path, number)
            for number, name in enumerate(names)
            for path in sorted((folder / part / name).glob("*"))
            if path.suffix.lower() in _ENDINGS
        ]
        if not files:
            raise DataError(
                f"a folder of images must have {part}/CLASS/ with images in it, got none",
                where=folder / part, hint="test images must never choose weights: val and test are two parts",
            )  # fmt: skip
        pixels = np.stack([_read_image(path, size, channels) for path, _ in files])
        parts[part] = Images(pixels=pixels, labels=np.array([number for _, number in files], np.int64))
    return Domain(folder.name, names, **parts)


def _list_classes(folder: Path) -> tuple[str, ...]:
    train = folder / "train"
    names = sorted(path.name for path in train.iterdir() if path.is_dir()) if train.is_dir() else []
    if len(names) < 2:
        raise DataError(f"a folder of images must have at least two classes, got {len(names)}", where=train)
    for part in PARTS[1:]:
        strange = {path.name for path in (folder / part).glob("*/")} - set(names)
        if strange:
            raise DataError(
                f"every class must be among those of train, got {', '.join(sorted(strange))}",
                where=folder / part,
            )
    return tuple(names)


def _read_image(path: Path, size: int, channels: int) -> np.ndarray:
    """Read an image as bytes, shape (channel, row, column)."""
    from PIL import Image, ImageOps

    larger = round(size * 8 / 7)
    try:
        with Image.open(path) as image:
            picture = image.convert("L" if channels == 1 else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"an image must be readable, got {error}", where=path) from error
    pixels = np.asarray(ImageOps.fit(picture, (larger, larger), Image.Resampling.BILINEAR))
    edge = (larger - size) // 2
    square = pixels[edge : edge + size, edge : edge + size].reshape(size, size, channels)
    return np.ascontiguousarray(square.transpose(2, 0, 1))
