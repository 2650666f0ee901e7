"""Intervals calibrated by blocks hold for new blocks; those calibrated by cells do not."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError, DataError
from isopleth.verify import block_conformal, blocks_needed

BLOCKS, CELLS, WORLDS = 15, 30, 2000


def worlds(seed=0, *, share=0.9, scale=None, blocks=BLOCKS):
    """Errors (world, block, cell), the last block to be predicted; `share` of the variance is a block's."""
    rng = np.random.default_rng(seed)
    own = np.sqrt(share) * rng.standard_normal((WORLDS, blocks + 1, 1))
    errors = own + np.sqrt(1 - share) * rng.standard_normal((WORLDS, blocks + 1, CELLS))
    return errors if scale is None else errors * scale


def half_widths(errors, level=0.9, **kwargs):
    block = np.repeat(np.arange(errors.shape[1] - 1), CELLS)
    return np.array([block_conformal(each[:-1].ravel(), block, level=level, **kwargs) for each in errors])


def naive(scores, level):
    """Split-conformal over single cells, as if they were exchangeable."""
    n = scores.size
    return np.sort(scores)[int(np.ceil((n + 1) * level)) - 1]


def coverage(errors, widths):
    return (np.abs(errors[:, -1]) <= widths[:, None]).mean()


def test_a_handful_by_hand():
    """Four blocks of two: each cell has mass 1/10; three quarters takes 8 of them, half takes 5."""
    residuals = np.array([1.0, -2, 3, -4, 5, -6, 7, -8])
    blocks = np.repeat(list("abcd"), 2)
    assert block_conformal(residuals, blocks, level=0.75) == 8
    assert block_conformal(residuals, blocks, level=0.5) == 5
    assert block_conformal(residuals, blocks, level=0.51) == 6


def test_single_cells_are_ordinary_split_conformal():
    rng = np.random.default_rng(1)
    for n in (9, 10, 57, 200):
        residuals = rng.standard_normal(n)
        assert block_conformal(residuals, np.arange(n)) == naive(np.abs(residuals), 0.9)


def test_blocks_count_once_however_many_cells_they_have():
    """A block of a thousand small errors outweighs nine blocks of one cell only if cells were counted."""
    residuals = np.concatenate([np.full(1000, 0.1), np.arange(1.0, 10.0)])
    blocks = np.concatenate([np.zeros(1000), np.arange(1.0, 10.0)])
    assert block_conformal(residuals, blocks, level=0.5) == 5
    assert naive(np.abs(residuals), 0.5) == 0.1


def test_area_weights_are_repeated_cells():
    rng = np.random.default_rng(2)
    residuals, blocks = rng.standard_normal(60), np.repeat(np.arange(12), 5)
    times = rng.integers(1, 5, 60)
    weighted = block_conformal(residuals, blocks, weights=times * 0.37)
    assert weighted == block_conformal(residuals.repeat(times), blocks.repeat(times))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_coverage_of_new_blocks_is_nominal_whatever_the_dependence(share):
    """At least the level, and not more than 1 / (K + 1) above; three standard errors of the simulation."""
    errors = worlds(share=share)
    got = coverage(errors, half_widths(errors))
    error = 3 * np.sqrt(0.09 / WORLDS)
    assert 0.9 - error < got < 0.9 + 1 / (BLOCKS + 1) + error


def test_counting_cells_is_too_narrow_where_errors_are_blocky():
    """Of 12 blocks that err as one, nine cells in ten reach to the eleventh: 11 / 13 of new blocks."""
    errors = worlds(share=0.999, blocks=12)
    cells = np.array([naive(np.abs(each[:-1]).ravel(), 0.9) for each in errors])
    assert coverage(errors, cells) == pytest.approx(11 / 13, abs=3 * np.sqrt(0.13 / WORLDS))
    assert coverage(errors, half_widths(errors)) == pytest.approx(12 / 13, abs=3 * np.sqrt(0.07 / WORLDS))


def test_a_scale_makes_the_intervals_hold_locally():
    """Half of the cells err ten times more: one width holds on average only, a scaled one in both halves."""
    spread = np.where(np.arange(CELLS) < CELLS // 2, 1.0, 10.0)
    errors = worlds(share=0.3, scale=spread)
    factors = half_widths(errors, scale=np.tile(spread, BLOCKS))
    plain = half_widths(errors)
    inside = np.abs(errors[:, -1]) <= factors[:, None] * spread
    flat = np.abs(errors[:, -1]) <= plain[:, None]
    for half in (slice(None, CELLS // 2), slice(CELLS // 2, None)):
        assert 0.88 < inside[:, half].mean() < 0.98
    assert flat[:, : CELLS // 2].mean() > 0.99
    assert flat[:, CELLS // 2 :].mean() < inside[:, CELLS // 2 :].mean() - 0.03


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), level=st.sampled_from([0.5, 0.8, 0.9]), factor=st.floats(1e-3, 1e3))
def test_scaling_order_and_names_do_not_matter(seed, level, factor):
    rng = np.random.default_rng(seed)
    residuals, blocks = rng.standard_normal(80), rng.permutation(80) % 11
    width = block_conformal(residuals, blocks, level=level)
    order = rng.permutation(80)
    assert block_conformal(residuals[order], blocks[order], level=level) == width
    assert block_conformal(-residuals, 100 - blocks, level=level) == width
    assert block_conformal(residuals * factor, blocks, level=level) == pytest.approx(width * factor)
    assert block_conformal(residuals, blocks, level=level, scale=2.0) == pytest.approx(width / 2)
    assert width in np.abs(residuals)


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_the_number_of_blocks_needed_suffices_and_no_fewer(level, needed):
    assert blocks_needed(level) == needed
    assert np.isfinite(block_conformal(np.ones(needed), np.arange(needed), level=level))
    if needed > 1:
        with pytest.raises(ConfigError, match=f"at least {needed} calibration blocks, got {needed - 1}"):
            block_conformal(np.ones(needed - 1), np.arange(needed - 1), level=level)


def test_maps_with_land_and_row_weights():
    rng = np.random.default_rng(3)
    coords = {"lat": np.linspace(-75, 75, 12), "lon": np.arange(20) * 18.0}
    field = xr.DataArray(rng.standard_normal((12, 20)), dims=("lat", "lon"), coords=coords)
    field = field.where(rng.random((12, 20)) > 0.2)
    blocks = xr.DataArray(np.arange(20), dims="lon", coords={"lon": coords["lon"]})
    weights = np.cos(np.radians(field.lat))
    known = field.notnull().values
    expected = block_conformal(
        field.values[known],
        np.broadcast_to(np.arange(20), (12, 20))[known],
        weights=np.broadcast_to(weights.values[:, None], (12, 20))[known],
    )
    assert block_conformal(field, blocks, weights=weights) == expected
    assert block_conformal(field.T, blocks, weights=weights) == expected


GOOD = np.ones(20)
NUMBERS = np.arange(20)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: block_conformal(GOOD, NUMBERS, level=1.0), ConfigError, "level must be between 0 and 1"),
        (lambda: blocks_needed(0.0), ConfigError, "level"),
        (
            lambda: block_conformal(GOOD * np.nan, NUMBERS),
            ConfigError,
            "at least 9 calibration blocks, got 0",
        ),
        (lambda: block_conformal(GOOD / 0.0, NUMBERS), DataError, "finite or NaN"),
        (lambda: block_conformal(GOOD, NUMBERS[:5]), DataError, "broadcast"),
        (lambda: block_conformal(GOOD, np.ones((3, 20))), DataError, "outgrow"),
        (
            lambda: block_conformal(GOOD, NUMBERS, scale=GOOD * 0),
            DataError,
            "scale must be finite and above 0",
        ),
        (lambda: block_conformal(GOOD, NUMBERS, weights=-GOOD), DataError, "not negative"),
        (lambda: block_conformal(GOOD, NUMBERS, weights=GOOD * 0), ConfigError, "got 0"),
        (
            lambda: block_conformal(GOOD, np.where(NUMBERS > 3, np.nan, 1.0)),
            DataError,
            "blocks must be known",
        ),
        (
            lambda: block_conformal(
                xr.DataArray(GOOD, dims="x", coords={"x": NUMBERS}),
                xr.DataArray(NUMBERS, dims="x", coords={"x": NUMBERS + 1}),
            ),
            DataError,
            "share their coordinates",
        ),
        (
            lambda: block_conformal(xr.DataArray(GOOD, dims="x"), xr.DataArray(NUMBERS, dims="y")),
            DataError,
            "outgrow",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_cannot_calibrate(call, error, message):
    with pytest.raises(error, match=message):
        call()
