"""A world goes through the real products' files and comes back; the demo's parts fit together."""

import numpy as np
import pytest

from isopleth.report import read_evaluation
from isopleth.sealevel.global_mean import ocean_mean
from isopleth.sealevel.protocol import Outcome
from sealevel_trend.config import DemoConfig, PeriodConfig, PrepareConfig, SampleConfig
from sealevel_trend.data import compute_trends, open_prepared, prepare_fields
from sealevel_trend.demo import run_demo
from sealevel_trend.experiments import join_outcomes, name_families
from sealevel_trend.sample import known_future, make_world, write_world


@pytest.mark.slow
def test_files_of_the_real_layouts_become_the_worlds_trends(tmp_path):
    period = PeriodConfig(past=(1993, 2003), future=(2004, 2014))
    sample = SampleConfig(members=1, source_deg=4.5, target_deg=6.0)
    world = make_world(0, sample, period)
    folder = write_world(tmp_path / "files", world, sample)
    config = PrepareConfig(folder=str(folder), out=tmp_path / "prepared.zarr")
    settings = {"first_year": 1993, "last_year": 2014, "resolution_deg": 6.0}
    from dataclasses import replace

    found = prepare_fields(replace(config, settings=replace(config.settings, **settings)))
    assert len(found["models"]) == 6
    assert {row["barystatic"] for row in found["components"]} >= {"no"}
    with open_prepared(found["prepared"]) as prepared:
        future = compute_trends(prepared, period.future, "remove")
        past = compute_trends(prepared, period.past, "remove")
    for name in ("CESM2", "GFDL-ESM2M", "MPI-GE"):
        truth = world.trend(period.future, model=name)
        both = np.isfinite(truth.values) & np.isfinite(future.models.sel(model=name).values)
        truth = truth.where(both)
        error = future.models.sel(model=name) - (truth - ocean_mean(truth))
        assert float(np.sqrt(ocean_mean(error**2))) < 0.35 * float(np.sqrt(ocean_mean(truth**2)))
    assert past.observed is not None
    assert future.observed is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_tells_the_error_of_the_known_future(tmp_path):
    run_demo(DemoConfig(out=tmp_path))
    record = read_evaluation(tmp_path)
    assert record.data.kind == "simulated"
    errors = {score.stratum["test"]: score for score in record.scores if score.metric == "rmse"}
    future = errors["known future"]
    assert {"ridge", "persistence", "random forest", "network, basins", "network, none"} <= set(
        future.baselines
    )
    # The ocean's own variability alone moves trends by about 1 mm/year.
    assert 0.6 < future.model < 2.5
    assert errors["known future, forced part"].model < future.model
    assert len(record.claims) == 8
    assert (tmp_path / "report.html").is_file()


def test_the_known_future_is_the_worlds(world):
    period = PeriodConfig()
    truth = known_future(world, period)
    np.testing.assert_array_equal(truth["all"], world.trend(period.future))
    rest = truth["all"] - truth["forced"]
    assert abs(float(ocean_mean(rest))) < 0.1
    assert float(ocean_mean(truth["forced"])) > 3.5  # faster than the past's 3.4


def test_families_are_known_by_name():
    families = name_families(["CESM1", "CESM2", "MPI-GE", "MPI-ESM1-2-HR", "my own"])
    assert families["CESM1"] == families["CESM2"] != families["MPI-GE"] == families["MPI-ESM1-2-HR"]
    assert families["my own"] == "my own"


def test_blocks_of_other_worlds_are_other_blocks():
    size = 6
    one = Outcome(
        experiment="future", learner="ridge", truth=np.zeros(size), prediction=np.ones(size), spread=None,
        weight=np.ones(size), lat=np.zeros(size), lon=np.zeros(size), cell=np.arange(size),
        step=np.zeros(size, int), trial=np.zeros(size, int), block=np.arange(size) // 2,
    )  # fmt: skip
    joined = join_outcomes([one, one, one])
    assert joined.blocks == 9
    assert len(np.unique(joined.trial)) == 3
    assert len(joined.truth) == 18
