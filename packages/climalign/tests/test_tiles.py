import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from climalign.tiles import Tiling
from isopleth.errors import ConfigError


@given(
    rows=st.integers(1, 12), columns=st.integers(1, 12), tile=st.integers(1, 40), overlap=st.integers(0, 20),
    multiple=st.sampled_from([1, 2, 4, 8]),
)  # fmt: skip
def test_tiles_cover_the_region_and_blend_to_what_they_agree_on(rows, columns, tile, overlap, multiple):
    tiling = Tiling(rows * multiple, columns * multiple, tile, min(overlap, tile // 2), multiple)
    field = np.random.default_rng(0).normal(size=(2, tiling.rows, tiling.columns)).astype(np.float32)
    for window in tiling.windows():
        assert all(span.start % multiple == 0 and span.stop % multiple == 0 for span in window)
    np.testing.assert_allclose(tiling.blend(lambda window: field[(..., *window)]), field, rtol=1e-5)


def test_seams_are_ramps():
    tiling = Tiling(4, 24, 16, 8, 4)
    left, _ = tiling.windows()
    blended = tiling.blend(lambda w: np.full((4, 16), 0.0 if w == left else 1.0, dtype=np.float32))
    assert (np.diff(blended[0]) >= 0).all()
    assert blended[0, 0] == 0
    assert blended[0, -1] == 1
    assert np.abs(np.diff(blended[0])).max() < 0.2


def test_regions_of_other_sizes_are_refused():
    with pytest.raises(ConfigError, match="multiples of 4"):
        Tiling(10, 8, 8, 0, 4)
