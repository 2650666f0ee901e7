"""Allocate, plan and intervene for conservation, and know how good the decision is."""

__version__ = "0.1.0"
