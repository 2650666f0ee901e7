"""Where data is: paths, globs, folders, lists and URLs become a list of files and stores that exist."""

from __future__ import annotations

import atexit
import difflib
import glob
import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from isopleth.errors import DataError, MissingDependencyError

Location = str | os.PathLike[str]

_SUFFIXES = (".nc", ".nc4", ".cdf", ".netcdf", ".grib", ".grib2", ".grb", ".grb2", ".zarr", ".zip")
_ZARR_MARKS = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")
_GLOB = frozenset("*?[")


def find_sources(source: Location | Sequence[Location]) -> list[str]:
    """List the files, stores and URLs that a source names.

    Parameters
    ----------
    source : str, path or sequence of them
        A file, a zarr store, a glob, a folder (its own data files, not its subfolders), or a URL for fsspec.

    Returns
    -------
    list of str
        Sorted for a glob or a folder, in the order given for a list.

    Raises
    ------
    DataError
        If there is nothing, saying where it looked.
    """
    if isinstance(source, str | os.PathLike):
        return _find_one(os.fspath(source))
    found = [place for one in source for place in find_sources(one)]
    if not found:
        raise DataError("a list of sources must name at least one file, got none")
    return found


def is_url(place: str) -> bool:
    """Whether a place is for fsspec rather than a path on this machine."""
    return "://" in place


def is_zarr(place: str) -> bool:
    """Whether a folder or URL is a zarr store, of version 2 or 3."""
    if is_url(place):
        fs, path = open_filesystem(place)
        return any(_exists(fs, f"{path.rstrip('/')}/{mark}") for mark in _ZARR_MARKS)
    return any((Path(place) / mark).is_file() for mark in _ZARR_MARKS)


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL, and the path within it."""
    import fsspec  # type: ignore[import-untyped]

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        protocol = url.partition("://")[0]
        raise MissingDependencyError(
            f"a package for {protocol}:// is needed to read {url}", hint="pip install 'isopleth[remote]'"
        ) from error
    except ValueError as error:
        raise DataError(
            f"URL must have a protocol that fsspec knows, got {url!r}", hint=str(error)
        ) from error


def read_start(place: str, count: int = 512) -> bytes:
    """Read the first bytes of a file or URL."""
    if not is_url(place):
        with Path(place).open("rb") as file:
            return file.read(count)
    fs, path = open_filesystem(place)
    with fs.open(path, "rb") as file:
        return file.read(count)


def fetch(url: str) -> Path:
    """Copy a remote file beside this process's other temporary files, once; return the copy."""
    return _fetch(url)


@cache
def scratch_folder() -> Path:
    """Return a folder of this process's own, which goes when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="isopleth-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder at the end of the process that made it, not at a forked worker's."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _fetch(url: str) -> Path:
    fs, path = open_filesystem(url)
    folder = Path(tempfile.mkdtemp(dir=scratch_folder()))
    copy = folder / (Path(path).name or "download")
    try:
        fs.get(path, str(copy))
    except Exception as error:  # each filesystem raises its own
        raise DataError(f"URL must be readable, got {type(error).__name__}: {error}", where=url) from error
    return copy


def _find_one(place: str) -> list[str]:
    if is_url(place):
        return _find_remote(place)
    path = Path(place).expanduser()
    if path.is_dir():
        return [str(path)] if is_zarr(str(path)) else _list_folder(path)
    if path.exists():
        return [str(path)]
    if _GLOB & set(place):
        found = sorted(glob.glob(str(path)))  # noqa: PTH207 - pathlib's takes no absolute pattern
        if found:
            return found
        raise DataError(f"pattern must match a file, got none for {place!r}", where=_nearest_folder(path))
    raise DataError(f"file must exist, got {place!r}", where=_nearest_folder(path), hint=_suggest(path))


def _find_remote(url: str) -> list[str]:
    fs, path = open_filesystem(url)
    if _GLOB & set(path):
        found = sorted(fs.unstrip_protocol(one) for one in fs.glob(path))
        if not found:
            raise DataError(f"pattern must match a file, got none for {url!r}")
        return found
    if is_zarr(url) or _exists(fs, path):
        return [url]
    raise DataError(
        f"file must exist, got {url!r}", where=f"{path.rpartition('/')[0] or '/'} on {fs.protocol}"
    )


def _exists(fs: Any, path: str) -> bool:
    try:
        return bool(fs.exists(path))
    except Exception as error:  # a refused connection is no missing file
        raise DataError(f"URL must be reachable, got {type(error).__name__}: {error}", where=path) from error


def _list_folder(folder: Path) -> list[str]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    found = [
        str(e)
        for e in entries
        if (e.is_file() and e.suffix.lower() in _SUFFIXES) or (e.is_dir() and is_zarr(str(e)))
    ]
    if found:
        return found
    have = ", ".join(entry.name for entry in entries[:5]) or "nothing"
    raise DataError(f"folder must hold {', '.join(_SUFFIXES)} files, got {have}", where=folder)


def _nearest_folder(path: Path) -> Path:
    """Return the deepest part of a path that exists: where the search ended."""
    parents = (parent for parent in path.absolute().parents if parent.is_dir())
    return next(parents, Path("/"))


def _suggest(path: Path) -> str | None:
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either"
    close = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=1)
    return f"did you mean {close[0]!r}?" if close else "check the name"
