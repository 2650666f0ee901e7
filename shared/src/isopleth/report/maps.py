"""Maps on a latitude/longitude plane: coast lines, units, degrees, and no line across the dateline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.report.figures import label_quantity
from isopleth.report.style import DIVERGING, INK, LAND, MUTED, SEQUENTIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Extent = tuple[float, float, float, float]

_STEPS = (1, 2, 5, 10, 15, 20, 30, 60)  # degrees between labels
_TICKS = 6  # at most, about
_TINY = 1e-6
_PIXELS = 900  # of the land's fill, along each side
_FINENESS = ((180, 1.0), (60, 0.5), (0, 0.25))  # views wider than so many degrees: cells of the coast lines


def map_axes(
    ax: Axes, extent: Extent = (-180.0, 180.0, -90.0, 90.0), *, coast: bool = True, land: bool = False
) -> Axes:
    """Make axes a map: an extent in degrees, degree labels, coast lines, true shape at its middle.

    Parameters
    ----------
    ax : Axes
    extent : (west, east, south, north)
        Degrees; east may lie beyond the dateline: ``(100, 290, -20, 60)`` is the Pacific in one piece.
    coast : bool
        Whether to draw coast lines.
    land : bool
        Whether to tint the land, where no field is to cover it.

    Raises
    ------
    DataError
        If the extent is empty, wider than 360 degrees or beyond a pole.
    """
    west, east, south, north = extent
    if not (0 < east - west <= 360 and -90 <= south < north <= 90):
        raise DataError(f"a map's extent must be (west < east <= west + 360, south < north), got {extent}")
    ax.set(xlim=(west, east), ylim=(south, north), autoscale_on=False, axisbelow=False)
    # A degree of longitude is as long as one of latitude at the middle, but no map is stretched beyond use.
    ax.set_aspect(1 / max(np.cos(np.radians((south + north) / 2)), 0.35))
    _label_degrees(ax, extent)
    ax.grid(visible=True, linewidth=0.4, color=MUTED, alpha=0.35)
    for spine in ax.spines.values():
        spine.set_visible(True)
    if land:
        _draw_land(ax, extent)
    if coast:
        _draw_coast(ax, extent)
    return ax


def plot_map(
    ax: Axes,
    values: ArrayLike,
    grid: Grid | None = None,
    *,
    name: str,
    units: str,
    lat: ArrayLike | None = None,
    lon: ArrayLike | None = None,
    extent: Extent | None = None,
    diverging: bool = False,
    limits: tuple[float, float] | None = None,
    cmap: str | None = None,
    coast: bool = True,
) -> Any:
    """Draw a field cell by cell, with a colour bar that names it and its units.

    Parameters
    ----------
    ax : Axes
    values : array_like, shape (n_lat, n_lon)
        NaN stays blank.
    grid : Grid, optional
        Its grid; else `lat` and `lon`, 1-D, in degrees and any order.
    name, units : str
        For the colour bar.
    extent : (west, east, south, north), optional
        The view; what the grid covers by default.
    diverging : bool
        For differences and anomalies: colours centred at zero, equally far on both sides.
    limits : (float, float), optional
        Ends of the colours; by default the 1st and 99th percentile of what is shown, so that one
        wild cell does not bleach the map. Values beyond get the end's colour, and the bar an arrow.
    cmap : str, optional
        Another matplotlib colour map.
    coast : bool
        Whether to draw coast lines.

    Returns
    -------
    QuadMesh

    Raises
    ------
    DataError
        If values and grid do not fit, or the grid is not rectilinear.
    """
    grid = grid if grid is not None else _build_grid(lat, lon)
    field = np.asarray(values, dtype=float)
    if field.shape != grid.shape:
        raise DataError(f"a field on {grid} must have shape {grid.shape}, got {field.shape}")
    extent = extent or _cover(grid)
    map_axes(ax, extent, coast=coast).grid(visible=False)
    lon_edges, lat_edges, cells = _lay_out(field, grid, extent)
    low, high = _find_limits(cells, limits, diverging=diverging)
    mesh = ax.pcolormesh(
        lon_edges, lat_edges, np.ma.masked_invalid(cells), vmin=low, vmax=high,
        cmap=cmap or (DIVERGING if diverging else SEQUENTIAL), shading="flat", rasterized=True, zorder=0,
    )  # fmt: skip
    bar = ax.figure.colorbar(
        mesh, ax=ax, shrink=0.85, aspect=28, pad=0.02, extend=_name_overflow(cells, low, high)
    )
    bar.set_label(label_quantity(name, units))
    bar.outline.set_visible(False)
    return mesh


def plot_tracks(
    ax: Axes, tracks: Iterable[tuple[ArrayLike, ArrayLike]], *, label: str | None = None, **style: Any
) -> None:
    """Draw tracks on a map; one that leaves it on one side comes back on the other.

    Parameters
    ----------
    ax : Axes
        Made by `map_axes`.
    tracks : iterable of (lat, lon)
        Degrees, each of shape (n,), longitudes in any convention; a NaN breaks the track.
    label : str, optional
        One entry in the legend for all of them.
    **style
        For ``Axes.plot``.

    Raises
    ------
    DataError
        If latitudes and longitudes of a track differ in shape.
    """
    west, east = ax.get_xlim()
    for lat, lon in tracks:
        for x, y in _unroll(np.asarray(lat, dtype=float), np.asarray(lon, dtype=float), west, east):
            ax.plot(x, y, label=label, **style)
            label = None


def _unroll(lat: Floats, lon: Floats, west: float, east: float) -> list[tuple[Floats, Floats]]:
    """Return the copies, shifted by whole turns, of an unbroken track that a view shows."""
    if lat.shape != lon.shape or lat.ndim != 1:
        raise DataError(f"a track's lat and lon must be 1-D of one length, got {lat.shape} and {lon.shape}")
    known = np.isfinite(lat) & np.isfinite(lon)
    if not known.any():
        return []
    smooth = np.full(lon.shape, np.nan)
    smooth[known] = np.unwrap(lon[known], period=360)
    first = int(np.ceil((west - np.nanmax(smooth)) / 360))
    last = int(np.floor((east - np.nanmin(smooth)) / 360))
    return [(smooth + 360 * turn, lat) for turn in range(first, last + 1)]


def _build_grid(lat: ArrayLike | None, lon: ArrayLike | None) -> Grid:
    if lat is None or lon is None:
        raise DataError("a map needs a grid, or lat and lon")
    if np.ndim(lat) != 1 or np.ndim(lon) != 1:
        raise DataError(
            f"lat and lon of a map must be 1-D, got {np.ndim(lat)}-D and {np.ndim(lon)}-D",
            hint="bring a curvilinear field to a latitude/longitude grid by isopleth.io.regrid",
        )
    return Grid(np.asarray(lat), np.asarray(lon))


def _cover(grid: Grid) -> Extent:
    """Return the smallest view of a grid; a global one is centred on Greenwich."""
    south, north = float(grid.lat_bounds.min()), float(grid.lat_bounds.max())
    if grid.is_periodic:
        return -180.0, 180.0, south, north
    order = np.argsort(grid.lon_bounds[:, 0] % 360)
    starts, ends = grid.lon_bounds[order].T % 360
    gaps = (starts - np.roll(ends, 1) + _TINY) % 360 - _TINY
    # The widest hole between columns is what the view leaves out.
    widest = int(np.argmax(gaps))
    west, east = float(starts[widest]), float(starts[widest] + 360 - gaps[widest])
    turn = 360.0 if east > 360 + _TINY else 0.0
    return west - turn, east - turn, south, north


def _lay_out(field: Floats, grid: Grid, extent: Extent) -> tuple[Floats, Floats, Floats]:
    """Put cells side by side as the view shows them: edges of columns and rows, values between.

    A column on the view's seam is there twice, at both ends; a hole in the axis is a column of NaN.
    """
    west, east = extent[:2]
    first = np.floor((west - grid.lon_bounds.max()) / 360)
    last = np.ceil((east - grid.lon_bounds.min()) / 360)
    turns = 360 * np.arange(first, last + 1)
    bounds = (grid.lon_bounds[None] + turns[:, None, None]).reshape(-1, 2)
    index = np.tile(np.arange(grid.lon.size), turns.size)
    shown = (bounds[:, 1] > west + _TINY) & (bounds[:, 0] < east - _TINY)
    order = np.argsort(bounds[shown, 0])
    bounds, index = bounds[shown][order], index[shown][order]
    if not index.size:
        raise DataError(f"a map's extent must show some of its field, got {extent} for {grid}")
    rows = np.argsort(grid.lat)
    lat_edges = np.append(grid.lat_bounds[rows, 0], grid.lat_bounds[rows[-1], 1])
    holes = np.flatnonzero(bounds[1:, 0] - bounds[:-1, 1] > _TINY) + 1
    lon_edges = np.append(np.insert(bounds[:, 0], holes, bounds[holes - 1, 1]), bounds[-1, 1])
    return lon_edges, lat_edges, np.insert(field[rows][:, index], holes, np.nan, axis=1)


def _find_limits(
    cells: Floats, limits: tuple[float, float] | None, *, diverging: bool
) -> tuple[float, float]:
    finite = cells[np.isfinite(cells)]
    low, high = limits or (np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0))
    if diverging:
        reach = max(abs(low), abs(high)) or 1.0
        return -reach, reach
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _name_overflow(cells: Floats, low: float, high: float) -> str:
    finite = cells[np.isfinite(cells)]
    below, above = bool((finite < low).any()), bool((finite > high).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


def _draw_coast(ax: Axes, extent: Extent) -> None:
    from matplotlib.collections import LineCollection

    from isopleth.fields.land import coastlines

    west, east = extent[:2]
    fineness = next(step for span, step in _FINENESS if east - west > span)
    start = 2 * np.floor(west / 2)  # lines begin and end outside the view, not at a visible seam
    turns = (0.0, 360.0) if east > start + 360 else (0.0,)
    lines = [line + np.array([turn, 0.0]) for line in coastlines(fineness, west=start) for turn in turns]
    shown = [line for line in lines if _is_seen(line, extent)]
    # A white casing keeps the line readable on the dark end of every colour map.
    for color, width, alpha in (("white", 1.5, 0.55), (INK, 0.6, 0.85)):
        coast = LineCollection(shown, colors=color, linewidths=width, alpha=alpha, zorder=1.5)
        ax.add_collection(coast, autolim=False)


def _is_seen(line: Floats, extent: Extent) -> bool:
    (x0, y0), (x1, y1) = line.min(axis=0), line.max(axis=0)
    west, east, south, north = extent
    return bool(x1 > west and x0 < east and y1 > south and y0 < north)


def _draw_land(ax: Axes, extent: Extent) -> None:
    from matplotlib.colors import ListedColormap

    from isopleth.fields.land import land_mask

    west, east, south, north = extent
    lon, lat = (np.linspace(low, high, 2 * _PIXELS + 1)[1::2] for low, high in ((west, east), (south, north)))
    land = np.ma.masked_equal(land_mask(lat[:, None], lon[None, :]), 0)
    ax.imshow(
        land,
        extent=extent,
        origin="lower",
        aspect=ax.get_aspect(),
        cmap=ListedColormap([LAND]),
        interpolation="nearest",
        zorder=0,
    )


def _label_degrees(ax: Axes, extent: Extent) -> None:
    west, east, south, north = extent
    x, y = _ticks(west, east), _ticks(south, north)
    ax.set_xticks(x, [format_longitude(value) for value in x])
    ax.set_yticks(y, [format_latitude(value) for value in y])
    ax.set(xlabel="", ylabel="")


def _ticks(low: float, high: float) -> Floats:
    step = next((step for step in _STEPS if (high - low) / step <= _TICKS), 90)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def format_longitude(degrees: float) -> str:
    """Write a longitude as a map does: ``120°W``.

    Examples
    --------
    >>> [format_longitude(value) for value in (-120, 0, 180, 240.5)]
    ['120°W', '0°', '180°', '119.5°W']
    """
    east = (degrees + 180) % 360 - 180
    side = "" if east in {0, -180} else "E" if east > 0 else "W"
    return f"{abs(east):g}°{side}"


def format_latitude(degrees: float) -> str:
    """Write a latitude as a map does: ``30°S``."""
    side = "" if degrees == 0 else "N" if degrees > 0 else "S"
    return f"{abs(degrees):g}°{side}"
