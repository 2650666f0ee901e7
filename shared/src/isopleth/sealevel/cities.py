"""Coastal cities, and the sea cells nearest to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.config import check_positive
from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid, great_circle_km


@dataclass(frozen=True)
class City:
    """A place on a coast: name, country, degrees north and east."""

    name: str
    country: str
    lat: float
    lon: float


CITIES: tuple[City, ...] = (
    City("Accra", "Ghana", 5.55, -0.20),
    City("Alexandria", "Egypt", 31.20, 29.92),
    City("Amsterdam", "Netherlands", 52.37, 4.90),
    City("Athens", "Greece", 37.94, 23.65),
    City("Auckland", "New Zealand", -36.85, 174.76),
    City("Bangkok", "Thailand", 13.60, 100.60),
    City("Barcelona", "Spain", 41.38, 2.18),
    City("Boston", "United States", 42.36, -71.06),
    City("Buenos Aires", "Argentina", -34.60, -58.38),
    City("Cape Town", "South Africa", -33.92, 18.42),
    City("Chattogram", "Bangladesh", 22.33, 91.80),
    City("Chennai", "India", 13.08, 80.27),
    City("Copenhagen", "Denmark", 55.68, 12.57),
    City("Dakar", "Senegal", 14.69, -17.45),
    City("Dar es Salaam", "Tanzania", -6.80, 39.28),
    City("Dublin", "Ireland", 53.35, -6.26),
    City("Fremantle", "Australia", -32.06, 115.74),
    City("Guangzhou", "China", 23.13, 113.26),
    City("Hamburg", "Germany", 53.55, 9.99),
    City("Ho Chi Minh City", "Vietnam", 10.82, 106.63),
    City("Hong Kong", "China", 22.30, 114.17),
    City("Honolulu", "United States", 21.31, -157.86),
    City("Istanbul", "Turkey", 41.01, 28.98),
    City("Jakarta", "Indonesia", -6.21, 106.85),
    City("Karachi", "Pakistan", 24.86, 67.01),
    City("Kochi", "India", 9.93, 76.27),
    City("Lagos", "Nigeria", 6.45, 3.39),
    City("Lima", "Peru", -12.05, -77.05),
    City("Lisbon", "Portugal", 38.72, -9.14),
    City("London", "United Kingdom", 51.51, -0.13),
    City("Los Angeles", "United States", 34.05, -118.24),
    City("Manila", "Philippines", 14.60, 120.98),
    City("Miami", "United States", 25.76, -80.19),
    City("Mumbai", "India", 19.08, 72.88),
    City("New Orleans", "United States", 29.95, -90.07),
    City("New York", "United States", 40.71, -74.01),
    City("Osaka", "Japan", 34.69, 135.50),
    City("Rio de Janeiro", "Brazil", -22.91, -43.17),
    City("San Francisco", "United States", 37.77, -122.42),
    City("Seattle", "United States", 47.61, -122.33),
    City("Shanghai", "China", 31.23, 121.47),
    City("Singapore", "Singapore", 1.29, 103.85),
    City("Stockholm", "Sweden", 59.33, 18.07),
    City("Sydney", "Australia", -33.87, 151.21),
    City("Tokyo", "Japan", 35.65, 139.77),
    City("Vancouver", "Canada", 49.28, -123.12),
    City("Venice", "Italy", 45.44, 12.32),
)


@dataclass(frozen=True)
class CityCell:
    """The sea cell that stands for a city: its row and column, its centre, how far that is."""

    city: City
    row: int
    column: int
    lat: float
    lon: float
    distance_km: float


def find_cities(names: Sequence[str] | None = None) -> tuple[City, ...]:
    """Return cities of the table by name, in any case; all of them by default.

    Raises
    ------
    ConfigError
        If one is not in the table.
    """
    if names is None:
        return CITIES
    known = {city.name.lower(): city for city in CITIES}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise ConfigError(
            f"a city must be one of {', '.join(city.name for city in CITIES)}, got {unknown[0]!r}",
            hint="any other place can be given as City(name, country, lat, lon)",
        )
    return tuple(known[name.lower()] for name in names)


def locate_cities(
    valid: xr.DataArray, cities: Sequence[City] | None = None, *, limit_km: float = 300.0
) -> tuple[list[CityCell], dict[str, float]]:
    """Find the nearest cell with values for each city, by the great circle to its centre.

    Parameters
    ----------
    valid : DataArray of bool, dims (lat, lon)
        Cells that have values.
    cities : sequence of City, optional
        The table's by default.
    limit_km : float
        How far a cell may be.

    Returns
    -------
    tuple
        The cells found, and the cities that have none within the limit, with the distance to the nearest.

    Raises
    ------
    DataError
        If no cell has a value at all.
    """
    check_positive(limit_km=limit_km)
    mask = valid.transpose("lat", "lon").values.astype(bool)
    if not mask.any():
        raise DataError("there must be a cell with values, got none")
    grid = Grid.of(valid)
    rows, columns = np.nonzero(mask)
    found, refused = [], {}
    for city in CITIES if cities is None else cities:
        distance = great_circle_km(city.lat, city.lon, grid.lat[rows], grid.lon[columns])
        at = int(np.argmin(distance))
        row, column, km = int(rows[at]), int(columns[at]), float(distance[at])
        if km > limit_km:
            refused[city.name] = km
        else:
            found.append(CityCell(city, row, column, float(grid.lat[row]), float(grid.lon[column]), km))
    return found, refused


def sample_cities(
    fields: Mapping[str, xr.DataArray], cities: Sequence[City] | None = None, *, limit_km: float = 300.0
) -> list[dict[str, float | str]]:
    """Read maps at the sea cells of cities: one row a city, for tables and JSON.

    Parameters
    ----------
    fields : mapping of str to DataArray, dims (lat, lon)
        Maps of one grid; a cell counts where all have values.
    cities, limit_km
        As for `locate_cities`.

    Returns
    -------
    list of dict
        ``city``, ``country``, ``cell_lat``, ``cell_lon``, ``distance_km``, and a value of each map.

    Raises
    ------
    DataError
        If a city has no cell within the limit.
    """
    if not fields:
        raise ConfigError("there must be a map to read, got none")
    maps = {name: array.transpose("lat", "lon") for name, array in fields.items()}
    first = next(iter(maps.values()))
    valid = first.copy(data=np.logical_and.reduce([np.isfinite(array.values) for array in maps.values()]))
    cells, refused = locate_cities(valid, cities, limit_km=limit_km)
    if refused:
        name, km = next(iter(refused.items()))
        raise DataError(
            f"a city must have a sea cell within {limit_km:g} km, got {km:.0f} km for {name}",
            hint="leave it out, or raise the limit",
        )
    return [
        {
            "city": cell.city.name,
            "country": cell.city.country,
            "cell_lat": cell.lat,
            "cell_lon": cell.lon,
            "distance_km": round(cell.distance_km, 1),
            **{name: float(array.values[cell.row, cell.column]) for name, array in maps.items()},
        }
        for cell in cells
    ]
