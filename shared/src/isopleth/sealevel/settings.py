"""What can be set when sea level is prepared. Nothing heavy is imported here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from isopleth.config import check_choice, check_fraction, check_positive, named_paths, positional
from isopleth.errors import ConfigError

ALL_FORCINGS = "all"
FORMATS = ("netcdf", "zarr", "geotiff")


@dataclass(frozen=True, kw_only=True)
class EnsembleSource:
    """Where one ensemble is.

    Parameters
    ----------
    name : str
        What it is called from here on: its label along ``model``.
    source : str, path or Dataset
        A folder, a file, a glob or a URL; from Python also a list of them, or a Dataset.
    forcing : str
        ``"all"``, or the one forcing that acts in it: ``greenhouse_gases``, ``aerosols``,
        ``biomass_burning``.
    product : str, optional
        What it is, one of `isopleth.sealevel.products.PRODUCTS`; recognised by its metadata otherwise.
    member_pattern : str, optional
        A regular expression whose one group finds a member's label in a file's name.
    """

    name: str
    source: Any
    forcing: str = ALL_FORCINGS
    product: str | None = None
    member_pattern: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("an ensemble must have a name, got ''")
        if self.member_pattern is not None:
            check_member_pattern(self.member_pattern)


@dataclass(frozen=True, kw_only=True)
class PreparationSettings:
    """How files become one dataset.

    Parameters
    ----------
    first_year, last_year : int
        Whole years, both included, that every ensemble must have.
    resolution_deg : float
        Of the common grid; it must divide 180.
    frequency : {"year", "month"}
        Means to keep. Means of years are made of twelve months, weighed by their length.
    members : {"mean", "keep"}
        Forced responses (the mean over members), or every member.
    min_valid : float
        Share of a target cell's area that must have values, in (0, 1].
    coast : {"common", "fill"}
        Where some model has land and the altimeter sea: leave the cell out for all, or give that model the
        value of its nearest sea cell. Either is counted.
    fill_km : float
        How far a value may come from.
    global_mean : {"remove", "keep"}
        Of models and altimeter, over the common cells. What is removed is kept beside the fields.
    seasonal_cycle : {"remove", "keep"}
        Mean of each calendar month over the altimeter's years; annual means have none.
    zostoga : {"ignore", "add"}
        Add to a model's ``zos`` the global mean thermosteric change that lies beside it.
    gia : str
        Correction of the altimeter for glacial isostatic adjustment: ``none``, a number that is the same
        everywhere (mm/year, the effect in the record: about -0.3), or the path of a map of it.
    """

    first_year: int = 1993
    last_year: int = 2052
    resolution_deg: float = 2.0
    frequency: Literal["year", "month"] = "year"
    members: Literal["mean", "keep"] = "mean"
    min_valid: float = 0.5
    coast: Literal["common", "fill"] = "common"
    fill_km: float = 500.0
    global_mean: Literal["remove", "keep"] = "remove"
    seasonal_cycle: Literal["remove", "keep"] = "remove"
    zostoga: Literal["ignore", "add"] = "ignore"
    gia: str = "none"

    def __post_init__(self) -> None:
        if self.last_year <= self.first_year:
            raise ConfigError(
                f"last_year must be after first_year, got {self.first_year} to {self.last_year}"
            )
        if not 0.1 <= self.resolution_deg <= 30.0 or abs(180.0 / self.resolution_deg % 1.0) > 1e-9:
            raise ConfigError(f"resolution_deg must divide 180, from 0.1 to 30, got {self.resolution_deg}")
        check_fraction(min_valid=self.min_valid)
        check_positive(min_valid=self.min_valid, fill_km=self.fill_km)
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)


_CHOICES: dict[str, tuple[object, ...]] = {
    "frequency": ("year", "month"),
    "members": ("mean", "keep"),
    "coast": ("common", "fill"),
    "global_mean": ("remove", "keep"),
    "seasonal_cycle": ("remove", "keep"),
    "zostoga": ("ignore", "add"),
}


def check_member_pattern(pattern: str) -> None:
    """Raise `ConfigError` unless a pattern is a regular expression with one group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ConfigError(
            f"member_pattern must be a regular expression, got {pattern!r} ({error})"
        ) from error
    if groups != 1:
        raise ConfigError(f"member_pattern must have one group in brackets, got {groups} in {pattern!r}")


_SETTINGS = PreparationSettings()


@dataclass(frozen=True, kw_only=True)
class PreparationConfig:
    """From folders of model runs and altimetry to one dataset on one grid; a tool adds its own defaults.

    Parameters
    ----------
    folder : str
        A folder with one folder for each ensemble, called by its name, and one called `altimetry`.
    models : tuple of str
        Ensembles as name=path, instead of `folder`; a path is a folder, a file or a glob.
    altimetry : str
        Path of the altimetry, with `models`.
    out : Path
        A zarr store, or a NetCDF file by the ending .nc.
    resume : bool
        Go on where a killed preparation stopped (zarr).
    scheduler : str, optional
        Address of a dask.distributed scheduler.
    settings : PreparationSettings
        Grid, years, members, coasts, corrections.
    """

    folder: str = positional("")
    models: tuple[str, ...] = ()
    altimetry: str = ""
    out: Path = Path("prepared.zarr")
    resume: bool = False
    scheduler: str | None = None
    settings: PreparationSettings = _SETTINGS

    def __post_init__(self) -> None:
        named_paths("models", self.models)
        if bool(self.folder) == bool(self.models):
            given = "both" if self.folder else "neither"
            raise ConfigError(
                f"ensembles must be given as a folder or as models, got {given}",
                hint="FOLDER, or --models '[CESM2=path, ...]' --altimetry path",
            )
        if bool(self.models) != bool(self.altimetry):
            raise ConfigError(f"altimetry must be given with models, got {self.altimetry or 'none'}")


def check_formats(formats: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless there is a format, and each can be written."""
    if not formats:
        raise ConfigError(f"formats must be among {', '.join(FORMATS)}, got none")
    for one in formats:
        check_choice("formats", one, FORMATS)
