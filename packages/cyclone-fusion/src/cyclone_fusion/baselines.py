"""What a network must beat: persistence, and regressions in the manner of CLIPER."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from cyclone_fusion.data import STEP_HOURS

# Below this a basin's own 110 coefficients would be guesses; the global regression serves it.
_ENOUGH_SAMPLES = 1000


def persistence(samples: xr.Dataset) -> np.ndarray:
    """Carry the last six hours' displacement on: the published baseline.

    Returns
    -------
    array of shape (sample, 2)
        In the samples' frame.
    """
    steps = samples.attrs["lead_hours"] / STEP_HOURS
    return samples["features"].values[:, :2] * steps


@dataclass(frozen=True)
class Cliper:
    r"""Climatology and persistence by regression (after Neumann 1972; Aberson 1998).

    Least squares of the displacement on all first- and second-order terms of the nine standardised
    predictors, :math:`1, x_i, x_i x_j`, one regression a basin; a basin with few samples is served by the
    regression over all. An unknown predictor stands at its training mean.
    """

    mean: np.ndarray
    scale: np.ndarray
    coefficients: dict[str, np.ndarray]
    everywhere: np.ndarray

    @classmethod
    def fit(cls, samples: xr.Dataset) -> Cliper:
        """Fit on training samples that have a target."""
        features = samples["features"].values.astype(np.float64)
        mean, scale = np.nanmean(features, axis=0), np.nanstd(features, axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        terms, target = _second_order(features, mean, scale), samples["target"].values.astype(np.float64)
        basin = samples["basin"].values
        own = {
            str(name): _least_squares(terms[basin == name], target[basin == name])
            for name in np.unique(basin)
            if (basin == name).sum() >= _ENOUGH_SAMPLES
        }
        return cls(mean, scale, own, _least_squares(terms, target))

    def predict(self, samples: xr.Dataset) -> np.ndarray:
        """Predict displacements, shape (sample, 2), in the frame of the samples it was fitted on."""
        terms = _second_order(samples["features"].values.astype(np.float64), self.mean, self.scale)
        predicted = terms @ self.everywhere
        for name, coefficients in self.coefficients.items():
            here = samples["basin"].values == name
            predicted[here] = terms[here] @ coefficients
        return predicted


def _second_order(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Give the columns 1, x_i and x_i x_j (i <= j) of the standardised features."""
    x = np.nan_to_num((features - mean) / scale, nan=0.0)
    i, j = np.triu_indices(x.shape[1])
    return np.column_stack([np.ones(len(x)), x, x[:, i] * x[:, j]])


def _least_squares(terms: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(terms, target, rcond=None)[0]
