"""Unsupervised downscaling with paired normalizing flows, after ClimAlign (arXiv 2008.04679)."""

__version__ = "0.1.0"
