"""Apply a trained model to the models' future: maps with intervals, a table of cities, a report."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from isopleth.config import config_hash
from isopleth.fields import measure_seams
from isopleth.io.write import Provenance, write_json
from isopleth.report import (
    Cost,
    DataCard,
    Evaluation,
    fingerprint,
    measure_cost,
    write_evaluation,
    write_report,
)
from isopleth.report import Provenance as Origin
from isopleth.sealevel.output import describe_output, summarise, tabulate_cities, write_output, write_table
from isopleth.sealevel.preparation import components_table
from isopleth.sealevel.rows import Rows
from sealevel_trend import __version__
from sealevel_trend.config import PredictConfig
from sealevel_trend.data import Trends, compute_trends, open_prepared
from sealevel_trend.intervals import combine_scales
from sealevel_trend.model import NetworkPredictor, TrendModel

NAME = "sea_level_trend"


def predict_trends(model: TrendModel, past: Trends, future: Trends) -> xr.Dataset:
    """Predict the trends of the future years.

    Parameters
    ----------
    model : TrendModel
    past, future : Trends
        Of the same models, on the grid that the model was trained on; what they say of the future is what
        the networks see, the past is told beside the prediction.

    Returns
    -------
    Dataset, dims (lat, lon)
        ``sea_level_trend`` with ``_lower``, ``_upper``, ``_spread`` and ``_contribution`` (model),
        ``segment``, ``ensemble_mean_trend``, and ``observed_trend`` of the past with its standard error;
        mm/year. With the global mean added back, prediction and interval are moved by the observed mean's
        trend, whose own uncertainty is not in them.
    """
    past, future = past.select(model.config.features), future.select(model.config.features)
    rows = future.rows(model.partition)
    model.check_grid(rows.grid)
    predictor = model.predictor
    mean, spread = predictor.predict(rows), predictor.measure_spread(rows)
    internal = None if past.internal is None else past.internal[rows.cell]
    low, high = model.calibration.ends(mean, combine_scales(spread, internal))
    shift = float(model.mean_trend) if model.global_mean == "add_back" else 0.0
    extra = {"ensemble_mean_trend": rows.to_field(rows.inputs.mean(axis=1), long_name="mean of the models")}
    if past.observed is not None and past.stderr is not None:
        extra["observed_trend"] = past.observed.assign_attrs(long_name=_told(past, "observed trend"))
        extra["observed_trend_stderr"] = past.stderr.assign_attrs(
            long_name=_told(past, "AR(1)-aware standard error of the observed trend")
        )
    output = describe_output(
        rows.to_field(mean + shift),
        name=NAME,
        long_name=_told(future, "sea level trend"),
        lower=rows.to_field(low + shift),
        upper=rows.to_field(high + shift),
        level=model.learning.level,
        spread=rows.to_field(spread),
        segment=model.partition,
        contributions=measure_contributions(predictor, rows),
        extra=extra,
    )
    return output.assign_attrs(global_mean=model.global_mean, global_mean_trend=shift)


def _told(trends: Trends, what: str) -> str:
    return f"{what}, {trends.years[0]} to {trends.years[1]}"


def measure_contributions(predictor: NetworkPredictor, rows: Rows) -> xr.DataArray:
    r"""Measure what each model's own pattern adds to the prediction.

    .. math:: c_k = f(x) - f(x \mid x_k = \bar x_k)

    with the model's trend put at its area mean. Contributions of a network do not add up to its prediction.

    Returns
    -------
    DataArray, dims (model, lat, lon)
        mm/year.
    """
    whole = predictor.predict(rows)
    maps = []
    for k in range(len(rows.features)):
        inputs = rows.inputs.copy()
        inputs[:, k] = np.average(inputs[:, k], weights=rows.weight)
        maps.append(rows.to_field(whole - predictor.predict(rows.with_inputs(inputs))))
    return xr.concat(maps, "model", combine_attrs="override").assign_coords(model=list(rows.features))


def report_seams(output: xr.Dataset) -> dict[str, float]:
    """Tell how a prediction steps where segments meet, against its steps inside them; mm/year.

    Returns
    -------
    dict
        ``seam_jump`` and ``seam_inner``, mean absolute differences of cells side by side; nothing without
        seams.
    """
    seams = measure_seams(output[NAME], output["segment"])
    return {"seam_jump": seams.jump, "seam_inner": seams.inner} if seams.pairs else {}


def predict_from_prepared(config: PredictConfig) -> dict[str, Any]:
    """Predict and write maps, cities, a summary and a report: the verb ``predict``."""
    with open_prepared(config.prepared) as prepared:
        model = TrendModel.from_pretrained(config.model)
        learning = model.learning
        past, future = (
            compute_trends(prepared, years, learning.global_mean)
            for years in (learning.period.past, learning.period.future)
        )
        components = components_table(prepared)
    with measure_cost() as meter:
        output = predict_trends(model, past, future)
    config.out.mkdir(parents=True, exist_ok=True)
    origin = Provenance("sealevel-trend", __version__, config_hash(config), (config.prepared, config.model))
    written = write_output(output, config.out, NAME, formats=config.formats, provenance=origin)
    # A coarse grid's nearest sea cell may be a cell away.
    reach_km = max(300.0, 111.2 * float(np.diff(output["lat"]).mean()))
    cities = tabulate_cities(output, config.cities or None, limit_km=reach_km)
    write_table(cities, config.out / "cities.csv")
    summary = {**summarise(output, NAME), **report_seams(output)}
    write_json(config.out / "summary.json", {**summary, "components": components})
    report = _report(config, model, output, components, Cost.of(predict=meter, parameters=_size(model)))
    return {**written, "cities": len(cities), "report": report, **summary}


def _size(model: TrendModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _report(
    config: PredictConfig,
    model: TrendModel,
    output: xr.Dataset,
    components: list[dict[str, str]],
    cost: Cost,
) -> str:
    from sealevel_trend.figures import draw_components, draw_prediction

    learning = model.learning
    past, future = ("-".join(map(str, years)) for years in (learning.period.past, learning.period.future))
    draw_prediction(config.out, output)
    draw_components(config.out, components)
    evaluation = Evaluation(
        tool="sealevel-trend",
        version=__version__,
        task=f"Predict sea-level trends of {future} from what {len(model.config.features)} models say, with "
        f"{100 * learning.level:g} % intervals; the future is not known, so nothing here is a score.",
        data=DataCard(
            name=config.prepared,
            kind=config.kind,
            source=", ".join(f"{row['name']}: {row['product']}" for row in components),
            train=f"observed trends of {past}",
            test=f"none: {future} lies ahead",
            fingerprint=fingerprint(output[NAME].values),
        ),
        cost=cost,
        provenance=Origin.collect(
            ["sealevel-trend", "predict", config.prepared, "--model", config.model],
            config_hash(config),
            0,
            packages=["sealevel-trend"],
        ),
    )
    write_evaluation(evaluation, config.out / "evaluation.json")
    return str(write_report(config.out))
