"""Maps: every cell at its place, nothing across the dateline, units and degrees written."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection

from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.report import figure, map_axes, maps, plot_map, plot_tracks


@pytest.fixture
def ax():
    with figure() as (_, ax):
        yield ax


def draw(ax, field, grid, **options):
    return plot_map(ax, field, grid, name="height", units="m", coast=False, **options)


def look_up(mesh, lat: float, lon: float) -> float:
    """Read the value that a drawn map shows at a point, from its corners alone."""
    corners = mesh.get_coordinates()
    column = np.searchsorted(corners[0, :, 0], lon, side="right") - 1
    row = np.searchsorted(corners[:, 0, 1], lat, side="right") - 1
    cells = mesh.get_array()
    if not (0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]):
        return np.nan
    return float(np.ma.filled(cells, np.nan)[row, column])


def expect(field, grid: Grid, lat: float, lon: float) -> float:
    """Find the cell that encloses a point by trying every cell, longitudes as points on a circle."""
    for i, (south, north) in enumerate(grid.lat_bounds):
        for j, (west, east) in enumerate(grid.lon_bounds):
            if south <= lat < north and (lon - west) % 360 < east - west:
                return field[i, j]
    return np.nan


GRIDS = {
    "global": Grid.regular(6, 12),
    "poles, decreasing": Grid(np.linspace(90, -90, 7), np.arange(0.0, 360, 30)),
    "from 180 west": Grid(np.linspace(-75, 75, 6), np.arange(-180.0, 180, 30)),
    "eastern half": Grid(np.array([10.0, 20, 30]), np.arange(20.0, 161, 20)),
    "across Greenwich": Grid(np.array([40.0, 50]), np.array([350.0, 355, 0, 5])),
    "across the dateline": Grid(np.array([-10.0, 0, 10]), np.array([170.0, 175, -180, -175])),
    "uneven": Grid(np.array([-30.0, -10, 0, 5]), np.array([0.0, 1, 3, 7, 15])),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(
    "extent", [None, (-180.0, 180.0, -90.0, 90.0), (0.0, 360.0, -90.0, 90.0), (100.0, 290.0, -60.0, 60.0)]
)
def test_every_point_shows_the_cell_that_encloses_it(name, extent, ax, rng):
    grid = GRIDS[name]
    field = np.arange(np.prod(grid.shape), dtype=float).reshape(grid.shape)
    if extent == (100.0, 290.0, -60.0, 60.0) and name in {"across Greenwich", "uneven"}:
        with pytest.raises(DataError, match="must show some of its field"):
            draw(ax, field, grid, extent=extent)
        return
    mesh = draw(ax, field, grid, extent=extent)
    (west, east), (south, north) = ax.get_xlim(), ax.get_ylim()
    for lat, lon in zip(rng.uniform(south, north, 200), rng.uniform(west, east, 200), strict=True):
        np.testing.assert_equal(look_up(mesh, lat, lon), expect(field, grid, lat, lon))


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("global", (-180, 180, -90, 90)),
        ("from 180 west", (-180, 180, -90, 90)),
        ("eastern half", (10, 170, 5, 35)),
        ("across Greenwich", (-12.5, 7.5, 35, 55)),
        ("across the dateline", (167.5, 187.5, -15, 15)),
    ],
)
def test_the_view_covers_the_grid_in_one_piece(name, view, ax):
    grid = GRIDS[name]
    draw(ax, np.zeros(grid.shape), grid)
    np.testing.assert_allclose([*ax.get_xlim(), *ax.get_ylim()], view, atol=1e-9)


def test_diverging_colours_are_centred_at_zero(ax, rng):
    field = rng.normal(5, 1, GRIDS["global"].shape)
    mesh = draw(ax, field, GRIDS["global"], diverging=True)
    low, high = mesh.get_clim()
    assert low == -high < 0
    assert high == pytest.approx(np.percentile(field, 99), rel=0.02)


def test_one_wild_cell_does_not_bleach_the_map_and_the_bar_says_so(ax, rng):
    grid = Grid.regular(20, 40)
    field = rng.uniform(0, 1, grid.shape)
    field[3, 3] = 1e6
    mesh = draw(ax, field, grid)
    assert mesh.get_clim()[1] < 1
    assert mesh.colorbar.extend == "both"
    assert draw(ax, np.clip(field, 0, 1), grid, limits=(0, 1)).colorbar.extend == "neither"


def test_the_colour_bar_names_the_field_and_its_units(ax):
    mesh = plot_map(
        ax, np.ones((6, 12)), GRIDS["global"], name="sea_level_trend", units="mm yr-1", coast=False
    )
    assert mesh.colorbar.ax.get_ylabel() == "sea level trend (mm yr⁻¹)"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_field_of_one_value_or_none_is_drawn(value, ax):
    mesh = draw(ax, np.full((6, 12), value), GRIDS["global"])
    low, high = mesh.get_clim()
    assert low < high
    assert np.ma.count(mesh.get_array()) == (0 if value else mesh.get_array().size)


def test_axes_are_labelled_in_degrees(ax):
    map_axes(ax, (100, 290, -30, 60), coast=False)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["120°E", "180°", "120°W"]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "30°S",
        "15°S",
        "0°",
        "15°N",
        "30°N",
        "45°N",
        "60°N",
    ]


def test_doctests():
    result = doctest.testmod(maps)
    assert (result.attempted, result.failed) == (1, 0)


@pytest.mark.parametrize(
    "extent",
    [(-180, 180, -90, 90), (0, 360, -90, 90), (-20, 340, -60, 60), (100, 290, 0, 60), (-10.5, 30.5, 35, 60)],
)
def test_coast_lines_are_drawn_and_none_crosses_the_map(extent, ax):
    map_axes(ax, extent)
    segments = [
        path for lines in ax.collections if isinstance(lines, LineCollection) for path in lines.get_segments()
    ]
    assert segments
    assert max(np.abs(np.diff(path[:, 0])).max() for path in segments) <= 2
    x = np.concatenate([path[:, 0] for path in segments])
    assert x.min() <= extent[0] + 25
    assert x.max() >= extent[1] - 25


def test_land_is_tinted_where_there_is_land(ax):
    map_axes(ax, (100, 290, -30, 60), land=True)
    (image,) = ax.images
    tinted = np.ma.filled(image.get_array(), 0)
    rows, columns = tinted.shape

    def at(lat, lon):
        return bool(tinted[int((lat + 30) / 90 * rows), int((lon - 100) / 190 * columns)])

    assert at(40, 255)  # Colorado
    assert at(-25, 135)  # Australia
    assert not at(20, 180)  # mid-Pacific


def drawn(ax) -> list[np.ndarray]:
    return [np.column_stack([line.get_xdata(), line.get_ydata()]) for line in ax.lines]


def test_a_track_across_the_dateline_makes_no_line_across_the_map(ax):
    map_axes(ax, coast=False)
    plot_tracks(ax, [([10, 12, 14, 16], [170, 178, -174, -166])], label="storm")
    lines = drawn(ax)
    np.testing.assert_allclose(sorted(line[0, 0] for line in lines), [-190, 170])
    assert all(np.abs(np.diff(line[:, 0])).max() == 8 for line in lines)
    assert [line.get_label() for line in ax.lines].count("storm") == 1


@settings(max_examples=50, deadline=None)
@given(
    start=st.floats(-540, 540),
    steps=st.lists(st.floats(-25, 25), min_size=1, max_size=40),
    west=st.integers(-180, 180),
    width=st.integers(20, 360),
    wrap=st.sampled_from([0.0, -180.0]),
)
def test_each_point_of_a_track_is_seen_once_and_steps_stay_steps(start, steps, west, width, wrap):
    true = start + np.cumsum([0.0, *steps])
    with figure() as (_, ax):
        map_axes(ax, (west, west + width, -60, 60), coast=False)
        plot_tracks(ax, [(np.linspace(-50, 50, true.size), (true - wrap) % 360 + wrap)])
        lines = drawn(ax)
    for number, lon in enumerate(true):
        edge = min(
            (lon - west) % 360, (west - lon) % 360, (lon - west - width) % 360, (west + width - lon) % 360
        )
        seen = sum(west <= line[number, 0] <= west + width for line in lines)
        if edge > 1e-6:
            assert seen == ((lon - west) % 360 < width)
    for line in lines:
        np.testing.assert_allclose(np.diff(line[:, 0]), steps, atol=1e-6)


def test_a_gap_in_a_track_stays_a_gap_and_an_empty_track_is_nothing(ax):
    map_axes(ax, coast=False)
    plot_tracks(ax, [([1, 2, 3], [10, np.nan, 12]), ([], []), ([np.nan], [np.nan])])
    (line,) = drawn(ax)
    np.testing.assert_array_equal(line[:, 0], [10, np.nan, 12])


@pytest.mark.parametrize(
    "extent", [(10, 10, 0, 5), (0, 361, 0, 5), (0, 10, 5, 5), (0, 10, -91, 0), (0, 10, np.nan, 0)]
)
def test_an_impossible_extent_is_refused(extent, ax):
    with pytest.raises(DataError, match="a map's extent must be"):
        map_axes(ax, extent)


def test_what_does_not_fit_is_refused(ax):
    with pytest.raises(DataError, match=r"must have shape \(6, 12\), got \(12, 6\)"):
        draw(ax, np.zeros((12, 6)), GRIDS["global"])
    with pytest.raises(DataError, match=r"must be 1-D, got 2-D.*regrid"):
        plot_map(ax, np.zeros((2, 2)), lat=np.zeros((2, 2)), lon=np.zeros((2, 2)), name="x", units="1")
    with pytest.raises(DataError, match="needs a grid"):
        plot_map(ax, np.zeros((2, 2)), name="x", units="1")
    map_axes(ax, coast=False)
    with pytest.raises(DataError, match="1-D of one length"):
        plot_tracks(ax, [([1, 2], [1, 2, 3])])
