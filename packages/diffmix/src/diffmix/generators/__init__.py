"""What makes synthetic twins: one protocol, four kinds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from diffmix.config import GeneratorConfig
from isopleth.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


class ViewGenerator(Protocol):
    """Makes a variation of each image it is given."""

    def describe(self) -> dict[str, Any]:
        """Return what determines the result, as plain values with a hash of the weights."""
        ...

    def generate(self, images: Sequence[Image], ids: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        """Make a variation of each image.

        Parameters
        ----------
        images : sequence of PIL.Image
        ids : sequence of str
        seeds : sequence of int
            A variation follows from its image and its seed, whatever else is in the batch.

        Returns
        -------
        list of array of float32, shape (row, column, channel)
            From 0 to 1; NaN where the generator failed, which the caller looks for.
        """
        ...


def build_generator(config: GeneratorConfig, *, device: str = "auto") -> ViewGenerator:
    """Build a generator from files that are here, or, if the config says so, from a hub.

    Parameters
    ----------
    config : GeneratorConfig
    device : str

    Raises
    ------
    DataError
        If its files are missing or damaged.
    """
    if config.kind == "precomputed":
        from diffmix.generators.precomputed import Precomputed

        return Precomputed(Path(config.model))
    from diffmix.model.device import find_device

    place = find_device(device)
    if config.kind == "sdedit":
        from diffmix.generators.sdedit import Sdedit

        return Sdedit.load(Path(config.model), strength=config.strength, steps=config.steps, device=place)
    from diffmix.generators.variation import Img2img, Variation

    return (Variation if config.kind == "sd-variation" else Img2img).load(config, device=place)


def hash_weights(folder: Path) -> str:
    """Return the SHA-256 of a folder's safetensors files.

    Raises
    ------
    DataError
        If there are none.
    """
    import hashlib

    total = hashlib.sha256()
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise DataError("a generator must have its weights as safetensors, got none", where=folder)
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
