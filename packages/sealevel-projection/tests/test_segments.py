"""Partitions of the ocean: complete, blind to the altimeter, and from files of all kinds."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from sealevel_projection.config import SegmentConfig
from sealevel_projection.segments import blend, divide_ocean


@pytest.mark.parametrize("method", ["spectral", "basins", "none"])
@pytest.mark.parametrize("blend_km", [0.0, 2500.0])
def test_every_sea_cell_belongs_to_segments_by_one_in_all(archive, period, method, blend_km):
    segments = divide_ocean(archive, SegmentConfig(method=method, blend_km=blend_km, clusters=3), period)
    total = segments.membership.sum(axis=0)
    sea = archive.sea.values.ravel()
    np.testing.assert_allclose(total[sea], 1.0, rtol=1e-12)
    assert (total[~sea] == 0).all()
    assert len(segments.names) == len(segments.membership) == int(segments.labels.max()) + 1


def test_clusters_do_not_look_at_the_altimeter(archive, period):
    config = SegmentConfig(clusters=4)
    other = replace(archive, altimeter=archive.altimeter[:, ::-1] * 3.0)
    first, second = (divide_ocean(one, config, period).labels for one in (archive, other))
    np.testing.assert_array_equal(first, second)


def test_clusters_do_not_look_at_the_future(archive, period):
    later = archive.models["time"].dt.year > period.last_year
    other = replace(archive, models=archive.models.where(~later, -archive.models * 7.0))
    config = SegmentConfig(clusters=4)
    np.testing.assert_array_equal(
        divide_ocean(archive, config, period).labels, divide_ocean(other, config, period).labels
    )


def test_stability_is_measured_when_asked_for(archive, period):
    found = divide_ocean(archive, SegmentConfig(clusters=3), period, check_stability=True)
    assert -1.0 <= found.stability <= 1.0


def test_hard_borders_are_the_partition_itself(archive, period):
    labels = divide_ocean(archive, SegmentConfig(method="basins"), period).labels
    member = blend(labels, 0.0)
    assert set(np.unique(member)) == {0.0, 1.0}
    np.testing.assert_array_equal(member.argmax(axis=0)[labels.values.ravel() >= 0],
                                  labels.values.ravel()[labels.values.ravel() >= 0])  # fmt: skip


def label_file(path, archive, values, **more):
    grid = {"lat": archive.models["lat"].values, "lon": archive.models["lon"].values}
    field = xr.DataArray(values, grid, ("lat", "lon"))
    xr.Dataset({"mine": field, **more}).to_netcdf(path, engine="h5netcdf")
    return SegmentConfig(method="file", file=path)


def test_labels_of_a_file_are_numbered_from_zero(tmp_path, archive, period):
    values = np.where(np.arange(30)[None] < 15, 7.0, 3.0) * np.ones((15, 1))
    values[0] = np.nan
    found = divide_ocean(archive, label_file(tmp_path / "a.nc", archive, values), period)
    assert found.names == ("segment_3", "segment_7")
    assert found.labels.values[3, 2] == 1
    assert found.labels.values[3, 20] == 0
    assert (found.labels.values[0] == -1).all()


def test_labels_that_are_none_are_refused(tmp_path, archive, period):
    with pytest.raises(DataError, match="fractions"):
        divide_ocean(archive, label_file(tmp_path / "a.nc", archive, np.full((15, 30), 0.5)), period)
    with pytest.raises(DataError, match="label a sea cell"):
        divide_ocean(archive, label_file(tmp_path / "b.nc", archive, np.full((15, 30), -1)), period)
    two = {"other": (("lat", "lon"), np.zeros((15, 30)))}
    with pytest.raises(DataError, match="one field"):
        divide_ocean(archive, label_file(tmp_path / "c.nc", archive, np.zeros((15, 30)), **two), period)
    (tmp_path / "d.nc").write_text("no")
    with pytest.raises(DataError, match="NetCDF"):
        divide_ocean(archive, SegmentConfig(method="file", file=tmp_path / "d.nc"), period)
    with pytest.raises(ConfigError, match="file"):
        SegmentConfig(method="file")
