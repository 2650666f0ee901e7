"""Land and sea at known places, in every convention, and the cache behind them."""

import importlib.metadata
import os
import subprocess
import sys

import numpy as np
import pytest

from isopleth.errors import ConfigError, DataError
from isopleth.fields import coastlines, distance_to_land_km, land, land_fraction, land_mask
from isopleth.grid import Grid, great_circle_km

LAND = {"Paris": (48.86, 2.35), "Denver": (39.7, -105), "Hawaii": (19.6, -155.5), "Bermuda": (32.3, -64.78),
        "south pole": (-90, 0), "Lake Victoria": (-1, 33), "Caspian Sea": (42, 51)}  # fmt: skip
SEA = {"Gulf of Guinea": (0, 0), "dateline": (0, 180), "Mediterranean": (35, 18), "Black Sea": (43, 34),
       "north pole": (90, 0), "Ross ice shelf": (-81, -175), "Point Nemo": (-48.8767, -123.3933)}  # fmt: skip


def test_known_places():
    assert {name: bool(land_mask(*place)) for name, place in LAND.items()} == dict.fromkeys(LAND, True)
    assert {name: bool(land_mask(*place)) for name, place in SEA.items()} == dict.fromkeys(SEA, False)


@pytest.mark.parametrize("turn", [-720, -360, 360])
def test_any_convention_of_longitude(turn):
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, 2000), rng.integers(-180, 180, 2000) + 0.3125
    np.testing.assert_array_equal(land_mask(lat, lon), land_mask(lat, lon + turn))


def test_coordinates_broadcast():
    assert land_mask(np.zeros((3, 1)), np.zeros(4)).shape == (3, 4)
    assert land_mask(np.zeros(0), np.zeros(0)).shape == (0,)
    assert distance_to_land_km(np.zeros((3, 1)), np.zeros(4)).shape == (3, 4)


def test_a_third_of_the_globe_is_land():
    """29.2 per cent of the Earth is land; with lakes, and without ice shelves, by this mask 28.9."""
    grid = Grid.regular(90, 180)
    share = float((land_fraction(grid).mean("lon") * grid.weights).mean())
    assert share == pytest.approx(0.289, abs=0.001)


@pytest.mark.parametrize(
    "grid",
    [
        Grid.regular(36, 72),
        Grid.regular(37, 72, poles=True),
        Grid(np.arange(88.75, -90, -2.5), np.arange(-180, 180, 2.5)),
        Grid([10.0, 13.0, 17.0], [345.0, 351.0, 356.5, 2.0]),
        Grid(np.arange(40, 42, 0.125), np.arange(-10, -8, 0.125)),
    ],
)
def test_land_fraction_is_the_mean_of_its_cells(grid):
    """Against a naive loop over the target cells: area-weighted means of fine cells by their overlap."""
    found = land_fraction(grid)
    counts = np.asarray(land._land_counts(), dtype=np.float64)
    edges_lat, edges_lon = 90 - 0.05 * np.arange(3601), -180 + 0.05 * np.arange(7201)
    rng = np.random.default_rng(0)
    for i, j in zip(rng.integers(0, grid.shape[0], 25), rng.integers(0, grid.shape[1], 25), strict=True):
        (south, north), (west, east) = np.sin(np.radians(grid.lat_bounds[i])), grid.lon_bounds[j]
        sines = np.sin(np.radians(edges_lat))
        tall = np.clip(np.minimum(sines[:-1], north) - np.maximum(sines[1:], south), 0, None)
        wide = sum(
            np.clip(np.minimum(edges_lon[1:] + t, east) - np.maximum(edges_lon[:-1] + t, west), 0, None)
            for t in (-360, 0, 360, 720)
        )
        expected = tall @ counts @ wide / (tall.sum() * wide.sum() * 36)
        assert float(found[i, j]) == pytest.approx(expected, abs=1e-5)


def test_distance_at_point_nemo():
    """The place farthest from land lies 2,688 km from Ducie and two other islets, too small for our cells."""
    distance = float(distance_to_land_km(-48.8767, -123.3933))
    assert 2680 < distance < 2720


def test_islands_count_and_land_is_zero():
    np.testing.assert_array_equal(distance_to_land_km(*np.array(list(LAND.values())).T), 0)
    # Off Hilo: 100 km to the island, not 3,700 to the mainland.
    assert 80 < distance_to_land_km(20.0, -154.0) < 120


def test_distance_is_to_the_nearest_land_cell():
    """Against a search through all coast cells, dateline and poles included; half a diagonal apart."""
    rng = np.random.default_rng(1)
    lat, lon = rng.uniform(-78, 88, 300), rng.uniform(-180, 180, 300)
    lat, lon = np.concatenate([lat, [-17.0, -16.5, 71.0]]), np.concatenate([lon, [180.0, -179.99, 179.99]])
    sea = ~land_mask(lat, lon)
    lat, lon = lat[sea], lon[sea]
    _, coast_lat, coast_lon = land._coast()
    found = distance_to_land_km(lat, lon)
    for i in range(len(lat)):
        centre = great_circle_km(lat[i], lon[i], coast_lat, coast_lon).min()
        assert centre - 4.0 <= found[i] <= centre + 1e-6


@pytest.mark.parametrize("resolution", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("west", [-180.0, 0.0, 20.0])
def test_coastlines_stay_on_the_map(resolution, west):
    lines = coastlines(resolution, west=west)
    assert len(lines) > 20
    for line in lines:
        assert line.shape[1] == 2
        assert np.abs(np.diff(line, axis=0)).max() <= resolution * 1.0001  # none runs across
        assert line[:, 0].min() >= west
        assert line[:, 0].max() <= west + 360
        assert np.abs(line[:, 1]).max() <= 90


def test_coastlines_part_land_from_sea():
    """A degree on either side of the lines lie land and sea about equally often."""
    lon, lat = np.concatenate(coastlines(0.25)).T
    inside = np.abs(lat) < 85
    lat, lon = lat[inside], lon[inside]
    shifted = [land_mask(lat + dy, lon + dx) for dy, dx in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))]
    assert 0.35 < np.mean(shifted) < 0.65
    assert distance_to_land_km(lat, lon).max() < 40


def test_an_island_on_the_map_edge_meets_itself():
    """Chukotka lies across the dateline: its ends on the left and the right edge agree."""
    lines = coastlines(0.5)
    ends = np.concatenate([line[[0, -1]] for line in lines if not np.array_equal(line[0], line[-1])])
    left = np.sort(ends[ends[:, 0] == -180, 1])
    right = np.sort(ends[ends[:, 0] == 180, 1])
    assert left.size >= 3
    np.testing.assert_allclose(left, right)


@pytest.mark.parametrize(
    ("lat", "lon", "message"),
    [([np.nan], [0], "finite"), ([0], [np.inf], "finite"), ([90.5], [0], r"\[-90, 90\]"),
     ([0, 1], [0, 1, 2], "broadcast"), (["north"], [0], "numbers")],
)  # fmt: skip
def test_points_that_are_none(lat, lon, message):
    for function in (land_mask, distance_to_land_km):
        with pytest.raises(DataError, match=message):
            function(lat, lon)


@pytest.mark.parametrize(
    ("resolution", "west", "message"),
    [(3.0, -180, "resolution_deg"), (1.0, 0.5, "west"), (1.0, np.nan, "west")],
)
def test_coastlines_that_are_none(resolution, west, message):
    with pytest.raises(ConfigError, match=message):
        coastlines(resolution, west=west)


@pytest.mark.slow
def test_the_cache_is_mended_and_shared(tmp_path):
    """A damaged cache is made anew; the next process maps it in, and neither unpacks the whole mask."""
    version = importlib.metadata.version("global-land-mask")
    cached = tmp_path / f"land-{version}-0.05deg.npy"
    cached.write_bytes(b"half a download")
    script = (
        "import resource, sys; from isopleth.fields import land_mask, land; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "print(bool(land_mask(48.86, 2.35)), type(land._land_counts()).__name__); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000)"
    )
    environment = os.environ | {"ISOPLETH_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", script]
    said = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said == ["True ndarray\nTrue\n", "True memmap\nTrue\n"]
    assert [path.name for path in tmp_path.iterdir()] == [cached.name]


@pytest.mark.slow
def test_agreement_with_the_one_kilometre_mask():
    """Imports the package itself, which takes a gigabyte."""
    from global_land_mask import globe

    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 200_000))), rng.uniform(-180, 180, 200_000)
    assert np.mean(land_mask(lat, lon) == globe.is_land(lat, lon)) > 0.998
