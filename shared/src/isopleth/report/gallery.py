"""The figures of a run: files and captions under ``figures/``, and their way into a page."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from isopleth.errors import DataError
from isopleth.io.write import write_json

FOLDER = "figures"
MANIFEST = "captions.json"
# A file must begin as its name says, so that a truncated or mislabelled one is noticed here.
_SIGNATURES = {".png": (b"\x89PNG\r\n\x1a\n",), ".svg": (b"<?xml", b"<svg", b"<!DOCTYPE svg")}
_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure of a run.

    Parameters
    ----------
    file : str
        Name within ``figures/``.
    caption : str
        What it shows, with units and sample; the sentence under it.
    alt : str
        The same for one who cannot see it: the finding in words.
    """

    file: str
    caption: str
    alt: str


def record_picture(run_dir: str | Path, picture: Picture) -> None:
    """Enter a figure in ``figures/captions.json``; one of the same name is replaced in its place."""
    entries = {entry.file: entry for entry in _read_manifest(Path(run_dir))}
    entries[picture.file] = picture
    record = {"figures": [asdict(entry) for entry in entries.values()]}
    write_json(Path(run_dir) / FOLDER / MANIFEST, record)


def list_pictures(run_dir: str | Path) -> list[Picture]:
    """List a run's figures: those with captions in the order they were saved, then the others by name.

    Raises
    ------
    DataError
        If the manifest is broken.
    """
    entries = _read_manifest(Path(run_dir))
    known = {entry.file for entry in entries}
    folder = Path(run_dir) / FOLDER
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in names if Path(name).suffix in _MEDIA_TYPES and name not in known]
    return [*entries, *(Picture(file=name, caption=Path(name).stem, alt=Path(name).stem) for name in others)]


def embed_picture(run_dir: str | Path, picture: Picture) -> str:
    """Read a figure into a ``data:`` URI.

    Raises
    ------
    DataError
        If the file is missing, is no PNG or SVG, or lies outside the run's figures.
    """
    path = _resolve_inside(Path(run_dir) / FOLDER, picture.file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"the figure cannot be read: {error.strerror}", where=path) from error
    if not content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(_SIGNATURES[path.suffix]):
        raise DataError(
            f"a figure named {path.suffix} must hold that format, got {content[:8]!r}", where=path
        )
    return f"data:{_MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(content).decode('ascii')}"


def check_name(name: str) -> str:
    """Refuse a figure name that is not a plain PNG or SVG file name.

    Raises
    ------
    DataError
        For a path, a hidden file, another format.
    """
    plain = name and PurePosixPath(name).name == name == PureWindowsPath(name).name and name.isprintable()
    if not plain or name.startswith(".") or Path(name).suffix not in _MEDIA_TYPES:
        raise DataError(f"a figure must be a .png or .svg file within {FOLDER}/, got {name!r}")
    return name


def _resolve_inside(folder: Path, name: str) -> Path:
    """Follow a name to its file, refusing a link that leads out of the folder."""
    path = (folder / check_name(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise DataError(f"a figure must lie within {FOLDER}/, got a link to {path}", where=folder / name)
    return path


def _read_manifest(run_dir: Path) -> list[Picture]:
    path = run_dir / FOLDER / MANIFEST
    try:
        record = json.loads(path.read_bytes())
        return [_parse_entry(entry) for entry in record["figures"]]
    except FileNotFoundError:
        return []
    except DataError as error:
        raise DataError(error.what, where=path) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"the list of captions must be {{'figures': [{{file, caption, alt}}]}}, got {error!r}",
            where=path,
            hint="delete it and save the figures again",
        ) from error


def _parse_entry(entry: dict[str, Any]) -> Picture:
    picture = Picture(**entry)
    if not all(isinstance(value, str) for value in asdict(picture).values()):
        raise TypeError(f"an entry that is not text: {entry!r}")
    check_name(picture.file)
    return picture
