"""Windows against loops over tokens: who sees whom, and by which bias."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archesweather.model.windows import Partition, cut_axis, earth_position_index

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
WINDOWS = st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4))


def seen_pairs(partition):
    """The pairs of tokens that share a window and are not masked from each other."""
    kept = np.zeros(partition.index.numel(), dtype=bool)
    kept[partition.place.numpy()] = True
    shape = (partition.columns, partition.kinds, partition.tokens)
    index, kept = partition.index.numpy().reshape(shape), kept.reshape(shape)
    mask = None if partition.mask is None else partition.mask.numpy()[:, :, 0]
    pairs = set()
    for column, kind in np.ndindex(*shape[:2]):
        for i, j in np.ndindex(partition.tokens, partition.tokens):
            apart = mask is not None and mask[column % len(mask), kind, i, j] != 0
            if not apart and kept[column, kind, i]:
                assert kept[column, kind, j], "a token sees padding"
                pairs.add((index[column, kind, i], index[column, kind, j]))
    return pairs


def same_group(size, window, shift, *, periodic):
    """Group of each token along an axis, by the definition: cells between window edges, seams cut."""
    places = np.arange(size)
    if periodic:
        return ((places - shift) % size) // window
    return (places - shift) // window


@given(grid=SIZES, window=WINDOWS, periodic=st.booleans(), shifted=st.booleans())
def test_tokens_see_each_other_exactly_within_their_group(grid, window, periodic, shifted):
    window = tuple(map(min, window, grid))
    shift = tuple(
        size // 2 if shifted and length > size else 0 for size, length in zip(window, grid, strict=True)
    )
    partition = Partition(grid, window, shift, periodic=periodic)
    groups = [
        same_group(length, size, move, periodic=periodic and axis == 2)
        for axis, (length, size, move) in enumerate(zip(grid, window, shift, strict=True))
    ]
    levels, _, columns = grid
    number = lambda z, h, w: (h * columns + w) * levels + z  # noqa: E731
    tokens = list(itertools.product(*map(range, grid)))
    expected = {
        (number(*a), number(*b))
        for a in tokens
        for b in tokens
        if all(group[i] == group[j] for group, i, j in zip(groups, a, b, strict=True))
    }
    assert seen_pairs(partition) == expected


@given(grid=SIZES, window=WINDOWS, periodic=st.booleans())
def test_every_token_has_one_place(grid, window, periodic):
    partition = Partition(grid, window, (0, 1, 1), periodic=periodic)
    index, place = partition.index.flatten().numpy(), partition.place.numpy()
    assert index[place].tolist() == list(range(np.prod(grid)))
    assert len(set(place.tolist())) == len(place)
    assert partition.padded == (len(index) != len(place))


def test_the_released_shift_joins_the_poles():
    partition = Partition((1, 6, 4), (1, 3, 4), (0, 1, 0), periodic=True, masked=False)
    rows = {frozenset((a // 4, b // 4)) for a, b in seen_pairs(partition)}
    assert frozenset((0, 5)) in rows
    assert partition.mask is None
    masked = Partition((1, 6, 4), (1, 3, 4), (0, 1, 0), periodic=True)
    assert frozenset((0, 5)) not in {frozenset((a // 4, b // 4)) for a, b in seen_pairs(masked)}


def test_windows_that_fill_the_globe_need_no_mask_in_longitude():
    partition = Partition((2, 3, 8), (1, 3, 4), (0, 0, 2), periodic=True)
    assert partition.mask is None
    regional = Partition((2, 3, 8), (1, 3, 4), (0, 0, 2), periodic=False)
    assert regional.mask.shape == (2, 2, 1, 12, 12)


def test_cut_axis_by_hand():
    cut = cut_axis(7, 3, 1, periodic=True)
    assert cut.source.tolist() == [1, 2, 3, 4, 5, 6, 0, -1, -1]
    assert cut.region.tolist() == [0] * 7 + [-1, -1]


@pytest.mark.parametrize("window", [(1, 3, 4), (2, 2, 3)])
def test_earth_position_index_by_loops(window):
    levels, rows, columns = window
    tokens = list(itertools.product(*map(range, window)))
    index = earth_position_index(window)
    for (i, (z, h, w)), (j, (zk, hk, wk)) in itertools.product(enumerate(tokens), repeat=2):
        expected = (z + zk * levels) * rows**2 * (2 * columns - 1)
        expected += (h + hk * rows) * (2 * columns - 1) + w - wk + columns - 1
        assert index[i, j] == expected
    # All rows of the table of levels**2 * rows**2 * (2 columns - 1) are in use.
    assert len(np.unique(index)) == levels**2 * rows**2 * (2 * columns - 1) == index.max() + 1
