"""Rasters of many bands come in north up from every form, and a network learns from them."""

import contextlib
import json

import numpy as np
import pytest
import rioxarray  # noqa: F401 - gives xarray its .rio
import torch
import xarray as xr

import block_expansion.tuner  # noqa: F401 - registers block expansion
from block_expansion.cli import tool
from block_expansion.config import BackboneConfig, DataConfig
from block_expansion.data import compute_moments
from block_expansion.folders import open_domain
from block_expansion.model import build_classifier
from block_expansion.rasters import Patch, RasterReader
from isopleth.errors import DataError

BANDS = ("B02", "B03", "B04", "B08", "B11")
# zarr 3 has no specification of consolidated metadata yet, and xarray writes it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Consolidated metadata"),
    # rasterio multiplies its affine maps by an operator that affine 3.1 will take away.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]


def make_scene(rows=40, columns=60, seed=0):
    """Five bands of 10 m pixels, north up; the near infrared is bright in the east, the rest is noise."""
    values = np.random.default_rng(seed).normal(0.2, 0.05, (5, rows, columns)).astype(np.float32)
    values[3, :, columns // 2 :] += 0.3
    y, x = 5_000_000 - 10.0 * np.arange(rows), 400_000 + 10.0 * np.arange(columns)
    return xr.DataArray(values, dims=("band", "y", "x"), coords={"band": np.arange(1, 6), "y": y, "x": x})


def write_geotiff(scene, path):
    scene = scene.assign_attrs(long_name=BANDS).rio.write_crs(32632).rio.write_nodata(-9999.0)
    scene.fillna(-9999.0).rio.to_raster(path)


def write_projected(scene, path):
    bands = {name: scene.isel(band=n, drop=True) for n, name in enumerate(BANDS)}
    xr.Dataset(bands).to_netcdf(path)


def write_degrees(scene, path):
    bands = {name: (("lat", "lon"), scene.values[n]) for n, name in enumerate(BANDS)}
    lat, lon = 45 - 1e-4 * np.arange(scene.sizes["y"]), -3 + 1e-4 * np.arange(scene.sizes["x"])
    ds = xr.Dataset(bands, {"lat": lat, "lon": lon})
    ds.to_zarr(path) if path.suffix == ".zarr" else ds.to_netcdf(path)


def write_layers(scene, path):
    lat, lon = 45 - 1e-4 * np.arange(scene.sizes["y"]), 3 + 1e-4 * np.arange(scene.sizes["x"])
    layers = {"reflectance": (("band", "lat", "lon"), scene.values)}
    xr.Dataset(layers, {"lat": lat, "lon": lon}).to_netcdf(path)


FORMS = {
    "scene.tif": write_geotiff,
    "scene.nc": write_projected,
    "degrees.nc": write_degrees,
    "degrees.zarr": write_degrees,
    "layers.nc": write_layers,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_pixels_north_up(name, tmp_path):
    scene = make_scene()
    FORMS[name](scene, tmp_path / name)
    patch = Patch(tmp_path / name, row=10, column=20)
    read = RasterReader(8, 5)(patch)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, scene.values[:, 6:14, 16:24])
    chosen = ("reflectance_4", "reflectance_1") if name.startswith("layers") else ("B08", "B02")
    np.testing.assert_array_equal(RasterReader(8, 2, chosen)(patch), read[[3, 0]])
    np.testing.assert_array_equal(RasterReader(8, 2, ("4", "1"))(patch), read[[3, 0]])


@pytest.mark.parametrize(
    ("name", "y", "x"),
    [
        ("scene.tif", 4_999_901.0, 400_203.0),
        ("scene.nc", 4_999_901.0, 400_203.0),
        ("degrees.nc", 44.999, -2.998),
    ],
)
def test_a_place_is_found_by_its_coordinates(name, y, x, tmp_path):
    scene = make_scene()
    FORMS[name](scene, tmp_path / name)
    read = RasterReader(8, 5)(Patch(tmp_path / name, y=y, x=x))
    np.testing.assert_array_equal(read, scene.values[:, 6:14, 16:24])
    with pytest.raises(DataError, match="a patch must lie within its raster"):
        RasterReader(8, 5)(Patch(tmp_path / name, y=y + 1e4, x=x))


def test_a_whole_raster_is_cut_to_its_middle_square_and_resized(tmp_path):
    scene = make_scene(rows=16, columns=20)
    write_geotiff(scene, tmp_path / "a.tif")
    middle = scene.values[:, :, 2:18]
    np.testing.assert_array_equal(RasterReader(16, 5)(Patch(tmp_path / "a.tif")), middle)
    small = RasterReader(8, 5)(Patch(tmp_path / "a.tif"))
    assert small.shape == (5, 8, 8)
    assert small.mean() == pytest.approx(middle.mean(), rel=0.01)


def test_what_has_no_value_is_missing_and_counts_as_the_mean(tmp_path, spread):
    scene = make_scene()
    scene[:, 8, 18] = np.nan
    write_geotiff(scene, tmp_path / "a.tif")
    read = RasterReader(8, 5)(Patch(tmp_path / "a.tif", row=10, column=20))
    assert np.isnan(read[:, 2, 2]).all()
    assert np.isnan(read).sum() == 5
    filled = np.where(np.isnan(read), np.float32(0.2), read)
    classifier = spread((0.2,) * 5)
    found, expected = (classifier(torch.from_numpy(image)[None]) for image in (read, filled))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    scene[2] = np.nan
    write_geotiff(scene, tmp_path / "b.tif")
    with pytest.raises(DataError, match="every band of a patch must have a value"):
        RasterReader(8, 5)(Patch(tmp_path / "b.tif"))


@pytest.fixture
def spread():
    def make(means):
        backbone = BackboneConfig(
            name="vit_tiny_patch16_224", pretrained=False, image_size=8, channels=5, dim=24, depth=2, heads=3,
            patch_size=4,
        )  # fmt: skip
        return build_classifier(backbone, 2, (means, (0.1,) * 5)).eval()

    return make


@pytest.mark.parametrize(
    ("reader", "patch", "said"),
    [
        (RasterReader(8, 4), {}, "as many bands as the network has channels, 4, got 5: B02, B03"),
        (RasterReader(8, 1, ("B99",)), {}, "a band must be one of B02, B03, B04, B08, B11, got 'B99'"),
        (RasterReader(8, 5), {"row": 2, "column": 9}, "must lie within its raster of 40 by 60, got its"),
    ],
)
def test_what_does_not_fit_is_said(reader, patch, said, tmp_path):
    write_geotiff(make_scene(), tmp_path / "a.tif")
    with pytest.raises(DataError, match=said):
        reader(Patch(tmp_path / "a.tif", **patch))


def test_a_file_that_is_no_raster_is_named(tmp_path):
    for name in ("a.tif", "a.nc"):
        (tmp_path / name).write_bytes(b"something else entirely")
        with pytest.raises(DataError):
            RasterReader(8, 5)(Patch(tmp_path / name))


def make_lines():
    """Patches of 8 pixels, the parts in rows apart; west is dark in the near infrared, east is bright."""
    rows = {"train": (4, 12), "val": (22,), "test": (32,)}
    return [
        f"scene.tif,{'west' if column < 30 else 'east'},{part},{row},{column}"
        for part, places in rows.items()
        for row in places
        for column in (5, 13, 21, 38, 46, 54)
    ]


@pytest.fixture
def table(tmp_path):
    write_geotiff(make_scene(), tmp_path / "scene.tif")
    path = tmp_path / "patches.csv"
    path.write_text("\n".join(["raster,label,part,row,column", *make_lines()]))
    return path


def test_a_table_of_patches_is_a_task_with_statistics_of_training_alone(table):
    domain = open_domain(table, size=8, channels=5)
    assert domain.classes == ("east", "west")
    assert (len(domain.train), len(domain.val), len(domain.test)) == (12, 6, 6)
    means, stds = compute_moments(domain.train)
    values = domain.train.read(range(12)).transpose(1, 0, 2, 3).reshape(5, -1).astype(np.float64)
    assert means == pytest.approx(values.mean(1), rel=1e-9)
    assert stds == pytest.approx(values.std(1), rel=1e-9)
    kept = open_domain(table, size=8, channels=5, data=DataConfig(cache=table.parent / "cache"))
    np.testing.assert_array_equal(kept.train.read([3, 1]), domain.train.read([3, 1]))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["scene.tif,west,test,10,12"],
            "patches of test and train must share no pixel, got .* row 10 column 12",
        ),
        (["scene.tif,west,test,,"], "patches of test and train must share no pixel"),
        (["gone.tif,west,train,4,5"], "a raster must be beside its table, got none"),
        (["../scene.tif,west,train,4,5"], "a raster must lie in its table's folder"),
        (["scene.tif,west,all,4,5"], "be in train, val or test, got 'west' in 'all'"),
        (["scene.tif,west,train,4,"], "a place must be row and column, or y and x, got row"),
        (["scene.tif,west,train,4,five"], "a place must be numbers"),
        (["scene.tif,west,train,4,99999999999999999999"], "a place must be finite numbers"),
        (["scene.tif,north,test,36,5"], "every class must be among those of train, got north"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(table, lines, said):
    table.write_text("\n".join(["raster,label,part,row,column", *make_lines(), *lines]))
    with pytest.raises(DataError, match=said):
        open_domain(table, size=8, channels=5)


def test_a_place_that_is_no_number_is_refused(table):
    for value in ("nan", "inf", "1e400"):
        table.write_text(f"raster,label,part,y,x\nscene.tif,west,train,{value},4")
        with pytest.raises(DataError, match="a place must be finite numbers"):
            open_domain(table, size=8, channels=5)


def test_a_damaged_table_is_read_or_refused(table):
    sound, random = table.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        first, last = sorted(random.integers(0, len(sound), 2))
        other = random.integers(0, 256, random.integers(0, 8), dtype=np.uint8).tobytes()
        table.write_bytes(sound[:first] + other + sound[min(last, first + 8) :])
        with contextlib.suppress(DataError):
            open_domain(table, size=8, channels=5)


def test_train_learns_from_five_bands(table, capsys):
    words = [
        "train", str(table), "--out", str(table.parent / "run"), "--method.expansions", "2",
        "--backbone.name", "vit_tiny_patch16_224", "--backbone.pretrained", "false",
        "--backbone.image_size", "8",
        "--backbone.channels", "5", "--backbone.dim", "24", "--backbone.depth", "4", "--backbone.heads", "3",
        "--backbone.patch_size", "4", "--fit.steps", "25", "--fit.batch_size", "12",
        "--fit.warmup_steps", "2", "--fit.learning_rate", "0.1", "--fit.least_area", "0.5",
        "--runtime.accelerator", "cpu", "--runtime.threads", "1", "--json",
        "--data.bands", '["B02", "B03", "B04", "B08", "B11"]',
    ]  # fmt: skip
    assert tool.main(words) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["accuracy"]["test"] == 1.0
    inputs = json.loads((table.parent / "run" / "adapter" / "inputs.json").read_text())
    assert inputs["classes"] == ["east", "west"]
    assert inputs["bands"] == list(BANDS)
    means, stds = compute_moments(open_domain(table, size=8, channels=5).train)
    assert inputs["means"] == pytest.approx(means, rel=1e-6)
    assert inputs["stds"] == pytest.approx(stds, rel=1e-6)
