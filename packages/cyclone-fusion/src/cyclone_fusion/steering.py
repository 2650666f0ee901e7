"""The flow that carries a storm: the wind around it, averaged over a disc and the depth of the layer."""

from __future__ import annotations

import numpy as np

from cyclone_fusion.config import WindowConfig

_RADIUS_DEG = 5.0
_U, _V = "u_component_of_wind", "v_component_of_wind"


def steering_flow(windows: np.ndarray, lat: np.ndarray, config: WindowConfig) -> np.ndarray:
    r"""Average the present wind within 5 degrees of the storm, levels weighted by the mass they stand for.

    A vortex that turns around the centre averages out over a disc; what is left is the flow that carries it
    (Chan and Gray 1982, Mon. Wea. Rev. 110, 1354; they average over a ring).

    Parameters
    ----------
    windows : array, shape (sample, channel, row, column)
        Channels of the config, SI units; NaN is left out.
    lat : array, shape (sample,)
        Of the storms, degrees.
    config : WindowConfig

    Returns
    -------
    array of float32, shape (sample, 2)
        Eastward and northward wind, m s-1; NaN where the windows have no present wind.
    """
    weights = mass_weights(config.levels)
    wanted = {name: [f"{name}_{level:g}_+0h" for level in config.levels] for name in (_U, _V)}
    if not all(channel in config.channels for channels in wanted.values() for channel in channels):
        return np.full((len(windows), 2), np.nan, np.float32)
    inside = _disc(lat, config)
    flow = []
    for name in (_U, _V):
        wind = windows[:, [config.channels.index(channel) for channel in wanted[name]]]
        known = inside[:, None] & np.isfinite(wind)
        count = known.sum(axis=(2, 3))
        mean = np.where(known, wind, 0.0).sum(axis=(2, 3), dtype=np.float64) / np.where(count, count, np.nan)
        flow.append(mean @ weights)
    return np.stack(flow, axis=-1).astype(np.float32)


def mass_weights(levels: tuple[float, ...]) -> np.ndarray:
    """Return each level's share of the layer between the outermost, by the trapezoidal rule in pressure."""
    pressure = np.asarray(levels, dtype=np.float64)
    if len(pressure) == 1:
        return np.ones(1)
    order = np.argsort(pressure)
    steps = np.diff(pressure[order])
    weights = np.empty(len(pressure))
    weights[order] = (np.r_[steps, 0.0] + np.r_[0.0, steps]) / 2
    return weights / weights.sum()


def _disc(lat: np.ndarray, config: WindowConfig) -> np.ndarray:
    """Mark the points of each window near the storm, (sample, row, column)."""
    away = (np.arange(config.size) - config.size // 2) * config.spacing_deg
    east = away * np.cos(np.radians(lat))[:, None]
    return away[None, :, None] ** 2 + east[:, None, :] ** 2 <= _RADIUS_DEG**2
