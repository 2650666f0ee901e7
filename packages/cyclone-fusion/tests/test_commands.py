"""From a track file to forecasts, scores and a report, through the command line."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from cyclone_fusion.cli import tool
from cyclone_fusion.config import SplitConfig, TrainConfig
from cyclone_fusion.data import build_samples, split_by_season
from cyclone_fusion.evaluate import baseline_errors, errors_km
from cyclone_fusion.model import TrackNetwork
from cyclone_fusion.predict import predict_displacement
from isopleth.config import find_config
from isopleth.report import read_evaluation

SPLIT = ["--split.train_until", "2005", "--split.validate_until", "2007"]


def run(capsys, *words):
    code = tool.main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


@pytest.fixture
def trained(track_file, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--fit.max_epochs", "3", "--fit.batch_size", "32"]
    return run(capsys, "train", track_file, "--out", out, *options, *SPLIT)


def test_train_predict_evaluate(trained, track_file, table, tmp_path, capsys):
    forecasts = tmp_path / "forecasts.csv"
    found = run(
        capsys, "predict", track_file, "--model", trained["pretrained"], "--out", forecasts, "--latest"
    )
    assert found["samples"] == 30
    written = pd.read_csv(forecasts, parse_dates=["time", "valid_time"])
    assert (written["valid_time"] - written["time"] == pd.Timedelta(hours=24)).all()
    assert written.set_index("track_id")["time"].equals(table.groupby("track_id")["time"].max())
    assert written["forecast_lon"].between(0, 360).all()

    out = tmp_path / "scores"
    run(capsys, "evaluate", track_file, "--model", trained["pretrained"], "--out", out, *SPLIT)
    record = read_evaluation(out)
    assert (out / "report.html").is_file()
    overall = record.scores[0]
    assert overall.interval[0] < overall.model < overall.interval[1]
    assert record.data.kind == "real"


def test_scores_are_the_mean_of_an_independent_haversine(trained, track_file, tracks, tmp_path, capsys):
    run(capsys, "evaluate", track_file, "--model", trained["pretrained"], "--out", tmp_path / "e", *SPLIT)
    network = TrackNetwork.from_pretrained(trained["pretrained"])
    split = split_by_season(
        build_samples(tracks, network.config.sample), SplitConfig(train_until=2005, validate_until=2007)
    )
    moved = predict_displacement(network, split.test).astype(np.float64)
    distance, bearing = np.hypot(*moved.T) / 6371.0, np.arctan2(*moved.T)
    lat, lon = np.radians(split.test["lat"].values), np.radians(split.test["lon"].values)
    new_lat = np.arcsin(np.sin(lat) * np.cos(distance) + np.cos(lat) * np.sin(distance) * np.cos(bearing))
    new_lon = lon + np.arctan2(
        np.sin(bearing) * np.sin(distance) * np.cos(lat), np.cos(distance) - np.sin(lat) * np.sin(new_lat)
    )
    true_lat, true_lon = (
        np.radians(split.test["target_lat"].values),
        np.radians(split.test["target_lon"].values),
    )
    a = np.sin((true_lat - new_lat) / 2) ** 2
    a += np.cos(new_lat) * np.cos(true_lat) * np.sin((true_lon - new_lon) / 2) ** 2
    expected = 2 * 6371.0 * np.arcsin(np.sqrt(a))
    np.testing.assert_allclose(errors_km(split.test, moved), expected, atol=1e-6)
    assert read_evaluation(tmp_path / "e").scores[0].model == pytest.approx(expected.mean(), rel=1e-9)


def test_the_network_learns_a_law_that_persistence_misses(tmp_path, capsys):
    """Storms that curve at a constant rate: the next displacement follows from the last two."""
    rows = []
    for number in range(60):
        rng = np.random.default_rng(number)
        heading, lat, lon, turn = rng.uniform(0, 2 * np.pi), 15.0, 150.0, 0.15
        for i in range(20):
            time = pd.Timestamp(f"{2000 + number % 10}-08-01") + pd.Timedelta(hours=6 * i)
            rows.append((f"S{number}", 2000 + number % 10, "WP", time, lat, lon, 40.0))
            lat, lon, heading = lat + np.cos(heading), lon + np.sin(heading), heading + turn
    table = pd.DataFrame(rows, columns=["track_id", "season", "basin", "time", "lat", "lon", "wind"])
    table.to_csv(tmp_path / "tracks.csv", index=False)
    options = ["--fit.max_epochs", "60", "--fit.batch_size", "32"]
    trained = run(capsys, "train", tmp_path / "tracks.csv", "--out", tmp_path / "run", *options, *SPLIT)
    network = TrackNetwork.from_pretrained(trained["pretrained"])
    from cyclone_fusion.tracks import read_tracks

    samples = build_samples(read_tracks(tmp_path / "tracks.csv"), network.config.sample)
    split = split_by_season(samples, SplitConfig(train_until=2005, validate_until=2007))
    mine = errors_km(split.test, predict_displacement(network, split.test)).mean()
    assert mine < 0.3 * baseline_errors(split)["persistence"].mean()


def test_an_earlier_run_is_not_overwritten(trained, track_file, capsys):
    assert tool.main(["train", str(track_file), "--out", trained["run"], *SPLIT]) == 2
    assert "resume" in capsys.readouterr().err


def test_samples_as_a_file(track_file, tmp_path, capsys):
    import xarray as xr

    found = run(capsys, "prepare", track_file, "--out", tmp_path / "samples.nc")
    with xr.open_dataset(tmp_path / "samples.nc") as samples:
        assert samples.sizes["sample"] == found["samples"] == 300
        assert "tracks.csv" in str(samples.attrs)


def test_the_paper_config_trains_a_step(track_file, tmp_path, capsys):
    config = yaml.safe_load(find_config("cyclone_fusion", "paper").read_text())
    assert config["model"]["network"]["hidden"] == [8]
    options = ["--fit.max_epochs", "1", "--fit.batch_size", "64", "--out", tmp_path / "paper"]
    found = run(capsys, "train", track_file, "--config", "paper", *options, *SPLIT)
    network = TrackNetwork.from_pretrained(found["pretrained"])
    assert network.config.sample.frame == "degrees"
    assert not network.config.network.correct_persistence


@pytest.mark.parametrize("suffix", [".csv", ".nc"])
def test_a_model_that_is_none_is_one_line_and_no_output(track_file, tmp_path, capsys, suffix):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"\x80\x04\x95")
    out = tmp_path / f"forecasts{suffix}"
    words = ["predict", str(track_file), "--model", str(tmp_path / "model"), "--out", str(out)]
    assert tool.main(words) == 1
    assert "pickle" in capsys.readouterr().err
    assert not out.exists()


def test_defaults_of_the_demo_are_the_documented_seasons():
    assert TrainConfig().split == SplitConfig(train_until=2014, validate_until=2019)
