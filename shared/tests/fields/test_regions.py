"""Regions that were planted are found; partitions compare as scikit-learn has it; seams show."""

import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError, DataError, MissingDependencyError
from isopleth.fields import (
    adjusted_rand_index,
    basin_regions,
    cluster_regions,
    measure_seams,
    region_stability,
    single_region,
)
from isopleth.grid import Grid

GRID = Grid.regular(12, 24)


def on_grid(values, grid=GRID, dims=("lat", "lon"), **coords):
    return xr.DataArray(values, dims=dims, coords={"lat": grid.lat, "lon": grid.lon, **coords})


def planted(noise=0.3, seed=0, *, regions=3):
    """Series that follow one of a few modes, in stripes of longitude; some cells are land."""
    rng = np.random.default_rng(seed)
    truth = np.broadcast_to((np.arange(24) * regions // 24)[None], GRID.shape).copy()
    modes = rng.standard_normal((regions, 60))
    values = modes[truth].transpose(2, 0, 1) * rng.uniform(0.5, 2, GRID.shape) + noise * rng.standard_normal(
        (60, 12, 24)
    )
    land = rng.random(GRID.shape) < 0.1
    values[:, land] = np.nan
    truth[land] = -1
    return on_grid(values, dims=("time", "lat", "lon")), truth


@pytest.mark.parametrize("contiguous", [False, True])
def test_planted_regions_are_found(contiguous):
    features, truth = planted()
    labels = cluster_regions(features, 3, contiguous=contiguous)
    assert adjusted_rand_index(labels, truth) > 0.98
    np.testing.assert_array_equal(labels == -1, truth == -1)
    sizes = np.bincount(labels.values[labels.values >= 0])
    assert (np.diff(sizes) <= 0).all()
    assert labels.attrs["flag_values"] == [0, 1, 2]


def test_the_embedding_is_scikit_learns():
    """On one graph our eigenvectors lead k-means to the same partition as SpectralClustering."""
    cluster = pytest.importorskip("sklearn.cluster")
    from isopleth.fields import _graph, regions

    features, truth = planted(noise=1.0)
    table, valid = regions._table(features, 3)
    points = regions._principal(regions._standardised(table), 20)
    graph = _graph.connect(_graph.feature_graph(points, 10), points)
    theirs = cluster.SpectralClustering(3, affinity="precomputed", random_state=0).fit_predict(
        graph.toarray()
    )
    ours = cluster_regions(features, 3, neighbours=10).values.ravel()[valid]
    assert adjusted_rand_index(ours, theirs) == 1
    assert adjusted_rand_index(ours, truth.ravel()[valid]) > 0.9


def test_both_solvers_span_the_same_space():
    from isopleth.fields import _graph, regions

    features, _ = planted(noise=0.5)
    table, _ = regions._table(features, 3)
    points = regions._principal(regions._standardised(table), 20)
    graph = _graph.connect(_graph.feature_graph(points, 10), points)
    spans = [np.linalg.qr(_graph.embed(graph, 3, 0, factorise=how))[0] for how in (True, False)]
    np.testing.assert_allclose(np.linalg.svd(spans[0].T @ spans[1])[1], 1, atol=1e-6)


def test_the_same_seed_gives_the_same_regions():
    features, _ = planted(noise=2.0)
    one, other = (cluster_regions(features, 4, seed=3) for _ in range(2))
    xr.testing.assert_identical(one, other)


def test_dims_and_lazy_input_do_not_matter():
    features, _ = planted()
    expected = cluster_regions(features, 3)
    turned = cluster_regions(features.transpose("lon", "time", "lat").chunk(lon=5), 3)
    xr.testing.assert_equal(turned, expected)


def test_standardising_looks_at_phase_not_amplitude():
    """Loud and quiet cells of two phases are two regions by phase, and four as they stand."""
    rng = np.random.default_rng(0)
    phase, loud = np.arange(24) % 2, (GRID.lat > 0)[:, None]
    waves = np.stack([np.sin(np.arange(60)), np.cos(np.arange(60))])[phase].T[:, None]
    series = waves * np.where(loud, 30.0, 1.0) + 1e-3 * rng.standard_normal((60, 12, 24))
    features = on_grid(series, dims=("time", "lat", "lon"))
    assert adjusted_rand_index(cluster_regions(features, 2), np.broadcast_to(phase, (12, 24))) == 1
    assert adjusted_rand_index(cluster_regions(features, 4, standardise=False), phase + 2 * loud) == 1


def test_contiguous_regions_are_in_one_piece():
    """Two basins far apart that vary alike are one cluster, and not one contiguous region."""
    wave = np.sin(np.arange(60))
    values = np.broadcast_to(wave[:, None, None], (60, 12, 24)).copy()
    values[:, :, 6:12] = np.cos(np.arange(60) / 3)[:, None, None]
    values[:, :, 18:] = np.cos(np.arange(60) / 3)[:, None, None]
    features = on_grid(
        values + 0.05 * np.random.default_rng(0).standard_normal(values.shape), dims=("time", "lat", "lon")
    )
    apart = cluster_regions(features, 2)
    assert len(np.unique(apart[6])) == 2
    joined = cluster_regions(features, 4, contiguous=True).values
    changes = (joined != np.roll(joined, 1, axis=1)).sum(axis=1)
    assert changes.tolist() == [4] * 12
    assert len(np.unique(joined)) == 4


def test_land_may_cut_the_sea_in_two():
    features, _ = planted(regions=2)
    features[:, :, 5] = np.nan
    features[:, 6] = np.nan
    features[:, :, 17] = np.nan
    labels = cluster_regions(features, 2, contiguous=True)
    assert set(np.unique(labels)) == {-1, 0, 1}


def test_constant_cells_duplicates_and_single_fields():
    still = on_grid(np.ones((5, 12, 24)), dims=("time", "lat", "lon"))
    assert set(np.unique(cluster_regions(still, 2))) <= {0, 1}
    one_field = on_grid(np.where(GRID.lat[:, None] > 0, 1.0, 0.0) + np.zeros(24))
    assert adjusted_rand_index(cluster_regions(one_field, 2), one_field.values.astype(int)) == 1
    pair = still.where(still.lat == still.lat[0]).where(still.lon < 20)
    assert sorted(np.unique(cluster_regions(pair, 2))) == [-1, 0, 1]


def test_stability_tells_regions_from_noise():
    firm = region_stability(planted()[0], 3, seeds=range(3))
    assert firm.worst > 0.95
    rng = np.random.default_rng(0)
    loose = region_stability(
        on_grid(rng.standard_normal((60, 12, 24)), dims=("time", "lat", "lon")), 3, seeds=range(3)
    )
    assert loose.mean < 0.3
    assert loose.labels.sizes["seed"] == 3
    np.testing.assert_array_equal(np.diag(loose.agreement), 1)


labelling = st.lists(st.integers(0, 4), min_size=2, max_size=60)


@settings(max_examples=100, deadline=None)
@given(a=labelling, b=labelling)
def test_adjusted_rand_index_is_scikit_learns(a, b):
    metrics = pytest.importorskip("sklearn.metrics")
    size = min(len(a), len(b))
    expected = metrics.adjusted_rand_score(a[:size], b[:size])
    assert adjusted_rand_index(a[:size], b[:size]) == pytest.approx(expected, abs=1e-12)


def test_basins_across_the_dateline():
    grid = Grid.regular(36, 72)
    basins = {
        "Pacific box": [(160, -20), (-140, -20), (-140, 20), (160, 20)],
        "Atlantic box": [(-40, -20), (-10, -20), (-10, 20), (-40, 20), (-40, -20)],
    }
    labels = basin_regions(basins, grid)
    lon, lat = np.meshgrid(grid.lon, grid.lat)
    pacific = (np.abs(lat) < 20) & (lon >= 160) & (lon < 220)
    atlantic = (np.abs(lat) < 20) & (lon >= 320) & (lon < 350)
    np.testing.assert_array_equal(labels, np.where(pacific, 0, np.where(atlantic, 1, -1)))
    assert labels.attrs["flag_meanings"] == "Pacific_box Atlantic_box"
    shifted = {name: [(x + 360, y) for x, y in reversed(corners)] for name, corners in basins.items()}
    xr.testing.assert_equal(basin_regions(shifted, grid), labels)


def test_a_triangle_against_its_half_planes():
    grid = Grid.regular(90, 180)
    labels = basin_regions({"triangle": [(350.1, -30.3), (31.4, -30.3), (10.2, 45.7)]}, grid)
    lon, lat = np.meshgrid((grid.lon + 180) % 360 - 180, grid.lat)
    left = (lat + 30.3) * 20.1 < 76 * (lon + 9.9)
    right = (lat + 30.3) * 21.2 < 76 * (31.4 - lon)
    np.testing.assert_array_equal(labels == 0, (lat > -30.3) & left & right)


def test_seams_of_a_known_step():
    """Two halves that differ by 3, on a slope of 1 a column: steps of 4 across the border, 1 inside."""
    values = np.broadcast_to(np.arange(24.0), (12, 24)).copy()
    labels = on_grid(np.broadcast_to((np.arange(24) >= 12).astype(int), (12, 24)))
    seams = measure_seams(on_grid(values + 3 * labels.values), labels)
    assert seams.by_border == {
        (0, 1): pytest.approx((4 + 26) / 2)
    }  # the other border is 23 -> 0 round the globe
    assert seams.pairs == 24
    regional = Grid(GRID.lat, np.arange(24.0))
    seams = measure_seams(on_grid(values + 3 * labels.values, regional), on_grid(labels.values, regional))
    assert seams.jump == pytest.approx(4)
    assert seams.pairs == 12
    height, width = 15.0, np.cos(np.radians(GRID.lat_bounds[:-1, 1])).sum() * 24
    assert seams.inner == pytest.approx(height * 12 * 22 / (height * 12 * 22 + width))


def test_seams_leave_out_land_and_know_one_region():
    field = on_grid(np.random.default_rng(0).standard_normal((12, 24)))
    whole = single_region(field.notnull())
    assert np.isnan(measure_seams(field, whole).jump)
    assert measure_seams(field, whole).pairs == 0
    halves = xr.where(field.lon > 180, 1, 0).broadcast_like(field).transpose("lat", "lon")
    patchy = field.where(field > -1)
    assert measure_seams(patchy, halves).ratio == pytest.approx(1, abs=0.3)
    assert np.isnan(measure_seams(field * np.nan, halves).ratio)


def test_decreasing_latitude_has_the_same_seams():
    field = on_grid(np.random.default_rng(0).standard_normal((12, 24)))
    labels = xr.where(field > 0, 1, 0)
    turned = measure_seams(field.isel(lat=slice(None, None, -1)), labels.isel(lat=slice(None, None, -1)))
    assert turned.jump == pytest.approx(measure_seams(field, labels).jump, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda f: cluster_regions(f * np.nan, 2),
            DataError,
            "valid cells must be at least the 2 regions, got 0",
        ),
        (lambda f: cluster_regions(f.where(f.lat != f.lat[0], np.inf), 2), DataError, "finite or NaN"),
        (lambda f: cluster_regions(f, 0), ConfigError, "n must be"),
        (lambda f: cluster_regions(f, 2, neighbours=0), ConfigError, "neighbours"),
        (lambda f: cluster_regions(f.rename(lat="y"), 2), DataError, "lat and lon"),
        (lambda f: cluster_regions(f.values, 2), DataError, "DataArray"),
        (lambda f: region_stability(f, 2, seeds=[1]), ConfigError, "at least two"),
        (lambda f: region_stability(f[0], 2), DataError, "dimension to draw from"),
        (lambda f: adjusted_rand_index([0, 1], [0]), DataError, "one shape"),
        (lambda f: adjusted_rand_index([-1], [0]), DataError, "in common"),
        (lambda f: measure_seams(f, f[0]), DataError, "one .lat, lon. grid"),
        (lambda f: measure_seams(f[0], f[0, 1:]), DataError, "one .lat, lon. grid"),
        (lambda f: basin_regions({}, GRID), DataError, "at least one polygon"),
        (lambda f: basin_regions({"line": [(0, 0), (9, 9)]}, GRID), DataError, "three corners"),
        (lambda f: basin_regions({"cap": [(0, 60), (120, 60), (240, 60)]}, GRID), DataError, "round a pole"),
        (lambda f: basin_regions({"pond": [(1, 1), (2, 1), (2, 2)]}, GRID), DataError, "centre of a cell"),
        (lambda f: basin_regions({"hole": [(1, 1), (np.nan, 1), (2, 2)]}, GRID), DataError, "finite"),
    ],
)
def test_input_that_has_no_regions(call, error, message):
    with pytest.raises(error, match=message):
        call(planted()[0])


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingDependencyError, match=r"isopleth\[regions\]"):
        cluster_regions(planted()[0], 2)
