"""Forecast from tracks and fields: one network, or several that differ by their seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from cyclone_fusion import __version__
from cyclone_fusion.config import FusionConfig, PredictConfig
from cyclone_fusion.data import build_samples, list_left_out
from cyclone_fusion.frame import arrive
from cyclone_fusion.model import FusedNetwork
from cyclone_fusion.model.tables import Batch, make_loader
from cyclone_fusion.output import write_forecasts
from cyclone_fusion.prepare import attach_windows
from cyclone_fusion.tracks import read_tracks
from isopleth.config import config_hash
from isopleth.errors import ConfigError, DataError
from isopleth.grid import EARTH_RADIUS_KM
from isopleth.io.write import Provenance

_BATCH = 2048
_KM_PER_DEGREE = np.pi * EARTH_RADIUS_KM / 180.0
_MEMBERS = "member-*/pretrained"


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks of one configuration; a single one is an ensemble of one.

    Parameters
    ----------
    networks : sequence of FusedNetwork
    """

    networks: Sequence[FusedNetwork]

    def __post_init__(self) -> None:
        if not self.networks or any(each.config != self.config for each in self.networks):
            raise ConfigError("an ensemble must have networks of one configuration, got several or none")

    @classmethod
    def load(cls, model: str) -> Ensemble:
        """Load a run of `train`, a pretrained folder, or a hub id."""
        members = sorted(Path(model).glob(_MEMBERS), key=lambda path: int(path.parent.name.split("-")[1]))
        return cls([FusedNetwork.from_pretrained(path) for path in [*map(str, members)] or [model]])

    @property
    def config(self) -> FusionConfig:
        """The networks' configuration."""
        return self.networks[0].config

    @property
    def sees_fields(self) -> bool:
        """Whether it needs windows."""
        return self.networks[0].sees_fields

    @property
    def parameters(self) -> int:
        """Number of weights of all networks."""
        return sum(weight.numel() for network in self.networks for weight in network.parameters())

    def predict(self, samples: xr.Dataset) -> Prediction:
        """Forecast samples; the mean of the members, and the spread of their errors if they have one."""
        members = [_run(network, samples) for network in self.networks]
        moved = np.stack([each for each, _ in members])
        spreads = [each for _, each in members if each is not None]
        mean = moved.mean(axis=0)
        between = np.einsum("msli,mslj->slij", moved - mean, moved - mean) / len(members)
        if not spreads:
            return Prediction(mean, None, between if len(members) > 1 else None)
        within = np.mean(spreads, axis=0)
        factor = np.mean([network.density_factor.numpy() for network in self.networks], axis=0)
        # Each member's ellipse is calibrated by itself; what they disagree on comes on top.
        return Prediction(mean, factor, within + between)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Displacements and their uncertainty, in the frame of the samples.

    Attributes
    ----------
    moved : array of shape (sample, lead, 2)
    factor : array of shape (lead,), optional
        Radius of the 90 % ellipse in units of the covariance's; None where it is not calibrated.
    covariance : array of shape (sample, lead, 2, 2), optional
    """

    moved: np.ndarray
    factor: np.ndarray | None
    covariance: np.ndarray | None

    def covers(self, error: np.ndarray) -> np.ndarray:
        """Tell which errors (sample, lead, 2) lie in the 90 % ellipse."""
        assert self.factor is not None  # asked of a calibrated one
        assert self.covariance is not None
        solved = np.linalg.solve(self.covariance, error[..., None])[..., 0]
        return np.einsum("sli,sli->sl", error, solved) <= self.factor**2


def forecast(ensemble: Ensemble, samples: xr.Dataset) -> xr.Dataset:
    """Forecast where the storm of each sample will be.

    Parameters
    ----------
    ensemble : Ensemble
    samples : xarray.Dataset
        From `cyclone_fusion.data.build_samples`, with or without targets; with windows if the networks see
        fields.

    Returns
    -------
    xarray.Dataset
        Along ``sample`` and ``lead``: ``track_id``, ``time``, ``lat`` and ``lon`` of the fix; ``valid_time``,
        ``forecast_lat`` and ``forecast_lon`` (degrees, longitude in [0, 360)); where the networks have a
        density also ``ellipse_major``, ``ellipse_minor`` (half axes of the 90 % ellipse, km) and
        ``ellipse_azimuth`` of the major axis (degrees clockwise from north).
    """
    frame = ensemble.config.sample.frame
    found = ensemble.predict(samples)
    start = samples["lat"].values[:, None], samples["lon"].values[:, None]
    lat, lon = arrive(*start, found.moved.astype(np.float64), frame)
    leads = np.array(ensemble.config.sample.lead_hours)
    dims = ("sample", "lead")
    variables: dict[str, Any] = {
        name: ("sample", samples[name].values, samples[name].attrs)
        for name in ("track_id", "time", "lat", "lon")
    }
    variables |= {
        "valid_time": (dims, samples["time"].values[:, None] + leads.astype("timedelta64[h]")),
        "forecast_lat": (dims, lat, {"units": "degrees_north"}),
        "forecast_lon": (dims, lon, {"units": "degrees_east"}),
    }
    if found.factor is not None:
        variables |= _ellipses(found, lat, frame)
    return xr.Dataset(variables, coords={"lead": ("lead", leads, {"units": "hours"})})


def predict_from_tracks(config: PredictConfig) -> dict[str, Any]:
    """Read tracks, fields and networks, write forecasts: the verb ``predict``."""
    tracks = read_tracks(config.tracks)
    ensemble = Ensemble.load(config.model)
    samples = build_samples(tracks, ensemble.config.sample, with_target=False)
    if config.latest:
        _, first_from_end = np.unique(samples["track_id"].values[::-1], return_index=True)
        samples = samples.isel(sample=np.sort(samples.sizes["sample"] - 1 - first_from_end))
    if ensemble.sees_fields:
        if config.fields is None:
            raise ConfigError(
                "a network that sees wind and pressure must be given fields, got none",
                hint="--fields FILE, with the times of the fixes and six hours before",
            )
        mask = config.missing == "mask"
        samples = attach_windows(samples, config.fields, ensemble.config.window, mask=mask)
    forecasts = forecast(ensemble, samples)
    origin = Provenance(
        "cyclone-fusion",
        __version__,
        config_hash(config),
        (config.tracks, config.fields or "no fields", config.model),
    )
    write_forecasts(forecasts, config.out, origin)
    result = {
        "forecasts": str(config.out),
        "samples": forecasts.sizes["sample"],
        "leads": forecasts["lead"].values.tolist(),
        **list_left_out(tracks, samples),
    }
    if config.map is not None:
        from cyclone_fusion.figures import draw_map

        result["map"] = str(draw_map(config.map, tracks, forecasts))
    return result


def _run(network: FusedNetwork, samples: xr.Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Return displacements, and covariances if the network has a density."""
    if network.sees_fields and "windows" not in samples:
        raise DataError("samples for a network that sees fields must have windows, got none")
    network.eval()
    moved, spread = [], []
    with torch.inference_mode():
        for batch in make_loader(_Inputs(samples, network), _BATCH, shuffle=False):
            embeddings = network.embed(batch["features"], batch.get("windows"))
            moved.append(network.decide(embeddings, batch["features"]))
            if network.config.network.density:
                spread.append(_covariance(network.spread(embeddings, batch["features"])))
    return torch.cat(moved).numpy(), torch.cat(spread).numpy() if spread else None


class _Inputs(torch.utils.data.Dataset[Batch]):
    """What a forecast needs of samples, with or without targets."""

    def __init__(self, samples: xr.Dataset, network: FusedNetwork) -> None:
        self.features = torch.from_numpy(samples["features"].values).float()
        self.windows = samples["windows"] if network.sees_fields else None

    def __len__(self) -> int:
        return len(self.features)

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = slice(indices[0], indices[-1] + 1)  # in order, because nothing is shuffled
        batch = {"features": self.features[chosen]}
        if self.windows is not None:
            batch["windows"] = torch.from_numpy(np.asarray(self.windows[chosen].values))
        return batch


def _covariance(factor: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    a, b, c = factor
    rows = [torch.stack([a * a, a * c], -1), torch.stack([a * c, b * b + c * c], -1)]
    return torch.stack(rows, -2).double()


def _ellipses(found: Prediction, lat: np.ndarray, frame: str) -> dict[str, Any]:
    """Describe the 90 % ellipses by half axes in km and the azimuth of the longer one."""
    assert found.covariance is not None  # there is a factor
    covariance = found.covariance
    if frame == "degrees":
        scale = np.stack([_KM_PER_DEGREE * np.cos(np.radians(lat)), np.full_like(lat, _KM_PER_DEGREE)], -1)
        covariance = covariance * scale[..., :, None] * scale[..., None, :]
    values, vectors = np.linalg.eigh(covariance)
    axes = np.sqrt(values) * found.factor[:, None]  # type: ignore[index] # checked by the caller
    azimuth = np.degrees(np.arctan2(vectors[..., 0, 1], vectors[..., 1, 1])) % 180.0
    dims = ("sample", "lead")
    return {
        "ellipse_major": (dims, axes[..., 1], {"units": "km", "long_name": "half axis of the 90 % ellipse"}),
        "ellipse_minor": (dims, axes[..., 0], {"units": "km", "long_name": "half axis of the 90 % ellipse"}),
        "ellipse_azimuth": (dims, azimuth, {"units": "degrees"}),
    }
