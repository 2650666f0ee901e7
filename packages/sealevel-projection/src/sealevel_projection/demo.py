"""The main job on simulated oceans whose future is known: files to projection, tests, a report."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isopleth.config import config_hash
from isopleth.report import (
    Cost,
    Evaluation,
    Provenance,
    measure_cost,
    publish,
)
from isopleth.samples.sea_level import FAMILIES
from isopleth.sealevel.settings import PreparationSettings
from isopleth.train.runtime import Runtime
from sealevel_projection import __version__
from sealevel_projection.config import (
    AttributionConfig,
    DemoConfig,
    InputConfig,
    LearnConfig,
    PrepareConfig,
    ProjectionConfig,
    SegmentConfig,
    SkillConfig,
)
from sealevel_projection.data import Archive, open_prepared
from sealevel_projection.evaluate import TASK, describe_data, judge, score_studies, sum_up
from sealevel_projection.prepare import prepare_fields
from sealevel_projection.publish import draw_study
from sealevel_projection.sample import SOURCE, known_sea_level, make_world, write_world
from sealevel_projection.study import Study, run_study

logger = logging.getLogger("isopleth.sealevel_projection")


@dataclass(frozen=True, kw_only=True)
class DemoSize:
    """How much a demo does.

    Parameters
    ----------
    worlds : int
    resolution_deg : float
        Of the common grid.
    source_deg : float
        Of the models' own grids and the altimeter's.
    members : int
        Of every ensemble.
    ensemble : int
        Networks a segment.
    trees : int
        Of the random forest.
    """

    worlds: int
    resolution_deg: float
    source_deg: float
    members: int
    ensemble: int
    trees: int


_KM_PER_DEGREE = 111.0
BRIEF = DemoSize(worlds=1, resolution_deg=6.0, source_deg=3.0, members=3, ensemble=3, trees=8)
FULL = DemoSize(worlds=5, resolution_deg=6.0, source_deg=3.0, members=5, ensemble=5, trees=20)
# Choices were made on worlds 11 and 12, and the known future of world 0 was seen before some of them.
FIRST_WORLD = 100


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Write worlds in real layouts, read them back, train, project, and compare: the verb ``demo``."""
    size = FULL if config.full else BRIEF
    # A step takes microseconds of arithmetic: a second thread would only wait for the first.
    runtime = Runtime(accelerator="cpu", threads=1, seed=config.seed)
    projection = ProjectionConfig(
        inputs=InputConfig(signals=tuple(FAMILIES)),
        # Wide enough to soften borders between cells of this size.
        segments=SegmentConfig(blend_km=1.5 * _KM_PER_DEGREE * size.resolution_deg),
        learn=LearnConfig(ensemble=size.ensemble),
    )
    test = SkillConfig(trees=size.trees)
    shutil.rmtree(config.out / "work", ignore_errors=True)
    first_world = FIRST_WORLD + config.seed
    studies: list[Study] = []
    first: Archive | None = None
    with measure_cost() as meter:
        for seed in range(first_world, first_world + size.worlds):
            archive, study = _study_world(config.out / "work", seed, size, projection, test, runtime)
            first = archive if first is None else first
            studies.append(study)
    assert first is not None, "there is one world at least"
    scores = score_studies(studies)
    draw_study(
        config.out, first, studies[0], config=projection, attribution=AttributionConfig(), scores=scores
    )
    evaluation = Evaluation(
        tool="sealevel-projection",
        version=__version__,
        task=TASK,
        data=describe_data(
            first,
            projection,
            name="simulated sea level",
            kind="simulated",
            source=f"{SOURCE}, seeds {first_world} to {first_world + size.worlds - 1}",
            worlds=size.worlds,
        ),
        scores=tuple(scores),
        claims=tuple(judge(studies)),
        cost=Cost.of(
            train=meter,
            parameters=sum(p.numel() for p in studies[0].fitted.predictor.networks.parameters()),
        ),
        provenance=Provenance.collect(
            f"sealevel-projection demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash((projection, test, size)),
            config.seed,
            packages=["sealevel-projection", "shap"],
        ),
    )
    return {**publish(config.out, evaluation, size=config.size), **sum_up(evaluation)}


def _study_world(
    work: Path, seed: int, size: DemoSize, projection: ProjectionConfig, test: SkillConfig, runtime: Runtime
) -> tuple[Archive, Study]:
    """Write a world, prepare it, study it."""
    folder = work / f"world_{seed}"
    world = make_world(seed, projection.period, resolution_deg=size.resolution_deg, members=size.members)
    write_world(folder / "files", world, source_deg=size.source_deg)
    settings = PreparationSettings(
        members="keep", last_year=projection.period.until, resolution_deg=size.resolution_deg
    )
    prepared = prepare_fields(
        PrepareConfig(folder=str(folder / "files"), out=folder / "prepared.zarr", settings=settings)
    )
    archive = open_prepared(prepared["prepared"], projection.inputs)
    truth = known_sea_level(world, archive.sea)
    logger.info("world %d: prepared %d cells", seed, prepared["sea_cells"])
    return archive, run_study(archive, projection, test, truth=truth, runtime=runtime)
