"""Score a study, judge its claims, and write it all down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy.special import ndtri

from isopleth.config import config_hash
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
from isopleth.sealevel.protocol import Outcome, interval_of_rmse, measure_coverage, measure_rmse
from sealevel_projection import __version__
from sealevel_projection.config import EvaluateConfig, ProjectionConfig
from sealevel_projection.data import Archive, open_prepared
from sealevel_projection.experiments import join_outcomes
from sealevel_projection.study import (
    FUTURE,
    NETWORK,
    NOTHING,
    PERFECT,
    RIDGE,
    WITH_TRENDS,
    Study,
    cover_trends,
    cover_values,
    join_studies,
    run_study,
)

TASK = (
    "Project sea level 30 years ahead from climate-model ensembles, fused into altimetry by networks; "
    "scored in space and time held out, on the second half of the record, and on other models' futures."
)
_TREND = "mm year-1"
_DRAWS = 1000
# Share of the error that a gain must reach to count.
_SMALL_GAIN = 0.02


def score_studies(studies: Sequence[Study], *, seed: int = 0) -> list[Score]:
    """Score the network and its baselines in every experiment, by values and by long trends."""
    known = list(studies[0].outcomes[NETWORK])
    experiments = [
        *(name for name in WITH_TRENDS if name in known),
        *(n for n in known if n not in WITH_TRENDS),
    ]
    scores = [_score(studies, name, trends=True, seed=seed) for name in experiments if name in WITH_TRENDS]
    scores += [_score(studies, name, trends=False, seed=seed) for name in experiments]
    if FUTURE in experiments:
        scores += _score_coverage(studies)
    return scores


def _score(studies: Sequence[Study], experiment: str, *, trends: bool, seed: int) -> Score:
    model = join_studies(studies, NETWORK, experiment, trends=trends)
    others = {
        name: join_studies(studies, name, experiment, trends=trends)
        for name, own in studies[0].outcomes.items()
        if name != NETWORK and experiment in own
    }
    return Score(
        metric="rmse",
        variable="sea level trend" if trends else "sea level",
        units=_TREND if trends else "mm",
        better="lower",
        stratum={"test": experiment},
        model=measure_rmse(model),
        interval=interval_of_rmse(model, seed=seed, draws=_DRAWS).ends,
        baselines={name: measure_rmse(one) for name, one in others.items() if one.complete},
        n=model.blocks,
    )


def _score_coverage(studies: Sequence[Study]) -> list[Score]:
    """Score the share of the known future that intervals hold: of trends, and of values by decade."""
    level = studies[0].fitted.calibration.level
    trend, half = _join_covered(studies, cover_trends)
    scores = [_coverage_score(trend, half, level, "trend interval", "all leads")]
    values, width = _join_covered(studies, cover_values)
    decade = values.step // (10 * studies[0].per_year)
    for number in np.unique(decade):
        own = decade == number
        part = _take(values, own)
        name = f"years {10 * number + 1} to {10 * number + 10}"
        scores.append(_coverage_score(part, width[own], level, "value interval", name))
    alone = _spread_alone(studies)
    return (
        [*scores, _coverage_score(*alone, level, "networks' spread alone", "all leads")] if alone else scores
    )


def _coverage_score(outcome: Outcome, half: np.ndarray, level: float, of: str, lead: str) -> Score:
    found = measure_coverage(outcome, outcome.prediction - half, outcome.prediction + half, level=level)
    return Score(
        metric="coverage",
        variable=f"{100 * level:g} % interval",
        units="1",
        better="higher",
        stratum={"interval": of, "lead": lead},
        model=found.share,
        interval=found.interval,
        n=outcome.blocks,
    )


def _join_covered(studies: Sequence[Study], cover: Any) -> tuple[Outcome, np.ndarray]:
    parts = [cover(study) for study in studies]
    return join_outcomes([outcome for outcome, _ in parts]), np.concatenate([half for _, half in parts])


def _take(outcome: Outcome, which: np.ndarray) -> Outcome:
    names = ("truth", "prediction", "weight", "lat", "lon", "cell", "step", "trial", "block")
    return replace(outcome, spread=None, **{name: getattr(outcome, name)[which] for name in names})


def _spread_alone(studies: Sequence[Study]) -> tuple[Outcome, np.ndarray] | None:
    """Return values and what a deep ensemble alone would take for the half-width of their interval."""
    spreads = [study.outcomes[NETWORK][FUTURE].spread for study in studies]
    if any(one is None for one in spreads):
        return None
    level = studies[0].fitted.calibration.level
    joined = join_studies(studies, NETWORK, FUTURE, trends=False)
    known = [one for one in spreads if one is not None]
    return joined, float(ndtri(0.5 + level / 2.0)) * np.concatenate(known)


def judge(studies: Sequence[Study], *, seed: int = 0) -> list[Claim]:
    """Judge what the paper claims: on the known future where there is one, else on other models' futures."""
    test = FUTURE if FUTURE in studies[0].outcomes[NETWORK] else PERFECT
    worlds = f" of {len(studies)} worlds" if len(studies) > 1 else ""
    sentences = {
        RIDGE: "The network projects trends better than ridge regression",
        "ensemble mean": "The network projects trends better than the equal-weight ensemble mean",
        "persistence": "The network projects trends better than the observed trend carried on",
        "random forest": "The network projects trends better than a random forest",
        "network, one ocean": "Dividing the ocean into spectral clusters helps the network",
        "network, basins": "Spectral clusters help the network more than given basins",
    }
    claims = []
    model = join_studies(studies, NETWORK, test, trends=True)
    for name, sentence in sentences.items():
        if test in studies[0].outcomes.get(name, {}):
            other = join_studies(studies, name, test, trends=True)
            found = interval_of_rmse(model, other, seed=seed, draws=2 * _DRAWS)
            evidence = (
                f"difference of trend RMSE, {test}, bootstrap over {model.blocks} blocks of 2,000 km{worlds}"
            )
            claims.append(Claim.judge(sentence, found, better="lower", evidence=evidence, units=_TREND))
    if test == FUTURE:
        claims.append(_judge_coverage(studies, worlds))
    return [*claims, *_judge_null(studies, worlds, seed=seed)]


def _judge_coverage(studies: Sequence[Study], worlds: str) -> Claim:
    outcome, half = _join_covered(studies, cover_trends)
    level = studies[0].fitted.calibration.level
    found = measure_coverage(outcome, outcome.prediction - half, outcome.prediction + half, level=level)
    low, high = (end - level for end in found.interval)
    return Claim(
        claim=f"The {100 * level:g} % intervals of trends hold at least that share of the truth",
        holds=True if low >= 0 else False if high < 0 else None,
        difference=found.share - level,
        interval=(low, high),
        evidence=f"share held less the nominal one, {FUTURE}, bootstrap over {outcome.blocks} blocks{worlds}",
    )


def _judge_null(studies: Sequence[Study], worlds: str, *, seed: int) -> list[Claim]:
    """Judge whether information-free predictors gain nothing where space and time are held out.

    That there is no gain cannot be shown; that it is small, can.
    """
    if "null test" not in studies[0].outcomes[NETWORK]:
        return []
    model, nothing = (join_studies(studies, name, "null test", trends=False) for name in (NETWORK, NOTHING))
    found = interval_of_rmse(model, nothing, seed=seed, draws=2 * _DRAWS)
    margin = _SMALL_GAIN * measure_rmse(nothing)
    low, high = found.ends
    return [
        Claim(
            claim=f"With space and time held out, predictors without information gain less than "
            f"{100 * _SMALL_GAIN:g} %",
            holds=True if low > -margin else False if high < -margin else None,
            difference=float(found.value),
            interval=(low, high),
            evidence=f"RMSE of the network less that of the mean, predictors of random phase, {model.blocks} "
            f"blocks{worlds}; {100 * _SMALL_GAIN:g} % are {margin:.2g} mm",
            units="mm",
        )
    ]


def describe_data(
    archive: Archive,
    config: ProjectionConfig,
    *,
    name: str,
    kind: Literal["real", "simulated"],
    source: str,
    worlds: int = 1,
) -> DataCard:
    """Say what was learned from and what was tested on."""
    period = config.period
    cells = int(archive.sea.sum())
    many = f"{worlds} worlds, the first with " if worlds > 1 else ""
    return DataCard(
        name=name,
        kind=kind,
        source=source,
        train=f"{period.first_year}-{period.last_year}, {many}{cells} cells, "
        f"{len(archive.choose(config.inputs))} signals; {archive.per_year} times a year",
        test=f"the last years and blocks of space held out; other models', and if known the true, sea level "
        f"of {period.last_year + 1}-{period.until}",
        fingerprint=fingerprint(archive.models.values, archive.altimeter.values),
    )


def evaluate_prepared(config: EvaluateConfig) -> dict[str, Any]:
    """Test networks and baselines on a prepared dataset: the verb ``evaluate``."""
    from sealevel_projection.publish import draw_study

    archive = open_prepared(config.prepared, config.projection.inputs)
    with measure_cost() as training:
        study = run_study(
            archive, config.projection, config.test, attribution=config.attribution, runtime=config.runtime
        )
    parameters = sum(p.numel() for p in study.fitted.predictor.networks.parameters())
    evaluation = Evaluation(
        tool="sealevel-projection",
        version=__version__,
        task=TASK,
        data=describe_data(
            archive,
            config.projection,
            name=str(config.prepared),
            kind=config.kind,
            source=str(config.prepared),
        ),
        scores=tuple(score_studies([study])),
        claims=tuple(judge([study])),
        cost=Cost.of(train=training, parameters=parameters),
        provenance=Provenance.collect(
            f"sealevel-projection evaluate {config.prepared}",
            config_hash(config),
            config.projection.learn.seed,
            packages=["sealevel-projection", "shap"],
        ),
    )
    draw_study(
        config.out,
        archive,
        study,
        config=config.projection,
        attribution=config.attribution,
        scores=evaluation.scores,
    )
    return {**publish(config.out, evaluation), **sum_up(evaluation)}


def sum_up(evaluation: Evaluation) -> dict[str, Any]:
    """Sum an evaluation up in a few numbers."""
    first = evaluation.scores[0]
    return {
        "test": first.stratum["test"],
        "trend_rmse_mm_per_year": round(first.model, 3),
        **{f"{name}_mm_per_year": round(value, 3) for name, value in first.baselines.items()},
    }
