"""The loss is the published one, number for number, and right where there are gaps or half precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archesweather.config import FieldsConfig, LossConfig
from archesweather.loss import WeightedError, channel_weights, rollout_weights
from isopleth.errors import ConfigError
from isopleth.grid import Grid

PAPER = FieldsConfig()
# The published standard deviations, of increments over 24 h pooled over levels, and of 10 m winds, 2 m
# temperature and mean sea-level pressure themselves.
INCREMENT_STD = {
    "geopotential": 597.86,
    "u_component_of_wind": 7.4878,
    "v_component_of_wind": 8.9492,
    "temperature": 2.7132,
    "specific_humidity": 9.5222e-4,
    "vertical_velocity": 0.3,
}
SURFACE_INCREMENT_STD = (3.8920, 4.5422, 2.0727, 584.098)
SURFACE_STD = (5.493, 4.712, 21.50, 1320.9)
LEVEL_WEIGHTS = (0.108, 0.216, 0.324, 0.432, 0.539, 0.647, 0.863, 1.079, 1.295, 1.510, 1.834, 1.996, 2.158)


def published_scales():
    """Deviations of the fields (made up but at the surface), and of the increments in units of these."""
    rng = np.random.default_rng(3)
    std = np.concatenate([SURFACE_STD, rng.uniform(0.5, 2.0, 78)])
    std[4:] *= np.repeat(list(INCREMENT_STD.values()), 13)
    increment = np.concatenate([SURFACE_INCREMENT_STD, np.repeat(list(INCREMENT_STD.values()), 13)])
    return std, increment / std


def published_loss(surface, upper, std, lat_weights):
    """The released code's formula in float64 loops: group means of coefficient times squared error, over 7.3.

    `surface` (4, lat, lon) and `upper` (6, 13, lat, lon) are errors in z-scores.
    """
    surface_weight = 4 * np.array([0.1, 0.1, 1.0, 0.1])
    levels = np.array(PAPER.levels)
    level_weight = levels / levels.mean()
    total, count = 0.0, 0
    for v in range(4):
        scale = (SURFACE_STD[v] / SURFACE_INCREMENT_STD[v]) ** 2
        for i, area in enumerate(lat_weights):
            total += np.sum(area * surface_weight[v] * scale / 7.3 * surface[v, i] ** 2)
            count += surface.shape[-1]
    loss = total / count
    total, count = 0.0, 0
    for v, increment in enumerate(INCREMENT_STD.values()):
        for k in range(13):
            scale = (std[4 + 13 * v + k] / increment) ** 2
            for i, area in enumerate(lat_weights):
                total += np.sum(area * 6 * level_weight[k] * scale / 7.3 * upper[v, k, i] ** 2)
                count += upper.shape[-1]
    return loss + total / count


@pytest.mark.parametrize("poles", [True, False])
def test_with_the_papers_variables_it_is_the_published_loss(poles):
    rng = np.random.default_rng(0)
    grid = Grid.regular(9, 12, poles=poles)
    std, increment = published_scales()
    prediction, target = rng.standard_normal((2, 3, 82, 9, 12))
    error = WeightedError(channel_weights(PAPER, increment, LossConfig()), grid.weights)
    found = error(torch.from_numpy(prediction), torch.from_numpy(target))
    miss = prediction - target
    expected = np.mean(
        [published_loss(each[:4], each[4:].reshape(6, 13, 9, 12), std, grid.weights) for each in miss]
    )
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=2e-6)


def test_the_published_constants():
    """Level weights, and the areas of the 121 rows of the published grid, poles included."""
    weights = channel_weights(PAPER, np.ones(82), LossConfig())
    np.testing.assert_allclose(weights[4:17] * 7.3 * 13, LEVEL_WEIGHTS, atol=5e-4)
    np.testing.assert_allclose(weights[:4] * 7.3, [0.1, 0.1, 1.0, 0.1], rtol=1e-12)
    assert weights[4:].sum() == pytest.approx(6 / 7.3)
    assert weights.sum() == pytest.approx(1.0)
    area = Grid.regular(121, 240, poles=True).weights
    np.testing.assert_allclose(area[[0, 1, 60]], [0.00518, 0.0415, 1.584], rtol=1e-2)


def test_an_error_of_one_increment_everywhere_is_one():
    increment = np.random.default_rng(0).uniform(0.1, 2.0, 82)
    grid = Grid.regular(9, 4, poles=True)
    error = WeightedError(channel_weights(PAPER, increment, LossConfig()), grid.weights)
    miss = torch.from_numpy(increment).expand(2, 9, 4, 82).movedim(-1, 1)
    assert error(miss, torch.zeros_like(miss)).item() == pytest.approx(1.0, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from(["2m_temperature", "mean_sea_level_pressure", "other"]), unique=True, max_size=3
    ),
    st.lists(st.sampled_from(["geopotential", "temperature", "ozone"]), unique=True, min_size=1, max_size=3),
    st.lists(st.integers(1, 1000), unique=True, min_size=1, max_size=5),
    st.booleans(),
)
def test_weights_add_up_to_one_whatever_the_fields(surface, upper, levels, pressure_weighted):
    fields = FieldsConfig(
        surface=tuple(surface), upper=tuple(upper), levels=tuple(sorted(levels)), constants=()
    )
    config = LossConfig(increment_scaled=False, pressure_weighted=pressure_weighted)
    weights = channel_weights(fields, np.ones(len(fields.channels)), config)
    assert weights.shape == (len(fields.channels),)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights > 0).all()


def test_a_weight_by_name():
    fields = FieldsConfig(surface=("2m_temperature",), upper=("geopotential",), levels=(500, 1000))
    config = LossConfig(weights={"geopotential": 3.0}, pressure_weighted=False, increment_scaled=False)
    np.testing.assert_allclose(channel_weights(fields, np.ones(3), config), [0.25, 0.375, 0.375])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"geopotental": 2.0}, "got geopotental"),
        (dict.fromkeys((*PAPER.surface, *PAPER.upper), 0.0), "above 0"),
    ],
)
def test_weights_that_cannot_be_used(weights, message):
    with pytest.raises(ConfigError, match=message):
        channel_weights(PAPER, np.ones(82), LossConfig(weights=weights))


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_a_weight_below_zero(weight):
    with pytest.raises(ConfigError, match="at least 0"):
        LossConfig(weights={"geopotential": weight})


def test_what_is_missing_is_no_error_and_has_no_gradient():
    grid = Grid.regular(4, 6)
    error = WeightedError(np.array([0.5, 0.5]), grid.weights)
    prediction = torch.randn(2, 2, 4, 6, requires_grad=True)
    target = torch.randn(2, 2, 4, 6)
    valid = torch.rand(2, 2, 4, 6) > 0.3
    hidden = torch.where(valid, target, torch.nan)  # even were it stored so
    found = error(prediction, hidden, valid)
    (gradient,) = torch.autograd.grad(found, prediction)
    expected = error(torch.where(valid, prediction, 0), torch.where(valid, target, 0))
    torch.testing.assert_close(found, expected)
    assert (gradient[~valid] == 0).all()
    assert (gradient[valid] != 0).all()


def test_half_precision_in_autocast_is_judged_in_float32():
    grid = Grid.regular(32, 64)
    error = WeightedError(np.array([1e-3, 4e3]), grid.weights)
    prediction = (3 + torch.randn(2, 2, 32, 64)).bfloat16()
    target = torch.randn(2, 2, 32, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = error(prediction, target)
    miss = (prediction.double() - target.double()) ** 2
    expected = (
        miss * torch.from_numpy(grid.weights)[:, None] * torch.tensor([1e-3, 4e3])[:, None, None]
    ).mean((0, 2, 3))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.sum().item(), rel=1e-5)


def test_discounts_weigh_the_leads():
    assert rollout_weights(1, 2.0) == (1.0,)
    np.testing.assert_allclose(rollout_weights(3, 2.0), np.array([1, 1 / 4, 1 / 9]) / (1 + 1 / 4 + 1 / 9))
    assert rollout_weights(4, 0.0) == (0.25,) * 4
