"""Surrogates keep the spectrum and forget the place."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import eval_legendre, sph_harm_y

from isopleth.errors import ConfigError, DataError
from isopleth.fields import surrogate_fields
from isopleth.fields.surrogates import fill_smoothly
from isopleth.grid import Grid

GRID = Grid.regular(30, 60)
DEGREES = 14  # rows / 2 - 1


def on_grid(values, grid=GRID, **coords):
    dims = (*coords, "lat", "lon")
    return xr.DataArray(values, dims=dims, coords={**coords, "lat": grid.lat, "lon": grid.lon})


def harmonics(grid=GRID, highest=DEGREES):
    """Real harmonics by scipy, (l^2 + l + m, lat, lon), of global mean square one."""
    lat, lon = np.meshgrid(np.radians(grid.lat), np.radians(grid.lon), indexing="ij")
    found = []
    for degree in range(highest + 1):
        for order in range(-degree, degree + 1):
            wave = sph_harm_y(degree, abs(order), np.pi / 2 - lat, lon) * np.sqrt(4 * np.pi)
            part = wave.imag if order < 0 else wave.real
            found.append(part * (1 if order == 0 else np.sqrt(2)))
    return np.array(found)


BASIS = harmonics()
DEGREE = np.repeat(np.arange(DEGREES + 1), 2 * np.arange(DEGREES + 1) + 1)


def smooth_fields(count, seed=0):
    """Fields made of known harmonics, and their coefficients, reddening with degree."""
    rng = np.random.default_rng(seed)
    coefficients = rng.standard_normal((count, BASIS.shape[0])) * np.exp(-DEGREE / 4)
    values = np.tensordot(coefficients, BASIS, 1)
    return on_grid(values, field=np.arange(count)), coefficients


def fitted(fields):
    """Coefficients by least squares on all cells at once, which is not how they are found inside."""
    table = np.reshape(fields.values, (-1, GRID.lat.size * GRID.lon.size))
    return np.linalg.lstsq(BASIS.reshape(len(BASIS), -1).T, table.T, rcond=None)[0].T


def by_degree(products):
    return np.stack([np.bincount(DEGREE, weights=row) for row in np.atleast_2d(products)])


def correlations(drawn, original):
    weights = np.broadcast_to(GRID.weights[:, None], GRID.shape).ravel()
    a, b = np.reshape(drawn, (len(drawn), -1)), np.reshape(original, -1)
    known = np.isfinite(b)
    return np.array([weighted_correlation(row[known], b[known], weights[known]) for row in a])


def weighted_correlation(a, b, weights):
    a, b = a - np.average(a, weights=weights), b - np.average(b, weights=weights)
    return (weights * a * b).sum() / np.sqrt((weights * a * a).sum() * (weights * b * b).sum())


def test_the_power_of_every_degree_is_kept():
    fields, coefficients = smooth_fields(2)
    drawn = fitted(surrogate_fields(fields, seed=1))
    np.testing.assert_allclose(by_degree(drawn**2), by_degree(coefficients**2), rtol=1e-9)
    np.testing.assert_allclose(drawn[:, 0], coefficients[:, 0], rtol=1e-9)
    assert np.abs(drawn - coefficients)[:, 1:].max() > 0.5


def test_drawn_together_fields_keep_their_cross_spectrum_and_apart_they_lose_it():
    fields, a = smooth_fields(3)
    fields[2] = 2 * fields[0] + 1
    kept = surrogate_fields(fields, seed=2)
    b = fitted(kept)
    np.testing.assert_allclose(by_degree(b[0] * b[1]), by_degree(a[0] * a[1]), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(kept[2], 2 * kept[0] + 1, atol=1e-9)
    alone = surrogate_fields(fields, seed=2, together=False)
    assert abs(correlations(alone[2:3].values, alone[0].values)[0]) < 0.9
    xr.testing.assert_allclose(alone[0], surrogate_fields(fields[:1], seed=2, together=False)[0])


@pytest.mark.parametrize("method", ["phase", "rotate"])
def test_the_correlation_with_the_original_is_zero_on_average(method):
    """Without a zonal mean, which a rotation would keep; four standard errors of the mean of 200."""
    fields, _ = smooth_fields(1)
    field = fields[0] - fields[0].mean("lon")
    drawn = np.stack([surrogate_fields(field, seed=s, method=method).values for s in range(200)])
    found = correlations(drawn, field.values)
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(200)
    assert found.std() > 0.02
    assert np.abs(found).mean() < 0.5


def test_phases_forget_the_zonal_mean_too():
    field = on_grid(np.broadcast_to(np.sin(3 * np.radians(GRID.lat))[:, None], GRID.shape))
    drawn = np.stack([surrogate_fields(field, seed=s).values for s in range(100)])
    found = correlations(drawn, field.values)
    assert abs(found.mean()) < 4 * found.std() / 10
    assert np.abs(found).max() < 1


def test_the_autocovariance_at_a_distance_is_kept():
    """Isotropic covariance, by pairs of cells on the equator and on meridians, averaged over draws."""
    fields, coefficients = smooth_fields(1)
    power = by_degree(coefficients**2)[0][1:]
    angle = np.radians(GRID.lon[5])
    legendre = [eval_legendre(degree, np.cos(angle)) for degree in range(1, DEGREES + 1)]
    expected = power @ legendre
    near_equator = GRID.lat.size // 2
    drawn = np.stack([surrogate_fields(fields[0], seed=s).values for s in range(250)]) - coefficients[0, 0]
    row = drawn[:, near_equator]
    got = (row * np.roll(row, 5, axis=1)).mean()
    equator = np.cos(np.radians(GRID.lat[near_equator]))
    assert equator > 0.99
    assert got == pytest.approx(expected, abs=0.1 * power.sum())


def test_rotation_is_a_roll_and_mirrors():
    rng = np.random.default_rng(3)
    field = on_grid(rng.standard_normal(GRID.shape))
    seen = set()
    for seed in range(40):
        drawn = surrogate_fields(field, seed=seed, method="rotate").values
        matches = [
            (ns, ew, shift)
            for ns in (False, True)
            for ew in (False, True)
            for shift in range(60)
            if np.array_equal(
                np.roll(field.values[:: -1 if ns else 1, :: -1 if ew else 1], shift, axis=1), drawn
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0][:2])
    assert len(seen) == 4


def test_rows_that_are_not_alike_about_the_equator_are_not_mirrored():
    grid = Grid(np.arange(-60.0, 80, 5), np.arange(0.0, 360, 10))
    field = on_grid(np.broadcast_to(grid.lat[:, None], grid.shape), grid)
    for seed in range(8):
        xr.testing.assert_equal(surrogate_fields(field, seed=seed, method="rotate"), field)


@pytest.mark.parametrize("method", ["phase", "rotate"])
@pytest.mark.parametrize("keep_values", [False, True])
def test_land_stays_and_nothing_else_is_missing(method, keep_values):
    fields, _ = smooth_fields(2)
    land = np.zeros(GRID.shape, bool)
    land[12:20, 5:17] = True
    land[:3] = True
    masked = fields.where(~land)
    masked[1] = masked[1].where(fields.lat < 60)
    masked.attrs["units"] = "m"
    drawn = surrogate_fields(masked, seed=0, method=method, keep_values=keep_values)
    np.testing.assert_array_equal(np.isnan(drawn), np.isnan(masked))
    assert drawn.attrs == masked.attrs
    assert drawn.dims == masked.dims
    spread = [float(np.nanstd(each)) for each in (drawn[0], masked[0])]
    assert spread[0] == pytest.approx(spread[1], rel=0.5)
    if keep_values:
        for new, old in zip(drawn.values, masked.values, strict=True):
            np.testing.assert_array_equal(np.sort(new, axis=None), np.sort(old, axis=None))


def test_seeds_and_the_order_of_dims():
    fields, _ = smooth_fields(2)
    one = surrogate_fields(fields, seed=5)
    xr.testing.assert_identical(one, surrogate_fields(fields, seed=5))
    assert not np.allclose(one, surrogate_fields(fields, seed=6))
    turned = surrogate_fields(fields.transpose("lon", "field", "lat"), seed=5)
    xr.testing.assert_allclose(turned.transpose(*fields.dims), one)


def test_what_is_finer_than_the_harmonics_is_rotated_not_lost():
    noise = on_grid(np.random.default_rng(4).standard_normal(GRID.shape))
    drawn = surrogate_fields(noise, seed=1)
    weights = np.broadcast_to(GRID.weights[:, None], GRID.shape)
    power = [np.average((f - np.average(f, weights=weights)) ** 2, weights=weights) for f in (drawn, noise)]
    assert power[0] == pytest.approx(power[1], rel=0.1)


def test_land_is_filled_by_the_harmonic_field():
    """A field that solves Laplace's equation on the grid comes back: linear in latitude, on even spacing."""
    grid = Grid(np.arange(-5.0, 6.0), np.arange(0.0, 11.0))
    lat = np.broadcast_to(grid.lat[:, None], grid.shape)
    constant = np.full(grid.shape, 3.0)
    hole = np.zeros(grid.shape, bool)
    hole[3:8, 2:9] = True
    np.testing.assert_allclose(fill_smoothly(np.where(hole, np.nan, constant), grid), constant)
    filled = fill_smoothly(np.where(hole, np.nan, lat), grid)
    np.testing.assert_allclose(filled, lat, atol=0.02)
    rough = np.where(hole, np.nan, np.random.default_rng(0).standard_normal(grid.shape))
    filled = fill_smoothly(rough, grid)
    assert filled[hole].max() < np.nanmax(rough)
    assert filled[hole].min() > np.nanmin(rough)
    np.testing.assert_array_equal(filled[~hole], rough[~hole])


FIELD = on_grid(np.zeros(GRID.shape))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: surrogate_fields(FIELD, seed=0, method="fourier"), ConfigError, "method must be one of"),
        (lambda: surrogate_fields(FIELD, seed=-1), ConfigError, "seed must be"),
        (lambda: surrogate_fields(FIELD[5:], seed=0), DataError, "cover the globe"),
        (lambda: surrogate_fields(FIELD[:, :30], seed=0, method="rotate"), DataError, "go round the globe"),
        (lambda: surrogate_fields(FIELD * np.nan, seed=0), DataError, "NaN alone"),
        (lambda: surrogate_fields(FIELD + np.inf, seed=0), DataError, "infinity"),
        (lambda: surrogate_fields(FIELD.values, seed=0), DataError, "DataArray"),
        (
            lambda: surrogate_fields(
                on_grid(np.zeros((30, 4)), Grid(GRID.lat, [0.0, 80, 180, 270])), seed=0, method="rotate"
            ),
            DataError,
            "evenly spaced",
        ),
    ],
)
def test_what_has_no_surrogate(call, error, message):
    with pytest.raises(error, match=message):
        call()
