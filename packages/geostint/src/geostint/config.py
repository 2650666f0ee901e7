"""What can be set, and what it must be. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isopleth.config import BaseDemoConfig, check_choice, check_fraction, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime

Meaning = Literal["auto", "point", "mean", "sum"]
MEANINGS: tuple[Meaning, ...] = ("auto", "point", "mean", "sum")
Stamp = Literal["start", "middle", "end"]
STAMPS: tuple[Stamp, ...] = ("start", "middle", "end")
METHODS = ("nearest", "linear", "pchip", "cubic", "climatology", "flow")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The network's shape.

    Parameters
    ----------
    widths : tuple of int
        Channels at each level of the U-Net; each level has half the rows and columns of the one before.
    reduction : int
        By what squeeze-and-excitation narrows its channels, to no fewer than 4.
    output : {"residual", "raw"}
        Add to linear interpolation, starting at 0; or give the frames themselves, as published, which may
        collapse.
    time : {"fixed", "any"}
        One output for each of the frames in a gap, as published; or one output, conditioned on the time.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    reduction: int = 16
    output: Literal["residual", "raw"] = "residual"
    time: Literal["fixed", "any"] = "fixed"

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise ConfigError(f"widths must be at least one number above 0, got {self.widths}")
        check_positive(reduction=self.reduction)
        check_choice("output", self.output, ("residual", "raw"))
        check_choice("time", self.time, ("fixed", "any"))

    @property
    def stride(self) -> int:
        """Rows and columns that become one at the deepest level."""
        return 2 ** (len(self.widths) - 1)

    @property
    def halo(self) -> int:
        """Rows and columns, in whole strides, beyond which nothing reaches a cell but by the pooled means.

        A 3x3 convolution at level l reaches 2^l cells; there are two in each block, a block on the way down
        and one on the way up, and one before all. Halving and doubling may add a cell of the next level each.
        """
        last = len(self.widths) - 1
        reach = 1 + 2 * 2**last + sum(4 * 2**level + 2 * 2 ** (level + 1) for level in range(last))
        return -(-reach // self.stride) * self.stride


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that a trained interpolator is built from.

    Parameters
    ----------
    channels : tuple of str
        Fields, in order.
    frames : int
        Frames in a gap that it was trained to make.
    step_seconds : int
        From one frame to the next in training; 0 where that is not known.
    data_range : tuple of float
        Greatest less least value of each channel in the training period, for PSNR and SSIM.
    network : NetworkConfig
    """

    channels: tuple[str, ...]
    frames: int
    step_seconds: int = 0
    data_range: tuple[float, ...] = ()
    network: NetworkConfig = NetworkConfig()

    def __post_init__(self) -> None:
        check_positive(frames=self.frames)
        if not self.channels:
            raise ConfigError("channels must be at least one, got none")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How the two losses are weighed.

    Parameters
    ----------
    cycle : float
        Of the first loss: the middle frame comes back.
    agreement : float
        Of the second: both stages agree. At 0 this is a single cycle, which copying the nearer frame solves.
    area_weighted : bool
        Weight cells by area.
    """

    cycle: float = 1 / 3
    agreement: float = 2 / 3
    area_weighted: bool = True

    def __post_init__(self) -> None:
        check_fraction(cycle=self.cycle, agreement=self.agreement)
        if self.cycle + self.agreement == 0:
            raise ConfigError("cycle and agreement must not both be 0")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long and how fast.

    Parameters
    ----------
    max_steps, batch_size, learning_rate, weight_decay, warmup_steps
        Of AdamW with a cosine that ends at 0.
    crop : int
        Rows and columns of random windows of the fields; 0 takes them whole.
    validate_every : int
        Steps between validations; the best one's weights are kept.
    gradient_clip : float
        Largest 2-norm of the gradient.
    collapse : {"stop", "warn"}
        What to do when the network copies its inputs or fades to nothing.
    """

    max_steps: int = 20000
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    crop: int = 0
    validate_every: int = 500
    gradient_clip: float = 1.0
    collapse: Literal["stop", "warn"] = "stop"

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size", "learning_rate", "validate_every", "gradient_clip"):
            check_positive(**{name: getattr(self, name)})
        if self.weight_decay < 0 or self.warmup_steps < 0 or self.crop < 0:
            raise ConfigError("weight_decay, warmup_steps and crop must not be below 0")
        check_choice("collapse", self.collapse, ("stop", "warn"))


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """From fields in any layout to a packed store of frames.

    Parameters
    ----------
    source : str
        File, glob, folder, store or URL.
    out : Path
        The store to make.
    variables : tuple of str
        All by default.
    train : (str, str)
        Period that trains; statistics are fitted to it. All but the last fifth of the frames by default.
    every : int
        Keep every so many frames: to learn from data that are finer than what is to be refined.
    regularise : bool
        Snap stamps to a regular axis and leave gaps where frames are missing, instead of refusing them.
    resume : bool
        Go on where a killed preparation stopped.
    scheduler : str, optional
        Address of a dask.distributed scheduler.
    """

    source: str = positional()
    out: Path = Path("runs/geostint/frames")
    variables: tuple[str, ...] = ()
    train: tuple[str, str] | None = None
    every: int = 1
    regularise: bool = False
    resume: bool = False
    scheduler: str | None = None

    def __post_init__(self) -> None:
        check_positive(every=self.every)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From frames to a trained network, without any truth between them.

    Parameters
    ----------
    data : Path
        What `prepare` wrote.
    out : Path
        The run directory; the network goes to its folder ``pretrained``.
    frames : int
        Frames to make in a gap: 2 turns 3-hourly into hourly fields.
    gap : int
        Frames left out between those that train and those that validate.
    resume : bool
        Go on with the run in this directory.
    network, loss, fit, runtime
        The parts.
    """

    data: Path = positional(Path("runs/geostint/frames"))
    out: Path = Path("runs/geostint/train")
    frames: int = 2
    gap: int = 4
    resume: bool = False
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    fit: FitConfig = FitConfig()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        check_positive(frames=self.frames)
        if self.gap < 0:
            raise ConfigError(f"gap must not be below 0, got {self.gap}")


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig:
    """From fields to fields between them.

    Parameters
    ----------
    source, out : str, Path
        Fields in any layout; the zarr store to write.
    model : str
        A pretrained folder or hub id; without it `method` is used.
    method : str
        A method that needs no training.
    factor : int
        Output steps to an input step; by default the model's own, and 2 without a model.
    variables : tuple of str
        All by default; with a model they must be its own.
    period : (str, str), optional
        Of the source, both ends included.
    meaning : {"auto", "point", "mean", "sum"}
        What values stand for; "auto" reads it off each variable's CF cell_methods.
    stamp : {"start", "middle", "end"}
        Where in its step the stamp of a mean or sum stands: so will those of its parts.
    non_negative : tuple of str
        Variables to keep at or above 0, besides those known to be.
    tile : int
        Rows and columns of tiles; 0 takes fields whole.
    block : int
        Gaps at a time.
    regularise : bool
        As for `prepare`.
    resume : bool
        Go on where a killed run stopped.
    device : str
        Of the network: cpu, cuda, ...
    scheduler : str, optional
        Address of a dask.distributed scheduler, which reads.
    """

    source: str = positional()
    out: Path = positional()
    model: str = ""
    method: str = "linear"
    factor: int = 0
    variables: tuple[str, ...] = ()
    period: tuple[str, str] | None = None
    meaning: Meaning = "auto"
    stamp: Stamp = "middle"
    non_negative: tuple[str, ...] = ()
    tile: int = 0
    block: int = 8
    regularise: bool = False
    resume: bool = False
    device: str = "cpu"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        check_choice("meaning", self.meaning, MEANINGS)
        check_choice("stamp", self.stamp, STAMPS)
        check_choice("method", self.method, METHODS)
        check_positive(block=self.block)
        if self.factor == 1 or self.factor < 0:
            raise ConfigError(
                f"factor must be at least 2, got {self.factor}", hint="--factor 3 turns 3-hourly into hourly"
            )
        if self.tile < 0:
            raise ConfigError(f"tile must not be below 0, got {self.tile}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Withhold frames that are there, and see how well they are made.

    Parameters
    ----------
    source : str
        Fields at the fine step.
    out : Path
        The run directory for evaluation.json, figures and report.html.
    model : str
        A pretrained folder or hub id.
    period : (str, str), optional
        Test period; it should not have trained.
    methods : tuple of str
        Baselines.
    others : tuple of str
        Further sources as name=path: other domains.
    models : tuple of str
        Further networks as name=path, each by the domain that it was trained in: with them the report has a
        table across domains, of every network in every source.
    variables : tuple of str
        Of the sources, all by default; they must be the model's.
    factor : int
        Fine steps to a kept one; 0 takes the model's own.
    block : int
        Gaps at a time.
    kind : {"real", "simulated"}
        What the report is to say of the data.
    seed : int
        Of the bootstrap.
    device : str
    """

    source: str = positional()
    out: Path = Path("runs/geostint/evaluate")
    model: str = "runs/geostint/train/pretrained"
    period: tuple[str, str] | None = None
    methods: tuple[str, ...] = METHODS
    others: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    factor: int = 0
    block: int = 32
    kind: Literal["real", "simulated"] = "real"
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for method in self.methods:
            check_choice("methods", method, METHODS)
        check_choice("kind", self.kind, ("real", "simulated"))
        check_positive(block=self.block)


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """The demo's simulated sequence.

    Parameters
    ----------
    days : int
        Length.
    step_hours : int
        Of the fine sequence.
    factor : int
        Fine steps to a kept one.
    test_days : int
        At the end of the sequence.
    storminess : float
        Temperature contrast that drives the weather, in units of the simulator's own.
    seed : int
        The weather.
    """

    days: int = 100
    step_hours: int = 6
    factor: int = 3
    test_days: int = 30
    storminess: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(days=self.days, test_days=self.test_days, storminess=self.storminess)
        check_choice("step_hours", self.step_hours, (3, 6, 12, 24))
        if self.factor < 2 or self.test_days >= self.days:
            raise ConfigError("factor must be at least 2, and test_days fewer than days")


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """The main job on sequences whose withheld frames are known."""

    out: Path = Path("runs/demo/geostint")
