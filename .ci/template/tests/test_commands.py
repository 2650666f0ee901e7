import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from isopleth.data import open_store
from isopleth.errors import DataError
from isopleth.io import open_fields, write_zarr
from sample_tool.config import EvaluateConfig, PredictConfig, PrepareConfig, TrainConfig
from sample_tool.data import make_windows, prepare_store
from sample_tool.evaluate import evaluate_model
from sample_tool.predict import predict_fields
from sample_tool.train import train_model

FRAMES = 60


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A wave that moves one cell east a step: what the network has to learn."""
    folder = tmp_path_factory.mktemp("source")
    lat, lon = np.linspace(-80, 80, 9), np.arange(0, 360, 20.0)
    times = np.datetime64("2001-01-01", "ns") + np.arange(FRAMES) * np.timedelta64(6, "h")
    phase = np.deg2rad(lon - 20 * np.arange(FRAMES)[:, None])
    fields = np.cos(phase)[:, None, :] * np.cos(np.deg2rad(lat))[:, None] + 280
    units = {"units": "K"}
    wave = xr.DataArray(
        fields.astype("float32"),
        dims=("time", "lat", "lon"),
        coords={"time": times, "lat": lat, "lon": lon},
        attrs=units,
    )
    return write_zarr(wave.to_dataset(name="2m_temperature"), folder / "fields.zarr")


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    prepare_store(PrepareConfig(source=str(source), out=folder / "frames"))
    fit = {"max_steps": 60, "validate_every": 30, "batch_size": 8}
    config = TrainConfig(data=folder / "frames", out=folder / "train")
    train_model(replace(config, fit=replace(config.fit, **fit)))
    return folder


def test_no_frame_is_in_two_parts(run):
    windows = make_windows(open_store(run / "frames"))
    touched = [set(part.touched.tolist()) for part in windows.values()]
    assert sum(map(len, touched)) == len(set.union(*touched)) == FRAMES


def test_scores_beside_rivals(run):
    out = run / "scores"
    result = evaluate_model(EvaluateConfig(data=run / "frames", model=str(run / "train/pretrained"), out=out))
    record = json.loads((out / "evaluation.json").read_text())
    (score,) = record["scores"]
    truth = open_store(run / "frames").dataset()["2m_temperature"].astype("float64")
    test = truth[-score["n"] - 1 :]
    errors = test.diff("time") ** 2
    area = open_store(run / "frames").grid.weights[:, None]
    naive = np.sqrt(np.average(errors, weights=np.broadcast_to(area, errors.shape)))
    assert score["baselines"]["persistence"] == pytest.approx(naive, rel=1e-5)
    assert score["model"] < score["baselines"]["persistence"]
    assert result["claims"]["It errs less than persistence"]


def test_a_forecast_goes_on_where_the_fields_end(run, source):
    out = run / "forecast.nc"
    predict_fields(PredictConfig(source=str(source), out=out, model=str(run / "train/pretrained"), steps=2))
    made, given = open_fields(out), open_fields(source)
    step = np.timedelta64(6, "h")
    np.testing.assert_array_equal(made["time"], given["time"].values[-1] + np.array([step, 2 * step]))
    assert made["2m_temperature"].attrs["units"] == "K"


def test_other_fields_are_refused(run, tmp_path):
    times = np.datetime64("2001-01-01", "ns") + np.arange(3) * np.timedelta64(6, "h")
    coords = {"time": times, "lat": [-10.0, 0, 10], "lon": [0.0, 120, 240]}
    wind = xr.DataArray(
        np.zeros((3, 3, 3), "float32"), dims=("time", "lat", "lon"), coords=coords, attrs={"units": "m s-1"}
    )
    path = write_zarr(wind.to_dataset(name="10m_u_component_of_wind"), tmp_path / "wind.zarr")
    with pytest.raises(DataError, match="must be the model's"):
        predict_fields(
            PredictConfig(source=str(path), out=tmp_path / "x.nc", model=str(run / "train/pretrained"))
        )
    assert not (tmp_path / "x.nc").exists()


def test_too_few_frames_are_refused(tmp_path, source):
    short = write_zarr(open_fields(source).isel(time=slice(0, 5)), tmp_path / "short.zarr")
    with pytest.raises(DataError, match="at least 10 frames, got 5"):
        prepare_store(PrepareConfig(source=str(short), out=tmp_path / "frames"))
