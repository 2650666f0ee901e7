"""The sample as files: read back by the core's readers, value by value."""

import numpy as np
import pytest

from isopleth.errors import ConfigError
from isopleth.fields import land_mask
from isopleth.io import open_fields
from isopleth.samples import sea_level, write_sea_level_sample
from isopleth.samples.ocean_grids import displaced_pole_grid
from isopleth.samples.waves import unit_vectors


@pytest.fixture(scope="module")
def sample():
    return sea_level(members=2, first_year=2004, last_year=2007, frequency="month", resolution_deg=6.0)


@pytest.fixture(scope="module")
def folders(sample, tmp_path_factory):
    models = ("CESM1", "GFDL-ESM2M", "MPI-GE", "MPI-ESM1-2-LR", "CESM2-BMB")
    return write_sea_level_sample(
        tmp_path_factory.mktemp("sample"), sample, models=models, resolution_deg=4.5
    )


def assert_same(fields, sample, model, member):
    """Compare with the sample, evaluated where the file has its cells."""
    field = fields["sea_surface_height"]
    there = np.isfinite(fields["lat"].values)
    points = unit_vectors(fields["lat"].values[there], fields["lon"].values[there])
    expected = sample.evaluate(points, model, member=member)
    np.testing.assert_allclose(field.values[:, there], expected, atol=2e-6)
    assert np.isnan(field.values[:, ~there]).all()


@pytest.mark.parametrize("model", ["CESM1", "GFDL-ESM2M", "MPI-ESM1-2-LR", "CESM2-BMB"])
def test_members_by_file(folders, sample, model):
    names = sorted(p.name for p in folders[model].iterdir() if not p.name.startswith("zostoga"))
    for member, mark in enumerate((("001", "r1i"), ("002", "r2i"))):
        mine = [
            folders[model] / name for name in names if any(f".{m}." in name or f"_{m}" in name for m in mark)
        ]
        fields = open_fields(mine)
        assert fields.sizes["time"] == 48
        assert_same(fields, sample, model, member)
        assert fields.time.dt.month.values[[0, 11, -1]].tolist() == [1, 12, 12]
        assert set(fields.time.dt.day.values.tolist()) <= {14, 15, 16, 17}


def test_members_by_dimension(folders, sample):
    fields = open_fields(sorted(folders["MPI-GE"].glob("zos_*")))
    assert fields["sea_surface_height"].dims[:2] == ("member", "time")
    for member in (0, 1):
        assert_same(fields.isel(member=member), sample, "MPI-GE", member)


def test_history_and_scenario_are_apart(folders):
    names = sorted(p.name for p in folders["CESM1"].iterdir())
    assert names[0] == "b.e11.B20TRC5CNBDRD.f09_g16.001.pop.h.SSH.200401-200512.nc"
    assert names[-1] == "b.e11.BRCP85C5CNBDRD.f09_g16.002.pop.h.SSH.200601-200712.nc"


def test_calendars_are_those_of_the_models(folders):
    cesm = open_fields(next(folders["CESM1"].glob("*.001.*")))
    assert cesm.time.values[0].calendar == "noleap"
    assert open_fields(next(folders["MPI-GE"].glob("zos_*"))).time.dtype.kind == "M"


def test_altimetry(folders, sample):
    files = sorted(folders["altimetry"].iterdir())
    assert len(files) == 48
    assert files[0].name == "dt_global_twosat_phy_l4_200401_vDT2021-M01.nc"
    fields = open_fields(folders["altimetry"])
    anomaly = fields["sea_level_anomaly"]
    lat, lon = np.meshgrid(fields.lat, fields.lon, indexing="ij")
    sea = ~land_mask(lat, lon)
    assert np.isnan(anomaly.values[:, ~sea]).all()
    west = (lon[sea] + 180.0) % 360.0 - 180.0
    order = np.lexsort((west, lat[sea]))
    seen = sample.observe(unit_vectors(lat[sea][order], west[order]))
    np.testing.assert_allclose(anomaly.values[:, sea][:, order], seen, atol=5.1e-5)


def test_unknown_models_are_refused(sample, tmp_path):
    with pytest.raises(ConfigError, match="models must be among CESM1"):
        write_sea_level_sample(tmp_path, sample, models=("HadCM3",))


def test_southern_rows_are_parallels_and_the_pole_lies_where_it_is_said():
    grid = displaced_pole_grid(3.0, pole=(80.0, 320.0), first_lon=320.0)
    south = grid.lat[:, 0] < 0
    assert np.ptp(grid.lat[south], axis=1).max() < 1e-9
    last = unit_vectors(grid.lat[-1], grid.lon[-1])
    distance = np.degrees(np.arccos(last @ unit_vectors(80.0, 320.0)))
    assert distance.max() < 5.0


def test_a_bent_grid_covers_the_sphere_without_folding():
    grid = displaced_pole_grid(3.0, pole=(74.0, 100.0), first_lon=-280.0)
    places = unit_vectors(grid.lat, grid.lon)
    step_row, step_column = np.diff(places, axis=0)[:, :-1], np.diff(places, axis=1)[:-1]
    outward = np.einsum("ijk,ijk->ij", np.cross(step_column, step_row), places[:-1, :-1])
    assert (outward > 0).all()
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points = points[points[:, 2] > np.sin(np.radians(-77.0))]
    nearest = np.degrees(np.arccos(np.clip((points @ places.reshape(-1, 3).T).max(axis=1), -1, 1)))
    assert nearest.max() < 4.0


def test_impossible_grids_are_refused():
    with pytest.raises(ConfigError, match="must divide 360"):
        displaced_pole_grid(7.0, pole=(80.0, 0.0), first_lon=0.0)
    with pytest.raises(ConfigError, match="pole must lie"):
        displaced_pole_grid(5.0, pole=(30.0, 0.0), first_lon=0.0)
