"""What frozen features know: a weighted k-nearest-neighbour vote, and linear probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from isopleth.config import check_positive
from isopleth.errors import ConfigError, DataError

L2_GRID = tuple(10.0**power for power in range(-6, 3))


def knn_probabilities(
    train_features: Float[Tensor, "train feature"],
    train_labels: Int[Tensor, " train"],
    features: Float[Tensor, "test feature"],
    *,
    k: int = 20,
    temperature: float = 0.07,
    classes: int | None = None,
    chunk: int = 1024,
) -> Float[Tensor, "test class"]:
    r"""Let the `k` most similar training samples vote on the class, the more similar with more weight.

    .. math:: p_c(x) \propto \sum_{i \in N_k(x)} \exp(\cos(x, x_i) / \tau) \, [y_i = c]

    (Wu et al. 2018, section 3.4; k = 20 and the temperature 0.07 are those of DINO, Caron et al. 2021.)

    Parameters
    ----------
    train_features : Tensor, shape (train, feature)
        Features with known classes; of any length, they are normalised.
    train_labels : Tensor of integers, shape (train,)
        Classes from 0.
    features : Tensor, shape (test, feature)
        Features to classify.
    k : int
        Neighbours, at most as many as there are training samples.
    temperature : float
        The smaller, the more the nearest count.
    classes : int, optional
        Number of classes; one more than the largest label by default.
    chunk : int
        Test samples compared at a time.

    Returns
    -------
    Tensor, shape (test, class)
        Shares of the vote, which sum to 1. ``argmax(1)`` is the predicted class.

    Raises
    ------
    DataError
        If shapes do not fit or a feature is not finite.
    ConfigError
        If `k`, `temperature` or `chunk` is not positive, or `k` too large.
    """
    check_positive(k=k, temperature=temperature, chunk=chunk)
    _check_features(train_features, train_labels, "train")
    _check_features(features, None, "test")
    if k > len(train_features):
        raise ConfigError(f"k must be at most the {len(train_features)} training samples, got {k}")
    labels = train_labels.long()
    count = _count_classes(labels, classes)
    bank = functional.normalize(train_features, dim=1)
    votes = []
    for part in functional.normalize(features, dim=1).split(chunk):
        similarity, neighbours = (part @ bank.T).topk(k, dim=1)
        # Only ratios count: less the largest, no temperature overflows.
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        vote = torch.zeros(len(part), count, dtype=weight.dtype, device=weight.device)
        votes.append(vote.scatter_add_(1, labels[neighbours], weight))
    shares = torch.cat(votes) if votes else features.new_zeros(0, count)
    return shares / shares.sum(1, keepdim=True)


@dataclass(frozen=True)
class LinearProbe:
    """A linear map of standardised features.

    Attributes
    ----------
    mean, std : Tensor, shape (feature,)
        Of the training features; a feature that never changes has std 1.
    weight : Tensor, shape (output, feature)
    bias : Tensor, shape (output,)
    l2 : float
        The penalty that was best in validation.
    validation_score : float
        Accuracy (classes) or minus the mean squared error (numbers) in validation.
    """

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor
    l2: float
    validation_score: float

    def __call__(self, features: Float[Tensor, "sample feature"]) -> Float[Tensor, "sample output"]:
        """Give logits, or predicted numbers."""
        return ((features.to(self.mean) - self.mean) / self.std) @ self.weight.T + self.bias


def fit_linear_probe(
    features: Float[Tensor, "sample feature"],
    targets: Tensor,
    val_features: Float[Tensor, "val feature"],
    val_targets: Tensor,
    *,
    l2_grid: Sequence[float] = L2_GRID,
    classes: int | None = None,
) -> LinearProbe:
    r"""Fit a linear probe; the penalty is chosen on the validation set.

    Integer targets are classes: multinomial logistic regression by L-BFGS,

    .. math:: \min_{W, b} \tfrac1n \sum_i -\log \mathrm{softmax}(W z_i + b)_{y_i}
              + \tfrac{\lambda}{2} \lVert W \rVert^2 .

    Floating targets are numbers: ridge regression in closed form,

    .. math:: \min_{W, b} \tfrac1n \sum_i \lVert W z_i + b - y_i \rVert^2 + \lambda \lVert W \rVert^2 .

    :math:`z` are the features standardised by the training set's mean and standard deviation. All in
    float64; the penalties start from each other's solution.

    Parameters
    ----------
    features, val_features : Tensor, shape (sample, feature)
        Frozen features, finite.
    targets, val_targets : Tensor, shape (sample,) or, for numbers, (sample, output)
        Classes from 0, or numbers.
    l2_grid : sequence of float
        Penalties :math:`\lambda` to try; of equal scores the largest penalty wins.
    classes : int, optional
        Number of classes; one more than the largest training label by default.

    Raises
    ------
    DataError
        If shapes do not fit or a feature is not finite.
    ConfigError
        If the grid is empty or a penalty is not positive.
    """
    if not l2_grid:
        raise ConfigError("l2_grid must hold a penalty, got none")
    for l2 in l2_grid:
        check_positive(l2=l2)
    _check_features(features, targets, "train")
    _check_features(val_features, val_targets, "validation")
    std, mean = torch.std_mean(features.double(), dim=0, correction=0)
    std = torch.where(std > 1e-10 * mean.abs().clamp(min=1e-30), std, torch.ones_like(std))
    z = (features.double() - mean) / std
    numbers = targets.is_floating_point()
    solve = _ridge(z, targets) if numbers else _logistic(z, targets.long(), classes)
    best: LinearProbe | None = None
    # From the largest penalty down: the smooth problem first, each solution the next one's start.
    for l2 in sorted(l2_grid, reverse=True):
        weight, bias = solve(l2)
        probe = LinearProbe(mean, std, weight, bias, l2, 0.0)
        score = _score(probe(val_features), val_targets)
        if best is None or score > best.validation_score:
            best = LinearProbe(mean, std, weight, bias, l2, score)
    assert best is not None
    return best


_Solver = Callable[[float], tuple[Tensor, Tensor]]


def _ridge(z: Tensor, targets: Tensor) -> _Solver:
    """Decompose once, solve for each penalty; the features have mean 0, so the bias is the targets' mean."""
    y = targets.double().reshape(len(targets), -1)
    bias = y.mean(0)
    values, vectors = torch.linalg.eigh(z.T @ z / len(z))
    projected = vectors.T @ (z.T @ (y - bias)) / len(z)

    def solve(l2: float) -> tuple[Tensor, Tensor]:
        return (vectors @ (projected / (values.clamp(min=0) + l2)[:, None])).T, bias

    return solve


def _logistic(z: Tensor, labels: Tensor, classes: int | None) -> _Solver:
    """Minimise by L-BFGS; a later penalty starts from the solution of the one before."""
    count = _count_classes(labels, classes)
    weight = torch.zeros(count, z.shape[1], dtype=z.dtype, device=z.device, requires_grad=True)
    bias = torch.zeros(count, dtype=z.dtype, device=z.device, requires_grad=True)

    def solve(l2: float) -> tuple[Tensor, Tensor]:
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=500,
            tolerance_grad=1e-9,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = functional.cross_entropy(z @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)
        return weight.detach().clone(), bias.detach().clone()

    return solve


def _score(output: Tensor, targets: Tensor) -> float:
    if targets.is_floating_point():
        return -float((output - targets.double().reshape(len(targets), -1)).square().mean())
    return float((output.argmax(1) == targets).double().mean())


def _count_classes(labels: Tensor, classes: int | None) -> int:
    lowest, highest = int(labels.min()), int(labels.max())
    count = highest + 1 if classes is None else classes
    if lowest < 0 or highest >= count:
        raise DataError(f"labels must be from 0 to {count - 1}, got {lowest} to {highest}")
    return count


def _check_features(features: Tensor, labels: Tensor | None, name: str) -> None:
    if features.ndim != 2 or (labels is not None and len(labels) != len(features)):
        shapes = tuple(features.shape), None if labels is None else tuple(labels.shape)
        raise DataError(f"{name} features must be (sample, feature), a target each, got shapes {shapes}")
    if labels is not None and not len(features):
        raise DataError(f"{name} features must have at least one sample, got none")
    if not features.isfinite().all():
        raise DataError(f"{name} features must be finite, got NaN or infinity")
