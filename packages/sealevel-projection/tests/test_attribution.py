"""Shapley values and permutation importance against closed forms."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError
from isopleth.grid import Grid
from isopleth.sealevel.rows import Rows
from sealevel_projection.attribution import (
    permutation_importance,
    shapley_of_trends,
    summarise_contributions,
)
from sealevel_projection.config import AttributionConfig
from sealevel_projection.experiments import fit_slopes

CONFIG = AttributionConfig(permutations=5)


def make_rows(signals: int = 3, years: int = 8, seed: int = 0, *, degrees: int = 10) -> Rows:
    """Independent standard normal inputs on a whole grid, every cell at every time."""
    grid = Grid.regular(180 // degrees, 360 // degrees)
    cells = grid.lat.size * grid.lon.size
    lat, lon = (axis.ravel() for axis in np.meshgrid(grid.lat, grid.lon, indexing="ij"))
    inputs = np.random.default_rng(seed).normal(size=(cells * years, signals))
    return Rows(
        inputs=inputs,
        target=np.zeros(len(inputs)),
        weight=np.tile(np.cos(np.radians(lat)), years),
        lat=np.tile(lat, years),
        lon=np.tile(lon, years),
        cell=np.tile(np.arange(cells), years),
        segment=np.tile((lat > 0).astype(np.int64), years),
        step=np.repeat(np.arange(years), cells),
        features=tuple("abcdefghijkl"[:signals]),
        grid=grid,
        times=np.arange(2020, 2020 + years) + 0.5,
        units="mm",
    )


def trends_of(rows: Rows, values: np.ndarray) -> np.ndarray:
    return fit_slopes(rows.years, values, rows.cell)


def test_a_linear_prediction_has_the_closed_form():
    rows, beta = make_rows(4), np.array([1.0, -2.0, 0.5, 0.0])
    found = shapley_of_trends(lambda r: r.inputs @ beta + 3.0, rows, CONFIG)
    expected = np.stack([trends_of(rows, rows.inputs[:, k] * beta[k]) for k in range(4)])
    assert found.exact
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    np.testing.assert_allclose(found.base, 0.0, atol=1e-12)


def test_a_nonlinear_prediction_agrees_with_the_definition():
    """The mean over all orders of what a signal adds when it joins, written out."""
    rows = make_rows(3, degrees=30)

    def predict(r):
        a, b, c = r.inputs.T
        return np.maximum(a + b, 0.0) * c + a**2 + 2.0

    found = shapley_of_trends(predict, rows, CONFIG)
    expected = np.zeros_like(found.values)
    for order in permutations(range(3)):
        kept = np.zeros(3)
        before = trends_of(rows, predict(rows.with_inputs(rows.inputs * kept)))
        for k in order:
            kept[k] = 1.0
            after = trends_of(rows, predict(rows.with_inputs(rows.inputs * kept)))
            expected[k] += (after - before) / 6.0
            before = after
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    np.testing.assert_allclose(found.total, trends_of(rows, predict(rows)), atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), signals=st.integers(1, 5))
def test_contributions_sum_to_the_projection_exact_or_sampled(seed, signals):
    rows = make_rows(signals, years=4, seed=seed, degrees=45)
    weights = np.random.default_rng(seed).normal(size=(signals, 3))

    def predict(r):
        return np.tanh(r.inputs @ weights).sum(axis=1)

    for config in (CONFIG, AttributionConfig(exact_up_to=1, permutations=3, seed=seed)):
        found = shapley_of_trends(predict, rows, config)
        np.testing.assert_allclose(found.total, trends_of(rows, predict(rows)), atol=1e-9)


def test_one_cell_and_as_many_cells_as_signals_are_laid_out_alike():
    rows, beta = make_rows(3, degrees=30), np.array([1.0, 2.0, 3.0])
    for cells in (1, 3):
        few = rows.take(rows.cell < cells)
        found = shapley_of_trends(lambda r: r.inputs @ beta, few, CONFIG)
        expected = [fit_slopes(few.years, few.inputs[:, k] * beta[k], few.cell) for k in range(3)]
        np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_sampled_values_tend_to_the_exact_ones():
    rows = make_rows(4, degrees=45)

    def predict(r):
        return np.maximum(r.inputs @ np.array([1.0, -1.0, 2.0, 0.5]), 0.0)

    exact = shapley_of_trends(predict, rows, CONFIG)
    sampled = shapley_of_trends(predict, rows, AttributionConfig(exact_up_to=2, permutations=200))
    assert not sampled.exact
    assert np.abs(sampled.values - exact.values).max() < 0.1 * np.abs(exact.values).max()


def test_a_group_joins_as_one():
    rows, beta = make_rows(3, degrees=30), np.array([1.0, 2.0, -1.0])
    groups = {"ab": ("a", "b"), "c": ("c",)}
    found = shapley_of_trends(lambda r: r.inputs @ beta, rows, CONFIG, groups=groups)
    assert found.signals == ("ab", "c")
    np.testing.assert_allclose(found.values[0], trends_of(rows, rows.inputs[:, :2] @ beta[:2]), atol=1e-12)
    with pytest.raises(ConfigError, match="once"):
        shapley_of_trends(lambda r: r.inputs @ beta, rows, CONFIG, groups={"a": ("a",)})


def test_permutation_importance_is_twice_the_squared_effect():
    rows, beta = make_rows(3, years=20), np.array([1.0, -2.0, 0.0])
    truth = replace(rows, target=rows.inputs @ beta)
    found = permutation_importance(lambda r: r.inputs @ beta, truth, CONFIG, names=("south", "north"))
    for one in found:
        k = rows.features.index(one.signal)
        assert one.increase == pytest.approx(2.0 * beta[k] ** 2, rel=0.1, abs=1e-12)
        assert one.interval[0] <= one.increase <= one.interval[1]
    assert {one.region for one in found} == {"ocean", "south", "north"}


def test_regional_means_are_by_area_and_seeds_bound_them():
    rows, beta = make_rows(2), np.array([1.0, 2.0])
    found = shapley_of_trends(lambda r: r.inputs @ beta, rows, CONFIG)
    other = shapley_of_trends(lambda r: r.inputs @ (2 * beta), rows, CONFIG)
    shares = summarise_contributions(found, rows, ("south", "north"), members=[found, other])
    weight = np.cos(np.radians(rows.lat[: found.values.shape[1]]))
    ocean = next(one for one in shares if (one.signal, one.region) == ("b", "ocean"))
    assert ocean.mean == pytest.approx(np.average(found.values[1], weights=weight))
    assert ocean.size == pytest.approx(np.average(np.abs(found.values[1]), weights=weight))
    assert ocean.seeds == pytest.approx(tuple(sorted((ocean.mean, 2 * ocean.mean))))
