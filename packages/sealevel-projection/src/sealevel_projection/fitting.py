"""Train on a prepared dataset: the ensemble that projects, and its intervals from other models' futures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isopleth.errors import ConfigError
from isopleth.sealevel.protocol import Experiment, Outcome, run_trials
from isopleth.sealevel.rows import Rows
from isopleth.train.rundir import RunDirectory
from isopleth.train.runtime import Runtime
from sealevel_projection.config import ProjectionConfig, TrainConfig
from sealevel_projection.data import Archive, open_prepared
from sealevel_projection.experiments import hindcast_rows, plan_other_models
from sealevel_projection.intervals import Calibration, calibrate
from sealevel_projection.model import ProjectionModel
from sealevel_projection.segments import Segments, divide_ocean
from sealevel_projection.train import NetworkLearner, NetworkPredictor


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What training gave.

    Attributes
    ----------
    predictor : NetworkPredictor
    calibration : Calibration
    segments : Segments
    rows : Rows
        That were trained on.
    perfect, perfect_outcome : Experiment, Outcome
        The perfect-model test behind the intervals.
    """

    predictor: NetworkPredictor
    calibration: Calibration
    segments: Segments
    rows: Rows
    perfect: Experiment
    perfect_outcome: Outcome


def make_learner(
    archive: Archive,
    config: ProjectionConfig,
    segments: Segments,
    *,
    runtime: Runtime | None = None,
    run_dir: Path | None = None,
    resume: bool = False,
    ensemble: int | None = None,
) -> NetworkLearner:
    """Make the learner that a config describes; with another number of networks if one is given."""
    forced = archive.fully_forced
    if config.inputs.around == "ensemble_mean" and not set(forced) & set(archive.choose(config.inputs)):
        raise ConfigError(
            "around must be zero where no signal has all forcings, got ensemble_mean",
            hint="--projection.inputs.around zero",
        )
    learn = config.learn if ensemble is None else replace(config.learn, ensemble=ensemble)
    return NetworkLearner(learn, config.inputs, segments.membership, forced, runtime, run_dir, resume)


def fit_projection(
    archive: Archive,
    config: ProjectionConfig,
    *,
    runtime: Runtime | None = None,
    run_dir: Path | None = None,
    resume: bool = False,
    segments: Segments | None = None,
) -> Fitted:
    """Train the ensemble on the hindcast, and a network for each perfect-model trial; calibrate intervals.

    Parameters
    ----------
    archive : Archive
    config : ProjectionConfig
    runtime : Runtime, optional
    run_dir : Path, optional
        Where checkpoints go.
    resume : bool
    segments : Segments, optional
        Made from the config by default.
    """
    period = config.period
    archive.check_years(period.first_year, period.last_year, period.until)
    segments = divide_ocean(archive, config.segments, period) if segments is None else segments
    rows = hindcast_rows(archive, config, segments)
    learner = make_learner(archive, config, segments, runtime=runtime, run_dir=run_dir, resume=resume)
    predictor = learner.fit(rows)
    perfect = plan_other_models(archive, config, segments)
    own_dir = None if run_dir is None else run_dir / "perfect_models"
    others = make_learner(
        archive, config, segments, runtime=runtime, run_dir=own_dir, resume=resume, ensemble=1
    )
    outcome = run_trials(others, [perfect])[perfect.name]
    calibration = calibrate(
        perfect,
        outcome,
        level=config.intervals.level,
        window=config.intervals.window,
        per_year=archive.per_year,
    )
    return Fitted(
        predictor=predictor,
        calibration=calibration,
        segments=segments,
        rows=rows,
        perfect=perfect,
        perfect_outcome=outcome,
    )


def train_from_prepared(config: TrainConfig) -> dict[str, Any]:
    """Train on a prepared dataset and write the pretrained folder: the verb ``train``."""
    run = RunDirectory(config.out)
    if run.pretrained.exists() and not config.resume:
        raise ConfigError(
            f"the run directory must be new, or its run resumed, got {config.out}",
            hint="choose another --out, or --resume true",
        )
    archive = open_prepared(config.prepared, config.projection.inputs)
    run.write_config(config)
    fitted = fit_projection(
        archive, config.projection, runtime=config.runtime, run_dir=config.out, resume=config.resume
    )
    signals = archive.choose(config.projection.inputs)
    model = ProjectionModel.build(
        config.projection, fitted.predictor, signals, fitted.segments, fitted.calibration
    )
    model.save_pretrained(run.pretrained)
    return {
        "pretrained": str(run.pretrained),
        "run": str(config.out),
        "networks": len(model.networks),
        "segments": list(fitted.segments.names),
        "rows": len(fitted.rows),
        "signals": list(signals),
        "left_out": dict(fitted.rows.left_out),
    }
