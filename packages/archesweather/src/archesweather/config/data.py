"""What goes in: sources, years and statistics; and the demo, on the simulated source."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from archesweather.config.network import FieldsConfig
from isopleth.config import BaseDemoConfig, check_choice, check_positive, positional
from isopleth.errors import ConfigError

SAMPLE = "sample"


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
class DemoConfig(BaseDemoConfig):
    """The main job on a simulated atmosphere, from weather to report."""

    out: Path = Path("runs/demo/archesweather")
