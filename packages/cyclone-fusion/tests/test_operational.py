"""Operational errors: the Center's layout, matched by time and place, on forecasts that all have made."""

import json

import numpy as np
import pandas as pd
import pytest

from cyclone_fusion.cli import tool
from cyclone_fusion.config import SampleConfig, SplitConfig
from cyclone_fusion.data import build_samples
from cyclone_fusion.operational import align_errors, homogeneous, read_error_database
from cyclone_fusion.predict import Ensemble
from cyclone_fusion.scores import errors_km
from cyclone_fusion.split import split_samples
from isopleth.errors import DataError
from isopleth.report import read_evaluation

LEADS = (0, 12, 24, 36, 48, 72, 96, 120, 144, 168)
MODELS = ("OFCL", "BCD5")
NO_FORECAST = -9999.0


def make_head():
    sizes = " ".join(f"F{lead:03d}" for lead in LEADS[1:])
    errors = " ".join(f"{lead:03d}h{kind}{model:02d}" for model in (1, 2) for kind in "IT" for lead in LEADS)
    return [
        " Atlantic basin track and intensity forecast errors",
        " Model(s) verified:  OFCL BCD5",
        " Sample:  independent of one another",
        " Storms verified:  AL012008 AL022008",
        "",
        " Errors in n mi and kt",
        "",
        f" Date/Time           STMID    {sizes} Lat Lon WS {errors}",
        "",
    ]


def make_row(time, lat, lon, track_errors, storm="AL092021"):
    """Lay a fix out as the Center does: sizes, place, then intensity and track errors of each model."""
    values = [1.0] * len(LEADS[1:]) + [round(lat, 1), round(-lon, 1), 50]
    for model in MODELS:
        values += [5.0] * len(LEADS)
        values += [track_errors.get((model, lead), NO_FORECAST) for lead in LEADS]
    return f"{pd.Timestamp(time):%d-%m-%Y/%H:%M:%S} {storm} " + " ".join(map(str, values))


@pytest.fixture
def write_database(tmp_path):
    def write(rows, name="errors.txt"):
        (tmp_path / name).write_text("\n".join([*make_head(), *rows]) + "\n", encoding="latin-1")
        return tmp_path / name

    return write


@pytest.fixture
def samples(tracks):
    return build_samples(tracks, SampleConfig())


def test_the_error_database_is_read_in_km(write_database):
    row = make_row("2021-08-29 12:00", 28.5, -89.6, {("OFCL", 0): 2.0, ("OFCL", 24): 30.0})
    found = read_error_database(write_database([row]))
    assert found[["model", "lead_hours"]].to_numpy().tolist() == [["OFCL", 24]]
    assert found["error_km"].item() == pytest.approx(30 * 1.852)
    assert (found["lat"].item(), found["lon"].item()) == (28.5, -89.6)
    assert found["time"].item() == pd.Timestamp("2021-08-29 12:00")


ROW = make_row("2021-08-29 12:00", 28.5, -89.6, {("OFCL", 24): 30.0})


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["hello"],
        make_head(),
        [*make_head(), "29-08-2021/12:00:00 AL092021 1"],
        [*make_head(), ROW.replace("28.5", "28.5N")],
        [*make_head(), ROW.replace("29-08", "29-13")],
        [*(line.replace("STMID", "STORM") for line in make_head()), ROW],
        [*(line.replace("hT0", "hX0") for line in make_head()), ROW],
    ],
)
def test_what_is_no_error_database_is_one_error(tmp_path, lines):
    (tmp_path / "errors.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"errors\.txt"):
        read_error_database(tmp_path / "errors.txt")


def test_errors_are_matched_by_time_and_place(write_database, samples):
    at = samples.isel(sample=[3, 40])
    places = list(zip(at["time"].values, at["lat"].values, at["lon"].values, strict=True))
    rows = [
        make_row(*places[0], {("OFCL", 24): 10.0, ("BCD5", 24): 15.0}),
        make_row(*places[1], {("OFCL", 24): 20.0}),
        make_row(places[1][0], places[1][1] + 5, places[1][2], {("OFCL", 24): 99.0, ("BCD5", 24): 99.0}),
    ]
    found = align_errors(read_error_database(write_database(rows)), samples)
    assert found["OFCL"][[3, 40], 0].tolist() == pytest.approx([18.52, 37.04])
    assert np.isfinite(found["OFCL"]).sum() == 2
    common = homogeneous(np.ones((samples.sizes["sample"], 1)), *found.values())
    assert np.flatnonzero(common).tolist() == [3]


@pytest.fixture
def trained(track_file, tmp_path):
    words = ["train", track_file, "--config", "track", "--fit.track.max_epochs", "1", "--split.train_until"]
    words += ["2005", "--split.validate_until", "2007", "--out", tmp_path / "run"]
    assert tool.main([*map(str, words), "--json"]) == 0
    return tmp_path / "run"


def test_evaluate_compares_on_forecasts_that_all_have_made(
    trained, track_file, samples, write_database, tmp_path, capsys
):
    """Of three test storms' forecasts the Center made all, the regression two storms': those count."""
    split = split_samples(samples, SplitConfig(train_until=2005, validate_until=2007))
    storms = np.unique(split.test["track_id"].values)[:3]
    here = np.flatnonzero(np.isin(split.test["track_id"].values, storms))
    rows, theirs = [], {"OFCL": [], "BCD5": []}
    for number in here:
        one = split.test.isel(sample=number)
        both = one["track_id"].item() != storms[2]
        errors = {("OFCL", 24): 10.0 + number} | ({("BCD5", 24): 50.0 + number} if both else {})
        rows.append(make_row(one["time"].values, one["lat"].item(), one["lon"].item(), errors))
        for model in MODELS if both else ():
            theirs[model].append(errors[model, 24] * 1.852)
    halves = [write_database(rows[:15], "atl.txt"), write_database(rows[15:], "epac.txt")]
    words = ["evaluate", track_file, "--model", trained, "--out", tmp_path / "e", "--operational"]
    assert tool.main([*map(str, words), json.dumps([*map(str, halves)])]) == 0, capsys.readouterr().err
    scores = read_evaluation(tmp_path / "e").scores
    mean, median = (score for score in scores if "sample" in score.stratum)
    assert mean.stratum["sample"] == "homogeneous with OFCL, BCD5"
    assert (mean.metric, median.metric, mean.n) == ("mean_error", "median_error", 2)
    for model in MODELS:
        assert mean.baselines[model] == pytest.approx(np.mean(theirs[model]))
        assert median.baselines[model] == pytest.approx(np.median(theirs[model]))
    moved = Ensemble.load(str(trained)).predict(split.test).moved
    counted = np.isin(split.test["track_id"].values, storms[:2])
    assert mean.model == pytest.approx(errors_km(split.test, moved)[counted].mean(), rel=1e-6)


def test_a_database_of_other_storms_is_one_error(trained, track_file, write_database, tmp_path, capsys):
    path = write_database([make_row("1999-08-29 12:00", 28.5, -89.6, {("OFCL", 24): 30.0})])
    words = ["evaluate", track_file, "--model", trained, "--out", tmp_path / "e", "--operational"]
    assert tool.main([*map(str, words), json.dumps([str(path)])]) == 1
    error = capsys.readouterr().err
    assert "got none that all have made" in error
    assert "errors.txt" in error
