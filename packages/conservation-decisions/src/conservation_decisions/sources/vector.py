"""Landscapes from polygons: a column for the cost, a column a feature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import shapely  # type: ignore[import-untyped]

from conservation_decisions.geometry import find_edges, measure_areas, pack_shapes
from conservation_decisions.landscape import Landscape
from isopleth.errors import DataError

_FLAGS = ("protected", "locked_in", "locked_out")
_RESERVED = ("cost", "id", "unit", "group", "threat", *_FLAGS)


def read_vector(path: Path) -> Landscape:
    """Read a vector file; see `from_frame` for its columns."""
    try:
        frame = gpd.read_file(path)
    except Exception as error:  # GDAL raises kinds of its own
        raise DataError("a vector file must be one that GDAL can read", where=path) from error
    return from_frame(frame, where=path)


def from_frame(
    frame: gpd.GeoDataFrame,
    *,
    cost: str = "cost",
    features: Sequence[str] | None = None,
    where: object = None,
) -> Landscape:
    """Build a landscape from polygons.

    Parameters
    ----------
    frame : GeoDataFrame
        With a coordinate reference system. ``protected``, ``locked_in``, ``locked_out``, ``group`` and
        ``threat`` are read where they are there.
    cost : str
        Column of the cost; without it each unit costs its area in km2.
    features : sequence of str, optional
        Columns of the features: by default every other one that holds numbers.

    Raises
    ------
    DataError
        If shapes are missing, are no polygons or have a coordinate that is no number, or a column is not
        there.
    """
    if not isinstance(frame, gpd.GeoDataFrame) or frame.geometry.isna().any():
        raise DataError("every row must have a shape, got some without", where=where)
    kinds = set(frame.geom_type) - {"Polygon", "MultiPolygon"}
    if kinds:
        raise DataError(f"shapes must be polygons, got {', '.join(sorted(kinds))}", where=where)
    points, rows = shapely.get_coordinates(frame.geometry.values, return_index=True)
    lost = np.unique(rows[~np.isfinite(points).all(axis=1)])
    if lost.size:
        raise DataError(
            f"coordinates must be finite, got others in {lost.size} shapes, the first in row {lost[0] + 1}",
            where=where,
        )
    numbers = [str(name) for name in frame.select_dtypes("number").columns]
    names = list(features) if features is not None else [n for n in numbers if n not in (*_RESERVED, cost)]
    missing = [name for name in names if name not in frame]
    if missing or not names:
        raise DataError(f"features must be columns with numbers, got {missing or 'none'}", where=where)
    areas = measure_areas(frame.geometry)
    edges, exposed = find_edges(frame.geometry)
    packed, ends = pack_shapes(frame.geometry.to_numpy())
    centres = frame.geometry.representative_point()
    return Landscape.build(
        frame[cost].to_numpy(np.float64) if cost in frame else areas / 1e6,
        frame[names].to_numpy(np.float64).T,
        features=names,
        units=next((frame[name].to_numpy() for name in ("unit", "id") if name in frame), None),
        edges=edges,
        exposed=exposed,
        area=areas,
        x=centres.x.to_numpy(),
        y=centres.y.to_numpy(),
        shape_bytes=packed,
        shape_end=ends,
        attrs={"crs": frame.crs.to_wkt()},
        **_read_optional(frame),
    )


def _read_optional(frame: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {name: frame[name].to_numpy(bool) for name in _FLAGS if name in frame}
    if "threat" in frame:
        found["threat"] = frame["threat"].to_numpy(np.float64)
    if "group" in frame:
        codes, names = pd.factorize(frame["group"])
        found |= {"group": codes, "group_names": [str(name) for name in names]}
    return found
