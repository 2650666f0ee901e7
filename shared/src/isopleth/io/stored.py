"""Variables exactly as a file holds them, for writing products in their providers' own layouts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A variable exactly as a file holds it; ``fill`` is declared as ``_FillValue``."""

    dims: tuple[str, ...]
    values: Any
    attrs: Mapping[str, Any] = field(default_factory=dict)
    fill: float | np.number | None = None


def write_stored(
    path: str | os.PathLike[str],
    variables: Mapping[str, Stored],
    *,
    attrs: Mapping[str, Any] | None = None,
    unlimited: str | None = None,
) -> Path:
    """Write variables as given into a NetCDF 4 file: nothing is scaled, masked or renamed on the way.

    Parameters
    ----------
    path : path
        Its folder is made where there is none.
    variables : mapping of str to Stored
    attrs : mapping, optional
        Of the file.
    unlimited : str, optional
        The dimension that can grow.

    Returns
    -------
    Path
        The file.
    """
    import h5netcdf  # type: ignore[import-untyped]
    import h5py  # type: ignore[import-untyped]

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = {d: n for v in variables.values() for d, n in zip(v.dims, np.shape(v.values), strict=True)}
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {dim: None if dim == unlimited else size for dim, size in sizes.items()}
        if unlimited is not None:
            file.resize_dimension(unlimited, sizes[unlimited])
        for name, variable in variables.items():
            values = np.asarray(variable.values)
            kind = h5py.string_dtype() if values.dtype.kind in "UO" else values.dtype
            chunks = _chunks(values) if unlimited in variable.dims else None
            created = file.create_variable(name, variable.dims, kind, fillvalue=variable.fill, chunks=chunks)
            created[...] = values
            created.attrs.update(variable.attrs)
        file.attrs.update(dict(attrs or {}))
    return path


def _chunks(values: np.ndarray) -> tuple[int, ...]:
    """Return whole fields, as many as make some megabytes along the dimension before them."""
    last = values.shape[-2:] if values.ndim > 2 else ()
    first = values.shape[: values.ndim - len(last)]
    size = max(1, int(np.prod(last)) * values.dtype.itemsize)
    return (*(1 for _ in first[:-1]), max(1, min(first[-1], _CHUNK_BYTES // size)), *last)


def pack(
    values: np.ndarray, scale: float, offset: float, dtype: str, fill: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the integers that a provider would store, and what they stand for; NaN becomes ``fill``."""
    missing = np.isnan(values)
    raw = np.round((np.where(missing, offset, values) - offset) / scale).astype(dtype)
    truth = np.where(missing, np.nan, raw.astype(np.float64) * scale + offset)
    return np.where(missing, np.dtype(dtype).type(fill), raw), truth
