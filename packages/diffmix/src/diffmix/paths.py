"""Names that become files: none may lead out of its folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from isopleth.errors import DataError

_FORBIDDEN = ("\\", "\0", "\n", ":")


def check_id(name: str, *, where: object = None) -> str:
    """Return an image's id if it is a plain relative path.

    Raises
    ------
    DataError
        If it is empty or absolute, or climbs ("..").
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or any(sign in name for sign in _FORBIDDEN):
        raise DataError(f"an image's id must be a relative path without '..', got {name!r}", where=where)
    return name


def resolve_inside(folder: Path, name: str) -> Path:
    """Return the file of a name within a folder, links followed.

    Raises
    ------
    DataError
        If it would lie outside.
    """
    path = folder / check_id(name, where=folder)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"a file of a manifest must lie in its folder, got {name!r}", where=folder)
    return path
