"""What the report shows: errors by basin, and forecasts on a map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cyclone_fusion.frame import arrive
from isopleth.report import Score
from isopleth.report.figures import compare_bars, figure, save_figure
from isopleth.report.maps import map_axes, plot_tracks
from isopleth.report.style import INK, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STORMS_ON_MAP = 6
_MARGIN_DEG = 8.0


def draw_errors(run_dir: Path, scores: Sequence[Score]) -> None:
    """Draw the mean error of the network and its baselines, a group a basin."""
    lead = scores[0].stratum["lead_hours"]
    with figure(height=3.4) as (fig, ax):
        compare_bars(ax, scores, by="basin")
        ax.set_ylabel("mean great-circle error (km)")
        save_figure(
            fig,
            run_dir,
            "errors",
            f"Mean {lead} h position error by basin on the test seasons. Bars from zero; the line on the "
            "network's bar is its 95 % interval from resampling whole storms.",
        )


def draw_forecasts(run_dir: Path, samples: xr.Dataset, moved: np.ndarray) -> None:
    """Draw storms with the most forecasts, one a basin, and the forecast from every fourth fix.

    One of them crosses the dateline if any storm of the test seasons does.
    """
    names = choose_storms(samples)
    lat, lon = arrive(
        samples["lat"].values, samples["lon"].values, moved.astype(np.float64), samples.attrs["frame"]
    )
    rows = -(-len(names) // 2)
    with figure(rows, 2, height=2.9 * rows, squeeze=False) as (fig, panels):
        for ax, name in zip(panels.flat, names, strict=False):
            chosen = np.flatnonzero(samples["track_id"].values == name)
            _draw_storm(ax, samples.isel(sample=chosen), lat[chosen], lon[chosen])
        for ax in panels.flat[len(names) :]:
            ax.set_visible(False)
        save_figure(
            fig,
            run_dir,
            "forecasts",
            f"Best tracks of test-season storms (black, dots every 24 h) and the network's "
            f"{samples.attrs['lead_hours']} h forecasts from every fourth fix (orange): each line leads "
            "from the storm to where the network puts it.",
        )


def choose_storms(samples: xr.Dataset) -> list[str]:
    """Choose the longest storm of each basin, and the longest that crosses the dateline, longest first."""
    names, number, count = np.unique(samples["track_id"].values, return_inverse=True, return_counts=True)
    lon = samples["lon"].values
    west, east = np.full(len(names), 360.0), np.full(len(names), 0.0)
    np.minimum.at(west, number, lon)
    np.maximum.at(east, number, lon)
    crosses = (west < 180) & (west > 90) & (east > 180) & (east < 270)
    chosen: set[int] = set()
    if crosses.any():
        chosen.add(int(np.argmax(np.where(crosses, count, 0))))
    basin_of = samples["basin"].values[np.unique(number, return_index=True)[1]]
    for basin in np.unique(basin_of):
        chosen.add(int(np.argmax(np.where(basin_of == basin, count, 0))))
    longest_first = sorted(chosen, key=lambda storm: (not crosses[storm], -count[storm]))
    return [str(names[storm]) for storm in longest_first[:_STORMS_ON_MAP]]


def _draw_storm(ax: Axes, storm: xr.Dataset, lat: np.ndarray, lon: np.ndarray) -> None:
    here_lat, here_lon = storm["lat"].values, np.unwrap(storm["lon"].values, period=360)
    every = slice(None, None, 4)
    map_axes(ax, _extent(np.append(here_lat, lat), np.append(here_lon, here_lon)), land=True)
    plot_tracks(ax, [(here_lat, here_lon)], color=INK, linewidth=1.2)
    plot_tracks(
        ax, [(here_lat[every], here_lon[every])], color=INK, linestyle="none", marker="o", markersize=2.5
    )
    segments = [
        (np.array([a, b]), np.array([c, d]))
        for a, b, c, d in zip(here_lat[every], lat[every], here_lon[every], lon[every], strict=True)
    ]
    plot_tracks(ax, segments, color=ORANGE, linewidth=1.0, alpha=0.9)
    season, basin = int(storm["season"].values[0]), str(storm["basin"].values[0])
    ax.set_title(f"{storm['track_id'].values[0]} ({basin} {season})", fontsize="small")


def _extent(lat: np.ndarray, lon: np.ndarray) -> tuple[float, float, float, float]:
    """Frame a storm with some sea around it; at most a whole turn."""
    west, east = lon.min() - _MARGIN_DEG, lon.max() + _MARGIN_DEG
    south, north = max(lat.min() - _MARGIN_DEG, -90.0), min(lat.max() + _MARGIN_DEG, 90.0)
    return float(west), float(min(east, west + 360.0)), float(south), float(north)
