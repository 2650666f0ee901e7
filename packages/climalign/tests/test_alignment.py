import numpy as np
import pytest
import xarray as xr

from climalign.alignment import align_coarse, block_centres, join_seam, to_regular, trim
from isopleth.errors import ConfigError, DataError


def field(lat, lon, value=None):
    shape = (2, len(lat), len(lon))
    values = np.broadcast_to(np.add.outer(lat, 2 * lon), shape) if value is None else np.full(shape, value)
    return xr.Dataset(
        {"t": (("time", "lat", "lon"), values.astype("float32"))},
        {"time": np.array(["2000-01-01", "2000-01-02"], "datetime64[ns]"), "lat": lat, "lon": lon},
    )


FINE = field(np.arange(40.125, 44, 0.25), np.arange(230.125, 236, 0.25))


def test_blocks_begin_where_coarse_cells_do():
    fine = FINE.isel(lat=slice(1, None), lon=slice(3, None))
    coarse = field(np.arange(39.5, 46), np.arange(229.5, 238))
    cut = trim(fine, 4, like=coarse)
    assert cut.sizes["lat"] == 12
    assert float(cut["lat"][0]) == 41.125
    assert float(cut["lon"][0]) == 231.125
    aligned = align_coarse(coarse, cut, 4, align="strict")
    np.testing.assert_allclose(aligned["lat"], block_centres(cut["lat"].values, 4))
    xr.testing.assert_equal(
        aligned["t"].drop_vars(("lat", "lon")),
        coarse.sel(lat=aligned["lat"], lon=aligned["lon"], method="nearest")["t"].drop_vars(("lat", "lon")),
    )


def test_grids_that_do_not_nest_are_interpolated_or_refused():
    coarse = field(np.arange(38.8, 47), np.arange(228.7, 239))
    aligned = align_coarse(coarse, FINE, 4)
    expected = np.add.outer(block_centres(FINE["lat"].values, 4), 2 * block_centres(FINE["lon"].values, 4))
    np.testing.assert_allclose(aligned["t"][0], expected, rtol=1e-5)
    with pytest.raises(DataError, match="do not nest"):
        align_coarse(coarse, FINE, 4, align="strict")


def test_finer_coarse_fields_are_averaged():
    coarse = field(np.arange(39, 46, 0.5), np.arange(229, 238, 0.5))
    checks = coarse.copy()
    checks["t"] = checks["t"] * 0 + np.indices(checks["t"].shape[1:]).sum(0) % 2
    aligned = align_coarse(checks, FINE, 4)
    assert float(np.abs(aligned["t"] - 0.5).max()) < 0.1


def test_fields_that_do_not_cover_are_refused():
    with pytest.raises(DataError, match="must cover"):
        align_coarse(field(np.arange(40.1, 43), np.arange(230.6, 234)), FINE, 4)


def test_too_few_cells_are_refused():
    with pytest.raises(DataError, match="at least 4 lat"):
        trim(FINE.isel(lat=slice(0, 3)), 4)


def test_curvilinear_fields_need_a_resolution_and_get_a_regular_grid():
    y, x = np.meshgrid(np.linspace(40, 42, 30), np.linspace(230, 233, 40), indexing="ij")
    curved = xr.Dataset(
        {"t": (("time", "y", "x"), np.broadcast_to(y, (1, 30, 40)).astype("float32"))},
        {
            "time": np.array(["2000-01-01"], "datetime64[ns]"),
            "lat": (("y", "x"), y + 0.01 * x),
            "lon": (("y", "x"), x),
        },
    )
    with pytest.raises(ConfigError, match="resolution must be given"):
        to_regular(curved, None)
    regular = to_regular(curved, 0.5)
    assert regular["lat"].ndim == 1
    np.testing.assert_allclose(np.diff(regular["lat"]), 0.5)
    assert bool(regular["t"].notnull().any())


def test_a_region_across_greenwich_is_one_piece():
    whole = field(np.arange(40.5, 44), np.arange(-9.5, 10))
    parts = whole.assign_coords(lon=whole["lon"] % 360).sortby("lon")
    xr.testing.assert_allclose(join_seam(parts), whole)
    fine = field(np.arange(40.125, 44, 0.25), np.arange(-5.875, 6, 0.25))
    aligned = align_coarse(parts, fine, 4, align="strict")
    np.testing.assert_allclose(aligned["lon"], np.arange(-5.5, 6))
    np.testing.assert_allclose(
        aligned["t"][0], np.add.outer(aligned["lat"].values, 2 * aligned["lon"].values)
    )


@pytest.mark.parametrize(
    "lon", [np.arange(0, 360, 30.0), np.array([10.0, 11, 12, 40, 41]), np.array([5.0, 6])]
)
def test_other_axes_are_left_alone(lon):
    fields = field(np.arange(3.0), lon)
    xr.testing.assert_identical(join_seam(fields), fields)
