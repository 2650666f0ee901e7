"""Temporal interpolation of geospatial fields without ground truth, after STint (arXiv 2309.00059).

Rooms: ``cycle`` is the method, ``model`` the network, ``baselines`` every other way to fill a gap,
``train`` and ``predict`` fit and apply, ``interpolate`` streams, ``outcome`` and ``evaluate`` test.
"""

__version__ = "0.1.0"
