"""What forecasts are made of, and how they are scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archesweather.config.data import SplitConfig
from archesweather.config.network import SamplingConfig
from isopleth.config import as_tuple, check_choice, check_positive, named_paths, positional
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime


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
    sampling : SamplingConfig, optional
        How a probabilistic model draws them; by default as it was trained to.
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
    sampling: SamplingConfig | None = None
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
        return as_tuple(self.model)

    @property
    def starts(self) -> tuple[str, ...]:
        """The initial times, empty for the latest."""
        return () if self.start == "latest" else as_tuple(self.start)


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
    average, members, sampling, batch_size
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
    sampling: SamplingConfig | None = None
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
        return as_tuple(self.model)

    @property
    def rivals(self) -> dict[str, str]:
        """Path of each other forecast, by name."""
        return named_paths("against", self.against)

    @property
    def rival_truths(self) -> dict[str, str]:
        """Path of the truth of each other forecast that has its own, by name."""
        return named_paths("against_truth", self.against_truth)
