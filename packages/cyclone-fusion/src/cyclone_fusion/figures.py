"""What the report shows: errors by basin, and forecasts on a map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cyclone_fusion.config import WindowConfig
from cyclone_fusion.data import FEATURES
from cyclone_fusion.output import ellipse_ring
from cyclone_fusion.scores import forecast_places
from isopleth.report import Claim, Score
from isopleth.report.figures import compare_bars, figure, save_figure
from isopleth.report.maps import map_axes, plot_tracks
from isopleth.report.style import BLUE, DIVERGING, INK, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STORMS_ON_MAP = 6
_MARGIN_DEG = 8.0


def draw_errors(run_dir: Path, scores: Sequence[Score], name: str, *, what: str = "network") -> None:
    """Draw the mean error of the network and its baselines, a group a basin."""
    lead = scores[0].stratum["lead_hours"]
    with figure(height=3.6) as (fig, ax):
        compare_bars(ax, scores, by="basin")
        ax.set_ylabel("mean great-circle error (km)")
        ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        save_figure(
            fig,
            run_dir,
            name,
            f"Mean {lead} h position error of the {what} and its baselines by basin, on storms never seen. "
            "Bars from zero; the line on the first bar is its 95 % interval from resampling whole storms.",
        )


def draw_gains(run_dir: Path, claims: Sequence[Claim], caption: str) -> None:
    """Draw differences of errors with their intervals, one a row, zero as an upright line."""
    with figure(height=0.5 * len(claims) + 0.9) as (fig, ax):
        places = np.arange(len(claims))[::-1]
        for place, claim in zip(places, claims, strict=True):
            assert claim.interval is not None  # claims of differences have one
            ax.plot(claim.interval, [place, place], color=BLUE, linewidth=2.5)
            ax.plot([claim.difference], [place], color=BLUE, marker="o", markersize=6)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set_yticks(places, [claim.claim for claim in claims], fontsize="small")
        ax.set_ylim(-0.6, len(claims) - 0.4)
        ax.set_xlabel("difference of mean errors (km); left of zero is better")
        save_figure(fig, run_dir, "gains", caption)


def draw_windows(run_dir: Path, samples: xr.Dataset, window: WindowConfig) -> None:
    """Draw what the image streams see around the strongest storm: wind and geopotential, level by level."""
    strongest = int(np.nanargmax(samples["features"].values[:, FEATURES.index("wind")]))
    one = samples["windows"].isel(sample=strongest).values
    away = (np.arange(window.size) - window.size // 2) * window.spacing_deg
    with figure(1, len(window.levels), height=2.7, sharey=True, squeeze=False) as (fig, panels):
        for ax, level in zip(panels.flat, window.levels, strict=True):
            u, v, z = (
                one[window.channels.index(f"{name}_{level:g}_+0h")]
                for name in ("u_component_of_wind", "v_component_of_wind", "geopotential")
            )
            ax.contourf(away, away, z - z.mean(), levels=9, cmap=DIVERGING, alpha=0.8)
            ax.quiver(away, away, u, v, color=INK, scale=450, width=0.005)
            ax.set_title(f"{level:g} hPa", fontsize="small")
            ax.set_aspect("equal")
            ax.set_xlabel("degrees east of the storm")
        panels.flat[0].set_ylabel("degrees north")
        storm, when = samples["track_id"].values[strongest], str(samples["time"].values[strongest])[:13]
        save_figure(
            fig,
            run_dir,
            "windows",
            f"What the image streams see: simulated wind (arrows) and geopotential (shading, departure from "
            f"the window's mean) around the real storm {storm} at {when} UTC.",
        )


def draw_map(folder: Path, tracks: xr.Dataset, forecasts: xr.Dataset) -> Path:
    """Draw forecasts and the tracks that lead to them on one map, with 90 % ellipses if there are any."""
    names = np.unique(forecasts["track_id"].values)
    here = np.isin(tracks["track_id"].values, names)
    lat = np.concatenate([tracks["lat"].values[here], forecasts["forecast_lat"].values.ravel()])
    lon = np.concatenate([tracks["lon"].values[here], forecasts["forecast_lon"].values.ravel()])
    with figure(height=4.5) as (fig, ax):
        map_axes(ax, _extent(lat, _gather(lon)), land=True)
        for name in names:
            past = tracks["track_id"].values == name
            plot_tracks(ax, [(tracks["lat"].values[past], tracks["lon"].values[past])], color=INK)
        for number in range(forecasts.sizes["sample"]):
            _draw_forecast(ax, forecasts.isel(sample=number))
        return save_figure(
            fig,
            folder,
            "forecasts",
            f"Tracks of {len(names)} storms (black) and their forecasts (orange)"
            + (" with 90 % ellipses." if "ellipse_major" in forecasts else "."),
        )


def _draw_forecast(ax: Axes, one: xr.Dataset) -> None:
    lat = np.r_[one["lat"].item(), one["forecast_lat"].values]
    lon = np.r_[one["lon"].item(), one["forecast_lon"].values]
    plot_tracks(ax, [(lat, lon)], color=ORANGE, marker="o", markersize=3, linewidth=1.2)
    if "ellipse_major" in one:
        rings = [ellipse_ring(one.isel(lead=lead)) for lead in range(one.sizes["lead"])]
        plot_tracks(ax, rings, color=ORANGE, linewidth=0.8, alpha=0.7)


def _gather(lon: np.ndarray) -> np.ndarray:
    """Bring longitudes together on the side of the largest gap between them."""
    ring = np.sort(lon % 360)
    gaps = np.diff(ring, append=ring[0] + 360)
    west = ring[(int(np.argmax(gaps)) + 1) % len(ring)]
    return (lon - west) % 360 + west


def draw_forecasts(run_dir: Path, samples: xr.Dataset, moved: np.ndarray) -> None:
    """Draw storms with the most forecasts, one a basin, and the forecast from every fourth fix.

    One of them crosses the dateline if any storm of the test seasons does.
    """
    names = choose_storms(samples)
    lat, lon = (each[:, 0] for each in forecast_places(samples, moved))
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
            f"{samples['lead'].values[0]} h forecasts from every fourth fix (orange): each line leads "
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
