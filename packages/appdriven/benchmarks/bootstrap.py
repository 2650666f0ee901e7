"""Bootstrap ten years of daily 64 x 32 fields, 1,000 draws: sums of blocks against resampled fields.

Each side runs in a process of its own, so that its peak memory is its own. ``scores`` resamples whole fields,
ten draws at a time, which is what fits; a third side resamples by ``scores`` the daily means that a careful
user would have made first.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import xarray as xr

from isopleth import benchmark

DAYS, LAT, LON, BLOCK, BATCH = 3652, 32, 64, 20, 10


def make_fields() -> tuple[xr.DataArray, xr.DataArray]:
    generator = np.random.default_rng(0)
    truth = generator.standard_normal((DAYS, LAT, LON))
    for day in range(1, DAYS):
        truth[day] += 0.8 * truth[day - 1]
    forecast = truth + generator.standard_normal(truth.shape)
    coords = {"lat": np.linspace(-87.1875, 87.1875, LAT), "lon": np.arange(LON) * 360 / LON}
    arrays = (xr.DataArray(field, coords, ("time", "lat", "lon")) for field in (forecast, truth))
    return tuple(arrays)  # type: ignore[return-value]


def area(field: xr.DataArray) -> xr.DataArray:
    return np.cos(np.radians(field["lat"])).broadcast_like(field.isel(time=0))


def by_sums(forecast: xr.DataArray, truth: xr.DataArray, draws: int, over: str) -> tuple[float, float]:
    from appdriven.bootstrap import Resampling, accumulate_fields, bootstrap
    from isopleth.fields import tile_labels
    from isopleth.verify import METRICS

    lat, lon = np.meshgrid(forecast["lat"], forecast["lon"], indexing="ij")
    labels = tile_labels(lat.ravel(), lon.ravel(), size_km=4000 if over == "space-time" else 40_000)
    tiles = np.unique(labels, return_inverse=True)[1].reshape(lat.shape)
    state = accumulate_fields("rmse", forecast, truth, tiles=tiles, weights=area(forecast).to_numpy())
    return bootstrap(state, METRICS["rmse"], Resampling(over=over, block=BLOCK, draws=draws)).ends


def by_scores(forecast: xr.DataArray, truth: xr.DataArray, draws: int, over: str) -> tuple[float, float]:
    from scores.processing import block_bootstrap

    np.random.seed(0)  # noqa: NPY002 (scores draws from the global generator)
    squared, weight = (forecast - truth) ** 2, area(forecast)
    if over == "means":
        squared, weight = squared.weighted(weight).mean(("lat", "lon")), xr.ones_like(weight[0, 0])
    batch = draws if over == "means" else BATCH
    found = []
    for _ in range(draws // batch):
        drawn = block_bootstrap(squared, blocks={"time": BLOCK}, n_iteration=batch)
        dims = ["time", *(dim for dim in ("lat", "lon") if dim in drawn.dims)]
        found.append(np.sqrt(drawn.weighted(weight).mean(dims).to_numpy()))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return float(low), float(high)


SIDES = {
    "appdriven, blocks of time": (by_sums, "time"),
    "appdriven, blocks of space and time": (by_sums, "space-time"),
    "scores, fields": (by_scores, "fields"),
    "scores, daily means made first": (by_scores, "means"),
}


def resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_side(name: str, draws: int) -> None:
    function, over = SIDES[name]
    forecast, truth = make_fields()
    function(forecast.isel(time=slice(100)), truth.isel(time=slice(100)), BATCH, over)  # imports
    before, start = resident_mb(), time.process_time()
    ends = function(forecast, truth, draws, over)
    print(
        json.dumps(
            {"seconds": time.process_time() - start, "mb": max(resident_mb() - before, 0.1), "ends": ends}
        )
    )


def measure(name: str, draws: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", name, "--draws", str(draws)]
    return json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument(
        "--measured",
        type=int,
        default=100,
        help="draws that `scores` on fields is timed on; fewer than --draws are scaled",
    )
    parser.add_argument("--side", choices=list(SIDES))
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.draws)
        return
    if not BATCH <= options.measured <= options.draws or options.measured % BATCH:
        parser.error(f"--measured must be a multiple of {BATCH} up to --draws, got {options.measured}")
    found, sides = {}, []
    for name in SIDES:
        share = options.draws / options.measured if name == "scores, fields" else 1.0
        found[name] = measure(name, int(options.draws / share))
        found[name]["seconds"] *= share
        sides += [
            benchmark.side(f"{name}: CPU time", found[name]["seconds"], "s"),
            benchmark.side(f"{name}: memory beyond the fields", found[name]["mb"], "MiB"),
        ]
    named = {side["name"]: side for side in sides}
    ours, theirs = "appdriven, blocks of time", "scores, fields"
    ratios = [
        benchmark.ratio("time saved", named[f"{theirs}: CPU time"], named[f"{ours}: CPU time"], asked=20),
        benchmark.ratio(
            "memory saved",
            named[f"{theirs}: memory beyond the fields"],
            named[f"{ours}: memory beyond the fields"],
            asked=10,
        ),
        benchmark.ratio(
            "time saved over daily means",
            named["scores, daily means made first: CPU time"],
            named[f"{ours}: CPU time"],
        ),
    ]
    ends = "; ".join(f"{name} [{one['ends'][0]:.4f}, {one['ends'][1]:.4f}]" for name, one in found.items())
    all_draws = options.measured == options.draws
    timed = "all of them" if all_draws else f"{options.measured} of them, scaled to {options.draws}"
    note = (
        f"{options.draws} draws of {DAYS} days of {LON} x {LAT} cells, blocks of {BLOCK} days; `scores` on "
        f"fields was timed on {timed}, {BATCH} at a time. 95 % intervals of the RMSE: {ends}"
    )
    benchmark.emit({"benchmark": "bootstrap", "sides": sides, "ratios": ratios, "note": note})


if __name__ == "__main__":
    main()
