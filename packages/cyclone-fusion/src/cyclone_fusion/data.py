"""From tracks to storm-following samples: what is known at a fix, and where the storm was one lead later."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import xarray as xr

from cyclone_fusion.config import SampleConfig, SplitConfig
from cyclone_fusion.frame import displacement
from isopleth.errors import DataError
from isopleth.fields.land import distance_to_land_km

# The nine predictors of the published track stream, in order; displacements in the sample's frame.
FEATURES = (
    "east_last_6h",
    "north_last_6h",
    "east_6h_before",
    "north_6h_before",
    "wind",
    "season_peak",
    "lon",
    "lat",
    "distance_to_land",
)
STEP_HOURS = 6
_PEAK_DAY = {"north": 253, "south": 253 - 183}
_SEASON_WIDTH_DAYS = 25.0


def build_samples(tracks: xr.Dataset, config: SampleConfig, *, with_target: bool = True) -> xr.Dataset:
    """Cut a sample at every fix whose past twelve hours (and future lead) the track holds.

    Parameters
    ----------
    tracks : xarray.Dataset
        As `cyclone_fusion.tracks.read_tracks` gives it.
    config : SampleConfig
        Lead and frame.
    with_target : bool
        Keep only fixes with a known position one lead later; without it, every fix that can be forecast.

    Returns
    -------
    xarray.Dataset
        Along ``sample``: ``features`` (sample, feature), of which NaN is an unknown; ``lat``, ``lon``,
        ``time``, ``track_id``, ``basin``, ``season`` of the fix; with a target also ``target_lat``,
        ``target_lon`` and ``target`` (sample, direction), the displacement in the sample's frame. The
        attribute ``left_out`` (JSON) counts the fixes without a sample, by reason.

    Raises
    ------
    isopleth.errors.DataError
        If no fix has the history that a sample needs.
    """
    back_6, has_6 = _find_fix(tracks, -STEP_HOURS)
    back_12, has_12 = _find_fix(tracks, -2 * STEP_HOURS)
    ahead, has_lead = _find_fix(tracks, config.lead_hours)
    usable = has_6 & has_12 & (has_lead if with_target else True)
    left_out = {
        "no fix 6 h and 12 h before": int((~(has_6 & has_12)).sum()),
        f"no fix {config.lead_hours} h after": int((~usable & has_6 & has_12).sum()),
    }
    if not usable.any():
        ahead_text = f" and {config.lead_hours} h after" if with_target else ""
        raise DataError(
            f"tracks must hold fixes 12 h and 6 h before{ahead_text}, got none of {tracks.sizes['record']}",
            hint="six-hourly tracks of at least 12 h are needed",
        )
    now = np.flatnonzero(usable)
    samples = _describe_fix(tracks, now, back_6[now], back_12[now], config)
    if with_target:
        samples = samples.merge(_describe_target(tracks, now, ahead[now], config))
    return samples.assign_attrs(
        left_out=json.dumps(left_out), lead_hours=config.lead_hours, frame=config.frame
    )


def _find_fix(tracks: xr.Dataset, hours: int) -> tuple[np.ndarray, np.ndarray]:
    """Find, for each fix, the same storm's fix so many hours later: its record, and whether it exists."""
    _, storm = np.unique(tracks["track_id"].values, return_inverse=True)
    hour = tracks["time"].values.astype("datetime64[h]").astype(np.int64)
    # Sorted by storm and time, so is the key; storms are further apart than any lead.
    span = int(hour.max() - hour.min()) + 10_000
    key = storm.astype(np.int64) * 2 * span + (hour - hour.min())
    found = np.minimum(np.searchsorted(key, key + hours), len(key) - 1)
    return found, key[found] == key + hours


def _describe_fix(
    tracks: xr.Dataset, now: np.ndarray, back_6: np.ndarray, back_12: np.ndarray, config: SampleConfig
) -> xr.Dataset:
    lat, lon = tracks["lat"].values, tracks["lon"].values
    # Backwards from each fix, so that both displacements stand in the frame of the fix they lead to.
    last = -displacement(lat[now], lon[now], lat[back_6], lon[back_6], config.frame)
    before = -displacement(lat[back_6], lon[back_6], lat[back_12], lon[back_12], config.frame)
    features = np.column_stack(
        [
            last,
            before,
            tracks["wind"].values[now],
            season_peak(tracks["time"].values[now], lat[now]),
            lon[now],
            lat[now],
            distance_to_land_km(lat[now], lon[now]),
        ]
    )
    coordinates = {name: ("sample", tracks[name].values[now]) for name in tracks.data_vars if name != "wind"}
    return xr.Dataset(
        {"features": (("sample", "feature"), features.astype(np.float32))},
        coords={**coordinates, "feature": list(FEATURES)},
    )


def _describe_target(
    tracks: xr.Dataset, now: np.ndarray, ahead: np.ndarray, config: SampleConfig
) -> xr.Dataset:
    lat, lon = tracks["lat"].values, tracks["lon"].values
    moved = displacement(lat[now], lon[now], lat[ahead], lon[ahead], config.frame)
    return xr.Dataset(
        {
            "target": (("sample", "direction"), moved.astype(np.float32)),
            "target_lat": ("sample", lat[ahead]),
            "target_lon": ("sample", lon[ahead]),
        },
        coords={"direction": ["east", "north"]},
    )


def season_peak(time: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Give the closeness to the season's peak, 10 September (11 March in the south), as a Gaussian of days.

    The day predictor of statistical intensity schemes, 25 days wide; 1 at the peak, 0 half a year off.
    """
    first = time.astype("datetime64[Y]")
    day = (time.astype("datetime64[D]") - first).astype(np.int64) + 1
    peak = np.where(lat >= 0, _PEAK_DAY["north"], _PEAK_DAY["south"])
    away = (day - peak + 183) % 366 - 183
    return np.exp(-((away / _SEASON_WIDTH_DAYS) ** 2))


@dataclass(frozen=True)
class Split:
    """Samples of whole seasons: to fit on, to choose by, to judge on."""

    train: xr.Dataset
    validate: xr.Dataset
    test: xr.Dataset


def split_by_season(samples: xr.Dataset, config: SplitConfig) -> Split:
    """Divide samples by season, whole storms on one side.

    Raises
    ------
    isopleth.errors.DataError
        If a side is empty, or a storm would fall on two sides.
    """
    season = samples["season"].values
    side = np.digitize(season, [config.train_until, config.validate_until], right=True)
    _check_whole_storms(samples["track_id"].values, side)
    parts = [samples.isel(sample=np.flatnonzero(side == number)) for number in range(3)]
    for name, part in zip(("train", "validate", "test"), parts, strict=True):
        if part.sizes["sample"] == 0:
            raise DataError(
                f"the {name} seasons must hold samples, got none",
                where=f"seasons {season.min()}-{season.max()}",
                hint="set --split.train_until and --split.validate_until",
            )
    return Split(*parts)


def _check_whole_storms(storms: np.ndarray, side: np.ndarray) -> None:
    names, number = np.unique(storms, return_inverse=True)
    low, high = np.full(len(names), 3), np.full(len(names), -1)
    np.minimum.at(low, number, side)
    np.maximum.at(high, number, side)
    if (low != high).any():
        raise DataError(f"a storm must have one season, got several for {names[np.argmax(low != high)]}")
