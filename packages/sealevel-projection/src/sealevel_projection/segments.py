"""Divide the ocean: spectral clusters of the models' hindcasts, basins, one ocean, or a file's labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.fields import cluster_regions, region_stability, single_region, soft_membership
from isopleth.grid import Grid
from isopleth.sealevel.basins import ocean_basins
from isopleth.sealevel.rows import Floats
from sealevel_projection.config import PeriodConfig, SegmentConfig
from sealevel_projection.data import Archive, select_years


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """A partition of the ocean, and how much each cell belongs to each part.

    Attributes
    ----------
    labels : DataArray of int, dims (lat, lon)
        -1 outside.
    membership : array, shape (segment, cell)
        On the flattened grid; over segments 1 inside, 0 outside.
    stability : float, optional
        Mean adjusted Rand index between clusterings of different seeds and halves of the years.
    """

    labels: xr.DataArray
    membership: Floats
    stability: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts, in the order of their labels."""
        return tuple(str(self.labels.attrs["flag_meanings"]).split())


def divide_ocean(
    archive: Archive, config: SegmentConfig, period: PeriodConfig, *, check_stability: bool = False
) -> Segments:
    """Divide the ocean as a config asks for.

    Clusters are of cells whose forced responses vary alike over the hindcast in all ensembles. The altimeter
    is not looked at, so that no partition knows the answer.

    Parameters
    ----------
    archive : Archive
    config : SegmentConfig
    period : PeriodConfig
        Of the hindcast.
    check_stability : bool
        Whether to cluster again with other seeds and halves of the years, and compare.

    Returns
    -------
    Segments
    """
    stability = None
    if config.method == "spectral":
        features = _features(archive, period)
        labels = cluster_regions(features, config.clusters, seed=config.seed)
        if check_stability and config.clusters > 1:
            stability = region_stability(features, config.clusters, dim="time").mean
    elif config.method == "basins":
        labels = ocean_basins(archive.sea)
    elif config.method == "none":
        labels = single_region(archive.sea)
    else:
        assert config.file is not None, "checked by SegmentConfig"
        labels = _read_labels(config.file, archive.sea)
    return Segments(labels=labels, membership=blend(labels, config.blend_km), stability=stability)


def blend(labels: xr.DataArray, blend_km: float) -> Floats:
    """Return how much each cell belongs to each segment, shape (segment, cell); hard borders at 0 km.

    See `isopleth.fields.soft_membership`.
    """
    if blend_km > 0:
        return np.asarray(soft_membership(labels, width_km=blend_km).values.reshape(-1, labels.size))
    numbers = np.arange(int(labels.max()) + 1)
    return np.asarray(labels.values.ravel() == numbers[:, None], dtype=np.float64)


def _features(archive: Archive, period: PeriodConfig) -> xr.DataArray:
    """Return what clusters are made of: the ensembles' hindcasts, (model, time, lat, lon)."""
    hindcast = select_years(archive.models, period.first_year, period.last_year)
    return hindcast.transpose("time", "model", "lat", "lon")


def _read_labels(path: Path, sea: xr.DataArray) -> xr.DataArray:
    """Read the labels of a partition and bring them to whole numbers from 0."""
    try:
        with xr.open_dataset(path) as opened:
            names = [
                str(name) for name, field in opened.data_vars.items() if {"lat", "lon"} <= set(field.dims)
            ]
            if len(names) != 1:
                raise DataError(f"a file of segments must have one field (lat, lon), got {names}", where=path)
            labels = opened[names[0]].transpose("lat", "lon").load()
    except (OSError, ValueError) as error:
        raise DataError(f"a file of segments must be NetCDF, got {error}", where=path) from error
    if Grid.of(labels) != Grid.of(sea):
        raise DataError(f"segments must be on {Grid.of(sea)}, got {Grid.of(labels)}", where=path)
    values = np.nan_to_num(labels.values.astype(np.float64), nan=-1.0)
    if (values != np.round(values)).any():
        raise DataError("segments must be whole numbers, got fractions", where=path)
    found = np.where((values >= 0) & sea.values, values, -1).astype(np.int64)
    if not (found >= 0).any():
        raise DataError("a file of segments must label a sea cell, got none", where=path)
    present, numbers = np.unique(found, return_inverse=True)
    numbers = numbers.reshape(found.shape) - int(present[0] < 0)
    kept = present[present >= 0].tolist()
    meanings = " ".join(f"segment_{k}" for k in kept)
    attrs = {"long_name": "segment", "flag_values": list(range(len(kept))), "flag_meanings": meanings}
    return xr.DataArray(numbers, {"lat": sea["lat"], "lon": sea["lon"]}, ("lat", "lon"), "region", attrs)
