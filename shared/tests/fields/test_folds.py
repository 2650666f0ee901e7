"""Folds keep the distance they promise, by properties over many draws and by known layouts."""

import cftime
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError, DataError
from isopleth.fields import (
    audit,
    block_folds,
    group_folds,
    holdout,
    link_groups,
    make_folds,
    random_folds,
    storm_seasons,
    tile_labels,
    time_folds,
)
from isopleth.grid import EARTH_RADIUS_KM, great_circle_km

DAYS = np.arange("2000-01-01", "2004-01-01", dtype="datetime64[D]").astype("datetime64[ns]")


def assert_partition(folds, size):
    """Each sample is in exactly one part of each fold."""
    for fold in folds:
        parts = np.concatenate([fold.train, fold.test, fold.dropped])
        np.testing.assert_array_equal(np.sort(parts), np.arange(size))


def assert_tested_once(folds, size):
    np.testing.assert_array_equal(np.sort(np.concatenate([f.test for f in folds])), np.arange(size))


def reject_unless(error, *reasons):
    """Let hypothesis draw again where the draw cannot be split, and fail on any other error."""
    if not any(reason in str(error) for reason in reasons):
        raise error
    reject()


def closest_km(lat, lon, fold):
    """The naive distance: every test sample against every training sample."""
    a, b = fold.test, fold.train
    return float(great_circle_km(lat[a, None], lon[a, None], lat[b], lon[b]).min())


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(st.integers(0, 3000), min_size=40, max_size=120),
    n=st.integers(2, 4),
    embargo=st.integers(0, 60),
    forward=st.booleans(),
)
def test_time_folds_keep_the_embargo(days, n, embargo, forward):
    times = np.datetime64("1999-01-01", "ns") + np.array(days) * np.timedelta64(1, "D")
    try:
        folds = time_folds(times, n, embargo=f"{embargo}D", forward=forward)
    except DataError as error:
        reject_unless(error, "distinct stamps", "must have train")
    assert len(folds) == n
    assert_partition(folds, len(days))
    for fold in folds:
        gap = np.abs(times[fold.test][:, None] - times[fold.train]).min() / np.timedelta64(1, "D")
        assert gap >= max(embargo, 1)
        # Nothing is dropped that the embargo does not ask for.
        if not forward:
            inside = (times >= times[fold.test].min() - np.timedelta64(embargo, "D")) & (
                times <= times[fold.test].max() + np.timedelta64(embargo, "D")
            )
            assert inside[fold.dropped].all()
        else:
            assert times[fold.train].max() < times[fold.test].min()
    if not forward:
        assert_tested_once(folds, len(days))


def test_time_folds_on_a_daily_axis():
    folds = time_folds(DAYS, 4, embargo="30D")
    second = folds[1]
    assert second.test.tolist() == list(range(366, 731))
    assert second.dropped.tolist() == [*range(337, 366), *range(731, 760)]
    assert audit(folds, times=DAYS, min_gap="30D").least("min_gap") == 30


def test_rolling_origin():
    folds = time_folds(DAYS, 3, embargo="10D", forward=True, train_window="200D")
    for fold in folds:
        reach = DAYS[fold.test].min() - DAYS[fold.train]
        assert reach.min() == np.timedelta64(10, "D")
        assert reach.max() == np.timedelta64(200, "D")


def test_time_folds_take_other_calendars_and_numbers():
    model = np.array([cftime.Datetime360Day(2000 + y, m, 30) for y in range(3) for m in range(1, 13)])
    assert audit(time_folds(model, 3, embargo="60D"), times=model).least("min_gap") == 60
    years = np.repeat(np.arange(1980, 2010), 5)
    folds = time_folds(years, 3, embargo=2)
    assert audit(folds, times=years).least("min_gap") == 2
    assert audit(time_folds(years, 3, embargo=0), times=years).least("min_gap") == 1


def test_holdout_by_season():
    seasons = np.array([2008, 2009, 2010, 2011, 2012, 2010])
    (fold,) = holdout(seasons, 2011, embargo=2)
    assert (fold.train.tolist(), fold.dropped.tolist(), fold.test.tolist()) == ([0, 1], [2, 5], [3, 4])
    (fold,) = holdout(DAYS, "2003-01-01", embargo="5D")
    assert DAYS[fold.test[0]] == np.datetime64("2003-01-01")
    assert DAYS[fold.train[-1]] == np.datetime64("2002-12-27")


places = st.lists(st.tuples(st.floats(-90, 90), st.floats(-720, 720)), min_size=60, max_size=150, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    places=places,
    n=st.integers(2, 4),
    buffer_km=st.sampled_from([0.0, 100.0, 800.0]),
    layout=st.sampled_from(["tiles", "sectors"]),
    seed=st.integers(0, 5),
)
def test_block_folds_keep_the_buffer(places, n, buffer_km, layout, seed):
    lat, lon = np.array(places).T
    try:
        folds = block_folds(lat, lon, n, buffer_km=buffer_km, layout=layout, seed=seed)
    except DataError as error:
        reject_unless(error, "at least the", "must have")
    assert_partition(folds, len(lat))
    assert_tested_once(folds, len(lat))
    for fold in folds:
        assert closest_km(lat, lon, fold) >= buffer_km - 1e-6
        if fold.dropped.size and buffer_km:
            kept_out = [
                great_circle_km(lat[i], lon[i], lat[fold.test], lon[fold.test]).min() for i in fold.dropped
            ]
            assert max(kept_out) < buffer_km + 1e-6


@pytest.mark.parametrize("layout", ["tiles", "sectors"])
def test_block_folds_know_no_dateline(layout):
    """The same points in another convention of longitude are in the same folds, also at +-180 and 0/360."""
    lat, lon = (a.ravel() for a in np.meshgrid(np.arange(-88, 89, 4.0), np.arange(0, 360, 4.0)))
    shifted = np.where(lon >= 180, lon - 360, lon)
    for one, other in zip(
        block_folds(lat, lon, buffer_km=500, layout=layout),
        block_folds(lat, shifted, buffer_km=500, layout=layout),
        strict=True,
    ):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.test, other.test)
        assert closest_km(lat, lon, one) >= 500
        assert one.test.size == pytest.approx(len(lat) / 5, rel=0.1)


def test_tiles_are_as_large_as_asked():
    lat, lon = (a.ravel() for a in np.meshgrid(np.arange(-59.5, 60), np.arange(0.5, 360)))
    (fold, *_) = block_folds(lat, lon, 2, buffer_km=0, size_km=1000)
    # Along the equator, tiles of 1000 km: blocks of 9 degrees alternate at random, but never split.
    tested = np.isin(np.flatnonzero(lat == 0.5), fold.test).reshape(40, 9)
    assert (tested.all(axis=1) | ~tested.any(axis=1)).all()


def test_exact_tiles_have_exactly_the_size_asked():
    degree, size = np.pi * EARTH_RADIUS_KM / 180, 700.0
    south = np.linspace(-90, 90, 20001)
    rows = tile_labels(south, np.zeros_like(south), size_km=size, exact=True)
    edges = south[np.flatnonzero(np.diff(rows))] * degree
    assert np.diff(edges) == pytest.approx(np.full(edges.size - 1, size), abs=2)
    row = np.floor(90 * degree / size)
    middle = (row + 0.5) * size / degree - 90
    along = np.linspace(0, 359.999, 40001)
    columns = tile_labels(np.full_like(along, middle), along, size_km=size, exact=True)
    borders = along[np.flatnonzero(np.diff(columns))] * degree * np.cos(np.radians(middle))
    assert np.diff(borders) == pytest.approx(np.full(borders.size - 1, size), abs=2)


def test_exact_blocks_are_whole_exact_tiles():
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 500))), rng.uniform(0, 360, 500)
    tiles = tile_labels(lat, lon, size_km=1700, exact=True)
    for fold in block_folds(lat, lon, 4, buffer_km=0, size_km=1700, exact=True):
        assert not set(tiles[fold.test]) & set(tiles[fold.train])


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 30), min_size=30, max_size=200),
    n=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_group_folds_keep_groups_whole(groups, n, seed):
    names = np.array([f"storm {g}" for g in groups])
    if len(set(groups)) < n:
        with pytest.raises(DataError, match="at least the"):
            group_folds(names, n, seed=seed)
        return
    folds = group_folds(names, n, seed=seed)
    assert_partition(folds, len(names))
    assert_tested_once(folds, len(names))
    sizes = [fold.test.size for fold in folds]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()
    for fold in folds:
        assert not set(names[fold.train]) & set(names[fold.test])


def test_the_seed_decides():
    groups = np.arange(50) // 2
    for make in (
        lambda seed: group_folds(groups, seed=seed),
        lambda seed: block_folds(np.linspace(-60, 60, 50), np.arange(50) * 7.0, buffer_km=0, seed=seed),
        lambda seed: random_folds(50, seed=seed, acknowledge_leakage=True),
    ):
        assert all(np.array_equal(a.test, b.test) for a, b in zip(make(1), make(1), strict=True))
        assert not all(np.array_equal(a.test, b.test) for a, b in zip(make(1), make(2), strict=True))


def test_link_groups_follows_chains():
    """a-b share a name, b-c share a number: all three are one storm."""
    names, numbers = np.array(["A", "A", "B", "C", "D"]), np.array([1, 2, 2, 3, 4])
    linked = link_groups(names, numbers)
    assert linked[0] == linked[1] == linked[2]
    assert len(set(linked.tolist())) == 3
    assert len(set(link_groups(names).tolist())) == 4


def test_storm_seasons():
    times = np.array(["2019-12-30", "2020-01-02", "2020-08-01", "2020-08-01"], dtype="datetime64[ns]")
    assert storm_seasons(times, [-15, -15, -15, 15]).tolist() == [2020, 2020, 2021, 2020]
    model = np.array([cftime.Datetime360Day(2019, 12, 30)])
    assert storm_seasons(model, [-15.0]).tolist() == [2020]


def test_folds_are_a_scikit_learn_splitter():
    linear = pytest.importorskip("sklearn.linear_model")
    selection = pytest.importorskip("sklearn.model_selection")
    x = np.random.default_rng(0).standard_normal((len(DAYS), 2))
    folds = time_folds(DAYS, 4, embargo="30D")
    scores = selection.cross_val_score(linear.LinearRegression(), x, x @ [1.0, 2.0], cv=folds)
    np.testing.assert_allclose(scores, 1)
    assert folds.get_n_splits(x, None) == 4
    with pytest.raises(DataError, match="1461 samples"):
        list(folds.split(x[:10]))


def smooth_field(seed, *, white):
    lat, lon = (a.ravel() for a in np.meshgrid(np.arange(-60, 61, 6.0), np.arange(0, 360, 6.0)))
    rng = np.random.default_rng(seed)
    wave = np.sin(np.radians(3 * lon + 50 * seed)) * np.cos(np.radians(2 * lat))
    return lat, lon, rng.standard_normal(lat.size) if white else wave


def test_random_folds_are_refused_on_smooth_fields():
    lat, lon, smooth = smooth_field(0, white=False)
    with pytest.raises(DataError, match=r"Moran's I over space of 0\.\d\d .*block_folds"):
        random_folds(lat.size, values=smooth, lat=lat, lon=lon)
    with pytest.raises(DataError, match="lag-1 correlation in time"):
        make_folds("random", len(DAYS), values=np.cumsum(np.sin(np.arange(len(DAYS)))), times=DAYS)
    with pytest.raises(ConfigError, match="must be given values"):
        random_folds(100)
    assert_tested_once(make_folds("random", lat.size, acknowledge_leakage=True), lat.size)


def test_random_folds_are_allowed_on_independent_samples():
    refused = 0
    for seed in range(20):
        lat, lon, white = smooth_field(seed, white=True)
        try:
            assert_partition(random_folds(lat.size, values=white, lat=lat, lon=lon), lat.size)
        except DataError:
            refused += 1
    assert refused == 0


def test_random_folds_leak_and_blocks_do_not():
    """A null experiment: coordinates alone seem to predict a smooth field, but only by its neighbours."""
    neighbours = pytest.importorskip("sklearn.neighbors")
    lat, lon, target = smooth_field(0, white=False)
    place = np.stack([lat, lon], axis=1)
    error = {}
    for name, folds in {
        "random": random_folds(lat.size, acknowledge_leakage=True),
        "block": block_folds(lat, lon, buffer_km=2000, layout="sectors"),
    }.items():
        squares = [
            (neighbours.KNeighborsRegressor(4).fit(place[a], target[a]).predict(place[b]) - target[b]) ** 2
            for a, b in folds.split()
        ]
        error[name] = np.sqrt(np.concatenate(squares).mean()) / target.std()
    assert error["random"] < 0.4
    assert error["block"] > 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: time_folds(DAYS[:1], 2, embargo=0), DataError, "distinct stamps"),
        (lambda: time_folds(np.repeat(DAYS[:2], 50), 3, embargo=0), DataError, "distinct stamps"),
        (lambda: time_folds(DAYS, 2, embargo="9999D"), DataError, "must have train samples"),
        (lambda: time_folds(DAYS, 1, embargo=0), ConfigError, "at least 2"),
        (lambda: time_folds(DAYS, 2, embargo=30), ConfigError, "duration"),
        (lambda: time_folds(DAYS, 2, embargo=0, train_window="9D"), ConfigError, "forward"),
        (lambda: block_folds([0.0, 0.0], [0.0, 0.0], 2, buffer_km=0), DataError, "at least the 2 folds"),
        (lambda: block_folds([0.0, np.nan], [0.0, 1.0], 2, buffer_km=0), DataError, "finite"),
        (lambda: block_folds([0.0, 91.0], [0.0, 1.0], 2, buffer_km=0), DataError, r"\[-90, 90\]"),
        (lambda: block_folds([0.0, 0.0], [0.0, 180.0], 2, buffer_km=20016), DataError, "must have train"),
        (lambda: block_folds([0.0], [0.0], 2, buffer_km=-1), ConfigError, "buffer_km"),
        (lambda: block_folds([0.0], [0.0], 2, buffer_km=0, layout="rings"), ConfigError, "layout"),
        (lambda: group_folds(["a", None], 2), DataError, "missing"),
        (lambda: group_folds([1.0, np.nan], 2), DataError, "missing"),
        (lambda: group_folds([], 2), DataError, "non-empty"),
        (lambda: link_groups([1, 2], [1]), DataError, "one length"),
        (lambda: storm_seasons([2000], [1]), DataError, "dates"),
        (lambda: random_folds(1, 2, acknowledge_leakage=True), DataError, "at least the 2 folds"),
        (lambda: random_folds(9, 2, values=np.ones(8), times=np.arange(9)), DataError, r"shape \(9,\)"),
        (lambda: make_folds("loo", 5), ConfigError, "kind must be"),
    ],
)
def test_what_cannot_be_split(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_two_antipodes_can_be_split():
    folds = block_folds([0.0, 0.0], [0.0, 180.0], 2, buffer_km=20000)
    assert [fold.test.size for fold in folds] == [1, 1]
