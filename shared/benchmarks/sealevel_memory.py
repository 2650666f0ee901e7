"""Peak memory of preparing a large ensemble that is never held: 20 GB and more of monthly POP maps.

Members are generated a chunk at a time inside the graph, as files would be read, so that the disk need not
hold them: ``python shared/benchmarks/sealevel_memory.py --members 34 --years 100``. It prints the logical
size of what went through, the peak resident memory of this process, the time, and whether the result is the
one known in advance.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import dask
import dask.array
import numpy as np
import xarray as xr

from isopleth.samples.ocean_grids import displaced_pole_grid
from isopleth.sealevel import EnsembleSource, PreparationSettings, prepare_sea_level, write_prepared

# POP's one degree: 384 rows of 320 columns.
_ROWS, _COLUMNS = 384, 320
_RISE = 0.003  # m/year, of every cell
_MONTHS_A_CHUNK = 120


def main() -> None:
    options = _read_options()
    ensemble, altimetry = make_ensemble(options.members, options.years), make_altimetry()
    settings = PreparationSettings(first_year=1993, last_year=1992 + options.years, global_mean="keep")
    before = _peak_mb()
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set(scheduler="threads", num_workers=options.threads),
    ):
        source = EnsembleSource(name="generated", source=ensemble, product="pop_ssh")
        prepared = prepare_sea_level([source], altimetry, settings)
        path = write_prepared(prepared, Path(folder) / "prepared.zarr", resume=True)
        seconds = time.perf_counter() - start
        error = largest_error(path, options.members)
    print(
        json.dumps(
            {
                "logical_gb": round(ensemble["sea_surface_height"].nbytes / 1e9, 2),
                "peak_mb": round(_peak_mb()),
                "peak_before_mb": round(before),
                "seconds": round(seconds, 1),
                "threads": options.threads,
                "largest_error_mm": round(1000.0 * error, 4),
            }
        )
    )


def make_ensemble(members: int, years: int) -> xr.Dataset:
    """Make members of monthly maps in dask chunks, each filled only when it is asked for."""
    grid = displaced_pole_grid(1.0, pole=(80.0, 320.0), first_lon=320.0)
    rows = np.linspace(0, len(grid.lat) - 1, _ROWS).astype(int)
    columns = np.linspace(0, grid.lat.shape[1] - 1, _COLUMNS).astype(int)
    lat, lon = (axis[np.ix_(rows, columns)] for axis in (grid.lat, grid.lon % 360.0))
    months = 12 * years
    chunks = ((1,) * members, _split(months), (_ROWS,), (_COLUMNS,))
    data = dask.array.map_blocks(_fill, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    coords = {
        "time": _months(months),
        "lat": (("y", "x"), lat),
        "lon": (("y", "x"), lon),
        "member": np.arange(members),
    }
    attrs = {"units": "m", "standard_name": "sea_surface_height_above_geoid"}
    height = xr.DataArray(data, coords, ("member", "time", "y", "x"), attrs=attrs)
    return height.to_dataset(name="sea_surface_height")


def make_altimetry() -> xr.Dataset:
    """Make ten years of an altimeter that has all cells."""
    lat, lon = np.arange(-89.0, 90.0, 2.0), np.arange(1.0, 360.0, 2.0)
    values = np.zeros((120, lat.size, lon.size), np.float32)
    coords = {"time": _months(120), "lat": lat, "lon": lon}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), "sla", {"units": "m"}).to_dataset()


def largest_error(path: Path, members: int) -> float:
    """Compare what was written with what the mean of years over members must be."""
    written = xr.open_zarr(path, chunks=None)["sea_surface_height"].isel(model=0)
    days = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31.0])
    expected = []
    for year in range(written.sizes["time"]):
        leap = (1993 + year) % 4 == 0 and ((1993 + year) % 100 != 0 or (1993 + year) % 400 == 0)
        weights = days + (np.arange(12) == 1) * leap
        expected.append(
            _RISE * np.average(year + np.arange(12) / 12.0, weights=weights) + 1e-3 * (members - 1) / 2
        )
    return float(np.nanmax(np.abs(written.values - np.array(expected)[:, None, None])))


def _fill(block_info: dict | None = None) -> np.ndarray:
    """Return a chunk: every cell rises alike, each member 1 mm higher than the one before."""
    place = block_info[None]["array-location"]
    (member, _), (start, stop) = place[0], place[1]
    rise = _RISE * np.arange(start, stop) / 12.0 + 1e-3 * member
    return np.broadcast_to(
        rise.astype(np.float32)[None, :, None, None], (1, stop - start, _ROWS, _COLUMNS)
    ).copy()


def _split(months: int) -> tuple[int, ...]:
    whole, rest = divmod(months, _MONTHS_A_CHUNK)
    return (_MONTHS_A_CHUNK,) * whole + ((rest,) if rest else ())


def _months(count: int) -> np.ndarray:
    starts = np.datetime64("1993-01", "M") + np.arange(count)
    return starts.astype("datetime64[ns]") + np.timedelta64(14, "D")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=34)
    parser.add_argument("--years", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
