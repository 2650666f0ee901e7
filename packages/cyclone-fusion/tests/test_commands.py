"""From track files and fields to forecasts, scores and a report, through the command line."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from cyclone_fusion.cli import tool
from cyclone_fusion.config import SampleConfig, SplitConfig, TrainConfig
from cyclone_fusion.data import build_samples
from cyclone_fusion.model import FusedNetwork
from cyclone_fusion.predict import Ensemble
from cyclone_fusion.scores import errors_km
from cyclone_fusion.split import split_samples
from cyclone_fusion.tracks import read_tracks
from isopleth.config import find_config, shipped_configs
from isopleth.report import read_evaluation

SPLIT = ["--split.train_until", "2005", "--split.validate_until", "2007"]
SEASONS = SplitConfig(train_until=2005, validate_until=2007)
TRACK = ["--config", "track", "--fit.track.batch_size", "32"]
WINDOW = ["--window.levels", "[500,700]", "--window.size", "5", "--window.spacing_deg", "5"]
BY_STORM = ["--split.by", "storm", "--split.validate", "0.34"]
STAGES = ("track", "images", "head", "whole", "density")
FUSED = [word.replace("--window", "--model.window") for word in WINDOW]
FUSED += ["--model.network.convolutions", "[4]", "--model.network.dense", "[8,4]"]
FUSED += ["--model.network.density", "true", "--runtime.threads", "1", *BY_STORM]
for each in STAGES:
    FUSED += [f"--fit.{each}.max_epochs", "2", f"--fit.{each}.batch_size", "16"]


def run(capsys, *words):
    code = tool.main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def refuse(capsys, code, *words):
    assert tool.main([*map(str, words)]) == code
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    return error


@pytest.fixture
def trained(track_file, tmp_path, capsys):
    out = tmp_path / "run"
    return run(capsys, "train", track_file, "--out", out, *TRACK, "--fit.track.max_epochs", "3", *SPLIT)


@pytest.fixture
def season_file(tmp_path, one_season, make_fields):
    """Tracks of one season and a reanalysis around them, as files."""
    table = one_season.assign(wind=one_season["wind"] / 0.514444).to_dataframe()
    table.to_csv(tmp_path / "season.csv", index=False)
    make_fields(one_season).to_netcdf(tmp_path / "fields.nc", engine="netcdf4")
    return tmp_path / "season.csv"


def test_train_predict_evaluate_from_tracks_alone(trained, track_file, table, tmp_path, capsys):
    forecasts = tmp_path / "forecasts.csv"
    found = run(capsys, "predict", track_file, "--model", trained["run"], "--out", forecasts, "--latest")
    assert found["samples"] == 30
    written = pd.read_csv(forecasts, parse_dates=["time", "valid_time"])
    assert (written["valid_time"] - written["time"] == pd.Timedelta(hours=24)).all()
    assert written.set_index("track_id")["time"].equals(table.groupby("track_id")["time"].max())
    assert written["forecast_lon"].between(0, 360).all()

    out = tmp_path / "scores"
    run(capsys, "evaluate", track_file, "--model", trained["run"], "--out", out)
    record = read_evaluation(out)
    assert (out / "report.html").is_file()
    overall = record.scores[0]
    assert overall.interval[0] < overall.model < overall.interval[1]
    assert record.data.kind == "real"
    assert all(claim.units == "km" for claim in record.claims)


def test_scores_are_the_mean_of_an_independent_haversine(trained, track_file, tracks, tmp_path, capsys):
    run(capsys, "evaluate", track_file, "--model", trained["run"], "--out", tmp_path / "e")
    ensemble = Ensemble.load(trained["run"])
    split = split_samples(build_samples(tracks, ensemble.config.sample), SEASONS)
    moved = ensemble.predict(split.test).moved[:, 0].astype(np.float64)
    distance, bearing = np.hypot(*moved.T) / 6371.0, np.arctan2(*moved.T)
    lat, lon = np.radians(split.test["lat"].values), np.radians(split.test["lon"].values)
    new_lat = np.arcsin(np.sin(lat) * np.cos(distance) + np.cos(lat) * np.sin(distance) * np.cos(bearing))
    new_lon = lon + np.arctan2(
        np.sin(bearing) * np.sin(distance) * np.cos(lat), np.cos(distance) - np.sin(lat) * np.sin(new_lat)
    )
    true_lat = np.radians(split.test["target_lat"].values[:, 0])
    true_lon = np.radians(split.test["target_lon"].values[:, 0])
    a = np.sin((true_lat - new_lat) / 2) ** 2
    a += np.cos(new_lat) * np.cos(true_lat) * np.sin((true_lon - new_lon) / 2) ** 2
    expected = 2 * 6371.0 * np.arcsin(np.sqrt(a))
    np.testing.assert_allclose(errors_km(split.test, moved[:, None])[:, 0], expected, atol=1e-6)
    assert read_evaluation(tmp_path / "e").scores[0].model == pytest.approx(expected.mean(), rel=1e-6)


def test_prepare_train_predict_evaluate_with_fields(season_file, tmp_path, capsys):
    fields, store = tmp_path / "fields.nc", tmp_path / "samples.zarr"
    found = run(capsys, "prepare", season_file, "--fields", fields, "--out", store, *WINDOW)
    with xr.open_zarr(store) as samples:
        assert samples.sizes["sample"] == found["samples"] == 300
        assert samples["windows"].shape == (300, 12, 5, 5)
        assert (np.diff(samples["time"].values) >= np.timedelta64(0, "ns")).all()
        assert np.isfinite(samples["steering"].values).all()
    trained = run(capsys, "train", store, "--out", tmp_path / "run", "--members", "2", *FUSED)
    assert set(trained["val_error_km"]) == {"track", "wind", "pressure", "head", "whole"}

    for suffix in ("csv", "nc", "geojson"):
        out = tmp_path / f"forecasts.{suffix}"
        words = [
            "--model",
            trained["run"],
            "--fields",
            fields,
            "--out",
            out,
            "--latest",
            "--map",
            tmp_path / "map",
        ]
        assert run(capsys, "predict", season_file, *words)["samples"] == 30
    table = pd.read_csv(tmp_path / "forecasts.csv")
    with xr.open_dataset(tmp_path / "forecasts.nc") as forecasts:
        np.testing.assert_allclose(table["forecast_lat"], forecasts["forecast_lat"].values[:, 0], atol=1e-3)
        assert (forecasts["ellipse_major"] >= forecasts["ellipse_minor"]).all()
    collection = json.loads((tmp_path / "forecasts.geojson").read_text())
    assert {each["geometry"]["type"] for each in collection["features"]} == {"LineString", "Polygon"}
    assert (tmp_path / "map" / "figures" / "forecasts.svg").is_file()

    words = ["--model", trained["run"], "--out", tmp_path / "scores"]
    run(capsys, "evaluate", store, *words)
    record = read_evaluation(tmp_path / "scores")
    assert {"persistence", "climatology", "cliper-like", "steering flow", "cliper + steering"} == set(
        record.scores[0].baselines
    )
    assert {
        "coverage_of_90_percent_ellipse",
        "along_track_error",
        "median_error",
        "skill_against_cliper",
    } <= {score.metric for score in record.scores}


def test_storms_too_short_and_windows_with_nan_are_named_by_predict(season_file, tmp_path, capsys):
    fields, store, out = (tmp_path / name for name in ("fields.nc", "samples.zarr", "forecasts.csv"))
    run(capsys, "prepare", season_file, "--fields", fields, "--out", store, *WINDOW)
    trained = run(capsys, "train", store, "--out", tmp_path / "run", *FUSED)
    table = pd.read_csv(season_file)
    table[table["track_id"] != "S000"].groupby("track_id").head(2).to_csv(tmp_path / "new.csv", index=False)
    table[table["track_id"] == "S000"].to_csv(tmp_path / "new.csv", index=False, mode="a", header=False)
    words = ["predict", tmp_path / "new.csv", "--model", trained["run"], "--out", out, "--latest"]
    found = run(capsys, *words, "--fields", fields)
    assert found["samples"] == 1
    assert found["storms_left_out"]["S002"] == "too short for a sample"
    assert len(found["storms_left_out"]) == 29
    out.unlink()
    with xr.open_dataset(fields) as whole:
        holed = whole.load()
    holed["geopotential"][:, 0] = np.nan
    holed.to_netcdf(tmp_path / "holed.nc", engine="netcdf4")
    assert "around S000 at 2001" in refuse(capsys, 1, *words, "--fields", tmp_path / "holed.nc")
    assert not out.exists()
    run(capsys, *words, "--fields", tmp_path / "holed.nc", "--missing", "mask")
    assert np.isfinite(pd.read_csv(out)["forecast_lat"]).all()


def test_an_interrupted_preparation_goes_on(season_file, tmp_path, capsys, monkeypatch):
    from cyclone_fusion import prepare as room

    words = ["prepare", season_file, "--fields", tmp_path / "fields.nc", *WINDOW, "--resume"]
    whole, broken = tmp_path / "whole.zarr", tmp_path / "broken.zarr"
    run(capsys, *words, "--out", whole)
    cut = room.WindowCutter.cut

    def break_off(self, **options):
        yield next(cut(self, **options))[:80]
        raise KeyboardInterrupt

    monkeypatch.setattr(room.WindowCutter, "cut", break_off)
    assert tool.main([*map(str, words), "--out", str(broken)]) == 130
    begins = []

    def note(self, **options):
        begins.append(options["first"])
        return cut(self, **options)

    monkeypatch.setattr(room.WindowCutter, "cut", note)
    capsys.readouterr()
    run(capsys, *words, "--out", broken)
    assert begins == [64]
    with xr.open_zarr(whole) as a, xr.open_zarr(broken) as b:
        xr.testing.assert_equal(a.load(), b.load())


def test_fields_that_end_early_are_counted(season_file, tmp_path, capsys, one_season, make_fields):
    make_fields(one_season).isel(time=slice(0, 40)).to_netcdf(tmp_path / "short.nc", engine="netcdf4")
    words = ["prepare", season_file, "--fields", tmp_path / "short.nc", "--out", tmp_path / "s.zarr", *WINDOW]
    found = run(capsys, *words)
    assert 0 < found["samples"] < 300
    assert sum(found["samples_without_fields"].values()) == 300 - found["samples"]
    make_fields(one_season).isel(time=slice(0, 1)).to_netcdf(tmp_path / "none.nc", engine="netcdf4")
    words[3] = tmp_path / "none.nc"
    assert "storm S0" in refuse(capsys, 1, *words)


def test_the_network_learns_a_law_that_persistence_misses(tmp_path, capsys):
    """Storms that curve at a constant rate: the next displacement follows from the last two."""
    rows = []
    for number in range(40):
        rng = np.random.default_rng(number)
        heading, lat, lon, turn = rng.uniform(0, 2 * np.pi), 15.0, 150.0, 0.15
        for i in range(20):
            time = pd.Timestamp(f"{2000 + number % 10}-08-01") + pd.Timedelta(hours=6 * i)
            rows.append((f"S{number}", 2000 + number % 10, "WP", time, lat, lon, 40.0))
            lat, lon, heading = lat + np.cos(heading), lon + np.sin(heading), heading + turn
    table = pd.DataFrame(rows, columns=["track_id", "season", "basin", "time", "lat", "lon", "wind"])
    table.to_csv(tmp_path / "tracks.csv", index=False)
    options = [*TRACK, "--fit.track.max_epochs", "30"]
    trained = run(capsys, "train", tmp_path / "tracks.csv", "--out", tmp_path / "run", *options, *SPLIT)
    ensemble = Ensemble.load(trained["run"])
    samples = build_samples(read_tracks(tmp_path / "tracks.csv"), ensemble.config.sample)
    test = split_samples(samples, SEASONS).test
    mine = errors_km(test, ensemble.predict(test).moved).mean()
    from cyclone_fusion.baselines import persistence

    assert mine < 0.3 * errors_km(test, persistence(test)).mean()


def test_an_earlier_run_is_not_overwritten(trained, track_file, capsys):
    words = ["train", track_file, "--out", trained["run"], *TRACK, *SPLIT]
    assert "resume" in refuse(capsys, 2, *words)


def test_samples_as_a_file(track_file, tmp_path, capsys):
    found = run(capsys, "prepare", track_file, "--out", tmp_path / "samples.nc")
    with xr.open_dataset(tmp_path / "samples.nc") as samples:
        assert samples.sizes["sample"] == found["samples"] == 300
        assert "tracks.csv" in str(samples.attrs)


@pytest.mark.parametrize("name", sorted(shipped_configs("cyclone_fusion")))
def test_every_shipped_config_is_a_training(name):
    from isopleth.cli import load_config

    assert load_config(name, TrainConfig, package="cyclone_fusion") != TrainConfig()


def test_the_published_config_has_the_published_network():
    config = yaml.safe_load(find_config("cyclone_fusion", "paper").read_text())
    assert config["model"]["network"]["convolutions"] == [64, 64, 256]
    assert config["split"] == {"by": "storm", "validate": 0.2, "test": 0.2, "seed": 47}


def test_the_published_track_stream_trains_a_step(track_file, tmp_path, capsys):
    options = ["--fit.track.max_epochs", "1", "--fit.track.batch_size", "64", "--out", tmp_path / "paper"]
    found = run(capsys, "train", track_file, "--config", "paper-track", *options, *SPLIT)
    network = FusedNetwork.from_pretrained(f"{found['run']}/member-0/pretrained")
    assert network.config.sample == SampleConfig(frame="degrees")
    assert network.config.network.track_hidden == (8,)


def test_what_does_not_fit_together_is_one_line(trained, season_file, tmp_path, capsys):
    store = tmp_path / "samples.zarr"
    run(capsys, "prepare", season_file, "--fields", tmp_path / "fields.nc", "--out", store, *WINDOW)
    train = ["train", store, "--out", tmp_path / "other"]
    assert "18 channels of 25 x 25" in refuse(capsys, 1, *train, *BY_STORM)
    assert "samples with windows, got none" in refuse(capsys, 2, "train", season_file, *train[2:], *BY_STORM)
    assert "same --sample options" in refuse(capsys, 1, *train, "--model.sample.lead_hours", "[48]")
    assert "must end in .zarr" in refuse(capsys, 2, "prepare", season_file, "--fields", "x", "--out", "a.nc")
    assert "multiples of 6" in refuse(capsys, 2, "prepare", season_file, "--sample.lead_hours", "[7]")
    assert "among 2000-2009" in refuse(capsys, 1, "prepare", season_file, "--seasons", "[1900,1901]")
    few = ["--model.network.density", "true", "--split.by", "storm", "--split.validate", "0.1"]
    assert "validation storms, got 3" in refuse(capsys, 2, *train, *FUSED[:10], *few)


@pytest.mark.parametrize("suffix", [".csv", ".nc"])
def test_a_model_that_is_none_is_one_line_and_no_output(track_file, tmp_path, capsys, suffix):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"\x80\x04\x95")
    out = tmp_path / f"forecasts{suffix}"
    words = ["predict", track_file, "--model", tmp_path / "model", "--out", out]
    assert "pickle" in refuse(capsys, 1, *words)
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo(tmp_path, capsys):
    found = run(capsys, "demo", "--out", tmp_path)
    record = read_evaluation(tmp_path)
    assert record.data.kind == "simulated"
    assert record.data.name.startswith("The atmosphere is simulated")
    assert {score.stratum["data"] for score in record.scores} == {"simulated atmosphere", "real tracks alone"}
    assert {claim.claim.partition(":")[0] for claim in record.claims} == {"Simulated", "Real data"}
    assert all(claim.units for claim in record.claims)
    assert found["claims"]["Simulated: fusion errs less than the track alone"]
    floor = next(score for score in record.scores if score.metric == "error_of_one_who_knows_flow_and_past")
    assert record.scores[0].model > floor.model
    assert {"gains", "windows", "errors-real", "errors-simulated", "forecasts"} <= {
        path.stem for path in (tmp_path / "figures").iterdir()
    }


def test_a_cluster_cuts_the_same_windows(season_file, tmp_path, capsys):
    distributed = pytest.importorskip("distributed")
    words = ["prepare", season_file, "--fields", tmp_path / "fields.nc", *WINDOW]
    run(capsys, *words, "--out", tmp_path / "here.zarr")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        there = run(
            capsys, *words, "--out", tmp_path / "there.zarr", "--scheduler", cluster.scheduler_address
        )
    assert there["samples"] == 300
    with xr.open_zarr(tmp_path / "here.zarr") as a, xr.open_zarr(tmp_path / "there.zarr") as b:
        xr.testing.assert_equal(a.load(), b.load())
