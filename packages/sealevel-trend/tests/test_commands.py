"""From prepared fields to predictions, scores and reports, through the command line."""

import csv
import json

import numpy as np
import pytest
import xarray as xr
import yaml

from isopleth.config import find_config
from isopleth.report import read_evaluation
from isopleth.sealevel.global_mean import ocean_mean
from sealevel_trend.cli import tool
from sealevel_trend.config import DemoConfig, EvaluateConfig, LearningConfig, PrepareConfig
from sealevel_trend.model import TrendModel


def run(capsys, *words):
    code = tool.main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def fail(capsys, *words):
    code = tool.main([*map(str, words)])
    assert code in (1, 2)
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


@pytest.fixture
def trained(prepared_file, quick, tmp_path, capsys):
    return run(capsys, "train", prepared_file, "--out", tmp_path / "run", *quick)


def test_train_then_predict(trained, prepared_file, tmp_path, capsys):
    assert trained["segments"] == 3
    assert -1 <= trained["stability"] <= 1
    out = tmp_path / "prediction"
    options = ["--cities", "[Tokyo, Sydney]", "--formats", "[netcdf, zarr]", "--kind", "simulated"]
    found = run(capsys, "predict", prepared_file, "--model", trained["pretrained"], "--out", out, *options)
    with xr.open_dataset(out / "sea_level_trend.nc") as written:
        trend, low, high = (written[f"sea_level_trend{end}"] for end in ("", "_lower", "_upper"))
        assert ((low < trend) & (trend < high)).sum() == found["cells"] == trained["cells"]
        assert written["sea_level_trend_contribution"].sizes["model"] == 4
        assert set(np.unique(written["segment"])) == {-1, 0, 1, 2}
        assert trend.attrs["units"] == "mm year-1"
        assert "2023 to 2052" in trend.attrs["long_name"]
        assert float(abs(written["observed_trend"] - trend).mean()) > 0.1
    with (out / "cities.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["city"] for row in rows] == ["Tokyo", "Sydney"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seam_jump"] > 0
    assert summary["mean_width"] == pytest.approx(found["mean_width"])
    assert len(summary["components"]) == 5
    assert read_evaluation(out).data.kind == "simulated"
    page = (out / "report.html").read_text()
    assert "barystatic" in page
    assert (out / "sea_level_trend.zarr").is_dir()


def test_the_global_mean_is_added_back(prepared_file, quick, tmp_path, capsys):
    outputs = {}
    for option in ("remove", "add_back", "keep"):
        words = ["--out", tmp_path / option, "--learning.global_mean", option, *quick]
        trained = run(capsys, "train", prepared_file, *words, "--learning.partition.kind", "none")
        run(
            capsys,
            "predict",
            prepared_file,
            "--model",
            trained["pretrained"],
            "--out",
            tmp_path / f"p_{option}",
        )
        with xr.open_dataset(tmp_path / f"p_{option}" / "sea_level_trend.nc") as written:
            outputs[option] = written.load()
        shift = float(TrendModel.from_pretrained(trained["pretrained"]).mean_trend)
    moved = outputs["add_back"]["sea_level_trend"] - outputs["remove"]["sea_level_trend"]
    np.testing.assert_allclose(moved.values[np.isfinite(moved)], shift, rtol=1e-4)
    assert 2.5 < shift < 4.5
    means = {option: float(ocean_mean(one["sea_level_trend"])) for option, one in outputs.items()}
    assert abs(means["remove"]) < 0.5
    assert means["keep"] == pytest.approx(shift, abs=0.8)
    for end in ("lower", "upper"):
        name = f"sea_level_trend_{end}"
        assert float(ocean_mean(outputs["add_back"][name] - outputs["remove"][name])) == pytest.approx(
            shift, rel=1e-4
        )


def test_evaluate_shows_every_test_beside_its_baselines(prepared_file, quick, tmp_path, capsys):
    out = tmp_path / "scores"
    run(capsys, "evaluate", prepared_file, "--out", out, "--trees", "5", "--kind", "simulated", *quick)
    record = read_evaluation(out)
    assert record.data.kind == "simulated"
    errors = {s.stratum["test"]: s for s in record.scores if s.metric == "rmse"}
    always = {"global mean everywhere", "ensemble mean", "scaling by segment", "ridge", "random forest"}
    assert set(errors) == {
        "blocks", "random folds", "null test, blocks", "null test, random folds", "perfect model", "backtest"
    }  # fmt: skip
    for test, score in errors.items():
        expected = always | ({"persistence"} if test in ("perfect model", "backtest") else set())
        assert set(score.baselines) == expected
        assert score.interval[0] < score.model < score.interval[1]
    coverage = [s for s in record.scores if s.metric == "interval_coverage"]
    assert {s.stratum["interval"] for s in coverage} == {"calibrated", "networks alone"}
    assert {s.stratum["test"] for s in coverage} == {"blocks", "perfect model"}
    assert 0.8 < coverage[0].model < 0.98
    assert {claim.units for claim in record.claims} == {"mm year-1", "1"}
    assert len(record.claims) == 7


def test_an_earlier_run_is_not_overwritten(trained, prepared_file, quick, capsys):
    assert "resume" in fail(capsys, "train", prepared_file, "--out", trained["run"], *quick)


def test_resume_gives_the_same_model(trained, prepared_file, quick, tmp_path, capsys):
    before = TrendModel.from_pretrained(trained["pretrained"]).state_dict()
    run(capsys, "train", prepared_file, "--out", trained["run"], "--resume", *quick)
    after = TrendModel.from_pretrained(trained["pretrained"]).state_dict()
    for name, values in before.items():
        np.testing.assert_array_equal(values.numpy(), after[name].numpy())


def test_the_paper_config_trains_a_step(prepared_file, tmp_path, capsys):
    config = yaml.safe_load(find_config("sealevel_trend", "paper").read_text())["learning"]
    assert config["network"]["hidden"] == [256, 128]
    assert config["period"] == {"past": [1993, 2022], "future": [2023, 2052]}
    assert config["partition"]["clusters"] == 5
    options = [
        "--learning.fit.epochs",
        "1",
        "--learning.ensemble.seeds",
        "1",
        "--learning.ensemble.passes",
        "2",
    ]
    words = [
        "train",
        prepared_file,
        "--config",
        "paper",
        "--prepared",
        prepared_file,
        "--out",
        tmp_path / "paper",
    ]
    found = run(capsys, *words[:1], *words[2:], *options, "--runtime.accelerator", "cpu")
    model = TrendModel.from_pretrained(found["pretrained"])
    assert model.networks.config.shape.hidden == (256, 128)
    assert model.networks.config.shape.dropout == 0.2


def test_shipped_demo_configs_can_be_read():
    from isopleth.cli import load_config

    for name in ("demo", "full", "paper"):
        config = load_config(name, EvaluateConfig, package="sealevel_trend")
        assert config.learning.network.hidden == (256, 128)
        assert config.learning.partition.kind == "spectral"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learning.period.past", "[1993, 1999]"], "at least 10 years"),
        (["--learning.period.future", "[2020, 2052]"], "after past has ended"),
        (["--learning.partition.kind", "kmeans"], "kmeans"),
        (["--learning.global_mean", "drop"], "drop"),
        (["--learning.level", "1.0"], "between 0 and 1"),
        (["--learning.network.dropout", "1.5"], "dropout"),
        (["--learning.ensemble.validation", "0.9"], "validation"),
        (["--learning.folds.folds", "1"], "folds"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(prepared_file, tmp_path, capsys, words, message):
    assert message in fail(capsys, "train", prepared_file, "--out", tmp_path / "x", *words)


def test_years_that_were_not_prepared_are_named(prepared_file, quick, tmp_path, capsys):
    words = ["--learning.period.past", "[1980, 2010]", "--out", tmp_path / "x", *quick]
    assert "every year from 1980 to 2010" in fail(capsys, "train", prepared_file, *words)


def test_prepare_asks_for_folders_in_one_way(capsys):
    assert "neither" in fail(capsys, "prepare")
    assert "name=path" in fail(capsys, "prepare", "--models", "[CESM2]", "--altimetry", "x")
    assert "altimetry must be given" in fail(capsys, "prepare", "--models", "[CESM2=x]")
    assert "both" in fail(capsys, "prepare", "folder", "--models", "[CESM2=x]")


def test_a_folder_without_altimetry_is_one_line(tmp_path, capsys):
    (tmp_path / "CESM2").mkdir()
    assert "altimetry" in fail(capsys, "prepare", tmp_path)


def test_defaults_are_the_papers_years_and_every_member():
    assert LearningConfig().period.past == (1993, 2022)
    assert LearningConfig().network.hidden == (256, 128)
    assert PrepareConfig(folder="x").settings.members == "keep"
    assert DemoConfig().out.name == "sealevel-trend"
