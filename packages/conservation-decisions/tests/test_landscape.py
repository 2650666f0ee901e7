"""The one problem: what it holds, what it refuses, and that it comes back from disk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conservation_decisions.config import SampleConfig
from conservation_decisions.landscape import Landscape
from conservation_decisions.sample import make_landscape
from conservation_decisions.sources import open_landscape
from isopleth.errors import DataError


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cost": [1, np.nan]}, "cost must be finite, got nan for unit 1"),
        ({"cost": [1, -2]}, "cost must be at least 0, got -2.0 for unit 1"),
        ({"amount": [[1, -1]]}, "amount must be at least 0, got -1.0 for feature feature 0, unit 1"),
        ({"amount": [1, 2]}, "2 or 3 dimensions"),
        ({"amount": [[1, 2, 3]]}, "fit each other"),
        ({"locked_in": [1, 0], "locked_out": [1, 0]}, "in and out"),
        ({"threat": [0.1, 2]}, "probability"),
        ({"edges": ([0], [5], [1.0])}, "edges must join units 0 to 1"),
        ({"edges": ([0], [0], [1.0])}, "join two units"),
        ({"edges": ([0, 1], [1, 0], [1.0, 1.0])}, "given once"),
        ({"units": [3, 3]}, "named once"),
        ({"colour": [1, 2]}, "variables must be some of"),
        ({"group": [0, 5], "group_names": ["a"]}, "group must be -1 to 0"),
    ],
)
def test_what_contradicts_itself_is_refused(change, told):
    parts = {"cost": [1, 2], "amount": [[1, 2]], **change}
    with pytest.raises(DataError, match=told):
        Landscape.build(parts.pop("cost"), parts.pop("amount"), **parts)


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_a_landscape_comes_back_from_disk(landscape, tmp_path, ending):
    path = landscape.save(tmp_path / f"landscape{ending}")
    back = open_landscape(path)
    assert back.dataset.drop_attrs().equals(landscape.dataset.drop_attrs())
    assert back.group_names == landscape.group_names
    assert back.features == landscape.features
    again = back.save(tmp_path / f"again{ending}")
    assert open_landscape(again).group_names == landscape.group_names


def test_groups_without_names_are_named_by_their_numbers():
    land = Landscape.build([1] * 4, [[1] * 4], group=[7, -1, 3, 7])
    assert land.group_names == ("3", "7")
    assert land.group.tolist() == [1, -1, 0, 1]


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_a_part_keeps_its_perimeter(seed):
    rng = np.random.default_rng(seed)
    land = make_landscape(SampleConfig(side=5, features=1, members=1, surveys=3), seed=1).landscape
    mask = rng.random(25) < 0.6
    mask[rng.integers(25)] = True
    part = land.take_units(mask)
    first, second, length = part.edges
    shared = np.bincount(first, length, part.units) + np.bincount(second, length, part.units)
    np.testing.assert_allclose(shared + part.exposed, 4 * 2000)
    np.testing.assert_array_equal(part.cost, land.cost[mask])


def test_means_totals_and_members(made):
    land = made.landscape
    np.testing.assert_allclose(land.mean_amounts, land.amounts.mean(axis=0))
    np.testing.assert_allclose(land.totals(), land.amounts.mean(axis=0).sum(axis=1))
    two = land.take_members([0, 3])
    np.testing.assert_array_equal(two.amounts, land.amounts[[0, 3]])
    np.testing.assert_array_equal(two.threats, land.threats[[0, 3]])
    assert (land.boundary.toarray() == land.boundary.toarray().T).all()


def test_the_truth_is_one_more_draw_of_the_members():
    # Ranks of the truth among the members are uniform: decisions under uncertainty are judged fairly.
    ranks = []
    for seed in range(40):
        made = make_landscape(SampleConfig(side=6, features=2, members=9, surveys=8), seed=seed)
        held, truth = made.landscape.amounts[:, 0].sum(axis=1), made.truth[0].sum()
        ranks.append((held < truth).sum())
    counts = np.bincount(np.array(ranks) // 2, minlength=5)
    assert counts.sum() == 40
    # Chi-squared with 4 degrees of freedom: above 18.5 once in a thousand.
    assert ((counts - 8) ** 2 / 8).sum() < 18.5


def test_the_same_seed_is_the_same_landscape():
    one, two, other = (make_landscape(SampleConfig(side=5, surveys=5), seed=seed) for seed in (1, 1, 2))
    assert one.landscape.dataset.equals(two.landscape.dataset)
    assert not one.landscape.dataset.equals(other.landscape.dataset)
