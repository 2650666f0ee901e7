"""The rectilinear grid: two axes, and everything that follows from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isopleth.errors import DataError
from isopleth.grid.sphere import EARTH_RADIUS_KM, wrap_longitude

Floats = NDArray[np.float64]

# A step this much longer than those beside it is a hole in the axis, not part of a stretched one.
_HOLE = 1.9
# Latitudes this close to 90 degrees are the pole, stored in float32.
_AT_POLE = 1e-4


@dataclass(frozen=True, eq=False)
class Grid:
    """A latitude/longitude grid given by the centres of its rows and columns.

    The order given is kept: every array that a grid hands out follows it, decreasing axes included.

    Parameters
    ----------
    lat : array_like, shape (n_lat,)
        Strictly monotonic degrees north in [-90, 90], with any spacing.
    lon : array_like, shape (n_lon,)
        Degrees east in any convention, strictly monotonic but for at most one jump where the axis crosses the
        convention's seam (``[350, 355, 0, 5]``); no meridian twice.

    Raises
    ------
    DataError
        If an axis is empty, not 1-D, not finite, not monotonic, or out of range.

    Examples
    --------
    >>> grid = Grid([-45.0, 45.0], [0.0, 120.0, 240.0])
    >>> grid.weights.tolist(), grid.is_periodic, grid.has_poles
    ([1.0, 1.0], True, False)
    """

    lat: Floats
    lon: Floats

    def __post_init__(self) -> None:
        lat, lon = _read_axis(self.lat, "latitude"), _read_axis(self.lon, "longitude")
        _check_latitudes(lat)
        _check_longitudes(lon)
        lat = np.clip(lat, -90.0, 90.0)
        for name, axis in (("lat", lat), ("lon", lon)):
            axis.flags.writeable = False
            object.__setattr__(self, name, axis)

    @classmethod
    def of(cls, data: Any) -> Grid:
        """Return the grid of a dataset or array with 1-D coordinates ``lat`` and ``lon``."""
        missing = [name for name in ("lat", "lon") if name not in data.coords]
        if missing:
            raise DataError(
                f"coordinates must include lat and lon, got {sorted(map(str, data.coords))}",
                hint="read the file by isopleth.io.open_fields, which finds them under their other names",
            )
        return cls(data["lat"].values, data["lon"].values)

    @classmethod
    def regular(cls, n_lat: int, n_lon: int, *, poles: bool = False) -> Grid:
        """Return the global equiangular grid, ascending from the south and from longitude 0.

        Without poles the rows are centred in ``n_lat`` equal bands; with poles the outer rows lie on them.
        """
        if n_lat < 1 + poles or n_lon < 1:
            raise DataError(f"a regular grid must have rows and columns, got {n_lat} x {n_lon}")
        step = 180.0 / (n_lat - 1 if poles else n_lat)
        lat = -90.0 + step * (np.arange(n_lat) + (0.0 if poles else 0.5))
        return cls(lat.astype(np.float64), np.linspace(0.0, 360.0, n_lon, endpoint=False))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.lat.size, self.lon.size

    @cached_property
    def lat_bounds(self) -> Floats:
        """Southern and northern edge of each row, degrees, shape (n_lat, 2).

        Edges lie midway between rows. The outermost rows reach as far out as in, but never past a pole; a row
        that leaves no room for another before the pole reaches the pole itself, as the cap rows of Gaussian
        grids do, and rows on the pole are half as high. A single row is as high as its columns are wide.
        """
        ascending = np.sort(self.lat)
        if ascending.size == 1:
            step = self._column_width()
            edges = np.array([ascending[0] - step / 2, ascending[0] + step / 2])
        else:
            steps = np.diff(ascending)
            south = _outer_edge(-ascending[0], steps[0])
            north = _outer_edge(ascending[-1], steps[-1])
            edges = np.concatenate([[-south], ascending[:-1] + steps / 2, [north]])
        pairs = np.stack([edges[:-1], edges[1:]], axis=1).clip(-90.0, 90.0)
        return pairs if self._lat_ascends else pairs[::-1].copy()

    @cached_property
    def lon_bounds(self) -> Floats:
        """Western and eastern edge of each column, degrees, shape (n_lon, 2).

        Edges lie midway between neighbours, round the globe; beside a hole in the axis a column reaches as
        far out as in. The edges enclose the column's own value and so may leave [0, 360). A single column is
        as wide as its rows are high.
        """
        order, gaps, holes = self._columns
        if gaps.size == 1:
            east = west = np.array([self._row_height() / 2])
        else:
            before = np.roll(gaps, 1)
            east = np.where(holes, before, gaps) / 2
            west = np.where(np.roll(holes, 1), gaps, before) / 2
        bounds = np.empty((gaps.size, 2))
        bounds[order, 0], bounds[order, 1] = self.lon[order] - west, self.lon[order] + east
        return bounds

    @cached_property
    def weights(self) -> Floats:
        r"""Area weight of each row, shape (n_lat,), mean 1.

        .. math:: w_i \propto \sin\varphi_i^{north} - \sin\varphi_i^{south}

        the exact area of the row between its bounds, as in WeatherBench 2 (Rasp et al. 2024).
        """
        if self.lat.size == 1:
            return np.ones(1)
        area = self._row_areas
        return area / area.mean()

    @cached_property
    def cell_areas_km2(self) -> Floats:
        """Area of each cell on a sphere of radius 6371 km, shape (n_lat, n_lon)."""
        width = np.radians(self.lon_bounds[:, 1] - self.lon_bounds[:, 0])
        return EARTH_RADIUS_KM**2 * self._row_areas[:, None] * width[None, :]

    @cached_property
    def is_periodic(self) -> bool:
        """Whether the columns go round the globe without a hole; a single column does not."""
        _, gaps, holes = self._columns
        return gaps.size > 1 and not bool(holes.any())

    @property
    def has_poles(self) -> bool:
        """Whether there is a row on each pole."""
        return self.lat.size > 1 and bool(self.lat.min() == -90.0 and self.lat.max() == 90.0)

    @property
    def is_global(self) -> bool:
        """Whether the cells cover the sphere."""
        return self.is_periodic and self.lat.size > 1 and bool(np.ptp(self.lat_bounds) == 180.0)

    @property
    def fingerprint(self) -> str:
        """Hash of both axes: equal for grids whose stored values are equal."""
        return hashlib.sha256(self.lat.tobytes() + b"|" + self.lon.tobytes()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return np.array_equal(self.lat, other.lat) and np.array_equal(self.lon, other.lon)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        rows, columns = self.shape
        ends = f"lat {self.lat[0]:g}..{self.lat[-1]:g}, lon {self.lon[0]:g}..{self.lon[-1]:g}"
        return f"Grid({rows} x {columns}, {ends})"

    @property
    def _lat_ascends(self) -> bool:
        return self.lat.size == 1 or bool(self.lat[1] > self.lat[0])

    @cached_property
    def _row_areas(self) -> Floats:
        """Area of each row on the unit sphere for a radian of longitude."""
        south, north = np.radians(self.lat_bounds.T)
        # sin n - sin s without the cancellation of thin rows.
        return 2.0 * np.sin((north - south) / 2) * np.cos((north + south) / 2)

    @cached_property
    def _columns(self) -> tuple[NDArray[np.intp], Floats, NDArray[np.bool_]]:
        """Eastward order of the columns, the gap east of each in that order, and which gaps are holes."""
        wrapped = wrap_longitude(self.lon)
        order = np.argsort(wrapped, kind="stable")
        ring = wrapped[order]
        gaps = np.diff(ring, append=ring[0] + 360.0)
        holes = gaps > _HOLE * np.maximum(np.roll(gaps, 1), np.roll(gaps, -1))
        return order, gaps, holes

    def _column_width(self) -> float:
        gaps = self._columns[1]
        if gaps.size == 1:
            raise DataError(
                "a grid must have two rows or two columns before it has cell bounds, got a single cell"
            )
        return float(gaps.min())

    def _row_height(self) -> float:
        if self.lat.size == 1:
            return self._column_width()
        return float(np.abs(np.diff(self.lat)).min())


def _read_axis(values: ArrayLike, name: str) -> Floats:
    axis = np.array(values, dtype=np.float64)
    if axis.ndim != 1 or axis.size == 0:
        raise DataError(
            f"{name} must be a 1-D axis of at least one value, got shape {axis.shape}",
            hint="curvilinear fields are brought onto a grid by isopleth.io.regrid"
            if axis.ndim == 2
            else None,
        )
    if not np.isfinite(axis).all():
        bad = int(np.flatnonzero(~np.isfinite(axis))[0])
        raise DataError(f"{name} must be finite, got {axis[bad]} at index {bad}")
    return axis


def _check_latitudes(lat: Floats) -> None:
    if np.abs(lat).max() > 90.0 + _AT_POLE:
        raise DataError(f"latitude must lie in [-90, 90], got {lat[np.abs(lat).argmax()]:g}")
    steps = np.diff(lat)
    turn = np.flatnonzero(steps * (steps[0] if steps.size else 1.0) <= 0)
    if turn.size:
        i = int(turn[0])
        raise DataError(
            f"latitude must be strictly monotonic, got {lat[i]:g} then {lat[i + 1]:g} at index {i}"
        )


def _check_longitudes(lon: Floats) -> None:
    steps = np.diff(lon)
    ways = np.mod(steps, 360.0), np.mod(-steps, 360.0)
    way = min(ways, key=lambda turns: float(turns.sum()))
    # A ring that is closed to a thousandth of a step is closed: float32 axes leave 1e-5 degrees of noise.
    full = 360.0 - 1e-3 * way.min(initial=360.0)
    bad = np.flatnonzero((way == 0) | (np.cumsum(way) >= full))
    if bad.size:
        i = int(bad[0])
        raise DataError(
            f"longitude must run one way and meet each meridian once, got {lon[i]:g} then {lon[i + 1]:g}",
            where=f"column {i + 1} of {lon.size}",
            hint="sort the columns, and drop one that repeats the seam",
        )


def _outer_edge(lat: float, step: float) -> float:
    """Return the outer edge of the outermost row, in degrees towards its pole."""
    return 90.0 if lat + step > 90.0 + 1e-6 * step else lat + step / 2
