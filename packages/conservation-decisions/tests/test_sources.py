"""Rasters, polygons and Marxan folders, generated here in the layouts that users have."""

import geopandas as gpd
import numpy as np
import pytest
import rioxarray  # noqa: F401
import shapely
import xarray as xr

from conservation_decisions.geometry import centres_in_metres, find_edges, measure_areas
from conservation_decisions.landscape import Landscape
from conservation_decisions.sources import open_landscape
from conservation_decisions.sources.marxan import write_marxan
from conservation_decisions.sources.vector import from_frame
from isopleth.errors import DataError

RADIUS = 6_371_000

# rioxarray multiplies affine transforms in the way that affine is to give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def write_tif(path, values, *, crs="EPSG:32637", x0=500_000.0, y0=9_000.0, step=1_000.0):
    stack = np.atleast_3d(np.asarray(values, float).T).T
    coords = {
        "y": y0 - step * (np.arange(stack.shape[1]) + 0.5),
        "x": x0 + step * (np.arange(stack.shape[2]) + 0.5),
    }
    array = xr.DataArray(stack, dims=("band", "y", "x"), coords=coords)
    path.parent.mkdir(parents=True, exist_ok=True)
    array.rio.write_nodata(np.nan).rio.write_crs(crs).rio.to_raster(path)


@pytest.fixture
def rasters(tmp_path):
    cost = np.array([[1.0, 2, np.nan], [4, 5, 6]])
    write_tif(tmp_path / "r" / "cost.tif", cost)
    write_tif(tmp_path / "r" / "bird.tif", np.stack([np.ones((2, 3)), 3 * np.ones((2, 3))]))
    write_tif(tmp_path / "r" / "frog.tif", [[0, 1, 2], [np.nan, 4, 5]])
    write_tif(tmp_path / "r" / "locked_in.tif", [[1, 0, 0], [0, 0, 0]])
    write_tif(tmp_path / "r" / "group.tif", [[1, 1, 1], [4, 4, np.nan]])
    return tmp_path / "r"


def test_rasters_become_units_where_there_is_a_cost(rasters):
    land = open_landscape(rasters)
    assert land.features == ("bird", "frog")
    assert (land.units, land.members) == (5, 2)
    np.testing.assert_array_equal(land.cost, [1, 2, 4, 5, 6])
    np.testing.assert_array_equal(land.amounts[1, 0], 3)
    np.testing.assert_array_equal(land.amounts[0, 1], [0, 1, 0, 4, 5])
    np.testing.assert_array_equal(land.totals("everywhere"), [12, 12])  # 2 in the cell without a cost
    assert land.locked_in.tolist() == [True, False, False, False, False]
    assert land.group.tolist() == [0, 0, 1, 1, -1]
    assert land.group_names == ("1", "4")
    np.testing.assert_allclose(land.dataset["area"], 1e6)
    np.testing.assert_allclose(land.boundary.sum(axis=1) + land.exposed, 4000)
    assert land.boundary.nnz == 10  # five pairs


def test_cells_in_degrees_are_measured_on_the_ellipsoid(tmp_path):
    write_tif(tmp_path / "cost.tif", np.ones((2, 2)), crs="EPSG:4326", x0=10, y0=61, step=1)
    write_tif(tmp_path / "bird.tif", np.ones((2, 2)), crs="EPSG:4326", x0=10, y0=61, step=1)
    land = open_landscape(tmp_path)
    area = np.radians(1) * (np.sin(np.radians(61)) - np.sin(np.radians(60))) * RADIUS**2
    assert land.dataset["area"].values[0] == pytest.approx(area, rel=0.01)
    first, second, length = land.edges
    across = dict(zip(zip(first.tolist(), second.tolist(), strict=True), length, strict=True))
    assert across[0, 2] == pytest.approx(np.radians(1) * np.cos(np.radians(60)) * RADIUS, rel=0.005)
    assert across[0, 1] == pytest.approx(111_400, rel=0.005)
    apart = np.diff(centres_in_metres(land), axis=0)
    np.testing.assert_allclose(
        np.abs(apart[0]), [np.radians(1) * np.cos(np.radians(60)) * RADIUS, 0], rtol=0.001
    )


def test_rasters_of_other_grids_are_refused(rasters):
    write_tif(rasters / "frog.tif", np.ones((3, 3)))
    with pytest.raises(DataError, match=r"one grid.*frog"):
        open_landscape(rasters)


def test_features_with_other_numbers_of_members_are_refused(rasters):
    write_tif(rasters / "frog.tif", np.ones((3, 2, 3)))
    with pytest.raises(DataError, match="bands"):
        open_landscape(rasters)


def make_squares(crs="EPSG:32637", scale=1000.0):
    boxes = [
        shapely.box(c * scale, r * scale, (c + 1) * scale, (r + 1) * scale)
        for r in range(3)
        for c in range(3)
    ]
    data = {
        "cost": np.arange(1.0, 10),
        "bird": np.ones(9),
        "frog": np.arange(9.0),
        "locked_out": [True] + [False] * 8,
    }
    return gpd.GeoDataFrame(data, geometry=boxes, crs=crs)


def test_polygons_share_boundaries_and_no_sliver_is_negative(tmp_path):
    frame = make_squares()
    frame.to_file(tmp_path / "units.gpkg", driver="GPKG")
    land = open_landscape(tmp_path / "units.gpkg")
    assert land.features == ("bird", "frog")
    assert land.boundary.nnz == 24
    np.testing.assert_allclose(land.boundary.data, 1000)
    np.testing.assert_allclose(land.exposed, [2000, 1000, 2000, 1000, 0, 1000, 2000, 1000, 2000], atol=1e-6)
    assert (land.exposed >= 0).all()
    assert land.locked_out.tolist() == [True] + [False] * 8


def test_polygons_in_degrees_are_measured_on_the_ellipsoid():
    frame = make_squares(crs="EPSG:4326", scale=1.0)
    areas = measure_areas(frame.geometry)
    expected = np.radians(1) * np.sin(np.radians(1)) * RADIUS**2
    assert areas[0] == pytest.approx(expected, rel=0.01)
    (_, _, length), _ = find_edges(frame.geometry)
    np.testing.assert_allclose(length, 111_000, rtol=0.01)
    with pytest.raises(DataError, match="reference system"):
        measure_areas(frame.set_crs(None, allow_override=True).geometry)


def test_a_part_of_polygons_is_a_landscape():
    part = from_frame(make_squares()).take_units(np.arange(9) < 3)
    np.testing.assert_allclose(part.boundary.sum(axis=1) + part.exposed, 4000)


def test_polygons_without_a_cost_cost_their_area():
    land = from_frame(make_squares().drop(columns="cost"))
    np.testing.assert_allclose(land.cost, 1.0)
    with pytest.raises(DataError, match="polygons"):
        from_frame(gpd.GeoDataFrame({"bird": [1.0]}, geometry=[shapely.Point(0, 0)], crs="EPSG:32637"))


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # shapely's
def test_polygons_with_a_corner_nowhere_are_refused():
    frame = make_squares()
    frame.loc[3, "geometry"] = shapely.Polygon([(0, 0), (0, 1), (1, np.nan), (1, 0)])
    with pytest.raises(DataError, match="finite, got others in 1 shapes, the first in row 4"):
        from_frame(frame)


def write_course(folder, **changes):
    """Write a Marxan folder with the quirks of real ones: tabs beside commas, prop, capitals, a diagonal."""
    files = {
        "input.dat": "BLM 0\nINPUTDIR data\nPUNAME Planning.csv\nSPECNAME spec.dat\nPUVSPRNAME puvspr.dat\n"
        "BOUNDNAME bound.dat\n",
        "data/Planning.csv": "ID,Cost,Status\n10,1.5,0\n20,2.5,1\n30,3.5,2\n40,4.5,3\n",
        "data/spec.dat": "id,prop,target,spf,name\n1,0.5,0,1,owl\n7,0,3,2,eel\n",
        "data/puvspr.dat": "species,pu,amount\n1,10,2\n1,30,4\n7,20,5\n7,40,1\n",
        "data/bound.dat": "id1\tid2\tboundary\n10\t20\t100\n20\t30\t200\n10\t10\t50\n40\t40\t-1e-11\n",
        **changes,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text)
    return folder


def test_a_marxan_folder_with_its_quirks(tmp_path):
    land = open_landscape(write_course(tmp_path))
    assert land.features == ("owl", "eel")
    np.testing.assert_array_equal(land.cost, [1.5, 2.5, 3.5, 4.5])
    np.testing.assert_array_equal(land.mean_amounts, [[2, 0, 4, 0], [0, 5, 0, 1]])
    np.testing.assert_array_equal(land.dataset["target"], [3, 3])  # half of 6, and 3 itself
    assert land.locked_in.tolist() == [False, False, True, False]
    assert land.locked_out.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(land.exposed, [50, 0, 0, 0])
    np.testing.assert_array_equal(land.edges[2], [100, 200])


def test_marxan_folders_are_written_and_read_alike(random_landscape, tmp_path):
    land = random_landscape(0, locked_out=[0, 1, 0, 0, 0, 0, 0], locked_in=[1, 0, 0, 0, 0, 0, 0])
    back = open_landscape(write_marxan(land, tmp_path / "m", target=0.3))
    np.testing.assert_allclose(back.mean_amounts, land.mean_amounts, rtol=1e-12)
    np.testing.assert_allclose(back.boundary.toarray(), land.boundary.toarray())
    np.testing.assert_allclose(back.exposed, land.exposed)
    np.testing.assert_allclose(back.dataset["target"], 0.3 * land.totals())
    assert back.locked_in.tolist() == land.locked_in.tolist()
    assert back.locked_out.tolist() == land.locked_out.tolist()
    with pytest.raises(DataError, match="targets"):
        write_marxan(land, tmp_path / "n")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data/puvspr.dat": None}, "must hold puvspr.dat"),
        ({"data/bound.dat": None}, "must hold bound.dat"),
        ({"data/Planning.csv": "id,price\n10,1\n"}, "none named 'cost'"),
        ({"data/Planning.csv": "id,cost\n10,1\n10,2\n"}, "10 twice"),
        ({"data/Planning.csv": "id,cost\n10,1\n10.5,2\n"}, "whole numbers, got 10.5"),
        ({"data/Planning.csv": "id,cost\n10,1\ninf,2\n"}, "whole numbers, got inf"),
        ({"data/Planning.csv": "id,cost,status\n10,1,5\n20,1,0\n30,1,0\n40,1,0\n"}, "status"),
        ({"data/Planning.csv": "id,cost\n10,\n20,1\n30,1\n40,1\n"}, "filled in every row"),
        ({"data/Planning.csv": "id,cost\n10,cheap\n20,1\n30,1\n40,1\n"}, "numbers"),
        ({"data/puvspr.dat": "species,pu,amount\n1,99,2\n"}, "99, which is not"),
        ({"data/puvspr.dat": "species,pu,amount\n1,10,-2\n"}, "at least 0"),
        ({"data/spec.dat": "id,spf\n1,1\n7,1\n"}, "target or a prop"),
        ({"data/spec.dat": ""}, "one delimiter"),
        ({"input.dat": "INPUTDIR ../../elsewhere\n"}, "INPUTDIR must lie in the Marxan folder"),
    ],
)
def test_a_broken_marxan_folder_is_one_clear_line(tmp_path, changes, told):
    with pytest.raises(DataError, match=told) as caught:
        open_landscape(write_course(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_remarks_in_another_encoding_do_not_matter(tmp_path):
    folder = write_course(tmp_path)
    settings = folder / "input.dat"
    settings.write_bytes(b"Remark caf\xe9\n" + settings.read_bytes())
    assert open_landscape(folder).units == 4


def test_what_is_no_landscape_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.gpkg").write_text("x")
    for name, told in (("a.txt", "must end in"), ("b.gpkg", "GDAL"), ("none.zarr", "exists")):
        with pytest.raises(DataError, match=told):
            open_landscape(tmp_path / name)
    with pytest.raises(DataError, match="must hold"):
        open_landscape(tmp_path)


def test_landscape_of_nothing_is_refused():
    with pytest.raises(DataError, match="at least one"):
        Landscape.build([], np.zeros((1, 0)))
