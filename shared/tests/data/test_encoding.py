from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isopleth.data.encoding import decode, digest, encode, fill_value, is_fill, stored_dtype
from isopleth.data.memory import available_memory, read_budget
from isopleth.errors import ConfigError

FINITE = arrays(
    np.float32, st.integers(1, 50), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)


@given(FINITE)
def test_bfloat16_is_rounded_as_torch_rounds_it(values: np.ndarray) -> None:
    expected = torch.from_numpy(values.copy()).to(torch.bfloat16)
    np.testing.assert_array_equal(
        encode(values, "bfloat16"), expected.view(torch.int16).numpy().view(np.uint16)
    )
    np.testing.assert_array_equal(decode(encode(values, "bfloat16"), "bfloat16"), expected.float().numpy())


@given(FINITE)
def test_float32_is_exact(values: np.ndarray) -> None:
    np.testing.assert_array_equal(decode(encode(values, "float32"), "float32"), values)


def test_float16_is_within_half_a_unit() -> None:
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    assert np.abs(decode(encode(values, "float16"), "float16") / values - 1).max() <= 2.0**-11


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_a_missing_chunk_reads_as_is_no_number(dtype: str) -> None:
    missing = np.full(3, fill_value(dtype), dtype=stored_dtype(dtype))
    assert is_fill(missing, dtype).all()
    assert np.isnan(decode(missing, dtype)).all()
    assert not is_fill(encode(np.array([0.0, -1.5, 3e4]), dtype), dtype).any()


def test_digest_is_that_of_the_bytes() -> None:
    import hashlib

    a, b = np.arange(5.0), np.arange(3, dtype="u1")
    assert digest(a, b).tobytes() == hashlib.sha256(a.tobytes() + b.tobytes()).digest()


def test_memory_budget_is_read() -> None:
    assert read_budget("4 GB") == 4_000_000_000
    assert read_budget(0) == 0
    assert 0 < read_budget(None) <= available_memory()
    for wrong in ("lots", -1, float("nan")):
        with pytest.raises(ConfigError, match=r"memory_budget must be"):
            read_budget(wrong)
