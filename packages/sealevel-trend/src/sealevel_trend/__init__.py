"""Regional sea-level trends 30 years ahead, learned from large ensembles and altimetry (arXiv 2310.04540).

Rooms: ``data`` turns prepared fields into trends, ``partition`` cuts the ocean into segments, ``model`` and
``train`` are the networks, ``predict`` applies them, ``experiments`` and ``evaluate`` test them.
"""

__version__ = "0.1.0"
