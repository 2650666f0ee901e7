"""Displacements lead where they say, at every place, and have gradients everywhere."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclone_fusion.frame import arrive, displacement
from isopleth.grid import great_circle_km, longitude_difference

FRAMES = ["tangent", "degrees"]
latitudes = st.floats(-85, 85)
longitudes = st.floats(0, 359.999)


def at(*values: float) -> list[np.ndarray]:
    return [np.array([value], dtype=np.float64) for value in values]


@pytest.mark.parametrize("frame", FRAMES)
@given(lat=latitudes, lon=longitudes, new_lat=latitudes, new_lon=longitudes)
def test_arriving_undoes_measuring(frame, lat, lon, new_lat, new_lon):
    here_lat, here_lon, there_lat, there_lon = at(lat, lon, new_lat, new_lon)
    moved = displacement(here_lat, here_lon, there_lat, there_lon, frame)
    found_lat, found_lon = arrive(here_lat, here_lon, moved, frame)
    # Two metres: the antipode of a place can be reached in every direction.
    assert great_circle_km(found_lat, found_lon, there_lat, there_lon)[0] < 2e-3


def test_tangent_length_is_the_great_circle():
    lat, lon, new_lat, new_lon = at(20.0, 179.5, 24.0, -178.0)
    moved = displacement(lat, lon, new_lat, new_lon, "tangent")
    assert np.hypot(*moved[0]) == pytest.approx(great_circle_km(lat, lon, new_lat, new_lon)[0], rel=1e-12)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_storm_crosses_the_dateline_the_short_way(frame):
    east, _ = displacement(*at(15.0, 179.5, 15.0, -179.5), frame)[0]
    assert east == pytest.approx(1.0 if frame == "degrees" else 107.41, abs=0.01)
    _, lon = arrive(*at(15.0, 179.5), np.array([[1.0, 0.0]]), "degrees")
    assert lon[0] == pytest.approx(180.5)


def test_one_degree_is_shorter_in_the_north():
    here = displacement(*at(10.0, 0.0, 10.0, 2.0), "tangent")[0, 0]
    there = displacement(*at(45.0, 0.0, 45.0, 2.0), "tangent")[0, 0]
    assert here == pytest.approx(219, abs=0.5)
    assert there == pytest.approx(157, abs=0.5)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("moved", [(0.0, 0.0), (1e-9, 0.0), (300.0, -200.0)])
def test_gradients_are_finite_and_right(frame, moved):
    lat, lon = torch.tensor([0.0, 30.0]).double(), torch.tensor([179.9, 10.0]).double()
    step = torch.tensor([moved, moved]).double() / (1 if frame == "tangent" else 100)
    step.requires_grad_()

    def place(step):
        new_lat, new_lon = arrive(lat, lon, step, frame)
        # An angle without its wrap: the jump at 360 has no derivative.
        return new_lat, longitude_difference(new_lon, lon)

    assert torch.autograd.gradcheck(place, (step,), eps=1e-4, atol=1e-8)


def test_numpy_and_torch_agree():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-80, 80, 50), rng.uniform(0, 360, 50)
    moved = rng.normal(0, 500, (50, 2))
    expected = arrive(lat, lon, moved, "tangent")
    found = arrive(*map(torch.from_numpy, (lat, lon, moved)), "tangent")
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-10)
