"""From tracks and fields to the samples that training reads, in one store: the verb ``prepare``."""

from __future__ import annotations

import json
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from cyclone_fusion import __version__
from cyclone_fusion.atmosphere import SOURCE, floor_km, simulate_atmosphere
from cyclone_fusion.config import SAMPLE, PrepareConfig, SampleConfig, WindowConfig
from cyclone_fusion.data import build_samples, list_left_out
from cyclone_fusion.steering import steering_flow
from cyclone_fusion.tracks import read_tracks
from cyclone_fusion.windows import WindowCutter, check_windows, list_uncovered, open_window_fields
from isopleth.config import config_hash
from isopleth.errors import DataError
from isopleth.io.write import Provenance, ZarrWriter, write_netcdf, write_zarr

# Windows to a chunk of the store: a shuffled batch reads whole chunks.
_CHUNK = 64


def prepare_samples(config: PrepareConfig) -> dict[str, Any]:
    """Cut samples, and the windows of the fields around them: the verb ``prepare``.

    Samples are sorted by time, so that each field is read once for all storms in it. Interrupted, it goes on
    where it was when it is called again with ``resume``.

    Returns
    -------
    dict
        What was written, and everything left out, by reason.

    Raises
    ------
    isopleth.errors.DataError
        If no fix can be used, a level or variable is missing, or a window holds NaN; names the storm.
    """
    tracks = read_tracks(config.tracks)
    if config.seasons:
        tracks = _of_seasons(tracks, *config.seasons)
    samples = build_samples(tracks, config.sample)
    origin = Provenance(
        "cyclone-fusion", __version__, config_hash(config), (config.tracks, config.fields or "no fields")
    )
    config.out.parent.mkdir(parents=True, exist_ok=True)
    if config.fields:
        samples = _write_with_windows(config, tracks, samples, origin)
    elif config.out.suffix == ".nc":
        write_netcdf(samples, config.out, provenance=origin)
    else:
        write_zarr(samples, config.out, provenance=origin)
    return {
        "samples": samples.sizes["sample"],
        "out": str(config.out),
        **list_left_out(tracks, samples),
        "samples_without_fields": json.loads(samples.attrs.get("without_fields", "{}")),
    }


def attach_windows(
    samples: xr.Dataset, fields: Any, config: WindowConfig, *, mask: bool = False
) -> xr.Dataset:
    """Cut the windows of a few samples into memory, as prediction needs them.

    Parameters
    ----------
    samples : Dataset
        From `build_samples`.
    fields : str, path or Dataset
    config : WindowConfig
    mask : bool
        Keep windows with NaN.

    Returns
    -------
    Dataset
        The samples with ``windows`` (sample, channel, row, column), in the order given.

    Raises
    ------
    isopleth.errors.DataError
        If a field is missing or has NaN; names the storm.
    """
    order = np.argsort(samples["time"].values, kind="stable")
    by_time = samples.isel(sample=order)
    cutter = WindowCutter(open_window_fields(fields, config), by_time, config, where=_name(fields))
    windows = np.concatenate(list(cutter.cut()))
    if not mask:
        check_windows(windows, by_time, config, where=_name(fields))
    back = np.argsort(order, kind="stable")
    return _with_windows(samples, windows[back], config)


def open_samples(source: str, sample: SampleConfig) -> xr.Dataset:
    """Open a store of samples, or cut them from a track file.

    Parameters
    ----------
    source : str
        What `prepare` wrote, a track file, or `sample`.
    sample : SampleConfig
        How a track file is cut; a store must have been cut the same way.

    Raises
    ------
    isopleth.errors.DataError
        If a store has other leads or another frame.
    """
    if not source.endswith(".zarr"):
        return build_samples(read_tracks(source), sample)
    try:
        samples = xr.open_zarr(source, chunks=None)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"data must be a store that prepare wrote, got {error}", where=source) from error
    missing = {"features", "target", "lead"} - set(map(str, samples.variables))
    if missing:
        raise DataError(f"data must be a store that prepare wrote, got none of {missing}", where=source)
    leads = tuple(samples["lead"].values.tolist())
    if leads != sample.lead_hours or samples.attrs["frame"] != sample.frame:
        raise DataError(
            f"samples must have the network's leads {list(sample.lead_hours)} and frame {sample.frame}, got "
            f"{list(leads)} and {samples.attrs['frame']}",
            where=source,
            hint="give prepare and train the same --sample options",
        )
    small = [name for name in samples.variables if name != "windows"]
    return samples.assign({name: samples[name].load() for name in small})


def _of_seasons(tracks: xr.Dataset, first: int, last: int) -> xr.Dataset:
    season = tracks["season"].values
    kept = tracks.isel(record=np.flatnonzero((season >= first) & (season <= last)))
    if kept.sizes["record"] == 0:
        raise DataError(
            f"seasons must be among {season.min()}-{season.max()}, got {first}-{last}", hint="set --seasons"
        )
    return kept


def _write_with_windows(
    config: PrepareConfig, tracks: xr.Dataset, samples: xr.Dataset, origin: Provenance
) -> xr.Dataset:
    simulated = config.fields == SAMPLE
    source = simulate_atmosphere(tracks, config.atmosphere) if simulated else config.fields
    fields = open_window_fields(source, config.window)
    samples = samples.isel(sample=np.argsort(samples["time"].values, kind="stable"))
    cutter = WindowCutter(fields, samples, config.window, where=config.fields)
    if not cutter.covered.any():
        cutter.require_covered()
    samples = samples.assign_attrs(
        without_fields=list_uncovered(samples, cutter.covered), fields=SOURCE if simulated else config.fields
    ).isel(sample=np.flatnonzero(cutter.covered))
    if simulated:
        for name, past in (("flow_known_km", False), ("floor_km", True)):
            floor = floor_km(tracks, samples, config.atmosphere, past=past)
            samples[name] = (("sample", "lead"), floor)
    cutter = WindowCutter(fields, samples, config.window, where=config.fields)
    shape = (samples.sizes["sample"], len(config.window.channels), config.window.size, config.window.size)
    lazy = dask.array.empty(shape, dtype=np.float32, chunks=(_CHUNK, *shape[1:]))
    flow = dask.array.empty((shape[0], 2), dtype=np.float32)
    template = samples.assign(_window_variables(lazy, flow, config.window))
    writer = ZarrWriter(
        config.out,
        template,
        dim="sample",
        resume=config.resume,
        provenance=origin,
        chunks={"sample": _CHUNK},
        dtype=None,
    )
    with writer:
        _write_pieces(writer, cutter, samples, config)
    return samples


def _write_pieces(
    writer: ZarrWriter, cutter: WindowCutter, samples: xr.Dataset, config: PrepareConfig
) -> None:
    if writer.done == writer.total:
        return
    place = writer.done
    for windows in cutter.cut(first=place, scheduler=config.scheduler):
        piece = samples.isel(sample=slice(place, place + len(windows)))
        if config.missing == "error":
            check_windows(windows, piece, config.window, where=config.fields)
        writer.write(_with_windows(piece, windows, config.window))
        place += len(windows)


def _with_windows(samples: xr.Dataset, windows: np.ndarray, config: WindowConfig) -> xr.Dataset:
    flow = steering_flow(windows, samples["lat"].values, config)
    return samples.assign(_window_variables(windows, flow, config))


def _window_variables(windows: Any, flow: Any, config: WindowConfig) -> dict[str, Any]:
    return {
        "windows": (("sample", "channel", "row", "column"), windows),
        "steering": (("sample", "direction"), flow, {"units": "m s-1"}),
        "channel": list(config.channels),
    }


def _name(fields: Any) -> object:
    return None if isinstance(fields, xr.Dataset) else fields
