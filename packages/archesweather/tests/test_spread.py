"""What a briefly trained ensemble is worth: as wide as it errs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from archesweather.config import (
    PrepareConfig,
    SamplingConfig,
    SplitConfig,
    TrainGenerativeConfig,
)
from archesweather.ensemble import Ensemble
from archesweather.generative import ArchesWeatherGen
from archesweather.prepare import prepare_store
from archesweather.prepared import open_prepared
from archesweather.train import train_model
from archesweather.train_generative import (
    train_generative,
)
from isopleth.verify import crps, mae, spread_skill_ratio


def zonal_correlation(fields):
    """Correlation of neighbouring cells along latitude circles; 0 for white noise."""
    centred = fields - fields.mean(-1, keepdim=True)
    return ((centred * centred.roll(1, -1)).mean() / centred.square().mean()).item()


@pytest.mark.slow  # learns for a minute
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("prediction", "share", "widest"), [("blend", 0.9, 1.4), ("data", 1.0, 1.6)])
def test_after_brief_training_the_ensemble_is_as_wide_as_it_errs(
    tmp_path, small_network, train_config, prediction, share, widest
):
    """A day ahead in the simulated atmosphere: spread, CRPS, and that weather is drawn, not noise."""
    split = SplitConfig(
        train=("2017-01-01", "2018-12-31"), validate=("2019-01-01", "2019-01-31"), test=("2020", "2020")
    )
    sample = replace(PrepareConfig().sample, start="2017-01-01", end="2019-03-31")
    prepare_store(PrepareConfig(out=tmp_path / "data", sample=sample, train=split.train))
    short = {"max_steps": 120, "warmup_steps": 12, "learning_rate": 4e-3, "log_every": 50, "split": split}
    whole = train_config(
        tmp_path / "data", tmp_path / "det", network=replace(small_network, target="increment"), **short
    )
    deterministic = train_model(whole)["pretrained"][0]
    config = TrainGenerativeConfig(
        data=whole.data,
        deterministic=deterministic,
        out=tmp_path / "gen",
        network=small_network,
        prediction=prediction,
        scale_samples=64,
        fit=whole.fit,
        split=split,
        runtime=whole.runtime,
    )
    model = ArchesWeatherGen.from_pretrained(train_generative(config)["pretrained"])
    model.sampling = SamplingConfig(steps=8, solver="heun", noise_scale=1.0)

    prepared = open_prepared(tmp_path / "data")
    days = np.flatnonzero(prepared.store.axis.select(("2019-02-02", "2019-03-30")))[::8]
    previous, state, truth = (torch.from_numpy(prepared.store.read(days + i)) for i in (-1, 0, 1))
    starts = prepared.store.axis.seconds[days]
    with torch.inference_mode():
        mean = model.forecast(state, previous, torch.full((len(days),), 2.0), torch.zeros(len(days)))
        (drawn,) = Ensemble((model,), samples=8).rollout(state, previous, starts, 1, batch_size=16)
    dims = ("time", "channel", "lat", "lon")
    ensemble = xr.DataArray(drawn.numpy(), dims=("member", *dims))
    options = {
        "weights": xr.DataArray(prepared.store.grid.weights, dims="lat"),
        "dims": ("time", "lat", "lon"),
    }
    score = crps(ensemble, xr.DataArray(truth.numpy(), dims=dims), **options)
    error = mae(xr.DataArray(mean.numpy(), dims=dims), xr.DataArray(truth.numpy(), dims=dims), **options)
    ratio = spread_skill_ratio(ensemble, xr.DataArray(truth.numpy(), dims=dims), **options)
    # A network that gives the residual itself learns the size of what it draws only slowly.
    assert (score < share * error).all(), (score / error).values
    assert ((ratio > 0.7) & (ratio < widest)).all(), ratio.values
    # The truth has 0.8, white noise 0 within 0.01: so short a training is on its way, not there.
    assert zonal_correlation(drawn[0] - mean) > 0.2
