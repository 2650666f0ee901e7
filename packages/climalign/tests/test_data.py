from dataclasses import replace

import numpy as np
import pytest

from climalign.config import PrepareConfig, SplitConfig
from climalign.data import COARSE, FINE, Fields, check_embargo, open_prepared, prepare_fields
from climalign.folds import rolling_splits
from climalign.sample import PRECIPITATION, TEMPERATURE
from isopleth.errors import ConfigError, DataError


def prepare(world, tmp_path, **options):
    for name in ("coarse", "fine"):
        getattr(world, name).to_netcdf(tmp_path / f"{name}.nc")
    settings = {
        "coarse": str(tmp_path / "coarse.nc"),
        "fine": str(tmp_path / "fine.nc"),
        "train_coarse": ("2000", "2000"),
        "train_fine": ("2001", "2001"),
        "out": tmp_path / "prepared",
    }
    return prepare_fields(PrepareConfig(**{**settings, **options}))


def test_files_become_two_stores_with_the_values_that_they_had(world, tmp_path):
    found = prepare(world, tmp_path)
    assert found["coarse_shape"][2:] == [4, 4]
    assert found["fine_shape"][2:] == [16, 16]
    prepared = open_prepared(tmp_path / "prepared")
    for side in (COARSE, FINE):
        fields = prepared.load(side, ("2002", "2002"))
        truth = getattr(world, side)[TEMPERATURE].sel(time="2002")
        np.testing.assert_allclose(fields.values, truth.values, atol=2e-4)
        assert fields.units == "K"


@pytest.mark.parametrize("side", [COARSE, FINE])
def test_a_training_period_without_days_is_refused_before_anything_is_written(world, tmp_path, side):
    with pytest.raises(DataError, match=f"1979 to 1998 must have days in the {side} fields, got 2000-01-01"):
        prepare(world, tmp_path, **{f"train_{side}": ("1979", "1998")})
    assert not (tmp_path / "prepared").exists()


def test_statistics_are_of_the_training_period_alone(world, tmp_path):
    prepare(world, tmp_path)
    store = open_prepared(tmp_path / "prepared").fine
    truth = world.fine[TEMPERATURE].sel(time="2001")
    assert float(store.normaliser.mean[0]) == pytest.approx(float(truth.mean(dtype="float64")), rel=1e-5)


def test_a_region_and_another_coarse_grid(world, tmp_path):
    lat, lon = world.coarse["lat"].values, world.coarse["lon"].values
    moved = world.coarse.interp(lat=lat[:-1] + 0.3, lon=lon[:-1] + 0.4)
    world.fine.to_netcdf(tmp_path / "fine.nc")
    moved.to_netcdf(tmp_path / "moved.nc")
    options = {"coarse": str(tmp_path / "moved.nc"), "region": (40.9, 42.9, 234.9, 236.7), "factor": 2}
    found = prepare(world, tmp_path, **options)
    assert found["fine_shape"][2] == 2 * found["coarse_shape"][2] == 8
    with pytest.raises(DataError, match="do not nest"):
        prepare(world, tmp_path, **options, align="strict", out=tmp_path / "strict")


def test_two_names_one_for_each_side(world, tmp_path):
    found = prepare(world, tmp_path, variable=f"{PRECIPITATION}, {PRECIPITATION}")
    assert found["factor"] == 4
    with pytest.raises(ConfigError, match="one name, or coarse,fine"):
        prepare(world, tmp_path, variable="a,b,c")


def test_reanalysis_that_is_not_daily_is_refused(world, tmp_path):
    doubled = world.coarse.isel(time=[0, 0, 1, 1])
    doubled = doubled.assign_coords(
        time=doubled["time"].values + np.array([0, 6, 0, 6]) * np.timedelta64(1, "h")
    )
    doubled.to_netcdf(tmp_path / "hourly.nc")
    world.fine.to_netcdf(tmp_path / "fine.nc")
    with pytest.raises(DataError, match="one field a day"):
        prepare(world, tmp_path, coarse=str(tmp_path / "hourly.nc"))


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"prepared\.json"):
        open_prepared(tmp_path)


def test_periods_without_days_are_refused(make_prepared):
    prepared = make_prepared()
    with pytest.raises(DataError, match="must have days in the coarse fields"):
        prepared.load(COARSE, ("1950", "1951"))


def test_pairs_are_equal_days(make_prepared):
    coarse, fine = make_prepared().load_pairs(("2002-02", "2002-03"))
    assert (coarse.times == fine.times).all()
    assert set(coarse.months) == {1, 2}


def test_the_embargo(make_prepared, split):
    prepared = make_prepared()
    check_embargo(split, prepared)
    near = replace(split, validate_fine=("2003", "2003"))
    with pytest.raises(ConfigError, match="validate_fine must keep 5 days"):
        check_embargo(near, prepared)
    check_embargo(replace(near, embargo_days=0), prepared)
    check_embargo(replace(near, test=("1900", "1901")), prepared)


def test_rolling_folds_test_each_of_the_last_days_once():
    days = np.datetime64("2000-01-01") + np.arange(3000) * np.timedelta64(1, "D")
    splits = rolling_splits(days.astype(str))
    day = np.timedelta64(1, "D")
    tested = [np.arange(np.datetime64(s.test[0]), np.datetime64(s.test[1]) + day) for s in splits]
    assert [len(each) for each in tested] == [146] * 5
    np.testing.assert_array_equal(np.concatenate(tested), days[-730:])
    for split in splits:
        assert np.datetime64(split.test[0]) - np.datetime64(split.validate_fine[1]) > np.timedelta64(5, "D")
        assert split.train_fine[1] < split.validate_fine[0]
    starts = [split.train_fine[0] for split in splits]
    assert starts == sorted(set(starts))
    with pytest.raises(DataError, match="1101 are the least"):
        rolling_splits(days[:1000].astype(str))


def test_whether_nature_made_the_data_is_kept_with_them(world, tmp_path):
    prepare(world, tmp_path, data="simulated")
    prepared = open_prepared(tmp_path / "prepared")
    assert prepared.kind == "simulated"
    assert PrepareConfig(coarse="a", fine="b").data == "real"
    assert prepared.common_days[[0, -1]].tolist() == ["2000-01-01", "2004-12-31"]
    with pytest.raises(ConfigError, match="data must be one of"):
        PrepareConfig(coarse="a", fine="b", data="dreamt")


def test_block_means_are_of_known_cells():
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    values[0, 0, 0] = values[0, 2:, 2:] = np.nan
    days = np.array(["2000-01-01"], "datetime64[ns]")
    means = Fields(values, days, np.arange(4.0), np.arange(4.0), "K", "t").block_means(2)
    np.testing.assert_allclose(means.values, [[[(1 + 4 + 5) / 3, 4.5], [10.5, np.nan]]])
    assert means.lat.tolist() == means.lon.tolist() == [0.5, 2.5]


def test_splits_of_no_sense_are_refused():
    with pytest.raises(ConfigError, match="embargo_days"):
        SplitConfig(embargo_days=-1)
