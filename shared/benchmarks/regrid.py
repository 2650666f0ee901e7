"""Regrid quarter-degree fields to 64 x 32: the separable matrices against xarray-regrid."""

import time

import numpy as np
import xarray as xr
import xarray_regrid  # noqa: F401 - registers the accessor

from isopleth.grid import Grid
from isopleth.io import regrid

STEPS = 8


def main() -> None:
    source, target = Grid.regular(721, 1440, poles=True), Grid.regular(32, 64)
    data = np.random.default_rng(0).normal(280, 20, (STEPS, *source.shape)).astype("f4")
    field = xr.DataArray(data, dims=("time", "lat", "lon"), coords={"lat": source.lat, "lon": source.lon})
    frame = xr.Dataset(coords={"lat": target.lat, "lon": target.lon})
    theirs = {
        "conservative": lambda: field.regrid.conservative(frame, latitude_coord="lat"),
        "bilinear": lambda: field.regrid.linear(frame),
        "nearest": lambda: field.regrid.nearest(frame),
    }
    mean = np.average(data.mean(axis=(0, 2), dtype="f8"), weights=source.weights)
    print("fields per second of 721 x 1440 to 32 x 64; relative error of the area mean")
    for method, call in theirs.items():
        report(method, "isopleth", lambda m=method: regrid(field, target, method=m), target, mean)
        report(method, "xarray-regrid", call, target, mean)


def report(method, name, run, target, mean):
    start = time.perf_counter()
    result = run()
    rate = STEPS / (time.perf_counter() - start)
    zonal = result.values.mean(axis=(0, 2), dtype="f8")
    error = abs(np.average(zonal, weights=target.weights) / mean - 1)
    print(f"  {method:13s} {name:14s} {rate:8.1f}  {error:.1e}")


if __name__ == "__main__":
    main()
