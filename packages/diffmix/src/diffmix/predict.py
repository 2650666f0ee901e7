"""What a frozen encoder makes of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from diffmix.model.encoder import Encoder
from diffmix.pixels import cut_square
from diffmix.sources import Source

_READERS = 4
# The shorter side over the crop's: 256 to 224, as is usual.
MARGIN = 8 / 7


@dataclass(frozen=True, eq=False)
class Known:
    """Features and classes of images.

    Attributes
    ----------
    features : Tensor of float32, shape (image, feature)
    labels : Tensor of int64, shape (image,)
    classes : tuple of int, optional
        Those that can be the answer; all by default. Some shifted test sets have a part of the classes.
    """

    features: Tensor
    labels: Tensor
    classes: tuple[int, ...] | None = None


@torch.no_grad()
def compute_features(encoder: Encoder, batches: Iterable[np.ndarray]) -> Tensor:
    """Return features of batches of images, shape (image, feature), in evaluation mode, on the CPU.

    Parameters
    ----------
    encoder : Encoder
    batches : iterable of array of uint8, shape (image, channel, row, column)
        Of another size than the encoder's, they are enlarged to it.
    """
    training, device = encoder.training, next(encoder.parameters()).device
    encoder.eval()
    try:
        parts = [
            encoder(fit_size(batch, encoder.config.image_size, device)).float().cpu() for batch in batches
        ]
    finally:
        encoder.train(training)
    return torch.cat(parts) if parts else torch.empty(0, encoder.dim)


def fit_size(pixels: np.ndarray, size: int, device: torch.device | str = "cpu") -> Tensor:
    """Turn bytes into numbers from 0 to 1, of the encoder's size."""
    images = torch.from_numpy(pixels).to(device).float() / 255
    if images.shape[-1] == size and images.shape[-2] == size:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def split_batches(pixels: np.ndarray, batch_size: int = 512) -> list[np.ndarray]:
    """Cut an array into batches."""
    return [pixels[start : start + batch_size] for start in range(0, len(pixels), batch_size)]


def read_batches(
    source: Source,
    size: int,
    channels: int,
    *,
    batch_size: int = 256,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterable[np.ndarray]:
    """Read a source batch by batch, as tests see it: resized, the middle cut out.

    Parameters
    ----------
    source : Source
    size, channels : int
    batch_size : int
    change : callable, optional
        Of each batch, such as a corruption.
    """

    def read(number: int) -> np.ndarray:
        return cut_square(source.read(number), size, channels, margin=MARGIN)

    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(source.ids), batch_size):
            batch = np.stack(list(pool.map(read, range(start, min(start + batch_size, len(source.ids))))))
            yield change(batch) if change else batch
