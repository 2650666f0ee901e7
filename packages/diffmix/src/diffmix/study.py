"""One comparison: arms that differ by their pairs alone, at equal gradient steps, over seeds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffmix.config import Arm, StudyConfig, TrainConfig, TrainGeneratorConfig
from diffmix.corruption import corrupt
from diffmix.manifest import derive_image_seed
from diffmix.pairs import Pairs
from diffmix.pixels import to_bytes
from diffmix.sample import Sample

if TYPE_CHECKING:
    from diffmix.generators.sdedit import Sdedit

logger = logging.getLogger("isopleth.diffmix")

# Test sets by name: how the test images are changed.
SHIFTS: Mapping[str, tuple[str, int] | None] = {
    "clean": None,
    "noise": ("gaussian_noise", 5),
    "rotation": ("rotation", 3),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one encoder reached.

    Attributes
    ----------
    arm : Arm
    strength : float
        Of the variation its twins are made with; NaN for neighbours.
    augmentation : float
        Strength of the augmentation.
    seed : int
    accuracy : dict of (str, str) to float
        By probe and test set, in percent.
    seconds : float
        Of training.
    """

    arm: Arm
    strength: float
    augmentation: float
    seed: int
    accuracy: dict[tuple[str, str], float]
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Name the arm as tables do."""
        return "neighbour" if self.arm.twin == "neighbour" else self.arm.mode


@dataclass(frozen=True, kw_only=True)
class Study:
    """All of a comparison.

    Attributes
    ----------
    outcomes : list of Outcome
    agreement : dict of (float, int) to float
        By strength and seed: percent of twins that a probe on raw pixels, which never saw their images, gives
        the class of their image. At strength 0 it is what the probe knows of the images themselves.
    twins : dict of float to array of uint8
        Of the first seed, by strength, to look at.
    encoder_parameters : int
    """

    outcomes: list[Outcome] = field(default_factory=list)
    agreement: dict[tuple[float, int], float] = field(default_factory=dict)
    twins: dict[float, np.ndarray] = field(default_factory=dict)
    encoder_parameters: int = 0


def run_study(config: StudyConfig, sample: Sample, out: Path, *, first_seed: int | None = None) -> Study:
    """Train a generator and every arm for every seed, and score them.

    Parameters
    ----------
    config : StudyConfig
    sample : Sample
        Of the training images only pixels are used before the probes; test images are looked at by probes
        alone.
    out : Path
    first_seed : int, optional
    """
    first = config.first_seed if first_seed is None else first_seed
    strengths = sorted({arm_strength(config, arm) for arm in config.arms if arm.twin == "diffusion"})
    neighbours = find_neighbours(sample.train)
    outcomes: list[Outcome] = []
    agreement: dict[tuple[float, int], float] = {}
    shown: dict[float, np.ndarray] = {}
    parameters = 0
    generator = None
    for seed in range(first, first + config.seeds):
        if generator is None or config.generator_each_seed:
            generator = _train_generator(config, sample, out / f"generator-{seed}", seed)
        made = {strength: vary(generator, sample.train, strength, seed) for strength in strengths}
        shown = shown or made
        for strength in (0.0, *strengths):
            pixels = made.get(strength, sample.train)
            agreement[strength, seed] = label_agreement(sample.train, sample.train_labels, pixels, seed=seed)
        for arm in config.arms:
            twins = neighbours if arm.twin == "neighbour" else made[arm_strength(config, arm)]
            for augmentation in arm.augmentations:
                folder = out / f"seed-{seed}" / f"{len(outcomes)}-{arm.mode}-{augmentation:g}"
                found, parameters = _run_arm(config, sample, twins, arm, augmentation, seed, folder)
                logger.info(
                    "%s, augmentation %g, seed %d: %s", found.name, augmentation, seed, _shorten(found)
                )
                outcomes.append(found)
    return Study(outcomes=outcomes, agreement=agreement, twins=shown, encoder_parameters=parameters)


def arm_strength(config: StudyConfig, arm: Arm) -> float:
    """Give the strength of an arm's variations."""
    return config.generator.strength if arm.strength is None else arm.strength


def vary(generator: Sdedit, pixels: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Make a twin of every image, bytes like them."""
    generator.strength = strength
    seeds = [derive_image_seed(seed, str(place), 0) for place in range(len(pixels))]
    parts = [slice(start, start + 256) for start in range(0, len(pixels), 256)]
    return to_bytes(np.concatenate([generator.vary(pixels[part], seeds[part]) for part in parts]))


def find_neighbours(pixels: np.ndarray) -> np.ndarray:
    """Give for each image the nearest other one in pixels: a positive that costs nothing.

    Parameters
    ----------
    pixels : array of uint8, shape (image, channel, row, column)
    """
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    squares = (flat**2).sum(1)
    distance = squares[:, None] + squares - 2 * flat @ flat.T
    np.fill_diagonal(distance, np.inf)
    return pixels[distance.argmin(1)]


def label_agreement(real: np.ndarray, labels: np.ndarray, twins: np.ndarray, *, seed: int = 0) -> float:
    """Tell how many twins still look like their images' classes, in percent.

    A ridge classifier on raw pixels is fitted to one half of the real images and asked about the twins of the
    other half, and the other way round. The paper has no such measure; positives that lose their label teach
    what is wrong.

    Parameters
    ----------
    real, twins : array of uint8, shape (image, channel, row, column)
    labels : array of int64, shape (image,)
    seed : int
        Of the halves.
    """
    half = np.random.default_rng(seed).permutation(len(real)) % 2 == 0
    targets = 2.0 * np.eye(int(labels.max()) + 1)[labels] - 1
    right = np.empty(len(real), bool)
    for known in (half, ~half):
        x, mean = _flatten(real[known]), _flatten(real[known]).mean(0)
        gram = (x - mean).T @ (x - mean) + 0.01 * len(x) * np.eye(x.shape[1])
        weight = np.linalg.solve(gram, (x - mean).T @ targets[known])
        answers = ((_flatten(twins[~known]) - mean) @ weight + targets[known].mean(0)).argmax(1)
        right[~known] = answers == labels[~known]
    return 100 * float(right.mean())


def _train_generator(config: StudyConfig, sample: Sample, out: Path, seed: int) -> Sdedit:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    from diffmix.generators.sdedit import Sdedit
    from diffmix.model.denoiser import build_noising
    from diffmix.train_generator import train_generator

    settings = TrainGeneratorConfig(
        source="sample", out=out, network=config.network, steps=config.generator_steps,
        batch_size=config.generator_batch, learning_rate=config.generator_rate, ema=config.generator_ema,
        flip=False,         runtime=replace(config.runtime, seed=seed),
    )  # fmt: skip
    network = train_generator(sample.train, settings)
    sampler = DDIMScheduler.from_config(build_noising(config.network).config)
    return Sdedit(network, sampler, strength=config.generator.strength, steps=config.generator.steps)


def _run_arm(
    config: StudyConfig,
    sample: Sample,
    twins: np.ndarray,
    arm: Arm,
    augmentation: float,
    seed: int,
    out: Path,
) -> tuple[Outcome, int]:
    """Train one encoder and score it; give its size too."""
    import time

    import torch

    from diffmix.predict import Known, compute_features, split_batches
    from diffmix.probes import score_probes
    from diffmix.train import pretrain

    pairs = Pairs(
        real=sample.train, synthetic=twins[:, None], labels=sample.train_labels,
        ids=tuple(map(str, range(len(sample.train)))),
    )  # fmt: skip
    settings = TrainConfig(
        pairs=Path("sample"), out=out, encoder=config.encoder, method=config.method, fit=config.fit,
        views=replace(config.views, mode=arm.mode, strength=augmentation),
        runtime=replace(config.runtime, seed=seed),
    )  # fmt: skip
    started = time.perf_counter()
    encoder = pretrain(pairs, settings)
    seconds = time.perf_counter() - started

    def know(pixels: np.ndarray, labels: np.ndarray) -> Known:
        return Known(compute_features(encoder, split_batches(pixels)), torch.from_numpy(labels))

    tests = {
        name: know(corrupt(sample.test, *change, seed=seed) if change else sample.test, sample.test_labels)
        for name, change in SHIFTS.items()
    }
    right = score_probes(
        know(sample.train, sample.train_labels), tests, config.probes, seed=seed,
        classes=int(sample.train_labels.max()) + 1,
    )  # fmt: skip
    accuracy = {
        (probe, name): 100 * float(marks.mean()) for probe, by in right.items() for name, marks in by.items()
    }
    strength = float("nan") if arm.twin == "neighbour" else arm_strength(config, arm)
    outcome = Outcome(
        arm=arm, strength=strength, augmentation=augmentation, seed=seed, accuracy=accuracy, seconds=seconds
    )
    return outcome, sum(weight.numel() for weight in encoder.parameters())


def _flatten(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1).astype(np.float64) / 255


def _shorten(found: Outcome) -> str:
    return ", ".join(
        f"{probe} {value:.1f} %" for (probe, name), value in found.accuracy.items() if name == "clean"
    )
