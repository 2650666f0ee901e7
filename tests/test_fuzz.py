"""Damaged input ends in one clear line, soon, and nowhere else: a fixed number of cases for each reader."""

import pytest

from fuzzing import TARGETS, fuzz

CASES = 150


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_read_or_refused(name):
    found = fuzz(name, CASES)
    assert found["failures"] == []
    assert found["read"] + found["refused"] + found["crashed"] == CASES
    # The damage is damage, and the reader reads.
    assert found["refused"] > 0
