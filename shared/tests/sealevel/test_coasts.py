"""Common coasts: who lends a value to whom, and how many do."""

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from isopleth.grid import Grid, great_circle_km
from isopleth.sealevel.coasts import fill_coast, guard_sea, match_coasts

GRID = Grid.regular(18, 36)


def mask_of(values):
    return xr.DataArray(values, {"lat": GRID.lat, "lon": GRID.lon}, ("lat", "lon"))


@pytest.fixture
def masks():
    rng = np.random.default_rng(0)
    return {
        name: mask_of(rng.random(GRID.shape) < share)
        for name, share in (("obs", 0.8), ("a", 0.7), ("b", 0.6))
    }


def test_the_common_coast_is_the_intersection(masks):
    coasts = match_coasts(masks["obs"], {"a": masks["a"], "b": masks["b"]}, coast="common", fill_km=1e4)
    expected = masks["obs"] & masks["a"] & masks["b"]
    for name, coast in coasts.items():
        np.testing.assert_array_equal(coast.sea, expected)
        assert coast.filled == 0
        assert coast.lost == int((masks["obs"] & ~masks[name]).sum())


def test_filled_cells_have_their_nearest_neighbours_value(masks):
    coasts = match_coasts(masks["obs"], {"a": masks["a"]}, coast="fill", fill_km=2e4)
    np.testing.assert_array_equal(coasts["a"].sea, masks["obs"])
    assert coasts["a"].lost == 0
    assert coasts["a"].filled == int((masks["obs"] & ~masks["a"]).sum())
    lat, lon = np.meshgrid(GRID.lat, GRID.lon, indexing="ij")
    number = np.arange(lat.size, dtype=float).reshape(GRID.shape)
    field = mask_of(number).where(masks["a"])
    filled = fill_coast(field, coasts["a"]).values
    known = np.flatnonzero(masks["a"].values.ravel())
    for row, column in np.argwhere((masks["obs"] & ~masks["a"]).values)[::7]:
        distance = great_circle_km(lat[row, column], lon[row, column], lat.ravel()[known], lon.ravel()[known])
        lender = int(filled[row, column])
        assert distance[known == lender][0] == pytest.approx(distance.min(), abs=1e-6)
    own = (masks["obs"] & masks["a"]).values
    np.testing.assert_array_equal(filled[own], number[own])


def test_no_value_comes_from_further_than_said():
    ocean = mask_of(np.ones(GRID.shape, bool))
    model = mask_of(np.ones(GRID.shape, bool))
    model[4:14, 5:25] = False
    coast = match_coasts(ocean, {"a": model}, coast="fill", fill_km=1500.0)["a"]
    assert 0 < coast.filled < 200
    assert coast.filled + coast.lost == 200
    assert not coast.sea[9, 15]


def test_no_common_sea_is_refused(masks):
    with pytest.raises(DataError, match="must share sea cells, got none"):
        match_coasts(masks["obs"], {"a": ~masks["obs"]}, coast="common", fill_km=0.0)


def test_heights_at_the_limit_pass_and_beyond_it_do_not():
    sea = mask_of(np.ones(GRID.shape, bool))
    sea[0] = False
    field = mask_of(np.full(GRID.shape, 9.9))
    field[0] = np.nan
    np.testing.assert_array_equal(guard_sea(field, sea, where="m"), field)
    field[3, 3] = -10.1
    with pytest.raises(DataError, match=r"must lie within 10 m, got 10.1 m"):
        guard_sea(field, sea, where="m")
    field[3, 3] = np.nan
    with pytest.raises(DataError, match="got 1 missing"):
        guard_sea(field, sea, where="m")
