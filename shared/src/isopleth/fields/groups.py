"""Groups of samples that stand or fall together: storms, seasons."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from isopleth.errors import ConfigError, DataError
from isopleth.fields.times import ticks


def link_groups(*keys: Any) -> np.ndarray:
    """Give samples that share a value of any key one group number.

    A storm that was renamed when it crossed into another basin is one storm:
    ``link_groups(sid, main_track_sid)``.

    Parameters
    ----------
    *keys : array_like, shape (samples,)

    Returns
    -------
    ndarray of int64, shape (samples,)
    """
    if not keys:
        raise ConfigError("link_groups must be given at least one key, got none")
    codes = [group_codes(key) for key in keys]
    size = codes[0].size
    if any(code.size != size for code in codes):
        raise DataError(f"keys must have one length, got {[code.size for code in codes]}")
    edges = [
        np.stack([np.arange(size), size + code + sum(c.max() + 1 for c in codes[:i])])
        for i, code in enumerate(codes)
    ]
    rows, columns = np.concatenate(edges, axis=1)
    count = int(columns.max()) + 1
    graph = sparse.coo_array((np.ones(rows.size), (rows, columns)), shape=(count, count))
    _, linked = np.unique(csgraph.connected_components(graph, directed=False)[1][:size], return_inverse=True)
    return linked.astype(np.int64)


def storm_seasons(times: Any, lat: Any) -> np.ndarray:
    """Return the tropical cyclone season of each sample: the year, and from July the next one in the south.

    Parameters
    ----------
    times : array_like, shape (samples,)
        datetime64 or cftime.
    lat : array_like, shape (samples,)
        Degrees north. Give a storm one latitude, say of its genesis, to keep it in one season.
    """
    values = np.asarray(times)
    ticks(values)  # refuses what is not a time
    if values.dtype.kind == "M":
        year, month = (
            values.astype("datetime64[Y]").astype(int) + 1970,
            values.astype("datetime64[M]").astype(int) % 12 + 1,
        )
    elif values.dtype == object:
        year, month = np.array([(time.year, time.month) for time in values]).T
    else:
        raise DataError(f"times must be dates to have a season, got {values.dtype}")
    south = np.asarray(lat, dtype=np.float64) < 0
    return year + (south & (month >= 7))


def group_codes(groups: Any) -> np.ndarray:
    """Return the number of each sample's group, from 0, in the order of their names.

    Raises
    ------
    DataError
        If they are not 1-D, not sortable, or one is missing.
    """
    values = np.asarray(groups)
    if values.ndim != 1 or values.size == 0:
        raise DataError(f"groups must be a non-empty 1-D array, got shape {values.shape}")
    missing = values != values  # NaN and NaT are all that differ from themselves
    if np.any(missing) or any(value is None for value in values.tolist()):
        raise DataError("groups must be known for every sample, got a missing one")
    try:
        return np.unique(values, return_inverse=True)[1]
    except TypeError as error:
        raise DataError(f"groups must be of one kind that can be sorted: {error}") from error
