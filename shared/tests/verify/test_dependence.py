import numpy as np
import pytest
import scores.stats.statistical_tests
import statsmodels.api as sm
import xarray as xr
from scipy import stats
from scipy.signal import lfilter
from statsmodels.tsa.stattools import acovf

from isopleth.errors import DataError
from isopleth.verify import (
    autocovariance,
    diebold_mariano,
    effective_sample_size,
    optimal_block_length,
    student_interval,
)


def autoregressive(phi, size, series, seed):
    noise = np.random.default_rng(seed).standard_normal((size + 300, series))
    return lfilter([1.0], [1.0, -phi], noise, axis=0)[300:].T


def test_autocovariance_known_answer_and_statsmodels():
    np.testing.assert_allclose(autocovariance([1.0, -1.0, 1.0, -1.0], 3), [1, -0.75, 0.5, -0.25])
    series = autoregressive(0.6, 200, 1, 0)[0]
    np.testing.assert_allclose(
        autocovariance(series, 20), acovf(series, adjusted=False, nlag=20, fft=False), atol=1e-12
    )


def test_autocovariance_ignores_missing_values():
    assert autocovariance([1.0, np.nan, -1.0], 1).tolist() == [2 / 3, 0.0]
    with pytest.raises(DataError, match="finite value"):
        autocovariance([np.nan, np.nan], 1)
    with pytest.raises(DataError, match="one-dimensional"):
        autocovariance(np.ones((2, 2)), 1)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_effective_sample_size_of_an_ar1_series(phi):
    series = autoregressive(phi, 20_000, 1, 1)[0]
    assert effective_sample_size(series) / 20_000 == pytest.approx((1 - phi) / (1 + phi), rel=0.1)


def test_effective_sample_size_predicts_the_variance_of_the_mean():
    sample = autoregressive(0.7, 1000, 2000, 2)
    predicted = np.mean([row.var() / effective_sample_size(row) for row in sample])
    assert predicted == pytest.approx(sample.mean(1).var(), rel=0.1)


def test_effective_sample_size_stays_within_what_was_measured():
    assert effective_sample_size([1.0, -1.0] * 10) == 20
    assert effective_sample_size(np.ones(7)) == 7
    assert effective_sample_size(np.arange(1000.0)) >= 1
    assert effective_sample_size([1.0, np.nan, 1.0]) == 2


@pytest.mark.parametrize("phi", [0.3, 0.5, 0.7, 0.8])
def test_block_length_of_an_ar1_series_is_the_optimal_one(phi):
    lengths = [optimal_block_length(row) for row in autoregressive(phi, 20_000, 100, 3)]
    theory = (6 * phi**2 / (1 - phi**2) ** 2 * 20_000) ** (1 / 3)
    assert np.median(lengths) == pytest.approx(theory, rel=0.1)


def test_block_length_of_independent_values_is_short():
    assert np.median([optimal_block_length(row) for row in autoregressive(0.0, 2000, 200, 4)]) <= 3


def test_block_length_does_not_see_units_or_offset():
    series = autoregressive(0.8, 500, 1, 5)[0]
    assert optimal_block_length(series) == optimal_block_length(1e4 + 1e-3 * series) > 5


def test_block_length_of_hostile_series():
    assert optimal_block_length(np.full(100, 0.1)) == 1
    assert optimal_block_length([1.0, 2.0]) == 1
    assert optimal_block_length([3.0]) == 1
    for unruly in (np.arange(900.0), [1.0, -1.0] * 450):
        assert 1 <= optimal_block_length(unruly) <= 3 * np.sqrt(900)
    holed = autoregressive(0.8, 500, 1, 5)[0]
    holed[::10] = np.nan
    assert 1 < optimal_block_length(holed) < 50


@pytest.mark.parametrize("lags", [0, 3, 8])
def test_diebold_mariano_has_the_hac_variance_of_statsmodels(lags):
    rng = np.random.default_rng(6)
    loss, baseline = autoregressive(0.5, 150, 2, 6) ** 2 + rng.random((2, 150))
    ours = diebold_mariano(loss, baseline, lags=lags)
    fit = sm.OLS(loss - baseline, np.ones(150)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False}
    )
    assert ours.statistic == pytest.approx(float(fit.tvalues[0]) * np.sqrt(149 / 150), rel=1e-10)
    assert ours.difference == pytest.approx(float(fit.params[0]), rel=1e-12)


def test_diebold_mariano_equals_scores_at_horizon_one():
    loss, baseline = autoregressive(0.0, 80, 2, 7) ** 2
    series = xr.DataArray([loss - baseline], {"lead": [1], "h": ("lead", [1])}, ("lead", "time"))
    theirs = scores.stats.statistical_tests.diebold_mariano(
        series, "lead", "h", method="HLN", statistic_distribution="t"
    )
    ours = diebold_mariano(loss, baseline, lags=0)
    assert ours.statistic == pytest.approx(float(theirs["dm_test_stat"][0]), rel=1e-10)


def test_diebold_mariano_rejects_as_often_as_it_says():
    differences = autoregressive(0.3, 400, 1500, 8)
    p = np.array([diebold_mariano(row, np.zeros(400)).p_value for row in differences])
    assert 0.035 < (p < 0.05).mean() < 0.085
    ignoring = np.array([diebold_mariano(row, np.zeros(400), lags=0).p_value for row in differences])
    assert (ignoring < 0.05).mean() > 0.12


def test_diebold_mariano_is_antisymmetric():
    loss, baseline = autoregressive(0.4, 100, 2, 9) ** 2
    one, other = diebold_mariano(loss, baseline, horizon=4), diebold_mariano(baseline, loss, horizon=4)
    assert one.statistic == -other.statistic
    assert one.p_value == other.p_value
    assert one.lags >= 3


def test_diebold_mariano_without_a_difference_is_undefined():
    result = diebold_mariano(np.ones(20), np.ones(20))
    assert result.difference == 0.0
    assert np.isnan(result.p_value)
    with pytest.raises(DataError, match="at least 3 times"):
        diebold_mariano([1.0, np.nan, 3.0], [0.0, 0.0, 0.0])
    with pytest.raises(DataError, match="horizon 9"):
        diebold_mariano(np.arange(5.0), np.zeros(5), horizon=9)


def test_student_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=7)
    found = student_interval(values, level=0.9)
    expected = stats.t.interval(0.9, 6, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose(found.ends, expected, rtol=1e-12)
    assert found.value == pytest.approx(values.mean())


def test_student_interval_covers_the_mean_of_few_values_as_often_as_it_says():
    samples = np.random.default_rng(1).normal(size=(2000, 4))
    covered = np.mean([student_interval(sample).contains(0.0) for sample in samples])
    assert abs(covered - 0.95) < 0.015  # three standard errors of 2000 draws


@pytest.mark.parametrize("values", [[1.0], [], [1.0, np.nan], [[1.0, 2.0]]])
def test_student_interval_needs_two_finite_values(values):
    with pytest.raises(DataError, match="at least two finite values"):
        student_interval(values)
