"""Areas and lengths on the ground: planar where the map is projected, geodesic where it is in degrees."""

from __future__ import annotations

from typing import Any

import geopandas as gpd  # type: ignore[import-untyped]
import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from conservation_decisions.landscape import Floats, Integers, Landscape
from isopleth.errors import DataError
from isopleth.grid import EARTH_RADIUS_KM

# Slivers between polygons that nearly touch leave a boundary of this share of the shorter perimeter or less.
_SLIVER = 1e-9


def measure_areas(shapes: gpd.GeoSeries) -> Floats:
    """Measure areas, m2: on the ellipsoid where the coordinates are degrees.

    Raises
    ------
    DataError
        If the shapes have no coordinate reference system.
    """
    if _known(shapes).is_geographic:
        geod = shapes.crs.get_geod()
        return np.array([abs(geod.geometry_area_perimeter(shape)[0]) for shape in shapes])
    return shapes.area.to_numpy() * _metres(shapes.crs) ** 2


def measure_lengths(lines: gpd.GeoSeries) -> Floats:
    """Measure lengths of lines, or perimeters of polygons, m."""
    if _known(lines).is_geographic:
        geod = lines.crs.get_geod()
        return np.array([_geodesic(geod, line) for line in lines], dtype=np.float64)
    return lines.length.to_numpy() * _metres(lines.crs)


def find_edges(shapes: gpd.GeoSeries) -> tuple[tuple[Integers, Integers, Floats], Floats]:
    """Find which polygons share a boundary, how much of it, and what of each has no neighbour.

    Parameters
    ----------
    shapes : GeoSeries
        Polygons, with a coordinate reference system.

    Returns
    -------
    (first, second, length), exposed
        Pairs by position with the metres that they share; the rest of each perimeter, m, never below 0.
    """
    boundaries = shapes.boundary
    tree = shapely.STRtree(shapes.values)
    first, second = tree.query(shapes.values, predicate="intersects")
    once = first < second
    first, second = first[once], second[once]
    shared = gpd.GeoSeries(
        shapely.intersection(boundaries.values[first], boundaries.values[second]), crs=shapes.crs
    )
    perimeter = measure_lengths(boundaries)
    length = measure_lengths(shared)
    real = length > _SLIVER * np.minimum(perimeter[first], perimeter[second])
    first, second, length = first[real], second[real], length[real]
    inside = np.bincount(first, length, len(shapes)) + np.bincount(second, length, len(shapes))
    # Rounding leaves about -1e-11 m where a polygon is wholly surrounded.
    return (first, second, length), np.clip(perimeter - inside, 0.0, None)


def grid_edges(
    rows: Integers, cols: Integers, heights: Floats, widths: tuple[Floats, Floats]
) -> tuple[tuple[Integers, Integers, Floats], Floats]:
    """Find touching cells of a raster.

    Parameters
    ----------
    rows, cols : array, shape (unit,)
        Places of the units; rows run down the raster.
    heights : array, shape (row,)
        Length of the left and right side of a cell, m.
    widths : (array, array), each of shape (row,)
        Length of its upper and lower side, m.

    Returns
    -------
    (first, second, length), exposed
    """
    place = np.full((rows.max() + 2, cols.max() + 2), -1)
    place[rows, cols] = np.arange(rows.size)
    upper, lower = widths
    beside, below = place[rows, cols + 1], place[rows + 1, cols]
    own = np.arange(rows.size)
    right, down = beside >= 0, below >= 0
    first = np.concatenate([own[right], own[down]])
    second = np.concatenate([beside[right], below[down]])
    length = np.concatenate([heights[rows[right]], lower[rows[down]]])
    perimeter = 2 * heights[rows] + upper[rows] + lower[rows]
    inside = np.bincount(first, length, rows.size) + np.bincount(second, length, rows.size)
    return (first, second, length), np.clip(perimeter - inside, 0.0, None)


def _geodesic(geod: Any, line: Any) -> float:
    """Measure the lines of a shape; points where two polygons only meet have no length."""
    parts = [
        part for part in getattr(line, "geoms", [line]) if part.geom_type in ("LineString", "LinearRing")
    ]
    return float(sum(geod.geometry_length(part) for part in parts))


def _known(shapes: gpd.GeoSeries) -> Any:
    if shapes.crs is None:
        raise DataError("shapes must have a coordinate reference system, got none")
    return shapes.crs


def _metres(crs: Any) -> float:
    return float(crs.axis_info[0].unit_conversion_factor)


def is_geographic(landscape: Landscape) -> bool:
    """Say whether the centres of a landscape's units are degrees."""
    crs = landscape.dataset.attrs.get("crs")
    return bool(crs) and bool(gpd.GeoSeries([], crs=crs).crs.is_geographic)


def centres_in_metres(landscape: Landscape) -> Floats:
    """Give the centres (unit, 2) in metres, where they are degrees on a plane true at the middle latitude.

    Distances are right to about 1 % over a few hundred kilometres away from the poles.
    """
    centres = landscape.centres
    if not is_geographic(landscape):
        return centres * _unit(landscape)
    middle = np.radians(centres[:, 1].mean())
    return 1000 * EARTH_RADIUS_KM * np.radians(centres) * np.array([np.cos(middle), 1.0])


def measure_distances(landscape: Landscape, first: Integers, second: Integers) -> Floats:
    """Measure the distances between centres of pairs of units (pair,), m: geodesic where they are degrees.

    Parameters
    ----------
    landscape : Landscape
        With centres.
    first, second : array of int, shape (pair,)
        Positions.
    """
    start, end = landscape.centres[first], landscape.centres[second]
    if not is_geographic(landscape):
        return np.hypot(*(end - start).T) * _unit(landscape)
    geod = gpd.GeoSeries([], crs=landscape.dataset.attrs["crs"]).crs.get_geod()
    return np.asarray(geod.inv(*start.T, *end.T)[2], np.float64)


def _unit(landscape: Landscape) -> float:
    """Metres in a unit of a landscape's plane; without a reference system its centres are metres."""
    crs = landscape.dataset.attrs.get("crs")
    return _metres(gpd.GeoSeries([], crs=crs).crs) if crs else 1.0


def pack_shapes(shapes: NDArray[Any]) -> tuple[NDArray[np.uint8], Integers]:
    """Pack shapes as one run of WKB bytes and the end of each, so that xarray can hold them."""
    parts = [shapely.to_wkb(shape) for shape in shapes]
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([len(part) for part in parts])


def unpack_shapes(packed: NDArray[np.uint8], ends: Integers) -> list[Any]:
    """Read what `pack_shapes` wrote."""
    whole = packed.tobytes()
    starts = np.concatenate([[0], ends[:-1]])
    return [shapely.from_wkb(whole[start:end]) for start, end in zip(starts, ends, strict=True)]
