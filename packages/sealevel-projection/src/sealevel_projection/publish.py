"""Figures and reports of projections and studies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from isopleth.config import config_hash
from isopleth.report import Cost, Evaluation, Provenance, Score, write_evaluation, write_report
from isopleth.sealevel.protocol import Outcome
from isopleth.sealevel.rows import Floats, Rows
from sealevel_projection import __version__
from sealevel_projection.attribution import Contribution, shapley_of_trends, summarise_contributions
from sealevel_projection.config import AttributionConfig, PredictConfig, ProjectionConfig
from sealevel_projection.data import Archive
from sealevel_projection.evaluate import describe_data, score_studies
from sealevel_projection.figures import (
    draw_components,
    draw_contributions,
    draw_coverage,
    draw_errors,
    draw_importance,
    draw_outside,
    draw_segments,
    draw_trends,
)
from sealevel_projection.model import ProjectionModel
from sealevel_projection.predict import Projection, project
from sealevel_projection.study import FUTURE, NETWORK, Study, cover_values
from sealevel_projection.train import NetworkPredictor


def publish_projection(
    config: PredictConfig,
    archive: Archive,
    found: Projection,
    shares: Sequence[Contribution],
    model: ProjectionModel,
) -> Path:
    """Draw a projection and write its report, which has no scores: nobody knows yet."""
    projection = model.config.projection
    _draw_projection(config.out, archive, found, shares, projection)
    draw_segments(config.out, model.segments, found.trends, None)
    evaluation = Evaluation(
        tool="sealevel-projection",
        version=__version__,
        task=f"Project sea level to {projection.period.until}. What this is worth, says `evaluate`.",
        data=describe_data(
            archive, projection, name=config.prepared, kind=config.kind, source=config.prepared
        ),
        cost=Cost.of(parameters=sum(p.numel() for p in model.parameters())),
        provenance=Provenance.collect(
            f"sealevel-projection predict {config.prepared} --model {config.model}",
            config_hash(config),
            config.attribution.seed,
            packages=["sealevel-projection", "shap"],
        ),
    )
    write_evaluation(evaluation, config.out / "evaluation.json")
    return write_report(config.out)


def draw_study(
    out: Path,
    archive: Archive,
    study: Study,
    *,
    config: ProjectionConfig,
    attribution: AttributionConfig,
    scores: Sequence[Score] = (),
) -> None:
    """Draw a study: the projection, its errors, contributions, coverage, and what it extrapolates."""
    out.mkdir(parents=True, exist_ok=True)
    fitted = study.fitted
    found = project(archive, config, fitted.predictor, fitted.segments, fitted.calibration, attribution)
    members = [
        shapley_of_trends(partial(_predict_member, fitted.predictor, number), found.future, attribution)
        for number in range(fitted.predictor.ensemble)
    ]
    shares = summarise_contributions(
        found.contributions, found.future, fitted.segments.names, members=members
    )
    _draw_projection(out, archive, found, shares, config, study)
    draw_errors(out, scores or score_studies([study]))
    draw_importance(out, study.importance)
    draw_segments(out, fitted.segments, found.trends, study.stability)


def _predict_member(predictor: NetworkPredictor, number: int, rows: Rows) -> Floats:
    return np.asarray(predictor.predict_members(rows)[number])


def _draw_projection(
    out: Path,
    archive: Archive,
    found: Projection,
    shares: Sequence[Contribution],
    config: ProjectionConfig,
    study: Study | None = None,
) -> None:
    period = config.period
    truth = None
    if study is not None and FUTURE in study.outcomes[NETWORK]:
        came = study.trends(NETWORK, FUTURE)
        full = np.full(found.trends["trend"].size, np.nan)
        full[came.cell] = came.truth
        truth = found.trends["trend"].copy(data=full.reshape(found.trends["trend"].shape))
    draw_trends(out, found.trends, f"{period.last_year + 1}-{period.until}", truth)
    draw_contributions(out, shares, exact=found.contributions.exact)
    if truth is not None and study is not None:
        leads, held = _hold_by_lead(study)
        draw_coverage(out, leads, held, study.fitted.calibration.level)
    draw_outside(out, found.outside)
    draw_components(out, archive.components)


def _hold_by_lead(study: Study) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    outcome, half = cover_values(study)
    held = {"conformal interval": _share_held(outcome, half)}
    if outcome.spread is not None:
        normal = float(ndtri(0.5 + study.fitted.calibration.level / 2.0)) * outcome.spread
        held["networks' spread alone"] = _share_held(outcome, normal)
    steps = np.unique(outcome.step)
    return (steps + 1) / study.per_year, held


def _share_held(outcome: Outcome, half: Floats) -> Floats:
    """Return the share of the truth that intervals hold at each step, by area."""
    inside = (np.abs(outcome.error) <= half) * outcome.weight
    return np.asarray(np.bincount(outcome.step, inside) / np.bincount(outcome.step, outcome.weight))
