"""Distances with a gradient everywhere, and densities with closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from cyclone_fusion.loss import density_loss, distance_loss, frame_error, miss_km, square_radius


def haversine(lat1, lon1, lat2, lon2):
    """An independent float64 formula."""
    lat1, lon1, lat2, lon2 = (np.radians(np.asarray(each, np.float64)) for each in (lat1, lon1, lat2, lon2))
    a = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371.0 * np.arcsin(np.sqrt(a))


@pytest.mark.parametrize("frame", ["tangent", "degrees"])
def test_a_miss_is_the_great_circle_distance(frame):
    lat, lon = torch.tensor([10.0, -20.0]).double(), torch.tensor([179.9, 50.0]).double()
    there_lat, there_lon = torch.tensor([[11.0], [-21.0]]).double(), torch.tensor([[-179.0], [52.0]]).double()
    stay = torch.zeros(2, 1, 2).double()
    expected = haversine(lat[:, None], lon[:, None], there_lat, there_lon)
    np.testing.assert_allclose(miss_km(stay, lat, lon, there_lat, there_lon, frame), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["distance", "squared"])
@pytest.mark.parametrize("frame", ["tangent", "degrees"])
@pytest.mark.parametrize("place", [(12.0, 180.0), (0.0, 0.0), (89.9, 10.0), (-45.0, 359.99)])
def test_gradients_are_finite_where_the_forecast_is_right_or_nothing_is_known(kind, frame, place):
    lat, lon = torch.full((3,), place[0]), torch.full((3,), place[1])
    there_lat = torch.tensor([[place[0]], [place[0]], [torch.nan]])
    there_lon = torch.tensor([[place[1]], [place[1]], [torch.nan]])
    moved = torch.tensor([[[0.0, 0.0]], [[1e-7, 0.0]], [[5.0, 5.0]]], requires_grad=True)
    miss = miss_km(moved, lat, lon, there_lat, there_lon, frame)
    distance_loss(miss, torch.isfinite(there_lat), kind).backward()
    assert torch.isfinite(moved.grad).all()
    assert not moved.grad[2].any()
    assert miss[2].item() == 0


def test_the_loss_averages_what_is_known():
    miss, known = torch.tensor([[100.0, 300.0], [200.0, 0.0]]), torch.tensor([[True, True], [True, False]])
    assert distance_loss(miss, known, "distance").item() == pytest.approx(2.0)
    assert distance_loss(miss, known, "squared").item() == pytest.approx((1 + 9 + 4) / 3)


def test_density_is_the_bivariate_normal():
    rng = np.random.default_rng(0)
    a, b, c = rng.uniform(50, 200, (3, 6, 1))
    error = rng.normal(size=(6, 1, 2)) * 100
    expected = []
    for i in range(6):
        lower = np.array([[a[i, 0], 0], [c[i, 0], b[i, 0]]])
        expected.append(-stats.multivariate_normal(cov=lower @ lower.T).logpdf(error[i, 0]))
    factor = tuple(map(torch.from_numpy, (a, b, c)))
    found = density_loss(factor, torch.from_numpy(error), torch.ones(6, 1, dtype=torch.bool))
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_ninety_percent_of_normal_errors_lie_within_the_radius_that_is_known():
    """For a bivariate normal the squared radius is chi-squared of two: 4.605 holds 90 %."""
    rng = np.random.default_rng(1)
    lower = np.array([[120.0, 0.0], [40.0, 80.0]])
    error = torch.from_numpy((rng.normal(size=(200_000, 2)) @ lower.T)[:, None])
    factor = tuple(torch.full((200_000, 1), value).double() for value in (120.0, 80.0, 40.0))
    share = (square_radius(factor, error) <= 2 * np.log(10)).double().mean().item()
    assert share == pytest.approx(0.9, abs=0.003)


def test_errors_in_the_frame_lead_from_forecast_to_truth():
    lat, lon = torch.tensor([0.0]), torch.tensor([0.0])
    moved = torch.tensor([[[100.0, 0.0]]])
    error = frame_error(moved, lat, lon, torch.tensor([[0.0]]), torch.tensor([[2.0]]), "tangent")
    assert error[0, 0].tolist() == pytest.approx([222.39 - 100.0, 0.0], abs=0.01)
    unknown = frame_error(
        moved, lat, lon, torch.tensor([[torch.nan]]), torch.tensor([[torch.nan]]), "tangent"
    )
    assert unknown.tolist() == [[[0.0, 0.0]]]
