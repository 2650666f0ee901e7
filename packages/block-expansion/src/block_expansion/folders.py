"""Tasks in files: folders of pictures or rasters, a folder a class, or a table of places in rasters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from block_expansion.config import DataConfig
from block_expansion.data import PARTS, Domain, ImageSource, StoredImages, cache_images
from block_expansion.rasters import RASTER_ENDINGS, Patch, RasterReader
from block_expansion.tables import read_table
from isopleth.errors import DataError

_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")


def open_domain(place: Path, *, size: int, channels: int = 3, data: DataConfig | None = None) -> Domain:
    """Open a task; its images stay in their files until a batch asks for them.

    Parameters
    ----------
    place : Path
        A folder with ``train/CLASS/``, ``val/CLASS/`` and ``test/CLASS/`` of pictures (png, jpg, webp, gif)
        or rasters (GeoTIFF, NetCDF, zarr), or a table of patches (see `block_expansion.tables.read_table`).
        Of pictures the shorter side is brought to 8/7 of `size`, and the middle is cut out, as is usual for
        vision transformers (256 and 224).
    size : int
        Pixels of a side.
    channels : int
        1 or 3 of pictures; the number of bands of rasters.
    data : DataConfig, optional
        Which bands, and where decoded images are kept.

    Raises
    ------
    DataError
        If a part or a class is missing, or a file is none.
    """
    data = data or DataConfig()
    if place.suffix.lower() == ".csv":
        return _open_table(place, size, channels, data)
    names = _list_classes(place)
    listed = {part: _list_files(place / part, names) for part in PARTS}
    files = [path for part in listed.values() for path, _ in part]
    rasters = any(path.suffix.lower() in RASTER_ENDINGS for path in files)
    reader: Any = (
        RasterReader(size, channels, data.bands) if rasters else _check_pictures(files, size, channels)
    )
    parts = {
        part: _store(
            [Patch(path) if rasters else path for path, _ in found], [n for _, n in found], reader, data
        )
        for part, found in listed.items()
    }
    return Domain(place.name, names, **parts)


def _open_table(place: Path, size: int, channels: int, data: DataConfig) -> Domain:
    rows = read_table(place, size)
    names = tuple(sorted({row.label for row in rows if row.part == "train"}))
    if len(names) < 2:
        raise DataError(f"a table of patches must have at least two classes, got {len(names)}", where=place)
    numbers = {name: number for number, name in enumerate(names)}
    reader = RasterReader(size, channels, data.bands)
    parts = {}
    for part in PARTS:
        own = [row for row in rows if row.part == part]
        _refuse_strange({row.label for row in own} - set(names), place)
        if not own:
            raise DataError(f"a table must have patches of the part {part}, got none", where=place)
        parts[part] = _store([row.patch for row in own], [numbers[row.label] for row in own], reader, data)
    return Domain(place.stem, names, **parts)


def _store(items: Sequence[Any], labels: Sequence[int], reader: Any, data: DataConfig) -> ImageSource:
    images = StoredImages(
        items=items,
        labels=np.array(labels, np.int64),
        reader=reader,
        shape=(reader.channels, reader.size, reader.size),
    )
    return cache_images(images, data.cache) if data.cache is not None else images


def _list_classes(folder: Path) -> tuple[str, ...]:
    train = folder / "train"
    names = sorted(path.name for path in train.iterdir() if path.is_dir()) if train.is_dir() else []
    if len(names) < 2:
        raise DataError(f"a folder of images must have at least two classes, got {len(names)}", where=train)
    for part in PARTS[1:]:
        _refuse_strange({path.name for path in (folder / part).glob("*/")} - set(names), folder / part)
    return tuple(names)


def _refuse_strange(strange: set[str], where: Path) -> None:
    if strange:
        raise DataError(
            f"every class must be among those of train, got {', '.join(sorted(strange))}", where=where
        )


def _list_files(folder: Path, names: Sequence[str]) -> list[tuple[Path, int]]:
    files = [
        (path, number)
        for number, name in enumerate(names)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in (*_PICTURE_ENDINGS, *RASTER_ENDINGS)
    ]
    if not files:
        raise DataError(
            f"a folder of images must have {folder.name}/CLASS/ with images in it, got none",
            where=folder, hint="test images must never choose weights: val and test are two parts",
        )  # fmt: skip
    return files


@dataclass(frozen=True)
class PictureReader:
    """Reads a picture as bytes, shape (channel, row, column), cut to a square.

    Parameters
    ----------
    size : int
        Pixels of a side.
    channels : {1, 3}
    """

    size: int
    channels: int

    def __call__(self, path: Path) -> np.ndarray:
        """Read one."""
        from PIL import Image, ImageOps

        larger = round(self.size * 8 / 7)
        try:
            with Image.open(path) as image:
                picture = image.convert("L" if self.channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"an image must be readable, got {error}", where=path) from error
        pixels = np.asarray(ImageOps.fit(picture, (larger, larger), Image.Resampling.BILINEAR))
        edge = (larger - self.size) // 2
        square = pixels[edge : edge + self.size, edge : edge + self.size]
        return np.ascontiguousarray(square.reshape(self.size, self.size, self.channels).transpose(2, 0, 1))


def _check_pictures(files: Sequence[Path], size: int, channels: int) -> PictureReader:
    """Look at every header now: a file that is no image shall not be found after hours of training."""
    from PIL import Image

    if channels not in (1, 3):
        raise DataError(f"pictures must have 1 or 3 channels, got {channels}", where=files[0].parent)
    for path in files:
        try:
            Image.open(path).close()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"an image must be readable, got {error}", where=path) from error
    return PictureReader(size, channels)
