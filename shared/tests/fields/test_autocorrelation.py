"""Moran's I and the lag-1 correlation against their definitions and their sampling distribution."""

import numpy as np
import pytest

from isopleth.errors import DataError
from isopleth.fields import lag_one, morans_i
from isopleth.grid import great_circle_km


def scattered(seed, count=150):
    rng = np.random.default_rng(seed)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(0, 360, count), rng


def test_morans_i_is_its_double_sum():
    lat, lon, rng = scattered(0, 40)
    values = rng.standard_normal(40)
    z = values - values.mean()
    total = count = 0.0
    for i in range(40):
        order = np.argsort(great_circle_km(lat[i], lon[i], lat, lon))
        for j in order[1:6]:
            total += z[i] * z[j]
            count += 1
    assert morans_i(values, lat, lon, neighbours=5).statistic == pytest.approx(
        40 / count * total / (z @ z), rel=1e-12
    )


def test_z_is_standard_normal_without_correlation():
    z = []
    for seed in range(400):
        lat, lon, rng = scattered(seed)
        z.append(morans_i(rng.standard_normal(lat.size), lat, lon).z)
    assert np.mean(z) == pytest.approx(0, abs=0.15)
    assert np.std(z) == pytest.approx(1, abs=0.1)


def test_a_hemisphere_is_correlated():
    lat, lon, _ = scattered(1)
    found = morans_i(np.sign(lat), lat, lon)
    assert found.statistic > 0.7
    assert found.is_present


def test_duplicate_places_and_missing_values():
    lat, lon, rng = scattered(2, 30)
    lat, lon = np.repeat(lat, 12), np.repeat(lon, 12)
    values = np.repeat(rng.standard_normal(30), 12)
    assert morans_i(values, lat, lon).statistic == pytest.approx(1, abs=0.01)
    values[::7] = np.nan
    assert morans_i(values, lat, lon).is_present


def test_lag_one_sorts_by_time_and_averages_equal_stamps():
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal(300))
    order = rng.permutation(300)
    found = lag_one(walk[order], np.arange(300)[order])
    z = walk - walk.mean()
    assert found.statistic == pytest.approx((z[1:] @ z[:-1]) / (z @ z), rel=1e-12)
    twice = lag_one(np.repeat(walk, 2), np.repeat(np.arange(300), 2))
    assert twice.statistic == pytest.approx(found.statistic, rel=1e-12)


def test_a_constant_has_none():
    lat, lon, _ = scattered(3)
    assert morans_i(np.full(150, 0.1), lat, lon).z == 0
    assert lag_one(np.full(50, 0.1), np.arange(50)).z == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.0, 2.0], "as many as"), (np.full(9, np.nan), "at least 4"), ([np.inf] * 9, "finite or NaN")],
)
def test_values_that_tell_nothing(values, message):
    with pytest.raises(DataError, match=message):
        morans_i(values, np.arange(9.0), np.arange(9.0))
    with pytest.raises(DataError, match=message):
        lag_one(values, np.arange(9))
