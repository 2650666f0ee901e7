"""Small made-up storms whose motion is known."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cyclone_fusion.tracks import read_tracks


def make_table(storms: int = 30, fixes: int = 16, seed: int = 0) -> pd.DataFrame:
    """Storms that drift steadily, each its own way; seasons 2000-2009, hemispheres and basins alternate."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(storms):
        north = number % 2 == 0
        start = pd.Timestamp(f"{2000 + number % 10}-{'08' if north else '02'}-{1 + number % 28:02d}")
        lat = rng.uniform(8, 18) * (1 if north else -1)
        lon = rng.uniform(100, 179)
        step = rng.uniform(-0.8, 0.8, 2) + np.array([0.2 if north else -0.2, 0.0])
        rows += [
            {
                "track_id": f"S{number:03d}",
                "season": 2000 + number % 10,
                "basin": "WP" if north else "SP",
                "time": start + pd.Timedelta(hours=6 * i),
                "lat": lat + i * step[0],
                "lon": lon + i * step[1],
                "wind": 30.0 + i,
            }
            for i in range(fixes)
        ]
    return pd.DataFrame(rows)


@pytest.fixture(name="make_table")
def make_table_fixture() -> Callable[..., pd.DataFrame]:
    return make_table


@pytest.fixture
def table() -> pd.DataFrame:
    return make_table()


@pytest.fixture
def track_file(tmp_path, table):
    path = tmp_path / "tracks.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture
def tracks(track_file) -> xr.Dataset:
    return read_tracks(track_file)


def make_fields(
    tracks: xr.Dataset, *, spacing: float = 5.0, levels=(500.0, 700.0), seed: int = 0
) -> xr.Dataset:
    """Random wind and geopotential at every six hours of the tracks, canonical names."""
    rng = np.random.default_rng(seed)
    lat = np.arange(-90 + spacing / 2, 90, spacing)
    lon = np.arange(0.0, 360.0, spacing)
    first, last = tracks["time"].values.min(), tracks["time"].values.max()
    time = np.arange(first, last + np.timedelta64(6, "h"), np.timedelta64(6, "h"))
    shape = (len(time), len(levels), len(lat), len(lon))
    units = {"u_component_of_wind": "m s-1", "v_component_of_wind": "m s-1", "geopotential": "m2 s-2"}
    return xr.Dataset(
        {
            name: (("time", "level", "lat", "lon"), rng.normal(size=shape).astype("f4"), {"units": unit})
            for name, unit in units.items()
        },
        coords={
            "time": time.astype("datetime64[ns]"),
            "level": ("level", list(levels), {"units": "hPa"}),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )


@pytest.fixture(name="make_fields")
def make_fields_fixture() -> Callable[..., xr.Dataset]:
    return make_fields


@pytest.fixture
def one_season(tmp_path) -> xr.Dataset:
    """Thirty storms of one August and September: fields around them are few."""
    table = make_table(storms=60)
    table = table[table["basin"] == "WP"]
    table["season"] = 2000 + (table["track_id"].str[1:].astype(int) // 2) % 10
    table["time"] = table["time"].map(lambda time: time.replace(year=2001))
    path = tmp_path / "one_season.csv"
    table.to_csv(path, index=False)
    return read_tracks(path)
