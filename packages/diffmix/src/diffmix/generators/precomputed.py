"""Twins that exist already, in files of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffmix.sources.folder import find_image, read_image
from isopleth.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


class Precomputed:
    """A folder of twins, such as the released code or another tool writes it.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError("a folder of twins must be there, got none", where=folder)
        self.folder = folder

    def describe(self) -> dict[str, Any]:
        """Return where they are from."""
        return {"kind": "precomputed", "folder": self.folder.name}

    def generate(
        self,
        images: Sequence[Image],  # noqa: ARG002 - the protocol's
        ids: Sequence[str],
        seeds: Sequence[int],  # noqa: ARG002 - the protocol's
    ) -> list[np.ndarray]:
        """Read the twins; NaN where there is none."""
        return [self._read(name) for name in ids]

    def _read(self, name: str) -> np.ndarray:
        path = find_image(self.folder, name)
        if path is None:
            return np.full((1, 1, 1), np.nan, np.float32)
        pixels = np.asarray(read_image(path), np.float32) / 255
        return pixels if pixels.ndim == 3 else pixels[..., None]
