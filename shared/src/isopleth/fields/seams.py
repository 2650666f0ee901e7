"""Jumps of a field where regions meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.fields._cells import OUTSIDE, neighbour_pairs, on_grid


@dataclass(frozen=True)
class Seams:
    """Steps of a field across the borders of regions, against the steps inside them.

    Attributes
    ----------
    jump, inner : float
        Mean absolute difference of two cells that share an edge, weighted by the edge's length: across
        borders, and inside regions. The unit is the field's. NaN where there is no such pair.
    pairs : int
        Pairs of cells across borders.
    by_border : dict
        The jump for each pair of regions that touch.
    """

    jump: float
    inner: float
    pairs: int
    by_border: dict[tuple[int, int], float]

    @property
    def ratio(self) -> float:
        """How much larger a step is across borders; 1 for a field that does not know of the regions."""
        return self.jump / self.inner if self.inner else float("inf") if self.jump else float("nan")


def measure_seams(field: xr.DataArray, labels: xr.DataArray) -> Seams:
    """Measure how a field jumps where regions meet, as one does that was predicted region by region.

    Parameters
    ----------
    field : DataArray, dims (lat, lon)
        NaN cells are left out.
    labels : DataArray of int, dims (lat, lon)
        A partition of the same grid; cells outside (-1) are left out.

    Returns
    -------
    Seams

    Raises
    ------
    DataError
        If the grids differ, or the field has other dimensions.
    """
    field, grid = on_grid(field, what="field")
    labels, other = on_grid(labels, what="labels")
    if field.ndim != 2 or labels.ndim != 2 or grid != other:
        raise DataError(
            f"field and labels must be on one (lat, lon) grid, got {field.dims} on {grid} and {labels.dims} "
            f"on {other}"
        )
    pairs, values, region = neighbour_pairs(grid), field.values.ravel(), labels.values.ravel()
    step = np.abs(values[pairs.first] - values[pairs.second])
    a, b = region[pairs.first], region[pairs.second]
    known = np.isfinite(step) & (a != OUTSIDE) & (b != OUTSIDE)
    border = known & (a != b)
    ends = np.sort(np.stack([a, b], axis=1), axis=1)
    by_border = {
        (int(low), int(high)): _mean(step, pairs.length, border & (ends == (low, high)).all(axis=1))
        for low, high in np.unique(ends[border], axis=0)
    }
    inner = _mean(step, pairs.length, known & (a == b))
    return Seams(_mean(step, pairs.length, border), inner, int(border.sum()), by_border)


def _mean(values: np.ndarray, weights: np.ndarray, where: np.ndarray) -> float:
    total = weights[where].sum()
    return float((values[where] * weights[where]).sum() / total) if total > 0 else float("nan")
