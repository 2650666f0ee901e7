"""Sound files and folders to damage, in the forms that users have."""

from __future__ import annotations

from pathlib import Path

IBTRACS = """\
SID,SEASON,NUMBER,BASIN,SUBBASIN,NAME,ISO_TIME,NATURE,LAT,LON,WMO_WIND,USA_WIND
 ,Year, , , , , , ,degrees_north,degrees_east,kts,kts
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-23 18:00:00,TS,23.1,-75.1,30,30
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-24 00:00:00,TS,23.4,-75.7,30,
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-24 06:00:00,TS,23.8,-76.2,30,30
"""
HURDAT2 = "\n".join(
    [
        "AL092021,                IDA,      2,",
        "20210826, 1200,  , TD, 16.5N,  78.9W,  30, 1006," + "    0," * 12 + "   60",
        "20210826, 1800,  , TS, 17.4N,  79.5W,  35, 1006,   60," + "    0," * 11 + "   60",
        "",
    ]
)
PATCHES = """\
raster,label,part,row,column
scene.tif,west,train,4,4
scene.tif,east,train,4,26
scene.tif,west,val,12,4
scene.tif,east,val,12,26
scene.tif,west,test,20,4
scene.tif,east,test,20,26
"""


def write_marxan(folder: Path) -> Path:
    """Write a Marxan folder of 25 units."""
    from conservation_decisions.config import SampleConfig
    from conservation_decisions.sample import make_landscape
    from conservation_decisions.sources import marxan

    return marxan.write_marxan(make_landscape(SampleConfig(side=5)).landscape, folder / "marxan", target=0.2)


def write_polygons(folder: Path) -> Path:
    """Write six squares with a cost and two features."""
    import geopandas
    import shapely

    squares = [shapely.box(36 + n / 10, 1, 36.1 + n / 10, 1.1) for n in range(6)]
    columns = {"cost": [3.0, 1, 2, 5, 4, 2], "bird": range(6), "frog": range(6, 0, -1)}
    frame = geopandas.GeoDataFrame(columns, geometry=squares, crs="EPSG:4326")
    frame.to_file(folder / "units.geojson", driver="GeoJSON")
    return folder / "units.geojson"


def write_rasters(folder: Path) -> Path:
    """Write a GeoTIFF of the cost, and one a feature."""
    (folder / "rasters").mkdir()
    for number, name in enumerate(("cost", "bird", "frog")):
        _write_geotiff(folder / "rasters" / f"{name}.tif", bands=1, seed=number)
    return folder / "rasters"


def write_patches(folder: Path) -> Path:
    """Write a raster, and the table of labelled places in it."""
    (folder / "scenes").mkdir()
    _write_geotiff(folder / "scenes" / "scene.tif", bands=3, seed=0)
    (folder / "scenes" / "patches.csv").write_text(PATCHES)
    return folder / "scenes"


def _write_geotiff(path: Path, *, bands: int, seed: int) -> None:
    import numpy as np
    import rioxarray  # noqa: F401 - gives xarray its .rio
    import xarray as xr

    values = np.random.default_rng(seed).random((bands, 24, 32)).astype(np.float32)
    y, x = 9_000 - 10.0 * np.arange(24), 500_000 + 10.0 * np.arange(32)
    scene = xr.DataArray(values, dims=("band", "y", "x"), coords={"y": y, "x": x})
    scene.rio.write_crs(32637).rio.write_nodata(-9999.0).rio.to_raster(path)


def write_pictures(folder: Path) -> Path:
    """Write six pictures of six kinds, in two classes."""
    for number, ending in enumerate(("png", "jpg", "webp", "gif", "bmp", "tif")):
        _paint(folder / "pictures" / f"class-{number % 2}" / f"{number}.{ending}", number)
    return folder / "pictures"


def write_shard(folder: Path) -> Path:
    """Write a tar of pictures and classes, as WebDataset has them."""
    import tarfile

    with tarfile.open(folder / "shard.tar", "w") as tar:
        for number in range(3):
            _paint(folder / f"{number}.png", number)
            (folder / f"{number}.cls").write_text(str(number))
            for ending in ("png", "cls"):
                tar.add(folder / f"{number}.{ending}", arcname=f"{number}.{ending}")
    return folder / "shard.tar"


def write_twins(folder: Path) -> Path:
    """Write synthetic images, and the manifest that tells what each was made from."""
    from diffmix.manifest import Entry, Manifest, hash_bytes

    with Manifest(folder / "twins", {"generator": "digits", "steps": 20}) as manifest:
        for number in range(2):
            path = folder / "twins" / f"{number}.png"
            _paint(path, number)
            found = hash_bytes(path.read_bytes())
            manifest.add([Entry(id=str(number), path=path.name, seed=number, sha256=found)])
    return folder / "twins"


def _paint(path: Path, seed: int) -> None:
    import numpy as np
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)).save(path)


def write_samples(folder: Path, ending: str) -> Path:
    """Write a table of samples, and one of predictions for them."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    samples = pd.DataFrame(
        {
            "time": pd.date_range("2001-01-01", periods=40),
            "lat": rng.uniform(-60, 60, 40).round(2),
            "lon": rng.uniform(0, 360, 40).round(2),
            "level": rng.normal(size=40).round(4),
            "noise": rng.normal(size=40).round(4),
            "storm": [f"S{number // 4}" for number in range(40)],
        }
    )
    predictions = samples[["time", "lat", "lon"]].assign(prediction=samples["level"] / 2)
    (folder / "tables").mkdir()
    for name, frame in (("data", samples), ("predictions", predictions)):
        path = folder / "tables" / f"{name}{ending}"
        frame.to_parquet(path) if ending == ".parquet" else frame.to_csv(path, index=False)
    return folder / "tables"
