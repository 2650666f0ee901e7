"""Score a pair of flows beside baselines, and judge what the paper claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from climalign import __version__
from climalign.baselines import Baseline, Bcsd, Interpolation, Normals, QuantileMapping
from climalign.config import BaselineConfig, EvaluateConfig, Kind, SamplingConfig, SplitConfig
from climalign.data import COARSE, FINE, Fields, Prepared, check_embargo, open_prepared
from climalign.figures import draw_trial
from climalign.scores import MEASURES, MODEL, Trial, as_contender, join, measure
from isopleth.config import config_hash
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Meter,
    Provenance,
    Score,
    fingerprint,
    measure_cost,
    publish,
)
from isopleth.verify import Interval, student_interval

TASK = "Draw fine daily fields of temperature and rain from coarse ones, having seen no pair of them"
NEAREST, BILINEAR, QUANTILES, BCSD, BMD = (
    "nearest",
    "bilinear",
    "quantile mapping",
    "BCSD",
    "BMD (supervised)",
)
# What "comparable" means, fixed before any result was seen; the paper's own ratio is 1.20 to 1.27.
COMPARABLE = 1.25
# The logarithm of 1.25: spread and error differ by less than a quarter either way.
CALIBRATED = float(np.log(1.25))
_RAIN_TO_MM = {"kg m-2 s-1": 86400.0, "m": 1000.0}

Found = Mapping[str, Mapping[str, Sequence[float]]]


def run_trial(
    model: Any,
    prepared: Prepared,
    split: SplitConfig,
    sampling: SamplingConfig,
    baselines: BaselineConfig,
    *,
    predicting: list[Meter] | None = None,
) -> Trial:
    """Let flows and baselines downscale the test days.

    Parameters
    ----------
    model : ClimAlign
    prepared : Prepared
    split, sampling, baselines
        Baselines learn from the same training days as the flows, but for the supervised one: it gets pairs.
    predicting : list, optional
        Takes what the flows' prediction cost.
    """
    from climalign.predict import downscale

    kind: Kind = model.config.field.kind
    train = prepared.load(COARSE, split.train_coarse), prepared.load(FINE, split.train_fine)
    coarse, fine = prepared.load_pairs(split.test)
    with measure_cost() as meter:
        drawn = downscale(model, coarse.to_dataarray(), sampling)
    if predicting is not None:
        predicting.append(meter)
    unit = _RAIN_TO_MM.get(fine.units, 1.0) if kind == "precipitation" else 1.0
    truth = (fine.to_dataarray() * unit).assign_attrs(units="K" if kind == "temperature" else "mm")
    drawn = drawn.assign_coords(time=truth["time"], lat=truth["lat"], lon=truth["lon"])
    known = truth.notnull()
    members = drawn[fine.variable].where(known).values * unit
    # The published prediction: the one field at the same latent. A mean of few samples has their noise in it.
    expected = downscale(model, coarse.to_dataarray(), replace(sampling, members=0))
    mean = np.where(known, expected[fine.variable].values[0] * unit, np.nan)
    contenders = {MODEL: as_contender(mean, truth, members)}
    for name, values, samples in _baselines(kind, prepared, baselines, train, coarse):
        contenders[name] = as_contender(
            np.where(known, values * unit, np.nan),
            truth,
            None if samples is None else samples * unit,
        )
    normal = Normals.of(train[1]).at(fine) * unit
    return Trial(kind, truth, np.asarray(normal, dtype=np.float32), contenders)


def _baselines(
    kind: Kind, prepared: Prepared, settings: BaselineConfig, train: tuple[Fields, Fields], coarse: Fields
) -> list[tuple[str, NDArray, NDArray | None]]:
    """Fit every baseline and apply it: its name, its mean, and its samples if it draws any."""
    factor = prepared.factor
    plain: dict[str, Baseline] = {
        NEAREST: Interpolation(kind, factor, "nearest"),
        BILINEAR: Interpolation(kind, factor, "bilinear"),
        QUANTILES: QuantileMapping(kind, factor, settings),
        BCSD: Bcsd(kind, factor, settings),
    }
    found: list[tuple[str, NDArray, NDArray | None]] = [
        (name, baseline.fit(*train).predict(coarse), None) for name, baseline in plain.items()
    ]
    if settings.paired is not None:
        from climalign.model.bmd import Bmd

        pairs = prepared.load_pairs(settings.paired)
        dry = 1.0 / _RAIN_TO_MM.get(pairs[1].units, 1.0)
        supervised = Bmd(kind, settings.bmd, dry=dry).fit(*pairs)
        found.append((BMD, supervised.predict(coarse), supervised.draw(coarse, 10)))
    return found


def make_scores(kind: Kind, found: Found) -> list[Score]:
    """Turn measurements into scores, each with Student's interval over quarters or worlds."""
    scores = []
    for name, contenders in found.items():
        values = [value for value in contenders[MODEL] if np.isfinite(value)]
        if not values:
            continue
        others = {
            who: float(np.nanmean(v))
            for who, v in contenders.items()
            if who != MODEL and np.isfinite(v).any()
        }
        low, high = student_interval(values).ends if len(values) > 1 else (np.nan, np.nan)
        each = MEASURES[name]
        scores.append(
            Score(
                metric=name,
                variable=kind,
                units=each.units[kind],
                better=each.better,
                model=float(np.mean(values)),
                interval=(low, high) if np.isfinite(low) else None,
                baselines=others,
                n=len(values),
            )
        )
    return scores


def judge(kind: Kind, found: Found, *, unit: str) -> list[Claim]:
    """Judge the paper's claims on one variable.

    Parameters
    ----------
    kind : {"temperature", "precipitation"}
    found : mapping
        By measure and contender, a number for each quarter or world.
    unit : str
        What one number stands for: says in the evidence. One number alone decides nothing: no claims.
    """
    if len(found["rmse"][MODEL]) < 2:
        return []
    claims = [
        _against(
            f"ClimAlign's prediction errs less than interpolation ({kind})",
            found,
            "rmse",
            BILINEAR,
            kind,
            unit,
        )
    ]
    extreme = {"temperature": ("TXx", "TXn", "TNn"), "precipitation": ("Rx1day", "CDD")}[kind]
    if BMD in found["rmse"]:
        with np.errstate(divide="ignore", invalid="ignore"):  # where nothing fell, neither errs
            ratio = np.array(found["rmse"][MODEL]) / np.array(found["rmse"][BMD]) - COMPARABLE
        claims.append(
            Claim.judge(
                f"ClimAlign's RMSE is at most {COMPARABLE} times that of the supervised network ({kind})",
                _interval(ratio),
                better="lower",
                evidence=f"ratio of RMSE minus {COMPARABLE}, {_describe(found, unit)}",
            )
        )
    rival = BMD if BMD in found["rmse"] else BILINEAR

    claims += [
        _against(
            f"A ClimAlign sample has less bias in {index} than {rival} ({kind})",
            found,
            f"{index}_bias",
            rival,
            kind,
            unit,
        )
        for index in extreme
        # Daily maxima have no TNn, and minima nothing else.
        if np.isfinite(found.get(f"{index}_bias", {}).get(MODEL, ())).any()
    ]
    claims.append(
        _against(
            f"A ClimAlign sample's spectrum is nearer to the truth's than {rival}'s ({kind})",
            found,
            "log_spectral_distance",
            rival,
            kind,
            unit,
        )
    )
    claims.append(
        Claim.judge(
            f"ClimAlign's samples are calibrated: spread and error within a quarter of each other ({kind})",
            _interval(np.array(found["log_spread_skill"][MODEL]) - CALIBRATED),
            better="lower",
            evidence=f"absolute logarithm of spread over error, minus that of 1.25, {_describe(found, unit)}",
        )
    )
    return claims


def _against(sentence: str, found: Found, name: str, rival: str, kind: Kind, unit: str) -> Claim:
    difference = np.array(found[name][MODEL]) - np.array(found[name][rival])
    return Claim.judge(
        sentence,
        _interval(difference),
        better=MEASURES[name].better,
        units=MEASURES[name].units[kind],
        evidence=f"difference of {name.replace('_', ' ')}, {_describe(found, unit)}",
    )


def _interval(values: NDArray[np.float64]) -> Interval:
    """Give Student's interval of the numbers that there are; NaN, which decides nothing, of less than two."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return Interval(low=np.nan, high=np.nan, value=np.nan, level=0.95, block=1)
    return student_interval(known)


def _describe(found: Found, unit: str) -> str:
    return f"Student's interval over {len(found['rmse'][MODEL])} {unit}"


def publish_trials(
    out: Path,
    evaluation: Evaluation,
    trials: Mapping[str, Trial],
    *,
    size: Literal["demo", "full"] | None = None,
) -> dict[str, Any]:
    """Write evaluation.json, figures and report.html; give what the verb prints."""
    for trial in trials.values():
        draw_trial(out, trial)
    return {
        **publish(out, evaluation, size=size),
        "rmse": {
            score.variable: {MODEL: score.model, **score.baselines}
            for score in evaluation.scores
            if score.metric == "rmse"
        },
    }


def make_evaluation(
    found: Mapping[Kind, Found],
    data: DataCard,
    *,
    unit: str,
    train: Sequence[Meter] = (),
    predict: Sequence[Meter],
    parameters: int,
    command: str,
    settings: str,
    seed: int,
) -> Evaluation:
    """Put what was measured of one or both variables into a record.

    Parameters
    ----------
    found : mapping of kind to measures
        As `join` gives them.
    data : DataCard
    unit : str
        What one number stands for: says in the evidence.
    train, predict : sequence of Meter
        What each training and each prediction cost.
    parameters : int
        Of a pair of flows.
    command, settings, seed
        How the result can be had again; settings as a hash.
    """
    return Evaluation(
        tool="climalign",
        version=__version__,
        task=TASK,
        data=data,
        scores=tuple(score for kind, each in found.items() for score in make_scores(kind, each)),
        claims=tuple(claim for kind, each in found.items() for claim in judge(kind, each, unit=unit)),
        cost=Cost.of(train=_add(train), predict=_add(predict), parameters=parameters),
        provenance=Provenance.collect(
            command, settings, seed, packages=["climalign", "nflows", "xclim", "xsdba"]
        ),
    )


def _add(meters: Sequence[Meter]) -> Meter | None:
    """Add up what several parts cost; memory is that of the largest."""
    if not meters:
        return None
    peak = max(each.peak_memory_mb for each in meters)
    return Meter(sum(each.seconds for each in meters), peak, meters[0].device)


def evaluate_model(config: EvaluateConfig) -> dict[str, Any]:
    """Score a trained pair on test days: the verb ``evaluate``."""
    from climalign.model import ClimAlign

    model = ClimAlign.from_pretrained(config.model)
    prepared = open_prepared(config.prepared)
    check_embargo(config.split, prepared)
    meters: list[Meter] = []
    trial = run_trial(model, prepared, config.split, config.sampling, config.baselines, predicting=meters)
    kind = model.config.field.kind
    evaluation = make_evaluation(
        {kind: join([measure(trial)])},
        DataCard(
            name="prepared fields",
            kind=prepared.kind,
            source=str(config.prepared),
            train=" to ".join(config.split.train_fine),
            test=" to ".join(config.split.test),
            fingerprint=fingerprint(trial.truth.values),
        ),
        unit="quarters of the test years",
        predict=meters,
        parameters=sum(each.numel() for each in model.parameters()),
        command="climalign evaluate",
        settings=config_hash(config),
        seed=config.sampling.seed,
    )
    return publish_trials(config.out, evaluation, {kind: trial})
