"""The ocean's basins, as one would draw them by hand: the partition that needs no data."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import spatial

from isopleth.errors import DataError
from isopleth.fields import basin_regions
from isopleth.fields._points import unit_vectors
from isopleth.grid import Grid

SOUTHERN_OCEAN, ARCTIC = "Southern Ocean", "Arctic"
# South of the one, north of the other, degrees.
_SOUTHERN_LIMIT, _ARCTIC_LIMIT = -40.0, 66.0
_CENTRAL_AMERICA = ((-102, 25), (-97, 18.3), (-91, 16.5), (-84, 11), (-81.5, 8.6), (-77.5, 8), (-70, 0))
_INDONESIA = ((104, 0), (106, -6), (120, -9), (130, -10), (142, -10), (145, -40))

# Corners as longitude and latitude.
BASINS: dict[str, tuple[tuple[float, float], ...]] = {
    "North Atlantic": (*_CENTRAL_AMERICA, (-30, 0), (15, 0), (42, 30), (42, 67), (-30, 67), (-102, 67)),
    "South Atlantic": ((-70, 0), (20, 0), (20, -41), (-70, -41)),
    "Indian Ocean": (
        (20, -41), (20, 5), (42, 31), (100, 26), (98, 8), *_INDONESIA[:-1], (145, -41),
    ),
    "North Pacific": (
        *_CENTRAL_AMERICA, (-160, 0), (104, 0), (98, 8), (100, 26), (100, 67), (180, 67), (-102, 67),
    ),
    "South Pacific": (*_INDONESIA, (145, -41), (-160, -41), (-70, -41), (-70, 0), (-160, 0)),
}  # fmt: skip


def ocean_basins(sea: xr.DataArray) -> xr.DataArray:
    """Label sea cells by basin: five between 40°S and 66°N, the Southern Ocean and the Arctic.

    Marginal seas that lie in no basin belong to the nearest one.

    Parameters
    ----------
    sea : DataArray of bool, dims (lat, lon)
        A global grid, or a part of one.

    Returns
    -------
    DataArray of int64, dims (lat, lon)
        -1 over land; names in ``attrs["flag_meanings"]``. Basins without a cell are left out.

    Raises
    ------
    DataError
        If there is no sea.
    """
    sea = sea.transpose("lat", "lon")
    grid, mask = Grid.of(sea), sea.values.astype(bool)
    if not mask.any():
        raise DataError("there must be a sea cell, got none")
    names = [*BASINS, SOUTHERN_OCEAN, ARCTIC]
    whole = Grid.regular(90, 180)
    known = basin_regions(BASINS, whole).values
    known[whole.lat < _SOUTHERN_LIMIT] = names.index(SOUTHERN_OCEAN)
    known[whole.lat > _ARCTIC_LIMIT] = names.index(ARCTIC)
    lat, lon = (axis.ravel() for axis in np.meshgrid(whole.lat, whole.lon, indexing="ij"))
    inside = known.ravel() >= 0
    tree = spatial.cKDTree(unit_vectors(lat[inside], lon[inside]))
    rows, columns = np.nonzero(mask)
    _, nearest = tree.query(unit_vectors(grid.lat[rows], grid.lon[columns]))
    labels = np.full(mask.shape, -1, dtype=np.int64)
    present, labels[mask] = np.unique(known.ravel()[inside][nearest], return_inverse=True)
    attrs = {
        "long_name": "ocean basin",
        "flag_values": list(range(len(present))),
        "flag_meanings": " ".join(names[k].replace(" ", "_") for k in present),
        "method": "given basins",
    }
    return sea.copy(data=labels).rename("region").drop_attrs().assign_attrs(attrs)
