"""What can be set, and what it must be. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isopleth.config import BaseDemoConfig, check_choice, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime

Kind = Literal["expansion", "lora", "linear", "top", "full"]
KINDS: tuple[Kind, ...] = ("expansion", "lora", "linear", "top", "full")
Augmentation = Literal["none", "crops"]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The pretrained network.

    Parameters
    ----------
    name : str
        A model of timm, or a hub id ("owner/name") or folder of transformers.
    library : {"timm", "transformers"}
    pretrained : bool
        Load its weights (which asks the hub, unless they are there already); else they are drawn.
    checkpoint : Path, optional
        A safetensors file of the network's own weights instead, such as ``pretrain`` leaves behind.
    image_size : int
        Pixels of a side.
    channels : int
        Of the images, or bands of rasters. Pretrained weights of three channels are spread over
        another number.
    dim, depth, heads, patch_size : int, optional
        To build another shape than the name stands for; not with pretrained weights.
    """

    name: str = "vit_base_patch16_224.dino"
    library: Literal["timm", "transformers"] = "timm"
    pretrained: bool = True
    checkpoint: Path | None = None
    image_size: int = 224
    channels: int = 3
    dim: int | None = None
    depth: int | None = None
    heads: int | None = None
    patch_size: int | None = None

    def __post_init__(self) -> None:
        check_choice("library", self.library, ("timm", "transformers"))
        check_positive(image_size=self.image_size, channels=self.channels)
        shape = {name: getattr(self, name) for name in ("dim", "depth", "heads", "patch_size")}
        check_positive(**shape)
        given = [name for name, value in shape.items() if value is not None]
        if self.pretrained and given:
            raise ConfigError(f"pretrained must be false where {', '.join(given)} is given, got true")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where images come from, and what of them is used.

    Parameters
    ----------
    bands : tuple of str
        Of rasters: which ones, in which order; all of them if empty.
    means, stds : tuple of float
        Of each band, in the units of the rasters: those that pretrained weights expect. By default they are
        computed from the new domain's training images alone.
    cache : Path, optional
        A folder for decoded images, one file a part; without it they are decoded each time. Memory does
        not grow with their number either way.
    """

    bands: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    stds: tuple[float, ...] = ()
    cache: Path | None = None

    def __post_init__(self) -> None:
        if len(self.means) != len(self.stds):
            raise ConfigError(f"means must be as many as stds, got {len(self.means)} and {len(self.stds)}")
        if len(set(self.bands)) < len(self.bands):
            raise ConfigError(f"bands must be different ones, got {', '.join(self.bands)}")
        for std in self.stds:
            check_positive(stds=std)


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """How the network is adapted.

    Parameters
    ----------
    kind : {"expansion", "lora", "linear", "top", "full"}
        Block expansion, low-rank adaptation, a new head alone, the last blocks, or all weights.
    expansions : int
        Copies of blocks (p), of "expansion".
    position : {"interleaved", "last", "first"}
        Of the copies.
    rank : int
        Of "lora"; its scale is 1 (alpha = rank), as published.
    targets : {"qv", "qkv"}
        What LoRA adapts: queries and values, as published, or a fused qkv map, keys with it.
    blocks : int
        How many, of "top".
    """

    kind: Kind = "expansion"
    expansions: int = 3
    position: Literal["interleaved", "last", "first"] = "interleaved"
    rank: int = 8
    targets: Literal["qv", "qkv"] = "qv"
    blocks: int = 3

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        check_choice("targets", self.targets, ("qv", "qkv"))
        check_choice("position", self.position, ("interleaved", "last", "first"))
        check_positive(expansions=self.expansions, rank=self.rank, blocks=self.blocks)

    @property
    def label(self) -> str:
        """Name it as tables do."""
        return {
            "expansion": f"block expansion p={self.expansions}",
            "lora": f"LoRA r={self.rank}" + ("" if self.targets == "qv" else " qkv"),
            "linear": "linear probe",
            "top": f"top {self.blocks} blocks",
            "full": "full fine-tuning",
        }[self.kind]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the adapted network learns: stochastic gradient descent with momentum, as published.

    Parameters
    ----------
    steps, batch_size : int
    learning_rate : float
        At its height, after the warm-up; then a cosine to 0.
    warmup_steps : int
    momentum : float
    gradient_clip : float, optional
        Largest 2-norm of the gradient; without one, as published, a high learning rate may end in NaN.
    augmentation : {"none", "crops"}
        Random resized crops and flips, as published; or the images as they are, and then what frozen
        blocks make of them is computed once.
    least_area : float
        Smallest share of an image that a crop keeps.
    remember_mb : float
        Most memory for what frozen blocks make of the images; if it takes more, it is computed each time.
    """

    steps: int = 10_000
    batch_size: int = 128
    learning_rate: float = 0.01
    warmup_steps: int = 500
    momentum: float = 0.9
    gradient_clip: float | None = None
    augmentation: Augmentation = "crops"
    least_area: float = 0.08
    remember_mb: float = 1000.0

    def __post_init__(self) -> None:
        check_choice("augmentation", self.augmentation, ("none", "crops"))
        check_positive(
            steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate,
            least_area=self.least_area, gradient_clip=self.gradient_clip, remember_mb=self.remember_mb,
        )  # fmt: skip
        if not 0 <= self.warmup_steps < self.steps:
            raise ConfigError(f"warmup_steps must be from 0 to steps - 1, got {self.warmup_steps}")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum must lie in [0, 1), got {self.momentum}")


@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """How what is left of the old domain is measured.

    Parameters
    ----------
    neighbours : int
        Of the k-NN vote.
    temperature : float
        Of its weights.
    at_steps : tuple of int
        When to measure on the way; besides, before the first step and after the last.
    """

    neighbours: int = 20
    temperature: float = 0.07
    at_steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_positive(neighbours=self.neighbours, temperature=self.temperature)
        if any(step < 1 for step in self.at_steps):
            raise ConfigError(f"at_steps must be from 1, got {self.at_steps}")


@dataclass(frozen=True, kw_only=True)
class AdaptConfig:
    """What every adaptation of a pretrained network is told.

    Parameters
    ----------
    resume : bool
        Go on with the run in the run directory.
    data, backbone, method, fit, retention, runtime
    """

    resume: bool = False
    data: DataConfig = DataConfig()
    backbone: BackboneConfig = BackboneConfig()
    method: MethodConfig = MethodConfig()
    fit: FitConfig = FitConfig()
    retention: RetentionConfig = RetentionConfig()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        for name in ("bands", "means"):
            count = len(getattr(self.data, name))
            if count not in (0, self.backbone.channels):
                raise ConfigError(
                    f"data.{name} must be as many as backbone.channels, {self.backbone.channels}, got {count}"
                )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(AdaptConfig):
    """From a pretrained network and images of a new domain to an adapter.

    Parameters
    ----------
    target : Path
        Images of the new domain: a folder with ``train``, ``val`` and ``test``, and in each a folder a class
        of pictures or rasters; or a table (csv) of labelled patches of rasters.
    source : Path, optional
        Images of the old domain, in the same form: retention is measured on them.
    out : Path
        The run directory; the adapter goes to its folder `adapter`.
    resume, data, backbone, method, fit, retention, runtime
        As for every adaptation.
    """

    target: Path = positional()
    source: Path | None = None
    out: Path = Path("runs/block-expansion/train")
    retention: RetentionConfig = RetentionConfig(at_steps=(1, 2, 5, 10, 20, 50, 100, 1000))


@dataclass(frozen=True, kw_only=True)
class SequenceConfig(AdaptConfig):
    """Several domains one after the other with one network, and what is left of each.

    Parameters
    ----------
    targets : tuple of Path
        Tasks in their order, each as ``train`` takes one; at least two.
    out : Path
        The run directory, a folder a task in it.
    resume, data, backbone, method, fit, retention, runtime
        As for every adaptation.
    """

    targets: tuple[Path, ...] = ()
    out: Path = Path("runs/block-expansion/sequence")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """From trained runs to one table: parameters, target, retained, mean.

    Parameters
    ----------
    runs : Path
        A run directory of ``train``, or a folder of several.
    out : Path
        Where evaluation.json, figures and report.html go.
    """

    runs: Path = positional()
    out: Path = Path("runs/block-expansion/evaluate")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Self-supervised training of the demo's small network on its old domain: SimCLR.

    Parameters
    ----------
    steps, batch_size : int
    learning_rate, temperature : float
    position_std : float
        Of the positions and the class token at first. A few hundred steps cannot raise them from the 0.02
        that long trainings start from.
    """

    steps: int = 300
    batch_size: int = 128
    learning_rate: float = 2e-3
    temperature: float = 0.2
    position_std: float = 0.5

    def __post_init__(self) -> None:
        check_positive(
            steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate,
            temperature=self.temperature, position_std=self.position_std,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method, and the learning rates that it is tried with."""

    method: MethodConfig
    learning_rates: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.learning_rates:
            raise ConfigError("learning_rates must be at least one, got none")
        for rate in self.learning_rates:
            check_positive(learning_rates=rate)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A comparison of methods over learning rates and seeds.

    Parameters
    ----------
    contenders : tuple of Contender
    seeds : int
        Pretrained networks, each adapted by every contender.
    first_seed : int
        Of the first network; the demo's own seed is added.
    processes : int
        Seeds that are worked on at the same time.
    backbone, pretrain, fit, retention, runtime
    """

    contenders: tuple[Contender, ...]
    seeds: int = 1
    first_seed: int = 0
    processes: int = 1
    backbone: BackboneConfig
    pretrain: PretrainConfig = PretrainConfig()
    fit: FitConfig
    retention: RetentionConfig = RetentionConfig()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        check_positive(seeds=self.seeds, processes=self.processes)


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """Every method, from handwriting to textures, on real images that ship in packages."""

    out: Path = Path("runs/demo/block-expansion")
