"""Where ensembles are, from a folder or by name, and the dataset that comes of them."""

from dataclasses import replace

import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.sealevel import PreparationSettings, find_ensembles
from isopleth.sealevel.settings import PreparationConfig
from isopleth.sealevel.sources import open_prepared, prepare_files

SETTINGS = PreparationSettings(first_year=2019, last_year=2026, resolution_deg=6.0)


def test_a_folder_and_named_models_give_the_same_dataset(archive, tmp_path):
    whole = PreparationConfig(
        settings=SETTINGS, out=tmp_path / "whole.nc", folder=str(archive["altimetry"].parent)
    )
    ensembles, altimetry = find_ensembles(whole.folder)
    plain = [source for source in ensembles if source.forcing == "all"]
    models = tuple(f"{source.name}={source.source}" for source in plain)
    named = replace(whole, out=tmp_path / "named.zarr", folder="", models=models, altimetry=str(altimetry))
    folders, names = (open_prepared(prepare_files(c, "tool", "1.0"), "tool") for c in (whole, named))
    with folders, names:
        one = folders["model_global_mean"].sel(model=names["model"]).drop_vars("forcing")
        xr.testing.assert_allclose(one.compute(), names["model_global_mean"].drop_vars("forcing").compute())


def test_what_is_no_prepared_dataset_is_one_line(tmp_path):
    with pytest.raises(DataError, match="must exist, got none"):
        open_prepared(tmp_path / "none.zarr", "tool")
    (tmp_path / "text.nc").write_text("text")
    with pytest.raises(DataError, match="must be NetCDF or zarr"):
        open_prepared(tmp_path / "text.nc", "tool")
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="must hold sea_surface_height"):
        open_prepared(tmp_path / "other.nc", "tool")


@pytest.mark.parametrize(
    ("folder", "models", "altimetry", "finding"),
    [
        ("", (), "", "neither"),
        ("folder", ("a=x",), "y", "both"),
        ("", ("a=x",), "", "altimetry must be given"),
        ("", ("a",), "y", "name=path"),
        ("", ("a=x", "a=z"), "y", "each name once"),
    ],
)
def test_sources_are_given_in_one_way(folder, models, altimetry, finding):
    with pytest.raises(ConfigError, match=finding):
        PreparationConfig(folder=folder, models=models, altimetry=altimetry)


def test_folders_are_found_by_their_names(archive):
    ensembles, altimetry = find_ensembles(archive["altimetry"].parent)
    assert altimetry == archive["altimetry"]
    forcings = {source.name: source.forcing for source in ensembles}
    assert forcings == {
        "CESM1": "all", "GFDL-ESM2M": "all", "MPI-GE": "all", "CESM2-GHG": "greenhouse_gases",
    }  # fmt: skip


def test_folders_without_altimetry_are_refused(archive, tmp_path):
    with pytest.raises(DataError, match="must exist"):
        find_ensembles(tmp_path / "none")
    (tmp_path / "CESM1").mkdir()
    with pytest.raises(DataError, match="a folder 'altimetry' and one of each ensemble, got CESM1"):
        find_ensembles(tmp_path)
