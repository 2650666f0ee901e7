"""trend against statsmodels cell by cell, against what AR(1) noise demands, and against hostile input."""

import numpy as np
import pytest
import statsmodels.api as sm
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.linear_model import yule_walker

from isopleth.errors import ConfigError, DataError
from isopleth.fields.times import decimal_years
from isopleth.fields.trends import trend

MONTHS = np.arange("1993-01", "2005-01", dtype="datetime64[M]").astype("datetime64[ns]")
YEARS = np.arange(1993, 2020)


def ar1(rng, rho, shape):
    """Stationary AR(1) noise of unit variance along the first axis."""
    noise = rng.standard_normal(shape)
    series = noise.copy()
    for t in range(1, shape[0]):
        series[t] = rho * series[t - 1] + np.sqrt(1 - rho**2) * noise[t]
    return series


def field(times=MONTHS, *, seed=0, gaps=0.0, level=1e5, dtype="float64"):
    """Cells of noise about lines of different slopes with an annual cycle, on a small grid."""
    rng = np.random.default_rng(seed)
    years = decimal_years(times)
    values = ar1(rng, 0.5, (len(times), 3, 4)) + level
    values += (years - years.mean())[:, None, None] * np.linspace(-1, 1, 12).reshape(3, 4)
    values += 2 * np.cos(2 * np.pi * years)[:, None, None]
    values[rng.random(values.shape) < gaps] = np.nan
    return xr.DataArray(
        values.astype(dtype),
        dims=("time", "lat", "lon"),
        coords={"time": times, "lat": [-1.0, 0, 1], "lon": np.arange(4.0)},
        attrs={"units": "mm"},
        name="sea_surface_height",
    )


def design(years, harmonics):
    columns = [np.ones_like(years), years - years.mean()]
    for k in range(1, harmonics + 1):
        columns += [np.cos(2 * np.pi * k * years), np.sin(2 * np.pi * k * years)]
    return np.stack(columns, axis=1)


def each_cell(da, harmonics):
    """Yield index, valid values, their design and their places on the step axis, for a loop over cells."""
    x = design(decimal_years(da.time.values), harmonics)
    for index in np.ndindex(da.shape[1:]):
        y = da.values[:, *index].astype(np.float64)
        valid = np.isfinite(y)
        yield index, y[valid], x[valid], np.flatnonzero(valid)


def naive_r1(residuals, places):
    """Yule-Walker from neighbours one step apart, by statsmodels where no value is missing."""
    if len(places) == places[-1] - places[0] + 1:
        return yule_walker(residuals, order=1, demean=False, result_object=True).rho[0]
    at = dict(zip(places, residuals, strict=True))
    products = [at[place] * at[place + 1] for place in places if place + 1 in at]
    return np.mean(products) / np.mean(residuals**2)


def unbias(r1, n):
    return np.clip((n * r1 + 2) / (n - 4), -1 + 1 / n, 1 - 1 / n)


@pytest.mark.parametrize("harmonics", [0, 1, 2])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_ols_equals_statsmodels(harmonics, gaps):
    da = field(gaps=gaps)
    ours = trend(da, method="ols", harmonics=harmonics, confidence=0.9)
    for index, y, x, _ in each_cell(da, harmonics):
        theirs = sm.OLS(y, x).fit()
        expected = [theirs.params[1], theirs.params[0], theirs.bse[1], *theirs.conf_int(0.1)[1]]
        found = [float(ours[name][index]) for name in ("slope", "intercept", "stderr", "low", "high")]
        np.testing.assert_allclose(found, expected, rtol=1e-8)
        np.testing.assert_allclose(ours.p_value[index], theirs.pvalues[1], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("correct_bias", [False, True])
def test_gls_equals_statsmodels(gaps, iterations, correct_bias):
    """GLS with the dense AR(1) covariance matrix of each cell, rho by Yule-Walker, iterated."""
    da = field(gaps=gaps)
    ours = trend(
        da, method="gls-ar1", harmonics=1, iterations=iterations, correct_bias=correct_bias, confidence=0.9
    )
    for index, y, x, places in each_cell(da, 1):
        theirs = sm.OLS(y, x).fit()
        for _ in range(iterations):
            rho = naive_r1(theirs.resid, places)
            rho = unbias(rho, len(y)) if correct_bias else rho
            covariance = rho ** np.abs(places[:, None] - places)
            theirs = sm.GLS(y, x, sigma=covariance).fit()
        expected = [rho, theirs.params[1], theirs.params[0], theirs.bse[1], *theirs.conf_int(0.1)[1]]
        found = [float(ours[name][index]) for name in ("r1", "slope", "intercept", "stderr", "low", "high")]
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_gls_is_close_to_cochrane_orcutt():
    """statsmodels' GLSAR drops the first value, which at rho 0.5 is worth three others at the line's end."""
    times = np.arange("1950-01", "2020-01", dtype="datetime64[M]").astype("datetime64[ns]")
    da = field(times, level=0)
    ours = trend(da, method="gls-ar1", correct_bias=False, harmonics=1)
    for index, y, x, _ in each_cell(da, 1):
        theirs = sm.GLSAR(y, x, rho=1).iterative_fit(maxiter=4)
        np.testing.assert_allclose(ours.r1[index], theirs.model.rho[0], atol=1e-4)
        assert abs(ours.slope[index] - theirs.params[1]) < 0.3 * theirs.bse[1]
        np.testing.assert_allclose(ours.stderr[index], theirs.bse[1], rtol=0.02)


def test_neff_is_santer_2000():
    """Equations 4 to 6 of Santer et al. written out for each cell."""
    da = field(gaps=0.1)
    ours = trend(da, method="ols-neff", correct_bias=False)
    for index, y, x, places in each_cell(da, 0):
        ols = sm.OLS(y, x).fit()
        r1 = max(naive_r1(ols.resid, places), 0)
        n_eff = len(y) * (1 - r1) / (1 + r1)
        stderr = ols.bse[1] * np.sqrt((len(y) - 2) / (n_eff - 2))
        np.testing.assert_allclose(ours.n_eff[index], n_eff, rtol=1e-8)
        np.testing.assert_allclose(ours.stderr[index], stderr, rtol=1e-8)


# Per cent of 95 % intervals on 27 annual values that hold the true trend, by (method, bias corrected).
COVERAGE = {
    ("ols", True): {0.0: 95, 0.3: 86, 0.5: 75, 0.7: 60},
    ("ols-neff", False): {0.0: 96, 0.3: 92, 0.5: 90, 0.7: 87},
    ("ols-neff", True): {0.0: 96, 0.3: 94, 0.5: 94, 0.7: 93},
    ("gls-ar1", True): {0.0: 94, 0.3: 93, 0.5: 92, 0.7: 90},
}


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 0.7])
@pytest.mark.parametrize(("method", "correct_bias"), COVERAGE)
def test_intervals_cover_on_ar1_noise(method, correct_bias, rho):
    draws = 10_000  # two standard errors of a coverage of 90 % are 0.6 %
    da = xr.DataArray(
        ar1(np.random.default_rng(3), rho, (27, draws)), dims=("time", "draw"), coords={"time": YEARS}
    )
    found = trend(da, method=method, correct_bias=correct_bias)
    covered = 100 * float(((found.low < 0) & (found.high > 0)).mean())
    assert covered == pytest.approx(COVERAGE[method, correct_bias][rho], abs=1.2)


@pytest.mark.parametrize("method", ["ols", "ols-neff", "gls-ar1"])
def test_a_line_is_found_exactly(method):
    years = decimal_years(MONTHS)
    da = xr.DataArray(1e5 + 3.25 * years, dims="time", coords={"time": MONTHS}, attrs={"units": "mm"})
    found = trend(da, method=method, harmonics=2, per="decade")
    assert float(found.slope) == pytest.approx(32.5, rel=1e-9)
    assert float(found.intercept) == pytest.approx(1e5 + 3.25 * found.attrs["reference_year"], rel=1e-12)
    assert float(found.high - found.low) < 1e-6
    assert found.slope.attrs["units"] == "mm decade-1"
    assert found.intercept.attrs["units"] == "mm"


@pytest.mark.parametrize("method", ["ols", "ols-neff", "gls-ar1"])
def test_chunks_do_not_matter(method):
    da = field(gaps=0.2, dtype="float32")
    lazy = trend(da.chunk(time=7, lat=2, lon=3), method=method)
    assert lazy.slope.chunks is not None
    xr.testing.assert_allclose(lazy.compute(scheduler="synchronous"), trend(da, method=method), rtol=1e-12)


def test_blocks_of_cells_do_not_matter(monkeypatch):
    da = xr.concat([field(gaps=0.2, seed=seed) for seed in range(4)], "lon")  # 48 cells: three blocks of 16
    whole = trend(da, method="gls-ar1")
    monkeypatch.setattr("isopleth.fields.trends._BLOCK_BYTES", 1)
    xr.testing.assert_allclose(trend(da, method="gls-ar1"), whole, rtol=1e-10)


def test_dims_may_stand_in_any_order():
    da = field(gaps=0.1)
    turned = trend(da.transpose("lon", "time", "lat"), method="gls-ar1")
    xr.testing.assert_allclose(turned.transpose("lat", "lon"), trend(da, method="gls-ar1"), rtol=1e-10)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_calendars(calendar):
    """A line in the calendar's own decimal years has the same slope in each."""
    times = xr.date_range("1993-01-16", periods=240, freq="MS", calendar=calendar, use_cftime=True).values
    da = xr.DataArray(2.0 * decimal_years(times), dims="time", coords={"time": times})
    assert float(trend(da, harmonics=1).slope) == pytest.approx(2.0, rel=1e-9)


def test_a_missing_month_counts_as_two_steps():
    """Leaving a stamp out of the axis is the same as a NaN in every cell."""
    da = field()
    kept = np.delete(np.arange(len(MONTHS)), [5, 40, 41, 42, 100])
    absent = trend(da.isel(time=kept), method="gls-ar1", harmonics=1)
    blank = trend(da.where(da.time.isin(da.time[kept])), method="gls-ar1", harmonics=1)
    xr.testing.assert_allclose(absent.drop_vars("intercept"), blank.drop_vars("intercept"), rtol=1e-7)


def test_cells_with_too_little_are_nan():
    da = field()
    da[:, 0, 0] = np.nan  # land
    da[: len(MONTHS) // 2 + 1, 0, 1] = np.nan  # just under half
    da[1::2, 0, 2] = np.nan  # no two neighbours
    for method in ("ols", "ols-neff", "gls-ar1"):
        found = trend(da, method=method)
        assert np.isnan(found.slope[0, :2]).all()
        assert found.n[0, :3].values.tolist() == [0, 71, 72]
        assert bool(np.isnan(found.stderr[0, 2])) == (method != "ols")
        assert np.isfinite(found.slope[1:]).all()


def test_a_season_alone_cannot_tell_the_cycle_from_the_mean():
    """Only Januaries: cosine and mean are one column, so the cell is NaN, not noise."""
    da = field().where(field().time.dt.month == 1)
    assert np.isnan(trend(da, method="ols", harmonics=1, min_valid=0.01).slope).all()
    assert np.isfinite(trend(da, method="ols", min_valid=0.01).slope).all()


def test_constant_and_empty_fields():
    da = xr.full_like(field(), 7.0)
    found = trend(da, method="gls-ar1")
    np.testing.assert_allclose(found.slope, 0, atol=1e-12)
    assert np.isnan(trend(da * np.nan).slope).all()
    assert trend(da.isel(lat=slice(0, 0))).slope.shape == (0, 4)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    factor=st.floats(-1e3, 1e3).filter(lambda f: abs(f) > 1e-3),
    tilt=st.floats(-1e3, 1e3),
    method=st.sampled_from(["ols", "ols-neff", "gls-ar1"]),
)
def test_affine_equivariance(seed, factor, tilt, method):
    """Scaling scales trend and error; adding a line shifts the trend by it and leaves the error."""
    da = field(seed=seed, gaps=0.1, level=0)
    before = trend(da, method=method)
    after = trend(factor * da + tilt * (decimal_years(MONTHS) - 1999)[:, None, None], method=method)
    np.testing.assert_allclose(after.slope, factor * before.slope + tilt, rtol=1e-6, atol=1e-6 * abs(factor))
    np.testing.assert_allclose(after.stderr, abs(factor) * before.stderr, rtol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda da: da.isel(time=[0]), "must have more stamps"),
        (lambda da: da.isel(time=[0, 1, 1, 2, 3]), "times must increase"),
        (lambda da: da.isel(time=slice(None, None, -1)), "times must increase"),
        (lambda da: da.where(da.lat < 1, np.inf), "finite or NaN"),
        (lambda da: da.drop_vars("time"), "dimension and coordinate 'time'"),
        (lambda da: da.to_dataset(), "must be an xarray.DataArray"),
        (lambda da: da.astype("U"), "real numbers"),
        (lambda da: da.isel(time=[0, 1, 2, 3, 4, 140]), "close to regular"),
        (
            lambda da: da.assign_coords(time=("time", np.arange(144), {"units": "days since 1993-1-1"})),
            "decoded",
        ),
    ],
)
def test_input_that_has_no_trend(spoil, message):
    with pytest.raises(DataError, match=message):
        trend(spoil(field()))


def test_annual_means_have_no_annual_cycle():
    da = xr.DataArray(np.zeros(27), dims="time", coords={"time": YEARS})
    with pytest.raises(DataError, match="resolve 1 harmonics"):
        trend(da, harmonics=1)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "wls"},
        {"per": "month"},
        {"min_valid": 0},
        {"confidence": 1},
        {"harmonics": -1},
        {"iterations": 0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        trend(field(), **options)
