"""From files to fine fields, scores and a report, through the command line."""

import json

import numpy as np
import pytest
import xarray as xr
import yaml

from climalign.cli import tool
from climalign.config import BmdConfig, SamplingConfig, TrainConfig, WorldConfig
from climalign.sample import PRECIPITATION, TEMPERATURE
from isopleth.config import find_config, shipped_configs
from isopleth.report import read_evaluation

SHORT = ["--fit.epochs", "1", "--fit.batch_size", "64", "--fit.critic_filters", "4", "--runtime.threads", "1"]
FLOW = ["--flow.levels", "2", "--flow.steps", "1", "--flow.filters", "4"]
SPLIT = [
    "--split.train_coarse", "[2000,2000]", "--split.train_fine", "[2001,2001]",
    "--split.validate_coarse", "[2002,2002]", "--split.validate_fine", "[2003-01-01,2003-12-24]",
    "--split.test", "[2004,2004]",
]  # fmt: skip


def run(capsys, *words):
    code = tool.main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def years(*words):
    return [
        word.replace("[", '["').replace("]", '"]').replace(",", '","') if word[0] == "[" else word
        for word in words
    ]


@pytest.fixture
def files(world, tmp_path):
    for name in ("coarse", "fine"):
        getattr(world, name).to_netcdf(tmp_path / f"{name}.nc")
    return tmp_path


@pytest.fixture
def prepared(files, capsys):
    periods = years("--train_coarse", "[2000,2000]", "--train_fine", "[2001,2001]")
    words = [*periods, "--data", "simulated", "--out", files / "prepared"]
    run(capsys, "prepare", files / "coarse.nc", files / "fine.nc", *words)
    return files / "prepared"


@pytest.fixture
def trained(prepared, files, capsys):
    return run(capsys, "train", prepared, "--out", files / "run", *SHORT, *FLOW, *years(*SPLIT))


def test_prepare_train_predict_evaluate(trained, prepared, files, capsys):
    model = trained["pretrained"]
    out = files / "fine.zarr"
    options = [
        "--period",
        '["2004-03","2004-04"]',
        "--sampling.members",
        2,
        "--density",
        "true",
        "--chunk_days",
        20,
    ]
    found = run(capsys, "predict", files / "coarse.nc", "--model", model, "--out", out, *options)
    assert found["time"] == 61
    with xr.open_zarr(out) as made:
        assert made[TEMPERATURE].sizes == {"member": 2, "time": 61, "lat": 16, "lon": 16}
        assert np.isfinite(made["log_density"]).all()
        assert made[TEMPERATURE].attrs["units"] == "K"
    back = files / "back.nc"
    options = ["--direction", "upscale", "--period", '["2004-03","2004-03"]', "--sampling.members", 1]
    run(capsys, "predict", files / "fine.nc", "--model", model, "--out", back, *options)
    with xr.open_dataset(back) as made:
        assert made.sizes["lat"] == 4

    out = files / "scores"
    options = ["--sampling.members", 3, "--sampling.temperature", 0.1, "--baselines.bmd.epochs", 1]
    pairs = years("--baselines.paired", "[2001,2001]")
    run(capsys, "evaluate", prepared, "--model", model, "--out", out, *options, *pairs, *years(*SPLIT))
    record = read_evaluation(out)
    rmse = next(score for score in record.scores if score.metric == "rmse")
    assert set(rmse.baselines) == {"nearest", "bilinear", "quantile mapping", "BCSD", "BMD (supervised)"}
    assert rmse.baselines["bilinear"] < 3
    assert len(record.claims) == 6
    assert record.data.kind == "simulated"
    assert (out / "report.html").is_file()


def test_folds_roll_over_the_last_days(prepared, files, capsys):
    out = files / "folds"
    options = [
        "--folds", 2, "--test_days", 90, "--validate_days", 60, "--embargo_days", 7, "--supervised", "false",
        "--sampling.members", 2, "--sampling.temperature", 0.1, "--quantiles", 10,
    ]  # fmt: skip
    words = ["crossvalidate", prepared, "--out", out, *options, *SHORT, "--fit.batch_size", 400, *FLOW]
    assert run(capsys, *words)["folds"] == 2
    record = read_evaluation(out)
    assert record.data.test == "2004-07-05 to 2004-12-31"
    assert "7 days left out" in record.data.train
    assert {score.n for score in record.scores if score.metric == "rmse"} == {2}
    for number, (last, first) in enumerate([("2004-06-27", "2004-07-05"), ("2004-09-25", "2004-10-03")]):
        split = yaml.safe_load((out / f"fold-{number}" / "train" / "config.yaml").read_text())["split"]
        assert (split["validate_fine"][1], split["test"][0]) == (last, first)
    assert tool.main([str(word) for word in words]) == 2
    assert "resume" in capsys.readouterr().err


def write_paper_files(folder, variable, *, seus):
    """Write 60 days of coarse and fine fields on the paper's windows."""
    rng = np.random.default_rng(0)
    south, west = (28, 267) if seus else (44, 232)
    time = np.datetime64("2000-01-01", "ns") + np.arange(60) * np.timedelta64(1, "D")
    for side, step in (("coarse", 1.0), ("fine", 0.25)):
        lat, lon = (np.arange(a + step / 2, a + size, step) for a, size in ((south, 8), (west, 16)))
        shape = (60, len(lat), len(lon))
        rain = variable == PRECIPITATION
        values = rng.gamma(0.5, 6, size=shape) / 86400 if rain else 280 + rng.normal(size=shape)
        field = xr.DataArray(
            values.astype("float32"), {"time": time, "lat": lat, "lon": lon}, ("time", "lat", "lon"),
            attrs={"units": "kg m-2 s-1" if rain else "K"},
        )  # fmt: skip
        field.to_dataset(name=variable).to_netcdf(folder / f"{side}.nc")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in shipped_configs("climalign") if name.startswith("paper")])
def test_the_papers_configs_are_as_published_and_take_a_step(name, tmp_path, capsys):
    config = yaml.safe_load(find_config("climalign", name).read_text())
    temperature = "maxt" in name
    assert config["flow"] == {
        "levels": 3,
        "steps": 8 if temperature else 4,
        "filters": 32,
        "max_filters": 256,
    }
    assert config["objective"]["nll"] == (1.0 if temperature else 0.1)
    variable = TEMPERATURE if temperature else PRECIPITATION
    write_paper_files(tmp_path, variable, seus="seus" in name)
    train = '["2000-01-01","2000-01-20"]'
    run(
        capsys, "prepare", tmp_path / "coarse.nc", tmp_path / "fine.nc", "--variable", variable,
        "--out", tmp_path / "p", "--train_coarse", train, "--train_fine", train,
    )  # fmt: skip
    validate = '["2000-02-01","2000-02-04"]'
    found = run(
        capsys, "train", tmp_path / "p", "--config", name, "--out", tmp_path / "run", "--fit.epochs", "1",
        "--split.train_coarse", '["2000-01-01","2000-01-10"]',
        "--split.train_fine", '["2000-01-11","2000-01-20"]',
        "--split.validate_coarse", validate, "--split.validate_fine", validate,
        "--split.test", '["2000-02-20","2000-02-25"]',
        "--runtime.threads", "1",
    )  # fmt: skip
    assert found["steps"] == 3
    assert found["parameters"] > 1e6


@pytest.mark.slow
def test_the_demo_from_end_to_end(tmp_path, monkeypatch, capsys):
    from climalign import demo

    small = demo.Size(
        "demo", 1, 0, WorldConfig(rows=16, columns=16, train_years=1, test_years=1),
        SamplingConfig(members=3, temperature=0.2), BmdConfig(epochs=1),
    )  # fmt: skip
    monkeypatch.setattr(demo, "SHORT", small)
    found = run(capsys, "demo", "--out", tmp_path / "demo")
    record = read_evaluation(tmp_path / "demo")
    assert record.data.kind == "simulated"
    assert len(record.claims) == 12
    assert found["rmse"]["temperature"]["bilinear"] < 3
    assert {path.stem for path in (tmp_path / "demo" / "figures").glob("*.svg")} == {
        f"{what}_{kind}"
        for what in ("fields", "spectra", "ranks")
        for kind in ("temperature", "precipitation")
    }


def test_an_earlier_run_is_not_overwritten(trained, prepared, capsys):
    assert tool.main(["train", str(prepared), "--out", trained["run"], *SHORT, *FLOW, *years(*SPLIT)]) == 2
    assert "resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (["--flow.levels", "0"], "levels must be above 0"),
        (["--field.factor", "1"], "factor must be at least 2"),
        (["--objective.mode", "magic"], "magic"),
        (["--fit.window", "[0,4]"], "window must be above 0"),
        (["--field.noise", "-1"], "must not be below 0"),
    ],
)
def test_settings_of_no_sense_are_one_line(options, finding, tmp_path, capsys):
    assert tool.main(["train", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert finding in error
    assert "Traceback" not in error


def test_missing_inputs_are_one_line(tmp_path, capsys):
    assert tool.main(["train", str(tmp_path / "none")]) == 1
    assert "climalign prepare" in capsys.readouterr().err
    (tmp_path / "model").mkdir()
    assert tool.main(["predict", str(tmp_path), "--model", str(tmp_path / "model")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_the_defaults_are_the_papers():
    plan = TrainConfig()
    assert (plan.flow.levels, plan.flow.steps, plan.fit.epochs, plan.fit.batch_size) == (3, 8, 50, 10)
    assert plan.objective.gradient_penalty == 10
    assert SamplingConfig().temperature == 0.5
