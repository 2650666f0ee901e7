"""Soft borders against distances by hand; a field that jumps blends into one that does not."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError, DataError
from isopleth.fields import assign_regions, measure_seams, soft_membership
from isopleth.fields.membership import _distance, _sea_graph
from isopleth.grid import Grid, great_circle_km

GRID = Grid.regular(45, 90)


def on_grid(values, grid=GRID):
    values = np.broadcast_to(values, grid.shape).copy()
    return xr.DataArray(values, dims=("lat", "lon"), coords={"lat": grid.lat, "lon": grid.lon})


def step(t):
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def halves():
    return on_grid((GRID.lat > 0)[:, None].astype(int))


def test_a_zonal_border_is_a_function_of_the_distance_to_it():
    """The border lies on 2 N, midway between two rows; the nearest point of it is on the meridian."""
    width = 1500.0
    weight = soft_membership(halves(), width_km=width)
    expected = step(0.5 + np.radians(GRID.lat - 2) * 6371.0 / (2 * width))
    np.testing.assert_allclose(
        weight.sel(region=1), np.broadcast_to(expected[:, None], GRID.shape), atol=1e-9
    )
    np.testing.assert_allclose(weight.sum("region"), 1, atol=1e-12)


def test_exact_inside_and_half_at_the_border():
    labels = on_grid((np.arange(90) // 30)[None])
    weight = soft_membership(labels, width_km=1000)
    inside = on_grid((np.abs(np.arange(90) % 30 - 14.5) < 5)[None]) & (np.abs(labels.lat) < 45)
    own = (weight == 1).sel(region=labels)
    assert bool(own.where(inside, other=True).all())
    row = weight.sel(region=0, lat=GRID.lat[22]).values
    assert row[0] - 0.5 == pytest.approx(0.5 - row[-1])  # also round the globe
    assert (np.diff(row[26:34]) <= 0).all()
    assert (weight.argmax("region") == labels).all()


def test_distances_are_those_of_the_sphere_within_eight_per_cent():
    sea = np.ones(GRID.shape, bool).ravel()
    source = np.zeros(GRID.shape, bool)
    source[22, 40] = True
    found = _distance(_sea_graph(GRID, sea), source.ravel(), np.inf).reshape(GRID.shape)
    lat, lon = np.meshgrid(GRID.lat, GRID.lon, indexing="ij")
    distance = great_circle_km(lat, lon, GRID.lat[22], GRID.lon[40])
    near = (distance > 0) & (distance < 5000) & (np.abs(lat) < 45)
    assert (found[near] >= distance[near] - 1e-6).all()
    assert (found[near] <= 1.085 * distance[near]).all()
    np.testing.assert_allclose(found[:, 40], distance[:, 40], atol=1e-6)


def test_an_isthmus_keeps_two_oceans_apart():
    labels = on_grid((np.arange(90) >= 45)[None].astype(int))
    labels[:, 44] = -1
    labels[:, 89] = -1
    weight = soft_membership(labels, width_km=3000)
    assert set(np.unique(weight)) == {0.0, 1.0}
    labels[3, 44] = 0  # a strait, far in the south
    opened = soft_membership(labels, width_km=1000)
    assert 0 < float(opened.sel(region=0)[3, 45]) < 1
    np.testing.assert_array_equal(opened[:, 20:], weight[:, 20:])


def test_a_diagonal_between_two_land_cells_is_no_way():
    grid = Grid(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    shut = on_grid(np.array([[0, -1], [-1, 1]]), grid)
    assert set(np.unique(soft_membership(shut, width_km=500))) == {0.0, 1.0}
    ajar = on_grid(np.array([[0, 0], [-1, 1]]), grid)
    assert float(soft_membership(ajar, width_km=500).sel(region=1)[0, 0]) > 0


def test_blending_takes_the_jump_away():
    labels = halves()
    hard = xr.where(labels == 1, 5.0, 0.0)
    per_region = xr.DataArray([0.0, 5.0], dims="region", coords={"region": [0, 1]})
    soft = (per_region * soft_membership(labels, width_km=2000)).sum("region")
    assert measure_seams(hard, labels).jump == pytest.approx(5)
    across = 2 * step(0.5 + np.radians(2) * 6371 / 4000) - 1
    assert measure_seams(soft.transpose("lat", "lon"), labels).jump == pytest.approx(5 * across)
    assert across < 0.2
    assert float(soft.min()) == 0
    assert float(soft.max()) == 5


def test_a_width_below_the_grid_softens_nothing():
    labels = halves()
    weight = soft_membership(labels, width_km=200.0)
    np.testing.assert_array_equal(weight.sel(region=1), labels == 1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.floats(50, 5000), flip=st.booleans())
def test_weights_are_a_partition_of_one(seed, width, flip):
    rng = np.random.default_rng(seed)
    grid = Grid.regular(9, 14)
    labels = on_grid(rng.integers(-1, 3, (9, 14)), grid)
    labels[0, 0] = 2
    weight = soft_membership(labels, width_km=width)
    total = weight.sum("region").values
    np.testing.assert_allclose(total[labels.values >= 0], 1, atol=1e-12)
    assert (total[labels.values < 0] == 0).all()
    assert float(weight.min()) >= 0
    own = weight.isel(region=labels.where(labels >= 0, 0)).values[labels.values >= 0]
    assert (own >= weight.max("region").values[labels.values >= 0] - 1e-12).all()
    if flip:
        turned = soft_membership(labels[::-1], width_km=width)
        np.testing.assert_allclose(turned[:, ::-1], weight, atol=1e-12)


def test_new_cells_take_the_nearest_region():
    labels = on_grid((np.arange(90) >= 45)[None].astype(int))
    labels.attrs["flag_meanings"] = "a b"
    holes = labels.copy()
    holes[10:12, 5:9] = -1
    holes[30, 60] = -1
    xr.testing.assert_identical(assign_regions(holes, GRID).rename(None), labels)
    fine = Grid.regular(90, 180)
    found = assign_regions(labels, fine)
    # Columns midway between a cell of each are as near to both.
    clear = found.sel(lon=~np.isin(fine.lon, [178, 358]))
    np.testing.assert_array_equal(clear, np.broadcast_to(clear.lon >= 180, clear.shape))


def test_a_limit_and_a_mask_leave_cells_outside():
    labels = on_grid(np.array(-1))
    labels[22, 10] = 4
    near = assign_regions(labels, GRID, max_km=500)
    lat, lon = np.meshgrid(GRID.lat, GRID.lon, indexing="ij")
    distance = great_circle_km(lat, lon, GRID.lat[22], GRID.lon[10])
    np.testing.assert_array_equal(near == 4, distance <= 500)
    masked = assign_regions(labels, GRID, mask=on_grid((GRID.lat > 0)[:, None]))
    np.testing.assert_array_equal(masked == 4, np.broadcast_to((GRID.lat > 0)[:, None], GRID.shape))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: soft_membership(halves(), width_km=0), ConfigError, "width_km must be above 0"),
        (lambda: soft_membership(halves() * 0 - 1, width_km=1), DataError, "with a region"),
        (lambda: soft_membership(halves().expand_dims("time"), width_km=1), DataError, "partition"),
        (lambda: soft_membership(halves().values, width_km=1), DataError, "DataArray"),
        (lambda: assign_regions(halves() * 0 - 1, GRID), DataError, "with a region"),
        (lambda: assign_regions(halves(), GRID, mask=halves()[1:]), DataError, "mask must be on the grid"),
        (lambda: assign_regions(halves(), GRID, max_km=-1), ConfigError, "max_km"),
    ],
)
def test_what_has_no_membership(call, error, message):
    with pytest.raises(error, match=message):
        call()
