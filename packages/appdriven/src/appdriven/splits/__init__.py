"""Splits as the deployment will split: kept apart by a stated distance, and proven to be."""

from appdriven.splits.audit import SplitAudit, audit_splits, find_duplicates, find_fitted_statistics
from appdriven.splits.make import make_splits, space_folds, space_time_folds
from appdriven.splits.variogram import Variogram, measure_variogram

__all__ = [
    "SplitAudit",
    "Variogram",
    "audit_splits",
    "find_duplicates",
    "find_fitted_statistics",
    "make_splits",
    "measure_variogram",
    "space_folds",
    "space_time_folds",
]
