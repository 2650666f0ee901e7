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
