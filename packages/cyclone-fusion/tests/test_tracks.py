"""Reading tracks: layouts, units, the North Atlantic, and what cannot be used."""

import json

import numpy as np
import pandas as pd
import pytest

from cyclone_fusion.sample import read_sample_tracks
from cyclone_fusion.tracks import KNOT, read_tracks
from isopleth.errors import DataError

OFFICIAL = """\
SID,SEASON,NUMBER,BASIN,SUBBASIN,NAME,ISO_TIME,NATURE,LAT,LON,WMO_WIND,USA_WIND
 ,Year, , , , , , ,degrees_north,degrees_east,kts,kts
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-23 18:00:00,TS,23.1,-75.1,30,30
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-23 21:00:00,TS,23.2,-75.4, ,
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-24 00:00:00,TS,23.4,-75.7,30,
"""


def test_the_sample_is_the_record_of_45_years():
    tracks = read_sample_tracks()
    assert len(np.unique(tracks["track_id"])) == 4350
    assert str(tracks["time"].values.min())[:10] == "1980-01-01"
    assert set(np.unique(tracks["basin"])) == {"EP", "NA", "NI", "SA", "SI", "SP", "WP"}
    assert tracks["lon"].values.min() >= 0
    assert tracks["lon"].values.max() < 360
    assert tracks["wind"].values[np.isfinite(tracks["wind"].values)].max() == pytest.approx(185 * KNOT)
    # 127,252 fixes in the file, of which 36 are landfalls between the synoptic hours.
    left_out = json.loads(tracks.attrs["left_out"])
    assert tracks.sizes["record"] + sum(left_out.values()) == 127_252


def test_both_sample_tables_wrap_their_longitudes():
    tracks = read_sample_tracks("wmo")
    assert tracks["lon"].values.min() >= 0
    assert tracks["lon"].values.max() < 360
    assert len(np.unique(tracks["track_id"])) == 4736


def test_official_layout(tmp_path):
    path = tmp_path / "ibtracs.csv"
    path.write_text(OFFICIAL)
    tracks = read_tracks(path)
    assert tracks["basin"].values.tolist() == ["NA", "NA"]
    assert tracks["lon"].values == pytest.approx([284.9, 284.3])
    assert tracks["wind"].values == pytest.approx([30 * KNOT, np.nan], nan_ok=True)
    assert json.loads(tracks.attrs["left_out"])["not at 00, 06, 12 or 18 UTC"] == 1


def test_season_follows_the_hemisphere_where_none_is_given(tmp_path, table):
    path = tmp_path / "tracks.csv"
    table = table[table["track_id"].isin(["S000", "S001"])].drop(columns=["season", "basin"])
    south = table["track_id"] == "S001"
    table.loc[south, "time"] = table.loc[south, "time"] + pd.DateOffset(months=9)
    table.to_csv(path, index=False)
    tracks = read_tracks(path)
    by_storm = dict(zip(tracks["track_id"].values, tracks["season"].values, strict=True))
    assert by_storm == {"S000": 2000, "S001": 2002}
    assert set(tracks["basin"].values) == {"unknown"}


def test_other_formats_through_huracanpy(tmp_path, table):
    path = tmp_path / "tracks.nc"
    dataset = table[["track_id", "time", "lat", "lon", "wind"]].to_xarray().rename(index="record")
    dataset = dataset.drop_vars("record")
    dataset["track_id"] = dataset["track_id"].astype(str)
    dataset["track_id"].attrs["cf_role"] = "trajectory_id"
    dataset["wind"].attrs["units"] = "m s-1"
    dataset.to_netcdf(path, engine="netcdf4")
    tracks = read_tracks(path)
    assert tracks["wind"].values == pytest.approx(table["wind"].to_numpy())
    assert tracks["lat"].values == pytest.approx(table["lat"].to_numpy())


def test_wind_without_units_is_unknown_and_said_so(tmp_path, table, caplog):
    path = tmp_path / "tracks.nc"
    dataset = table[["track_id", "time", "lat", "lon", "wind"]].to_xarray().rename(index="record")
    dataset["track_id"] = dataset["track_id"].astype(str)
    dataset.drop_vars("record").to_netcdf(path, engine="netcdf4")
    with caplog.at_level("INFO", logger="isopleth"):
        tracks = read_tracks(path)
    assert np.isnan(tracks["wind"].values).all()
    assert "no wind with units" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "csv table"),
        ("a,b\n1,2\n", "must have the columns"),
        ("track_id,time,lat,lon\n", "at least one"),
        ("track_id,time,lat,lon\nA,2000-01-01,95,0\n", "at least one"),
        ("track_id,time,lat,lon\nA,never,5,0\n", "at least one"),
        ("track_id,time,lat,lon\nA,2000-01-01,5,0\nA,2000-01-01,6,0\n", "two of A at 2000-01-01"),
        ("<!doctype html><title>404</title>", "must have the columns"),
        ("\x89HDF\r\n\x1a\n\x00\x00", "tracks must"),
    ],
)
def test_what_is_no_track_table_is_one_error(tmp_path, text, message):
    path = tmp_path / "tracks.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message) as caught:
        read_tracks(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"got 'nowhere\.csv'") as caught:
        read_tracks("nowhere.csv")
    assert str(tmp_path) in str(caught.value)


def test_a_file_in_no_known_format_is_one_error(tmp_path):
    path = tmp_path / "tracks.xyz"
    path.write_text("what is this")
    with pytest.raises(DataError, match="huracanpy reads"):
        read_tracks(path)
