"""One path from a decoded image to a square of bytes, the same for training, generators and tests.

Decoders and resize filters differ by points of accuracy between libraries; here it is Pillow's everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def cut_square(image: Image, size: int, channels: int, *, margin: float = 1.0) -> np.ndarray:
    """Bring the shorter side to a size and cut out the middle.

    Parameters
    ----------
    image : PIL.Image
    size : int
        Pixels of a side.
    channels : {1, 3}
    margin : float
        How much larger the shorter side is than the square; 8/7 is usual in tests (256 for 224).

    Returns
    -------
    array of uint8, shape (channel, row, column)
    """
    from PIL import Image, ImageOps

    picture = image.convert("L" if channels == 1 else "RGB")
    larger = round(size * margin)
    if picture.size != (larger, larger):
        picture = ImageOps.fit(picture, (larger, larger), Image.Resampling.BICUBIC)
    edge = (larger - size) // 2
    pixels = np.asarray(picture)[edge : edge + size, edge : edge + size].reshape(size, size, channels)
    return np.array(pixels.transpose(2, 0, 1), order="C")


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Round numbers from 0 to 1 to bytes."""
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def encode(pixels: np.ndarray, image_format: str) -> bytes:
    """Encode an image.

    Parameters
    ----------
    pixels : array of uint8, shape (row, column, channel)
    image_format : {"png", "jpg"}
        Without loss, or with a quality of 95.
    """
    import io

    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    options = {"format": "JPEG", "quality": 95} if image_format == "jpg" else {"format": "PNG"}
    image.save(buffer, **options)
    return buffer.getvalue()
