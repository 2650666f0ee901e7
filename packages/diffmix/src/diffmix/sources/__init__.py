"""Where images come from: folders, torchvision, Hugging Face data sets, WebDataset shards.

A source has an id for every image, which names its twin; classes and labels as far as it has them; and reads
one image at a time, from any thread or process.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from isopleth.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image


class Source(Protocol):
    """Images by number.

    Attributes
    ----------
    name : str
    ids : tuple of str
        Each once: relative paths with "/" and without an ending.
    labels : array of int64, shape (image,)
        -1 where unknown.
    classes : tuple of str
        Empty without labels.
    """

    name: str
    ids: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]

    def read(self, number: int) -> Image:
        """Read one image, RGB or grey; `DataError` if it cannot be read."""
        ...


def open_source(spec: str | Path, *, download: bool = False) -> Source:
    """Open images by what a user writes.

    Parameters
    ----------
    spec : str or Path
        A folder; "torchvision:NAME:ROOT[:SPLIT]" (``torchvision:CIFAR10:data:train``);
        "datasets:NAME_OR_FOLDER[:SPLIT]"; or "webdataset:SHARDS" (``webdataset:data/{000..099}.tar``).
    download : bool
        Let torchvision and datasets fetch what is not here. Never otherwise.

    Raises
    ------
    ConfigError
        If the kind is not one of these.
    DataError
        If there are no images.
    """
    kind, colon, rest = str(spec).partition(":")
    if not colon or len(kind) == 1 or Path(spec).exists():  # one letter is a drive
        from diffmix.sources.folder import FolderSource

        return FolderSource(Path(spec))
    if kind == "torchvision":
        from diffmix.sources.libraries import TorchvisionSource

        return TorchvisionSource(rest, download=download)
    if kind == "datasets":
        from diffmix.sources.libraries import DatasetsSource

        return DatasetsSource(rest, download=download)
    if kind == "webdataset":
        from diffmix.sources.shards import ShardSource

        return ShardSource(rest)
    raise ConfigError(
        f"a source must be a folder or start with torchvision:, datasets: or webdataset:, got {str(spec)!r}"
    )
