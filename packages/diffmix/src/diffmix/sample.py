"""Real images that ship in a package: handwritten digits of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SOURCE = "scikit-learn: load_digits (UCI optical recognition of handwritten digits), 8 by 8 pixels"
_TRAIN = 1197


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Labelled images for training and for tests.

    Attributes
    ----------
    train, test : array of uint8, shape (image, channel, row, column)
    train_labels, test_labels : array of int64, shape (image,)
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def load_sample() -> Sample:
    """Load the digits.

    They come in the order of their writers: the first two thirds train, the last third tests, so that no
    writer but one at the cut is on both sides.
    """
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    return Sample(
        train=pixels[:_TRAIN], train_labels=labels[:_TRAIN], test=pixels[_TRAIN:], test_labels=labels[_TRAIN:]
    )
