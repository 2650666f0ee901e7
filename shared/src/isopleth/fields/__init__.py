"""What one does to gridded fields before learning: trends, regions, folds that do not leak, land and sea."""

from isopleth.fields.audits import Audit, FoldAudit, audit
from isopleth.fields.autocorrelation import Autocorrelation, lag_one, morans_i
from isopleth.fields.folds import (
    Fold,
    Folds,
    block_folds,
    group_folds,
    holdout,
    make_folds,
    random_folds,
    tile_labels,
    time_folds,
)
from isopleth.fields.groups import link_groups, storm_seasons
from isopleth.fields.land import coastlines, distance_to_land_km, land_fraction, land_mask
from isopleth.fields.membership import assign_regions, soft_membership
from isopleth.fields.regions import basin_regions, cluster_regions, single_region
from isopleth.fields.seams import Seams, measure_seams
from isopleth.fields.stability import Stability, adjusted_rand_index, region_stability
from isopleth.fields.surrogates import surrogate_fields
from isopleth.fields.times import decimal_years
from isopleth.fields.trends import trend

__all__ = [
    "Audit",
    "Autocorrelation",
    "Fold",
    "FoldAudit",
    "Folds",
    "Seams",
    "Stability",
    "adjusted_rand_index",
    "assign_regions",
    "audit",
    "basin_regions",
    "block_folds",
    "cluster_regions",
    "coastlines",
    "decimal_years",
    "distance_to_land_km",
    "group_folds",
    "holdout",
    "lag_one",
    "land_fraction",
    "land_mask",
    "link_groups",
    "make_folds",
    "measure_seams",
    "morans_i",
    "random_folds",
    "region_stability",
    "single_region",
    "soft_membership",
    "storm_seasons",
    "surrogate_fields",
    "tile_labels",
    "time_folds",
    "trend",
]
