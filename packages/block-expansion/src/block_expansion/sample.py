"""Two domains of real images that ship in packages: handwriting to remember, textures to learn."""

from __future__ import annotations

import numpy as np

from block_expansion.data import Domain, Images

SOURCE = (
    "scikit-learn: load_digits (UCI optical recognition of handwritten digits); scikit-image: images of data"
)
# Homogeneous enough for a patch to tell which image it is from.
TEXTURES = (
    "brick",
    "grass",
    "gravel",
    "coins",
    "page",
    "text",
    "cell",
    "hubble_deep_field",
    "retina",
    "immunohistochemistry",
)
SIZE = 16
_PATCH = 32


def load_handwriting() -> Domain:
    """Load the digits, 8 by 8 pixels enlarged to 16.

    They come in the order of their writers: the first two thirds train, the last third tests, so that no
    writer but one at each cut is on both sides.

    Returns
    -------
    Domain
        1,047 images train, 150 validate, 600 test; uint8, one channel.
    """
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    large = pixels.repeat(2, axis=1).repeat(2, axis=2)[:, None]
    labels = digits.target.astype(np.int64)
    names = tuple(map(str, range(10)))
    cuts = (slice(0, 1047), slice(1047, 1197), slice(1197, None))
    return Domain(
        "handwritten digits", names, *(Images(pixels=large[cut], labels=labels[cut]) for cut in cuts)
    )


def load_textures(*, train: int = 120, held: int = 60, seed: int = 0) -> Domain:
    """Cut patches of 32 by 32 pixels, halved to 16, out of ten images, and ask which image.

    The left 60 % of an image's columns train, the next part validates, the right 25 % test; no two parts
    share a pixel. Patches of one part may overlap.

    Parameters
    ----------
    train, held : int
        Patches of each image to train with, and to validate and to test with.
    seed : int
        Of the places.

    Returns
    -------
    Domain
        uint8, one channel.
    """
    random = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[], [], []]
    for name in TEXTURES:
        image = _load_grey(name)
        width = image.shape[1]
        edges = (0, int(0.6 * width), int(0.75 * width), width)
        for part, (left, right, count) in enumerate(zip(edges, edges[1:], (train, held, held), strict=False)):
            parts[part].append(_cut(image[:, left:right], count, random))
    return Domain("textures", TEXTURES, *(_join(patches) for patches in parts))


def _load_grey(name: str) -> np.ndarray:
    from skimage import color, data, util

    image = getattr(data, name)()
    grey = color.rgb2gray(image[..., :3]) if image.ndim == 3 else util.img_as_float(image)
    return np.asarray(grey, dtype=np.float32)


def _cut(strip: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Cut patches at random places and halve them by means of 2 by 2 pixels: shape (patch, row, column)."""
    rows, columns = (random.integers(0, length - _PATCH + 1, count) for length in strip.shape)
    patches = np.stack([strip[r : r + _PATCH, c : c + _PATCH] for r, c in zip(rows, columns, strict=True)])
    return patches.reshape(count, SIZE, 2, SIZE, 2).mean((2, 4))


def _join(patches: list[np.ndarray]) -> Images:
    pixels = np.rint(np.concatenate(patches)[:, None] * 255).clip(0, 255).astype(np.uint8)
    labels = np.repeat(np.arange(len(patches), dtype=np.int64), len(patches[0]))
    return Images(pixels=pixels, labels=labels)
