"""What values stand for, and parts that give back their parent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geostint.semantics import is_never_negative, read_meaning, split_parents, write_meaning
from isopleth.errors import DataError


@pytest.mark.parametrize(
    ("methods", "meaning"),
    [
        ("time: point", "point"),
        ("time: mean", "mean"),
        ("time: mean (interval: 1 hour)", "mean"),
        ("time: sum", "sum"),
        ("area: mean time: sum", "sum"),
        ("time: lat: lon: mean", "mean"),
        ("month: year: mean", "mean"),
        ("area: mean", "point"),
        ("area: maximum time: point", "point"),
        ("", "point"),
    ],
)
def test_cell_methods(methods, meaning):
    assert read_meaning("2m_temperature", {"cell_methods": methods}) == meaning


def test_amounts_are_sums_where_nothing_is_said():
    assert read_meaning("total_precipitation_6hr", {}) == "sum"
    assert read_meaning("total_precipitation", {"cell_methods": "time: mean"}) == "mean"
    assert read_meaning("total_precipitation", {}, "point") == "point"


def test_extremes_have_no_parts():
    with pytest.raises(DataError, match=r"got 'maximum' \(in cell_methods of tasmax\)"):
        read_meaning("tasmax", {"cell_methods": "time: maximum"})


@pytest.mark.parametrize(
    ("stated", "written"),
    [
        ("", "time: mean"),
        ("time: mean (interval: 6 hours)", "time: mean"),
        ("area: mean time: sum", "area: mean time: mean"),
        ("time: mean area: lat: maximum", "area: lat: maximum time: mean"),
    ],
)
def test_what_was_stated_of_other_dimensions_stays(stated, written):
    assert write_meaning({"cell_methods": stated}, "mean") == written
    assert read_meaning("x", {"cell_methods": written}) == "mean"


def test_what_cannot_be_negative():
    assert is_never_negative("total_precipitation")
    assert is_never_negative("x", ("x",))
    assert not is_never_negative("u_component_of_wind")


def numbers(shape, low=-100, high=100):
    return arrays(np.float64, shape, elements=st.floats(low, high))


@given(numbers((3, 4)), numbers((5, 3, 4)))
def test_parts_of_means_and_sums_give_back_the_parent(parents, guess):
    means = split_parents(parents, guess, "mean", never_negative=False)
    np.testing.assert_allclose(means.mean(axis=0), parents, atol=1e-11)
    sums = split_parents(parents, guess, "sum", never_negative=False)
    np.testing.assert_allclose(sums.sum(axis=0), parents, atol=1e-11)


@given(numbers((3, 4), 0), numbers((4, 3, 4)))
@settings(max_examples=200)
def test_what_is_never_negative_stays_so_and_gives_back_the_parent(parents, guess):
    for meaning, total in (("mean", np.mean), ("sum", np.sum)):
        parts = split_parents(parents, guess, meaning, never_negative=True)
        assert (parts >= 0).all()
        np.testing.assert_allclose(total(parts, axis=0), parents, rtol=1e-12, atol=1e-300)


def test_parts_follow_the_guess():
    parts = split_parents([6.0], [[1.0], [2.0], [3.0]], "mean", never_negative=False)
    np.testing.assert_allclose(parts[:, 0], [5, 6, 7])
    parts = split_parents([6.0], [[1.0], [2.0], [3.0]], "mean", never_negative=True)
    np.testing.assert_allclose(parts[:, 0], [3, 6, 9])
    parts = split_parents([6.0], [[-1.0], [-2.0], [0.0]], "sum", never_negative=True)
    np.testing.assert_allclose(parts[:, 0], [2, 2, 2])


def test_missing_parents_have_missing_parts_and_missing_guesses_count_as_the_parent():
    parts = split_parents([np.nan, 3.0], [[1.0, np.nan], [2.0, np.nan]], "mean", never_negative=True)
    assert np.isnan(parts[:, 0]).all()
    np.testing.assert_array_equal(parts[:, 1], 3.0)
