"""IBTrACS v04 in NetCDF: a rectangle of storms by times, with strings as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from cyclone_fusion.tracks.fixes import clean_fixes
from cyclone_fusion.tracks.winds import KNOT, TO_ONE_MINUTE, choose_wind
from isopleth.errors import DataError

_STORM, _TIME = "storm", "date_time"
_WINDS = ("wmo_wind", "wmo_agency", *(f"{name}_wind" for name in TO_ONE_MINUTE))


def is_ibtracs(path: Path) -> bool:
    """Tell whether a NetCDF file has IBTrACS' dimensions and names."""
    with _open(path) as file:
        return {_STORM, _TIME} <= set(file.dims) and {"sid", "lat", "lon"} <= set(file.variables)


def read_ibtracs_netcdf(path: Path) -> xr.Dataset:
    """Read ``IBTrACS.*.v04r*.nc``; only fixes that exist, provisional ones included, spurs left out.

    Times are those of ``iso_time``, because the numbers in ``time`` carry the rounding of days.
    """
    with _open(path) as file:
        time = "iso_time" if "iso_time" in file.variables else "time"
        names = [name for name in (time, "lat", "lon", "basin", *_WINDS) if name in file.variables]
        shape = (file.sizes[_STORM], file.sizes[_TIME])
        exists = np.arange(shape[1]) < _counts(file, shape)[:, None]
        table = pd.DataFrame({name: _flat(file[name], exists) for name in names})
        for name in ("sid", "season", "track_type"):
            if name in file.variables:
                values = _decoded(file[name].values)
                table[name] = np.broadcast_to(values[:, None], shape)[exists]
    wind = choose_wind(table) * KNOT
    table = table.rename(columns={"sid": "track_id", time: "time"})
    return clean_fixes(table.assign(wind=wind), where=path)


def _open(path: Path) -> xr.Dataset:
    try:
        return xr.open_dataset(path, decode_times=True)
    except (OSError, ValueError) as error:
        raise DataError(f"tracks must be a NetCDF file that can be read, got {error}", where=path) from error


def _counts(file: xr.Dataset, shape: tuple[int, int]) -> np.ndarray:
    """Return how many fixes each storm has."""
    if "numobs" in file.variables:
        return np.nan_to_num(file["numobs"].values).astype(np.int64)
    return np.full(shape[0], shape[1])


def _flat(variable: xr.DataArray, exists: np.ndarray) -> np.ndarray:
    return _decoded(variable.transpose(_STORM, _TIME).values[exists])


def _decoded(values: np.ndarray) -> np.ndarray:
    return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values
