r"""Fields as smooth as given ones that know nothing of the target: the predictors of a null test.

What a model finds in them is what its folds leak. They keep how a field varies in space, and lose where.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import xarray as xr
from scipy import sparse, special
from scipy.sparse import linalg

from isopleth.config import check_choice
from isopleth.errors import ConfigError, DataError
from isopleth.fields._cells import Pairs, neighbour_pairs, on_grid
from isopleth.grid import Grid

# Degrees kept at most: 3 degrees of arc, and fast.
_HIGHEST_DEGREE = 60


def surrogate_fields(
    fields: xr.DataArray,
    *,
    seed: int,
    method: Literal["phase", "rotate"] = "phase",
    together: bool = True,
    keep_values: bool = False,
) -> xr.DataArray:
    r"""Draw random fields that vary in space as the given ones do.

    ``"phase"`` writes a field in spherical harmonics up to degree T = min(60, rows / 2 - 1) and turns the
    2 l + 1 coefficients of each degree l by a random orthogonal matrix,

    .. math:: a'_{l} = Q_l\, a_{l}, \qquad Q_l^T Q_l = 1,

    which keeps the angular power spectrum, and with it the isotropic autocovariance, exactly: Fourier's
    random phases (Theiler et al., Physica D 58, 1992) carried to the sphere, where they need not treat the
    poles and the zonal mean apart. The global mean stays; what is left beyond degree T is rotated.

    ``"rotate"`` turns the field about the earth's axis by a random number of columns, and mirrors it
    east-west and, on rows that lie alike about the equator, north-south, by two coins. All of its structure
    stays, as do its zonal means but for the mirror: it has as many outcomes as four times the columns, and
    is the weaker null.

    Land (NaN) is filled before by the smoothest field that fits its shores (Laplace's equation), and masked
    after. Under the mask the spectrum is therefore kept only about.

    Parameters
    ----------
    fields : DataArray, dims (..., lat, lon)
        On a grid that goes round the globe, and for ``"phase"`` covers it; rows with no values, as near the
        poles of altimetry, may be NaN.
    seed : int
        The same seed gives the same fields.
    method : {"phase", "rotate"}
    together : bool
        Whether all fields (the leading dims) are turned alike, which keeps their correlations with each other
        (the cross-spectra), or each on its own.
    keep_values : bool
        Whether each surrogate is given exactly the values of its original, rank by rank: then the
        distribution is kept exactly and the spectrum about.

    Returns
    -------
    DataArray
        Dims, coordinates, attributes and NaN of `fields`; float64.

    Raises
    ------
    ConfigError
        If the method is unknown.
    DataError
        If the grid does not go round the globe (or cover it), a value is infinite, or a field has no value.
    """
    check_choice("method", method, ("phase", "rotate"))
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"seed must be a whole number of at least 0, got {seed!r}")
    fields, grid = on_grid(fields, what="fields")
    _check_grid(grid, method)
    _check_spacing(grid)
    table = fields.values.reshape(-1, *grid.shape).astype(np.float64)
    whole = np.stack([fill_smoothly(field, grid) for field in table]) if len(table) else table
    groups = [whole] if together else [field[None] for field in whole]
    draw = _turn_degrees if method == "phase" else _rotate
    drawn = np.concatenate(
        [draw(group, grid, np.random.default_rng([seed, k])) for k, group in enumerate(groups)]
    )
    if keep_values:
        drawn = np.stack([_with_values_of(new, old) for new, old in zip(drawn, table, strict=True)])
    drawn = np.where(np.isnan(table), np.nan, drawn)
    return fields.copy(data=drawn.reshape(fields.shape))


def fill_smoothly(field: np.ndarray, grid: Grid) -> np.ndarray:
    """Fill NaN by the solution of Laplace's equation between the known cells.

    Parameters
    ----------
    field : array, shape (lat, lon)
    grid : Grid

    Raises
    ------
    DataError
        If nothing is known, or a value is infinite.
    """
    values = field.ravel().astype(np.float64)
    missing = np.isnan(values)
    if np.isinf(values).any() or missing.all():
        raise DataError("a field must have finite values, or NaN on land, got infinity or NaN alone")
    if not missing.any():
        return field.copy()
    laplacian = _laplacian(neighbour_pairs(grid), grid)
    inner = laplacian[missing]
    values[missing] = linalg.spsolve(inner[:, missing].tocsc(), -inner[:, ~missing] @ values[~missing])
    return values.reshape(grid.shape)


def _laplacian(pairs: Pairs, grid: Grid) -> sparse.csr_array:
    """Weigh each pair by the length of its edge over the distance of its centres."""
    lat, lon = (part.ravel() for part in np.meshgrid(grid.lat, grid.lon, indexing="ij"))
    row_step = np.abs(lat[pairs.first] - lat[pairs.second])
    turn = np.abs((lon[pairs.first] - lon[pairs.second] + 180) % 360 - 180)
    distance = np.hypot(row_step, turn * np.cos(np.radians(lat[pairs.first])))
    # Cells on a pole touch their neighbours to the east at no distance; any weight joins them.
    weight = np.maximum(pairs.length, 1e-6) / np.maximum(distance, 1e-6)
    size = lat.size
    joined = sparse.csr_array((weight, (pairs.first, pairs.second)), shape=(size, size))
    joined = joined + joined.T
    return (sparse.diags_array(joined.sum(axis=1)) - joined).tocsr()


def _check_grid(grid: Grid, method: str) -> None:
    if not grid.is_periodic or (method == "phase" and not (grid.is_global and grid.shape[0] >= 6)):
        wanted = "cover the globe with at least 6 rows" if method == "phase" else "go round the globe"
        raise DataError(
            f"the grid of surrogates must {wanted}, got {grid}",
            hint="put the fields on a global grid, NaN where they have no values",
        )


def _check_spacing(grid: Grid) -> None:
    widths = np.ptp(grid.lon_bounds, axis=1)
    if np.ptp(widths) > 1e-3 * widths.mean():
        raise DataError(f"the columns of surrogates must be evenly spaced, got {grid}")


def _rotate(fields: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    shift, north_south, east_west = rng.integers(grid.shape[1]), rng.random() < 0.5, rng.random() < 0.5
    turned = np.roll(fields, shift, axis=2)
    if north_south and np.allclose(grid.lat, -grid.lat[::-1]):
        turned = turned[:, ::-1]
    return turned[:, :, ::-1] if east_west else turned


def _turn_degrees(fields: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    harmonics = _Harmonics(grid)
    coefficients = harmonics.analyse(fields)
    rest = _rotate(fields - harmonics.synthesise(coefficients), grid, rng)
    for start, end in pairwise(degree**2 for degree in range(1, harmonics.truncation + 2)):
        coefficients[:, start:end] = coefficients[:, start:end] @ _orthogonal(end - start, rng)
    return harmonics.synthesise(coefficients) + rest


def _orthogonal(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw an orthogonal matrix, all equally likely (Mezzadri, Notices of the AMS 54, 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return q * np.sign(np.diag(r))


class _Harmonics:
    """Least-squares fits of real spherical harmonics to fields on a global grid.

    Coefficients are (field, l^2 + ...): degree by degree, in each the cosine of order 0, then cosine and
    sine of orders 1 ... l.
    """

    def __init__(self, grid: Grid) -> None:
        rows, columns = grid.shape
        self.truncation = min(_HIGHEST_DEGREE, rows // 2 - 1, (columns - 1) // 2)
        self.legendre = _legendre(self.truncation, np.radians(90 - grid.lat))
        angle = np.radians(grid.lon)[:, None] * np.arange(self.truncation + 1)
        self.cosines, self.sines = np.cos(angle), np.sin(angle)
        root = np.sqrt(grid.weights)
        self.fits = [
            np.linalg.pinv(root[:, None] * self.legendre[m, m:].T) * root for m in range(self.truncation + 1)
        ]

    def analyse(self, fields: np.ndarray) -> np.ndarray:
        width = np.linalg.pinv(np.concatenate([self.cosines, self.sines[:, 1:]], axis=1))
        waves = fields @ width.T
        found = np.zeros((len(fields), (self.truncation + 1) ** 2))
        for m, fit in enumerate(self.fits):
            degrees = np.arange(m, self.truncation + 1)
            found[:, _place(degrees, m, 0)] = waves[:, :, m] @ fit.T
            if m:
                found[:, _place(degrees, m, 1)] = waves[:, :, self.truncation + m] @ fit.T
        return found

    def synthesise(self, coefficients: np.ndarray) -> np.ndarray:
        fields = np.zeros((len(coefficients), self.legendre.shape[2], len(self.cosines)))
        for m in range(self.truncation + 1):
            degrees = np.arange(m, self.truncation + 1)
            table = self.legendre[m, m:]
            fields += (coefficients[:, _place(degrees, m, 0)] @ table)[:, :, None] * self.cosines[:, m]
            if m:
                fields += (coefficients[:, _place(degrees, m, 1)] @ table)[:, :, None] * self.sines[:, m]
        return fields


def _legendre(truncation: int, colatitude: np.ndarray) -> np.ndarray:
    """Tabulate Legendre functions, (order, degree, lat), for harmonics of global mean square one."""
    table = special.sph_legendre_p_all(truncation, truncation, colatitude)[0, :, : truncation + 1]
    norm = np.sqrt(4 * np.pi * np.where(np.arange(truncation + 1) > 0, 2, 1))
    return np.swapaxes(table, 0, 1) * norm[:, None, None]


def _place(degrees: np.ndarray, order: int, part: int) -> np.ndarray:
    """Give where the coefficients of an order stand: part 0 is the cosine's, 1 the sine's."""
    return degrees**2 + (2 * order - 1 + part if order else 0)


def _with_values_of(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Give the known values of `old`, in the order of size that `new` has there."""
    known = ~np.isnan(old)
    found = np.full(old.shape, np.nan)
    rank = np.argsort(np.argsort(new[known], kind="stable"), kind="stable")
    found[known] = np.sort(old[known])[rank]
    return found
