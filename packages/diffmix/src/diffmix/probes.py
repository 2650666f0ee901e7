"""What features are worth: a vote of neighbours, linear probes on all and on few labels, and fine-tuning."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from diffmix.config import ProbeConfig
from diffmix.model.encoder import Encoder
from diffmix.model.streamed_probe import fit_streamed_probe
from diffmix.predict import Known, fit_size
from isopleth.errors import DataError
from isopleth.train import fit_linear_probe, knn_probabilities

logger = logging.getLogger("isopleth.diffmix")

Correct = dict[str, dict[str, np.ndarray]]


def score_probes(
    train: Known, tests: Mapping[str, Known], config: ProbeConfig, *, classes: int, seed: int = 0
) -> Correct:
    """Fit every probe of a config on frozen features, and apply it to every test set.

    Parameters
    ----------
    train : Known
    tests : mapping of str to Known
    config : ProbeConfig
        "fine-tune" is left out: it needs images, see `fine_tune`.
    classes : int
    seed : int
        Of the choices of labelled images, the same for every encoder.

    Returns
    -------
    dict of dict of array
        For each probe and test set, for each image whether the answer was right (from 0 to 1: a mean over
        draws).
    """
    found: Correct = {}
    for probe in config.probes:
        if probe == "k-NN":
            votes = {name: _vote(train, test, config, classes) for name, test in tests.items()}
            found[probe] = {name: mark(votes[name], test) for name, test in tests.items()}
        elif probe == "linear":
            found[probe] = _probe_all(train, tests, config, classes, seed)
        elif probe == "few-shot":
            draws = [
                _probe(few, few, tests, (config.few_shot_penalty,), classes)
                for few in (choose_few(train, config.shots, [seed, draw]) for draw in range(config.draws))
            ]
            found[probe] = {name: np.mean([each[name] for each in draws], axis=0) for name in tests}
    return found


def mark(scores: Tensor, test: Known) -> np.ndarray:
    """Return for each image whether the best of the possible classes is its own.

    Parameters
    ----------
    scores : Tensor, shape (image, class)
    test : Known
    """
    if test.classes is not None:
        barred = torch.ones(scores.shape[1], dtype=torch.bool)
        barred[list(test.classes)] = False
        scores = scores.masked_fill(barred, -torch.inf)
    return (scores.argmax(1) == test.labels).double().numpy()


def choose_few(train: Known, shots: int, seed: int | list[int]) -> Known:
    """Choose so many images of each class.

    Raises
    ------
    DataError
        If a class has fewer.
    """
    random = np.random.default_rng(seed)
    labels = train.labels.numpy()
    counts = np.bincount(labels)
    if counts[counts > 0].min() < shots:
        raise DataError(
            f"every class must have {shots} training images for the few-shot probe, got {counts.min()}"
        )
    chosen = [
        random.choice(np.flatnonzero(labels == label), shots, replace=False) for label in np.unique(labels)
    ]
    places = torch.from_numpy(np.concatenate(chosen))
    return Known(train.features[places], train.labels[places])


def hold_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose a share of each class for validation, at least one image of it, unless it has but one."""
    random = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        mine = random.permutation(np.flatnonzero(labels == label))
        held[mine[: max(1, round(share * len(mine)))]] = len(mine) > 1
    return held


def split_known(train: Known, share: float, seed: int) -> tuple[Known, Known]:
    """Divide images into those to fit to, and those that `hold_out` chooses for validation."""
    held = hold_out(train.labels.numpy(), share, seed)
    parts = (torch.from_numpy(np.flatnonzero(part)) for part in (~held, held))
    kept, validation = (Known(train.features[part], train.labels[part]) for part in parts)
    return kept, validation


def choose_solver(config: ProbeConfig, train: Known) -> str:
    """Say by which solver the linear probe is fitted: "auto" is exact up to ``exact_limit``."""
    if config.solver != "auto":
        return config.solver
    return "exact" if train.features.numel() <= config.exact_limit else "sgd"


def _vote(train: Known, test: Known, config: ProbeConfig, classes: int) -> Tensor:
    return knn_probabilities(
        train.features, train.labels, test.features, k=min(config.neighbours, len(train.labels)),
        temperature=config.temperature, classes=classes,
    )  # fmt: skip


def _probe_all(
    train: Known, tests: Mapping[str, Known], config: ProbeConfig, classes: int, seed: int
) -> dict[str, np.ndarray]:
    """Fit the linear probe to all labels."""
    if choose_solver(config, train) == "exact":
        return _probe(*split_known(train, config.validation, seed), tests, config.penalties, classes)
    logger.info("the linear probe is fitted by stochastic gradients to %d images", len(train.labels))
    held = torch.from_numpy(hold_out(train.labels.numpy(), config.validation, seed))
    probe = fit_streamed_probe(
        train.features, train.labels, held, penalties=config.penalties, classes=classes,
        epochs=config.sgd_epochs, batch_size=config.sgd_batch, seed=seed,
    )  # fmt: skip
    return {name: mark(probe(test.features), test) for name, test in tests.items()}


def _probe(
    train: Known, validation: Known, tests: Mapping[str, Known], penalties: tuple[float, ...], classes: int
) -> dict[str, np.ndarray]:
    probe = fit_linear_probe(
        train.features,
        train.labels,
        validation.features,
        validation.labels,
        l2_grid=penalties,
        classes=classes,
    )
    return {name: mark(probe(test.features), test) for name, test in tests.items()}


def fine_tune(
    encoder: Encoder,
    pixels: np.ndarray,
    labels: np.ndarray,
    config: ProbeConfig,
    *,
    classes: int,
    seed: int = 0,
) -> nn.Module:
    """Train a copy of an encoder further, with a new head: AdamW and a cosine, mirrored images.

    Parameters
    ----------
    encoder : Encoder
        Not changed.
    pixels : array of uint8, shape (image, channel, row, column)
    labels : array of int64, shape (image,)
    config : ProbeConfig
    classes : int
    seed : int

    Returns
    -------
    Module
        From images from 0 to 1 to logits, in evaluation mode.
    """
    torch.manual_seed(seed)
    device = next(encoder.parameters()).device
    network = nn.Sequential(copy.deepcopy(encoder), nn.Linear(encoder.dim, classes)).to(device).train()
    rate, count = config.fine_tune_rate, len(labels)
    groups = [
        {"params": network[0].parameters(), "lr": rate},
        {"params": network[1].parameters(), "lr": 10 * rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
    batch = min(config.fine_tune_batch, count)
    steps = config.fine_tune_epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    targets = torch.from_numpy(labels).to(device)
    for _ in range(config.fine_tune_epochs):
        for part in torch.randperm(count).split(batch):
            if len(part) < batch:
                continue  # a batch norm of one image has no variance
            images = fit_size(pixels[part.numpy()], encoder.config.image_size, device)
            flipped = torch.rand(len(images), 1, 1, 1, device=device) < 0.5 * config.fine_tune_flip
            loss = functional.cross_entropy(
                network(torch.where(flipped, images.flip(-1), images)), targets[part]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()
