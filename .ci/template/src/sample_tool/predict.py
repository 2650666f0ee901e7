"""Apply a network: to the last frame of some fields, and to windows of a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from isopleth.data import Windows, make_loader
from isopleth.data.source import Source, stack
from isopleth.errors import DataError
from isopleth.io import open_fields, write_netcdf
from sample_tool.config import PredictConfig
from sample_tool.model import Network


_BATCH = 32
Frames = NDArray[np.float32]


@torch.inference_mode()
def forecast_windows(network: Network, windows: Windows) -> Iterator[tuple[NDArray[np.int64], Frames, Frames, Frames]]:
    """Yield stamps in seconds, forecasts, the frames before them and the truth, a batch at a time.

    Yields
    ------
    ndarray
        Of shape (batch,) and three times (batch, channel, lat, lon), in z-scores.
    """
    device, periodic = next(network.parameters()).device, windows.store.grid.is_periodic
    for batch in make_loader(windows, batch_size=_BATCH, shuffle=False):
        frame = batch["inputs"][:, 0]
        forecast = network(frame.to(device), periodic=periodic).cpu()
        yield batch["time"].numpy(), forecast.numpy(), frame.numpy(), batch["targets"][:, 0].numpy()


@torch.inference_mode()
def roll_out(network: Network, frame: torch.Tensor, steps: int, *, periodic: bool) -> torch.Tensor:
    """Forecast some frames, each from the one before.

    Parameters
    ----------
    network : Network
    frame : Tensor, shape (channel, lat, lon)
        In physical units.
    steps : int
    periodic : bool

    Returns
    -------
    Tensor, shape (step, channel, lat, lon)
        In physical units.
    """
    scores = network.normaliser(frame)[None]
    forecasts = []
    for _ in range(steps):
        scores = network(scores, periodic=periodic)
        forecasts.append(network.normaliser.inverse(scores)[0])
    return torch.stack(forecasts)


def predict_fields(config: PredictConfig) -> dict[str, Any]:
    """Write the fields that follow the last frame: the verb ``predict``.

    Raises
    ------
    DataError
        If the fields are not the model's, or a value of the last frame is missing.
    """
    source = Source.of(open_fields(config.source))
    network = Network.from_pretrained(config.model, device=config.device)
    if source.names != network.config.channels:
        raise DataError(
            f"the fields must be the model's {list(network.config.channels)}, got {list(source.names)}",
            where=config.source,
        )
    last = stack(source.arrays(len(source.times) - 1, len(source.times)))[0]
    if not np.isfinite(last).all():
        raise DataError(
            "the last frame must be complete, got missing values",
            where=f"{config.source} at {source.times[len(source.times) - 1]}",
        )
    frame = torch.as_tensor(np.asarray(last, dtype=np.float32), device=config.device)
    made = roll_out(network, frame, config.steps, periodic=source.grid.is_periodic)
    write_netcdf(name_forecast(made.cpu().numpy(), source), config.out)
    return {"out": str(config.out), "steps": config.steps}


def name_forecast(made: NDArray[np.float32], source: Source) -> xr.Dataset:
    """Give forecasts of shape (step, channel, lat, lon) the source's names, coordinates and units."""
    times = source.dataset["time"].values
    stamps = [times[-1] + (number + 1) * (times[-1] - times[-2]) for number in range(len(made))]
    like = source.dataset.isel(time=[-1] * len(made)).assign_coords(time=("time", np.array(stamps)))
    counts = [variable.sizes.get("level", 1) for variable in like.data_vars.values()]
    parts = np.split(made, np.cumsum(counts)[:-1], axis=1)
    forecast = {
        name: (variable.dims, part.reshape(variable.shape), variable.attrs)
        for (name, variable), part in zip(like.data_vars.items(), parts, strict=True)
    }
    return xr.Dataset(forecast, coords=like.coords)
