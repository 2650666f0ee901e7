"""Curvilinear ocean grids in miniature: rows that bend round a pole which stands on land."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isopleth.errors import ConfigError
from isopleth.samples.waves import Floats


@dataclass(frozen=True, eq=False)
class OceanGrid:
    """Centres of cells: latitude and longitude in degrees, each (rows, columns)."""

    lat: Floats
    lon: Floats


def displaced_pole_grid(
    resolution_deg: float, *, pole: tuple[float, float], first_lon: float, south: float = -78.0
) -> OceanGrid:
    r"""Make a grid whose northern rows close round a pole of their own, as POP's and MPI-OM's do.

    South of the equator rows are parallels. North of it, in the stereographic plane seen from the south pole
    (:math:`z = \rho e^{i \lambda}`, :math:`\rho = \tan((90° - \varphi) / 2)`, 1 at the equator), each circle
    of latitude is moved towards the pole's place :math:`z_p` by :math:`(1 - \rho^2)^2 z_p`: not at all at the
    equator, all the way at the pole itself. The rows end three degrees before it.

    Parameters
    ----------
    resolution_deg : float
        Between rows, and between columns at the equator.
    pole : tuple of float
        Latitude and longitude of the grid's own pole, on land.
    first_lon : float
        Where columns begin; longitudes run on from there without being wrapped.
    south : float
        Edge of the first row.

    Raises
    ------
    ConfigError
        If the resolution does not divide a circle, or the pole is so far from the Earth's that rows cross.
    """
    if not 0.0 < resolution_deg <= 15.0 or 360.0 % resolution_deg:
        raise ConfigError(f"resolution_deg must divide 360, up to 15, got {resolution_deg}")
    if not 60.0 <= pole[0] <= 90.0:
        raise ConfigError(f"the pole must lie at 60 to 90 degrees north, got {pole[0]}")
    rows = np.arange(south + resolution_deg / 2, 87.0, resolution_deg)
    columns = first_lon + resolution_deg * (np.arange(round(360.0 / resolution_deg)) + 0.5)
    nominal, angle = np.meshgrid(rows, np.radians(columns), indexing="ij")
    radius = np.tan(np.radians((90.0 - nominal) / 2.0))
    place = np.tan(np.radians((90.0 - pole[0]) / 2.0)) * np.exp(1j * np.radians(pole[1]))
    moved = np.where(nominal > 0.0, (1.0 - np.minimum(radius, 1.0) ** 2) ** 2, 0.0)
    z = radius * np.exp(1j * angle) + moved * place
    lat = 90.0 - 2.0 * np.degrees(np.arctan(np.abs(z)))
    # Longitudes run on across Greenwich, as far as the bend allows.
    turn = np.degrees(np.angle(z * np.exp(-1j * angle)))
    return OceanGrid(lat, np.degrees(angle) + turn)
