"""The transform against scipy's Legendre functions, closed forms and the identities of the sphere."""

from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lpmv

from isopleth.errors import ConfigError
from isopleth.samples.sphere import SphericalHarmonics, from_maps, normalised_legendre, to_maps


@pytest.fixture(scope="module")
def t21():
    return SphericalHarmonics(truncation=21, n_lat=32, n_lon=64)


def draw(harmonics, *batch, fields=1, seed=0):
    """White noise inside the truncation."""
    order, part, degree = harmonics.shape
    noise = np.random.default_rng(seed).standard_normal((*batch, order, part, fields, degree))
    return noise * harmonics.mask[:, :, None, :]


def angles(harmonics):
    """Longitude in radians and sine and cosine of latitude, broadcasting to (lon, field, lat)."""
    lon = np.radians(harmonics.lon)[:, None, None]
    return lon, harmonics.sin_lat[None, None, :], harmonics.cos_lat[None, None, :]


def mean(harmonics, grid):
    """Area means over (lon, lat)."""
    return (grid * harmonics.weights).sum(axis=(-3, -1)) / harmonics.n_lon


# --- Legendre functions and quadrature


def test_legendre_functions_are_scipys():
    sin_lat = np.linspace(-0.999, 0.999, 41)
    table = normalised_legendre(30, sin_lat)
    for m in range(31):
        for degree in range(m, 31):
            norm = (2 - (m == 0)) * (2 * degree + 1) * factorial(degree - m) / factorial(degree + m)
            expected = (-1) ** m * np.sqrt(norm) * lpmv(m, degree, sin_lat)
            np.testing.assert_allclose(table[m, degree], expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("n_lat", [4, 32])
def test_gaussian_weights_integrate_polynomials_exactly(n_lat):
    harmonics = SphericalHarmonics(truncation=2, n_lat=n_lat, n_lon=8)
    for power in range(2 * n_lat):
        exact = 0.0 if power % 2 else 1.0 / (power + 1)
        assert harmonics.weights @ harmonics.sin_lat**power == pytest.approx(exact, abs=1e-15)


def test_gaussian_weights_are_exact_no_further():
    harmonics = SphericalHarmonics(truncation=2, n_lat=4, n_lon=8)
    assert abs(harmonics.weights @ harmonics.sin_lat**8 - 1 / 9) > 1e-4


def test_harmonics_are_orthonormal(t21):
    count = int(t21.mask.sum())
    basis = np.zeros((count, *t21.shape))
    basis[np.arange(count), *np.nonzero(t21.mask)] = 1.0
    grid = t21.synthesise(basis[:, :, :, None, :]).reshape(count, t21.n_lon, t21.n_lat)
    gram = np.einsum("axy,bxy,y->ab", grid, grid, t21.weights / t21.n_lon, optimize=True)
    np.testing.assert_allclose(gram, np.eye(count), atol=1e-13)


# --- transforms


@settings(max_examples=30, deadline=None)
@given(
    truncation=st.integers(1, 30), more=st.integers(0, 5), fields=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_round_trip(truncation, more, fields, seed):
    harmonics = SphericalHarmonics(
        truncation=truncation, n_lat=3 * truncation // 2 + 1 + more, n_lon=3 * truncation + 1 + more
    )
    spectrum = draw(harmonics, 2, fields=fields, seed=seed)
    np.testing.assert_allclose(harmonics.analyse(harmonics.synthesise(spectrum)), spectrum, atol=1e-12)


def test_parseval(t21):
    spectrum = draw(t21, fields=3)
    power = (spectrum**2).sum(axis=(0, 1, 3))
    np.testing.assert_allclose(mean(t21, t21.synthesise(spectrum) ** 2), power, rtol=1e-12)


def test_a_harmonic_lands_on_its_coefficient(t21):
    """cos³φ cos 3λ is P_3^3 cos 3λ over its norm, sqrt(35/8)."""
    lon, _, cos_lat = angles(t21)
    spectrum = t21.analyse(np.broadcast_to(cos_lat**3 * np.cos(3 * lon), (64, 1, 32)))
    expected = np.zeros_like(spectrum)
    expected[3, 0, 0, 3] = np.sqrt(8 / 35)
    np.testing.assert_allclose(spectrum, expected, atol=1e-14)


def test_derivatives_of_a_harmonic(t21):
    lon, sin_lat, cos_lat = angles(t21)
    spectrum = t21.analyse(cos_lat**3 * np.sin(3 * lon))
    np.testing.assert_allclose(t21.synthesise_d_lon(spectrum), 3 * cos_lat**3 * np.cos(3 * lon), atol=1e-12)
    slope = -3 * sin_lat * cos_lat * np.sin(3 * lon)
    np.testing.assert_allclose(t21.synthesise_d_sin_lat(spectrum), slope, atol=1e-12)


def test_laplacian_eigenvalues_satisfy_greens_identity(t21):
    """For each harmonic alone, mean |∇Y|² = l (l + 1), with a gradient that knows no eigenvalue."""
    orders, parts, degrees = np.nonzero(t21.mask)
    basis = np.zeros((orders.size, *t21.shape))
    basis[np.arange(orders.size), orders, parts, degrees] = 1.0
    basis = basis[:, :, :, None, :]
    _, _, cos_lat = angles(t21)
    east = t21.synthesise_d_lon(basis) / cos_lat
    north = t21.synthesise_d_sin_lat(basis) * cos_lat
    power = mean(t21, east**2 + north**2).ravel()
    np.testing.assert_allclose(power, -t21.laplacian[degrees], rtol=1e-11, atol=1e-11)


def test_vorticity_of_solid_rotation(t21):
    """U = cos φ has the vorticity 2 sin φ."""
    wind = np.broadcast_to(t21.cos_lat, (64, 1, 32))
    expected = np.broadcast_to(2 * t21.sin_lat, (64, 1, 32))
    np.testing.assert_allclose(t21.synthesise(t21.analyse_vorticity(wind)), expected, atol=1e-13)


# --- the Jacobian


def test_jacobian_is_antisymmetric(t21):
    a, b = draw(t21, fields=2, seed=1), draw(t21, fields=2, seed=2)
    np.testing.assert_array_equal(t21.jacobian(a, b), -t21.jacobian(b, a))
    np.testing.assert_array_equal(t21.jacobian(a, a), 0.0)


def test_jacobian_keeps_mean_and_both_arguments(t21):
    """The means of J, a J and b J vanish: what conservation of energy and enstrophy rests on."""
    a, b = draw(t21, seed=1), draw(t21, seed=2)
    jacobian = t21.jacobian(a, b)
    size = np.sqrt((jacobian**2).sum())
    assert abs(jacobian[0, 0, 0, 0]) < 1e-12 * size
    assert abs((jacobian * a).sum()) < 1e-12 * size * np.sqrt((a**2).sum())
    assert abs((jacobian * b).sum()) < 1e-12 * size * np.sqrt((b**2).sum())


def test_jacobian_with_solid_rotation_is_a_turn(t21):
    """J(sin φ, b) = -∂b/∂λ."""
    _, sin_lat, _ = angles(t21)
    rotation = t21.analyse(np.broadcast_to(sin_lat, (64, 1, 32)))
    b = draw(t21)
    turn = -t21.analyse(t21.synthesise_d_lon(b))
    np.testing.assert_allclose(t21.jacobian(rotation, b), turn, atol=1e-11)


def test_jacobian_has_no_aliasing(t21):
    """A grid twice as fine gives the same projection."""
    fine = SphericalHarmonics(truncation=21, n_lat=64, n_lon=128)
    a, b = draw(t21, seed=1), draw(t21, seed=2)
    coarse = t21.jacobian(a, b)
    np.testing.assert_allclose(coarse, fine.jacobian(a, b), atol=1e-11 * np.abs(coarse).max())


# --- layout and limits


def test_batching_changes_no_bit(t21):
    a, b = draw(t21, 5, fields=3, seed=1), draw(t21, 5, fields=3, seed=2)
    together = t21.jacobian(a, b)
    for each in range(5):
        np.testing.assert_array_equal(t21.jacobian(a[each], b[each]), together[each])


def test_maps_and_grids_are_one_reordering():
    maps = np.random.default_rng(0).standard_normal((2, 3, 32, 64))
    grid = from_maps(maps)
    assert grid.shape == (2, 64, 3, 32)
    assert grid[1, 5, 2, 7] == maps[1, 2, 7, 5]
    np.testing.assert_array_equal(to_maps(grid), maps)


def test_coordinates_are_ascending_degrees(t21):
    np.testing.assert_allclose(np.sin(np.radians(t21.lat)), t21.sin_lat, rtol=1e-14)
    assert (np.diff(t21.lat) > 0).all()
    np.testing.assert_array_equal(t21.lon, np.arange(64) * 5.625)


@pytest.mark.parametrize(("n_lat", "n_lon"), [(31, 64), (32, 63)])
def test_a_grid_that_would_alias_is_refused(n_lat, n_lon):
    with pytest.raises(ConfigError, match=rf"more than 63 longitudes .* got {n_lon} and {n_lat}"):
        SphericalHarmonics(truncation=21, n_lat=n_lat, n_lon=n_lon)


def test_truncation_must_be_positive():
    with pytest.raises(ConfigError, match="truncation must be at least 1, got 0"):
        SphericalHarmonics(truncation=0, n_lat=4, n_lon=8)
