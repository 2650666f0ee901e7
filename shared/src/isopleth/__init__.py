"""The shared core of the house: gridded I/O, packed training data, training, scores and reports.

Rooms, from the ground up: ``errors``, ``config``, ``grid``, ``io``, ``samples``, ``fields``, ``verify``,
``data``, ``train``, ``report``, ``cli``. A room imports those before it and none after it.
"""

__version__ = "0.1.0"
