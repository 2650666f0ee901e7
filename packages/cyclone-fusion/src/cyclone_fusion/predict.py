"""Forecast from tracks: samples in, places out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from cyclone_fusion import __version__
from cyclone_fusion.config import PredictConfig
from cyclone_fusion.data import build_samples
from cyclone_fusion.frame import arrive
from cyclone_fusion.model import TrackNetwork
from cyclone_fusion.tracks import read_tracks
from isopleth.config import config_hash
from isopleth.io.write import Provenance, write_netcdf, write_text


def predict_displacement(network: TrackNetwork, samples: xr.Dataset) -> np.ndarray:
    """Predict every sample's displacement, float32 of shape (sample, 2), in the network's frame."""
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(samples["features"].values).float()).numpy()


def forecast(network: TrackNetwork, samples: xr.Dataset) -> xr.Dataset:
    """Forecast the position of every sample one lead ahead.

    Parameters
    ----------
    network : TrackNetwork
        Trained for the samples' lead and frame.
    samples : xarray.Dataset
        From `cyclone_fusion.data.build_samples`, with or without targets.

    Returns
    -------
    xarray.Dataset
        Along ``sample``: ``track_id``, ``time``, ``lat`` and ``lon`` of the fix; ``valid_time``,
        ``forecast_lat`` and ``forecast_lon`` (degrees, longitude in [0, 360)).
    """
    cut = network.config.sample
    moved = predict_displacement(network, samples)
    lat, lon = arrive(samples["lat"].values, samples["lon"].values, moved, cut.frame)
    known = {
        name: ("sample", samples[name].values, samples[name].attrs)
        for name in ("track_id", "time", "lat", "lon")
    }
    places = {
        "valid_time": ("sample", samples["time"].values + np.timedelta64(cut.lead_hours, "h")),
        "forecast_lat": ("sample", lat, {"units": "degrees_north"}),
        "forecast_lon": ("sample", lon, {"units": "degrees_east"}),
    }
    return xr.Dataset(known | places, attrs={"lead_hours": cut.lead_hours})


def predict_from_tracks(config: PredictConfig) -> dict[str, Any]:
    """Read tracks and a network, write forecasts: the verb ``predict``."""
    tracks = read_tracks(config.tracks)
    network = TrackNetwork.from_pretrained(config.model)
    samples = build_samples(tracks, network.config.sample, with_target=False)
    if config.latest:
        _, first_from_end = np.unique(samples["track_id"].values[::-1], return_index=True)
        samples = samples.isel(sample=np.sort(samples.sizes["sample"] - 1 - first_from_end))
    forecasts = forecast(network, samples)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    if config.out.suffix == ".csv":
        write_text(config.out, forecasts.to_dataframe().to_csv(index=False, float_format="%.3f"))
    else:
        origin = Provenance(
            "cyclone-fusion", __version__, config_hash(config), (str(config.tracks), config.model)
        )
        write_netcdf(forecasts, config.out, provenance=origin)
    return {
        "forecasts": str(config.out),
        "samples": forecasts.sizes["sample"],
        "left_out": samples.attrs["left_out"],
    }
