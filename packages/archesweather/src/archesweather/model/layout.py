"""Sizes: from a grid, its variables and a network's config to token grids, windows and paddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archesweather.config import ModelConfig
from archesweather.model.windows import Partition, Shape
from isopleth.errors import ConfigError
from isopleth.grid import Grid

# The shift of the released code is fixed, even of levels in windows that are one token high.
_RELEASED_SHIFT = (1, 3, 5)
_RELEASED_LEVELS = (12, 13)


@dataclass(frozen=True)
class StageLayout:
    """What the layers of one stage must know about their tokens.

    Parameters
    ----------
    grid : (int, int, int)
        Tokens in (level, lat, lon).
    width, heads, column_heads : int
        Width of the tokens, heads of the window attention, and of the column attention (0: there is none).
    window : (int, int, int)
        Tokens of a window in (level, lat, lon), no more than the grid has.
    periodic : bool
        Whether longitudes go round the globe.
    gated : bool
        Whether the MLP is gated.
    released : bool
        Whether windows are shifted as in the released code: by fixed steps, without masks.
    """

    grid: Shape
    width: int
    heads: int
    column_heads: int
    window: Shape
    periodic: bool
    gated: bool
    released: bool

    def partition(self, *, shifted: bool) -> Partition:
        """Build the windows of the plain or the shifted blocks."""
        shift = self._shift if shifted else (0, 0, 0)
        periodic = self.periodic or self.released
        return Partition(self.grid, self.window, shift, periodic=periodic, masked=not self.released)

    @property
    def _shift(self) -> Shape:
        """Half a window, but nothing along an axis that fits into one."""
        if self.released:
            return _RELEASED_SHIFT
        level, lat, lon = (
            window // 2 if size > window else 0 for size, window in zip(self.grid, self.window, strict=True)
        )
        return level, lat, lon


@dataclass(frozen=True)
class Layout:
    """All sizes that follow from a model's config.

    Attributes
    ----------
    fine, inner, outer : StageLayout
        Of the first stage, of the second and third, and of the last, whose tokens are twice as wide.
    surface_tokens, level_tokens : int
        Tokens of a column that hold the surface (0 or 1) and the levels.
    shared_row : bool
        Whether neighbouring patches share a row, because the grid has one row more than patches fill; so
        121 rows, both poles among them, are 60 patches of three rows.
    """

    fine: StageLayout
    inner: tuple[StageLayout, StageLayout]
    outer: StageLayout
    surface_tokens: int
    level_tokens: int
    shared_row: bool


def plan_layout(config: ModelConfig) -> Layout:
    """Work out all sizes of a network.

    Raises
    ------
    ConfigError
        If the widths do not fit each other, or the released code could not have this shape.
    """
    network, fields = config.network, config.fields
    released = network.compat == "geoarches"
    if released:
        _check_released(config)
    if 2 * network.dim % network.patch[0]:
        raise ConfigError(
            f"twice dim must be a multiple of patch[0], got dim {network.dim} and patch {network.patch}"
        )
    surface = int(bool(fields.surface or fields.constants))
    count = len(fields.levels)
    above, below = level_padding(count, network.patch[0], released=released)
    level_patches = (above + count + below) // network.patch[0] if fields.upper else 0
    _, rows, columns = network.patch
    shared_row = len(config.lat) % rows == 1 and len(config.lat) > rows and not released
    height = len(config.lat) // rows if shared_row or released else -(-len(config.lat) // rows)
    fine_grid = (surface + level_patches, height, -(-len(config.lon) // columns))
    coarse_grid = (fine_grid[0], -(-fine_grid[1] // 2), -(-fine_grid[2] // 2))
    grids = (fine_grid, coarse_grid, coarse_grid, fine_grid)
    fine, second, third, outer = (_plan_stage(config, number, grid) for number, grid in enumerate(grids))
    return Layout(fine, (second, third), outer, surface, level_patches, shared_row)


def level_padding(levels: int, patch: int, *, released: bool) -> tuple[int, int]:
    """Return how many empty levels are added above and below; the released code adds at least one."""
    if not released:
        return -levels % patch, 0
    added = patch - levels % patch
    return added // 2, added - added // 2


def _plan_stage(config: ModelConfig, number: int, grid: Shape) -> StageLayout:
    network = config.network
    high = network.window_levels if network.vertical == "windows" else 1
    window = tuple(min(size, length) for size, length in zip((high, *network.window), grid, strict=True))
    released = network.compat == "geoarches"
    if released and any(length % size for length, size in zip(grid, (high, *network.window), strict=True)):
        raise ConfigError(
            f"window must divide the token grid where compat is geoarches, got {network.window} in {grid[1:]}"
        )
    return StageLayout(
        grid=grid,
        width=network.widths[number],
        heads=network.heads[number],
        column_heads=network.column_heads if network.vertical == "columns" else 0,
        window=window,  # type: ignore[arg-type] # three it is
        periodic=_is_periodic(config),
        gated=network.mlp == "gated",
        released=released,
    )


def _check_released(config: ModelConfig) -> None:
    """Refuse what the released code cannot be: it has fixed patches and eight tokens a column."""
    network, fields = config.network, config.fields
    rules = {
        "patch must be [2, 2, 2]": network.patch == (2, 2, 2),
        "vertical must be columns": network.vertical == "columns",
        "levels must be 12 or 13": len(fields.levels) in _RELEASED_LEVELS,
        "surface and upper must both name variables": bool(fields.surface and fields.upper),
        "lat must have an odd number of rows": len(config.lat) % 2 == 1,
        "lon must have an even number of columns round the globe": len(config.lon) % 2 == 0
        and _is_periodic(config),
        "column_mixing must be on": network.column_mixing,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ConfigError(f"{broken[0]} where compat is geoarches, got another")


def _is_periodic(config: ModelConfig) -> bool:
    return Grid(np.array(config.lat), np.array(config.lon)).is_periodic
