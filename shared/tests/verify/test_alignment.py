import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.verify import acc, bias, crps, mae, rmse, score


def field(lat=(-45.0, 0.0, 45.0), **attrs):
    values = np.arange(2.0 * len(lat)).reshape(2, -1)
    return xr.DataArray(values, {"time": [0, 1], "lat": list(lat)}, ("time", "lat"), attrs=attrs)


@pytest.mark.parametrize("lat", [(-45.0, 0.0, 46.0), (45.0, 0.0, -45.0), (-45.0, 0.0)])
def test_misaligned_coordinates_are_refused_naming_both(lat):
    with pytest.raises(DataError) as caught:
        rmse(field(lat), field())
    message = str(caught.value)
    assert "forecast and truth must share the coordinate 'lat'" in message
    assert f"{len(lat)} values from {lat[0]} to {lat[-1]} in forecast" in message
    assert "3 values from -45.0 to 45.0 in truth" in message


def test_misaligned_times_are_refused():
    with pytest.raises(DataError, match="'time'"):
        rmse(field(), field().assign_coords(time=[1, 2]))
    stamped = field().assign_coords(time=np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"))
    with pytest.raises(DataError, match="2020-01-01"):
        rmse(stamped, stamped.assign_coords(time=stamped["time"] + np.timedelta64(6, "h")))


def test_coordinates_that_differ_by_float32_rounding_are_the_same():
    lat = np.linspace(-89.9, 89.9, 19)
    truth = xr.DataArray(np.ones(19), {"lat": lat}, ["lat"])
    forecast = (truth + 1).assign_coords(lat=lat.astype("float32"))
    assert not np.array_equal(forecast["lat"], lat)
    assert float(bias(forecast, truth, weights=forecast - 1)) == 1.0


def test_lengths_without_labels_must_agree():
    with pytest.raises(DataError, match="2 without labels in forecast and 3 without labels in truth"):
        rmse(xr.DataArray([1.0, 2.0], dims="x"), xr.DataArray([1.0, 2.0, 3.0], dims="x"))


def test_climatology_and_weights_are_aligned_too():
    other = field((-45.0, 0.0, 50.0)).isel(time=0, drop=True)
    with pytest.raises(DataError, match="climatology and truth must share the coordinate 'lat'"):
        acc(field(), field(), other)
    with pytest.raises(DataError, match="weights and truth must share the coordinate 'lat'"):
        rmse(field(), field(), weights=other)
    with pytest.raises(DataError, match="weights must share a dimension"):
        rmse(field(), field(), weights=xr.DataArray([1.0], dims="latitude"))


def test_other_units_are_refused():
    with pytest.raises(DataError, match="same units, got 'K' and 'degC'"):
        rmse(field(units="K"), field(units="degC"))


def test_scalar_coordinates_may_differ():
    result = rmse(field().assign_coords(level=500), field().assign_coords(level=850, note="x"))
    assert float(result) == 0.0


@pytest.mark.parametrize("weights", [[1.0, -1.0, 1.0], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0]])
def test_unusable_weights_are_refused(weights):
    with pytest.raises(DataError, match="finite and not negative"):
        rmse(field(), field(), weights=np.array(weights))


def test_zero_weights_everywhere_give_nan():
    assert np.isnan(float(rmse(field(), field(), weights=np.zeros(3))))


def test_bare_weights_weigh_latitude_rows():
    forecast = field() + xr.DataArray([1.0, 5.0, 9.0], dims="lat")
    assert float(bias(forecast.transpose("lat", "time"), field(), weights=np.array([0.0, 1.0, 0.0]))) == 5.0


def test_missing_cells_drop_out_in_pairs_and_weights_are_renormalised():
    truth = field().where(field() != 1)
    forecast = (field() + xr.DataArray([1.0, 5.0, 9.0], dims="lat")).where(field() != 5)
    weights = xr.DataArray([1.0, 2.0, 3.0], dims="lat")
    # left: rows 1 and 1 (errors 1), one of row 2 (error 5), one of row 3 (error 9)
    assert float(bias(forecast, truth, weights=weights)) == (1 + 1 + 2 * 5 + 3 * 9) / (1 + 1 + 2 + 3)


def test_nothing_left_gives_nan():
    truth = field().where(field()["lat"] > 0)
    by_row = mae(field(), truth, dims="time")
    np.testing.assert_array_equal(np.isnan(by_row), [True, True, False])
    assert np.isnan(float(mae(field(), truth * np.nan)))


def test_missing_cells_can_be_refused():
    with pytest.raises(DataError, match="truth must hold no missing value, got 1 of 6"):
        rmse(field(), field().where(field() != 1), nan="raise")
    assert float(rmse(field(), field(), nan="raise")) == 0.0
    with pytest.raises(ConfigError, match="nan must be"):
        rmse(field(), field(), nan="drop")


def test_infinite_values_are_not_missing():
    assert float(rmse(field().where(field() != 1, np.inf), field())) == np.inf


def test_unknown_names_are_listed():
    with pytest.raises(ConfigError, match=r"dims must be among \('time', 'lat'\), got \('latitude',\)"):
        rmse(field(), field(), dims="latitude")
    with pytest.raises(ConfigError, match=r"metrics must be among bias, .*, got rsme"):
        score("rsme", field(), field())
    with pytest.raises(ConfigError, match="climatology must be given"):
        score("acc", field(), field())
    with pytest.raises(DataError, match="must share a variable, got \\['t'\\] and \\['u'\\]"):
        score("rmse", field().to_dataset(name="t"), field().to_dataset(name="u"))


def test_forecast_without_members_is_refused():
    with pytest.raises(DataError, match="must have the dimension 'member'"):
        crps(field(), field())


def test_nothing_to_score_gives_nan_and_no_members_are_refused():
    empty = xr.DataArray(np.zeros((0, 3)), dims=("time", "lat"))
    assert np.isnan(float(rmse(empty, empty)))
    assert np.isnan(rmse(empty, empty, dims="time")).all()
    with pytest.raises(DataError, match="at least one member"):
        crps(empty.rename(time="member"), xr.DataArray(np.zeros(3), dims="lat"))


def test_text_is_not_a_field():
    with pytest.raises(DataError, match="forecast must hold real numbers"):
        rmse(xr.DataArray(["a", "b"]), xr.DataArray([1.0, 2.0]))


def test_float32_is_averaged_in_float64():
    truth = np.zeros(3_000_000, "float32")
    assert float(bias(truth + np.float32(0.1), truth)) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_bare_arrays_match_from_the_last_axis():
    forecast = np.arange(24.0).reshape(2, 3, 4)
    assert float(mae(forecast, np.zeros(4))) == 11.5
    assert float(mae(np.ones((2, 3)), field() * 0)) == 1.0
    with pytest.raises(DataError, match=r"at most the dimensions \('time', 'lat'\), got shape \(2, 3, 4\)"):
        mae(forecast, field())
