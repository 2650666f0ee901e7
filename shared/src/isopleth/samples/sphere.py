r"""The spherical harmonic transform as two matrix products, for small triangular truncations.

A field is written in real, fully normalised harmonics,

.. math::
    f(\lambda, \mu) = \sum_{m=0}^{T} \sum_{l=m}^{T}
        \bar P_l^m(\mu) (a_{lm} \cos m\lambda + b_{lm} \sin m\lambda),

with :math:`\mu = \sin\varphi` and :math:`\bar P` scaled so that every basis function has a global mean square
of one. Then the mean of a product of two fields is the sum of the products of their coefficients (Parseval).

Axes stand in the order that makes both halves of the transform matrix products without a transposition:
spectra are ``(..., order, part, field, degree)`` with ``part`` 0 for cosines and 1 for sines, grids are
``(..., lon, field, lat)``. Axes in front of these are looped over one by one, so a result does not depend, to
the last bit, on what it is batched with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isopleth.errors import ConfigError

Array = NDArray[np.float64]


def normalised_legendre(truncation: int, sin_lat: Array) -> Array:
    r"""Tabulate the fully normalised associated Legendre functions.

    :math:`\bar P_l^m` without the Condon-Shortley sign; :math:`\frac12\int_{-1}^{1} (\bar P_l^m)^2 d\mu` is 1
    for :math:`m = 0` and 2 for :math:`m > 0`. By the recursion over degree at fixed order, which is stable up
    to several hundred degrees (Holmes and Featherstone 2002, J. Geod. 76, 279).

    Parameters
    ----------
    truncation : int
        Highest degree and order.
    sin_lat : array, shape (lat,)
        Sines of latitude.

    Returns
    -------
    array, shape (order, degree, lat)
        Zero where the degree is smaller than the order.
    """
    cos_lat = np.sqrt(1.0 - sin_lat**2)
    table = np.zeros((truncation + 1, truncation + 1, sin_lat.size))
    sectoral = np.ones_like(sin_lat)
    for m in range(truncation + 1):
        if m:
            sectoral = np.sqrt((2 * m + 1) / (2 * m) * (2 if m == 1 else 1)) * cos_lat * sectoral
        table[m, m] = sectoral
        for degree in range(m + 1, truncation + 1):
            below = table[m, degree - 2] * _epsilon(degree - 1, m) if degree - 2 >= m else 0.0
            table[m, degree] = (sin_lat * table[m, degree - 1] - below) / _epsilon(degree, m)
    return table


def _epsilon(degree: int, order: int) -> float:
    """Give the coefficient of μ P_{l-1} = ε_l P_l + ε_{l-1} P_{l-2}."""
    return float(np.sqrt((degree**2 - order**2) / (4 * degree**2 - 1)))


def _legendre_derivative(truncation: int, sin_lat: Array) -> Array:
    """Tabulate dP/dμ from (1 - μ²) dP_l/dμ = (l + 1) ε_l P_{l-1} - l ε_{l+1} P_{l+1}."""
    values = normalised_legendre(truncation + 1, sin_lat)
    slopes = np.zeros((truncation + 1, truncation + 1, sin_lat.size))
    for m in range(truncation + 1):
        for degree in range(m, truncation + 1):
            slopes[m, degree] = -degree * _epsilon(degree + 1, m) * values[m, degree + 1]
            if degree > m:
                slopes[m, degree] += (degree + 1) * _epsilon(degree, m) * values[m, degree - 1]
    return slopes / (1.0 - sin_lat**2)


class SphericalHarmonics:
    """Transform between a Gaussian grid and a triangular truncation on the unit sphere.

    Products of two truncated fields are projected without aliasing if ``n_lon > 3 T`` and ``2 n_lat > 3 T``
    (Orszag 1970, J. Atmos. Sci. 27, 890), which the constructor asks for. Then the truncated Jacobian keeps
    the integrals that the exact one keeps.

    Parameters
    ----------
    truncation : int
        Highest degree T, at least 1.
    n_lat, n_lon : int
        Size of the grid. Latitudes are the Gaussian ones, ascending; longitudes start at 0.

    Attributes
    ----------
    lat, lon : array
        Degrees, ascending.
    sin_lat, weights : array, shape (lat,)
        Gaussian nodes and weights; the weights have a sum of one.
    laplacian : array, shape (degree,)
        Eigenvalues -l (l + 1).

    Raises
    ------
    ConfigError
        If the grid is too coarse for the truncation.

    Examples
    --------
    >>> harmonics = SphericalHarmonics(truncation=21, n_lat=32, n_lon=64)
    >>> sines = np.broadcast_to(harmonics.sin_lat, (64, 1, 32))
    >>> spectrum = harmonics.analyse(sines)
    >>> bool(np.isclose(spectrum[0, 0, 0, 1], 3**-0.5))
    True
    """

    def __init__(self, *, truncation: int, n_lat: int, n_lon: int) -> None:
        _check_resolution(truncation, n_lat, n_lon)
        self.truncation, self.n_lat, self.n_lon = truncation, n_lat, n_lon
        nodes, gauss = np.polynomial.legendre.leggauss(n_lat)
        self.sin_lat: Array = nodes.astype(np.float64)
        self.weights: Array = gauss.astype(np.float64) / 2.0
        self.cos_lat: Array = np.cos(np.arcsin(self.sin_lat))
        self.lat: Array = np.degrees(np.arcsin(self.sin_lat))
        self.lon: Array = np.linspace(0.0, 360.0, n_lon, endpoint=False)
        degrees = np.arange(truncation + 1.0)
        self.laplacian: Array = -degrees * (degrees + 1.0)
        self._values = normalised_legendre(truncation, self.sin_lat)
        self._slopes = _legendre_derivative(truncation, self.sin_lat)
        self._project = np.ascontiguousarray((self._values * self.weights).transpose(0, 2, 1))
        self._waves, self._wave_slopes, self._wave_projection = _fourier(truncation, n_lon)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Axes (order, part, degree) of one field's spectrum."""
        return self.truncation + 1, 2, self.truncation + 1

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Mark the coefficients (order, part, degree) that belong to the truncation; the others are zero."""
        order, part, degree = np.indices(self.shape)
        return (degree >= order) & ((part == 0) | (order > 0))

    def synthesise(self, spectrum: Array) -> Array:
        """Evaluate fields on the grid: (..., order, part, field, degree) to (..., lon, field, lat)."""
        return self._to_grid(spectrum, self._values, self._waves)

    def synthesise_d_lon(self, spectrum: Array) -> Array:
        """Evaluate ∂f/∂λ on the grid, per radian."""
        return self._to_grid(spectrum, self._values, self._wave_slopes)

    def synthesise_d_sin_lat(self, spectrum: Array) -> Array:
        """Evaluate ∂f/∂μ on the grid, μ being the sine of latitude."""
        return self._to_grid(spectrum, self._slopes, self._waves)

    def _to_grid(self, spectrum: Array, legendre: Array, fourier: Array) -> Array:
        order, part, field, degree = spectrum.shape[-4:]
        batch = spectrum.shape[:-4]
        by_order = spectrum.reshape(*batch, order, part * field, degree) @ legendre
        grid = fourier @ by_order.reshape(*batch, order * part, field * self.n_lat)
        return grid.reshape(*batch, self.n_lon, field, self.n_lat)

    def analyse(self, grid: Array) -> Array:
        """Project fields onto the harmonics: (..., lon, field, lat) to (..., order, part, field, degree)."""
        batch, field = grid.shape[:-3], grid.shape[-2]
        n = self.truncation + 1
        by_order = self._wave_projection @ grid.reshape(*batch, self.n_lon, field * self.n_lat)
        spectrum = by_order.reshape(*batch, n, 2 * field, self.n_lat) @ self._project
        return spectrum.reshape(*batch, n, 2, field, n)

    def analyse_vorticity(self, zonal_wind: Array) -> Array:
        r"""Project the vorticity of a purely zonal wind.

        :math:`\zeta = -\partial_\mu (u \cos\varphi)` on the unit sphere, by parts: the wind is
        not differentiated and need not be band-limited.
        """
        projection = np.ascontiguousarray((self._slopes * self.weights * self.cos_lat).transpose(0, 2, 1))
        field = zonal_wind.shape[-2]
        by_order = self._wave_projection @ zonal_wind.reshape(self.n_lon, field * self.n_lat)
        n = self.truncation + 1
        return (by_order.reshape(n, 2 * field, self.n_lat) @ projection).reshape(n, 2, field, n)

    def jacobian(self, a: Array, b: Array) -> Array:
        r"""Project :math:`J(a, b) = \partial_\lambda a\,\partial_\mu b - \partial_\mu a\,\partial_\lambda b`.

        Parameters
        ----------
        a, b : array, shape (..., order, part, field, degree)
            Spectra.

        Returns
        -------
        array, shape (..., order, part, field, degree)
            The alias-free projection of the Jacobian.
        """
        grid = self.synthesise_d_lon(a) * self.synthesise_d_sin_lat(b)
        grid -= self.synthesise_d_sin_lat(a) * self.synthesise_d_lon(b)
        return self.analyse(grid)


def to_maps(grid: NDArray[Any]) -> NDArray[Any]:
    """Turn (..., lon, field, lat) into (..., field, lat, lon)."""
    return np.moveaxis(grid, -3, -1)


def from_maps(maps: NDArray[Any]) -> NDArray[Any]:
    """Turn (..., field, lat, lon) into (..., lon, field, lat), contiguous."""
    return np.ascontiguousarray(np.moveaxis(maps, -1, -3))


def _fourier(truncation: int, n_lon: int) -> tuple[Array, Array, Array]:
    """Make the matrices of synthesis, of its derivative along longitude, and of analysis."""
    orders = np.arange(truncation + 1)
    # The product of integers is reduced first: cos and sin of small arguments keep the last digits.
    angles = (np.outer(np.arange(n_lon), orders) % n_lon) * (2.0 * np.pi / n_lon)
    cosine, sine = np.cos(angles), np.sin(angles)
    sine[:, 0] = 0.0
    waves = np.stack([cosine, sine], axis=-1).reshape(n_lon, -1)
    slopes = np.stack([-orders * sine, orders * cosine], axis=-1).reshape(n_lon, -1)
    return waves, slopes, np.ascontiguousarray(waves.T) / n_lon


def _check_resolution(truncation: int, n_lat: int, n_lon: int) -> None:
    if truncation < 1:
        raise ConfigError(f"truncation must be at least 1, got {truncation}")
    if n_lon <= 3 * truncation or 2 * n_lat <= 3 * truncation:
        raise ConfigError(
            f"the grid must have more than {3 * truncation} longitudes and {3 * truncation / 2:g} latitudes "
            f"for truncation {truncation}, got {n_lon} and {n_lat}"
        )
