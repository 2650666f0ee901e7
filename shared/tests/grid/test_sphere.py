"""Great circles against closed forms, vectors in float64, and automatic differentiation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.grid import (
    EARTH_RADIUS_KM,
    destination,
    great_circle_km,
    initial_bearing,
    longitude_difference,
    wrap_longitude,
)

HALF_WAY_ROUND = math.pi * EARTH_RADIUS_KM
latitudes = st.floats(-90, 90)
longitudes = st.floats(-540, 540)


def unit_vector(lat, lon):
    lat, lon = np.radians(np.asarray(lat, float)), np.radians(np.asarray(lon, float))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def naive_distance(lat1, lon1, lat2, lon2):
    """The angle between vectors, atan2(|a x b|, a . b): independent of haversines and good everywhere."""
    a, b = unit_vector(lat1, lon1), unit_vector(lat2, lon2)
    return EARTH_RADIUS_KM * np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((0, 0, 0, 90), HALF_WAY_ROUND / 2),
        ((0, 0, 90, 123), HALF_WAY_ROUND / 2),
        ((90, 0, -90, 77), HALF_WAY_ROUND),
        ((0, 10, 0, 190), HALF_WAY_ROUND),
        ((37.5, -20, -37.5, 160), HALF_WAY_ROUND),
        ((0, 179.5, 0, -179.5), HALF_WAY_ROUND / 180),
        ((60, 0, 60, 180), HALF_WAY_ROUND / 3),
        ((12.25, 340, 12.25, -20), 0),
    ],
)
def test_distances_of_closed_form(points, expected):
    assert float(great_circle_km(*points)) == pytest.approx(expected, rel=1e-15, abs=1e-9)


@settings(deadline=None)
@given(latitudes, longitudes, latitudes, longitudes)
def test_distance_is_the_angle_between_vectors(lat1, lon1, lat2, lon2):
    distance = float(great_circle_km(lat1, lon1, lat2, lon2))
    # 1e-8 km: the vectors of the naive form carry the rounding of longitudes beyond 360
    assert distance == pytest.approx(float(naive_distance(lat1, lon1, lat2, lon2)), rel=1e-12, abs=1e-8)
    assert distance == pytest.approx(float(great_circle_km(lat2, lon2, lat1, lon1)), rel=1e-14)
    assert 0 <= distance <= HALF_WAY_ROUND * (1 + 1e-15)


@pytest.mark.parametrize("scale_degrees", [1e-5, 1e-3, 0.1, 5.0, 179.9, 179.9999])
@pytest.mark.parametrize("where", [0.0, 33.0, 80.0, 89.9])
def test_float32_keeps_its_relative_precision_at_every_distance(scale_degrees, where):
    """Trap 9 of the fact sheet: 6e-4 at 1 km. Measured against float64 at the very same float32 points."""
    rng = np.random.default_rng(0)
    lat1 = (where + rng.uniform(-0.05, 0.05, 500)).astype("f4")
    lon1 = rng.uniform(0, 360, 500).astype("f4")
    lat2, lon2 = destination(
        *(x.astype(float) for x in (lat1, lon1)), rng.uniform(0, 360, 500), scale_degrees * 111.195
    )
    lat2, lon2 = lat2.astype("f4"), lon2.astype("f4")
    distance = great_circle_km(lat1, lon1, lat2, lon2)
    truth = great_circle_km(*(x.astype(float) for x in (lat1, lon1, lat2, lon2)))
    assert distance.dtype == np.float32
    np.testing.assert_allclose(distance, truth, rtol=1e-6)


def test_one_metre_in_float32_where_float32_can_say_it():
    """Near the origin float32 holds the points well enough: 0.0014 km for 0.001 was the formula's fault."""
    step = np.float32(0.001 / (math.pi * EARTH_RADIUS_KM / 180))
    zero = np.float32(0)
    assert float(great_circle_km(zero, zero, step, zero)) == pytest.approx(0.001, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("lat1", "lon1", "lat2", "lon2"),
    [
        (12.0, 200.0, 12.0, 200.0),
        (0.0, 0.0, 0.0, 0.0),
        (90.0, 0.0, 90.0, 0.0),
        (10.0, 180.0, 10.0, -180.0),
        (0.0, 0.0, 0.0, 180.0),
        (45.0, 10.0, -45.0, 190.0),
        (90.0, 0.0, -90.0, 0.0),
        (45.0, 10.0, -45.0001, 190.0001),
        (45.0, 10.0, 45.00001, 10.00001),
    ],
)
def test_gradients_are_finite_at_zero_distance_and_at_antipodes(dtype, lat1, lon1, lat2, lon2):
    points = [torch.tensor([v], dtype=dtype, requires_grad=True) for v in (lat1, lon1, lat2, lon2)]
    for function in (great_circle_km, initial_bearing):
        gradients = torch.autograd.grad(function(*points).sum(), points, allow_unused=True)
        assert all(g is None or torch.isfinite(g).all() for g in gradients), function
    distance = great_circle_km(*points)
    slope = torch.autograd.grad(distance.sum(), points)
    # nowhere steeper than a degree is long
    assert max(abs(float(g)) for g in slope) <= 111.2


def test_the_gradient_at_zero_distance_is_zero():
    lat = torch.zeros(3, requires_grad=True)
    great_circle_km(lat, torch.ones(3), torch.zeros(3), torch.ones(3)).sum().backward()
    assert lat.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("function", [great_circle_km, initial_bearing])
def test_gradients_equal_finite_differences(function):
    rng = torch.Generator().manual_seed(0)
    lat = torch.rand((2, 20), generator=rng, dtype=torch.float64) * 160 - 80
    lon = torch.rand((2, 20), generator=rng, dtype=torch.float64) * 150
    points = [x.clone().requires_grad_() for x in (lat[0], lon[0], lat[1], lon[1])]
    assert torch.autograd.gradcheck(function, points, eps=1e-5, atol=1e-5)


def test_the_gradient_of_a_destination_equals_finite_differences():
    points = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([50.0, -89.0], [10.0, 10.0])]
    move = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([33.0, 120.0], [500.0, 900.0])]
    assert torch.autograd.gradcheck(destination, [*points, *move], eps=1e-5, atol=1e-5)


def test_numpy_and_torch_give_the_same_numbers_and_kinds():
    rng = np.random.default_rng(1)
    points = [
        rng.uniform(-90, 90, (4, 1)),
        rng.uniform(0, 360, (4, 1)),
        rng.uniform(-90, 90, 5),
        rng.uniform(0, 360, 5),
    ]
    tensors = [torch.as_tensor(p) for p in points]
    for function in (great_circle_km, initial_bearing):
        array, tensor = function(*points), function(*tensors)
        assert array.shape == tensor.shape == (4, 5)
        assert isinstance(tensor, torch.Tensor)
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-12)


def test_plain_numbers_join_tensors_in_their_dtype():
    distance = great_circle_km(torch.zeros(2), 0.0, 0.0, [1.0, 2.0])
    assert distance.dtype == torch.float32
    assert great_circle_km(torch.zeros(2, dtype=torch.int64), 0, 0, 1).dtype == torch.float64
    assert great_circle_km(0, 0, np.array([1, 2]), 0).dtype == np.float64


def test_missing_positions_give_missing_distances():
    assert np.isnan(great_circle_km(0.0, np.nan, 0.0, 0.0))
    assert np.isnan(great_circle_km([np.nan, 0], 0.0, 0.0, 0.0)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("points", "bearing"),
    [
        ((0, 0, 1, 0), 0),
        ((0, 0, 0, 1), 90),
        ((1, 0, 0, 0), 180),
        ((0, 0, 0, -1), 270),
        ((0, 179, 0, -179), 90),
        ((5, 5, 5, 5), 0),
        ((0, 0, 45, 90), 45),
    ],
)
def test_bearings_of_closed_form(points, bearing):
    assert float(initial_bearing(*points)) == pytest.approx(bearing, abs=1e-12)


@settings(deadline=None)
@given(st.floats(-89, 89), longitudes, st.floats(0, 359.9), st.floats(1, 19_000))
def test_bearing_and_distance_undo_a_destination(lat, lon, bearing, distance):
    lat2, lon2 = destination(lat, lon, bearing, distance)
    assert -90 <= lat2 <= 90
    assert 0 <= lon2 < 360
    assert float(great_circle_km(lat, lon, lat2, lon2)) == pytest.approx(distance, rel=1e-10)
    back = float(initial_bearing(lat, lon, lat2, lon2))
    assert abs(float(longitude_difference(back, bearing))) * math.sin(distance / EARTH_RADIUS_KM) < 1e-7


@pytest.mark.parametrize(
    ("start", "bearing", "km", "end"),
    [
        ((0, 170), 90, HALF_WAY_ROUND / 9, (0, 190)),
        ((80, 30), 0, HALF_WAY_ROUND / 9, (80, 210)),
        ((-80, 30), 180, HALF_WAY_ROUND / 9, (-80, 210)),
        ((90, 0), 180, HALF_WAY_ROUND / 2, (0, 0)),
        ((0, 350), 90, 2 * HALF_WAY_ROUND, (0, 350)),
        ((12, 34), 56, 0, (12, 34)),
    ],
)
def test_destinations_of_closed_form(start, bearing, km, end):
    lat, lon = destination(*start, bearing, km)
    assert float(lat) == pytest.approx(end[0], abs=1e-9)
    assert abs(float(longitude_difference(lon, end[1]))) < 1e-9


def test_a_destination_in_float32_is_within_five_metres():
    rng = np.random.default_rng(2)
    lat, lon = rng.uniform(-90, 90, 20_000).astype("f4"), rng.uniform(0, 360, 20_000).astype("f4")
    bearing, km = rng.uniform(0, 360, 20_000).astype("f4"), rng.uniform(0, 5000, 20_000).astype("f4")
    rough = destination(lat, lon, bearing, km)
    exact = destination(*(x.astype(float) for x in (lat, lon, bearing, km)))
    assert rough[0].dtype == np.float32
    assert great_circle_km(*(x.astype(float) for x in rough), *exact).max() < 0.005


@settings(deadline=None)
@given(longitudes, longitudes)
def test_longitude_differences_are_the_short_way_and_half_open(a, b):
    difference = float(longitude_difference(a, b))
    assert -180 <= difference < 180
    turns = (a - b - difference) / 360
    assert turns == pytest.approx(round(turns), abs=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [(1, 359, 2), (359, 1, -2), (180, 0, -180), (0, 180, -180), (-180, 180, 0), (540, 0, -180), (725, 0, 5)],
)
def test_longitude_differences_at_the_seams(a, b, difference):
    assert float(longitude_difference(a, b)) == difference


def test_a_small_longitude_difference_is_exact_in_float32():
    a, b = np.float32(1e-6), np.float32(0)
    assert longitude_difference(a, b) == a


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.sampled_from([0.0, -180.0, 30.0]))
def test_wrapped_longitudes_lie_in_the_interval_and_differ_by_turns(lon, start):
    wrapped = float(wrap_longitude(lon, start))
    assert start <= wrapped < start + 360
    turns = (lon - wrapped) / 360
    assert turns == pytest.approx(round(turns), abs=1e-9)
    assert float(wrap_longitude(wrapped, start)) == wrapped


def test_importing_the_grid_imports_no_torch():
    import subprocess
    import sys

    code = "import sys, isopleth.grid; sys.exit(any(m in sys.modules for m in ('torch', 'xarray', 'dask')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
