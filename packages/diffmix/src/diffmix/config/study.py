"""The demo: arms, augmentations, strengths and seeds of one comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffmix.config.evaluation import ProbeConfig
from diffmix.config.generation import GeneratorConfig, SdeditConfig
from diffmix.config.training import MODES, EncoderConfig, FitConfig, MethodConfig, Mode, ViewConfig
from isopleth.config import BaseDemoConfig, check_choice, check_fraction, check_positive
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one encoder of the comparison learns from.

    Parameters
    ----------
    mode : {"real", "synthetic", "diffmix", "pool", "sequential"}
    twin : {"diffusion", "neighbour"}
        Where the second image of a pair is from: the generator, or the nearest other real image in pixels,
        which costs nothing.
    strength : float, optional
        Of the variation; the study's own by default.
    augmentations : tuple of float
        Strengths of the augmentation that it is trained with.
    """

    mode: Mode
    twin: Literal["diffusion", "neighbour"] = "diffusion"
    strength: float | None = None
    augmentations: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_choice("twin", self.twin, ("diffusion", "neighbour"))
        check_fraction(strength=self.strength)
        for value in self.augmentations:
            check_fraction(augmentations=value)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A comparison of arms at equal gradient steps.

    Parameters
    ----------
    arms : tuple of Arm
    seeds : int
    first_seed : int
        The demo's own seed is added.
    network, generator_steps, generator_batch, generator_rate, generator_ema
        Of the generator, which is trained on the unlabelled training images.
    generator_each_seed : bool
        Train it anew for each seed; else once, and the interval says nothing of its luck.
    generator : GeneratorConfig
        How it varies images; its strength is that of arms without one.
    encoder, method, views, fit, probes, runtime
    """

    arms: tuple[Arm, ...]
    seeds: int = 3
    first_seed: int = 0
    network: SdeditConfig
    generator_steps: int = 600
    generator_batch: int = 64
    generator_rate: float = 2e-3
    generator_ema: float = 0.99
    generator_each_seed: bool = True
    generator: GeneratorConfig
    encoder: EncoderConfig
    method: MethodConfig
    views: ViewConfig
    fit: FitConfig
    probes: ProbeConfig = ProbeConfig()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        check_positive(
            seeds=self.seeds, generator_steps=self.generator_steps, generator_batch=self.generator_batch,
            generator_rate=self.generator_rate,
        )  # fmt: skip
        modes = {arm.mode for arm in self.arms if arm.twin == "diffusion" and arm.strength is None}
        if missing := {"real", "diffmix"} - modes:
            raise ConfigError(f"arms must have real and diffmix, got no {', '.join(sorted(missing))}")


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """Real, synthetic, pooled and paired views of handwritten digits that ship in a package."""

    out: Path = Path("runs/demo/diffmix")
