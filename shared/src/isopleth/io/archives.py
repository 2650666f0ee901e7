"""Zip archives, whatever they are called: the Climate Data Store names its zips ``.nc``."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from functools import cache
from pathlib import Path, PurePosixPath

from isopleth.errors import DataError
from isopleth.io.sources import scratch_folder

# A member that is NetCDF 4 is compressed inside; a classic file of zeros shrinks a thousandfold, a bomb
# further.
LARGEST_RATIO = 200
LARGEST_FREE_BYTES = 256 * 2**20
LARGEST_COUNT = 10_000
_SUFFIXES = {".nc", ".nc4", ".cdf", ".grib", ".grib2", ".grb", ".grb2"}


def unpack(path: Path) -> list[Path]:
    """Unpack the data files of a zip into this process's scratch folder, once, and list them in order.

    Members are written under their position, never under their own path; names that point outside are
    refused, and so are archives that would grow beyond 256 MiB and two hundredfold.

    Raises
    ------
    DataError
        If the archive is damaged, unsafe, or holds no data file.
    """
    stat = path.stat()
    return list(_unpack(path.absolute(), stat.st_mtime_ns, stat.st_size))


@cache
def _unpack(path: Path, _modified: int, size: int) -> tuple[Path, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = _choose_members(archive, size, path)
            folder = scratch_folder() / f"zip-{abs(hash((path, _modified, size))):x}"
            folder.mkdir(exist_ok=True)
            return tuple(_extract(archive, member, folder, n) for n, member in enumerate(members))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise DataError(
            f"zip archive must be whole and unencrypted, got {type(error).__name__}: {error}",
            where=path,
            hint="fetch it again",
        ) from error


def _choose_members(archive: zipfile.ZipFile, size: int, path: Path) -> list[zipfile.ZipInfo]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    for info in infos:
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise DataError(f"names in a zip archive must stay inside it, got {info.filename!r}", where=path)
    total = sum(info.file_size for info in infos)
    if len(infos) > LARGEST_COUNT or total > max(LARGEST_FREE_BYTES, LARGEST_RATIO * size):
        raise DataError(
            f"zip archive must not grow more than {LARGEST_RATIO} times, got {len(infos)} files "
            f"of {total / 2**20:.0f} MiB in {size / 2**20:.1f} MiB",
            where=path,
            hint="unpack it yourself if you trust it",
        )
    members = [info for info in infos if PurePosixPath(info.filename).suffix.lower() in _SUFFIXES]
    if not members:
        have = ", ".join(repr(info.filename) for info in infos[:5]) or "nothing"
        raise DataError(f"zip archive must hold NetCDF or GRIB files, got {have}", where=path)
    return sorted(members, key=lambda info: info.filename)


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, position: int) -> Path:
    target = folder / f"{position:04d}-{PurePosixPath(member.filename).name}"
    with archive.open(member) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file, 2**20)
    return target
