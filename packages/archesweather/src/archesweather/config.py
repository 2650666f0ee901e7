"""What can be set, and what it must be. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Literal

from isopleth.config import check_choice, check_fraction, check_positive, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime

SAMPLE = "sample"


@dataclass(frozen=True, kw_only=True)
class FieldsConfig:
    """What a state of the atmosphere is made of; WeatherBench 2's names.

    Parameters
    ----------
    surface : tuple of str
        Single-level variables, in the order of their channels.
    upper : tuple of str
        Variables on pressure levels, in the order of their channels.
    levels : tuple of float
        hPa, from the top down.
    constants : tuple of str
        Maps that do not change, such as the land-sea mask; they join the surface's channels.
    """

    surface: tuple[str, ...] = (
        "10m_u_component_of_wind",
        "10m_v_component_of_wind",
        "2m_temperature",
        "mean_sea_level_pressure",
    )
    upper: tuple[str, ...] = (
        "geopotential",
        "u_component_of_wind",
        "v_component_of_wind",
        "temperature",
        "specific_humidity",
        "vertical_velocity",
    )
    levels: tuple[float, ...] = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
    constants: tuple[str, ...] = ("land_sea_mask", "soil_type", "geopotential_at_surface")

    def __post_init__(self) -> None:
        names = (*self.surface, *self.upper)
        if not names:
            raise ConfigError("surface or upper must name a variable, got none")
        if len(set(names)) != len(names):
            raise ConfigError(f"surface and upper must name each variable once, got {list(names)}")
        if self.upper and not self.levels:
            raise ConfigError("levels must be given where upper is, got none")
        if list(self.levels) != sorted(set(self.levels)):
            raise ConfigError(f"levels must ascend in hPa, each once, got {list(self.levels)}")
        check_positive(**{f"levels[{i}]": level for i, level in enumerate(self.levels)})

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels: surface first, then each upper variable level by level."""
        levels = [f"{name}_{level:g}" for name in self.upper for level in self.levels]
        return (*self.surface, *levels)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The backbone: U-shaped stages of windowed attention over (level, lat, lon) tokens.

    Parameters
    ----------
    dim : int
        Width of the outer stages; the inner ones have twice as much.
    depths : tuple of int
        Blocks of the four stages; (2, 6, 6, 2) is S, twice that M, four times that L.
    heads : tuple of int
        Attention heads of the four stages.
    patch : tuple of int
        Grid cells to a token: (level, lat, lon).
    window : tuple of int
        Tokens to an attention window: (lat, lon).
    vertical : {"columns", "windows", "none"}
        How levels exchange information: attention along whole columns (ArchesWeather), windows that are
        `window_levels` tokens high (as Pangu-Weather's), or not at all.
    window_levels : int
        Height of the windows where `vertical` is "windows".
    column_heads : int
        Heads of the column attention.
    column_mixing : bool
        One linear layer over each whole column before the first stage.
    mlp : {"gated", "plain"}
        Hidden layers of the blocks: GELU-gated of width 8/3 dim, or GELU of width 4 dim.
    target : {"state", "increment"}
        What the head gives: the next state, or what is to be added to the present one.
    condition_dim : int
        Width of the embedding of month and hour.
    drop_path : float
        Largest rate of stochastic depth.
    compat : {"none", "geoarches"}
        "geoarches" computes exactly as the released code does, its quirks included, so that its weights
        give its numbers: no latitude masks, the south pole copied, zeros beyond the dateline, its order of
        levels.
    """

    dim: int = 192
    depths: tuple[int, int, int, int] = (4, 12, 12, 4)
    heads: tuple[int, int, int, int] = (6, 12, 12, 6)
    patch: tuple[int, int, int] = (2, 2, 2)
    window: tuple[int, int] = (6, 10)
    vertical: Literal["columns", "windows", "none"] = "columns"
    window_levels: int = 2
    column_heads: int = 8
    column_mixing: bool = True
    mlp: Literal["gated", "plain"] = "gated"
    target: Literal["state", "increment"] = "state"
    condition_dim: int = 256
    drop_path: float = 0.1
    compat: Literal["none", "geoarches"] = "none"

    def __post_init__(self) -> None:
        check_choice("vertical", self.vertical, ("columns", "windows", "none"))
        check_choice("mlp", self.mlp, ("gated", "plain"))
        check_choice("target", self.target, ("state", "increment"))
        check_choice("compat", self.compat, ("none", "geoarches"))
        sizes = {"dim": self.dim, "condition_dim": self.condition_dim, "column_heads": self.column_heads}
        for name in ("depths", "heads", "patch", "window"):
            sizes |= {f"{name}[{i}]": size for i, size in enumerate(getattr(self, name))}
        check_positive(window_levels=self.window_levels, **sizes)
        check_fraction(drop_path=self.drop_path)
        for stage, (heads, width) in enumerate(zip(self.heads, self.widths, strict=True)):
            if width % heads or (self.vertical == "columns" and width % self.column_heads):
                raise ConfigError(
                    f"the width of stage {stage + 1} must divide by its heads, got {width} wide, "
                    f"{heads} heads and {self.column_heads} column heads"
                )

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Width of each stage; the last takes the first stage's output beside its own."""
        return (self.dim, 2 * self.dim, 2 * self.dim, 2 * self.dim)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that a trained model must remember but its weights and statistics.

    Parameters
    ----------
    fields : FieldsConfig
        Its channels.
    network : NetworkConfig
        Its shape.
    lat, lon : tuple of float
        Its grid, degrees, ascending.
    lead_hours : int
        Its step: the state one lead ahead from the present state and the one a lead ago.
    """

    fields: FieldsConfig
    network: NetworkConfig
    lat: tuple[float, ...]
    lon: tuple[float, ...]
    lead_hours: int = 24

    def __post_init__(self) -> None:
        check_positive(lead_hours=self.lead_hours)
        for name in ("lat", "lon"):
            values = getattr(self, name)
            if len(values) < 2 or list(values) != sorted(set(values)):
                raise ConfigError(f"{name} must be at least two ascending degrees, got {list(values)[:4]}...")


# What the core's simulated atmosphere has.
SAMPLE_FIELDS = FieldsConfig(
    surface=(),
    upper=("geopotential", "u_component_of_wind", "v_component_of_wind", "temperature"),
    levels=(200, 500, 800),
    constants=("geopotential_at_surface",),
)


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How much of the simulated atmosphere the source `sample` is.

    Parameters
    ----------
    start, end : str
        First and last day. By default the last eleven of the years that `SplitConfig` divides.
    step_hours : int
        From one state to the next; a divisor of 24 that is a multiple of 3.
    seed : int
        Chooses the weather.
    """

    start: str = "2010-01-01"
    end: str = "2020-12-31"
    step_hours: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ConfigError(f"sample.start must be before sample.end, got {self.start} and {self.end}")
        if self.step_hours < 1 or 24 % self.step_hours or self.step_hours % 3:
            raise ConfigError(f"sample.step_hours must divide 24 and by 3, got {self.step_hours}")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which years train, validate and test; both ends belong to a period, a part of a date means all of it.

    Parameters
    ----------
    train, validate, test : (str, str)
        ISO dates. No window reaches out of its period, so that none shares a state with another's.
    """

    train: tuple[str, str] = ("1979", "2018")
    validate: tuple[str, str] = ("2019", "2019")
    test: tuple[str, str] = ("2020", "2020")

    def __post_init__(self) -> None:
        for name in ("train", "validate", "test"):
            first, last = getattr(self, name)
            if last < first[: len(last)]:
                raise ConfigError(f"split.{name} must end after it begins, got {first} to {last}")
        periods = sorted((getattr(self, name), name) for name in ("train", "validate", "test"))
        for ((_, end), one), ((start, _), other) in pairwise(periods):
            shared = min(len(start), len(end))  # ISO dates sort as text, as far as both are given
            if start[:shared] <= end[:shared]:
                raise ConfigError(f"split.{one} and split.{other} must not overlap, got {end} and {start}")


@dataclass(frozen=True, kw_only=True)
class StatisticsConfig:
    """Statistics from elsewhere, in place of those that `prepare` fits to the training years.

    Parameters
    ----------
    normaliser : Path, optional
        Mean and standard deviation of each channel as a `normaliser.json`, such as a pretrained folder has.
    mean, std : str, optional
        The same as two NetCDF files or zarr stores: variables by their names, over `level` or of no
        dimension, as those published with GraphCast.
    increment_std : str, optional
        Such a file of the standard deviations of the increments over one lead.
    """

    normaliser: Path | None = None
    mean: str | None = None
    std: str | None = None
    increment_std: str | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ConfigError(f"statistics.mean and statistics.std must be given together, got {self}")
        if self.mean is not None and self.normaliser is not None:
            raise ConfigError("statistics must be a normaliser or mean and std, got both")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """From gridded fields to one folder that training, prediction and evaluation read.

    Parameters
    ----------
    source : str
        A WeatherBench 2 zarr (path or URL), NetCDF or GRIB files (a path, folder or glob), or `sample`.
    out : Path
        The folder. A preparation that was interrupted goes on in it.
    fields : FieldsConfig, optional
        What a state is made of; by default the paper's variables (the simulated ones for `sample`).
    constants : str, optional
        Where the constant maps are, if not in the source.
    train : (str, str)
        The training years, to which statistics are fitted.
    period : (str, str), optional
        What to prepare of the source; by default all of it.
    lead_hours : int
        Lead over which increments are measured. Another lead later costs one more pass, no new fields.
    statistics : StatisticsConfig
        Statistics to take instead of fitting them.
    grid : (int, int), optional
        Bring fields by conservative regridding to so many latitudes and longitudes, equally spaced; an odd
        number of latitudes has rows on both poles, as the paper's 121 x 240.
    dtype : {"float32", "float16", "bfloat16"}
        Precision of the fields on disk, as z-scores.
    missing : {"error", "mask"}
        What a missing value is: an error, or a cell that is 0 in inputs and left out of the loss.
    resume : bool
        Go on with what an earlier call began or finished; otherwise make the states anew.
    scheduler : str, optional
        Address of a dask.distributed scheduler to compute on.
    sample : SampleConfig
        How much to simulate for the source `sample`.
    """

    source: str = positional(SAMPLE)
    out: Path = Path("runs/archesweather/data")
    fields: FieldsConfig | None = None
    constants: str | None = None
    train: tuple[str, str] = SplitConfig.train
    period: tuple[str, str] | None = None
    lead_hours: int = 24
    statistics: StatisticsConfig = StatisticsConfig()
    grid: tuple[int, int] | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    missing: Literal["error", "mask"] = "error"
    resume: bool = True
    scheduler: str | None = None
    sample: SampleConfig = SampleConfig()

    def __post_init__(self) -> None:
        check_positive(lead_hours=self.lead_hours)
        check_choice("dtype", self.dtype, ("float32", "float16", "bfloat16"))
        check_choice("missing", self.missing, ("error", "mask"))
        if self.grid is not None and min(self.grid) < 2:
            raise ConfigError(f"grid must be at least two latitudes and longitudes, got {self.grid}")

    @property
    def chosen_fields(self) -> FieldsConfig:
        """The fields asked for, or those that the source is known to have."""
        if self.fields is not None:
            return self.fields
        return SAMPLE_FIELDS if self.source == SAMPLE else FieldsConfig()


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The weights of the squared error.

    Parameters
    ----------
    weights : dict
        Weight of a variable, by name; others have that of GraphCast: 0.1 for 10 m winds, mean sea-level
        pressure and precipitation, 1 for all else.
    pressure_weighted : bool
        Weight levels by their pressure over the mean pressure of all.
    increment_scaled : bool
        Measure errors in standard deviations of the increment over one lead, not of the field.
    pool_levels : bool
        One such standard deviation for all levels of a variable, as published.
    """

    weights: dict[str, float] = field(default_factory=dict)
    pressure_weighted: bool = True
    increment_scaled: bool = True
    pool_levels: bool = True

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not (isfinite(weight) and weight >= 0):
                raise ConfigError(f"loss.weights.{name} must be at least 0, got {weight!r}")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """The schedule of a training.

    Parameters
    ----------
    max_steps : int
        Optimiser steps; the learning rate falls to 0 with the last.
    warmup_steps : int
        Steps over which it rises.
    batch_size : int
        Samples to a step on one device.
    accumulate : int
        Batches to a step.
    learning_rate, weight_decay, betas : float, float, (float, float)
        Of AdamW; the decay is that of weights, not of biases, norms, bias tables and embeddings.
    gradient_clip : float
        Largest 2-norm of the gradient.
    rollout_steps : int
        Leads forecast in a row, each from the last; more than one is the multi-step fine-tuning.
    discount : float
        The error of lead i = 1, 2, ... has the weight 1/i^discount, over the sum of these.
    checkpoint_rollout : bool
        Compute each lead's activations anew in the backward pass of a rollout: a lead's memory for all.
    recent_from : str, optional
        Recent-past fine-tuning: a date; after `recent_after_steps` only later training samples are drawn.
    recent_after_steps : int, optional
        Step at which it begins.
    validate_every : int, optional
        Batches from one validation to the next; by default about one a pass, the last at the end.
    checkpoint_every : int
        Steps between checkpoints: what a kill can cost.
    log_every : int
        Steps between rows of metrics.csv.
    """

    max_steps: int = 300_000
    warmup_steps: int = 5_000
    batch_size: int = 4
    accumulate: int = 1
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    gradient_clip: float = 1.0
    rollout_steps: int = 1
    discount: float = 2.0
    checkpoint_rollout: bool = True
    recent_from: str | None = None
    recent_after_steps: int | None = None
    validate_every: int | None = None
    checkpoint_every: int = 1_000
    log_every: int = 50

    def __post_init__(self) -> None:
        positive = (
            "max_steps",
            "batch_size",
            "accumulate",
            "learning_rate",
            "gradient_clip",
            "rollout_steps",
        )
        rhythm = ("validate_every", "checkpoint_every", "log_every", "recent_after_steps")
        check_positive(**{f"fit.{name}": getattr(self, name) for name in (*positive, *rhythm)})
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ConfigError(
                f"fit.warmup_steps must be from 0 to max_steps - 1, "
                f"got {self.warmup_steps} of {self.max_steps}"
            )
        if (self.recent_from is None) != (self.recent_after_steps is None):
            raise ConfigError(
                "fit.recent_from and fit.recent_after_steps must be given together, "
                f"got {self.recent_from} and {self.recent_after_steps}"
            )
        if self.discount < 0 or self.weight_decay < 0:
            raise ConfigError(
                f"fit.discount and fit.weight_decay must be at least 0, got {self.discount} "
                f"and {self.weight_decay}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From a prepared folder to a trained model, or several.

    Parameters
    ----------
    data : Path
        What `archesweather prepare` wrote.
    out : Path
        The run directory; the model goes to its folder `pretrained`.
    resume : bool
        Go on with the run in this directory.
    init : str, optional
        A pretrained folder or hub id to start from; its network is taken over.
    members : int
        Models to train that differ by their seed, one after another, each in its own folder of the run.
    fields : FieldsConfig, optional
        What a state is made of, among what was prepared; by default all of it.
    lead_hours : int
        One step of the model.
    network, loss, fit, split, runtime
        The model, what it is asked for, its schedule, the years, the machine.
    memory : str, optional
        Load the states into memory if they need no more than this, such as `64 GB` (by default half of what
        is free); else each worker reads them from disk.
    """

    data: Path = positional(Path("runs/archesweather/data"))
    out: Path = Path("runs/archesweather/train")
    resume: bool = False
    init: str | None = None
    members: int = 1
    fields: FieldsConfig | None = None
    lead_hours: int = 24
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    fit: FitConfig = FitConfig()
    split: SplitConfig = SplitConfig()
    runtime: Runtime = Runtime()
    memory: str | None = None

    def __post_init__(self) -> None:
        check_positive(members=self.members, lead_hours=self.lead_hours)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The run directory of each member."""
        if self.members == 1:
            return (self.out,)
        return tuple(self.out / f"member-{number}" for number in range(self.members))


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """From states of the atmosphere to forecasts.

    Parameters
    ----------
    source : str
        What to start from: what `archesweather prepare` wrote, or files or a store of fields in any layout.
    model : str or tuple of str
        A pretrained folder or hub id, or several: an ensemble.
    out : Path
        The forecasts, a zarr store in WeatherBench 2's layout.
    start : str or tuple of str
        Initial times (ISO dates), or `latest`, the last time whose state one lead earlier is there too.
    period : (str, str), optional
        Start from every time in a period instead, as far as it is a multiple of `every_hours` from midnight.
    every_hours : int
        Hours from one initial time of `period` to the next; 12 is 00 and 12 UTC.
    lead_hours : int
        Length of a forecast; a multiple of the model's step.
    average : {"step", "trajectory", "none"}
        How several models make one forecast: each step's outputs are averaged and fed back, each model is
        rolled out alone and the trajectories are averaged, or all are kept along `number`.
    members : int
        Samples of each initial time, where the model is probabilistic.
    variables : tuple of str
        What to write; all of the model's variables by default.
    batch_size : int
        States that pass the network together: initial times, and members where there is room.
    resume : bool
        Go on with the store that an interrupted run began.
    runtime : Runtime
        Device, precision and seed.
    """

    source: str = positional("runs/archesweather/data")
    model: str | tuple[str, ...] = "runs/archesweather/train/pretrained"
    out: Path = Path("runs/archesweather/forecast.zarr")
    start: str | tuple[str, ...] = "latest"
    period: tuple[str, str] | None = None
    every_hours: int = 12
    lead_hours: int = 240
    average: Literal["step", "trajectory", "none"] = "step"
    members: int = 1
    variables: tuple[str, ...] = ()
    batch_size: int = 4
    resume: bool = False
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        check_choice("average", self.average, ("step", "trajectory", "none"))
        check_positive(
            every_hours=self.every_hours,
            lead_hours=self.lead_hours,
            members=self.members,
            batch_size=self.batch_size,
        )
        if self.period is not None and self.start != "latest":
            raise ConfigError(f"start must be left out where period is given, got {self.start}")

    @property
    def models(self) -> tuple[str, ...]:
        """The pretrained folders."""
        return _several(self.model)

    @property
    def starts(self) -> tuple[str, ...]:
        """The initial times, empty for the latest."""
        return () if self.start == "latest" else _several(self.start)


@dataclass(frozen=True, kw_only=True)
class ClimatologyConfig:
    """The normal state of each hour and day of the year, from the training years alone.

    Parameters
    ----------
    window_days : int
        A day's normal is a mean over this many days around it, with weights that fall linearly to the edge;
        odd. 0 is one mean of all days: right for data without seasons.
    source : str, optional
        Take it from a store over (hour, dayofyear) instead, such as WeatherBench 2's; its years are then the
        user's to answer for.
    """

    window_days: int = 61
    source: str | None = None

    def __post_init__(self) -> None:
        if self.window_days < 0 or (self.window_days and self.window_days % 2 == 0):
            raise ConfigError(
                f"climatology.window_days must be odd, or 0 for one mean, got {self.window_days}"
            )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """From forecasts to scores and a report, by WeatherBench 2's protocol.

    Parameters
    ----------
    truth : str
        What `archesweather prepare` wrote, or files or a store of fields: the truth, the initial states, and
        the training years of the climatology.
    model : str or tuple of str
        A pretrained folder or hub id, or several, rolled out over the test period; nothing is written of it.
    forecast : str, optional
        Score this forecast zarr instead of a model.
    against : str or tuple of str
        Other forecasts to compare with, as `name=path`.
    against_truth : str or tuple of str
        The truth of such a forecast, as `name=path`, where it is not `truth`: IFS HRES is scored against its
        own analysis.
    out : Path
        The run directory for evaluation.json, scores.nc, figures and report.html.
    split : SplitConfig
        The test period of initial times; the training years of the climatology.
    every_hours : int
        Hours from one initial time to the next, counted from midnight; 12 is 00 and 12 UTC.
    lead_hours : int
        Longest lead that is scored.
    average, members, batch_size
        As for `archesweather predict`.
    variables : tuple of str
        Channels to score, such as `geopotential_500`; by default WeatherBench 2's headline ones that are
        there, else all.
    climatology : ClimatologyConfig
        The baseline, and what anomalies are taken from.
    relative_to : str, optional
        What the scorecard compares with, such as `hres`; by default the best baseline of each cell.
    draws : int
        Draws of the bootstrap.
    runtime : Runtime
        Device, precision and seed.
    """

    truth: str = positional("runs/archesweather/data")
    model: str | tuple[str, ...] = "runs/archesweather/train/pretrained"
    forecast: str | None = None
    against: str | tuple[str, ...] = ()
    against_truth: str | tuple[str, ...] = ()
    out: Path = Path("runs/archesweather/evaluate")
    split: SplitConfig = SplitConfig()
    every_hours: int = 12
    lead_hours: int = 240
    average: Literal["step", "trajectory", "none"] = "step"
    members: int = 1
    variables: tuple[str, ...] = ()
    batch_size: int = 8
    climatology: ClimatologyConfig = ClimatologyConfig()
    relative_to: str | None = None
    draws: int = 1000
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        check_choice("average", self.average, ("step", "trajectory", "none"))
        check_positive(
            every_hours=self.every_hours,
            lead_hours=self.lead_hours,
            members=self.members,
            batch_size=self.batch_size,
            draws=self.draws,
        )
        reserved = {"model", "persistence", "climatology"} & set(self.rivals)
        if reserved:
            raise ConfigError(f"against must not be named {', '.join(sorted(reserved))}")
        unknown = set(self.rival_truths) - set(self.rivals)
        if unknown:
            raise ConfigError(
                f"against_truth must name forecasts of against, got {', '.join(sorted(unknown))}"
            )
        if self.relative_to not in (None, "persistence", "climatology", *self.rivals):
            raise ConfigError(
                f"relative_to must be a baseline or a name in against, got {self.relative_to!r}"
            )

    @property
    def models(self) -> tuple[str, ...]:
        """The pretrained folders."""
        return _several(self.model)

    @property
    def rivals(self) -> dict[str, str]:
        """Path of each other forecast, by name."""
        return _named_paths("against", self.against)

    @property
    def rival_truths(self) -> dict[str, str]:
        """Path of the truth of each other forecast that has its own, by name."""
        return _named_paths("against_truth", self.against_truth)


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The main job on a simulated atmosphere, from weather to report.

    Parameters
    ----------
    out : Path
        The run directory.
    full : bool
        Decide the claims with five seeds and longer trainings, instead of taking a first look.
    seed : int
        First seed.
    """

    out: Path = Path("runs/demo/archesweather")
    full: bool = False
    seed: int = 0


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _named_paths(option: str, values: str | tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in _several(values)]
    for name, _, path in pairs:
        if not (name and path):
            raise ConfigError(f"{option} must be name=path, got {name!r}")
    return {name: path for name, _, path in pairs}


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How a probabilistic model draws a state: from noise, along the flow.

    Parameters
    ----------
    steps : int
        Steps from noise to data.
    solver : {"euler", "heun"}
        One network evaluation a step, or two (but for the last) with an error that falls with the square of
        the number of steps.
    noise_scale : float
        Standard deviation of the noise to start from. Euler's steps lose spread, of unit Gaussian data the
        share (1 + pi / 2) / (2 steps): 5 % at 25, which 1.05 gives back. Heun's 12 steps lose 0.4 %.
    last_time : float, optional
        Last flow time at which the network is asked, published as 0.001; by default 1 / `steps`, which makes
        all steps equal. Heun's correction divides the network's error by it.
    """

    steps: int = 25
    solver: Literal["euler", "heun"] = "euler"
    noise_scale: float = 1.05
    last_time: float | None = None

    def __post_init__(self) -> None:
        check_choice("sampling.solver", self.solver, ("euler", "heun"))
        check_positive(
            **{f"sampling.{name}": getattr(self, name) for name in ("steps", "noise_scale", "last_time")}
        )
        least = 0.5 / self.steps if self.solver == "heun" else 0.0
        if self.last_time is not None and not least <= self.last_time < 1:
            raise ConfigError(
                f"sampling.last_time must be from {least:g} to below 1 for {self.steps} steps of "
                f"{self.solver}, got {self.last_time!r}"
            )


@dataclass(frozen=True, kw_only=True)
class GenerativeConfig(ModelConfig):
    """All that a trained probabilistic model must remember but its weights and statistics.

    `network` is the one that learns the residual.

    Parameters
    ----------
    deterministic : tuple of NetworkConfig
        The models whose mean the residual is taken from; of the same fields, grid and lead.
    prediction : {"data", "blend"}
        Whether the network gives the residual itself, as published, or what the best linear prediction from
        the noisy residual lacks; see `archesweather.flow.blend_weights`.
    sampling : SamplingConfig
        How it draws unless told otherwise.
    """

    deterministic: tuple[NetworkConfig, ...]
    prediction: Literal["data", "blend"] = "data"
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("prediction", self.prediction, ("data", "blend"))
        if not self.deterministic:
            raise ConfigError("deterministic must have at least one model, got none")
        if self.network.target != "state":
            raise ConfigError(
                f"network.target must be 'state' for a network of residuals, got {self.network.target!r}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainGenerativeConfig:
    """From trained models and a prepared folder to a probabilistic model.

    Parameters
    ----------
    data : Path
        What `archesweather prepare` wrote.
    deterministic : str or tuple of str
        Pretrained folders or hub ids; the mean of their outputs is what the residual is taken from.
    out : Path
        The run directory; the model goes to its folder `pretrained`, the deterministic ones inside it.
    resume : bool
        Go on with the run in this directory.
    init : str, optional
        A pretrained probabilistic model to start from. All of it is taken over, its deterministic models
        and its residual's scale included: fine-tuning on later years is such a run, with `split.train` and
        `fit` of its own.
    network : NetworkConfig
        The network of the residual; by default S.
    prediction : {"data", "blend"}
        What the network gives; see `GenerativeConfig`.
    sampling : SamplingConfig
        How the model will draw.
    scale_period : (str, str), optional
        Where the residual's scale is measured; by default the training years. Years that the deterministic
        models have not seen show how large it is.
    scale_samples : int
        On how many times of these years, evenly spread.
    stretch : dict
        Factors of the residual's scale, by variable. The published model has 3 for the vertical velocity,
        whose residual then counts less.
    loss, fit, split, runtime
        The weights of the loss, which is in units of the residual's scale; its schedule, years and machine.
    memory : str, optional
        As for `archesweather train`.
    """

    data: Path = positional(Path("runs/archesweather/data"))
    deterministic: str | tuple[str, ...] = "runs/archesweather/train/pretrained"
    out: Path = Path("runs/archesweather/train-generative")
    resume: bool = False
    init: str | None = None
    network: NetworkConfig = NetworkConfig(depths=(2, 6, 6, 2))
    prediction: Literal["data", "blend"] = "data"
    sampling: SamplingConfig = SamplingConfig()
    scale_period: tuple[str, str] | None = None
    scale_samples: int = 1000
    stretch: dict[str, float] = field(default_factory=dict)
    loss: LossConfig = LossConfig(increment_scaled=False)
    fit: FitConfig = FitConfig(max_steps=200_000, weight_decay=0.01)
    split: SplitConfig = SplitConfig()
    runtime: Runtime = Runtime()
    memory: str | None = None

    def __post_init__(self) -> None:
        check_choice("prediction", self.prediction, ("data", "blend"))
        check_positive(scale_samples=self.scale_samples)
        check_positive(**{f"stretch.{name}": factor for name, factor in self.stretch.items()})
        if self.fit.rollout_steps != 1:
            raise ConfigError(
                f"fit.rollout_steps must be 1 for a probabilistic model, got {self.fit.rollout_steps}"
            )
        if not self.models:
            raise ConfigError("deterministic must have at least one model, got none")

    @property
    def models(self) -> tuple[str, ...]:
        """The deterministic models."""
        return _several(self.deterministic)

    @property
    def measured(self) -> tuple[str, str]:
        """Where the residual's scale is measured."""
        return self.scale_period or self.split.train


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """From a checkpoint released with geoarches to a pretrained folder.

    Parameters
    ----------
    checkpoint : Path
        Lightning's ``.ckpt``, a state dict (``.pt``) or safetensors. Only tensors are read, nothing is run.
    statistics : Path
        Mean and standard deviation of each channel: the authors' ``pangu_norm_stats2_with_w.pt``, or a
        `normaliser.json` such as a prepared folder has. The checkpoint itself has none.
    constants : Path
        The authors' ``archesweather_constant_masks.pt``: z-scored static maps, in the order of
        `fields.constants`. The checkpoint has none either.
    out : Path
        The pretrained folder.
    target : {"state", "increment"}, optional
        What the head gives; the "skip" models give the increment. By default what the ``config.yaml`` beside
        the checkpoint, or a folder above, says.
    fields : FieldsConfig
        Its variables and levels.
    window : (int, int)
        Tokens of its attention windows in (lat, lon).
    drop_path : float
        Largest rate of stochastic depth, where it is to be trained on: 0.2, 0.1 and 0.05 for S, M and L.
    """

    checkpoint: Path = positional()
    statistics: Path = positional()
    constants: Path = positional()
    out: Path = Path("runs/archesweather/converted")
    target: Literal["state", "increment"] | None = None
    fields: FieldsConfig = FieldsConfig()
    window: tuple[int, int] = (6, 10)
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        check_choice("target", self.target, (None, "state", "increment"))
        check_fraction(drop_path=self.drop_path)
        check_positive(**{f"window[{i}]": size for i, size in enumerate(self.window)})
