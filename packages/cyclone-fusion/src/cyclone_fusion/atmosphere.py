r"""A simulated atmosphere around real storms: its flow explains their motion, but only in part.

The horizontal flow is that of a random streamfunction on the sphere, a sum of cosines whose wave vectors
:math:`\kappa_k` are normal, so that its covariance is Gaussian in the chord (random Fourier features, Rahimi
and Recht 2007):

.. math:: \psi(x, t) = \bar\psi(\varphi) + \sum_k a_k(t) \cos(\kappa_k \cdot x + \beta_k)

At each time the coefficients are conditioned (Hoffman and Ribak 1991) on what the storms of that time need at
the place where they are and, less surely, where they will be in the next 18 h:

.. math:: u_{\text{steering}} = V_{\text{storm}} - \text{drift} - \eta

with the storm's real velocity :math:`V`, a beta drift toward pole and west, and :math:`\eta`, a first-order
autoregressive noise that no field shows. Levels differ by a second, independent flow whose mean over the
steering layer is zero; a vortex as strong as the storm's wind turns around its centre; geopotential is in
geostrophic balance. What the noise costs a perfect forecaster is known: `floor_km`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import dask.array
import numpy as np
import pandas as pd
import xarray as xr

from cyclone_fusion.config import AtmosphereConfig
from cyclone_fusion.frame import displacement
from isopleth.grid import EARTH_RADIUS_KM, Grid

SOURCE = "an atmosphere simulated around real best tracks (cyclone_fusion.atmosphere)"
LEVELS = (225.0, 500.0, 700.0)
# Weights of the levels in the steering layer, and the share of the sheared flow in each: products sum to 0.
STEERING_WEIGHTS = np.array([0.2, 0.5, 0.3])
_SHEAR = np.array([1.4, 0.4, -1.6])
_VORTEX = np.array([-0.15, 0.8, 1.0])
_GEOPOTENTIAL = np.array([1.09e5, 5.75e4, 3.1e4])

_WAVES = 256
_LENGTH_KM = 1100.0
_FLOW, _SHEARED = 6.0, 4.0  # m s-1, standard deviation of each component
_MEMORY_HOURS = 72.0
_AHEAD_HOURS = (0, 6, 12, 18)
_OBSERVED, _GROWTH = 0.3, 0.1  # m s-1, and m s-1 an hour: how surely the flow ahead fits the storm
_VORTEX_KM = 250.0
_SPAN = 12.0  # degrees: where a vortex ends
_STEP = np.timedelta64(6, "h")
_RADIUS = EARTH_RADIUS_KM * 1e3
_OMEGA = 7.292e-5


@dataclass(frozen=True)
class _Needs:
    """What the storms ask of the flow, fix by fix: places, hours from noise, velocities."""

    time: np.ndarray
    steering: np.ndarray
    ahead: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    wind: np.ndarray


def simulate_atmosphere(tracks: xr.Dataset, config: AtmosphereConfig) -> xr.Dataset:
    """Simulate the fields that surround the storms, lazily: a field is computed when it is read.

    Parameters
    ----------
    tracks : xarray.Dataset
        As `cyclone_fusion.tracks.read_tracks` gives it.
    config : AtmosphereConfig

    Returns
    -------
    xarray.Dataset
        ``u_component_of_wind``, ``v_component_of_wind`` (m s-1) and ``geopotential`` (m2 s-2), each
        (time, level, lat, lon) float32, at every six hours from the first fix to the last.
    """
    grid = Grid.regular(round(180 / config.spacing_deg), round(360 / config.spacing_deg))
    fix_time = tracks["time"].values
    times = np.arange(fix_time.min(), fix_time.max() + _STEP, _STEP).astype("datetime64[ns]")
    flow = _Flow(_needs(tracks, config), grid, config)
    shape = (len(times), 3, len(LEVELS), *grid.shape)
    # Days at a time: what a task costs to schedule must be small beside what it computes.
    blocks = dask.array.core.normalize_chunks((24, -1, -1, -1, -1), shape)
    fields = dask.array.map_blocks(
        lambda when: flow.fields(when.reshape(-1)),
        dask.array.from_array(times.reshape(-1, 1, 1, 1, 1), chunks=(blocks[0], 1, 1, 1, 1)),
        chunks=blocks,
        dtype=np.float32,
        meta=np.empty((0,) * 5, np.float32),
    )
    dims = ("time", "level", "lat", "lon")
    names = {"u_component_of_wind": "m s-1", "v_component_of_wind": "m s-1", "geopotential": "m2 s-2"}
    return xr.Dataset(
        {name: (dims, fields[:, i], {"units": units}) for i, (name, units) in enumerate(names.items())},
        coords={
            "time": times,
            "level": ("level", list(LEVELS), {"units": "hPa"}),
            "lat": ("lat", grid.lat, {"units": "degrees_north"}),
            "lon": ("lon", grid.lon, {"units": "degrees_east"}),
        },
        attrs={"source": SOURCE},
    )


def floor_km(tracks: xr.Dataset, samples: xr.Dataset, config: AtmosphereConfig, *, past: bool) -> np.ndarray:
    r"""Measure the error of one who knows the flow ahead and the drift, but not the noise to come.

    The noise lasts. Who has seen the motion and the flow until now knows the noise :math:`\eta_{-1}` of the
    last six hours, and expects :math:`r^{j+1} \eta_{-1}` of those that follow, with the correlation :math:`r`
    over six hours: no forecast can be better on average.

    Parameters
    ----------
    tracks, samples : xarray.Dataset
    config : AtmosphereConfig
    past : bool
        Whether the past is known too. If not, a network that sees the track may err less than this.

    Returns
    -------
    array of shape (sample, lead)
        Kilometres; NaN where the track ends before the lead.
    """
    noise = _noise(tracks, config) * (_STEP / np.timedelta64(1, "s")) / 1e3
    travelled = np.vstack([np.zeros(2), np.cumsum(noise, axis=0)])
    storms = tracks["track_id"].values
    index = pd.MultiIndex.from_arrays([storms, tracks["time"].values])
    start = index.get_indexer(pd.MultiIndex.from_arrays([samples["track_id"].values, samples["time"].values]))
    steps = samples["lead"].values // 6
    stop = np.minimum(start[:, None] + steps, len(noise))
    unexplained = travelled[stop] - travelled[start][:, None]
    if past:
        keep = _correlation(config)
        seen = np.where((storms[start - 1] == storms[start])[:, None], noise[start - 1], 0.0)
        unexplained -= seen[:, None] * (keep * (1 - keep**steps) / (1 - keep))[:, None]
    floor = np.linalg.norm(unexplained, axis=-1)
    return np.where(np.isfinite(samples["target_lat"].values), floor, np.nan)


def _correlation(config: AtmosphereConfig) -> float:
    """Return the correlation of the noise over six hours."""
    return float(np.exp(-6.0 / config.noise_hours))


def _noise(tracks: xr.Dataset, config: AtmosphereConfig) -> np.ndarray:
    """Draw the unexplained motion of every fix, m s-1, shape (record, 2): AR(1) along each storm."""
    keep = _correlation(config)
    storms = tracks["track_id"].values
    out = np.empty((len(storms), 2))
    first = np.flatnonzero(np.r_[True, storms[1:] != storms[:-1]])
    for start, stop in zip(first, np.r_[first[1:], len(storms)], strict=True):
        # A storm's own seed: the same noise whichever others are simulated with it.
        rng = np.random.default_rng([config.seed, zlib.crc32(str(storms[start]).encode())])
        shocks = rng.normal(size=(stop - start, 2)) * config.noise
        shocks[1:] *= np.sqrt(1 - keep**2)
        for i in range(1, len(shocks)):
            shocks[i] += keep * shocks[i - 1]
        out[start:stop] = shocks
    return out


def _needs(tracks: xr.Dataset, config: AtmosphereConfig) -> _Needs:
    """Work out the steering that each fix of a storm needs over the six hours that follow it."""
    lat, lon, storms = (tracks[name].values for name in ("lat", "lon", "track_id"))
    time = tracks["time"].values
    follows = (storms[1:] == storms[:-1]) & (time[1:] - time[:-1] == _STEP)
    now = np.flatnonzero(follows)
    moved = displacement(lat[now], lon[now], lat[now + 1], lon[now + 1], "tangent") * 1e3 / 21600.0
    poleward = np.where(lat[now] >= 0, 1.0, -1.0)
    drift = config.drift * np.column_stack([-np.ones(len(now)), poleward])
    steering = np.full((len(storms), 2), np.nan)
    steering[now] = moved - drift - _noise(tracks, config)[now]
    rows = []
    for steps in range(len(_AHEAD_HOURS)):
        later = np.arange(len(storms)) + steps
        later = np.minimum(later, len(storms) - 1)
        same = (storms[later] == storms) & (time[later] - time == steps * _STEP)
        known = np.flatnonzero(same & np.isfinite(steering[later, 0]))
        rows.append((time[known], later[known], np.full(len(known), _AHEAD_HOURS[steps])))
    when, record, ahead = (np.concatenate(each) for each in zip(*rows, strict=True))
    order = np.argsort(when, kind="stable")
    when, record, ahead = when[order], record[order], ahead[order]
    wind = np.nan_to_num(tracks["wind"].values, nan=15.0)
    return _Needs(when, steering[record], ahead, lat[record], lon[record], wind[record])


def _axes(lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the unit vectors outward, east and north at some places, (..., 3) each."""
    phi, lam = np.radians(lat), np.radians(lon)
    outward = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
    east = np.stack([-np.sin(lam), np.cos(lam), np.zeros_like(lam)], axis=-1)
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)], axis=-1)
    return outward, east, north


class _Waves:
    """The flow's basis at some places: streamfunction (m2 s-1) and wind (m s-1) of each wave."""

    def __init__(self, rng: np.random.Generator) -> None:
        scale = EARTH_RADIUS_KM / _LENGTH_KM
        self.vector = rng.normal(size=(_WAVES, 3)) * scale
        self.phase = rng.uniform(0, 2 * np.pi, _WAVES)
        # So that each component of the wind has a variance of one.
        self.amplitude = _RADIUS * np.sqrt(2.0 / _WAVES) / scale

    def at(self, lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return eastward wind, northward wind and streamfunction, each (place, wave)."""
        xyz, east, north = _axes(lat, lon)
        angle = xyz @ self.vector.T + self.phase
        slope = -np.sin(angle) * (self.amplitude / _RADIUS)
        return (
            -slope * (north @ self.vector.T),
            slope * (east @ self.vector.T),
            np.cos(angle) * self.amplitude,
        )


class _Flow:
    """All fields at any times."""

    def __init__(self, needs: _Needs, grid: Grid, config: AtmosphereConfig) -> None:
        self.needs, self.grid, self.config = needs, grid, config
        self.waves = _Waves(np.random.default_rng([config.seed, 1]))
        lat, lon = (axis.ravel() for axis in np.meshgrid(grid.lat, grid.lon, indexing="ij"))
        self.xyz = _axes(lat, lon)[0]
        # (u, v, psi), each (wave, cell): the synthesis of a field is one matrix product.
        self.basis = np.stack([each.T.astype(np.float32) for each in self.waves.at(lat, lon)])
        self.mean = np.stack([each[None] for each in _mean_flow(lat)]).astype(np.float32)
        self.coriolis = (2 * _OMEGA * np.sin(np.radians(lat))).astype(np.float32)

    def fields(self, times: np.ndarray) -> np.ndarray:
        """Return (time, variable, level, lat, lon) float32, variables u, v and geopotential."""
        if times.size == 0:
            return np.empty((0, 3, len(LEVELS), *self.grid.shape), np.float32)
        common = self._synthesise([self._conditioned(when) for when in times]) + self.mean
        sheared = self._synthesise([_SHEARED * self._free(when, 2) for when in times])
        out = np.empty((len(times), 3, len(LEVELS), len(self.xyz)), np.float32)
        for level, share in enumerate(_SHEAR.astype(np.float32)):
            np.multiply(sheared.swapaxes(0, 1), share, out=out[:, :, level])
            out[:, :, level] += common.swapaxes(0, 1)
        for step, when in enumerate(times):
            self._add_vortices(out[step], when)
        out[:, 2] *= self.coriolis
        out[:, 2] += _GEOPOTENTIAL[:, None].astype(np.float32)
        return out.reshape(len(times), 3, len(LEVELS), *self.grid.shape)

    def _synthesise(self, coefficients: list[np.ndarray]) -> np.ndarray:
        """Return (u, v, psi) on the grid, (3, time, cell), from the coefficients of each time."""
        return np.matmul(np.stack(coefficients).astype(np.float32), self.basis)

    def _free(self, when: np.datetime64, stream: int) -> np.ndarray:
        """Return coefficients of unit variance that change smoothly in time and can be had at any time."""
        hours = when.astype("datetime64[h]").astype(np.int64) / _MEMORY_HOURS
        before = int(np.floor(hours))
        angle = (hours - before) * np.pi / 2
        draws = [
            np.random.default_rng([self.config.seed, stream, day + 10**6]).normal(size=_WAVES)
            for day in (before, before + 1)
        ]
        return np.cos(angle) * draws[0] + np.sin(angle) * draws[1]

    def _conditioned(self, when: np.datetime64) -> np.ndarray:
        """Return coefficients whose flow carries the storms of a time."""
        free = _FLOW * self._free(when, 1)
        here = self._at(when)
        if not self.config.steering or here.start == here.stop:
            return free
        lat, lon = self.needs.lat[here], self.needs.lon[here]
        u, v, _ = self.waves.at(lat, lon)
        mean_u, mean_v, _ = _mean_flow(lat)
        wanted = self.needs.steering[here] - np.column_stack([mean_u, mean_v])
        operator = np.vstack([u, v])
        sigma = np.tile(_OBSERVED + _GROWTH * self.needs.ahead[here], 2)
        rng = np.random.default_rng(
            [self.config.seed, 3, int(when.astype("datetime64[h]").astype(np.int64)) + 10**7]
        )
        innovation = wanted.T.ravel() + sigma * rng.normal(size=sigma.size) - operator @ free
        gram = _FLOW**2 * operator @ operator.T + np.diag(sigma**2)
        return free + _FLOW**2 * operator.T @ np.linalg.solve(gram, innovation)

    def _at(self, when: np.datetime64) -> slice:
        first, last = np.searchsorted(self.needs.time, [when, when + np.timedelta64(1, "s")])
        return slice(int(first), int(last))

    def _add_vortices(self, fields: np.ndarray, when: np.datetime64) -> None:
        """Add a Gaussian vortex (streamfunction) at each storm to (u, v, psi) of (3, level, cell)."""
        here = self._at(when)
        for i in range(here.start, here.stop):
            if self.needs.ahead[i] == 0:
                self._add_vortex(fields, self.needs.lat[i], self.needs.lon[i], self.needs.wind[i])

    def _add_vortex(self, fields: np.ndarray, lat: float, lon: float, wind: float) -> None:
        outward, east, north = (self.xyz @ axis for axis in _axes(np.array(lat), np.array(lon)))
        near = np.flatnonzero(outward >= np.cos(np.radians(_SPAN)))
        sine = np.hypot(east[near], north[near])
        stretch = EARTH_RADIUS_KM * np.arctan2(sine, outward[near]) / np.where(sine > 0, sine, 1.0)
        from_storm = np.column_stack([stretch * east[near], stretch * north[near]])
        square = (from_storm**2).sum(axis=-1) / _VORTEX_KM**2
        spin = 1.0 if lat >= 0 else -1.0
        # The wind of a Gaussian streamfunction is strongest at one radius, where x exp(-x^2/2) = exp(-1/2).
        peak = spin * 0.6 * wind * np.exp(0.5)
        speed = peak * np.exp(-square / 2)
        turn = np.stack([-speed * from_storm[:, 1], speed * from_storm[:, 0]]) / _VORTEX_KM
        psi = -peak * np.exp(-square / 2) * _VORTEX_KM * 1e3
        vortex = np.concatenate([turn, psi[None]])
        fields[:, :, near] += (_VORTEX[None, :, None] * vortex[:, None]).astype(np.float32)


def _mean_flow(lat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Return the mean zonal flow and its streamfunction: trades of 6 m s-1, westerlies of 14 at 45 degrees.

    :math:`\bar u = -6\cos\varphi + 18 \sin^2 2\varphi \cos\varphi`, and
    :math:`\bar\psi = -R \int \bar u \, d\varphi`.
    """
    phi = np.radians(lat)
    sin = np.sin(phi)
    u = np.cos(phi) * (-6.0 + 18.0 * np.sin(2 * phi) ** 2)
    psi = -_RADIUS * (-6.0 * sin + 18.0 * 4.0 * (sin**3 / 3 - sin**5 / 5))
    return u, np.zeros_like(u), psi
