"""Scores beyond the core's: fractions of neighbourhoods, and skill against a reference."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.ndimage import uniform_filter1d

from isopleth.errors import ConfigError
from isopleth.verify import Metric
from isopleth.verify.alignment import Pair
from isopleth.verify.metric import Means


def fss_metric(threshold: float, *, cells: int, periodic: bool = True) -> Metric:
    r"""Return the fractions skill score of exceeding a threshold (Roberts and Lean 2008, eq. 6).

    With the shares F and O of cells at or above the threshold in a square neighbourhood,

    .. math:: \mathrm{FSS} = 1 - \frac{\langle (F - O)^2 \rangle}{\langle F^2 \rangle + \langle O^2 \rangle}

    1 for the same fields, 0 where they never meet. A cell with a missing value in its neighbourhood has no
    share; rows beyond the grid count as not exceeding. NaN where neither field ever exceeds.

    Parameters
    ----------
    threshold : float
        In the field's units.
    cells : int
        Rows and columns of the neighbourhood, an odd number.
    periodic : bool
        Whether the columns go around the globe.

    Raises
    ------
    ConfigError
        If `cells` is not odd.
    """
    if cells < 1 or cells % 2 == 0:
        raise ConfigError(f"the neighbourhood must be an odd number of cells, got {cells}")

    def shares(field: xr.DataArray) -> xr.DataArray:
        exceeds = (field >= threshold).astype(np.float64).where(field.notnull())
        return xr.apply_ufunc(
            _mean_around, exceeds, input_core_dims=[["lat", "lon"]], output_core_dims=[["lat", "lon"]],
            kwargs={"cells": cells, "periodic": periodic},
        )  # fmt: skip

    def difference(pair: Pair) -> xr.DataArray:
        return (shares(pair.forecast) - shares(pair.truth)) ** 2

    def size(pair: Pair) -> xr.DataArray:
        return shares(pair.forecast) ** 2 + shares(pair.truth) ** 2

    names = [f"fss_{part}_{threshold!r}_{cells}" for part in ("difference", "size")]

    def of_means(means: Means) -> xr.DataArray:
        total = means[names[1]]
        return 1 - means[names[0]] / total.where(total > 0)

    return Metric("fss", dict(zip(names, (difference, size), strict=True)), of_means)


def skill(error: xr.DataArray, reference: xr.DataArray) -> xr.DataArray:
    r"""Return the skill of a mean squared error against a reference's.

    .. math:: S = 1 - \mathrm{MSE} / \mathrm{MSE}_{ref}

    0 for the reference itself, exactly; 1 for no error.
    """
    return 1 - error / reference


def _mean_around(values: np.ndarray, *, cells: int, periodic: bool) -> np.ndarray:
    """Average over a square around each cell of (..., lat, lon); NaN spreads."""
    missing = np.isnan(values)
    result = []
    for field in (np.where(missing, 0.0, values), missing.astype(np.float64)):
        wide = uniform_filter1d(field, cells, axis=-1, mode="wrap" if periodic else "constant")
        result.append(uniform_filter1d(wide, cells, axis=-2, mode="constant"))
    # A running sum leaves rounding where nothing is.
    return np.where(result[1] > 0.5 / cells**2, np.nan, np.maximum(result[0], 0.0))
