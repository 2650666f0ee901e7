"""Forecast the next frame of gridded fields from the present one.

Rooms: ``data`` makes a store and its windows, ``model`` is the network, ``train``, ``predict`` and
``evaluate`` fit, apply and test it, ``demo`` is the whole job.
"""

__version__ = "0.0.1"
