"""What a network must beat: persistence, climatology, steering flow, and regressions like CLIPER."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from cyclone_fusion.config.data import STEP_HOURS
from cyclone_fusion.frame import arrive, displacement
from cyclone_fusion.split import Split
from isopleth.grid import EARTH_RADIUS_KM

# Below this a basin's own coefficients would be guesses; the global regression serves it.
_ENOUGH_SAMPLES = 1000
_NEIGHBOURS = 100
_NEAR_KM, _NEAR_DAYS = 300.0, 30.0
CLIPER, CLIPER_STEERING = "cliper-like", "cliper + steering"


def forecast_baselines(split: Split) -> dict[str, np.ndarray]:
    """Fit every baseline on the training storms and forecast the test samples.

    Returns
    -------
    dict of str to array of shape (sample, lead, 2)
        In the samples' frame. With steering only where the samples have windows.
    """
    found = {
        "persistence": persistence(split.test),
        "climatology": Climatology.fit(split.train).predict(split.test),
        CLIPER: Cliper.fit(split.train).predict(split.test),
    }
    if "steering" in split.test:
        found["steering flow"] = advection(split.test)
        found[CLIPER_STEERING] = Cliper.fit(split.train, steering=True).predict(split.test)
    return found


def persistence(samples: xr.Dataset) -> np.ndarray:
    """Carry the last six hours' displacement on: the published baseline.

    Returns
    -------
    array of shape (sample, lead, 2)
        In the samples' frame.
    """
    steps = samples["lead"].values / STEP_HOURS
    return samples["features"].values[:, None, :2] * steps[:, None]


def advection(samples: xr.Dataset) -> np.ndarray:
    """Let the present steering flow carry the storm, unchanged, over the whole lead.

    Returns
    -------
    array of shape (sample, lead, 2)
        In the samples' frame.
    """
    flow = samples["steering"].values.astype(np.float64)
    seconds = samples["lead"].values[:, None] * 3600.0
    moved = flow[:, None] * seconds / 1e3
    if samples.attrs["frame"] == "tangent":
        return moved
    lat, lon = samples["lat"].values[:, None], samples["lon"].values[:, None]
    lat, lon = (np.broadcast_to(each, moved.shape[:2]) for each in (lat, lon))
    return displacement(lat, lon, *arrive(lat, lon, moved, "tangent"), samples.attrs["frame"])


@dataclass(frozen=True, eq=False)
class Climatology:
    """The mean displacement of the hundred training fixes nearest in place and season.

    Three hundred kilometres are as far as thirty days.
    """

    tree: cKDTree
    target: np.ndarray

    @classmethod
    def fit(cls, samples: xr.Dataset) -> Climatology:
        """Remember the training fixes."""
        return cls(cKDTree(_place_and_season(samples)), samples["target"].values.astype(np.float64))

    def predict(self, samples: xr.Dataset) -> np.ndarray:
        """Predict displacements, shape (sample, lead, 2), in the frame of the samples it was fitted on."""
        count = min(_NEIGHBOURS, len(self.target))
        _, near = self.tree.query(_place_and_season(samples), k=count)
        near = near.reshape(samples.sizes["sample"], count)
        found = self.target[near]
        known = np.isfinite(found)
        total = known.sum(axis=1)
        everywhere = np.nanmean(self.target, axis=0)
        mean = np.where(known, found, 0.0).sum(axis=1) / np.maximum(total, 1)
        return np.where(total > 0, mean, everywhere)


def _place_and_season(samples: xr.Dataset) -> np.ndarray:
    phi, lam = np.radians(samples["lat"].values), np.radians(samples["lon"].values)
    place = np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    time = samples["time"].values
    day = (time - time.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    angle = 2 * np.pi * day / 365.25
    season = np.column_stack([np.cos(angle), np.sin(angle)]) * 365.25 / (2 * np.pi)
    return np.hstack([place * EARTH_RADIUS_KM / _NEAR_KM, season / _NEAR_DAYS])


@dataclass(frozen=True, eq=False)
class Cliper:
    r"""Climatology and persistence by regression (after Neumann 1972; Aberson 1998).

    Least squares of the displacement on all first- and second-order terms of the standardised predictors,
    :math:`1, x_i, x_i x_j`, one regression a basin and lead; a basin with few samples is served by the
    regression over all. An unknown predictor stands at its training mean.

    Attributes
    ----------
    mean, scale : array, shape (predictor,)
    coefficients : dict of str to array, shape (lead, term, 2)
        By basin.
    everywhere : array, shape (lead, term, 2)
    steering : bool
        Whether the steering flow is among the predictors: a regression that knows the environment.
    """

    mean: np.ndarray
    scale: np.ndarray
    coefficients: dict[str, np.ndarray]
    everywhere: np.ndarray
    steering: bool = False

    @classmethod
    def fit(cls, samples: xr.Dataset, *, steering: bool = False) -> Cliper:
        """Fit on training samples that have a target."""
        predictors = _predictors(samples, steering=steering)
        known = np.isfinite(predictors).any(axis=0)
        mean, scale = np.zeros(predictors.shape[1]), np.ones(predictors.shape[1])
        mean[known] = np.nanmean(predictors[:, known], axis=0)
        scale[known] = np.nanstd(predictors[:, known], axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        terms, target = _second_order(predictors, mean, scale), samples["target"].values.astype(np.float64)
        basin = samples["basin"].values
        own = {
            str(name): _least_squares(terms[basin == name], target[basin == name])
            for name in np.unique(basin)
            if (basin == name).sum() >= _ENOUGH_SAMPLES
        }
        return cls(mean, scale, own, _least_squares(terms, target), steering)

    def predict(self, samples: xr.Dataset) -> np.ndarray:
        """Predict displacements, shape (sample, lead, 2), in the frame of the samples it was fitted on."""
        terms = _second_order(_predictors(samples, steering=self.steering), self.mean, self.scale)
        predicted = np.einsum("st,ltd->sld", terms, self.everywhere)
        for name, coefficients in self.coefficients.items():
            here = samples["basin"].values == name
            predicted[here] = np.einsum("st,ltd->sld", terms[here], coefficients)
        return predicted


def _predictors(samples: xr.Dataset, *, steering: bool) -> np.ndarray:
    features = samples["features"].values.astype(np.float64)
    return np.hstack([features, samples["steering"].values]) if steering else features


def _second_order(predictors: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Give the columns 1, x_i and x_i x_j (i <= j) of the standardised predictors."""
    x = np.nan_to_num((predictors - mean) / scale, nan=0.0)
    i, j = np.triu_indices(x.shape[1])
    return np.column_stack([np.ones(len(x)), x, x[:, i] * x[:, j]])


def _least_squares(terms: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solve for each lead by itself, over the samples that have it."""
    found = []
    for lead in range(target.shape[1]):
        known = np.isfinite(target[:, lead]).all(axis=-1)
        found.append(np.linalg.lstsq(terms[known], target[known, lead], rcond=None)[0])
    return np.stack(found)
