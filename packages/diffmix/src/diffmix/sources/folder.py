"""Folders of images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from diffmix.paths import check_id
from isopleth.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


class FolderSource:
    """Images in a folder for each class, or in no order.

    Parameters
    ----------
    folder : Path
        With images below it at any depth. If all lie in folders, those of the first level are the classes.

    Raises
    ------
    DataError
        If it has no images, or two differ by their endings alone (their twins would have one name).
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = folder.name, folder
        self._files = dict(_list_images(folder))
        if not self._files:
            raise DataError(
                f"a folder of images must have images ({', '.join(ENDINGS)}), got none", where=folder
            )
        self.ids = tuple(self._files)
        firsts = [name.partition("/") for name in self.ids]
        sorted_by_class = all(rest for _, _, rest in firsts)
        self.classes = tuple(sorted({first for first, _, _ in firsts})) if sorted_by_class else ()
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.labels = np.array([numbers.get(first, -1) for first, _, _ in firsts], np.int64)

    def read(self, number: int) -> Image:
        """Read one image."""
        return read_image(self.folder / self._files[self.ids[number]])


def find_image(folder: Path, name: str) -> Path | None:
    """Find the image of an id in a folder, whatever its ending."""
    for ending in ENDINGS:
        for candidate in (folder / f"{name}{ending}", folder / f"{name}{ending.upper()}"):
            if candidate.is_file():
                return candidate
    return None


def read_image(file: Path | IO[bytes], *, where: object = None) -> Image:
    """Decode an image to RGB, or to grey if it has no colour.

    Raises
    ------
    DataError
        If it is missing, cut short, not an image, or so large that it may be an attack.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            grey = image.mode in ("1", "L", "I", "I;16", "F", "LA")
            return image.convert("L" if grey else "RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(
            f"an image must be readable, got {type(error).__name__}: {error}", where=where or file
        ) from error


def strip_ending(name: str) -> str:
    """Take an image's ending off a name; other dots stay."""
    stem, ending = os.path.splitext(name)  # noqa: PTH122 - a name, not a path of this system
    return stem if ending.lower() in ENDINGS else name


def _list_images(folder: Path) -> list[tuple[str, str]]:
    """List ids and relative paths in order; hidden files and folders are none of ours."""
    found: dict[str, str] = {}
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            if file.startswith(".") or Path(file).suffix.lower() not in ENDINGS:
                continue
            path = (Path(root) / file).relative_to(folder).as_posix()
            name = check_id(strip_ending(path), where=folder)
            if name in found:
                raise DataError(
                    f"two images must not differ by their endings alone, got {found[name]} and {path}",
                    where=folder,
                )
            found[name] = path
    return sorted(found.items())
