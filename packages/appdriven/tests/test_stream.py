"""Fields read some times at a time get the card that they get in memory, in memory that does not grow."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from appdriven import case, grids
from appdriven.application import Application
from appdriven.evaluation import evaluate
from appdriven.grids import Grids, count_cells
from appdriven.predictions import read_predictions
from appdriven.splits import make_splits
from appdriven.stream import evaluate_grids
from appdriven.table import read_table
from isopleth.errors import ConfigError, DataError

SPLITS = {
    "time": {"kind": "time", "n": 4, "embargo": "5D"},
    "forward": {"kind": "forward", "n": 3, "embargo": "5D"},
    "holdout": {"kind": "holdout", "start": "2001-04-01", "embargo": "5D"},
    "space": {"kind": "space", "n": 3, "block_km": 4000.0, "buffer_km": 500.0},
    "space-time": {"kind": "space-time", "n": 2, "block_km": 4000.0, "embargo": "5D"},
}
DEFAULT = ("time", "space-time")


def make_fields(days=160, lat=5, lon=8, seed=0):
    """An AR(1) field with a feature, a probability, intervals, gaps in truth and predictions, and regions."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(days + 1, lat, lon))
    for day in range(1, days + 1):
        level[day] += 0.8 * level[day - 1]
    dims, place = ("time", "lat", "lon"), ("lat", "lon")
    coords = {
        "time": pd.date_range("2001-01-01", periods=days),
        "lat": np.linspace(-60.0, 60.0, lat), "lon": np.arange(lon) * 360.0 / lon,
    }  # fmt: skip
    truth = level[1:].copy()
    truth[rng.random(truth.shape) < 0.02] = np.nan
    truth[:, 0, 0] = np.nan
    said = 0.8 * level[:-1] + 0.1 * rng.normal(size=truth.shape)
    region = np.where(coords["lat"] > 0, 1.0, 0.0)[:, None] * np.ones(lon)
    data = xr.Dataset({"level": (dims, truth), "last": (dims, level[:-1]), "region": (place, region)}, coords)
    spread = {
        "prediction": said,
        "lower": said - 1.6,
        "upper": said + 1.6,
        "probability": 1 / (1 + np.exp(1.5 - said)),
    }
    return data, xr.Dataset({name: (dims, values) for name, values in spread.items()}, coords)


@pytest.fixture
def declared(declaration):
    declaration["data"]["columns"] = {
        "target": "level", "time": "time", "lat": "lat", "lon": "lon", "features": ["last"]
    }  # fmt: skip
    declaration["metrics"]["guard"] += [
        {"name": name, "threshold": "unknown: nobody asked", "set_by": "the tester"}
        for name in ("brier", "expected_cost")
    ]
    declaration["subgroups"]["columns"] = ["region"]
    declaration["baselines"] = {"domain": ["persistence", "climatology"], "learned": ["linear", "ridge"]}

    def declare(kind, **uncertainty):
        declaration["splits"] = {"reason": "as in use", **SPLITS[kind]}
        declaration["uncertainty"] = {"draws": 20, **uncertainty}
        return Application.from_dict(declaration)

    return declare


@pytest.fixture
def fields(tmp_path):
    data, said = make_fields()
    data.to_zarr(tmp_path / "data.zarr", consolidated=False)
    said.chunk(time=50).to_zarr(tmp_path / "said.zarr", consolidated=False)
    return tmp_path / "data.zarr", tmp_path / "said.zarr"


def whole(application, data, said):
    table = read_table(data, application.columns)
    folds = make_splits(application.splits, table)
    return evaluate(
        application, table, read_predictions(said, table, case.tested_samples(folds)), folds=folds
    )


def close(ours, theirs):
    """Compare what two cards hold, numbers to rounding."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            close(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            close(one, other)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    else:
        assert ours == theirs


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in DEFAULT else pytest.mark.slow) for kind in SPLITS]
)
def test_a_card_of_streamed_fields_is_that_of_the_fields_in_memory(kind, declared, fields):
    over = {"over": "space-time", "tile_km": 4000.0} if "space" in kind else {"over": "time"}
    application = declared(kind, **over)
    card = whole(application, *fields)
    again = evaluate_grids(application, Grids.open(application, *fields, block=1700))
    for name in ("scores", "claims"):
        close(again.evaluation[name], card.evaluation[name])
    for name in ("headline", "comparisons", "worst", "calibration", "decision", "shift", "coherence"):
        ours, theirs = (getattr(one, name) for one in (again, card))
        close(_plain(ours), _plain(theirs))
    assert (again.audit["train"], again.audit["test"]) == (card.audit["train"], card.audit["test"])
    assert again.audit["problems"] == card.audit["problems"] == []
    close(again.audit["gap_days"]["q00"], card.audit["gap_days"]["q00"])
    close(again.audit["distance_km"]["q00"], card.audit["distance_km"]["q00"])


def _plain(value):
    from appdriven.schema import to_plain

    return to_plain(value)


def test_scores_do_not_depend_on_the_block_or_on_the_sample(declared, fields, monkeypatch):
    application = declared("time", over="time")
    first = evaluate_grids(application, Grids.open(application, *fields))
    monkeypatch.setattr(grids, "_SAMPLE", 2000)
    again = evaluate_grids(application, Grids.open(application, *fields, block=1300))
    for one, other in zip(first.record.scores[:2], again.record.scores[:2], strict=True):
        assert one.model == pytest.approx(other.model, rel=1e-12)
        assert one.interval == pytest.approx(other.interval, rel=1e-9)
        assert one.baselines["climatology"] == pytest.approx(other.baselines["climatology"], rel=1e-12)
        assert one.baselines["linear"] == pytest.approx(other.baselines["linear"], rel=0.01)


def test_a_repeated_field_is_found_and_red(declared, fields, tmp_path):
    data, _ = make_fields()
    for name in ("level", "last"):
        data[name][150] = data[name][10]
    data.to_netcdf(tmp_path / "twice.nc")
    application = declared("time", over="time")
    card = evaluate_grids(application, Grids.open(application, tmp_path / "twice.nc", fields[1]))
    assert card.audit["duplicate_count"] == 2
    assert any("also stand in training" in check.finding for check in card.violations)


def test_the_command_streams_what_is_larger_than_it_may_hold(
    declared, declaration, declare, fields, run, tmp_path
):
    declared("time", over="time")
    path = declare(declaration)
    words = ["evaluate", path, "--data", fields[0], "--predictions", fields[1]]
    assert count_cells(fields[0]) == 160 * 40
    assert run(*words, "--out", tmp_path / "a")[0] == 0
    code, _, err = run(*words, "--out", tmp_path / "b", "--in_memory", 100)
    assert code == 0, err
    from appdriven.card import read_card

    first, again = read_card(tmp_path / "a"), read_card(tmp_path / "b")
    close(_plain(again.comparisons), _plain(first.comparisons))
    assert run("evaluate", path, "--data", fields[0], "--learner", "a:b", "--in_memory", 0)[0] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content["splits"].update(kind="random", acknowledge_leakage=True),
            "splits.kind must be",
        ),
        (lambda content: content["baselines"].update(command="x {train} {test} {out}"), "must be left out"),
        (
            lambda content: content["baselines"].update(domain=["cliper"]),
            "a baseline must be one of persistence",
        ),
        (lambda content: content["data"]["columns"].update(target="depth"), "must have the columns depth"),
        (lambda content: content["subgroups"].update(columns=["country"]), "must have the columns country"),
    ],
)
def test_what_cannot_be_streamed_is_one_clear_line(change, message, declared, declaration, fields):
    declared("time", over="time")
    change(declaration)
    application = Application.from_dict(declaration)
    with pytest.raises((ConfigError, DataError), match=message):
        evaluate_grids(application, Grids.open(application, *fields))


def test_predictions_that_do_not_fit_the_grid_are_refused(declared, fields):
    application = declared("time", over="time")
    data, said = (xr.open_zarr(path, consolidated=False) for path in fields)
    with pytest.raises(DataError, match="must cover all 160 tested times, got none for 40"):
        evaluate_grids(application, Grids(application, data, said.isel(time=slice(120))))
    with pytest.raises(DataError, match="must be on the data's own lon, got 7 others"):
        Grids(application, data, said.isel(lon=slice(7)))
    late = said.assign_coords(time=said.time + np.timedelta64(1, "h"))
    with pytest.raises(DataError, match="must be one of the data's"):
        evaluate_grids(application, Grids(application, data, late))
    few = Grids(application, data, said.where(said.lat > 0))
    with pytest.raises(DataError, match=r"must predict all but 0.00% of the tested samples"):
        evaluate_grids(application, few)
