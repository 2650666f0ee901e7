from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pytest
import torch
import xarray as xr

from isopleth.data import PackedStore, pack


def _make_fields(
    n_time: int = 24,
    *,
    times: Any = None,
    seed: int = 0,
    dtype: str = "float32",
    n_lat: int = 6,
    n_lon: int = 8,
) -> xr.Dataset:
    """A canonical dataset of four channels; 6-hourly from 2000-01-01 unless told otherwise."""
    rng = np.random.default_rng(seed)
    if times is None:
        times = np.datetime64("2000-01-01", "ns") + np.arange(n_time) * np.timedelta64(6, "h")
    n_time = len(times)
    height = 5e4 + 3e3 * rng.standard_normal((n_time, 3, n_lat, n_lon))
    warmth = 280 + 20 * rng.standard_normal((n_time, n_lat, n_lon))
    dims = ("time", "level", "lat", "lon")
    return xr.Dataset(
        {
            "geopotential": (dims, height.astype(dtype), {"units": "m2 s-2"}),
            "2m_temperature": (("time", "lat", "lon"), warmth.astype(dtype), {"units": "K"}),
        },
        {
            "time": times,
            "level": [300.0, 500.0, 850.0],
            "lat": np.linspace(-75, 75, n_lat),
            "lon": np.arange(n_lon) * 360 / n_lon,
        },
    )


def _noleap_times(n_time: int) -> np.ndarray:
    start = cftime.DatetimeNoLeap(2000, 2, 25)
    return xr.date_range(str(start), periods=n_time, freq="D", calendar="noleap", use_cftime=True).values


def _tree(folder: Path) -> dict[str, str]:
    """Every file of a folder with a hash of its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(name="make_fields")
def _make_fields_fixture() -> Callable[..., xr.Dataset]:
    return _make_fields


@pytest.fixture(name="noleap_times")
def _noleap_times_fixture() -> Callable[[int], np.ndarray]:
    return _noleap_times


@pytest.fixture(name="tree")
def _tree_fixture() -> Callable[[Path], dict[str, str]]:
    return _tree


@pytest.fixture
def fields() -> xr.Dataset:
    return _make_fields()


@pytest.fixture
def store(fields: xr.Dataset, tmp_path: Path) -> PackedStore:
    return pack(fields, tmp_path / "fields.zarr", train_period=("2000-01-01", "2000-01-04"))


@pytest.fixture
def repack(tmp_path: Path) -> Callable[..., PackedStore]:
    """Pack a dataset under a name of its own."""
    count = iter(range(100))

    def make(ds: xr.Dataset, **options: Any) -> PackedStore:
        options = {"train_period": (None, None), **options}
        if "normaliser" in options:
            del options["train_period"]
        return pack(ds, tmp_path / f"store{next(count)}.zarr", **options)

    return make


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
