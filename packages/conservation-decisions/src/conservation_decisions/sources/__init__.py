"""Where landscapes come from: stores of our own, Marxan folders, rasters, vector files."""

from __future__ import annotations

from pathlib import Path

from conservation_decisions.landscape import Landscape
from isopleth.errors import DataError

_VECTOR = (".gpkg", ".geojson", ".json", ".shp", ".fgb")


def open_landscape(source: str | Path) -> Landscape:
    """Open whatever holds a landscape, by its kind.

    Parameters
    ----------
    source : path
        A store that `Landscape.save` wrote (``.zarr``, ``.nc``), a Marxan folder (with ``pu.dat`` or an
        ``input.dat``), a folder of GeoTIFFs (with ``cost.tif``), or a vector file.

    Raises
    ------
    DataError
        If it is none of these or cannot be read; names what was looked for.
    """
    path = Path(source)
    if not path.exists():
        raise DataError("a landscape must be a file or folder that exists, got none", where=path)
    try:
        return _open(path)
    except DataError as error:
        raise DataError(error.what, where=error.where or path, hint=error.hint) from error


def _open(path: Path) -> Landscape:
    if path.is_dir():
        return _open_folder(path)
    if path.suffix == ".nc":
        from conservation_decisions.sources.stored import read_store

        return read_store(path)
    if path.suffix.lower() in _VECTOR:
        from conservation_decisions.sources.vector import read_vector

        return read_vector(path)
    raise DataError(
        f"a landscape must end in .zarr, .nc, {', '.join(_VECTOR)}, got {path.name!r}", where=path
    )


def _open_folder(path: Path) -> Landscape:
    names = {entry.name.lower() for entry in path.iterdir()}
    if "zarr.json" in names:
        from conservation_decisions.sources.stored import read_store

        return read_store(path)
    if names & {"cost.tif", "cost.tiff"}:
        from conservation_decisions.sources.raster import read_rasters

        return read_rasters(path)
    from conservation_decisions.sources.marxan import read_marxan

    return read_marxan(path)
