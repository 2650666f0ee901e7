"""Scores of track forecasts in km, by lead, basin, intensity and latitude, by whole storms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from cyclone_fusion.data import FEATURES
from cyclone_fusion.frame import arrive, displacement
from isopleth.grid import great_circle_km
from isopleth.report import Claim, Score
from isopleth.verify import Interval, group_bootstrap

Arrays = Mapping[str, np.ndarray]
KM = "km"
VARIABLE = "track_position"
# A group of fewer storms gets no row of its own: its interval would be a guess.
_FEWEST_STORMS = 20
# Tropical storm and hurricane force, m s-1 (34 and 64 kt).
_STORM, _HURRICANE = 17.49, 32.92
# Errors in a simulated atmosphere that samples bring along, by their variable.
_KNOWING = {
    "flow_known_km": "error_of_one_who_knows_the_flow",
    "floor_km": "error_of_one_who_knows_flow_and_past",
}
_BANDS = ((0, 15), (15, 25), (25, 35), (35, 90))


def errors_km(samples: xr.Dataset, moved: np.ndarray) -> np.ndarray:
    """Measure the great-circle error of each forecast displacement.

    Parameters
    ----------
    samples : xarray.Dataset
        With targets.
    moved : array of shape (sample, lead, 2)
        Forecast displacements in the samples' frame.

    Returns
    -------
    array of shape (sample, lead)
        Kilometres; NaN where the track ends before the lead.
    """
    lat, lon = forecast_places(samples, moved)
    return great_circle_km(lat, lon, samples["target_lat"].values, samples["target_lon"].values)


def forecast_places(samples: xr.Dataset, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the latitudes and longitudes that displacements lead to, (sample, lead) each."""
    start = samples["lat"].values[:, None], samples["lon"].values[:, None]
    return arrive(*start, moved.astype(np.float64), samples.attrs["frame"])


def along_and_cross(samples: xr.Dataset, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split errors along and across the storm's way.

    The way is that of the great circle from the fix to the verifying place, as it arrives there.

    Returns
    -------
    along, cross : array of shape (sample, lead)
        Kilometres; along above 0 is too fast, across above 0 is right of the way. NaN where the storm stood
        still or its track ends before.
    """
    lat, lon = forecast_places(samples, moved)
    there = samples["target_lat"].values, samples["target_lon"].values
    start = [np.broadcast_to(samples[name].values[:, None], there[0].shape) for name in ("lat", "lon")]
    way = -displacement(there[0], there[1], start[0], start[1], "tangent")
    error = displacement(there[0], there[1], lat, lon, "tangent")
    length = np.linalg.norm(way, axis=-1)
    heading = way / np.where(length > 0, length, np.nan)[..., None]
    along = (error * heading).sum(axis=-1)
    return along, error[..., 0] * heading[..., 1] - error[..., 1] * heading[..., 0]


def score_errors(
    samples: xr.Dataset, model: np.ndarray, baselines: Arrays, *, seed: int, **stratum: Any
) -> list[Score]:
    """Score mean and median errors of all samples together and in every group, lead after lead.

    Parameters
    ----------
    samples : xarray.Dataset
        The test samples.
    model : array of shape (sample, lead)
        The model's errors, km.
    baselines : mapping of str to array of shape (sample, lead)
        The baselines' errors on the same samples.
    seed : int
        Of the bootstrap over storms.
    **stratum
        What all of them have in common.
    """
    scores = []
    for lead, hours in enumerate(samples["lead"].values.tolist()):
        for group, part in _groups(samples):
            chosen = part & np.isfinite(model[:, lead])
            storms = samples["track_id"].values[chosen]
            count = len(np.unique(storms))
            if count < (2 if not group else _FEWEST_STORMS):
                continue
            own = {name: errors[chosen, lead] for name, errors in baselines.items()}
            where = {**stratum, "lead_hours": hours, **(group or {"basin": "all"})}
            scores.append(_mean_score(model[chosen, lead], own, storms, where, seed))
            scores.append(_median_score(model[chosen, lead], own, count, where))
    return scores


def score_skill(
    samples: xr.Dataset,
    model: np.ndarray,
    reference: np.ndarray,
    name: str,
    *,
    seed: int,
    **stratum: Any,
) -> list[Score]:
    """Score the skill against a baseline, 1 - error / its error, with an interval from whole storms."""
    scores = []
    for lead, hours in enumerate(samples["lead"].values.tolist()):
        known = np.isfinite(model[:, lead])
        storms = samples["track_id"].values[known]
        if len(np.unique(storms)) < 2:
            continue
        interval = group_bootstrap(
            model[known, lead],
            storms,
            against=reference[known, lead],
            seed=seed,
            compare=lambda ours, theirs: 1 - ours / theirs,
        )
        scores.append(
            Score(
                metric=f"skill_against_{name}",
                variable=VARIABLE,
                units="1",
                better="higher",
                stratum={**stratum, "lead_hours": hours, "basin": "all"},
                model=float(interval.value),
                interval=interval.ends,
                n=len(np.unique(storms)),
            )
        )
    return scores


def score_components(
    samples: xr.Dataset, moved: np.ndarray, baselines: Arrays, **stratum: Any
) -> list[Score]:
    """Score the mean absolute error along and across the way; `baselines` are displacements too."""
    scores = []
    parts = {name: along_and_cross(samples, each) for name, each in {"": moved, **baselines}.items()}
    for lead, hours in enumerate(samples["lead"].values.tolist()):
        known = np.isfinite(parts[""][0][:, lead])
        if not known.any():
            continue
        for side, metric in enumerate(("along_track_error", "cross_track_error")):
            mean = {name: float(np.abs(each[side][known, lead]).mean()) for name, each in parts.items()}
            scores.append(
                Score(
                    metric=metric,
                    variable=VARIABLE,
                    units=KM,
                    better="lower",
                    stratum={**stratum, "lead_hours": hours, "basin": "all"},
                    model=mean.pop(""),
                    baselines=mean,
                    n=len(np.unique(samples["track_id"].values[known])),
                )
            )
    return scores


def score_floor(samples: xr.Dataset, **stratum: Any) -> list[Score]:
    """Give the errors that the noise of a simulated atmosphere alone costs, where they are known."""
    return [
        Score(
            metric=metric,
            variable=VARIABLE,
            units=KM,
            better="lower",
            stratum={**stratum, "lead_hours": hours, "basin": "all"},
            model=float(np.nanmean(samples[name].values[:, lead])),
            n=len(np.unique(samples["track_id"].values)),
        )
        for name, metric in _KNOWING.items()
        if name in samples
        for lead, hours in enumerate(samples["lead"].values.tolist())
        if np.isfinite(samples[name].values[:, lead]).any()
    ]


def claim_smaller(
    claim: str,
    samples: xr.Dataset,
    errors: np.ndarray,
    reference: np.ndarray,
    *,
    seed: int,
    detail: str = "",
) -> Claim:
    """Judge by whole storms whether some errors are smaller on average than others of the same forecasts.

    Parameters
    ----------
    errors, reference : array of shape (sample, lead)
        Of several leads the first counts.
    """
    interval, storms = compare_errors(samples, errors, reference, seed=seed)
    return Claim.judge(
        claim,
        interval,
        better="lower",
        units=KM,
        evidence=f"difference of mean {samples['lead'].values[0]} h errors, bootstrap over {storms} test "
        f"storms{detail}",
    )


def compare_errors(
    samples: xr.Dataset, errors: np.ndarray, reference: np.ndarray, *, seed: int
) -> tuple[Interval, int]:
    """Return the difference of mean errors at the first lead, by whole storms, and how many they are."""
    known = np.isfinite(errors[:, 0]) & np.isfinite(reference[:, 0])
    storms = samples["track_id"].values[known]
    interval = group_bootstrap(errors[known, 0], storms, against=reference[known, 0], seed=seed, draws=2000)
    return interval, len(np.unique(storms))


def _groups(samples: xr.Dataset) -> Iterator[tuple[dict[str, str], np.ndarray]]:
    """Name the groups of samples that get a row, all of them together first."""
    yield {}, np.ones(samples.sizes["sample"], dtype=bool)
    basin = samples["basin"].values
    for name in np.unique(basin):
        yield {"basin": str(name)}, basin == name
    wind = samples["features"].values[:, FEATURES.index("wind")]
    with np.errstate(invalid="ignore"):
        classes = {
            "depression": wind < _STORM,
            "tropical storm": (wind >= _STORM) & (wind < _HURRICANE),
            "hurricane": wind >= _HURRICANE,
        }
    for name, part in classes.items():
        yield {"intensity": name}, part
    away = np.abs(samples["lat"].values)
    for low, high in _BANDS:
        yield {"latitude": f"{low}-{high} deg"}, (away >= low) & (away < high)


def _mean_score(
    model: np.ndarray, baselines: Arrays, storms: np.ndarray, stratum: Mapping[str, Any], seed: int
) -> Score:
    return Score(
        metric="mean_error",
        variable=VARIABLE,
        units=KM,
        better="lower",
        stratum=stratum,
        model=float(model.mean()),
        interval=group_bootstrap(model, storms, seed=seed).ends,
        baselines={name: float(errors.mean()) for name, errors in baselines.items()},
        n=len(np.unique(storms)),
    )


def _median_score(model: np.ndarray, baselines: Arrays, storms: int, stratum: Mapping[str, Any]) -> Score:
    return Score(
        metric="median_error",
        variable=VARIABLE,
        units=KM,
        better="lower",
        stratum=stratum,
        model=float(np.median(model)),
        baselines={name: float(np.median(errors)) for name, errors in baselines.items()},
        n=storms,
    )
