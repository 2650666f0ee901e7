"""Regrid quarter-degree fields to 64 x 32: separable matrices against xarray-regrid."""

from collections.abc import Callable

import numpy as np
import xarray as xr
import xarray_regrid  # noqa: F401 - registers the accessor

from isopleth.benchmark import emit, measure_rate, ratio, side
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
    sides, ratios, errors = [], [], []
    for method, call in theirs.items():
        ours = side(f"isopleth {method}", rate(lambda m=method: regrid(field, target, method=m)), "fields/s")
        other = side(f"xarray-regrid {method}", rate(call), "fields/s")
        sides += [ours, other]
        ratios.append(ratio(f"{method} regridding, isopleth / xarray-regrid", ours, other))
    for name, result in (("isopleth", regrid(field, target)), ("xarray-regrid", theirs["conservative"]())):
        errors.append(f"{name} {error_of_mean(data, source, result.values, target):.0e}")
    emit(
        {
            "benchmark": "regrid",
            "sides": sides,
            "ratios": ratios,
            "note": f"721 x 1440 to 32 x 64 in float32; relative error of the area mean, conservative: "
            f"{', '.join(errors)}; reading the field once limits it",
        }
    )


def rate(run: Callable[[], xr.DataArray]) -> float:
    """Measure fields a second."""

    def step() -> int:
        run().values  # noqa: B018 - what is lazy is computed here
        return STEPS

    return measure_rate(step, seconds=3)


def error_of_mean(data: np.ndarray, source: Grid, result: np.ndarray, target: Grid) -> float:
    """Compare the area means before and after."""
    before = np.average(data.mean(axis=(0, 2), dtype="f8"), weights=source.weights)
    return abs(np.average(result.mean(axis=(0, 2), dtype="f8"), weights=target.weights) / before - 1)


if __name__ == "__main__":
    main()
