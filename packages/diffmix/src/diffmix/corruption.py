"""Corruptions of stated severity: what a camera or a careless hand does to a test image.

After the idea of Hendrycks and Dietterich (2019); the magnitudes are our own and stand in `SEVERITIES`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isopleth.errors import ConfigError

# What severities 1 to 5 are: standard deviation (of 1), counts at white, share of pixels, widths in shares of
# a side, remaining contrast, brightness added, remaining resolution, share of sides, and degrees.
SEVERITIES: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.04, 0.08, 0.12, 0.18, 0.26),
    "shot_noise": (60.0, 25.0, 12.0, 5.0, 3.0),
    "impulse_noise": (0.01, 0.03, 0.06, 0.11, 0.17),
    "blur": (0.01, 0.02, 0.04, 0.06, 0.09),
    "contrast": (0.6, 0.45, 0.3, 0.2, 0.1),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "occlusion": (0.15, 0.25, 0.35, 0.45, 0.55),
    "rotation": (8.0, 15.0, 23.0, 30.0, 40.0),
}


def corrupt(pixels: np.ndarray, name: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """Corrupt images, each at random and each the same way for the same seed.

    Parameters
    ----------
    pixels : array of uint8, shape (image, channel, row, column)
    name : str
        A key of `SEVERITIES`.
    severity : int
        From 1 to 5.
    seed : int

    Returns
    -------
    array of uint8, of the same shape

    Raises
    ------
    ConfigError
        If there is no such corruption or severity.
    """
    if name not in SEVERITIES:
        raise ConfigError(f"a corruption must be one of {', '.join(SEVERITIES)}, got {name!r}")
    if severity not in range(1, 6):
        raise ConfigError(f"a severity must be from 1 to 5, got {severity}")
    random = np.random.default_rng([seed, severity, *name.encode()])
    made = _MAKERS[name](pixels.astype(np.float32) / 255, SEVERITIES[name][severity - 1], random)
    return np.rint(np.clip(made, 0, 1) * 255).astype(np.uint8)


def _add_noise(images: np.ndarray, std: float, random: np.random.Generator) -> np.ndarray:
    return images + std * random.standard_normal(images.shape, dtype=np.float32)


def _count_photons(images: np.ndarray, white: float, random: np.random.Generator) -> np.ndarray:
    return random.poisson(images * white) / white


def _salt_and_pepper(images: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    draw = random.random(images.shape, dtype=np.float32)
    return np.where(draw < share / 2, 0.0, np.where(draw > 1 - share / 2, 1.0, images))


def _blur(images: np.ndarray, width: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001 - one signature
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(
        images, sigma=(0, 0, width * images.shape[2], width * images.shape[3]), mode="nearest"
    )


def _lower_contrast(images: np.ndarray, left: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001 - one signature
    mean = images.mean((1, 2, 3), keepdims=True)
    return mean + left * (images - mean)


def _brighten(images: np.ndarray, more: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001 - one signature
    return images + more


def _pixelate(images: np.ndarray, left: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001 - one signature
    rows, columns = (_coarsen(length, left) for length in images.shape[2:])
    return images[:, :, rows[:, None], columns]


def _coarsen(length: int, left: float) -> np.ndarray:
    """Give for each place the middle of the coarse cell that it lies in."""
    cells = max(1, round(length * left))
    cell = np.arange(length) * cells // length
    return ((cell + 0.5) * length / cells).astype(np.int64).clip(0, length - 1)


def _occlude(images: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    made = images.copy()
    height, width = (max(1, round(share * length)) for length in images.shape[2:])
    tops = random.integers(0, images.shape[2] - height + 1, len(images))
    lefts = random.integers(0, images.shape[3] - width + 1, len(images))
    for image, top, left in zip(made, tops, lefts, strict=True):
        image[:, top : top + height, left : left + width] = 0.5
    return made


def _rotate(images: np.ndarray, degrees: float, random: np.random.Generator) -> np.ndarray:
    """Turn each image by the angle, one way or the other."""
    from scipy.ndimage import rotate

    clockwise = random.random(len(images)) < 0.5
    made = np.empty_like(images)
    for mine, angle in ((clockwise, -degrees), (~clockwise, degrees)):
        if mine.any():
            made[mine] = rotate(images[mine], angle, axes=(3, 2), reshape=False, order=1, mode="nearest")
    return made


_MAKERS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "gaussian_noise": _add_noise,
    "shot_noise": _count_photons,
    "impulse_noise": _salt_and_pepper,
    "blur": _blur,
    "contrast": _lower_contrast,
    "brightness": _brighten,
    "pixelate": _pixelate,
    "occlusion": _occlude,
    "rotation": _rotate,
}
