r"""A simulated atmosphere as canonical fields: the sample input that several tools share.

From the streamfunction :math:`\psi` of the quasi-geostrophic model follow

- the winds, :math:`u = -\partial_y \psi,\; v = \partial_x \psi`;
- the geopotential by the linear balance equation,
  :math:`\nabla^2 \Phi = \nabla \cdot (f \nabla \psi)`, about the heights of the International Standard
  Atmosphere (the simpler closure :math:`\Phi = f_0 \psi` would make the cyclones of the southern
  hemisphere highs and its pole warm);
- the temperature by hydrostatic balance, :math:`T = -R^{-1} \partial \Phi / \partial \ln p`, of the
  parabola in :math:`\ln p` through the three levels. Equivalently: the mean temperatures of the layers
  200-500 and 500-800 hPa, given by their thickness, stand at the layers' logarithmic middles (316 and
  632 hPa), and the straight line through them is read at the three levels. So the three temperatures carry
  two independent fields.

What it is not: there are no seasons, no moisture and no divergent wind; the jets stand at 60 degrees,
poleward of the real ones; and the mountains make stationary waves far weaker than the real ones.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from isopleth.errors import ConfigError
from isopleth.io.lexicon import LEXICON
from isopleth.samples.quasigeostrophic import (
    EARTH_RADIUS_M,
    LEVELS_HPA,
    ROTATION_PER_S,
    QuasiGeostrophicModel,
    QuasiGeostrophicParameters,
)
from isopleth.samples.sphere import Array, SphericalHarmonics, to_maps
from isopleth.samples.trajectory import Run, load_trajectory, simulate

GRAVITY = 9.80665
GAS_CONSTANT = 287.05
# Geopotential heights of 200, 500 and 800 hPa in the ICAO standard atmosphere, m.
STANDARD_HEIGHTS_M = np.array([11784.0, 5574.0, 1949.0])

_SOURCE = (
    "simulated: global three-level quasi-geostrophic model of Marshall and Molteni (1993) kind, "
    "spectral T{truncation}, no observations, no seasons"
)
_NAMES = ("geopotential", "u_component_of_wind", "v_component_of_wind", "temperature")


def atmosphere(
    days: int,
    *,
    seed: int = 0,
    step_hours: int = 24,
    members: int = 1,
    spin_up_days: int = 100,
    start: str = "2000-01-01",
    parameters: QuasiGeostrophicParameters | None = None,
    static: bool = False,
    cache: bool = True,
) -> xr.Dataset:
    """Simulate weather: a statistically stationary climate without seasons on a 64 x 32 Gaussian grid.

    Three-level quasi-geostrophic model (Marshall and Molteni 1993, J. Atmos. Sci. 50, 1792); the text of this
    module says how the fields follow from it. On one machine the same arguments give the same bits, member k
    is the same however many members there are, and a longer run begins with the days of a shorter one.

    Parameters
    ----------
    days : int
        Length of the run.
    seed : int
        Chooses the weather.
    step_hours : int
        Interval of output: a divisor of 24 that is a multiple of the model's time step, 3 h.
    members : int
        Independent runs of the same climate; with more than one there is a leading ``member`` dimension.
    spin_up_days : int
        Days run before the first output; the climate is reached after about 60.
    start : str
        Date of the first output, in the standard calendar. It only labels the output.
    parameters : QuasiGeostrophicParameters, optional
        The model's physics and resolution.
    static : bool
        Whether to add ``geopotential_at_surface`` (lat, lon), the orography as the model sees it.
    cache : bool
        Whether to read and keep the run in `isopleth.cache.cache_dir` (12 MB for 1,000 daily states).

    Returns
    -------
    xarray.Dataset
        float32 ``geopotential`` (m2 s-2), ``u_component_of_wind`` and ``v_component_of_wind`` (m s-1) and
        ``temperature`` (K) on ([member,] time, level, lat, lon), with level 200, 500, 800 hPa, latitude
        ascending and longitude from 0; no value is missing.

    Raises
    ------
    ConfigError
        If an argument is out of its range, or the time step too long.

    Examples
    --------
    >>> weather = atmosphere(2, spin_up_days=1, cache=False)
    >>> dict(weather.sizes)
    {'time': 2, 'level': 3, 'lat': 32, 'lon': 64}
    """
    run = Run(
        days=days,
        step_hours=step_hours,
        seed=seed,
        members=members,
        spin_up_days=spin_up_days,
        parameters=parameters or QuasiGeostrophicParameters(),
    )
    times = _date_range(run, start)
    spectra = load_trajectory(run) if cache else simulate(run)
    model = QuasiGeostrophicModel(run.parameters)
    dataset = _assemble(diagnose(spectra, model.harmonics), _coordinates(run, model.harmonics, times))
    if static:
        dataset["geopotential_at_surface"] = _surface(model)
    dataset.attrs = _describe(run)
    return dataset if members > 1 else dataset.isel(member=0, drop=True)


def diagnose(spectra: Array, harmonics: SphericalHarmonics) -> dict[str, NDArray[np.float32]]:
    """Compute winds, geopotential and temperature from the streamfunction.

    Parameters
    ----------
    spectra : array, shape (member, time, order, part, level, degree)
        Streamfunction, m2 s-1.
    harmonics : SphericalHarmonics
        The transform they belong to.

    Returns
    -------
    dict of array, shape (member, time, level, lat, lon)
        float32, by canonical name.
    """
    shape = (*spectra.shape[:2], 3, harmonics.n_lat, harmonics.n_lon)
    fields = {name: np.empty(shape, np.float32) for name in _NAMES}
    for index in np.ndindex(shape[:2]):
        for name, values in _diagnose_state(spectra[index], harmonics).items():
            fields[name][index] = to_maps(values)
    return fields


def _diagnose_state(spectrum: Array, harmonics: SphericalHarmonics) -> dict[str, Array]:
    """Compute one state's fields, shape (lon, level, lat)."""
    eastward = -harmonics.cos_lat / EARTH_RADIUS_M * harmonics.synthesise_d_sin_lat(spectrum)
    northward = harmonics.synthesise_d_lon(spectrum) / (harmonics.cos_lat * EARTH_RADIUS_M)
    anomaly = harmonics.synthesise(balanced_geopotential(spectrum, harmonics))
    geopotential = GRAVITY * STANDARD_HEIGHTS_M[:, None] + anomaly
    return {
        "geopotential": geopotential,
        "u_component_of_wind": eastward,
        "v_component_of_wind": northward,
        "temperature": np.einsum("ij,xjy->xiy", hydrostatic_operator(), geopotential),
    }


def balanced_geopotential(spectrum: Array, harmonics: SphericalHarmonics) -> Array:
    r"""Solve the linear balance equation for the geopotential's departure from its global mean.

    :math:`\nabla^2 \Phi = \nabla \cdot (f \nabla \psi)`, where on the unit sphere
    :math:`\nabla \cdot (\mu \nabla \psi) = \mu \nabla^2 \psi + (1 - \mu^2) \partial_\mu \psi`.

    Parameters
    ----------
    spectrum : array, shape (..., order, part, level, degree)
        Streamfunction, m2 s-1.
    harmonics : SphericalHarmonics
        The transform it belongs to.

    Returns
    -------
    array, shape (..., order, part, level, degree)
        Geopotential, m2 s-2, truncated like the streamfunction.
    """
    source = harmonics.sin_lat * harmonics.synthesise(spectrum * harmonics.laplacian)
    source += harmonics.cos_lat**2 * harmonics.synthesise_d_sin_lat(spectrum)
    geopotential = 2.0 * ROTATION_PER_S * harmonics.analyse(source)
    geopotential[..., 1:] /= harmonics.laplacian[1:]
    geopotential[..., 0] = 0.0
    return geopotential


def hydrostatic_operator() -> Array:
    """Give the matrix (level, level) from geopotential (m2 s-2) to temperature (K)."""
    x = np.log(np.array(LEVELS_HPA, dtype=float))
    parabola = np.linalg.inv(np.vander(x, 3, increasing=True))
    slope = np.stack([np.zeros(3), np.ones(3), 2.0 * x], axis=1)
    return -(slope @ parabola) / GAS_CONSTANT


def _date_range(run: Run, start: str) -> NDArray[np.datetime64]:
    try:
        return pd.date_range(start, periods=run.times, freq=f"{run.step_hours}h", unit="ns").to_numpy()
    except ValueError as error:
        raise ConfigError(f"start must be a date between 1678 and 2261, got {start!r}") from error


def _coordinates(
    run: Run, harmonics: SphericalHarmonics, times: NDArray[np.datetime64]
) -> dict[str, xr.Variable]:
    level = {"units": "hPa", "standard_name": "air_pressure", "positive": "down", "axis": "Z"}
    lat = {"units": "degrees_north", "standard_name": "latitude", "axis": "Y"}
    lon = {"units": "degrees_east", "standard_name": "longitude", "axis": "X"}
    return {
        "member": xr.Variable("member", np.arange(run.members), {"standard_name": "realization"}),
        "time": xr.Variable("time", times, {"standard_name": "time", "axis": "T"}),
        "level": xr.Variable("level", np.array(LEVELS_HPA, dtype=float), level),
        "lat": xr.Variable("lat", harmonics.lat, lat),
        "lon": xr.Variable("lon", harmonics.lon, lon),
    }


def _assemble(fields: dict[str, NDArray[np.float32]], coordinates: dict[str, xr.Variable]) -> xr.Dataset:
    variables = {name: (tuple(coordinates), values, _attributes(name)) for name, values in fields.items()}
    return xr.Dataset(variables, coordinates)


def _attributes(name: str) -> dict[str, str]:
    quantity = LEXICON[name]
    standard = {"standard_name": quantity.standard_names[0]} if quantity.standard_names else {}
    return {"units": quantity.units, **standard, "long_name": name.replace("_", " ")}


def _surface(model: QuasiGeostrophicModel) -> xr.DataArray:
    surface = (GRAVITY * to_maps(model.orography_m)[0]).astype(np.float32)
    return xr.DataArray(surface, dims=("lat", "lon"), attrs=_attributes("geopotential_at_surface"))


def _describe(run: Run) -> dict[str, str | int | float]:
    return {
        "Conventions": "CF-1.11",
        "title": "Simulated atmosphere",
        "source": _SOURCE.format(truncation=run.parameters.truncation),
        "references": "Marshall and Molteni (1993), J. Atmos. Sci. 50, 1792",
        "kind": "simulated",
        "seed": run.seed,
        "spin_up_days": run.spin_up_days,
        "baroclinicity": run.parameters.baroclinicity,
    }
