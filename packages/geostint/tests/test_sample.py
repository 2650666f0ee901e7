"""The tracer goes where the wind goes, the sequences are what they say, the demo judges."""

import numpy as np
import pytest
import xarray as xr

from geostint.config import DemoConfig, SampleConfig
from geostint.sample import TRACER, _departure, _sample_at, make_sequence, open_sea_temperature
from isopleth.errors import ConfigError
from isopleth.grid import Grid


def test_a_wind_along_the_equator_carries_east():
    grid = Grid.regular(33, 64)
    east = 40.0 * np.cos(np.deg2rad(grid.lat))[:, None] * np.ones((1, 64))
    lat, lon = _departure(grid, east, 0 * east, 10800.0)
    moved = np.rad2deg(40.0 * 10800 / 6.371e6)
    np.testing.assert_allclose((grid.lon - lon[16] + 180) % 360 - 180, moved, rtol=2e-3)
    np.testing.assert_allclose(lat[16], 0, atol=1e-9)


def test_air_comes_over_the_pole():
    grid = Grid.regular(36, 72)
    north = np.full(grid.shape, 40.0)
    lat, _ = _departure(grid, 0 * north, north, 6 * 10800.0)
    south = _departure(grid, 0 * north, -north, 6 * 10800.0)
    # 23 degrees from 2.5 degrees off the pole lead 20.8 degrees down the other side.
    np.testing.assert_allclose(lat[0], -69.2, atol=1.3)
    across = (south[1][-1] - grid.lon) % 360
    np.testing.assert_allclose(across, 180, atol=1e-6)


def test_fields_are_sampled_smoothly_everywhere():
    grid = Grid.regular(36, 72)

    def wave(lat, lon):
        lat, lon = np.deg2rad(lat), np.deg2rad(lon)
        return np.cos(lat) * np.cos(lon) + 0.5 * np.sin(lat) + np.cos(lat) ** 2 * np.sin(2 * lon)

    values = wave(grid.lat[:, None], grid.lon[None, :])
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, (9, 9)), rng.uniform(0, 360, (9, 9))
    np.testing.assert_allclose(_sample_at(values, grid, lat, lon), wave(lat, lon), atol=2e-3)


def test_the_sequence():
    config = SampleConfig(days=6, test_days=2)
    fields = make_sequence(config)
    assert dict(fields.sizes) == {"time": 25, "level": 1, "lat": 32, "lon": 64} or fields.sizes["time"] == 24
    assert float(fields[TRACER].min()) >= 0
    assert 0.3 < float(fields[TRACER].max()) < 2
    assert not fields.isnull().any().to_dataarray().any()
    xr.testing.assert_identical(fields, make_sequence(config))
    step = np.abs(np.diff(fields[TRACER], axis=0)).mean() / float(fields[TRACER].std())
    assert 0.01 < step < 0.3


def test_the_real_sequence():
    fields = open_sea_temperature()
    assert fields.sizes["time"] == 54
    assert list(fields) == ["skin_temperature"]


def test_a_sample_must_leave_something_to_train_on():
    with pytest.raises(ConfigError, match="fewer than days"):
        SampleConfig(days=10, test_days=10)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_answers_the_question(run, tmp_path):
    from geostint.demo import ABROAD, OTHER, SINGLE, WORLD
    from geostint.evaluate import TRANSFER
    from isopleth.report import read_evaluation

    found = run("demo", "--out", tmp_path)
    record = read_evaluation(tmp_path)
    assert len(record.claims) == 13
    assert found["claims"] == {claim.claim: claim.holds for claim in record.claims}
    rmse = {(s.stratum["domain"], s.variable): s for s in record.scores
            if s.metric == "rmse" and "offset_hours" not in s.stratum}  # fmt: skip
    wind = rmse["simulated weather", "v_component_of_wind_500"]
    assert wind.model < 0.8 * wind.baselines["linear"]
    assert {"nearest", "linear", "pchip", "cubic", "climatology", "flow", SINGLE} <= set(wind.baselines)
    table = {(s.stratum["trained_in"], s.stratum["applied_to"], s.variable): s for s in record.scores
             if s.metric == TRANSFER}  # fmt: skip
    assert len(table) == 8
    away = next(s for s in record.scores if s.metric == "skill_against_linear"
                and s.stratum["domain"] == OTHER and s.variable == wind.variable)  # fmt: skip
    assert table[WORLD, OTHER, wind.variable].model == away.model
    assert table[OTHER, OTHER, wind.variable].model == away.baselines[ABROAD]
    assert SINGLE not in rmse["sea temperature", "skin_temperature"].baselines
    assert (tmp_path / "animation.gif").read_bytes()[:4] == b"GIF8"
    assert "animation" in (tmp_path / "figures" / "captions.json").read_text()
    assert DemoConfig().out.name == "geostint"
