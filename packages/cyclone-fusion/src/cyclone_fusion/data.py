"""From tracks to storm-following samples: what is known at a fix, and where the storm was one lead later."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from cyclone_fusion.config import SampleConfig
from cyclone_fusion.config.data import STEP_HOURS
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
_PEAK_DAY = {"north": 253, "south": 253 - 183}
_SEASON_WIDTH_DAYS = 25.0


def build_samples(tracks: xr.Dataset, config: SampleConfig, *, with_target: bool = True) -> xr.Dataset:
    """Cut a sample at every fix whose past twelve hours (and a future lead) the track holds.

    Parameters
    ----------
    tracks : xarray.Dataset
        As `cyclone_fusion.tracks.read_tracks` gives it.
    config : SampleConfig
        Leads and frame.
    with_target : bool
        Keep only fixes with a known position at one of the leads; without it, every fix that can be
        forecast.

    Returns
    -------
    xarray.Dataset
        Along ``sample``, by storm and time: ``features`` (sample, feature), of which NaN is an unknown;
        ``lat``, ``lon``, ``time``, ``track_id``, ``basin``, ``season`` of the fix, and ``past_lat``,
        ``past_lon`` (sample, step) of the fixes 6 and 12 h before; with a target also ``target_lat`` and
        ``target_lon`` (sample, lead), and ``target`` (sample, lead, direction), the displacement in the
        sample's frame, NaN where the track ends before. The attribute ``left_out`` (JSON) counts the fixes
        without a sample, by reason, and ``left_out_storms`` names the storms without any.

    Raises
    ------
    isopleth.errors.DataError
        If no fix has the history that a sample needs; names a storm.
    """
    back_6, has_6 = _find_fix(tracks, -STEP_HOURS)
    back_12, has_12 = _find_fix(tracks, -2 * STEP_HOURS)
    ahead = [_find_fix(tracks, lead) for lead in config.lead_hours]
    has_lead = np.any([has for _, has in ahead], axis=0)
    usable = has_6 & has_12 & (has_lead if with_target else True)
    first = config.lead_hours[0]
    left_out = {
        "no fix 6 h and 12 h before": int((~(has_6 & has_12)).sum()),
        f"no fix {first} h after": int((~usable & has_6 & has_12).sum()),
    }
    if not usable.any():
        ahead_text = f" and {first} h after" if with_target else ""
        raise DataError(
            f"tracks must hold fixes 12 h and 6 h before{ahead_text}, got none of {tracks.sizes['record']} "
            f"(the first of storm {tracks['track_id'].values[0]})",
            hint="six-hourly tracks of at least 12 h are needed",
        )
    now = np.flatnonzero(usable)
    samples = _describe_fix(tracks, now, back_6[now], back_12[now], config)
    if with_target:
        samples = samples.merge(_describe_target(tracks, now, ahead, config))
    storms = tracks["track_id"].values
    without = sorted(set(storms.tolist()) - set(storms[now].tolist()))
    return samples.assign_attrs(
        left_out=json.dumps(left_out), left_out_storms=json.dumps(without), frame=config.frame
    )


def list_left_out(tracks: xr.Dataset, samples: xr.Dataset) -> dict[str, Any]:
    """List what was left out on the way from a track file to samples: counts by reason, and whole storms."""
    too_short = dict.fromkeys(json.loads(samples.attrs["left_out_storms"]), "too short for a sample")
    return {
        "fixes_left_out": json.loads(tracks.attrs["left_out"]),
        "samples_left_out": json.loads(samples.attrs["left_out"]),
        "storms_left_out": json.loads(tracks.attrs["left_out_storms"]) | too_short,
    }


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
    coordinates = {
        str(name): ("sample", tracks[name].values[now]) for name in tracks.data_vars if name != "wind"
    }
    past = np.column_stack([back_6, back_12])
    return xr.Dataset(
        {
            "features": (("sample", "feature"), features.astype(np.float32)),
            "past_lat": (("sample", "step"), lat[past]),
            "past_lon": (("sample", "step"), lon[past]),
        },
        coords={
            **coordinates,
            "feature": list(FEATURES),
            "lead": ("lead", list(config.lead_hours), {"units": "hours"}),
        },
    )


def _describe_target(
    tracks: xr.Dataset,
    now: np.ndarray,
    ahead: list[tuple[np.ndarray, np.ndarray]],
    config: SampleConfig,
) -> xr.Dataset:
    lat, lon = tracks["lat"].values, tracks["lon"].values
    known = np.column_stack([has[now] for _, has in ahead])
    then = np.column_stack([found[now] for found, _ in ahead])
    target_lat, target_lon = (np.where(known, axis[then], np.nan) for axis in (lat, lon))
    moved = displacement(lat[now, None], lon[now, None], target_lat, target_lon, config.frame)
    return xr.Dataset(
        {
            "target": (("sample", "lead", "direction"), moved.astype(np.float32)),
            "target_lat": (("sample", "lead"), target_lat),
            "target_lon": (("sample", "lead"), target_lon),
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
