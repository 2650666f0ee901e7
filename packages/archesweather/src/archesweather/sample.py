"""The embedded sample: the core's simulated atmosphere, to try everything without a download."""

from __future__ import annotations

import numpy as np
import xarray as xr

from archesweather.config import SampleConfig
from isopleth.samples import atmosphere


def simulate_sample(config: SampleConfig) -> xr.Dataset:
    """Simulate the days of a sample, orography included; see `isopleth.samples.atmosphere`.

    Returns
    -------
    xarray.Dataset
        ``geopotential``, ``u_component_of_wind``, ``v_component_of_wind`` and ``temperature`` at 200, 500 and
        800 hPa over (time, level, lat, lon), and ``geopotential_at_surface`` over (lat, lon).
    """
    first, last = np.datetime64(config.start, "D"), np.datetime64(config.end, "D")
    days = int((last - first).astype(np.int64)) + 1
    return atmosphere(days, seed=config.seed, step_hours=config.step_hours, start=config.start, static=True)
