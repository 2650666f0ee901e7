"""Power spectra: along latitude circles, and isotropic on a plane. Their sums are mean squares (Parseval)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.verify.alignment import Dims, Field, align, as_weights, resolve_dims
from isopleth.verify.state import State

ZONAL_WAVENUMBER = "zonal_wavenumber"
WAVENUMBER = "wavenumber"


def power_spectrum(
    field: Field, *, dim: str = "lon", dims: Dims = (), weights: Field | None = None
) -> xr.DataArray:
    """Return the zonal power spectrum of a global field, for each latitude.

    With the Fourier coefficients F_k = 1/N sum_j f_j exp(-2 pi i j k / N) around a circle of N longitudes,

        S_0 = |F_0|^2,   S_k = 2 |F_k|^2,   and S_(N/2) = |F_(N/2)|^2 for even N,

    so that the sum over k is the mean square around the circle (Parseval) and a wave a cos(k x) has
    S_k = a^2 / 2. WeatherBench 2's zonal spectrum [1]_ is this one times the length of the circle. Wave
    number k at latitude phi has the wavelength 2 pi R cos(phi) / k. A circle with any missing value has
    no spectrum: it is NaN, and drops out of the mean over `dims`.

    Parameters
    ----------
    field : DataArray or array
        With longitude `dim` all around the globe at equal steps; the last axis of a bare array.
    dim : str
        The periodic dimension.
    dims : str or iterable of str
        Further dimensions to average the spectra over, such as ``("time", "lat")``; none by default.
    weights : DataArray or array, optional
        For that mean, such as ``grid.weights``.

    Returns
    -------
    DataArray
        Power in squared units of the field along ``zonal_wavenumber`` (0 ... N/2), which is last.

    Raises
    ------
    DataError
        If the longitudes are not equal steps around the globe.

    References
    ----------
    .. [1] Rasp, S. et al. (2024), WeatherBench 2, J. Adv. Model. Earth Syst. 16, e2023MS004019, spectra.
    """
    pair = align(field, field)
    values = pair.forecast
    if not isinstance(field, xr.DataArray):
        values = values.rename({values.dims[-1]: dim})
    if dim not in values.dims:
        raise ConfigError(f"dim must be among {values.dims}, got {dim!r}")
    _check_periodic(values, dim)
    over = resolve_dims(dims, tuple(name for name in values.dims if name != dim))
    size = values.sizes[dim]
    spectrum = xr.apply_ufunc(
        _zonal_power,
        values.chunk({dim: -1}) if values.chunks else values,
        input_core_dims=[[dim]],
        output_core_dims=[[ZONAL_WAVENUMBER]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {ZONAL_WAVENUMBER: size // 2 + 1}},
        output_dtypes=[float],
    ).assign_coords({ZONAL_WAVENUMBER: np.arange(size // 2 + 1)})
    state = State.of({"power": spectrum}, dims=over, weights=as_weights(weights, pair))
    return state.means["power"].transpose(..., ZONAL_WAVENUMBER).rename("power_spectrum")


def isotropic_spectrum(
    field: Field,
    *,
    plane: Sequence[str] = ("y", "x"),
    spacing: float | tuple[float, float] = 1.0,
) -> xr.DataArray:
    """Return the power spectrum of a plane, summed over rings of equal wave number.

    With F = FFT2(f) / N over the N cells, the power |F|^2 of each wave (k_y, k_x) is added to the ring
    round(|k| / dk), where dk is the coarser of the two directions' steps, 1 / length. The sum over rings,
    corners included, is the mean square of the field (Parseval). A field whose opposite edges differ leaks
    power to short waves [1]_: take off a trend or taper it first. A plane with a missing value is NaN.

    Parameters
    ----------
    field : DataArray or array
        With the two dimensions of `plane`, equally spaced; the last two axes of a bare array.
    plane : pair of str
        Names of the two dimensions.
    spacing : float or pair of float
        Distance between cells along `plane`, in any unit of length.

    Returns
    -------
    DataArray
        Power in squared units of the field along ``wavenumber`` (waves per unit of length), last.

    References
    ----------
    .. [1] Denis, B., J. Cote and R. Laprise (2002), Spectral decomposition of two-dimensional atmospheric
       fields on limited-area domains, Mon. Weather Rev. 130.
    """
    values = align(field, field).forecast
    axes = list(plane)
    if not isinstance(field, xr.DataArray):
        values = values.rename(dict(zip(values.dims[-2:], axes, strict=True)))
    if len(axes) != 2 or not set(axes) <= set(values.dims):
        raise ConfigError(f"plane must be two of {values.dims}, got {tuple(plane)}")
    steps = np.broadcast_to(np.asarray(spacing, float), 2)
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise ConfigError(f"spacing must be positive, got {spacing}")
    ring, step = _rings([values.sizes[name] for name in axes], steps)
    return xr.apply_ufunc(
        _ring_power,
        values.chunk(dict.fromkeys(axes, -1)) if values.chunks else values,
        input_core_dims=[axes],
        output_core_dims=[[WAVENUMBER]],
        kwargs={"ring": ring},
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {WAVENUMBER: int(ring.max()) + 1}},
        output_dtypes=[float],
    ).assign_coords({WAVENUMBER: np.arange(ring.max() + 1) * step})


def _zonal_power(values: np.ndarray) -> np.ndarray:
    size = values.shape[-1]
    power = np.abs(np.fft.rfft(values, axis=-1) / size) ** 2
    power[..., 1 : (size + 1) // 2] *= 2  # waves k and -k; the mean and the shortest wave stand alone
    return power


def _rings(shape: Sequence[int], steps: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the ring number of each coefficient of an FFT2, and the wave number between rings."""
    k_y, k_x = (np.fft.fftfreq(size, step) for size, step in zip(shape, steps, strict=True))
    width = float(max(1 / (size * step) for size, step in zip(shape, steps, strict=True)))
    magnitude = np.hypot(k_y[:, None], k_x[None, :])
    return np.rint(magnitude / width).astype(int), width


def _ring_power(values: np.ndarray, *, ring: np.ndarray) -> np.ndarray:
    power = np.abs(np.fft.fft2(values) / ring.size) ** 2
    flat, rings = power.reshape(-1, ring.size), ring.ravel()
    sums = [np.bincount(rings, weights=plane) for plane in flat]
    return np.array(sums).reshape(*values.shape[:-2], -1)


def _check_periodic(values: xr.DataArray, dim: str) -> None:
    """Refuse longitudes that do not go once around; without labels they are taken to."""
    if dim not in values.indexes:
        return
    longitude = values[dim].to_numpy()
    step = 360.0 / longitude.size
    if not np.allclose(np.diff(longitude) % 360.0, step, rtol=0, atol=1e-3 * step):
        raise DataError(
            f"{dim!r} must go around the globe in equal steps, got {longitude.size} values from "
            f"{longitude[0]} to {longitude[-1]}",
            hint="a zonal spectrum needs whole circles; isotropic_spectrum takes a plane",
        )
