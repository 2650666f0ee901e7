"""Temporal interpolation of geospatial fields without ground truth, after STint (arXiv 2309.00059)."""

__version__ = "0.1.0"
