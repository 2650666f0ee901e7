"""Sea level 30 years ahead: networks fuse climate-model ensembles into altimetry (after Sinha et al. 2023).

Rooms: ``data`` turns a prepared dataset into rows of cells and years, ``segments`` divides the ocean,
``model`` and ``train`` are the networks, ``experiments`` and ``intervals`` say what they are worth,
``attribution`` says which signal did what, ``predict`` and ``evaluate`` write it down.
"""

__version__ = "0.1.0"
