"""Project: prepared fields in, the sea level of years to come out, with intervals and contributions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from isopleth.config import config_hash
from isopleth.fields import decimal_years
from isopleth.grid import EARTH_RADIUS_KM, Grid
from isopleth.io.write import Provenance, write_json
from isopleth.sealevel.output import (
    describe_output,
    summarise,
    tabulate_cities,
    write_output,
    write_table,
)
from isopleth.sealevel.rows import Floats, Rows
from sealevel_projection import __version__
from sealevel_projection.attribution import (
    Contributions,
    shapley_of_trends,
    summarise_contributions,
)
from sealevel_projection.config import AttributionConfig, PredictConfig, ProjectionConfig
from sealevel_projection.data import Archive, extend_reference, open_prepared, select_years, share_outside
from sealevel_projection.experiments import fit_slopes, hindcast_rows, projection_rows
from sealevel_projection.intervals import Calibration, residual_scale
from sealevel_projection.model import ProjectionModel
from sealevel_projection.segments import Segments
from sealevel_projection.train import NetworkPredictor

TREND_UNITS = "mm year-1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """What is projected, and what it rests on.

    Attributes
    ----------
    values : Dataset, dims (time, lat, lon)
        ``sea_level`` with its lower and upper ends and spread, mm, from the mean of the hindcast.
    trends : Dataset, dims (lat, lon)
        ``trend`` over the projected years with its ends, mm/year, ``segment``, and contributions.
    contributions : Contributions
    outside : DataArray, dims (time, feature)
        Share of the ocean whose inputs no training row had.
    past, future : Rows
    """

    values: xr.Dataset
    trends: xr.Dataset
    contributions: Contributions
    outside: xr.DataArray
    past: Rows
    future: Rows


def project(
    archive: Archive,
    config: ProjectionConfig,
    predictor: NetworkPredictor,
    segments: Segments,
    calibration: Calibration,
    attribution: AttributionConfig,
) -> Projection:
    """Project the years after the hindcast."""
    past, future = hindcast_rows(archive, config, segments), projection_rows(archive, config, segments)
    forecast = predictor.forecast(future)
    scale = residual_scale(past)[future.cell]
    future, forecast_mean = future.take(np.isfinite(scale)), forecast.mean[np.isfinite(scale)]
    spread = None if forecast.spread is None else forecast.spread[np.isfinite(scale)]
    scale = scale[np.isfinite(scale)]
    added = carried_on(archive, config, future)
    mean = forecast_mean + added
    half = calibration.values[future.step.clip(max=len(calibration.values) - 1)] * scale
    parts = {"lower": mean - half, "upper": mean + half, "spread": spread}
    fields = {name: future.to_field(v, name=name) for name, v in parts.items() if v is not None}
    values = describe_output(
        future.to_field(mean),
        name="sea_level",
        long_name="projected sea level above the hindcast's mean",
        level=calibration.level,
        extra={"segment": segments.labels},
        **fields,
    )
    found = shapley_of_trends(predictor.predict, future, attribution)
    trends = _describe_trends(future, mean, added, calibration, scale, found, segments)
    return Projection(
        values=values,
        trends=trends,
        contributions=found,
        outside=share_outside(past, future),
        past=past,
        future=future,
    )


def _city_limit_km(trends: xr.Dataset) -> float:
    """Return how far a city's sea cell may be: one and a half rows, 300 km at least."""
    spacing = float(np.diff(trends["lat"].values).max())
    return max(300.0, 1.5 * np.radians(spacing) * EARTH_RADIUS_KM)


def carried_on(archive: Archive, config: ProjectionConfig, future: Rows) -> Floats:
    """Return what was taken from the altimeter and belongs to the projection, shape (n,), mm.

    The departure of the cell's straight line from its mean where lines were the reference, and that of the
    observed global mean's line where it is to be added back.
    """
    period = config.period
    span = period.first_year, period.last_year
    added = np.zeros(len(future))
    if config.inputs.reference == "line":
        line, mean = (extend_reference(archive.altimeter, *span, kind) for kind in ("line", "mean"))
        departure = select_years(line - mean, period.last_year + 1, period.until)
        added += departure.values.reshape(departure.sizes["time"], -1)[future.step, future.cell]
    if config.inputs.global_mean == "add_back" and archive.observed_mean is not None:
        added += _line_of_mean(archive.observed_mean, span, np.asarray(future.times))[future.step]
    return added


def _line_of_mean(mean: xr.DataArray, span: tuple[int, int], times: np.ndarray) -> Floats:
    """Carry the straight line of the observed global mean on, from its mean over the hindcast."""
    known = select_years(mean, *span)
    axis = decimal_years(known["time"].values)
    slope = np.polyfit(axis - axis.mean(), known.values, 1)[0]
    return np.asarray(slope * (decimal_years(times) - axis.mean()))


def _describe_trends(
    future: Rows,
    mean: Floats,
    added: Floats,
    calibration: Calibration,
    scale: Floats,
    found: Contributions,
    segments: Segments,
) -> xr.Dataset:
    cells, first, place = np.unique(future.cell, return_index=True, return_inverse=True)
    flat = replace(future.take(first), step=np.zeros(len(cells), np.int64), times=None, units=TREND_UNITS)
    slope = fit_slopes(future.years, mean, place)
    half = calibration.trend * scale[first]
    carried = flat.to_field(fit_slopes(future.years, added, place) + found.base, name="carried_trend")
    contributions = xr.concat(
        [flat.to_field(one) for one in found.values], dim=xr.Variable("model", list(found.signals))
    )
    return describe_output(
        flat.to_field(slope),
        name="trend",
        long_name="projected trend of sea level",
        lower=flat.to_field(slope - half),
        upper=flat.to_field(slope + half),
        level=calibration.level,
        segment=segments.labels,
        contributions=contributions,
        extra={
            "carried_trend": carried.assign_attrs(long_name="part of the trend that no signal accounts for")
        },
    )


def predict_from_prepared(config: PredictConfig) -> dict[str, Any]:
    """Project with trained networks and write maps, tables, summary and report: the verb ``predict``."""
    from sealevel_projection.publish import publish_projection

    model = ProjectionModel.from_pretrained(config.model)
    settings = model.config.projection
    settings = replace(settings, inputs=replace(settings.inputs, signals=model.config.signals))
    archive = open_prepared(config.prepared, settings.inputs)
    archive.check_years(settings.period.first_year, settings.period.last_year, settings.period.until)
    model.check_grid(Grid.of(archive.models))
    found = project(archive, settings, model.predictor, model.segments, model.calibration, config.attribution)
    origin = Provenance(
        "sealevel-projection", __version__, config_hash(config), (config.prepared, config.model)
    )
    written = write_output(found.trends, config.out, "trend", formats=config.formats, provenance=origin)
    series = tuple(one for one in config.formats if one != "geotiff") or ("netcdf",)
    values = write_output(found.values, config.out, "sea_level", formats=series, provenance=origin)
    cities = write_table(
        tabulate_cities(found.trends, limit_km=_city_limit_km(found.trends)), config.out / "cities.csv"
    )
    shares = summarise_contributions(found.contributions, found.future, model.segments.names)
    summary = {
        **summarise(found.trends, "trend"),
        "contributions": [
            {"signal": one.signal, "region": one.region, "mean": one.mean, "interval": list(one.interval)}
            for one in shares
        ],
        "share_of_inputs_outside_training": {
            str(name): float(found.outside.sel(feature=name)[-1]) for name in found.outside["feature"].values
        },
    }
    write_json(config.out / "summary.json", summary)
    report = publish_projection(config, archive, found, shares, model)
    return {
        "report": str(report),
        "trend": written,
        "sea_level": values,
        "cities": str(cities),
        "mean_trend_mm_per_year": round(summary["mean"], 3),
        "mean_width_mm_per_year": round(summary["mean_width"], 3),
        "cells": summary["cells"],
    }
