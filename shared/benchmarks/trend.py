"""Trends of a whole grid against a loop over its cells: seconds a cell, both sides in one run.

    python shared/benchmarks/trend.py

The loops run on a sample of the cells, the whole-grid form on all of them; each is given a cell at a time, or
all at once, as its users write it.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import statsmodels.api as sm
import xarray as xr

from isopleth.benchmark import emit, ratio, side
from isopleth.fields import trend
from isopleth.fields.times import decimal_years

ASKED = 100
SHAPE = (360, 180, 360)  # 30 years of months on a 1-degree grid, as float32
LOOP_CELLS = 400
REPEATS = 3


def make_field(seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(SHAPE, dtype=np.float32)
    for t in range(1, SHAPE[0]):
        values[t] += 0.5 * values[t - 1]
    times = np.arange("1993-01", "2023-01", dtype="datetime64[M]").astype("datetime64[ns]")
    return xr.DataArray(values, dims=("time", "lat", "lon"), coords={"time": times})


def statsmodels_ols(y: np.ndarray, x: np.ndarray) -> float:
    fit = sm.OLS(y, x).fit()
    return float(fit.params[1] + fit.bse[1] + fit.conf_int()[1].sum())


def statsmodels_glsar(y: np.ndarray, x: np.ndarray) -> float:
    fit = sm.GLSAR(y, x, rho=1).iterative_fit(maxiter=4)
    return float(fit.params[1] + fit.bse[1] + fit.conf_int()[1].sum())


def numpy_polyfit(y: np.ndarray, x: np.ndarray) -> float:
    slope, covariance = np.polyfit(x[:, 1], y, 1, cov=True)
    return float(slope[0] + covariance[0, 0])


def best_seconds(sides: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least seconds of each side, in rounds, so that what else the machine does meets them all."""
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(REPEATS):
        for name, work in sides.items():
            start = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> int:
    da = make_field()
    years = decimal_years(da.time.values)
    x = np.stack([np.ones_like(years), years - years.mean()], axis=1)
    every = da.values.reshape(SHAPE[0], -1)
    chosen = np.random.default_rng(1).choice(every.shape[1], LOOP_CELLS, replace=False)
    cells = np.ascontiguousarray(every[:, chosen].T, dtype=np.float64)
    whole: dict[str, Callable[[], object]] = {
        f"isopleth {m}": partial(trend, da, method=m) for m in ("ols", "ols-neff", "gls-ar1")
    }
    loops: dict[str, Callable[[], object]] = {
        f"{name} loop": partial(lambda fit: [fit(y, x) for y in cells], fit)
        for name, fit in {
            "statsmodels OLS": statsmodels_ols,
            "statsmodels GLSAR": statsmodels_glsar,
            "numpy.polyfit": numpy_polyfit,
        }.items()
    }
    micro = {
        name: side(name, 1e6 * seconds / (every.shape[1] if name in whole else LOOP_CELLS), "us a cell")
        for name, seconds in best_seconds(whole | loops).items()
    }
    ratios = [
        ratio(name, micro[loop], micro[ours], asked=asked)
        for name, loop, ours, asked in (
            ("OLS, statsmodels / isopleth", "statsmodels OLS loop", "isopleth ols", ASKED),
            ("GLS-AR(1), statsmodels / isopleth", "statsmodels GLSAR loop", "isopleth gls-ar1", ASKED),
            ("OLS, numpy.polyfit / isopleth", "numpy.polyfit loop", "isopleth ols", None),
        )
    ]
    note = (
        f"{SHAPE[1]} x {SHAPE[2]} cells of {SHAPE[0]} months, no value missing; loops on {LOOP_CELLS} of the "
        f"cells, best of {REPEATS} rounds. Every side gives slope and standard error, all but polyfit an "
        "interval; isopleth adds r1, n_eff and p. One thread a side is fair: OMP_NUM_THREADS=1."
    )
    emit({"benchmark": "trend", "sides": list(micro.values()), "ratios": ratios, "note": note})
    return 0


if __name__ == "__main__":
    warnings.simplefilter("error")
    sys.exit(main())
