"""Logistic regression on features that are read a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from diffmix.model.optimiser import cosine_between
from isopleth.errors import DataError
from isopleth.train import LinearProbe


@torch.no_grad()
def fit_streamed_probe(
    features: Tensor,
    labels: Tensor,
    held: Tensor,
    *,
    penalties: Sequence[float],
    classes: int,
    epochs: int = 20,
    batch_size: int = 1024,
    seed: int = 0,
) -> LinearProbe:
    r"""Fit a linear probe by stochastic gradients; the penalty is chosen on the images that are held out.

    It minimises what `isopleth.train.fit_linear_probe` minimises, with features :math:`z` standardised,

    .. math:: \tfrac1n \sum_i -\log \mathrm{softmax}(W z_i + b)_{y_i} + \tfrac{\lambda}{2} \lVert W \rVert^2 .

    Its curvature is at most :math:`\tfrac12 C + \lambda`, with the covariance :math:`C` of the features
    (Böhning 1992, section 2). Steps are gradients of batches over that bound, so that correlated features do
    not slow them down; their length falls to 0 on half a cosine. Of the features one batch at a time is
    copied to float64; beside them the covariance is all that is held in memory.

    Parameters
    ----------
    features : Tensor of float32, shape (image, feature)
        Of all images.
    labels : Tensor of int64, shape (image,)
    held : Tensor of bool, shape (image,)
        Whether an image is held out.
    penalties : sequence of float
        :math:`\lambda` to try; of equal scores the largest wins.
    classes : int
    epochs : int
        For each penalty; each starts from the solution of the one before.
    batch_size : int
    seed : int
        Of the order.

    Raises
    ------
    DataError
        If no image is held out, or a feature is not finite.
    """
    rows, validation = (part.nonzero().flatten() for part in (~held, held))
    if not len(validation):
        raise DataError("a linear probe must have validation images, got none", hint="--probes.validation")
    mean, std, covariance = _measure(features, rows, batch_size)
    weight = torch.zeros(classes, features.shape[1], dtype=torch.float64)
    bias = torch.zeros(classes, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    count = -(-len(rows) // batch_size)
    length = _longest_step(features.shape[1], len(rows) // count)
    best: LinearProbe | None = None
    for l2 in sorted(penalties, reverse=True):
        scale = torch.linalg.inv(covariance / 2 + l2 * torch.eye(len(covariance), dtype=torch.float64))
        for number, part in enumerate(_shuffle(rows, epochs, count, generator)):
            step = cosine_between(length, 0.0, number / (epochs * count))
            z = (features[part].double() - mean) / std
            wrong = torch.softmax(z @ weight.T + bias, dim=1)
            wrong[torch.arange(len(part)), labels[part]] -= 1
            weight -= step * (wrong.T @ z / len(part) + l2 * weight) @ scale
            bias -= 2 * step * wrong.mean(0)
        probe = LinearProbe(mean, std, weight.clone(), bias.clone(), l2, 0.0)
        parts = validation.split(batch_size)
        right = sum(int((probe(features[part]).argmax(1) == labels[part]).sum()) for part in parts)
        if best is None or right / len(validation) > best.validation_score:
            best = replace(probe, validation_score=right / len(validation))
    assert best is not None
    return best


def _shuffle(rows: Tensor, epochs: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Give so many equal batches for each epoch."""
    for _ in range(epochs):
        yield from rows[torch.randperm(len(rows), generator=generator)].tensor_split(count)


def _longest_step(dim: int, batch: int) -> float:
    r"""Return the step that a batch allows: its covariance may exceed that of all by a factor.

    .. math:: (1 + \sqrt{d / n})^2

    (the edge of Marchenko and Pastur 1967, of noise in :math:`d` features of :math:`n` images).
    """
    return 1 / (1 + math.sqrt(dim / batch)) ** 2


def _measure(features: Tensor, rows: Tensor, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, standard deviation (1 where a feature never changes), and covariance over both of it."""
    count, dim = len(rows), features.shape[1]
    mean = torch.zeros(dim, dtype=torch.float64)
    for part in rows.split(batch_size):
        mean += features[part].double().sum(0) / count
    if not mean.isfinite().all():
        raise DataError("train features must be finite, got NaN or infinity")
    covariance = torch.zeros(dim, dim, dtype=torch.float64)
    for part in rows.split(batch_size):
        centred = features[part].double() - mean
        covariance += centred.T @ centred / count
    std = covariance.diagonal().sqrt()
    std = torch.where(std > 1e-10 * mean.abs().clamp(min=1e-30), std, torch.ones_like(std))
    return mean, std, covariance / std / std[:, None]
