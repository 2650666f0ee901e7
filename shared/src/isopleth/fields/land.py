"""Land and sea from the 1 km GLOBE mask: masks, land fractions, distances to land, coast lines.

The package `global-land-mask` ships the mask (21600 x 43200, 1 GB once it is unpacked). It is read once, row
by row, into counts of land on 0.05-degree cells (26 MB), which are kept in the cache folder and mapped into
memory from then on. Lakes and the Caspian Sea are land there, the Antarctic ice shelves are sea.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr
from scipy import sparse, spatial

from isopleth.cache import cache_dir
from isopleth.errors import ConfigError, DataError, MissingDependencyError
from isopleth.fields._points import as_points, unit_vectors
from isopleth.grid import Grid, great_circle_km, wrap_longitude
from isopleth.io.atomic import atomic_path

RESOLUTION_DEG = 0.05
_SHAPE = (3600, 7200)  # rows from 90 north, columns from 180 west
_SUB = 6  # rows and columns of the source in a cell
_FULL = _SUB * _SUB
# Nearest cells by centre among which the nearest by edge is looked for.
_CANDIDATES = 4


def land_mask(lat: Any, lon: Any) -> np.ndarray:
    """Tell land from sea at points, to 0.05 degrees (5 km): whether the cell is at least half land.

    Parameters
    ----------
    lat, lon : array_like
        Degrees north and east, broadcast against each other; any convention of longitude.

    Returns
    -------
    ndarray of bool
        Of the broadcast shape. It agrees with the 1 km mask at 99.8 % of points spread evenly over the globe.

    Raises
    ------
    DataError
        If a coordinate is not finite, or a latitude is beyond a pole.
    """
    lat, lon = as_points(lat, lon)
    row = np.clip((90.0 - lat) / RESOLUTION_DEG, 0, _SHAPE[0] - 1).astype(np.intp)
    column = (wrap_longitude(lon + 180.0) / RESOLUTION_DEG).astype(np.intp) % _SHAPE[1]
    return np.asarray(_land_counts()[row, column] >= _FULL / 2)


def land_fraction(grid: Grid) -> xr.DataArray:
    """Return the share of each cell's area that is land, from cells of 0.05 degrees.

    Parameters
    ----------
    grid : Grid
        Cells may be of any size, regional or global, in any order.

    Returns
    -------
    DataArray of float64, dims (lat, lon), in [0, 1]
        On the grid's own coordinates. CF name ``land_area_fraction``.
    """
    edges = np.sin(np.radians(np.linspace(90.0, -90.0, _SHAPE[0] + 1)))
    # In float32, or the product would hold a float64 copy of all the counts.
    rows = _overlap(np.sin(np.radians(-grid.lat_bounds[:, ::-1])), -edges).astype(np.float32)
    columns = _overlap_on_circle(grid.lon_bounds)
    share = (columns @ (rows @ _land_counts()).T).T / _FULL
    return xr.DataArray(
        np.clip(share, 0.0, 1.0),
        dims=("lat", "lon"),
        coords={"lat": grid.lat, "lon": grid.lon},
        name="land_area_fraction",
        attrs={"standard_name": "land_area_fraction", "units": "1", "source": "GLOBE, by global-land-mask"},
    )


def distance_to_land_km(lat: Any, lon: Any) -> np.ndarray:
    """Measure the great-circle distance from points to the nearest land, in km; 0 on land.

    The distance is to the edge of the nearest 0.05-degree cell that is at least half land: right to about
    one cell (5 km), but too long near islands of less than some 15 square km, which are no land here. Any
    island that is land counts: 0 on Oahu, not the way to California.

    Parameters
    ----------
    lat, lon : array_like
        As for `land_mask`.

    Returns
    -------
    ndarray of float64
    """
    lat, lon = as_points(lat, lon)
    distance = np.zeros(lat.shape)
    sea = ~land_mask(lat, lon)
    if sea.any():
        distance[sea] = _distance_to_coast_km(lat[sea], lon[sea])
    return distance


def coastlines(resolution_deg: float = 1.0, *, west: float = -180.0) -> list[np.ndarray]:
    """Trace the lines along which half of the surface is land, for maps.

    Parameters
    ----------
    resolution_deg : float
        Size of the cells that are contoured: 0.25, 0.5, 1.0 or 2.0.
    west : float
        Left edge of the map, in whole degrees (even ones at 2.0). Lines end there and start again 360 degrees
        further: none runs across the map.

    Returns
    -------
    list of ndarray, each (points, 2)
        Longitude in [west, west + 360] and latitude, degrees; the longest line first. Not to be changed.

    Raises
    ------
    ConfigError
        If there is no such resolution, or `west` is not on an edge of its cells.
    """
    if resolution_deg not in (0.25, 0.5, 1.0, 2.0):
        raise ConfigError(f"resolution_deg must be 0.25, 0.5, 1.0 or 2.0, got {resolution_deg}")
    if not np.isfinite(west) or west % resolution_deg:
        raise ConfigError(f"west must be a multiple of {resolution_deg} degrees, got {west}")
    return list(_trace(float(resolution_deg), float(west)))


@lru_cache(maxsize=8)
def _trace(resolution: float, west: float) -> tuple[np.ndarray, ...]:
    import contourpy

    step = round(resolution / RESOLUTION_DEG)
    blocks = _land_counts().reshape(_SHAPE[0] // step, step, _SHAPE[1] // step, step)
    share = blocks.sum(axis=(1, 3), dtype=np.float64)[::-1] / (step * step * _FULL)
    share = np.roll(share, -round((west + 180.0) / resolution), axis=1)
    # The map's edges, on which both of its ends agree, and the poles.
    seam = (share[:, :1] + share[:, -1:]) / 2
    share = np.concatenate([seam, share, seam], axis=1)
    share = np.concatenate([share[:1], share, share[-1:]])
    lines: Any = contourpy.contour_generator(
        _with_ends(west, 360.0, resolution), _with_ends(-90.0, 180.0, resolution), share
    ).lines(0.5)
    for line in lines:
        # Interpolation on the edge may leave it by a rounding.
        np.clip(line[:, 0], west, west + 360.0, out=line[:, 0])
        line.flags.writeable = False
    return tuple(sorted(lines, key=len, reverse=True))


def _with_ends(start: float, length: float, step: float) -> np.ndarray:
    return np.concatenate([[start], start + np.arange(step / 2, length, step), [start + length]])


def _distance_to_coast_km(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    tree, coast_lat, coast_lon = _coast()
    _, nearest = tree.query(unit_vectors(lat, lon), k=_CANDIDATES)
    half = RESOLUTION_DEG / 2
    north, east = lat[:, None] - coast_lat[nearest], lon[:, None] - coast_lon[nearest]
    east = wrap_longitude(east, start=-180.0)
    edge_lat = coast_lat[nearest] + np.clip(north, -half, half)
    edge_lon = coast_lon[nearest] + np.clip(east, -half, half)
    return great_circle_km(lat[:, None], lon[:, None], edge_lat, edge_lon).min(axis=1)


@lru_cache(maxsize=1)
def _coast() -> tuple[spatial.cKDTree, np.ndarray, np.ndarray]:
    """Land cells that touch the sea by an edge: a tree of their centres as unit vectors, and the centres."""
    sea = np.asarray(_land_counts()) < _FULL / 2
    beside = np.roll(sea, 1, axis=1) | np.roll(sea, -1, axis=1)
    beside[1:] |= sea[:-1]
    beside[:-1] |= sea[1:]
    row, column = np.nonzero(~sea & beside)
    lat, lon = 90.0 - RESOLUTION_DEG * (row + 0.5), RESOLUTION_DEG * (column + 0.5) - 180.0
    return spatial.cKDTree(unit_vectors(lat, lon)), lat, lon


def _overlap(bounds: np.ndarray, edges: np.ndarray) -> sparse.csr_array:
    """Return the share of each target cell, given by bounds, in each source cell, given by edges."""
    low, high = bounds[:, :1], bounds[:, 1:]
    first = np.clip(np.searchsorted(edges, low[:, 0], side="right") - 1, 0, len(edges) - 2)
    last = np.clip(np.searchsorted(edges, high[:, 0], side="left"), first + 1, len(edges) - 1)
    counts = last - first
    target = np.repeat(np.arange(len(bounds)), counts)
    source = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + np.repeat(first, counts)
    width = np.minimum(edges[source + 1], high[target, 0]) - np.maximum(edges[source], low[target, 0])
    share = np.maximum(width, 0) / (high - low)[target, 0]
    return sparse.csr_array((share, (target, source)), shape=(len(bounds), len(edges) - 1))


def _overlap_on_circle(bounds: np.ndarray) -> sparse.csr_array:
    """Do as `_overlap` for longitudes: the source columns, from 180 west, are met again every 360 degrees."""
    turns = 3
    west = wrap_longitude(bounds[:, 0], start=-180.0)
    unrolled = np.stack([west, west + (bounds[:, 1] - bounds[:, 0])], axis=1)
    edges = np.linspace(-180.0, -180.0 + 360.0 * turns, turns * _SHAPE[1] + 1)
    flat = _overlap(unrolled, edges).tocoo()
    row, column = flat.coords
    return sparse.coo_array((flat.data, (row, column % _SHAPE[1])), shape=(len(bounds), _SHAPE[1])).tocsr()


@lru_cache(maxsize=1)
def _land_counts() -> np.ndarray:
    """Land pixels (of 36) in each 0.05-degree cell; from the cache, which is made on first use (5 s)."""
    version = importlib.metadata.version("global-land-mask")
    path = cache_dir() / f"land-{version}-{RESOLUTION_DEG}deg.npy"
    with contextlib.suppress(OSError, ValueError):
        cached = np.load(path, mmap_mode="r", allow_pickle=False)
        if cached.shape == _SHAPE and cached.dtype == np.uint8:
            return cached
    counts = _count_land(_mask_file())
    # A cache that cannot be written costs the next process five seconds, and this one nothing.
    with contextlib.suppress(OSError), atomic_path(path) as partial:
        np.save(partial, counts)
    return counts


def _mask_file() -> Path:
    """Find the mask without importing its package, whose import unpacks 1 GB."""
    spec = importlib.util.find_spec("global_land_mask")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "the package 'global_land_mask' is needed to tell land from sea", hint="pip install isopleth"
        )
    return Path(spec.origin).parent / "globe_combined_mask_compressed.npz"


def _count_land(path: Path) -> np.ndarray:
    """Stream the mask (true over sea) out of its archive and count the land in each cell."""
    counts = np.empty(_SHAPE, dtype=np.uint8)
    with zipfile.ZipFile(path) as archive, archive.open("mask.npy") as stream:
        _check_header(stream, path)
        for row in range(_SHAPE[0]):
            strip = np.frombuffer(stream.read(_FULL * _SHAPE[1]), dtype=np.uint8)
            sea = strip.reshape(_SUB, _SHAPE[1], _SUB).sum(axis=(0, 2), dtype=np.uint8)
            counts[row] = _FULL - sea
    return counts


def _check_header(stream: IO[bytes], path: Path) -> None:
    expected = ((_SHAPE[0] * _SUB, _SHAPE[1] * _SUB), False, np.dtype(bool))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise DataError("the land mask must be a version 1 npy array", where=path)
    found = np.lib.format.read_array_header_1_0(stream)
    if found != expected:
        raise DataError(f"the land mask must be {expected}, got {found}", where=path)
