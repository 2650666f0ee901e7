from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from climalign.climdex import compute_indices
from climalign.evaluate import BILINEAR, BMD, judge, make_scores
from climalign.scores import MEASURES, MODEL, Trial, as_contender, join, measure, spread_skill
from isopleth.errors import DataError


def days(count=366, start="2004-01-01"):
    return np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(1, "D")


def field(values, units, name="x"):
    coords = {
        "time": days(len(values)),
        "lat": np.arange(values.shape[1]) + 40.0,
        "lon": np.arange(values.shape[2]) + 230.0,
    }
    return xr.DataArray(
        values.astype(np.float32), coords, ("time", "lat", "lon"), name=name, attrs={"units": units}
    )


def make_trial(kind="temperature", error=0.0, spread=1.0):
    rng = np.random.default_rng(0)
    if kind == "temperature":
        truth = field(280 + rng.normal(size=(366, 6, 6)), "K")
    else:
        truth = field(rng.gamma(0.4, 8, size=(366, 6, 6)), "mm")
    members = truth.values + error + spread * rng.normal(size=(8, 366, 6, 6))
    if kind == "precipitation":
        members = members.clip(0)
    contenders = {
        MODEL: as_contender(members.mean(0), truth, members),
        BILINEAR: as_contender(truth.values + 2, truth),
        BMD: as_contender(truth.values + 1, truth),
    }
    return Trial(kind, truth, np.full(truth.shape, 280.0, np.float32), contenders)


def test_known_errors():
    found = measure(make_trial(error=0.0, spread=0.0))
    assert len(found["rmse"][MODEL]) == 4
    for name, value in {"rmse": 2, "absolute_bias": 2, "crps": 2, "TXx_bias": 2, "TXn_bias": 2}.items():
        np.testing.assert_allclose(found[name][BILINEAR], value, rtol=1e-3)
        np.testing.assert_allclose(found[name][MODEL], 0, atol=1e-3)
    np.testing.assert_allclose(found["anomaly_correlation"][BILINEAR], 1, rtol=1e-5)
    np.testing.assert_allclose(found["log_spectral_distance"][MODEL], 0, atol=1e-3)
    assert "CDD_bias" not in found
    assert np.isnan(found["log_spread_skill"][BILINEAR]).all()


def test_an_ensemble_that_the_truth_belongs_to_is_calibrated():
    rng = np.random.default_rng(1)
    centre = rng.normal(size=(366, 6, 6))
    truth = field(280 + centre + rng.normal(size=centre.shape), "K")
    members = 280 + centre + rng.normal(size=(12, *centre.shape))
    trial = Trial(
        "temperature", truth, np.zeros(truth.shape), {MODEL: as_contender(members.mean(0), truth, members)}
    )
    assert spread_skill(trial, trial.contenders[MODEL]) == pytest.approx(1, abs=0.03)


def test_smoothing_is_seen_in_the_spectrum():
    trial = make_trial()
    smooth = trial.truth.rolling(lat=3, lon=3, center=True, min_periods=1).mean()
    distance = MEASURES["log_spectral_distance"].compute
    assert distance(trial, as_contender(smooth.values, trial.truth)) > 3


def test_rain_is_measured_by_wet_days_and_spells():
    trial = make_trial("precipitation", spread=0.0)
    drizzle = as_contender(np.where(trial.truth > 1, trial.truth, 1.5), trial.truth)
    share = float((trial.truth > 1).mean())
    assert MEASURES["wet_day_frequency_error"].compute(trial, drizzle) == pytest.approx(1 - share, abs=1e-6)


def test_indices_are_those_that_one_counts():
    rain = np.zeros((366, 1, 2))
    rain[10:14, 0, 0] = [2, 30, 4, 5]
    rain[:, 0, 1] = np.nan
    found = compute_indices(field(rain, "mm"), "precipitation", freq="YS")
    values = {name: float(index[0, 0, 0]) for name, index in found.items()}
    assert values == pytest.approx({"CDD": 352, "CWD": 4, "Rx1day": 30, "Rx5day": 41, "SDII": 41 / 4})
    assert all(np.isnan(index[0, 0, 1]) for index in found.values())
    flux = compute_indices(field(rain / 86400, "kg m-2 s-1"), "precipitation")
    assert float(flux["Rx5day"][0, 0, 0]) == pytest.approx(41, rel=1e-4)


def test_indices_of_temperature_and_of_daily_minima():
    values = 280 + np.arange(366.0)[:, None, None] * np.ones((1, 2, 2))
    found = compute_indices(field(values, "K"), "temperature")
    assert float(found["TXx"][0, 0, 0]) == 645
    assert float(found["TXn"][0, 0, 0]) == 280
    least = compute_indices(field(values, "K", "minimum_2m_temperature"), "temperature")
    assert list(least) == ["TNn"]


def test_daily_minima_are_judged_by_their_least():
    trial = make_trial(spread=0.5)
    found = measure(replace(trial, truth=trial.truth.rename("minimum_2m_temperature")))
    assert np.isfinite(found["TNn_bias"][MODEL]).all()
    sentences = [claim.claim for claim in judge("temperature", found, unit="quarters")]
    assert len(sentences) == 5
    assert sum("TNn" in each for each in sentences) == 1
    assert not any("TXx" in each for each in sentences)


def test_a_test_shorter_than_a_quarter_counts_as_one():
    trial = make_trial()
    month = trial.select(np.arange(366) < 30)
    assert [int(each.sum()) for each in month.quarters] == [30]
    found = measure(month)
    assert len(found["rmse"][MODEL]) == 1
    assert judge("temperature", found, unit="quarters") == []


def test_rain_of_unknown_units_is_refused():
    with pytest.raises(DataError, match="'furlong'"):
        compute_indices(field(np.zeros((10, 1, 1)), "furlong"), "precipitation")


def test_claims_hold_fail_or_stay_open():
    found = {
        "rmse": {MODEL: [1.0, 1.1, 0.9, 1.0], BILINEAR: [2.0, 2.1, 1.9, 2.0], BMD: [0.5, 0.5, 0.5, 0.5]},
        "TXx_bias": {MODEL: [0.1, 0.2, 0.1, 0.2], BMD: [0.1, 0.2, 0.2, 0.1], BILINEAR: [1.0] * 4},
        "TXn_bias": {MODEL: [0.1, 0.2, 0.1, 0.2], BMD: [1.0, 1.1, 1.0, 1.2], BILINEAR: [1.0] * 4},
        "log_spectral_distance": {
            MODEL: [2.0, 2.1, 2.0, 2.0],
            BMD: [9.0, 9.1, 9.0, 9.0],
            BILINEAR: [5.0] * 4,
        },
        "log_spread_skill": {MODEL: [0.01, 0.02, 0.03, 0.02], BMD: [0.1] * 4, BILINEAR: [float("nan")] * 4},
    }
    verdicts = [claim.holds for claim in judge("temperature", found, unit="quarters")]
    assert verdicts == [True, False, None, True, True, True]


def test_days_without_any_rain_are_scored_and_decide_nothing():
    dry = field(np.zeros((366, 6, 6)), "mm")
    contenders = {name: as_contender(dry.values, dry) for name in (BILINEAR, BMD)}
    contenders[MODEL] = as_contender(dry.values, dry, np.zeros((8, 366, 6, 6)))
    found = measure(Trial("precipitation", dry, np.zeros(dry.shape, np.float32), contenders))
    for name in ("rmse", "absolute_bias", "crps", "wet_day_frequency_error", "Rx5day_bias"):
        assert found[name][MODEL] == [0.0] * 4, name
    for name in ("log_spectral_distance", "log_spread_skill", "anomaly_correlation"):
        assert np.isnan(found[name][MODEL]).all(), name
    assert {score.metric for score in make_scores("precipitation", found)} >= {"rmse", "crps"}
    holds = {claim.claim: claim.holds for claim in judge("precipitation", found, unit="quarters")}
    assert set(holds.values()) == {None}
    # Samples that stay dry where it rained have no spread, and are the worst that there are.
    rainy = make_trial("precipitation")
    alike = as_contender(dry.values, rainy.truth, np.zeros((8, 366, 6, 6)))
    assert MEASURES["log_spread_skill"].compute(rainy, alike) == pytest.approx(np.log(1000))


def test_a_single_sample_is_scored_and_its_spread_is_not_judged():
    trial = make_trial()
    one = replace(trial.contenders[MODEL], members=trial.contenders[MODEL].members.isel(member=[0]))
    found = measure(replace(trial, contenders={**trial.contenders, MODEL: one}))
    holds = {claim.claim: claim.holds for claim in judge("temperature", found, unit="quarters")}
    assert holds[next(each for each in holds if "calibrated" in each)] is None
    assert holds["ClimAlign's prediction errs less than interpolation (temperature)"]


def test_worlds_count_as_one_number_each():
    one, two = {"rmse": {MODEL: [1.0, 3.0]}}, {"rmse": {MODEL: [5.0, float("nan")]}}
    assert join([one, two]) == {"rmse": {MODEL: [2.0, 5.0]}}
    assert join([one]) == one
    (score,) = make_scores("temperature", join([one, two]))
    assert score.model == 3.5
    assert score.n == 2
