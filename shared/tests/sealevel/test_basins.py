"""Basins: places that everybody knows, every sea cell, and no land."""

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from isopleth.fields.land import land_fraction
from isopleth.grid import Grid
from isopleth.sealevel.basins import ocean_basins

PLACES = {
    "North_Atlantic": [(30, -40), (25, -90), (15, -70), (38, 5), (43, 35), (56, 19), (58, -85)],
    "South_Atlantic": [(-20, -20), (-35, 10)],
    "Indian_Ocean": [(10, 65), (-20, 80), (15, 88), (20, 38), (27, 51), (-35, 110)],
    "North_Pacific": [(30, -150), (30, 170), (12, -92), (8, -85), (10, 115), (38, 135), (57, -175)],
    "South_Pacific": [(-20, -130), (-20, 170), (-5, 130), (-5, 110), (-30, 160)],
    "Southern_Ocean": [(-55, 0), (-60, -160)],
    "Arctic": [(80, 0), (85, 180), (73, 35)],
}


@pytest.mark.parametrize("degrees", [2, 4])
def test_known_places_lie_in_their_basins(degrees):
    sea = land_fraction(Grid.regular(180 // degrees, 360 // degrees)) <= 0.5
    labels = ocean_basins(xr.ones_like(sea))
    names = labels.attrs["flag_meanings"].split()
    for name, points in PLACES.items():
        for lat, lon in points:
            found = labels.sel(lat=lat, lon=lon % 360, method="nearest")
            assert names[int(found)] == name, (name, lat, lon)
    np.testing.assert_array_equal(ocean_basins(sea) >= 0, sea)


def test_a_part_of_the_globe_has_its_own_basins_alone():
    axes = {"lat": [10.0, 12, 14, 16], "lon": [200.0, 202, 204, 206, 208]}
    field = xr.DataArray(np.ones((4, 5), bool), axes, ("lat", "lon"))
    labels = ocean_basins(field)
    assert labels.attrs["flag_meanings"] == "North_Pacific"
    assert (labels == 0).all()


def test_no_sea_is_refused():
    with pytest.raises(DataError, match="sea cell"):
        ocean_basins(xr.DataArray(np.zeros((2, 2), bool), {"lat": [0.0, 2], "lon": [0.0, 2]}, ("lat", "lon")))
