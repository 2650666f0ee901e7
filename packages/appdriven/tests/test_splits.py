"""Splits keep the distance they say, blocks have the size they say, and planted leaks are found."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appdriven.application import Columns, Splits
from appdriven.splits import (
    audit_splits,
    find_duplicates,
    find_fitted_statistics,
    make_splits,
    measure_variogram,
    space_folds,
    space_time_folds,
)
from appdriven.splits.audit import prove_distance
from appdriven.table import Table
from isopleth.errors import ConfigError, DataError
from isopleth.fields import Fold, tile_labels, time_folds
from isopleth.grid import EARTH_RADIUS_KM, great_circle_km

COLUMNS = Columns(target="y", time="time", lat="lat", lon="lon", group="site", features=("x", "z"))


def smooth_field(lat, lon, scale_km, rng, waves=200):
    """A Gaussian field of correlation exp(-(h / scale)²) in the tangent plane at the equator."""
    km = np.pi * EARTH_RADIUS_KM / 180
    k = rng.normal(size=(waves, 2)) * np.sqrt(2) / scale_km
    phase = rng.uniform(0, 2 * np.pi, waves)
    return np.sqrt(2 / waves) * np.cos(np.outer(lon * km, k[:, 0]) + np.outer(lat * km, k[:, 1]) + phase).sum(
        axis=1
    )


@pytest.fixture(scope="module")
def table() -> Table:
    rng = np.random.default_rng(0)
    size = 1500
    lat, lon = rng.uniform(-20, 20, size), rng.uniform(0, 40, size)
    day = rng.integers(0, 400, size)
    frame = pd.DataFrame(
        {
            "y": smooth_field(lat, lon, 500, rng), "lat": lat, "lon": lon,
            "time": pd.Timestamp("2001-01-01") + pd.to_timedelta(day, "D"),
            "site": (np.floor(lat) * 100 + np.floor(lon)).astype(int).astype(str),
            "x": rng.normal(size=size), "z": rng.normal(size=size),
        }
    )  # fmt: skip
    return Table(frame, COLUMNS)


def splits(**options):
    return Splits(**{"reason": "a test", **options})


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"kind": "space", "block_km": 600.0, "buffer_km": 150.0}, {"min_km": 150.0}),
        ({"kind": "time", "embargo": "9D"}, {"min_gap": "9D"}),
        ({"kind": "forward", "embargo": "9D"}, {"min_gap": "9D"}),
        ({"kind": "holdout", "embargo": "9D", "start": "2001-09-01"}, {"min_gap": "9D"}),
        (
            {"kind": "space-time", "n": 3, "block_km": 600.0, "buffer_km": 100.0, "embargo": "9D"},
            {"min_km": 100.0, "min_gap": "9D"},
        ),
    ],
)
def test_the_audited_distance_is_at_least_what_was_asked(table, options, asked):
    folds = make_splits(splits(**options), table)
    prove_distance(folds, table, **asked)  # the core refuses folds that are closer
    found = audit_splits(folds, table)
    if "min_km" in asked:
        assert found.distance_km["q00"] >= asked["min_km"] - 1e-6
    if "min_gap" in asked:
        assert found.gap_days["q00"] >= 9


@given(size=st.floats(200, 3000), buffer=st.floats(0, 400), seed=st.integers(0, 5))
def test_buffers_hold_for_any_block(size, buffer, seed):
    rng = np.random.default_rng(seed)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 400))), rng.uniform(0, 360, 400)
    for fold in space_folds(lat, lon, 3, size_km=size, buffer_km=buffer, seed=seed):
        far = great_circle_km(
            lat[fold.test][:, None], lon[fold.test][:, None], lat[fold.train], lon[fold.train]
        )
        assert far.min() >= buffer - 1e-6
        assert np.array_equal(np.sort(np.concatenate([fold.train, fold.test, fold.dropped])), np.arange(400))


def test_the_variogram_finds_the_range_of_a_known_field(table):
    """exp(-(h / 500)²) has lost 95 % of its correlation at 865 km; the fit says about that."""
    found = measure_variogram(table.target, *table.place)
    assert 600 < found.range_km < 1800
    assert found.sill == pytest.approx(1.0, rel=0.4)
    noise = np.random.default_rng(1).normal(size=len(table))
    flat = measure_variogram(noise, *table.place)
    assert flat.nugget + (flat.at(np.array([100.0]))[0] - flat.nugget) == pytest.approx(1.0, rel=0.15)


def test_blocks_take_the_variograms_range_by_default(table):
    folds = make_splits(splits(kind="space"), table)
    assert f"{measure_variogram(table.target, *table.place, times=table.time).range_km:.0f} km" in folds.kind


def test_random_folds_are_refused_unless_named(table):
    with pytest.raises(DataError, match="must be independent to be split at random, got Moran's I"):
        make_splits(splits(kind="random"), table)
    assert len(make_splits(splits(kind="random", acknowledge_leakage=True), table)) == 5


def test_they_are_scikit_learn_splitters(table):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import cross_val_score

    folds = make_splits(splits(kind="group"), table)
    scores = cross_val_score(Ridge(), table.features, table.target, cv=folds)
    assert scores.shape == (5,)
    assert audit_splits(folds, table).shared_groups == 0


def test_a_planted_duplicate_is_found(table):
    frame = table.frame.copy()
    frame.iloc[1400] = frame.iloc[3]
    planted = Table(frame, COLUMNS)
    fold = Fold(np.arange(1000), np.arange(1000, 1500), np.array([], int))
    assert find_duplicates(table, fold) == []
    assert find_duplicates(planted, fold) == [(0, 1400, 1)]
    found = audit_splits([fold], planted)
    assert "1 test samples also stand in training" in found.problems


def test_a_planted_scaler_leak_is_found(table):
    frame = table.frame.assign(x=table.frame["x"] + np.where(np.arange(1500) >= 1000, 1.0, 0.0))
    shifted = Table(frame, COLUMNS)
    fold = Fold(np.arange(1000), np.arange(1000, 1500), np.array([], int))

    def statistics(rows):
        return {
            name: {"mean": frame[name].iloc[rows].mean(), "std": frame[name].iloc[rows].std(ddof=0)}
            for name in ("x", "z")
        }

    assert find_fitted_statistics(shifted, fold, statistics(slice(1000))) == []
    assert "x" in find_fitted_statistics(shifted, fold, statistics(slice(None)))
    found = audit_splits([fold], shifted, statistics=statistics(slice(None)))
    assert any("fitted on the test as well" in problem for problem in found.problems)
    with pytest.raises(DataError, match="must have mean and std"):
        find_fitted_statistics(shifted, fold, {"x": {"mean": 0.0}})


def test_overlapping_forecast_windows_are_counted():
    days = pd.date_range("2001-01-01", periods=20)
    frame = pd.DataFrame({"y": np.arange(20.0), "time": days, "site": ["a"] * 10 + ["b"] * 10})
    table = Table(frame, Columns(target="y", time="time", group="site"))
    by_site = Fold(np.arange(10), np.arange(10, 20), np.array([], int))
    assert audit_splits([by_site], table, window="3D").overlapping == 0
    inside = Fold(np.r_[0:5, 10:20], np.arange(5, 10), np.array([], int))
    found = audit_splits([inside], table, window="3D")
    assert found.overlapping == 2  # days 6 and 7 are within three days of day 5
    assert found.shared_groups == 1


def test_space_and_time_are_both_left_out(table):
    space = space_folds(*table.place, 3, size_km=900)
    both = space_time_folds(space, time_folds(table.time, 3, embargo="5D"))
    assert len(both) == 9
    site = tile_labels(*table.place, size_km=900, exact=True)
    for fold in both:
        assert not set(site[fold.test]) & set(site[fold.train])


def test_the_split_that_came_with_the_data_is_taken(table):
    side = np.where(np.arange(1500) < 900, "train", np.where(np.arange(1500) < 1000, "drop", "test"))
    columns = Columns(target="y", split="side")
    folds = make_splits(splits(kind="column"), Table(table.frame.assign(side=side), columns))
    assert [folds[0].train.size, folds[0].test.size, folds[0].dropped.size] == [900, 500, 100]
    with pytest.raises(DataError, match="must say train, validate, test or drop"):
        make_splits(splits(kind="column"), Table(table.frame.assign(side=["x"] * 1500), columns))
    with pytest.raises(DataError, match="must have both sides"):
        make_splits(splits(kind="column"), Table(table.frame.assign(side=["test"] * 1500), columns))


def test_hostile_settings_are_one_line(table):
    with pytest.raises(DataError, match="must have train samples"):
        make_splits(splits(kind="space", block_km=600.0, buffer_km=9000.0), table)
    with pytest.raises(ConfigError, match="buffer_km must be at least 0"):
        make_splits(splits(kind="space", block_km=600.0, buffer_km=-1.0), table)
    with pytest.raises(ConfigError, match="embargo must be a duration"):
        make_splits(splits(kind="time", embargo=3.0), table)
    with pytest.raises(DataError, match="ten known samples"):
        measure_variogram(np.full(5, np.nan), np.zeros(5), np.zeros(5))
