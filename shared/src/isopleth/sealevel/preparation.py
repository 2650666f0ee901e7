"""From ensembles and altimetry of any layout to one dataset on one grid: `prepare_sea_level`.

The prepared dataset, which both sea level tools read:

=======================  ================================  =================================================
variable                 dims                              what it is
=======================  ================================  =================================================
``sea_surface_height``   (model, [member,] time, lat, lon) float32 m. Forced responses (means over members),
                                                           or every member; an ensemble of fewer members than
                                                           the largest ends in NaN. NaN where not `sea_mask`
``observed``             (time, lat, lon)                  float32 m. The altimeter's departures from their
                                                           mean over its record; NaN outside its years
``sea_mask``             (lat, lon)                        bool. Cells that altimeter and all models have
``model_global_mean``    (model, [member,] time)           float64 m. Area mean over `sea_mask`: what was
                                                           removed, or what is in the fields
``observed_global_mean`` (time,)                           the same of ``observed``
``ensemble_size``        (model,)                          members of each ensemble
``filled_cells``         (model,)                          sea cells that a model has from its neighbours
``lost_cells``           (model,)                          altimeter's sea cells that the model has not
=======================  ================================  =================================================

Coordinates: ``model`` (names, single-forcing ensembles among them), ``forcing`` (model) with ``"all"`` or the
one forcing that acts, ``member`` (counted from 0), ``time`` (datetime64, the middles of years or months, the
same for all), ``lat`` ascending, ``lon`` in [0, 360). Attributes: ``frequency`` ("year" or "month"),
``global_mean`` and ``seasonal_cycle`` ("removed" or "kept"), ``observed_years``, ``gia``, ``coast``, and
``components``: JSON with a row for each model and the altimeter of what its field contains
(`components_table`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isopleth.cluster import connect
from isopleth.config import to_dict
from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid
from isopleth.io.read import Source
from isopleth.io.regridding import regrid
from isopleth.io.write import Provenance, write_netcdf, write_zarr
from isopleth.sealevel.altimetry import ANOMALY, correct_gia, open_altimetry
from isopleth.sealevel.coasts import Coast, fill_coast, guard_sea, match_coasts
from isopleth.sealevel.ensemble import HEIGHT, open_ensemble
from isopleth.sealevel.global_mean import remove_ocean_mean
from isopleth.sealevel.means import mean_of_years, remove_seasonal_cycle
from isopleth.sealevel.products import PRODUCTS, describe_contents
from isopleth.sealevel.settings import EnsembleSource, PreparationSettings
from isopleth.sealevel.steric import STERIC

_ALTIMETER = "altimeter"


def prepare_sea_level(
    ensembles: Sequence[EnsembleSource],
    altimetry: Source,
    settings: PreparationSettings | None = None,
    *,
    altimetry_product: str | None = None,
) -> xr.Dataset:
    """Bring ensembles and altimetry to one grid, one time axis and one coast; lazily.

    In this order: means of years (where asked), conservative regridding, zostoga, the seasonal cycle, the
    mean over members, coasts, the global mean. Only first maps and the altimeter are computed at once;
    the rest is computed chunk by chunk as it is written (`write_prepared`).

    Parameters
    ----------
    ensembles : sequence of EnsembleSource
    altimetry : str, path, sequence of them, or Dataset
        As for `isopleth.sealevel.altimetry.open_altimetry`.
    settings : PreparationSettings, optional
    altimetry_product : str, optional
        Which product the altimetry is; recognised by its metadata otherwise.

    Returns
    -------
    Dataset
        As this module's text describes it; models and members are dask arrays.

    Raises
    ------
    DataError
        If an ensemble or the altimeter cannot be read, lacks a year, or shares no cell with the others; and,
        while it is computed, if a model's values are impossible or missing over its sea.
    ConfigError
        If two ensembles have one name, or there is none.
    """
    settings = settings or PreparationSettings()
    _check_names(ensembles)
    grid = Grid.regular(round(180.0 / settings.resolution_deg), 2 * round(180.0 / settings.resolution_deg))
    observed = _prepare_altimetry(altimetry, altimetry_product, grid, settings)
    models = [_prepare_ensemble(source, grid, settings, observed.attrs["years"]) for source in ensembles]
    coasts = match_coasts(
        observed[ANOMALY].notnull().all("time").compute(),
        {source.name: fields.attrs.pop("sea") for source, fields in zip(ensembles, models, strict=True)},
        coast=settings.coast,
        fill_km=settings.fill_km,
    )
    heights = [_on_coast(f[HEIGHT], coasts[s.name], s.name) for s, f in zip(ensembles, models, strict=True)]
    seen = _on_axis(observed[ANOMALY], heights[0], coasts)
    prepared = _assemble(ensembles, heights, coasts, seen, settings)
    sizes = [fields.attrs["size"] for fields in models]
    prepared["ensemble_size"] = ("model", sizes, {"long_name": "members of each ensemble"})
    attrs = _describe(ensembles, models, observed, settings)
    return prepared.assign_attrs(attrs)


def write_prepared(
    prepared: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    scheduler: str | None = None,
    provenance: Provenance | None = None,
) -> Path:
    """Compute a prepared dataset and write it, in bounded memory.

    Parameters
    ----------
    prepared : Dataset
        From `prepare_sea_level`.
    path : path
        A zarr store, or, ending in ``.nc``, a NetCDF file.
    resume : bool
        Go on where a killed writing of the same dataset stopped (zarr).
    scheduler : str, optional
        Address of a dask.distributed scheduler, whose workers see the same files; else this machine's
        threads.
    provenance : Provenance, optional

    Returns
    -------
    Path
    """
    with use_scheduler(scheduler):
        if Path(path).suffix == ".nc":
            if resume:
                raise ConfigError(f"a store to resume must be zarr, got {str(path)!r}")
            return write_netcdf(prepared, path, provenance=provenance)
        return write_zarr(prepared, path, resume=resume, provenance=provenance)


@contextlib.contextmanager
def use_scheduler(address: str | None) -> Iterator[None]:
    """Compute on a dask.distributed cluster inside the block; None stays on this machine's threads."""
    if address is None:
        yield
        return
    with connect(address, set_as_default=True):
        yield


def components_table(prepared: xr.Dataset) -> list[dict[str, str]]:
    """Return what each model and the altimeter contain, a row each: for a report's table.

    Returns
    -------
    list of dict
        ``name``, ``product``, and for each of `isopleth.sealevel.products.COMPONENTS` ``"yes"``, ``"no"``,
        ``"added"``, ``"removed"`` or ``"unknown"``.
    """
    return list(json.loads(prepared.attrs["components"]))


def _check_names(ensembles: Sequence[EnsembleSource]) -> None:
    names = [source.name for source in ensembles]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"ensembles must be one or more, each of its own name, got {', '.join(names) or 'none'}"
        )


def _prepare_altimetry(
    source: Source, product: str | None, grid: Grid, settings: PreparationSettings
) -> xr.Dataset:
    """Return departures on the grid, in memory, with the altimeter's own coast still."""
    opened = open_altimetry(source, product=product)
    years = _common_years(opened["time"].values, settings)
    anomaly = _cut(opened[ANOMALY], years)
    anomaly = _to_frequency(anomaly, opened.attrs["frequency"], "standard", settings, where="altimetry")
    anomaly = regrid(anomaly, grid, min_valid=settings.min_valid)
    anomaly = correct_gia(anomaly, settings.gia, reference_year=sum(years) / 2.0 + 0.5).compute()
    if settings.frequency == "month" and settings.seasonal_cycle == "remove":
        anomaly = remove_seasonal_cycle(anomaly, years)
    departures = (anomaly - anomaly.mean("time")).astype(np.float32)
    attrs = {"product": opened.attrs["product"], "years": years}
    return departures.to_dataset(name=ANOMALY).assign_attrs(attrs)


def _common_years(times: np.ndarray, settings: PreparationSettings) -> tuple[int, int]:
    """Return the altimeter's years that are prepared."""
    own = times.astype("datetime64[Y]").astype(int) + 1970
    first, last = max(int(own[0]), settings.first_year), min(int(own[-1]), settings.last_year)
    if last - first < 2:
        raise DataError(
            f"altimetry must share three years with {settings.first_year} to {settings.last_year}, "
            f"got {own[0]} to {own[-1]}"
        )
    return first, last


def _prepare_ensemble(
    source: EnsembleSource, grid: Grid, settings: PreparationSettings, baseline: tuple[int, int]
) -> xr.Dataset:
    """Return an ensemble on the grid, its own coast in ``attrs["sea"]``."""
    try:
        opened = open_ensemble(
            source.source,
            years=(settings.first_year, settings.last_year),
            zostoga=settings.zostoga == "add",
            member_pattern=source.member_pattern,
            product=source.product,
        )
        height = _to_frequency(
            opened[HEIGHT], opened.attrs["frequency"], opened.attrs["calendar"], settings, where=source.name
        )
        places = {name: opened[name] for name in ("lat", "lon")}
        height = regrid(height.assign_coords(places), grid, min_valid=settings.min_valid)
    except DataError as error:
        raise DataError(error.what, where=f"{source.name}: {error.where}", hint=error.hint) from error
    sea = height.isel(member=0, time=0, drop=True).notnull().compute()
    if STERIC in opened:
        steric = _to_frequency(
            opened[STERIC], opened.attrs["frequency"], opened.attrs["calendar"], settings, where=source.name
        )
        height = (height + steric).astype(np.float32)
    if settings.frequency == "month" and settings.seasonal_cycle == "remove":
        height = remove_seasonal_cycle(height, baseline)
    size = height.sizes["member"]
    if settings.members == "mean":
        # A month that one member lacks must not become the others' mean unseen.
        height = height.mean("member", skipna=False)
    else:
        height = height.assign_coords(member=np.arange(size))
    attrs = {"product": opened.attrs["product"], "sea": sea, "size": size, "zostoga": STERIC in opened}
    return height.to_dataset(name=HEIGHT).assign_attrs(attrs)


def _cut(field: xr.DataArray, years: tuple[int, int]) -> xr.DataArray:
    return field.sel(time=slice(str(years[0]), str(years[1])))


def _to_frequency(
    field: xr.DataArray, frequency: str, calendar: str, settings: PreparationSettings, *, where: str
) -> xr.DataArray:
    if frequency == settings.frequency:
        return field
    if settings.frequency == "month":
        raise DataError("fields must be monthly to be prepared as months, got means of years", where=where)
    return mean_of_years(field, calendar)


def _on_coast(height: xr.DataArray, coast: Coast, name: str) -> xr.DataArray:
    """Give a model the common coast, and refuse what is impossible or missing inside it as it is computed."""
    return guard_sea(fill_coast(height, coast), coast.sea, where=name)


def _on_axis(observed: xr.DataArray, like: xr.DataArray, coasts: dict[str, Coast]) -> xr.DataArray:
    """Put the altimeter on the models' times and the common coast, missing outside its record."""
    sea = next(iter(coasts.values())).sea
    return observed.where(sea).reindex(time=like["time"]).drop_attrs().astype(np.float32)


def _assemble(
    ensembles: Sequence[EnsembleSource],
    heights: list[xr.DataArray],
    coasts: dict[str, Coast],
    observed: xr.DataArray,
    settings: PreparationSettings,
) -> xr.Dataset:
    names = [source.name for source in ensembles]
    sizes = [height.sizes.get("member", 1) for height in heights]
    if settings.members == "keep":
        heights = [height.reindex(member=np.arange(max(sizes))) for height in heights]
    stacked = xr.concat(heights, dim="model", join="exact").transpose("model", ..., "time", "lat", "lon")
    stacked = stacked.assign_coords(model=names).astype(np.float32)
    fields = {HEIGHT: stacked, "observed": observed}
    means = {}
    for name, mean in ((HEIGHT, "model_global_mean"), ("observed", "observed_global_mean")):
        departures, means[mean] = remove_ocean_mean(fields[name])
        if settings.global_mean == "remove":
            fields[name] = departures
    counts = {
        "filled_cells": ("model", [coasts[name].filled for name in names]),
        "lost_cells": ("model", [coasts[name].lost for name in names]),
    }
    sea = next(iter(coasts.values())).sea
    prepared = xr.Dataset({**fields, **means, **counts, "sea_mask": sea})
    prepared = prepared.assign_coords(forcing=("model", [source.forcing for source in ensembles]))
    return _with_attributes(prepared)


def _with_attributes(prepared: xr.Dataset) -> xr.Dataset:
    """Say of every variable what it is."""
    long_names = {
        HEIGHT: "sea surface height of models",
        "observed": "sea level anomaly of the altimeter",
        "sea_mask": "cells that the altimeter and all models have",
        "model_global_mean": "area mean of models' sea surface height",
        "observed_global_mean": "area mean of the altimeter's sea level anomaly",
        "filled_cells": "sea cells that a model has from its neighbours",
        "lost_cells": "sea cells of the altimeter that a model has not",
    }
    for name, text in long_names.items():
        metres = {"units": "m"} if prepared[name].dtype.kind == "f" else {}
        prepared[name].attrs = {"long_name": text, **metres}
    return prepared


def _describe(
    ensembles: Sequence[EnsembleSource],
    models: list[xr.Dataset],
    observed: xr.Dataset,
    settings: PreparationSettings,
) -> dict[str, Any]:
    rows = [
        _row(source.name, fields.attrs["product"], settings, zostoga=fields.attrs["zostoga"])
        for source, fields in zip(ensembles, models, strict=True)
    ]
    rows.append(_row(_ALTIMETER, observed.attrs["product"], settings, zostoga=False))
    first, last = observed.attrs["years"]
    return {
        "title": "Sea level of large ensembles and altimetry on one grid",
        "frequency": settings.frequency,
        "global_mean": "removed" if settings.global_mean == "remove" else "kept",
        "seasonal_cycle": "kept" if _keeps_seasons(settings) else "removed",
        "observed_years": f"{first}-{last}",
        "gia": settings.gia,
        "coast": settings.coast,
        "components": json.dumps(rows),
        "settings": json.dumps(to_dict(settings)),
    }


def _keeps_seasons(settings: PreparationSettings) -> bool:
    return settings.frequency == "month" and settings.seasonal_cycle == "keep"


def _row(name: str, product: str, settings: PreparationSettings, *, zostoga: bool) -> dict[str, str]:
    known = PRODUCTS.get(product)
    title = known.title if known else "unknown"
    if known is None:
        return {"name": name, "product": title, **dict.fromkeys(describe_contents(frozenset()), "unknown")}
    removed = set() if _keeps_seasons(settings) else {"seasonal"}
    if settings.global_mean == "remove":
        removed |= {"steric_mean", "barystatic"}
    if name == _ALTIMETER and settings.gia.strip().lower() != "none":
        removed |= {"gia"}
    added = frozenset({"steric_mean"}) if zostoga else frozenset()
    contents = describe_contents(known.contains, added=added, removed=frozenset(removed))
    return {"name": name, "product": title, **contents}
