"""Which storms train, which validate, which test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from cyclone_fusion.config import SplitConfig
from isopleth.errors import DataError

_SIDES = ("train", "validate", "test")


@dataclass(frozen=True)
class Split:
    """Samples of whole storms: to fit on, to choose by, to judge on."""

    train: xr.Dataset
    validate: xr.Dataset
    test: xr.Dataset


def split_samples(samples: xr.Dataset, config: SplitConfig) -> Split:
    """Divide samples by season or by storm, whole storms on one side.

    Raises
    ------
    isopleth.errors.DataError
        If a side is empty, or a storm would fall on two sides.
    """
    storms = samples["track_id"].values
    side = _by_season(samples, config) if config.by == "season" else _by_storm(storms, config)
    _check_whole_storms(storms, side)
    parts = [samples.isel(sample=np.flatnonzero(side == number)) for number in range(3)]
    for name, part in zip(_SIDES, parts, strict=True):
        if part.sizes["sample"] == 0:
            season = samples["season"].values
            raise DataError(
                f"the {name} {config.by}s must hold samples, got none",
                where=f"seasons {season.min()}-{season.max()}, {len(np.unique(storms))} storms",
                hint="set --split.train_until and --split.validate_until"
                if config.by == "season"
                else "set --split.validate and --split.test",
            )
    return Split(*parts)


def _by_season(samples: xr.Dataset, config: SplitConfig) -> np.ndarray:
    return np.digitize(samples["season"].values, [config.train_until, config.validate_until], right=True)


def _by_storm(storms: np.ndarray, config: SplitConfig) -> np.ndarray:
    names, number = np.unique(storms, return_inverse=True)
    place = np.random.default_rng(config.seed).permutation(len(names))
    tested, validated = round(config.test * len(names)), round(config.validate * len(names))
    trained = len(names) - tested - validated
    return np.digitize(place, [trained, trained + validated])[number]


def _check_whole_storms(storms: np.ndarray, side: np.ndarray) -> None:
    names, number = np.unique(storms, return_inverse=True)
    low, high = np.full(len(names), 3), np.full(len(names), -1)
    np.minimum.at(low, number, side)
    np.maximum.at(high, number, side)
    if (low != high).any():
        raise DataError(f"a storm must have one season, got several for {names[np.argmax(low != high)]}")
