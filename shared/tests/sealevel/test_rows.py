"""Rows hold every cell that is complete, with its own area, and lay out on the grid again."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.sealevel.rows import build_rows

UNITS = {"units": "mm year-1"}


def make_inputs(models=3, rows=6, columns=12, times=None, seed=0):
    grid = Grid.regular(rows, columns)
    dims, shape = ["model", "lat", "lon"], [models, rows, columns]
    coords = {"model": [f"M{k}" for k in range(models)], "lat": grid.lat, "lon": grid.lon}
    if times is not None:
        dims.insert(1, "time")
        shape.insert(1, len(times))
        coords["time"] = times
    values = np.random.default_rng(seed).normal(size=shape)
    return xr.DataArray(values, coords, dims, attrs=UNITS)


def test_a_row_is_a_cell_with_its_models_and_its_target():
    inputs = make_inputs()
    target = inputs.sum("model").assign_attrs(UNITS)
    rows = build_rows(inputs, target)
    k = 17
    here = inputs.sel(lat=rows.lat[k], lon=rows.lon[k])
    assert rows.features == ("M0", "M1", "M2")
    np.testing.assert_array_equal(rows.inputs[k], here.values)
    np.testing.assert_allclose(rows.target, rows.inputs.sum(axis=1))
    assert rows.units == "mm year-1"
    assert not rows.left_out


def test_weights_are_exact_areas_and_not_cosines_of_degrees():
    rows = build_rows(make_inputs(rows=90, columns=4))
    south, north = np.radians(rows.lat - 1), np.radians(rows.lat + 1)
    area = np.sin(north) - np.sin(south)
    np.testing.assert_allclose(rows.weight / rows.weight[0], area / area[0], rtol=1e-9)
    assert rows.weight.mean() == pytest.approx(1)
    assert np.corrcoef(rows.weight, np.abs(np.cos(rows.lat)))[0, 1] < 0.2


def test_a_cell_that_lacks_something_is_left_out_and_counted():
    inputs = make_inputs()
    target = inputs.mean("model").assign_attrs(UNITS)
    inputs[:, 0, :] = np.nan
    target[0, :] = np.nan  # land for all: nothing to count
    inputs[1, 2, 3] = np.nan
    inputs[:2, 3, 4] = np.nan
    target[5, 5] = np.nan
    rows = build_rows(inputs, target)
    assert len(rows) == 72 - 12 - 3
    assert rows.left_out == {"M0": 1, "M1": 2, "target": 1}


def test_time_makes_a_row_of_each_step_and_years_follow_the_calendar():
    times = np.array(["1999-07-02", "2000-07-02"], dtype="datetime64[ns]")
    rows = build_rows(make_inputs(times=times))
    assert len(rows) == 2 * 72
    np.testing.assert_allclose(np.unique(rows.years), [1999.5, 2000.5], atol=0.01)
    field = rows.to_field(rows.inputs[:, 1])
    np.testing.assert_array_equal(field.values, make_inputs(times=times).isel(model=1).values)


def test_a_cell_that_never_knows_all_at_once_is_counted():
    inputs = make_inputs(times=np.array(["1999-07-02", "2000-07-02"], dtype="datetime64[ns]"))
    inputs[0, 0, 1, 1], inputs[1, 1, 1, 1] = np.nan, np.nan
    assert build_rows(inputs).left_out == {"the same times": 1}


@given(st.integers(0, 2**32 - 1))
def test_values_come_back_to_the_cells_they_left(seed):
    rng = np.random.default_rng(seed)
    inputs = make_inputs(seed=seed).where(xr.DataArray(rng.random((6, 12)) > 0.4, dims=("lat", "lon")))
    rows = build_rows(inputs)
    for k in range(3):
        np.testing.assert_array_equal(rows.to_field(rows.inputs[:, k]).values, inputs[k].values)


def test_segments_label_rows_and_leave_out_what_is_outside():
    inputs = make_inputs()
    labels = xr.DataArray(np.zeros((6, 12), int), {"lat": inputs.lat, "lon": inputs.lon}, ("lat", "lon"))
    labels[:, 6:], labels[0, :] = 1, -1
    rows = build_rows(inputs, segments=labels)
    assert len(rows) == 60
    assert rows.left_out == {"segment": 12}
    np.testing.assert_array_equal(rows.segment, (rows.lon > 170).astype(int))


@pytest.mark.parametrize("fill", [1e36, 1e20, np.inf, -2147483648.0])
def test_a_fill_value_read_as_data_is_refused(fill):
    inputs = make_inputs()
    inputs[1, 0, 0] = fill
    with pytest.raises(DataError, match="must be finite") as error:
        build_rows(inputs)
    assert "M1" in str(error.value)


def test_a_target_in_other_units_or_on_another_grid_is_refused():
    inputs = make_inputs()
    target = inputs.mean("model")
    with pytest.raises(DataError, match="same units"):
        build_rows(inputs, target.assign_attrs(units="cm year-1"))
    with pytest.raises(DataError, match="one lat axis"):
        build_rows(inputs, target.assign_coords(lat=target.lat + 1e-3))
    with pytest.raises(DataError, match="dimensions"):
        build_rows(inputs, target.isel(lon=0))


def test_nothing_complete_says_who_lacks_what():
    inputs = make_inputs()
    inputs[2] = np.nan
    with pytest.raises(DataError, match="'M2': 72"):
        build_rows(inputs)


def test_inputs_of_another_shape_or_with_nan_are_refused():
    rows = build_rows(make_inputs())
    with pytest.raises(DataError, match="inputs must be finite"):
        rows.with_inputs(rows.inputs[:, :2])
    with pytest.raises(DataError, match="inputs must be finite"):
        rows.with_inputs(np.full(rows.inputs.shape, np.nan))
