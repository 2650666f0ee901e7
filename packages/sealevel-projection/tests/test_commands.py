"""From files in their real layouts to projections, scores and a report, through the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import rioxarray
import xarray as xr
import yaml

from isopleth.config import find_config
from isopleth.report import read_evaluation
from sealevel_projection.cli import tool
from sealevel_projection.config import (
    InputConfig,
    IntervalConfig,
    PeriodConfig,
    PrepareConfig,
    SegmentConfig,
    SkillConfig,
)
from sealevel_projection.model import ProjectionModel


def run(capsys, *words):
    code = tool.main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


@pytest.fixture(scope="module")
def trained(prepared, quick, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    assert tool.main(["train", str(prepared), "--out", str(out), *quick, "--quiet"]) == 0
    return out / "pretrained"


def test_prepare_says_what_each_product_is(prepared):
    with xr.open_zarr(prepared) as ds:
        assert set(ds["forcing"].values) == {"all", "greenhouse_gases", "aerosols", "biomass_burning"}
        assert ds.sizes["time"] == 57
        rows = json.loads(ds.attrs["components"])
    assert {row["name"] for row in rows} >= {"CESM1", "CESM2-GHG", "altimeter"}


# rioxarray multiplies affine transforms in the way that affine is to give up.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_predict_writes_maps_tables_and_a_report(trained, prepared, tmp_path, capsys):
    out = tmp_path / "projection"
    words = ["--kind", "simulated", "--formats", "[netcdf, zarr, geotiff]"]
    found = run(capsys, "predict", prepared, "--model", trained, "--out", out, *words)
    trend, sea_level = (found[name] for name in ("trend", "sea_level"))
    assert set(sea_level) == {"netcdf", "zarr"}
    with xr.open_zarr(trend["zarr"]) as stored, xr.open_dataset(trend["netcdf"]) as written:
        xr.testing.assert_equal(stored.compute(), written)
    with (
        rioxarray.open_rasterio(f"{trend['geotiff']}/trend.tif") as raster,
        xr.open_dataset(trend["netcdf"]) as maps,
    ):
        west = raster.sel(x=-42, method="nearest").sel(y=maps["lat"], method="nearest").squeeze()
        np.testing.assert_array_equal(west, maps["trend"].sel(lon=318, method="nearest").astype("f4"))
    with xr.open_dataset(trend["netcdf"]) as trends, xr.open_dataset(sea_level["netcdf"]) as values:
        assert values["time"].dt.year.values.tolist() == list(range(2020, 2050))
        assert values["sea_level"].attrs["units"] == "mm"
        inside = (values["sea_level_lower"] <= values["sea_level"]) & (
            values["sea_level"] <= values["sea_level_upper"]
        )
        known = values["sea_level"].notnull()
        assert bool((inside | ~known).all())
        # The contributions and what no signal accounts for make up the trend of the values.
        total = trends["trend_contribution"].sum("model", skipna=False) + trends["carried_trend"]
        np.testing.assert_allclose(total, trends["trend"], atol=1e-3)
        cell = np.argwhere(known.values[0])[20]
        series = values["sea_level"].values[:, cell[0], cell[1]]
        slope = np.polyfit(np.arange(30), series, 1)[0]
        assert float(trends["trend"].values[tuple(cell)]) == pytest.approx(slope, rel=2e-3, abs=2e-3)
        assert set(np.unique(trends["segment"])) <= {-1, 0, 1}
    with Path(found["cities"]).open() as file:
        cities = list(csv.DictReader(file))
    assert len(cities) > 5
    assert all(float(row["trend_lower"]) <= float(row["trend"]) for row in cities)
    summary = json.loads((out / "summary.json").read_text())
    signals = {one["signal"] for one in summary["contributions"]}
    assert set(summary["share_of_inputs_outside_training"]) == signals
    assert (
        "steric mean" in (out / "figures" / "components.svg").read_text() or (out / "report.html").is_file()
    )
    assert read_evaluation(out).data.kind == "simulated"


def test_a_trained_model_is_the_same_after_it_was_saved(trained, prepared, tmp_path, capsys):
    model = ProjectionModel.from_pretrained(trained)
    again = tmp_path / "again"
    model.save_pretrained(again)
    first, second = model.state_dict(), ProjectionModel.from_pretrained(again).state_dict()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert model.config.segments == ("region_0", "region_1")
    assert model.calibration.values.shape == (30,)


@pytest.mark.slow
def test_evaluate_tests_against_every_baseline(quick, prepared, tmp_path, capsys):
    out = tmp_path / "scores"
    options = ["--test.trees", "3", "--test.folds", "2", "--kind", "simulated"]
    run(capsys, "evaluate", prepared, "--out", out, *quick, *options)
    record = read_evaluation(out)
    tests = {score.stratum["test"]: score for score in record.scores if score.units == "mm"}
    assert set(tests) == {
        "space and time held out", "last years held out", "folds at random", "backtest", "null test",
        "null test, folds at random", "perfect model",
    }  # fmt: skip
    assert "persistence" not in tests["space and time held out"].baselines
    assert {"persistence", "ridge", "scaling by cell", "ensemble mean"} <= set(tests["backtest"].baselines)
    assert all(score.interval[0] <= score.model <= score.interval[1] for score in record.scores)
    assert (out / "report.html").is_file()


def test_an_earlier_run_is_not_overwritten(quick, trained, prepared, capsys):
    assert tool.main(["train", str(prepared), "--out", str(trained.parent), *quick]) == 2
    assert "resume" in capsys.readouterr().err


def test_a_killed_training_goes_on_to_the_same_networks(quick, trained, prepared, capsys):
    before = ProjectionModel.from_pretrained(trained).state_dict()
    run(capsys, "train", prepared, "--out", trained.parent, *quick, "--resume", "true")
    after = ProjectionModel.from_pretrained(trained).state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_another_grid_is_refused(trained, world_folder, tmp_path, capsys):
    out = tmp_path / "other.zarr"
    run(capsys, "prepare", world_folder, "--out", out, "--settings.resolution_deg", "15")
    words = ["predict", str(out), "--model", str(trained), "--out", str(tmp_path / "p")]
    assert tool.main(words) == 1
    assert "grid of the training" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("name", ["paper", "demo", "forcings"])
def test_shipped_configs_train_a_step(name, prepared, tmp_path, capsys):
    text = yaml.safe_load(find_config("sealevel_projection", name).read_text())
    assert set(text) == {"projection"}
    options = [
        "--projection.learn.fit.epochs", "1", "--projection.learn.fit.batch_size", "4096",
        "--projection.learn.ensemble", "1", "--projection.learn.shape.hidden", "[4]",
    ]  # fmt: skip
    found = run(capsys, "train", prepared, "--config", name, *options, "--out", tmp_path / "run")
    model = ProjectionModel.from_pretrained(found["pretrained"])
    assert list(model.config.signals) == text["projection"]["inputs"]["signals"]


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (lambda: PeriodConfig(first_year=2019, last_year=1993), "must rise"),
        (lambda: InputConfig(signals=("a", "a")), "once"),
        (lambda: InputConfig(reference="median"), "reference"),
        (lambda: InputConfig(global_mean="double"), "global_mean"),
        (lambda: SegmentConfig(blend_km=-1.0), "blend_km"),
        (lambda: IntervalConfig(level=1.0), "level"),
        (lambda: SkillConfig(folds=1), "folds"),
        (lambda: SkillConfig(buffer_km=-1.0), "buffer_km"),
        (PrepareConfig, "folder"),
        (lambda: PrepareConfig(models=("CESM1",), altimetry="x"), "name=path"),
    ],
)
def test_settings_that_cannot_be_are_one_line(make, finding):
    with pytest.raises(ValueError, match=finding):
        make()
