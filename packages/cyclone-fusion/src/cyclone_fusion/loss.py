"""What a forecast is fitted to: great-circle distance, and a bivariate density of the error."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from cyclone_fusion.frame import Frame, arrive, displacement
from isopleth.grid import great_circle_km

# A squared distance in km² would drown the optimiser; in units of (100 km)² it is of order one.
_UNIT_KM = 100.0


def miss_km(
    moved: Tensor, lat: Tensor, lon: Tensor, target_lat: Tensor, target_lon: Tensor, frame: Frame
) -> Tensor:
    """Measure the great-circle error of each forecast.

    Finite, with a finite gradient, everywhere: also for a forecast that is exactly right (where the
    haversine's square root has none) and where no truth is known, which gives 0.

    Parameters
    ----------
    moved : Tensor, shape (sample, lead, 2)
        Forecast displacements in the frame.
    lat, lon : Tensor, shape (sample,)
        Of the fixes, degrees.
    target_lat, target_lon : Tensor, shape (sample, lead)
        Where the storm went; NaN where that is not known.
    frame : {"tangent", "degrees"}

    Returns
    -------
    Tensor, shape (sample, lead)
        Kilometres.
    """
    new_lat, new_lon = arrive(lat[:, None], lon[:, None], moved, frame)
    known = torch.isfinite(target_lat)
    # Before the distance, not after it: the gradient of a NaN that is masked away is still NaN.
    there_lat = torch.where(known, target_lat, new_lat.detach())
    there_lon = torch.where(known, target_lon, new_lon.detach())
    return torch.where(known, great_circle_km(new_lat, new_lon, there_lat, there_lon), 0.0)


def distance_loss(miss: Tensor, known: Tensor, kind: Literal["distance", "squared"]) -> Tensor:
    """Average misses (or their squares) over what is known, in units of 100 km."""
    scaled = miss / _UNIT_KM
    value = scaled.square() if kind == "squared" else scaled
    return torch.where(known, value, 0.0).sum() / known.sum().clamp(min=1)


def density_loss(factor: tuple[Tensor, Tensor, Tensor], error: Tensor, known: Tensor) -> Tensor:
    r"""Return the mean negative log-likelihood of errors under a bivariate normal density.

    .. math:: -\log p = \log 2\pi + \log a + \log b + \tfrac12 |L^{-1} e|^2

    Parameters
    ----------
    factor : (a, b, c), each of shape (sample, lead)
        Lower Cholesky factor, see `FusedNetwork.spread`.
    error : Tensor, shape (sample, lead, 2)
        Truth less forecast, in the frame; any value where not `known`.
    known : Tensor, shape (sample, lead)
    """
    a, b, _ = factor
    value = math.log(2 * math.pi) + torch.log(a) + torch.log(b) + square_radius(factor, error) / 2
    return torch.where(known, value, 0.0).sum() / known.sum().clamp(min=1)


def square_radius(factor: tuple[Tensor, Tensor, Tensor], error: Tensor) -> Tensor:
    """Return the squared Mahalanobis radius of errors, (sample, lead)."""
    a, b, c = factor
    x = error[..., 0] / a
    y = (error[..., 1] - c * x) / b
    return x.square() + y.square()


def frame_error(
    moved: Tensor, lat: Tensor, lon: Tensor, target_lat: Tensor, target_lon: Tensor, frame: Frame
) -> Tensor:
    """Return truth less forecast in the frame, (sample, lead, 2); 0 where no truth is known."""
    lat, lon = (each[:, None].expand_as(target_lat) for each in (lat, lon))
    known = torch.isfinite(target_lat)
    there = torch.where(known, target_lat, lat), torch.where(known, target_lon, lon)
    truth = displacement(lat, lon, there[0], there[1], frame)
    return torch.where(known[..., None], truth - moved, 0.0)
