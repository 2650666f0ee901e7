"""From curvilinear ocean grids: a rotated pole whose truth is known everywhere."""

import dask
import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from isopleth.grid import Grid, great_circle_km
from isopleth.io import regrid

METHODS = ["conservative", "bilinear", "nearest"]


def rotated_places(n_y, n_x, pole=(70.0, -40.0)):
    """Centres of a global grid whose pole lies over Greenland, like POP's."""
    lat, lon = np.meshgrid(
        -90 + (np.arange(n_y) + 0.5) * 180 / n_y, np.arange(n_x) * 360 / n_x, indexing="ij"
    )
    phi, lam, tilt = np.radians(lat), np.radians(lon), np.radians(90 - pole[0])
    x, y, z = np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)
    x, z = x * np.cos(tilt) + z * np.sin(tilt), -x * np.sin(tilt) + z * np.cos(tilt)
    return np.degrees(np.arcsin(z.clip(-1, 1))), np.degrees(np.arctan2(y, x)) + pole[1], np.cos(phi)


def smooth(lat, lon):
    return np.sin(np.radians(lat)) + np.cos(np.radians(lat)) * np.cos(np.radians(lon - 50)) + 3


def ocean(n_y=90, n_x=180, land=True, steps=2):
    """A smooth field on a rotated grid; over land neither places nor values."""
    lat, lon, area = rotated_places(n_y, n_x)
    dry = (great_circle_km(lat, lon, 10.0, 30.0) < 2500) & land
    lat, lon = np.where(dry, np.nan, lat), np.where(dry, np.nan, lon)
    values = np.stack([smooth(lat, lon) * (1 + i) for i in range(steps)]).astype("f4")
    return xr.Dataset(
        {"zos": (("time", "y", "x"), values, {"units": "m"})},
        coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon), "cell_area": (("y", "x"), area)},
    )


@pytest.mark.parametrize(
    ("method", "worst"), [("nearest", 0.04), ("bilinear", 0.015), ("conservative", 0.06)]
)
@pytest.mark.parametrize(
    "target", [Grid.regular(30, 60), Grid.regular(31, 60, poles=True)], ids=["", "poles"]
)
def test_a_smooth_field_arrives(method, worst, target):
    result = regrid(ocean(land=False), target, method=method)["zos"]
    assert result.dims == ("time", "lat", "lon")
    assert result.dtype == np.float32
    assert result.attrs == {"units": "m"}
    assert result.notnull().all(), "no seam, no hole at a pole"
    truth = smooth(target.lat[:, None], target.lon[None, :])
    np.testing.assert_allclose(result[0], truth, atol=worst)
    np.testing.assert_allclose(result[1], 2 * result[0], rtol=1e-6)


def test_nearest_is_the_nearest_by_great_circle():
    ds, target = ocean(20, 40), Grid(np.arange(-60, 61, 7.0), np.arange(3, 360, 11.0))
    ids = xr.full_like(ds["zos"][0], 0, dtype="f8").copy(data=np.arange(800.0).reshape(20, 40))
    result = regrid(ids, target, method="nearest")
    lat, lon = ds["lat"].values.ravel(), ds["lon"].values.ravel()
    for i, j in np.argwhere(np.isfinite(result.values)):
        distance = great_circle_km(target.lat[i], target.lon[j], lat, lon)
        assert distance[int(result[i, j])] <= np.nanmin(distance) + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_land_stays_missing_and_does_not_spread(method):
    target = Grid.regular(36, 72)
    result = regrid(ocean(), target, method=method)["zos"][0]
    distance = great_circle_km(target.lat[:, None], target.lon[None, :], 10.0, 30.0)
    assert np.isnan(result.values[distance < 2100]).all()
    assert np.isfinite(result.values[distance > 2900]).all()


@pytest.mark.parametrize("method", METHODS)
def test_missing_values_are_weighed(method):
    ds = ocean(land=False)
    hole = great_circle_km(ds["lat"].values, ds["lon"].values, 0.0, 180.0) < 2000
    ds["zos"] = ds["zos"].where(~hole)
    target = Grid.regular(36, 72)
    result = regrid(ds, target, method=method)["zos"][0]
    distance = great_circle_km(target.lat[:, None], target.lon[None, :], 0.0, 180.0)
    assert np.isnan(result.values[distance < 1600]).all()
    assert np.isfinite(result.values[distance > 2400]).all()
    truth = smooth(target.lat[:, None], target.lon[None, :])
    far = distance > 2400
    np.testing.assert_allclose(result.values[far], truth[far], atol=0.06)


def test_conservative_keeps_the_integral_exactly_over_the_area_in_each_target_cell():
    """What is promised: source cells go whole where their centres lie."""
    ds, target = ocean(), Grid.regular(18, 36)
    rng = np.random.default_rng(0)
    noise = ds["zos"].copy(data=rng.normal(5, 2, ds["zos"].shape)).where(ds["lat"].notnull())
    noise = noise.where(xr.DataArray(rng.random(ds["lat"].shape) < 0.8, dims=("y", "x")))
    result = regrid(noise, target, min_valid=0)[0]
    valid_area = ds["cell_area"].where(noise[0].notnull(), 0.0)
    assert result.notnull().sum() > 500
    lat, lon = ds["lat"].values, ds["lon"].values
    total = 0.0
    for i, j in np.argwhere(np.isfinite(result.values)):
        inside = (lat >= target.lat_bounds[i, 0]) & (lat < target.lat_bounds[i, 1])
        inside &= (lon - target.lon_bounds[j, 0]) % 360 < 10
        total += float(result[i, j]) * float(valid_area.values[inside].sum())
    assert total == pytest.approx(float((noise[0] * valid_area).sum()), rel=1e-9)


@pytest.mark.parametrize(("cells", "tolerance"), [(2, 2e-3), (4, 5e-4), (8, 2e-4)])
@pytest.mark.parametrize("areas", ["given", "estimated"])
def test_the_area_mean_is_kept_as_finely_as_the_source_is_fine(cells, tolerance, areas):
    target = Grid.regular(18, 36)
    ds = ocean(18 * cells, 36 * cells, land=False)
    truth = 3.0  # the mean of the smooth field over the sphere
    if areas == "estimated":
        ds = ds.drop_vars("cell_area")
    result = regrid(ds, target)["zos"][0]
    assert float(np.average(result, weights=target.cell_areas_km2)) == pytest.approx(truth, rel=tolerance)


def test_estimated_areas_are_those_of_the_cells():
    from isopleth.io.curvilinear import _cell_areas, _unit_vectors

    lat, lon, _ = rotated_places(90, 180)
    ds = xr.Dataset(coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)})
    area = _cell_areas(ds, _unit_vectors(lat, lon), ("y", "x"))
    assert area.sum() == pytest.approx(4 * np.pi, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_dask_stays_dask(method):
    ds, target = ocean(steps=4), Grid.regular(18, 36)
    lazy = regrid(ds.chunk(time=1, y=30), target, method=method)["zos"]
    assert lazy.chunks == ((1, 1, 1, 1), (18,), (36,))
    xr.testing.assert_allclose(
        lazy.compute(scheduler="synchronous"), regrid(ds, target, method=method)["zos"]
    )


@pytest.mark.parametrize("method", METHODS)
def test_regional_targets_across_the_seam(method):
    target = Grid(np.arange(50, 39, -2.0), np.arange(352, 369, 2.0) % 360)
    result = regrid(ocean(land=False), target, method=method)["zos"][0]
    assert result.notnull().all()
    np.testing.assert_allclose(result, smooth(target.lat[:, None], target.lon[None, :]), atol=0.05)


def test_a_regional_source_does_not_spread():
    lat, lon = np.meshgrid(np.arange(40, 50, 0.5), np.arange(-10, 10, 0.5), indexing="ij")
    ds = xr.Dataset({"sst": (("y", "x"), lat)}, coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)})
    target = Grid(np.arange(30, 61, 2.0), np.arange(-20, 21, 2.0))
    for method in METHODS:
        found = np.isfinite(regrid(ds, target, method=method)["sst"].values)
        rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
        assert 38 < target.lat[rows].min() <= target.lat[rows].max() <= 51
        assert -12 < target.lon[columns].min() <= target.lon[columns].max() < 12


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_grid_is_refused(method):
    lat, lon = np.meshgrid(np.arange(40, 50, 0.5), np.arange(-10, 10, 0.5), indexing="ij")
    coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    ds = xr.Dataset({"sst": (("y", "x"), lat)}, coords=coords)
    with pytest.raises(DataError, match=r"must overlap the source, got Grid.* of lat 40..49.5, lon -10..9.5"):
        regrid(ds, Grid([-40.0, -39.0], [100.0, 101.0]), method=method)
    with pytest.raises(DataError, match="must have places, got none"):
        regrid(ds.assign_coords(lat=ds["lat"] * np.nan), Grid.regular(4, 8), method=method)
    with pytest.raises(DataError, match="must have the same dimensions"):
        regrid(ds.assign_coords(lon=("x", lon[0])), Grid.regular(4, 8), method=method)
    turned = ds.assign_coords(lon=(("x", "y"), lon.T))
    target = Grid([44.0, 46.0], [0.0, 2.0])
    xr.testing.assert_equal(regrid(turned, target, method=method), regrid(ds, target, method=method))


def test_repeated_centres_share_their_place():
    """NEMO repeats columns along its fold and seam."""
    ds = ocean(30, 60, land=False)
    doubled = xr.concat([ds, ds.isel(x=[0, 1])], "x", data_vars="all", coords="all")
    for method in METHODS:
        once, twice = (regrid(d, Grid.regular(9, 18), method=method)["zos"] for d in (ds, doubled))
        assert twice.notnull().all()
        np.testing.assert_allclose(once, twice, atol=0.15)


def test_integers_on_a_synchronous_scheduler_too():
    ds = ocean(30, 60, land=False)
    counts = ds["zos"].round().astype("i4").chunk(time=1)
    with dask.config.set(scheduler="synchronous"):
        assert regrid(counts, Grid.regular(9, 18), method="nearest").compute().dtype == np.float64
