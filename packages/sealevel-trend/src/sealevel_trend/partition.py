"""Segments of the ocean: spectral clusters of the models' variability, given basins, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.fields import cluster_regions, region_stability, single_region
from isopleth.fields.membership import soft_membership
from isopleth.sealevel.basins import ocean_basins
from isopleth.sealevel.global_mean import ocean_mean
from sealevel_trend.config import PartitionConfig


@dataclass(frozen=True, eq=False)
class Partition:
    """Segments, and how steady they are.

    Attributes
    ----------
    labels : DataArray of int, dims (lat, lon)
        -1 over land.
    stability : float, optional
        Mean adjusted Rand index between clusterings of random halves of the series under other seeds: 1 for
        equal segments, 0 for unrelated ones. None for partitions that no data chose.
    """

    labels: xr.DataArray
    stability: float | None = None

    def membership(self, config: PartitionConfig) -> np.ndarray | None:
        """Give each cell's weight in each segment, (segment, lat * lon), where seams are to be blended."""
        if config.seams == "report" or len(self.names) < 2:
            return None
        soft = soft_membership(self.labels, width_km=config.blend_km).transpose("region", "lat", "lon")
        return np.asarray(soft.values.reshape(soft.sizes["region"], -1))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the segments, in the order of their labels."""
        return tuple(self.labels.attrs["flag_meanings"].split())


def build_partition(
    prepared: xr.Dataset, years: tuple[int, int], config: PartitionConfig, *, seeds: int = 0
) -> Partition:
    """Cut the common sea into segments.

    Clusters are of cells whose sea level varies alike in the models, in the past years: no altimetry enters,
    so no fold's test cells have been looked at.

    Parameters
    ----------
    prepared : Dataset
        From `sealevel_trend.data.open_prepared`.
    years : (int, int)
        Of the past.
    config : PartitionConfig
    seeds : int
        Clusterings to measure the stability by; below 2 it is not measured.
    """
    sea = prepared["sea_mask"].compute()
    if config.kind == "none":
        return Partition(single_region(sea))
    if config.kind == "basins":
        return Partition(ocean_basins(sea))
    series = gather_series(prepared, years, config.members)
    graph: dict[str, Any] = {"neighbours": config.neighbours, "components": config.components}
    stability = None
    if seeds >= 2:
        drawn = range(config.seed, config.seed + seeds)
        stability = region_stability(series, config.clusters, seeds=drawn, **graph).mean
    return Partition(cluster_regions(series, config.clusters, seed=config.seed, **graph), stability)


def gather_series(prepared: xr.Dataset, years: tuple[int, int], members: int) -> xr.DataArray:
    """Gather annual departures of the models' sea level from its mean over the ocean and over time.

    Returns
    -------
    DataArray, dims (series, lat, lon)
        Models, members and years in one dimension, without those of models that have fewer members.
    """
    field = prepared["sea_surface_height"].sel(time=slice(str(years[0]), str(years[1])))
    if "member" in field.dims:
        field = field.isel(member=slice(members))
    field = field.compute().astype(np.float64)
    annual = field.groupby("time.year").mean() if field.sizes["time"] > years[1] - years[0] + 1 else field
    time = "year" if "year" in annual.dims else "time"
    anomaly = annual - annual.mean(time)
    anomaly = anomaly - ocean_mean(anomaly)
    stacked = anomaly.stack(series=[dim for dim in anomaly.dims if dim not in ("lat", "lon")])
    stacked = stacked.transpose("series", "lat", "lon")
    present = stacked.notnull().any(("lat", "lon")).values
    if not present.any():
        raise DataError(f"models must have values in {years[0]} to {years[1]} to be clustered, got none")
    return stacked.isel(series=present).drop_vars([*stacked.indexes["series"].names, "series"])
