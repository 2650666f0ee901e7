import numpy as np
import pytest
import xarray as xr

from climalign.config import WorldConfig
from climalign.sample import PRECIPITATION, TEMPERATURE, make_world

MM = 86400.0


def test_the_same_seed_is_the_same_world(world):
    again = make_world(0, WorldConfig(rows=16, columns=16, train_years=1, test_years=1))
    xr.testing.assert_identical(world.fine, again.fine)
    assert not np.allclose(
        make_world(1, WorldConfig(rows=16, columns=16, train_years=1, test_years=1)).height, world.height
    )


def test_it_is_cold_on_the_mountains_and_in_winter(world):
    temperature = world.fine[TEMPERATURE]
    height = world.height.where(temperature.notnull().any("time"))
    assert xr.corr(temperature.mean("time"), height) < -0.8
    months = temperature.groupby("time.month").mean(...)
    assert float(months.sel(month=7) - months.sel(month=1)) > 8


def test_it_rains_less_in_the_lee(world):
    rain = world.fine[PRECIPITATION].mean("time")
    slope = world.height.differentiate("lon")
    land = rain.notnull()
    assert float(rain.where(land & (slope > 0)).mean()) > 1.5 * float(rain.where(land & (slope < 0)).mean())
    share = float((world.fine[PRECIPITATION] * MM > 1).where(land).mean())
    assert 0.1 < share < 0.6


def test_weather_moves_east():
    fields = make_world(0, WorldConfig(rows=16, columns=32, train_years=1, test_years=1)).coarse[TEMPERATURE]
    anomaly = (fields - fields.rolling(time=31, center=True).mean()).dropna("time").values
    west, east = anomaly[:-1, :, 0].ravel(), anomaly[1:, :, 1].ravel()
    back = anomaly[:-1, :, 1].ravel(), anomaly[1:, :, 0].ravel()
    assert np.corrcoef(west, east)[0, 1] > np.corrcoef(*back)[0, 1]


def test_the_sea_is_missing_in_what_was_observed_only(world):
    assert bool(world.fine[TEMPERATURE].isnull().any())
    assert not bool(world.coarse[TEMPERATURE].isnull().any())
    assert (world.fine[TEMPERATURE].isnull().all("time") == (world.height == 0)).all()


def test_the_years_of_training_do_not_overlap(split):
    assert split.train_coarse[1] < split.train_fine[0]
    assert split.train_fine[1] < split.validate_coarse[0]
    assert split.validate_fine[1] < split.test[0]


def test_the_coarse_twin_is_biased(world):
    blocks = world.fine[TEMPERATURE].coarsen(lat=4, lon=4).mean()
    assert float((world.coarse[TEMPERATURE] - blocks).mean()) == pytest.approx(1.0, abs=0.6)
