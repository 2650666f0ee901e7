import numpy as np
import pytest
import torch

from climalign.baselines import Bcsd, Interpolation, Normals, QuantileMapping, interpolate
from climalign.config import BmdConfig
from climalign.data import Fields
from climalign.model.bmd import Bmd, BmdNetwork
from isopleth.errors import ConfigError, DataError


def fields(values, year=2001, units="K"):
    times = np.datetime64(f"{year}-01-01", "ns") + np.arange(len(values)) * np.timedelta64(1, "D")
    rows, columns = values.shape[1:]
    return Fields(
        values.astype(np.float32), times, np.arange(rows) * 1.0, np.arange(columns) * 1.0, units, "x"
    )


def rng():
    return np.random.default_rng(0)


def test_interpolation_is_exact_for_planes_within_the_centres():
    rows, columns = np.indices((4, 5))
    fine = interpolate((2.0 * rows + 3 * columns)[None], 4)[0]
    y, x = (np.indices((16, 20)) + 0.5) / 4 - 0.5
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(fine[inner], (2 * y + 3 * x)[inner])
    np.testing.assert_array_equal(interpolate(np.ones((1, 1, 1)), 3), np.ones((1, 3, 3)))
    assert interpolate(rows[None], 2, "nearest")[0, :4, 0].tolist() == [0, 0, 1, 1]


def test_monthly_means_correct_a_bias_and_a_pattern():
    pattern = rng().normal(size=(8, 8)) * 5
    weather = rng().normal(size=(365, 2, 2))
    fine = fields(weather.repeat(4, 1).repeat(4, 2) + pattern + 280)
    coarse = fields(weather + 290)
    made = Interpolation("temperature", 4, "nearest").fit(coarse, fine).predict(coarse)
    np.testing.assert_allclose(made, fine.values, atol=1e-3)


def test_rain_is_scaled_and_never_negative():
    rain = rng().gamma(0.5, 4, size=(365, 2, 2))
    fine = fields(3 * rain.repeat(4, 1).repeat(4, 2))
    made = Interpolation("precipitation", 4, "nearest").fit(fields(rain), fine).predict(fields(rain))
    np.testing.assert_allclose(made, fine.values, rtol=1e-3, atol=1e-4)
    assert Interpolation("precipitation", 4).fit(fields(rain), fine).predict(fields(-rain)).min() >= 0


@pytest.mark.parametrize("kind", [Interpolation, Bcsd, QuantileMapping])
def test_a_month_that_is_absent_is_an_error(kind):
    weather = rng().normal(size=(365, 2, 2)) + 280
    half = fields(weather[:180])
    baseline = kind("temperature", 4)
    with pytest.raises(DataError, match="every calendar month"):
        baseline.fit(half, fields(weather.repeat(4, 1).repeat(4, 2))).predict(fields(weather))


def test_quantile_mapping_needs_distributions_and_no_pairs():
    """The fine field is twice as variable and 5 K warmer, in other years: that is all it must learn."""
    values = rng().normal(size=(12 * 365, 1, 1)) + 280
    other = 285 + 2 * rng().permutation(values - 280).repeat(4, 1).repeat(4, 2)
    mapped = (
        QuantileMapping("temperature", 4).fit(fields(values), fields(other, 2021)).predict(fields(values))
    )
    expected = 285 + 2 * (values - 280)
    inner = np.abs(values[:, 0, 0] - 280) < 1.5
    assert np.abs(mapped[inner, 0, 0] - expected[inner, 0, 0]).mean() < 0.25
    assert abs(mapped.std() / other.std() - 1) < 0.05


def naive_mapping(source, target, months, given, given_months, quantiles):
    """Map quantiles of a cell in float64, month by month: differences at mid-quantiles, held beyond."""
    places = (np.arange(quantiles) + 0.5) / quantiles
    result = np.empty(len(given))
    for month in np.unique(given_months):
        ours, theirs = (np.quantile(each[months == month], places) for each in (source, target))
        chosen = given_months == month
        result[chosen] = given[chosen] + np.interp(given[chosen], ours, theirs - ours)
    return result


@pytest.mark.parametrize("kind", ["temperature", "precipitation"])
def test_quantile_mapping_is_that_of_a_naive_loop(kind):
    draw = rng()
    if kind == "temperature":
        source, target, given = (280 + draw.normal(0, s, size=(365, 2, 2)) for s in (3, 4, 3))
    else:
        source, target, given = (draw.gamma(0.4, s, size=(365, 2, 2)) for s in (5, 9, 5))
    sides = fields(source), fields(target.repeat(4, 1).repeat(4, 2), 2021), fields(given, 2031)
    made = QuantileMapping(kind, 4).fit(*sides[:2]).predict(sides[2])
    before, now = (
        interpolate(each.values, 4).astype(np.float32).astype(float) for each in (sides[0], sides[2])
    )
    months = sides[0].months
    for row, column in ((0, 0), (3, 6), (7, 7)):
        expected = naive_mapping(
            before[:, row, column], sides[1].values[:, row, column].astype(float), months,
            now[:, row, column], months, 50,
        )  # fmt: skip
        expected = np.clip(expected, 0, None) if kind == "precipitation" else expected
        np.testing.assert_allclose(made[:, row, column], expected, atol=2e-3)


@pytest.mark.parametrize("kind", ["temperature", "precipitation"])
def test_bcsd_is_a_mapping_of_block_means_and_the_interpolated_anomaly(kind):
    draw = rng()
    temperature = kind == "temperature"
    shapes = (365, 2, 2), (365, 8, 8), (365, 2, 2)
    source, target, given = (
        280 + draw.normal(0, 3, size=each) if temperature else draw.gamma(0.6, 6, size=each)
        for each in shapes
    )
    sides = fields(source), fields(target, 2021), fields(given, 2031)
    made = Bcsd(kind, 4).fit(*sides[:2]).predict(sides[2])
    months, blocks = sides[0].months, sides[1].block_means(4).values.astype(float)
    corrected = np.empty((365, 2, 2))
    for place in np.ndindex(2, 2):
        cell = (slice(None), *place)
        corrected[cell] = naive_mapping(source[cell], blocks[cell], months, given[cell], months, 50)
    corrected = corrected if temperature else np.clip(corrected, 0, None)
    expected = np.empty((365, 8, 8))
    for month in range(12):
        chosen = months == month
        block, fine = blocks[chosen].mean(0), target[chosen].mean(0)
        if temperature:
            expected[chosen] = fine + interpolate(corrected[chosen] - block, 4)
        else:
            expected[chosen] = fine * interpolate(corrected[chosen] / block, 4)
    np.testing.assert_allclose(made, expected, atol=5e-3, rtol=1e-3)


def test_bcsd_corrects_the_coarse_field_and_adds_the_pattern():
    pattern = rng().normal(size=(4, 4))
    pattern -= pattern.mean()
    weather = rng().normal(size=(2 * 365, 1, 1))
    fine = fields(280 + weather.repeat(4, 1).repeat(4, 2) + pattern)
    made = Bcsd("temperature", 4).fit(fields(290 + 3 * weather), fine).predict(fields(290 + 3 * weather))
    assert np.abs(made - fine.values).mean() < 0.15


def test_a_block_without_fine_values_stays_missing_and_harms_no_neighbour():
    weather = 280 + rng().normal(size=(365, 1, 2))
    values = weather.repeat(4, 1).repeat(4, 2)
    values[:, :, :4] = np.nan
    for kind in (Interpolation, Bcsd, QuantileMapping):
        made = kind("temperature", 4).fit(fields(weather), fields(values)).predict(fields(weather))
        assert np.isnan(made[:, :, :4]).all()
        assert np.isfinite(made[:, :, 4:]).all(), kind


def test_all_dry_fields_stay_dry():
    dry = np.zeros((365, 2, 2))
    fine = fields(dry.repeat(4, 1).repeat(4, 2))
    for kind in (Interpolation, Bcsd, QuantileMapping):
        made = kind("precipitation", 4).fit(fields(dry), fine).predict(fields(dry))
        np.testing.assert_allclose(made, 0, atol=1e-6)


def test_normals_leave_missing_days_out():
    values = np.full((40, 1, 1), 3.0)
    values[5] = np.nan
    assert Normals.of(fields(values)).values[0, 0, 0] == 3.0


def test_the_gaussian_head_is_torchs_likelihood():
    network = BmdNetwork(BmdConfig(filters=(2,)), "temperature", (2, 2), (4, 4))
    coarse, truth = torch.randn(3, 2, 2), torch.randn(3, 4, 4)
    truth[0, 0, 0] = torch.nan
    mean, log_scale = network(coarse).unbind(1)
    known = torch.isfinite(truth)
    direct = -torch.distributions.Normal(mean[known], log_scale.exp()[known]).log_prob(truth[known]).mean()
    torch.testing.assert_close(network.loss(coarse, truth), direct)


def test_the_rain_head_is_bernoulli_and_gamma():
    network = BmdNetwork(BmdConfig(filters=(2,)), "precipitation", (2, 2), (4, 4))
    coarse = torch.randn(3, 2, 2)
    truth = torch.relu(torch.randn(3, 4, 4)) + 0.0
    logit, log_shape, log_scale = network(coarse).unbind(1)
    wet = truth > 0
    gamma = torch.distributions.Gamma(log_shape.exp(), torch.exp(-log_scale))
    log = torch.where(
        wet,
        torch.log(torch.sigmoid(logit)) + gamma.log_prob(truth.clamp(min=1e-4)),
        torch.log(torch.sigmoid(-logit)),
    )
    torch.testing.assert_close(network.loss(coarse, truth), -log.mean(), rtol=1e-4, atol=1e-5)
    drawn = torch.stack([network.sample(coarse, torch.Generator().manual_seed(k)) for k in range(800)]).mean(
        0
    )
    torch.testing.assert_close(drawn, network.mean(coarse), rtol=0.4, atol=0.15)


def test_the_supervised_network_learns_from_pairs_and_refuses_others():
    weather = rng().normal(size=(365, 2, 2))
    pattern = 1 + rng().uniform(size=(8, 8))
    fine = fields(280 + pattern * weather.repeat(4, 1).repeat(4, 2))
    baseline = Bmd("temperature", BmdConfig(filters=(8,), epochs=60, batch_size=50, learning_rate=1e-2))
    made = baseline.fit(fields(280 + weather), fine).predict(fields(280 + weather))
    plain = (
        Interpolation("temperature", 4, "nearest")
        .fit(fields(280 + weather), fine)
        .predict(fields(280 + weather))
    )
    assert np.abs(made - fine.values).mean() < 0.7 * np.abs(plain - fine.values).mean()
    assert baseline.draw(fields(280 + weather), 2).shape == (2, *fine.values.shape)
    with pytest.raises(ConfigError, match="must have pairs"):
        baseline.fit(fields(weather[:10]), fine)
