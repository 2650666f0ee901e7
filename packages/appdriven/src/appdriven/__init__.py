"""Evaluation as the application sees it: declare, split, evaluate, compare (inspired by arXiv 2403.17381)."""

__version__ = "0.1.0"
