"""Numbers and units in print: nothing lost, nothing claimed beyond the interval."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.report import notation
from isopleth.report.notation import (
    MINUS,
    choose_decimals,
    format_number,
    format_percent,
    format_seconds,
    format_units,
)


def test_doctests():
    result = doctest.testmod(notation)
    assert result.attempted == 4
    assert result.failed == 0


@pytest.mark.parametrize(
    ("values", "intervals", "decimals"),
    [
        ([61.2], [(59.8, 62.5)], 1),  # 2.7 wide: two digits of it
        ([61.2, 900.0], [(59.8, 62.5), (850.0, 950.0)], 1),
        ([12345.0], [(12000.0, 13000.0)], 0),
        ([0.5], [(0.5, 0.5)], 3),  # an interval of no width says nothing
        ([61.2], [], 1),
        ([0.00123], [], 5),
        ([0.001, 100000.0], [], 0),
        ([], [], 0),
        ([0.0], [None], 0),
    ],
)
def test_decimals(values, intervals, decimals):
    assert choose_decimals(values, intervals) == decimals


@settings(deadline=None)
@given(value=st.floats(-1e12, 1e12), decimals=st.integers(0, 6))
def test_a_number_is_printed_to_within_half_of_its_last_digit(value, decimals):
    text = format_number(value, decimals).replace(MINUS, "-").replace(",", "")
    tolerance = 0.5001 * 10.0**-decimals
    if abs(value) >= 1e9:
        tolerance = 0.0051 * abs(value)
    assert float(text) == pytest.approx(value, abs=tolerance)
    assert bool(float(text)) == bool(value), "a number that is not zero is not printed as zero"


@pytest.mark.parametrize(
    ("units", "written"),
    [
        ("m2 s-2", "m² s⁻²"),
        ("K", "K"),
        ("1", ""),
        ("kg kg-1", "kg kg⁻¹"),
        ("m^3", "m³"),
        ("mm yr-1", "mm yr⁻¹"),
        ("%", "%"),
        ("degrees_north", "degrees_north"),
        ("days since 1990-01-01", "days since 1990-01-01"),
        ("1e-3", "1e-3"),
    ],
)
def test_units(units, written):
    assert format_units(units) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 s"), (0.004, "0.004 s"), (9.94, "9.94 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"),
     (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (360_000, "100 h 0 min")],
)  # fmt: skip
def test_seconds(seconds, written):
    assert format_seconds(seconds) == written


def test_percent_never_shows_minus_zero():
    assert format_percent(-0.0001) == "0 %"
    assert format_percent(-0.5) == f"{MINUS}50 %"
    assert format_percent(12.0) == "+1,200 %"
