"""Ensembles from the files that people have, and every way in which these can be wrong."""

import shutil

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.io.stored import write_stored
from isopleth.samples.ocean_grids import displaced_pole_grid
from isopleth.samples.ocean_layouts import Intervals, cmip_layout, pop_layout, zostoga_layout
from isopleth.samples.waves import unit_vectors
from isopleth.sealevel import open_ensemble
from isopleth.testing import write_cesm_pop_without_bounds, write_cmip6_zos_360_day


def write_run(path, first, last, *, calendar="noleap", monthly=True, drop=(), scale=1.0, kind="cmip"):
    """Write a run whose height is the month's count in mm, everywhere."""
    intervals = Intervals.of_years(first, last, calendar=calendar, monthly=monthly)
    keep = [k for k in range(len(intervals.edges) - 1) if k not in drop]
    grid = displaced_pole_grid(15.0, pole=(80.0, 320.0), first_lon=0.0)
    count = np.array([12 * edge.year + edge.month - 1 for edge in intervals.edges[:-1]])
    values = scale * (count - 24000) / 1000.0
    field = np.broadcast_to(values[:, None, None], (len(values), *grid.lat.shape)).astype("f4").copy()
    field[:, 5, 5] = np.nan
    layout = pop_layout if kind == "pop" else cmip_layout
    variables = layout(field, grid.lat, grid.lon % 360.0, intervals)
    for name, variable in variables.items():
        if variable.dims[0] == "time":
            variables[name] = type(variable)(
                dims=variable.dims, values=variable.values[keep], attrs=variable.attrs, fill=variable.fill
            )
    return write_stored(path, variables, unlimited="time")


# --- what is right


@pytest.mark.parametrize(
    ("name", "calendar"), [("CESM1", "noleap"), ("GFDL-ESM2M", "noleap"), ("MPI-GE", "standard")]
)
def test_values_and_times_are_those_of_the_sample(archive, world, name, calendar):
    ensemble = open_ensemble(archive[name])
    height = ensemble["sea_surface_height"]
    assert height.dims == ("member", "time", "y", "x")
    assert height.chunks is not None
    assert ensemble.attrs["frequency"] == "month"
    assert ensemble.attrs["calendar"] == calendar
    np.testing.assert_array_equal(ensemble.time, world.times)
    there = np.isfinite(ensemble.lat.values)
    points = unit_vectors(ensemble.lat.values[there], ensemble.lon.values[there])
    for member in range(2):
        expected = world.evaluate(points, name, member=member)
        np.testing.assert_allclose(height[member].values[:, there], expected, atol=2e-6)


def test_products_are_recognised(archive):
    kinds = {name: open_ensemble(archive[name]).attrs["product"] for name in ("CESM1", "MPI-GE", "CESM2-GHG")}
    assert kinds == {"CESM1": "pop_ssh", "MPI-GE": "cmip_zos", "CESM2-GHG": "pop_ssh"}
    assert open_ensemble(archive["MPI-GE"], product="pop_ssh").attrs["product"] == "pop_ssh"


def test_history_and_scenario_join_member_by_member(tmp_path):
    for member in (1, 2, 10):
        write_run(tmp_path / f"zos_Omon_X_historical_r{member}i1p1f1_gn.nc", 2000, 2001, scale=member)
        write_run(tmp_path / f"zos_Omon_X_ssp370_r{member}i1p1f1_gn.nc", 2002, 2003, scale=member)
    ensemble = open_ensemble(tmp_path)
    assert ensemble.member.values.tolist() == ["r1i1p1f1", "r2i1p1f1", "r10i1p1f1"]
    expected = np.arange(48) / 1000.0
    for position, factor in enumerate((1, 2, 10)):
        found = ensemble["sea_surface_height"][position, :, 0, 0]
        np.testing.assert_allclose(found, factor * expected, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["member{}.nc", "run_ens-{:03d}_x.nc", "cut.{:03d}.pop.h.SSH.nc", "a_LE2-1001.{:03d}.nc"]
)
def test_members_in_names_of_other_kinds(tmp_path, name):
    for member in (1, 2):
        write_run(tmp_path / name.format(member), 2000, 2002)
    assert open_ensemble(tmp_path).sizes["member"] == 2


def test_a_pattern_finds_members_of_any_name(tmp_path):
    for letter in "ab":
        write_run(tmp_path / f"first{letter}-2000.nc", 2000, 2001)
        write_run(tmp_path / f"later{letter}-2002.nc", 2002, 2003)
    ensemble = open_ensemble(tmp_path, member_pattern=r"(?:first|later)([a-z])-")
    assert ensemble.member.values.tolist() == ["a", "b"]
    assert ensemble.sizes["time"] == 48


def test_one_file_is_one_member(tmp_path):
    path = write_run(tmp_path / "zos.nc", 2000, 2003)
    assert dict(open_ensemble(path).sizes)["member"] == 1


def test_centimetres_and_metres_agree(tmp_path):
    metres = open_ensemble(write_run(tmp_path / "zos.nc", 2000, 2003))
    centimetres = open_ensemble(write_run(tmp_path / "ssh.nc", 2000, 2003, scale=100.0, kind="pop"))
    a, b = (e["sea_surface_height"].values for e in (metres, centimetres))
    np.testing.assert_allclose(a, b, atol=1e-7)


def test_millimetres_become_metres(tmp_path):
    path = tmp_path / "ssh_mm.nc"
    lat, lon = np.arange(-80.0, 81.0, 20.0), np.arange(0.0, 360.0, 30.0)
    times = np.arange("2000-01", "2003-01", dtype="datetime64[M]").astype("datetime64[ns]")
    values = np.full((36, 9, 12), 250.0, "f4")
    values[:, 4, 4] = 1e36
    coords = {"time": times, "lat": lat, "lon": lon}
    field = xr.DataArray(values, coords, ("time", "lat", "lon"), "ssh", {"units": "mm"})
    field.to_netcdf(path, engine="h5netcdf")
    found = open_ensemble(path)["sea_surface_height"].values
    assert np.isnan(found[:, :, 4, 4]).all()
    np.testing.assert_allclose(found[np.isfinite(found)], 0.25)


def test_stamps_at_the_end_of_months_are_moved(tmp_path):
    """January's mean, stamped 1 February, is January's."""
    for path in (write_run(tmp_path / "with.nc", 2000, 2002, kind="pop"),):
        ensemble = open_ensemble(path)
        np.testing.assert_allclose(ensemble["sea_surface_height"][0, :, 0, 0], np.arange(36) / 1e5, atol=1e-8)
        assert ensemble.time.dt.month.values[:2].tolist() == [1, 2]
    written = write_cesm_pop_without_bounds(tmp_path)
    assert open_ensemble(written.path, years=(1850, 1850)).sizes["time"] == 12


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "proleptic_gregorian", "standard"])
@pytest.mark.parametrize("monthly", [True, False])
def test_all_calendars_share_one_axis(tmp_path, calendar, monthly):
    ensemble = open_ensemble(write_run(tmp_path / "zos.nc", 1999, 2001, calendar=calendar, monthly=monthly))
    assert ensemble.attrs["frequency"] == ("month" if monthly else "year")
    assert ensemble.time.dtype == "datetime64[ns]"
    assert str(ensemble.time.values[0])[:10] == ("1999-01-16" if monthly else "1999-07-02")


def test_miniature_360_day_file(tmp_path):
    written = write_cmip6_zos_360_day(tmp_path)
    ensemble = open_ensemble(written.path, years=(1850, 1850))
    expected = written.truth["sea_surface_height"].values[:12]
    np.testing.assert_allclose(ensemble["sea_surface_height"][0], expected, rtol=1e-6, atol=1e-6)


def test_zostoga_is_read_beside_zos(archive, world):
    steric = open_ensemble(archive["GFDL-ESM2M"], zostoga=True)["steric_mean"]
    assert steric.dims == ("member", "time")
    for member in range(2):
        np.testing.assert_allclose(steric[member], world.steric_mean("GFDL-ESM2M"), atol=1e-6)


def test_every_member_may_have_its_own_zostoga(tmp_path):
    intervals = Intervals.of_years(2000, 2001, calendar="noleap", monthly=True)
    for member in (1, 2):
        write_run(tmp_path / f"zos_Omon_X_h_r{member}i1p1f1_gn.nc", 2000, 2001)
        layout = zostoga_layout(np.full(24, 0.1 * member), intervals)
        write_stored(tmp_path / f"zostoga_Omon_X_h_r{member}i1p1f1_gn.nc", layout)
    steric = open_ensemble(tmp_path, zostoga=True)["steric_mean"]
    np.testing.assert_allclose(steric[:, 0], [0.1, 0.2], rtol=1e-6)


# --- what is wrong


def test_a_missing_year_is_named_with_its_member(tmp_path):
    write_run(tmp_path / "zos_r1i1p1f1_a.nc", 1996, 2003)
    write_run(tmp_path / "zos_r2i1p1f1_a.nc", 1996, 1996)
    write_run(tmp_path / "zos_r2i1p1f1_b.nc", 1998, 2003)
    with pytest.raises(DataError, match=r"got none of 1997 \(in member r2i1p1f1") as error:
        open_ensemble(tmp_path)
    assert "every month of 1996 to 2003" in str(error.value)


def test_a_missing_month_is_named(tmp_path):
    path = write_run(tmp_path / "zos.nc", 1996, 2003, drop=(17,))
    with pytest.raises(DataError, match="got none of 1997-06"):
        open_ensemble(path)


def test_years_that_are_not_there_are_named(tmp_path):
    path = write_run(tmp_path / "zos.nc", 2000, 2003)
    with pytest.raises(DataError, match="got none of 1998, 1999, 2004"):
        open_ensemble(path, years=(1998, 2004))
    annual = write_run(tmp_path / "annual.nc", 2000, 2003, monthly=False)
    with pytest.raises(DataError, match="every year of 2000 to 2005 must be there, got none of 2004, 2005"):
        open_ensemble(annual, years=(2000, 2005))


def test_a_month_that_comes_twice_is_refused(tmp_path):
    write_run(tmp_path / "zos_r1i1p1f1_a.nc", 2000, 2002)
    write_run(tmp_path / "zos_r1i1p1f1_b.nc", 2002, 2003)
    with pytest.raises(DataError, match="must not overlap in time"):
        open_ensemble(tmp_path)


def test_members_of_two_calendars_are_refused(tmp_path):
    write_run(tmp_path / "zos_r1i1p1f1.nc_", 2000, 2002)
    write_run(tmp_path / "zos_r1i1p1f1_a.nc", 2000, 2002)
    write_run(tmp_path / "zos_r2i1p1f1_a.nc", 2000, 2002, calendar="360_day")
    with pytest.raises(DataError, match="members must share one calendar, got 'noleap' in member r1i1p1f1"):
        open_ensemble(tmp_path)


def test_history_and_scenario_of_two_calendars_are_refused(tmp_path):
    write_run(tmp_path / "zos_r1i1p1f1_a.nc", 2000, 2002)
    write_run(tmp_path / "zos_r1i1p1f1_b.nc", 2003, 2004, calendar="360_day")
    with pytest.raises(DataError, match="must share one calendar"):
        open_ensemble(tmp_path)


def test_members_of_other_times_are_refused(tmp_path):
    write_run(tmp_path / "zos_r1i1p1f1_a.nc", 2000, 2002)
    write_run(tmp_path / "zos_r2i1p1f1_a.nc", 2000, 2003)
    with pytest.raises(DataError, match="members must cover the same times, got 2000-01 to 2002-12"):
        open_ensemble(tmp_path)
    assert open_ensemble(tmp_path, years=(2000, 2002)).sizes["member"] == 2


def test_files_of_which_some_tell_no_member_are_refused(tmp_path):
    write_run(tmp_path / "zos_r1i1p1f1_a.nc", 2000, 2002)
    write_run(tmp_path / "zos_mean.nc", 2000, 2002)
    with pytest.raises(DataError, match="must tell their member alike"):
        open_ensemble(tmp_path)


def test_zostoga_that_is_not_there_is_missed(tmp_path):
    write_run(tmp_path / "zos_r1i1p1f1_a.nc", 2000, 2002)
    with pytest.raises(DataError, match="zostoga must lie beside zos"):
        open_ensemble(tmp_path, zostoga=True)
    intervals = Intervals.of_years(2000, 2001, calendar="noleap", monthly=True)
    write_stored(tmp_path / "zostoga_r1i1p1f1_a.nc", zostoga_layout(np.zeros(24), intervals))
    with pytest.raises(DataError, match="zostoga must cover the times of zos, got none of 2002-01"):
        open_ensemble(tmp_path, zostoga=True)


def test_only_zostoga_is_no_ensemble(tmp_path, archive):
    shutil.copy(next(archive["GFDL-ESM2M"].glob("zostoga*")), tmp_path)
    with pytest.raises(DataError, match="got only zostoga"):
        open_ensemble(tmp_path)


def test_wrong_patterns_are_refused(tmp_path):
    path = write_run(tmp_path / "zos_a.nc", 2000, 2002)
    with pytest.raises(ConfigError, match="must be a regular expression"):
        open_ensemble(path, member_pattern="(")
    with pytest.raises(ConfigError, match="must have one group"):
        open_ensemble(path, member_pattern="zos")
    with pytest.raises(DataError, match="must be found in the files' names"):
        open_ensemble(path, member_pattern="ens([0-9])")


def test_units_of_another_quantity_are_refused(tmp_path):
    intervals = Intervals.of_years(2000, 2002, calendar="noleap", monthly=True)
    grid = displaced_pole_grid(15.0, pole=(80.0, 320.0), first_lon=0.0)
    variables = cmip_layout(np.zeros((36, *grid.lat.shape), "f4"), grid.lat, grid.lon % 360, intervals)
    zos = variables["zos"]
    variables["zos"] = type(zos)(
        dims=zos.dims, values=zos.values, attrs={**zos.attrs, "units": "kg"}, fill=zos.fill
    )
    path = write_stored(tmp_path / "zos.nc", variables)
    with pytest.raises(DataError, match="units of 'zos' must be convertible"):
        open_ensemble(path)
