"""Scores against plain loops, and outcomes against their definitions."""

import numpy as np
import pytest
import xarray as xr

from geostint.baselines import make_method
from geostint.data import open_sequence
from geostint.evaluate import describe_channels, judge, list_scores
from geostint.outcome import LINEAR, compare_methods, find_gaps, join_outcomes, pick_event, read_gaps
from geostint.scores import fss_metric
from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid
from isopleth.verify import score


def field(values):
    rows, columns = values.shape[-2:]
    grid = Grid.regular(rows, columns)
    return xr.DataArray(values, {"lat": grid.lat, "lon": grid.lon}, ("lat", "lon"))


def naive_fss(forecast, truth, threshold, cells, periodic):
    rows, columns = forecast.shape
    reach, above, below = cells // 2, 0.0, 0.0
    for i in range(rows):
        for j in range(columns):
            shares = []
            for one in (forecast, truth):
                total = 0
                for di in range(-reach, reach + 1):
                    for dj in range(-reach, reach + 1):
                        y, x = i + di, j + dj
                        if periodic:
                            x %= columns
                        if 0 <= y < rows and 0 <= x < columns:
                            total += one[y, x] >= threshold
                shares.append(total / cells**2)
            above += (shares[0] - shares[1]) ** 2
            below += shares[0] ** 2 + shares[1] ** 2
    return 1 - above / below


@pytest.mark.parametrize("cells", [1, 3, 5])
@pytest.mark.parametrize("periodic", [True, False])
def test_fss_against_a_plain_loop(cells, periodic):
    rng = np.random.default_rng(0)
    forecast, truth = rng.random((2, 7, 10))
    metric = fss_metric(0.6, cells=cells, periodic=periodic)
    found = float(score(metric, field(forecast), field(truth))["fss"])
    assert found == pytest.approx(naive_fss(forecast, truth, 0.6, cells, periodic), rel=1e-12)


def test_fss_limits():
    rain = np.zeros((8, 16))
    rain[3, 4] = 1
    metric = fss_metric(0.5, cells=3)
    assert float(score(metric, field(rain), field(rain))["fss"]) == 1
    assert float(score(metric, field(rain), field(np.roll(rain, 8, axis=1)))["fss"]) == 0
    near = float(score(metric, field(rain), field(np.roll(rain, 1, axis=1)))["fss"])
    assert 0 < near < 1
    assert np.isnan(float(score(metric, field(0 * rain), field(0 * rain))["fss"]))
    with pytest.raises(ConfigError, match="odd"):
        fss_metric(0.5, cells=4)


def test_a_missing_neighbour_is_left_out():
    rain = np.random.default_rng(0).random((8, 16))
    holed = rain.copy()
    holed[4, 4] = np.nan
    metric = fss_metric(0.5, cells=3)
    assert float(score(metric, field(holed), field(rain))["fss"]) == pytest.approx(1)


def compare(fields, names=("linear", "cubic", "nearest"), factor=3, **options):
    sequence = open_sequence(fields)
    methods = {name: make_method(name) for name in names}
    channels = describe_channels(sequence, factor, None)
    return compare_methods(sequence, methods, factor=factor, channels=channels, **options)


def test_scores_of_an_outcome_are_what_they_say(make_fields):
    fields = make_fields(land=True)
    outcome = compare(fields)
    x, grid = fields["wave"].values.astype(float), Grid.of(fields)
    kept = x[::3]
    made = np.stack([kept[:-1] + k / 3 * (kept[1:] - kept[:-1]) for k in (1, 2)], axis=1)
    truth = np.stack([x[1:-1:3], x[2::3]], axis=1)
    error, weights = (made - truth) ** 2, np.broadcast_to(grid.weights[:, None], grid.shape)
    valid = np.isfinite(error)
    whole = np.sqrt((np.where(valid, error, 0) * weights).sum() / (valid * weights).sum())
    assert outcome.rmse(LINEAR, "wave") == pytest.approx(whole, rel=1e-5)
    one = np.where(valid, error, 0)[:, 1]
    at = np.sqrt((one * weights).sum() / (valid[:, 1] * weights).sum())
    assert outcome.rmse(LINEAR, "wave", 12.0) == pytest.approx(at, rel=1e-5)
    assert outcome.offsets == (6.0, 12.0)
    assert outcome.gaps == 8


def test_linear_has_no_skill_over_itself_exactly(make_fields):
    outcome = compare(make_fields())
    found = outcome.skill(LINEAR, "wave")
    assert (float(found.value), *found.ends) == (0.0, 0.0, 0.0)
    better = outcome.skill("cubic", "wave")
    assert 0 < better.low < better.value < 1
    claim = judge(outcome, "wave", "nearest", model="cubic")
    assert claim.holds
    assert claim.units == "K"


def test_blocks_and_joins_leave_the_scores(make_fields):
    fields = make_fields(times=49)
    whole, small = compare(fields), compare(fields, block=5)
    assert small.rmse("cubic", "wave") == pytest.approx(whole.rmse("cubic", "wave"), rel=1e-12)
    joined = join_outcomes([whole, whole])
    assert joined.gaps == 2 * whole.gaps
    assert joined.rmse("cubic", "wave") == pytest.approx(whole.rmse("cubic", "wave"), rel=1e-12)
    assert joined.small_scales("cubic", "wave") == pytest.approx(whole.small_scales("cubic", "wave"))


def test_a_table_that_divides_wrongly_is_refused(make_fields, monkeypatch):
    outcome = compare(make_fields())
    right = type(outcome).score
    monkeypatch.setattr(
        type(outcome),
        "score",
        lambda self, name, *rest: right(self, name, *rest) / (3 if name == "psnr" else 1),
    )
    with pytest.raises(DataError, match="mean PSNR must be at least"):
        outcome.check()


def test_scores_that_are_listed(make_fields):
    fields = make_fields(offset=2.0).rename(wave="rain_rate")
    scores = list_scores({"test": compare(fields)}, model="cubic")
    metrics = {each.metric for each in scores}
    assert metrics == {
        "rmse", "mae", "psnr", "ssim", "fss", "skill_against_linear", "small_scale_power_error"
    }  # fmt: skip
    fss = next(each for each in scores if each.metric == "fss")
    assert fss.baselines["nearest"] < fss.model <= 1
    skill = next(each for each in scores if each.metric == "skill_against_linear")
    assert skill.baselines["linear"] == 0


def test_gaps_with_a_frame_missing_are_left_out(make_fields):
    fields = make_fields(times=25).isel(time=[k for k in range(25) if k != 7])
    sequence = open_sequence(fields, regularise=True)
    kept, whole = find_gaps(sequence, 3)
    assert len(kept) == 9
    assert whole == [0, 1, 3, 4, 5, 6, 7]
    gaps = read_gaps(kept, whole)
    np.testing.assert_array_equal(gaps.before[2, 0], fields["wave"].sel(time=fields["time"][8]))
    assert np.isnan(gaps.frames[0, 0]).all()
    assert np.isfinite(gaps.frames[2, 0]).all()


def test_too_short_a_sequence_is_refused(make_fields):
    with pytest.raises(DataError, match="at least 2 gaps"):
        compare(make_fields(times=5))


def test_events():
    assert pick_event(np.array([-1.0, 2.0])) is None
    assert pick_event(np.array([np.nan])) is None
    assert pick_event(np.arange(11.0)) == 9.0
