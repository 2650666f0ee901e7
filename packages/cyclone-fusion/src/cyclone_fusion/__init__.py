"""Tropical-cyclone track forecasts with the fused network of Giffard-Roisin et al. (2020).

Rooms: ``tracks`` reads best tracks, ``samples`` cuts storm-following samples from them, ``frame`` turns
displacements into places, ``baselines`` and ``model`` predict, ``train`` fits, ``evaluate`` scores.
"""

__version__ = "0.1.0"
