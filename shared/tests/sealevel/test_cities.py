"""Cities: that they lie on coasts, and what the cell nearest to one is."""

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.fields import distance_to_land_km, land_fraction, land_mask
from isopleth.grid import Grid, great_circle_km
from isopleth.sealevel import CITIES, City, find_cities, locate_cities, sample_cities


@pytest.fixture(scope="module")
def sea():
    return land_fraction(Grid.regular(90, 180)) <= 0.5


def test_the_table_is_of_different_places_on_coasts():
    assert len({city.name for city in CITIES}) == len(CITIES) >= 40
    assert [city.name for city in CITIES] == sorted(city.name for city in CITIES)
    lat, lon = (np.array([getattr(city, axis) for city in CITIES]) for axis in ("lat", "lon"))
    assert (distance_to_land_km(lat, lon) < 15.0).all()
    ring = np.radians(np.arange(0, 360, 10))
    for city in CITIES:
        around = [
            ~land_mask(
                city.lat + r * np.cos(ring), city.lon + r * np.sin(ring) / np.cos(np.radians(city.lat))
            )
            for r in (0.2, 0.5, 1.0, 1.6, 2.2)
        ]
        assert np.any(around), f"{city.name} has no sea within 250 km"


def test_every_city_has_a_cell_of_the_common_grid(sea):
    cells, refused = locate_cities(sea)
    assert not refused
    for cell in cells:
        assert bool(sea[cell.row, cell.column])
        assert float(great_circle_km(cell.city.lat, cell.city.lon, cell.lat, cell.lon)) == pytest.approx(
            cell.distance_km
        )


def test_the_cell_is_the_nearest_across_the_dateline():
    grid = Grid.regular(90, 180)
    valid = xr.DataArray(np.zeros(grid.shape, bool), {"lat": grid.lat, "lon": grid.lon}, ("lat", "lon"))
    valid.loc[{"lat": 1.0, "lon": 358.0}] = True
    valid.loc[{"lat": 1.0, "lon": 4.0}] = True
    cells, refused = locate_cities(valid, [City("Null", "Island", 1.0, 0.5)])
    assert not refused
    assert cells[0].lon == 358.0


def test_a_city_too_far_from_the_sea_is_refused(sea):
    inland = City("Urumqi", "China", 43.8, 87.6)
    cells, refused = locate_cities(sea, [inland])
    assert not cells
    assert refused["Urumqi"] > 2000.0
    with pytest.raises(DataError, match=r"must have a sea cell within 300 km, got .* km for Urumqi"):
        sample_cities({"trend": sea.astype(float).where(sea)}, [inland])


def test_rows_hold_the_maps_values(sea):
    grid = Grid.of(sea)
    lat = xr.DataArray(np.broadcast_to(grid.lat[:, None], grid.shape), sea.coords, ("lat", "lon")).where(sea)
    lon = xr.DataArray(np.broadcast_to(grid.lon, grid.shape), sea.coords, ("lat", "lon"))
    for row in sample_cities({"lat": lat, "lon": lon}, find_cities(["sydney", "New York"])):
        assert row["lat"] == row["cell_lat"]
        assert row["lon"] == row["cell_lon"]
        assert row["country"] in ("Australia", "United States")


def test_unknown_cities_are_refused():
    with pytest.raises(ConfigError, match=r"a city must be one of Accra, .* got 'Atlantis'"):
        find_cities(["Atlantis"])


def test_no_sea_at_all_is_refused(sea):
    with pytest.raises(DataError, match="there must be a cell with values"):
        locate_cities(sea & False)
