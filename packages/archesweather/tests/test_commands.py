"""From simulated weather to a forecast store and scores, through the command line."""

import json

import pytest
import xarray as xr

from archesweather.cli import tool
from isopleth.report import read_evaluation

PERIODS = {
    "train": ("2018-11-01", "2018-12-31"),
    "validate": ("2019-01-01", "2019-01-14"),
    "test": ("2019-01-15", "2019-01-29"),
}
SPLIT = [word for name, ends in PERIODS.items() for word in (f"--split.{name}", json.dumps(ends))]
NETWORK = {"dim": 16, "depths": [1, 1, 1, 1], "heads": [2, 2, 2, 2], "window": [2, 4], "column_heads": 2}
SIZE = [word for name, value in NETWORK.items() for word in (f"--network.{name}", json.dumps(value))]
FIT = ["--fit.max_steps", "3", "--fit.warmup_steps", "1", "--fit.batch_size", "2"]


def run(capsys, *words):
    code = tool.main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def refuse(capsys, *words):
    code = tool.main([*map(str, words)])
    error = capsys.readouterr().err
    assert code != 0
    return error.strip().splitlines()[-1]


@pytest.fixture
def data(tmp_path, capsys):
    dates = ["--sample.start", "2018-11-01", "--sample.end", "2019-01-29"]
    train = ["--train", json.dumps(PERIODS["train"])]
    run(capsys, "prepare", "sample", "--out", tmp_path / "data", *dates, *train)
    return tmp_path / "data"


def test_prepare_train_predict_evaluate(data, tmp_path, capsys):
    trained = run(capsys, "train", data, "--out", tmp_path / "run", *SIZE, *FIT, *SPLIT)
    (model,) = trained["pretrained"]

    store = tmp_path / "forecast.zarr"
    found = run(capsys, "predict", data, "--model", model, "--out", store, "--lead_hours", "72")
    assert (found["initial_times"], found["leads"]) == (1, 3)
    with xr.open_zarr(store) as forecast:
        assert forecast.sizes["prediction_timedelta"] == 3
        assert bool(forecast["geopotential"].notnull().all())

    options = ["--lead_hours", "48", "--every_hours", "24", "--climatology.window_days", "0", "--draws", "50"]
    out = tmp_path / "scores"
    run(capsys, "evaluate", data, "--model", model, "--out", out, *options, *SPLIT)
    record = read_evaluation(out)
    assert record.data.kind == "simulated"
    assert {"persistence", "climatology"} <= set(record.scores[0].baselines)
    assert (out / "report.html").is_file()


def test_members_make_an_ensemble(data, tmp_path, capsys):
    trained = run(capsys, "train", data, "--out", tmp_path / "run", "--members", "2", *SIZE, *FIT, *SPLIT)
    models = json.dumps(trained["pretrained"])
    assert len(trained["pretrained"]) == 2
    options = ["--lead_hours", "24", "--average", "none"]
    found = run(capsys, "predict", data, "--model", models, "--out", tmp_path / "f.zarr", *options)
    assert found["members"] == 2


def test_a_lead_that_was_not_prepared_is_one_clear_error(data, tmp_path, capsys):
    words = ["--lead_hours", "48", "--out", tmp_path / "run"]
    error = refuse(capsys, "train", data, *words, *SIZE, *FIT, *SPLIT)
    assert "got 48" in error
    assert "prepare" in error


def test_what_was_not_prepared_is_one_clear_error(tmp_path, capsys):
    error = refuse(capsys, "train", tmp_path / "nothing", "--out", tmp_path / "run")
    assert "archesweather prepare" in error
    assert not (tmp_path / "run").exists()
