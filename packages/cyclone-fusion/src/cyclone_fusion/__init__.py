"""Tropical-cyclone track forecasts with the fused network of Giffard-Roisin et al. (2020).

Rooms: ``tracks`` reads best tracks, ``data`` cuts storm-following samples from them, ``windows`` the fields
around them, ``prepare`` puts both into one store; ``frame`` turns displacements into places; ``model`` has
the streams and their fusion, ``train`` the stages; ``baselines``, ``scores`` and ``evaluate`` compare.
"""

__version__ = "0.1.0"
