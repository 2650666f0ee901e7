"""Generators, the twins they make, and the store of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isopleth.config import check_choice, check_fraction, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime

Kind = Literal["sd-variation", "img2img", "sdedit", "precomputed"]
KINDS: tuple[Kind, ...] = ("sd-variation", "img2img", "sdedit", "precomputed")
SCHEDULERS = ("own", "ddim", "dpm++")
PREPROCESSINGS = ("published", "pipeline")
FORMATS = ("png", "jpg")


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """What makes a synthetic twin of a real image.

    Parameters
    ----------
    kind : {"sd-variation", "img2img", "sdedit", "precomputed"}
        Stable Diffusion image variations, which see the real image through CLIP alone, as published; Stable
        Diffusion that starts from the real image; a small model of ``train-generator`` that does; or a folder
        of images that exists.
    model : str
        A folder of diffusers, or a hub id ("owner/name"); of "precomputed" the folder of twins.
    revision : str, optional
        Of the hub id. The published one of the default model is v2.0.
    download : bool
        Ask the hub for what is not here yet. Without it nothing is fetched.
    steps : int
        Of the denoising; published are 50. DPM-Solver++ needs about 20.
    guidance : float
        Of the classifier-free guidance; published is 3 (and sets made with 8). 1 switches it off and takes
        half the time.
    strength : float
        How much of the noise of the whole diffusion "img2img" and "sdedit" add before they denoise.
    prompt : str
        Of "img2img".
    resolution : int
        Pixels of a side of what Stable Diffusion makes, a multiple of 8.
    preprocessing : {"published", "pipeline"}
        What CLIP sees: a bicubic resize without antialiasing, as the checkpoint was trained with, or what the
        pipeline's own feature extractor makes.
    scheduler : {"own", "ddim", "dpm++"}
        The model's own, or another.
    half : bool
        Compute in float16 on a GPU.
    """

    kind: Kind = "sd-variation"
    model: str = "lambdalabs/sd-image-variations-diffusers"
    revision: str | None = None
    download: bool = False
    steps: int = 50
    guidance: float = 3.0
    strength: float = 0.5
    prompt: str = ""
    resolution: int = 512
    preprocessing: Literal["published", "pipeline"] = "published"
    scheduler: Literal["own", "ddim", "dpm++"] = "own"
    half: bool = True

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        check_choice("preprocessing", self.preprocessing, PREPROCESSINGS)
        check_choice("scheduler", self.scheduler, SCHEDULERS)
        check_positive(
            steps=self.steps, guidance=self.guidance, resolution=self.resolution, strength=self.strength
        )
        check_fraction(strength=self.strength)
        if self.resolution % 8:
            raise ConfigError(f"resolution must be a multiple of 8, got {self.resolution}")


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """From real images to their synthetic twins, in files of the same names.

    Parameters
    ----------
    source : str
        A folder of images (in folders of classes, or not); or "torchvision:NAME:ROOT[:SPLIT]",
        "datasets:NAME_OR_FOLDER[:SPLIT]", "webdataset:SHARDS.tar". Only training images: what is tested
        on must have no twin.
    out : Path
        The folder of twins. A run that finds some of them goes on.
    generator : GeneratorConfig
    twins : int
        Of each image.
    batch_size : int
        Does not change what is made, beyond the rounding of the last digit.
    shard, shards : int
        This process makes every `shards`-th image, from `shard` on: one number for each process or machine.
    seed : int
        Of the whole set; each twin has a seed of its own from it, its image's name and its number.
    retries : int
        How often a black or undefined image is made again, from another seed, before it is given up.
    image_format : {"png", "jpg"}
    device : str
        "auto" is a GPU if there is one.
    """

    source: str = positional()
    out: Path = Path("runs/diffmix/twins")
    generator: GeneratorConfig = GeneratorConfig()
    twins: int = 1
    batch_size: int = 16
    shard: int = 0
    shards: int = 1
    seed: int = 25
    retries: int = 2
    image_format: Literal["png", "jpg"] = "png"
    device: str = "auto"

    def __post_init__(self) -> None:
        check_choice("image_format", self.image_format, FORMATS)
        check_positive(twins=self.twins, batch_size=self.batch_size, shards=self.shards)
        if not 0 <= self.shard < self.shards:
            raise ConfigError(f"shard must be from 0 to {self.shards - 1}, got {self.shard}")
        if self.retries < 0:
            raise ConfigError(f"retries must be at least 0, got {self.retries}")


@dataclass(frozen=True, kw_only=True)
class SdeditConfig:
    """A small unconditional diffusion model in pixels.

    Parameters
    ----------
    size, channels : int
        Of its images.
    widths : tuple of int
        Channels of its levels, multiples of 8; each level but the first halves the sides, the last has
        attention.
    layers : int
        Residual blocks of a level.
    timesteps : int
        Of the noising in training.
    """

    size: int = 32
    channels: int = 3
    widths: tuple[int, ...] = (32, 64, 128)
    layers: int = 1
    timesteps: int = 1000

    def __post_init__(self) -> None:
        check_positive(size=self.size, layers=self.layers, timesteps=self.timesteps)
        check_choice("channels", self.channels, (1, 3))
        if not self.widths or any(width <= 0 or width % 8 for width in self.widths):
            raise ConfigError(f"widths must be multiples of 8, got {self.widths}")
        if self.size % 2 ** (len(self.widths) - 1):
            raise ConfigError(
                f"size must be a multiple of {2 ** (len(self.widths) - 1)} for {len(self.widths)} levels, "
                f"got {self.size}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainGeneratorConfig:
    """From unlabelled images to a small diffusion model that ``generate`` takes.

    Parameters
    ----------
    source : str
        As of ``generate``. Only training images.
    out : Path
        The run directory; the model goes to its folder ``generator``.
    resume : bool
    network : SdeditConfig
    steps, batch_size : int
    learning_rate : float
    ema : float
        Decay of the average of the weights that is kept.
    flip : bool
        Mirror half of the images.
    runtime : Runtime
    """

    source: str = positional()
    out: Path = Path("runs/diffmix/generator")
    resume: bool = False
    network: SdeditConfig = SdeditConfig()
    steps: int = 20_000
    batch_size: int = 64
    learning_rate: float = 1e-3
    ema: float = 0.999
    flip: bool = True
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        check_positive(steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate)
        check_fraction(ema=self.ema)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """From real images and their twins to one store of pairs.

    Parameters
    ----------
    source : str
        As of ``generate``.
    twins : Path, optional
        The folder that ``generate`` wrote, or any with files of the same names. Without one the store has
        real images alone.
    out : Path
    size : int
        Pixels of a side: the shorter one is brought to it, the middle is cut out.
    channels : {1, 3}
    chunk : int
        Images of a chunk: that many are read at once, and make a batch or a part of one.
    per_image : int
        Twins of each image to store.
    seed : int
        Of the order in which images lie in the store.
    verify : bool
        Compare every twin, and the image that it was made of, with the hashes of its manifest.
    workers : int
        Threads that decode.
    resume : bool
        Go on after the last whole chunk of a run that was interrupted; a finished store is left as it is.
    """

    source: str = positional()
    twins: Path | None = None
    out: Path = Path("runs/diffmix/pairs.zarr")
    size: int = 256
    channels: Literal[1, 3] = 3
    chunk: int = 64
    per_image: int = 1
    seed: int = 0
    verify: bool = False
    workers: int = 4
    resume: bool = False

    def __post_init__(self) -> None:
        check_choice("channels", self.channels, (1, 3))
        check_positive(size=self.size, chunk=self.chunk, per_image=self.per_image, workers=self.workers)
