"""The whole way: declaration, data and predictions in, a card out; the same from any kind of file."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from appdriven.application import Application, Columns
from appdriven.baselines import climatology, compute_baselines
from appdriven.evaluation import evaluate
from appdriven.predictions import Predictions, predict_folds, read_predictions
from appdriven.splits import make_splits
from appdriven.table import Table, read_table
from isopleth.errors import ConfigError, DataError


def test_persistence_has_no_skill_against_itself(application, table):
    card = evaluate(application, table, Predictions(table.numbers("last")))
    (one,) = [one for one in card.comparisons if (one.metric, one.baseline) == ("rmse", "persistence")]
    assert (one.difference, one.interval, one.skill, one.skill_interval) == (0.0, (0.0, 0.0), 0.0, (0.0, 0.0))


def test_a_better_model_beats_and_a_worse_one_does_not(application, table):
    good = evaluate(application, table, Predictions(0.8 * table.numbers("last")))
    assert good.headline.verdict in ("beats", "undecided")
    assert good.violations == []
    bad = evaluate(application, table, Predictions(table.numbers("last") + 2.0))
    assert bad.headline.verdict == "does not beat"
    assert bad.headline.baseline == "linear"


def test_scores_are_plain_arithmetic(application, table):
    said = 0.8 * table.numbers("last")
    card = evaluate(application, table, Predictions(said))
    error = said - table.target
    scores = {(score.metric, *map(str, score.stratum.values())): score for score in card.record.scores}
    assert scores[("rmse",)].model == pytest.approx(np.sqrt(np.mean(error**2)))
    assert scores[("mae",)].baselines["persistence"] == pytest.approx(
        abs(table.numbers("last") - table.target).mean()
    )
    odd = table.frame["half"].to_numpy() == "odd"
    assert scores[("rmse", "odd")].model == pytest.approx(np.sqrt(np.mean(error[odd] ** 2)))
    assert card.worst[0].value == max(scores[("rmse", half)].model for half in ("odd", "even"))


def test_all_methods_are_scored_on_the_samples_that_all_have(application, table, declaration):
    declaration["baselines"]["domain"] = ["persistence", "seasonal-naive"]
    card = evaluate(Application.from_dict(declaration), table, Predictions(0.8 * table.numbers("last")))
    assert "235 samples" in card.record.data.test  # 600 days, of which 365 have no year before
    assert card.violations == []


def test_a_seasonal_naive_forecast_is_the_value_of_a_year_before(application, table, declaration):
    declaration["baselines"] = {"domain": ["seasonal-naive"], "learned": ["gbm", "ridge"]}
    found = compute_baselines(
        Application.from_dict(declaration), table, make_splits(application.splits, table)
    )
    assert np.array_equal(found["seasonal-naive"][365:], table.target[:-365])
    assert np.isnan(found["seasonal-naive"][:365]).all()
    assert np.isfinite(found["gbm"]).all()


def test_persistence_without_its_column_looks_one_lead_back(application, table, declaration):
    del declaration["data"]["columns"]["persistence"]
    application = Application.from_dict(declaration)
    bare = Table(table.frame, application.data.columns)
    found = compute_baselines(application, bare, make_splits(application.splits, bare))["persistence"]
    assert np.array_equal(found[1:], table.target[:-1])


def test_climatology_falls_back_from_place_and_month_to_month_to_all():
    columns = Columns(target="y", time="time", lat="lat", lon="lon")

    def table(rows):
        frame = pd.DataFrame(rows, columns=["time", "lat", "lon", "y"])
        return Table(frame.assign(time=pd.to_datetime(frame["time"])), columns)

    train = table(
        [
            ["2001-01-05", 10, 0, 1.0],
            ["2002-01-05", 10, 0, 3.0],
            ["2001-01-09", 20, 0, 8.0],
            ["2001-07-01", 20, 0, 20.0],
        ]
    )
    test = table([["2005-01-20", 10, 0, 0.0], ["2005-01-20", 50, 0, 0.0], ["2005-04-01", 10, 0, 0.0]])
    assert climatology(train, test).tolist() == [2.0, 4.0, 8.0]


def test_a_command_is_a_baseline(application, table, declaration, tmp_path):
    script = tmp_path / "current.py"
    script.write_text(
        "import sys, csv\n"
        "rows = list(csv.DictReader(open(sys.argv[2])))\n"
        "open(sys.argv[3], 'w').write('prediction\\n' + '\\n'.join(row['last'] for row in rows))\n"
    )
    declaration["baselines"]["command"] = f"{sys.executable} {script} {{train}} {{test}} {{out}}"
    folds = make_splits(application.splits, table)
    found = compute_baselines(Application.from_dict(declaration), table, folds)["current practice"]
    assert found == pytest.approx(table.numbers("last"))
    for command, message in (
        (f"{sys.executable} -c 'raise SystemExit(3)' {{train}} {{test}} {{out}}", "exit with 0, got 3"),
        ("predict {train}", "must hold"),
    ):
        declaration["baselines"]["command"] = command
        with pytest.raises((DataError, ConfigError), match=message):
            compute_baselines(Application.from_dict(declaration), table, folds)


def test_a_learner_never_sees_the_truth_of_the_test(application, table):
    seen = []

    def learner(train, test):
        seen.append(np.isnan(test.target).all() and np.isfinite(train.target).all())
        return np.zeros(len(test))

    predict_folds(learner, table, make_splits(application.splits, table))
    assert seen == [True] * 4
    with pytest.raises(DataError, match="must predict 150 test samples, got shape"):
        predict_folds(lambda train, test: np.zeros(3), table, make_splits(application.splits, table))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "nc", "zarr"])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_predictions_come_in_any_format_and_order(table, tmp_path, suffix):
    said = table.frame[["time"]].assign(prediction=np.arange(600.0), lower=-1.0, upper=1.0).iloc[::-1]
    path = tmp_path / f"p.{suffix}"
    if suffix == "csv":
        said.to_csv(path, index=False)
    elif suffix == "parquet":
        said.to_parquet(path)
    else:
        ds = xr.Dataset(
            {name: ("time", said[name].to_numpy()) for name in ("prediction", "lower", "upper")},
            {"time": said["time"].to_numpy()},
        )
        ds.to_netcdf(path) if suffix == "nc" else ds.to_zarr(path)
    found = read_predictions(path, table, np.ones(600, dtype=bool))
    assert np.array_equal(found.value, np.arange(600.0))
    assert found.probability is None


def test_fields_are_weighed_by_area_and_resampled_in_space_and_time(declaration, tmp_path):
    rng = np.random.default_rng(0)
    lat, lon, time = np.linspace(-75, 75, 6), np.arange(8) * 45.0, pd.date_range("2001-01-01", periods=60)
    truth = xr.DataArray(
        rng.normal(size=(60, 6, 8)), {"time": time, "lat": lat, "lon": lon}, ("time", "lat", "lon")
    )
    error = xr.ones_like(truth) * np.where(abs(lat) > 60, 3.0, 1.0)[None, :, None]
    truth.to_dataset(name="level").to_netcdf(tmp_path / "truth.nc")
    (truth + error).to_dataset(name="prediction").sel(lat=lat[::-1]).to_netcdf(tmp_path / "said.nc")
    declaration["data"]["columns"] = {"target": "level", "time": "time", "lat": "lat", "lon": "lon"}
    declaration["baselines"] = {"domain": ["persistence", "climatology"], "learned": "unknown: no features"}
    declaration["subgroups"]["columns"] = "unknown: none"
    declaration["uncertainty"] = {"over": "space-time", "tile_km": 5000.0, "draws": 100}
    declaration["constraints"]["max_missing"] = 0.0
    application = Application.from_dict(declaration)
    table = read_table(tmp_path / "truth.nc", application.data.columns)
    said = read_predictions(tmp_path / "said.nc", table, np.ones(len(table), dtype=bool))
    card = evaluate(application, table, said)
    share = np.sin(np.radians(90)) - np.sin(np.radians(60))  # bounds of the rows at 75 degrees
    expected = np.sqrt(share * 9 + (1 - share) * 1)
    assert card.record.scores[0].model == pytest.approx(expected, rel=1e-5)
    assert card.record.scores[0].baselines.keys() == {"persistence", "climatology"}


def test_intervals_and_probabilities_are_calibrated_against_the_truth(declaration, table):
    declaration["metrics"]["guard"] = [
        {"name": "brier", "threshold": 0.2, "set_by": "us"},
        {"name": "expected_cost", "threshold": "unknown: x", "set_by": "us"},
        {"name": "psnr", "threshold": "unknown: x", "set_by": "us"},
        {"name": "r2", "threshold": "unknown: x", "set_by": "us"},
        {"name": "csi", "threshold": "unknown: x", "set_by": "us"},
    ]
    from scipy.stats import norm

    mean = 0.8 * table.numbers("last")
    said = Predictions(mean, mean - 1.645, mean + 1.645, norm.sf(1.5 - mean))
    card = evaluate(Application.from_dict(declaration), table, said)
    assert card.calibration.coverage == pytest.approx(0.9, abs=0.04)
    assert card.calibration.slope == pytest.approx(1.0, abs=0.15)
    scores = {score.metric: score for score in card.record.scores if not score.stratum}
    assert scores["brier"].model < min(scores["brier"].baselines.values())
    assert card.decision.expected_cost["perfect"] <= card.decision.expected_cost["model"]
    assert scores["expected_cost"].baselines["persistence"] == pytest.approx(
        card.decision.expected_cost["persistence"]
    )
    json.dumps(card.to_dict(), allow_nan=False)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "nc"])
def test_the_same_samples_have_the_same_fingerprint_in_any_file(table, tmp_path, suffix):
    path = tmp_path / f"data.{suffix}"
    if suffix == "csv":
        table.frame.to_csv(path, index=False)
    elif suffix == "parquet":
        table.frame.to_parquet(path)
    else:
        numbers = table.frame.drop(columns="half").set_index("time")
        numbers.to_xarray().to_netcdf(path)
    assert read_table(path, table.columns).fingerprint() == table.fingerprint()
    table.frame.assign(noise=table.frame["noise"] * (1 + 1e-12)).to_csv(tmp_path / "other.csv", index=False)
    assert read_table(tmp_path / "other.csv", table.columns).fingerprint() != table.fingerprint()
