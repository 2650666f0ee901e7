"""Unsupervised downscaling with paired normalizing flows, after ClimAlign (arXiv 2008.04679)."""

__version__ = "0.0.1"
