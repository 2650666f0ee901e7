"""What is left of the old domain: a k-NN vote fitted anew, the old head, and the adapter switched off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from block_expansion.config import RetentionConfig
from block_expansion.data import Domain, ImageSource, list_batches
from block_expansion.model import Classifier, base_classifier
from isopleth.errors import ConfigError
from isopleth.train import LinearProbe, fit_linear_probe, knn_probabilities


@dataclass(frozen=True, kw_only=True)
class Retained:
    """Accuracies on the test images of the old domain, from 0 to 1.

    Attributes
    ----------
    knn : float
        Of a weighted vote among the old domain's training images, all seen through the network as it is
        now: the published measure. It asks whether classes still lie apart, wherever they lie.
    frozen_head : float
        Of a linear head that was fitted to the original network and kept: what a user has who deployed it.
    """

    knn: float
    frozen_head: float


class Memory:
    """The old domain as the original network saw it; the baseline is that network, un-adapted.

    Parameters
    ----------
    original : Classifier
        Before any method was applied.
    domain : Domain
        Its training images are the bank, its validation images choose the penalty of the old head, and its
        test images are the queries.
    config : RetentionConfig
    """

    def __init__(self, original: Classifier, domain: Domain, config: RetentionConfig) -> None:
        check_neighbours(domain, config)
        self.domain, self.config = domain, config
        self.labels = {
            part: torch.from_numpy(getattr(domain, part).labels) for part in ("train", "val", "test")
        }
        bank, validation = (compute_features(original, part) for part in (domain.train, domain.val))
        self.head: LinearProbe = fit_linear_probe(
            bank, self.labels["train"], validation, self.labels["val"],
            l2_grid=(1e-4, 1e-3, 1e-2, 1e-1), classes=len(domain.classes),
        )  # fmt: skip
        self.queries = compute_features(original, domain.test)
        self.baseline = self._measure(bank, self.queries)

    def measure(self, network: nn.Module) -> Retained:
        """Measure a network as it is: its adapter, if it has one, is active."""
        bank, queries = (compute_features(network, part) for part in (self.domain.train, self.domain.test))
        return self._measure(bank, queries)

    def measure_disabled(self, network: nn.Module) -> float | None:
        """Give the largest difference from the original's features with the adapter off; None without one.

        Zero to the last bit for a method that leaves the original's weights alone.
        """
        if not isinstance(network, PeftModel):
            return None
        with network.disable_adapter():
            features = compute_features(network, self.domain.test)
        return float((features - self.queries).abs().max())

    def _measure(self, bank: Tensor, queries: Tensor) -> Retained:
        return Retained(
            knn=_vote(bank, queries, self.domain, self.config),
            frozen_head=accuracy(self.head(queries), self.labels["test"]),
        )


def check_neighbours(domain: Domain, config: RetentionConfig) -> None:
    """Refuse a vote of more neighbours than a domain has, before anything is computed.

    Raises
    ------
    ConfigError
        Names the domain.
    """
    if config.neighbours > len(domain.train):
        raise ConfigError(
            f"retention.neighbours must be at most the {len(domain.train)} training images of {domain.name}, "
            f"got {config.neighbours}"
        )


def vote_accuracy(network: nn.Module, domain: Domain, config: RetentionConfig) -> float:
    """Return the accuracy of a k-NN vote among the training images' features, on the test images."""
    bank, queries = (compute_features(network, part) for part in (domain.train, domain.test))
    return _vote(bank, queries, domain, config)


def _vote(bank: Tensor, queries: Tensor, domain: Domain, config: RetentionConfig) -> float:
    votes = knn_probabilities(
        bank, torch.from_numpy(domain.train.labels), queries, k=config.neighbours,
        temperature=config.temperature, classes=len(domain.classes),
    )  # fmt: skip
    return accuracy(votes, torch.from_numpy(domain.test.labels))


@torch.no_grad()
def compute_features(network: nn.Module, images: ImageSource) -> Tensor:
    """Return the features of all images, shape (image, feature), in evaluation mode and on the CPU."""
    return _in_evaluation(network, images, base_classifier(network).features)


@torch.no_grad()
def classify(network: nn.Module, images: ImageSource) -> Tensor:
    """Return the logits of all images, shape (image, class), in evaluation mode and on the CPU."""
    return _in_evaluation(network, images, network)


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the share of samples whose own class has the largest score."""
    return float((scores.argmax(1) == labels).double().mean())


def as_floats(pixels: Tensor) -> Tensor:
    """Turn bytes of pictures into numbers from 0 to 1; bands of rasters keep their units."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def _in_evaluation(network: nn.Module, images: ImageSource, compute: Any) -> Tensor:
    modes = {module: module.training for module in network.modules()}
    device = next(network.parameters()).device
    network.eval()
    try:
        parts = (torch.from_numpy(images.read(places)) for places in list_batches(images))
        return torch.cat([compute(as_floats(part.to(device))).float().cpu() for part in parts])
    finally:
        for module, training in modes.items():
            module.training = training
