"""Prediction: xarray in, xarray out; WeatherBench 2 stores in bounded memory; resumed; clear errors."""

import logging
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from archesweather.config import ModelConfig, PredictConfig
from archesweather.ensemble import Ensemble
from archesweather.initial import InitialStates
from archesweather.layout import Frame
from archesweather.model import ArchesWeather
from archesweather.predict import (
    forecast,
    load_ensemble,
    predict_from_store,
    write_forecasts,
)
from archesweather.prepared import open_prepared
from archesweather.rollout import Deterministic, rollout
from archesweather.states import FieldStates, StoreStates, open_states
from isopleth.data import Normaliser, NormaliserBuffers, pack
from isopleth.errors import ConfigError, DataError
from isopleth.io import open_fields
from isopleth.train import Runtime

CPU = Runtime(accelerator="cpu", threads=1)


def build_model(prepared, network, seed=0, **changes):
    grid = prepared.store.grid
    config = ModelConfig(
        fields=prepared.fields,
        network=network,
        lat=tuple(grid.lat.tolist()),
        lon=tuple(grid.lon.tolist()),
        **changes,
    )
    torch.manual_seed(seed)
    model = ArchesWeather(config, prepared.normaliser).eval()
    model.backbone.set_constants(torch.from_numpy(prepared.constants))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_fields, small_fields):
    from archesweather.config import PrepareConfig
    from archesweather.prepare import prepare_store

    base = tmp_path_factory.mktemp("predict")
    fields = make_fields(small_fields).assign_coords(level=np.array(small_fields.levels))
    fields.to_netcdf(base / "fields.nc")
    prepare_store(
        PrepareConfig(
            source=str(base / "fields.nc"),
            out=base / "data",
            fields=small_fields,
            train=("2018-12-01", "2018-12-31"),
        )
    )
    return base


@pytest.fixture(scope="module")
def prepared(folder):
    return open_prepared(folder / "data")


@pytest.fixture(scope="module")
def model(prepared, small_network, folder):
    for seed in (0, 1):
        built = build_model(prepared, small_network, seed)
        built.save_pretrained(folder / f"model-{seed}")
    return build_model(prepared, small_network)


@pytest.fixture
def config(folder, model, tmp_path):
    return PredictConfig(
        source=str(folder / "data"),
        model=str(folder / "model-0"),
        out=tmp_path / "forecast.zarr",
        lead_hours=72,
        runtime=CPU,
    )


def by_hand(model, prepared, rows, steps):
    """Roll out with nothing of `predict`: rows of the store, z-scores, and their inverse by float64."""
    store = prepared.store
    state, previous = (torch.from_numpy(store.read([row - back for row in rows])) for back in (0, 1))
    with torch.no_grad():
        states = list(rollout(Deterministic(model), state, previous, store.axis.seconds[rows], steps))
    scores = torch.stack(states).numpy().astype(np.float64)
    norm = prepared.normaliser
    return scores * norm.std[:, None, None] + norm.mean[:, None, None]


def test_the_store_holds_what_a_rollout_by_hand_gives(config, model, prepared):
    summary = predict_from_store(
        replace(config, period=("2018-12-05", "2018-12-09"), every_hours=24, batch_size=2)
    )
    assert summary["initial_times"] == 5
    expected = by_hand(model, prepared, [4, 5, 6, 7, 8], 3)
    found = xr.open_zarr(config.out)
    for row, name in enumerate(prepared.fields.channels):
        variable, _, level = name.rpartition("_")
        field = found[variable].sel(level=int(level)) if level.isdigit() else found[name]
        values = field.transpose("prediction_timedelta", "time", "latitude", "longitude").values
        np.testing.assert_allclose(values, expected[:, :, row], rtol=2e-6)


def test_the_layout_is_weatherbench_2s(config):
    predict_from_store(config)
    found = xr.open_zarr(config.out)
    assert found["geopotential"].dims == ("time", "prediction_timedelta", "level", "longitude", "latitude")
    assert found["2m_temperature"].dims == ("time", "prediction_timedelta", "longitude", "latitude")
    assert found["geopotential"].encoding["chunks"] == (1, 1, 3, 16, 8)
    assert found["prediction_timedelta"].values.tolist() == (np.arange(1, 4) * 24 * 3600 * 10**9).tolist()
    assert (np.diff(found["latitude"]) > 0).all()
    assert found["level"].dtype == np.int64
    assert found["geopotential"].attrs["units"] == "m2 s-2"
    assert found["geopotential"].attrs["standard_name"] == "geopotential"
    assert found["latitude"].attrs["standard_name"] == "latitude"
    assert found["time"].attrs["standard_name"] == "forecast_reference_time"
    assert found.attrs["ensemble"] == "one model"
    assert "archesweather" in found.attrs["isopleth_provenance"]
    canonical = open_fields(str(config.out))
    assert canonical["geopotential"].dims == ("time", "lead", "level", "lat", "lon")


def test_xarray_in_gives_xarray_out_with_the_same_numbers(config, model, prepared):
    predict_from_store(replace(config, start="2018-12-20"))
    stored = open_fields(str(config.out))
    initial = prepared.store.dataset(("2018-12-19", "2018-12-20"))
    result = forecast(model, initial, 3)
    assert result["geopotential"].dims == ("time", "lead", "level", "lat", "lon")
    assert result["time"].values[0] == np.datetime64("2018-12-20")
    for name in result:
        # float32 of physical units between two float32 of z-scores
        scale = float(abs(stored[name]).max())
        np.testing.assert_allclose(result[name].values, stored[name].values, rtol=0, atol=3e-6 * scale)


def test_names_units_and_orders_of_others_are_understood(model, prepared):
    initial = prepared.store.dataset(("2018-12-19", "2018-12-20"))
    other = initial.rename(
        {"2m_temperature": "t2m", "geopotential": "z", "lat": "latitude", "lon": "longitude"}
    )
    other["t2m"] = (other["t2m"] - 273.15).assign_attrs(units="degC")
    other = other.isel(latitude=slice(None, None, -1)).transpose(..., "longitude", "latitude")
    one, two = forecast(model, initial, 2), forecast(model, other, 2)
    for name in one:
        scale = float(abs(one[name]).max())
        np.testing.assert_allclose(two[name].values, one[name].values, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("average", ["step", "trajectory", "none"])
def test_the_average_is_a_stated_choice(config, folder, average):
    several = replace(config, model=(str(folder / "model-0"), str(folder / "model-1")), average=average)
    summary = predict_from_store(several)
    found = xr.open_zarr(config.out)
    assert found.attrs["ensemble_average"] == average
    assert found.attrs["models"] == 2
    assert ("number" in found.dims) == (average == "none")
    if average == "none":
        assert summary["members"] == 2
        assert found["geopotential"].dims[:3] == ("time", "prediction_timedelta", "number")
        assert found["geopotential"].encoding["chunks"][:3] == (1, 1, 1)
        predict_from_store(
            replace(config, out=config.out.with_name("one.zarr"), model=str(folder / "model-1"))
        )
        one = xr.open_zarr(config.out.with_name("one.zarr"))
        np.testing.assert_array_equal(found["geopotential"].isel(number=1), one["geopotential"])


def test_a_killed_run_goes_on_where_it_was(config, monkeypatch):
    whole = replace(config, period=("2018-12-05", "2018-12-10"), every_hours=24, batch_size=2)
    predict_from_store(whole)
    stored = replace(whole, out=config.out.with_name("resumed.zarr"), resume=True)
    calls = []
    original = InitialStates.read

    def stop_at_third(self, starts):
        calls.append(len(starts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, starts)

    monkeypatch.setattr(InitialStates, "read", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        predict_from_store(stored)
    assert not stored.out.exists()
    predict_from_store(replace(stored, batch_size=1))  # other batches, the same forecasts
    assert calls[3:] == [1, 1]
    one, other = xr.open_zarr(config.out), xr.open_zarr(stored.out)
    for name in one.data_vars:
        scale = float(abs(one[name]).max())
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=0, atol=3e-6 * scale)


class Still:
    """A stepper of no cost, that makes many members."""

    is_random = True

    def __init__(self, config, normaliser):
        self.config, self.normaliser = config, NormaliserBuffers(normaliser)

    def step(self, state, previous, month, hour, *, seeds):
        return state * 1.0


def peak_of(ensemble, source, path, steps):
    frame = Frame.of(ensemble.config, source.states.axis, source.find(()), steps, members=ensemble.size)
    tracemalloc.start()
    try:
        write_forecasts(ensemble, source, frame, path, batch_size=2)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_neither_with_the_lead_nor_with_the_members(
    tmp_path, small_network, make_fields, small_fields
):
    fields = make_fields(small_fields, n_time=2, n_lat=48, n_lon=96)
    states = FieldStates(fields.drop_vars("land_sea_mask"), small_fields.channels)
    config = ModelConfig(
        fields=small_fields,
        network=small_network,
        lat=tuple(states.grid.lat.tolist()),
        lon=tuple(states.grid.lon.tolist()),
    )
    count = len(small_fields.channels)
    still = Still(config, Normaliser(small_fields.channels, np.zeros(count), np.ones(count)))
    step_bytes = 4 * count * 48 * 96
    peaks = {}
    for steps, members in ((2, 2), (2, 2), (8, 2), (2, 8)):  # the first is warming up
        ensemble = Ensemble((still,), samples=members)
        source = InitialStates.of(states, ensemble)
        peaks[steps, members] = peak_of(ensemble, source, tmp_path / f"{steps}-{members}.zarr", steps)
    # Six leads or members more are twelve steps more, of which none is held.
    assert peaks[8, 2] < peaks[2, 2] + 2 * step_bytes
    assert peaks[2, 8] < peaks[2, 2] + 2 * step_bytes


def test_a_store_of_other_statistics_is_converted_and_said_so(config, model, prepared, tmp_path, caplog):
    fields = prepared.store.dataset()
    other = pack(fields, tmp_path / "other", train_period=("2018-12-10", "2018-12-12"))
    assert other.normaliser != prepared.store.normaliser
    predict_from_store(replace(config, period=("2019-01-01", "2019-01-03"), every_hours=24, batch_size=1))
    with caplog.at_level(logging.WARNING, logger="archesweather"):
        second = replace(config, source=str(tmp_path / "other"), out=tmp_path / "second.zarr", batch_size=1)
        predict_from_store(replace(second, period=("2019-01-01", "2019-01-03"), every_hours=24))
    said = [record for record in caplog.records if "other statistics" in record.getMessage()]
    assert len(said) == 1
    one, two = xr.open_zarr(config.out), xr.open_zarr(tmp_path / "second.zarr")
    for name in one.data_vars:
        scale = float(abs(one[name]).max())
        np.testing.assert_allclose(one[name].values, two[name].values, rtol=0, atol=1e-5 * scale)


def test_files_will_do_as_a_source(config, folder, prepared):
    predict_from_store(replace(config, source=str(folder / "fields.nc"), variables=("geopotential",)))
    found = xr.open_zarr(config.out)
    assert list(found.data_vars) == ["geopotential"]
    assert found["time"].values[0] == prepared.store.times[-1]


def test_what_is_missing_or_other_is_one_clear_error(config, model, prepared, folder, tmp_path):
    with pytest.raises(
        DataError, match=r"initial time must be among the time steps, got none at 2019-06-01.*from 2018-12-01"
    ):
        predict_from_store(replace(config, start="2019-06-01"))
    with pytest.raises(
        DataError, match="state one lead earlier must be among the time steps, got none at 2018-11-30"
    ):
        predict_from_store(replace(config, start="2018-12-01"))
    with pytest.raises(ConfigError, match="must hold an initial time at a multiple of 12 h, got none"):
        predict_from_store(replace(config, period=("2030", "2031")))
    with pytest.raises(
        ConfigError, match="lead_hours must be a multiple of the model's step of 24 h, got 30"
    ):
        predict_from_store(replace(config, lead_hours=30))
    with pytest.raises(ConfigError, match=r"variables must be among .*got rain"):
        predict_from_store(replace(config, variables=("rain",)))
    fields = prepared.store.dataset()
    with pytest.raises(
        DataError, match="every channel of the model, got no geopotential_300, temperature_300"
    ):
        forecast(model, fields.sel(level=[500, 850]), 1)
    fields["geopotential"].attrs["units"] = "K"
    with pytest.raises(DataError, match="geopotential"):
        forecast(model, fields, 1)
    fields["geopotential"].attrs["units"] = "dam2 s-2"
    pack(fields, tmp_path / "decametres", train_period=("2018-12-01", "2018-12-31"))
    with pytest.raises(DataError, match="geopotential must be in m2 s-2, got 'dam2 s-2'"):
        predict_from_store(replace(config, source=str(tmp_path / "decametres")))
    with pytest.raises(DataError, match="must be on the grid Grid"):
        forecast(model, prepared.store.dataset().isel(lat=slice(1, None)), 1)
    holed = prepared.store.dataset()
    holed["2m_temperature"][-1, 2, 2] = np.nan
    with pytest.raises(DataError, match="must be finite, got missing values of 2m_temperature at 2019-01-09"):
        forecast(model, holed, 1)
    with pytest.raises(DataError, match="two states 24 h apart to start from"):
        forecast(model, prepared.store.dataset(("2018-12-05", "2018-12-05")), 1)


def test_initial_times_of_a_period_without_a_state_before_are_left_out_aloud(config, caplog):
    with caplog.at_level(logging.WARNING, logger="archesweather"):
        summary = predict_from_store(replace(config, period=("2018-12-01", "2018-12-03"), every_hours=24))
    assert summary["initial_times"] == 2
    assert "1 of 3 initial times left out" in caplog.text


def test_a_model_with_a_lead_of_several_steps_starts_from_the_right_states(prepared, small_network):
    model = build_model(prepared, small_network, lead_hours=48)
    ensemble = Ensemble((Deterministic(model),))
    source = InitialStates.of(open_states(prepared.path, prepared.fields.channels), ensemble)
    starts = prepared.store.axis.seconds[[5, 9]]
    state, previous = source.read(starts)
    np.testing.assert_array_equal(state.numpy(), prepared.store.read([5, 9]))
    np.testing.assert_array_equal(previous.numpy(), prepared.store.read([3, 7]))


def test_states_of_a_store_and_of_fields_are_the_same(prepared, folder):
    channels = prepared.fields.channels[::-1]
    store, fields = open_states(folder / "data", channels), open_states(folder / "fields.nc", channels)
    assert isinstance(store, StoreStates)
    assert isinstance(fields, FieldStates)
    np.testing.assert_allclose(store.read([3, 1]), fields.read([3, 1]), rtol=1e-6)
    np.testing.assert_allclose(
        store.read_scores([3, 1], store.store.normaliser.select(channels)),
        fields.read_scores([3, 1], store.store.normaliser.select(channels)),
        atol=1e-5,
    )


def test_pretrained_folders_load_as_an_ensemble(folder, model):
    ensemble = load_ensemble([folder / "model-0", folder / "model-1"], average="none", runtime=CPU)
    assert ensemble.size == 2
    assert ensemble.parameters == 2 * sum(p.numel() for p in model.parameters())
