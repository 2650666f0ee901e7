"""Encoders, methods, views: the self-supervised training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from isopleth.config import check_choice, check_fraction, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime

Mode = Literal["real", "synthetic", "diffmix", "pool", "sequential"]
MODES: tuple[Mode, ...] = ("real", "synthetic", "diffmix", "pool", "sequential")
METHODS = ("simclr", "barlow", "dino")
OPTIMIZERS = ("adamw", "lars")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """A network of timm without its classifier.

    Parameters
    ----------
    name : str
    image_size : int
        Pixels of a side of a view.
    channels : {1, 3}
    pretrained : bool
        Start from timm's weights, which asks the hub; else they are drawn.
    mean, std : tuple of float
        Of each channel, of images from 0 to 1; one number is for all channels.
    args : dict
        Further arguments of ``timm.create_model``, such as ``{drop_path_rate: 0.1}``.
    """

    name: str = "resnet50"
    image_size: int = 224
    channels: Literal[1, 3] = 3
    pretrained: bool = False
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_positive(image_size=self.image_size)
        check_choice("channels", self.channels, (1, 3))
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (1, self.channels):
                raise ConfigError(f"{name} must have 1 or {self.channels} numbers, got {len(values)}")
        check_positive(**{f"std[{place}]": value for place, value in enumerate(self.std)})


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """The self-supervised method.

    Parameters
    ----------
    kind : {"simclr", "barlow", "dino"}
    hidden_dim, output_dim : int
        Of the projection head; of DINO the hidden layers of its head and its prototypes K.
    temperature : float
        Of SimCLR's loss, and of DINO's student.
    redundancy : float
        Weight of the off-diagonal terms of Barlow Twins (lambda).
    teacher_temperature, warm_teacher_temperature : float
        Of DINO's teacher, after and at the start of its warm-up.
    warm_teacher_epochs : int
    teacher_momentum : float
        Of the average that the teacher is, at first; it rises to 1 on a cosine. For small sets 0.99.
    center_momentum : float
    freeze_last_epochs : int
        In which the prototypes do not move.
    bottleneck_dim : int
        Of DINO's head.
    """

    kind: Literal["simclr", "barlow", "dino"] = "simclr"
    hidden_dim: int = 2048
    output_dim: int = 512
    temperature: float = 0.5
    redundancy: float = 0.005
    teacher_temperature: float = 0.04
    warm_teacher_temperature: float = 0.04
    warm_teacher_epochs: int = 5
    teacher_momentum: float = 0.996
    center_momentum: float = 0.9
    freeze_last_epochs: int = 1
    bottleneck_dim: int = 256

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, METHODS)
        check_positive(
            hidden_dim=self.hidden_dim, output_dim=self.output_dim, temperature=self.temperature,
            redundancy=self.redundancy, teacher_temperature=self.teacher_temperature,
            warm_teacher_temperature=self.warm_teacher_temperature, bottleneck_dim=self.bottleneck_dim,
        )  # fmt: skip
        check_fraction(teacher_momentum=self.teacher_momentum, center_momentum=self.center_momentum)
        for name in ("warm_teacher_epochs", "freeze_last_epochs"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """What the two views of an image are, and how they are augmented.

    Parameters
    ----------
    mode : {"real", "synthetic", "diffmix", "pool", "sequential"}
        Both views of the real image; both of its twin; one of each; real and synthetic images as one data set
        of twice the size, each with views of itself; or the synthetic images first, then the real ones.
    augment_synthetic : {"full", "crop_only", "none"}
        Of synthetic views: as real ones; crops and flips alone; or nothing.
    strength : float
        From 0, no augmentation, to 1, the whole: scales how far crops, jitter and blur may go, and how often
        grey, blur and solarisation come.
    random_sides : bool
        Draw for every pair which side is real. Otherwise the first is, as published; with recipes that differ
        the side then gives the domain away.
    recipe : {"symmetric", "released"}
        The same for both views, or that of the released code: blur on the first, solarisation on the second.
    least_area : float
        Smallest share of the image that a crop keeps.
    flip : bool
    jitter : tuple of four float
        Brightness, contrast, saturation and hue.
    jitter_probability, grey_probability, blur_probability, solarise_probability : float
    blur_sigma : tuple of two float
        In pixels of the view.
    n_local, n_local_synthetic : int
        DINO's small crops, and how many of them are of the twin (2 of 8 in the paper's figure).
    local_size : int
        Pixels of a side of a small crop.
    global_area, local_area : tuple of two float
        Shares of the image that DINO's large and small crops keep.
    """

    mode: Mode = "diffmix"
    augment_synthetic: Literal["full", "crop_only", "none"] = "full"
    strength: float = 1.0
    random_sides: bool = True
    recipe: Literal["symmetric", "released"] = "symmetric"
    least_area: float = 0.08
    flip: bool = True
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_probability: float = 0.8
    grey_probability: float = 0.2
    blur_probability: float = 0.5
    solarise_probability: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    n_local: int = 8
    n_local_synthetic: int = 2
    local_size: int = 96
    global_area: tuple[float, float] = (0.4, 1.0)
    local_area: tuple[float, float] = (0.05, 0.4)

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_choice("augment_synthetic", self.augment_synthetic, ("full", "crop_only", "none"))
        check_choice("recipe", self.recipe, ("symmetric", "released"))
        names = (
            "strength",
            "jitter_probability",
            "grey_probability",
            "blur_probability",
            "solarise_probability",
        )
        check_fraction(**{name: getattr(self, name) for name in names})
        check_positive(least_area=self.least_area, local_size=self.local_size)
        for name in ("global_area", "local_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ConfigError(f"{name} must be two rising shares from 0 to 1, got {(low, high)}")
        if not 0 <= self.n_local_synthetic <= self.n_local:
            raise ConfigError(
                f"n_local_synthetic must be from 0 to n_local ({self.n_local}), got {self.n_local_synthetic}"
            )
        if self.blur_sigma[0] <= 0 or self.blur_sigma[1] < self.blur_sigma[0]:
            raise ConfigError(f"blur_sigma must be two rising numbers above 0, got {self.blur_sigma}")
        if min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise ConfigError(f"jitter must be at least 0, its hue at most 0.5, got {self.jitter}")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the encoder learns: an optimiser, a warm-up and a cosine.

    Parameters
    ----------
    epochs, steps : int, optional
        One of them. Arms of a comparison have equal steps: a pool has twice the images of the others.
    batch_size : int
        Pairs, of one process.
    base_learning_rate : float
        For 256 pairs over all processes; in proportion for others.
    warmup : float
        Share of the steps in which the rate rises.
    warmup_epochs : float, optional
        The same in epochs, whatever their number.
    floor : float
        Share of the rate that is left at the end.
    optimizer : {"adamw", "lars"}
        LARS is SGD with momentum whose step is in proportion to each layer's weights (You et al. 2017): for
        batches of thousands, with rates of 0.1 and more.
    momentum : float
        Of LARS.
    weight_decay : float
        Of matrices and kernels; biases and norms are spared.
    final_weight_decay : float, optional
        Where the decay ends, on half a cosine, as in DINO (Caron et al. 2021, section 4).
    gradient_clip : float, optional
        Largest norm of all gradients together; in DINO of each parameter's own, as in its released code.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 256
    base_learning_rate: float = 5e-4
    warmup: float = 0.1
    warmup_epochs: float | None = None
    floor: float = 0.001
    optimizer: Literal["adamw", "lars"] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 4e-5
    final_weight_decay: float | None = None
    gradient_clip: float | None = None

    @property
    def warmup_share(self) -> float:
        """Share of the steps in which the rate rises."""
        if self.warmup_epochs is None or self.epochs is None:
            return self.warmup
        return self.warmup_epochs / self.epochs

    def __post_init__(self) -> None:
        check_positive(
            epochs=self.epochs, steps=self.steps, batch_size=self.batch_size,
            base_learning_rate=self.base_learning_rate, gradient_clip=self.gradient_clip,
            warmup_epochs=self.warmup_epochs, final_weight_decay=self.final_weight_decay,
        )  # fmt: skip
        check_fraction(floor=self.floor)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError(f"one of epochs and steps must be given, got {self.epochs} and {self.steps}")
        for name in ("warmup", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.warmup_epochs is not None and not self.warmup_epochs < (self.epochs or 0):
            raise ConfigError(
                f"warmup_epochs must be fewer than epochs ({self.epochs}), got {self.warmup_epochs:g}",
                hint="--fit.warmup_epochs null takes the share fit.warmup of all steps",
            )
        if self.batch_size < 2:
            raise ConfigError(f"batch_size must be at least 2, got {self.batch_size}")
        if self.weight_decay <= 0 and (self.optimizer == "lars" or self.final_weight_decay is not None):
            raise ConfigError(
                f"weight_decay must be above 0 with lars or final_weight_decay, got {self.weight_decay}",
                hint="what does not decay is neither scaled by LARS nor given another decay later",
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From a store of pairs to an encoder.

    Parameters
    ----------
    pairs : Path
        What ``prepare`` wrote.
    out : Path
        The run directory; the encoder goes to its folder ``encoder``.
    resume : bool
    memory_gb : float
        A store up to this size is read whole, once; from a larger one chunks are read in random order.
    encoder, method, views, fit, runtime
    """

    pairs: Path = positional()
    out: Path = Path("runs/diffmix/train")
    resume: bool = False
    memory_gb: float = 8.0
    encoder: EncoderConfig = EncoderConfig()
    method: MethodConfig = MethodConfig()
    views: ViewConfig = ViewConfig()
    fit: FitConfig = FitConfig(epochs=30)
    runtime: Runtime = Runtime()


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """From a run to a folder that ``timm.create_model("local-dir:FOLDER")`` loads.

    Parameters
    ----------
    run : Path
        A run directory of ``train``.
    out : Path
    summary : str
        A sentence for the card.
    """

    run: Path = positional()
    out: Path = Path("runs/diffmix/encoder")
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Upload an exported folder to the Hugging Face hub.

    Parameters
    ----------
    folder : Path
    repo : str
        "owner/name".
    private : bool
    """

    folder: Path = positional()
    repo: str = positional()
    private: bool = True
