"""The record of a folder of twins: what made each file, from which image and seed, with hashes of both.

Each shard appends to a file of its own, a JSON object a line: first the settings, then an entry for each
twin. A line that a kill cut short is as if it had not been written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from diffmix.journal import drop_torn_line, read_lines
from diffmix.paths import resolve_inside
from isopleth.errors import ConfigError, DataError

SCHEMA = "diffmix.manifest/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A twin, or why there is none.

    Attributes
    ----------
    id : str
        Of the real image.
    twin : int
        Which of its twins.
    path : str
        Of the twin's file, in the folder; empty if there is none.
    seed : int
        What it was drawn from.
    source : str
        SHA-256 of the real image's pixels; empty if it could not be read.
    sha256 : str
        Of the twin's file.
    error : str
        Empty if all went well.
    """

    id: str
    twin: int = 0
    path: str = ""
    seed: int = 0
    source: str = ""
    sha256: str = ""
    error: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            if type(value := getattr(self, field.name)).__name__ != field.type:
                raise TypeError(f"{field.name} {value!r}")


def name_twin(name: str, twin: int) -> str:
    """Name a twin's file, without its ending: the first as its image, the others with their numbers."""
    return f"{name}~{twin}" if twin else name


def derive_image_seed(seed: int, name: str, twin: int, attempt: int = 0) -> int:
    """Draw a twin's own seed: from names and numbers, never from the order of work."""
    digest = hashlib.sha256(json.dumps([seed, name, twin, attempt]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def hash_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class Manifest:
    """The manifests of a folder, and this shard's own, open for more.

    Parameters
    ----------
    folder : Path
    settings : dict
        What made these twins; a folder holds twins of one kind.
    shard, shards : int

    Raises
    ------
    ConfigError
        If the folder holds twins of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], *, shard: int = 0, shards: int = 1) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))
        folder.mkdir(parents=True, exist_ok=True)
        for path in _list_manifests(folder):
            head = next(read_lines(path), {})
            if (found := head.get("settings", self.settings)) != self.settings:
                raise ConfigError(
                    f"a folder of twins must have one kind of them, got {_differ(found, self.settings)}",
                    where=folder, hint="choose another folder with --out",
                )  # fmt: skip
        self.path = folder / f"manifest-{shard:05d}-of-{shards:05d}.jsonl"
        self._file: IO[str] | None = None

    def __enter__(self) -> Manifest:
        fresh = not self.path.exists() or not self.path.stat().st_size
        if not fresh and not self.path.read_bytes().endswith(b"\n"):
            drop_torn_line(self.path)
        self._file = self.path.open("a", encoding="utf-8")
        if fresh:
            self._write({"schema": SCHEMA, "settings": self.settings})
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, entries: Iterable[Entry]) -> None:
        """Write entries down."""
        for entry in entries:
            self._write({name: value for name, value in asdict(entry).items() if value not in ("", None)})

    def _write(self, record: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()


def read_manifest(folder: Path) -> dict[tuple[str, int], Entry]:
    """Read what all shards wrote: the last entry of each twin.

    Raises
    ------
    DataError
        If an entry is damaged, or its path leads out of the folder.
    """
    found: dict[tuple[str, int], Entry] = {}
    for path in _list_manifests(folder):
        for record in read_lines(path):
            if "schema" in record:
                continue
            try:
                entry = Entry(**record)
            except TypeError as error:
                raise DataError(
                    f"an entry of a manifest must have known fields, got {error}", where=path
                ) from error
            if entry.path:
                resolve_inside(folder, entry.path)
            before = found.get((entry.id, entry.twin))
            if before is None or entry.path or not before.path:
                found[entry.id, entry.twin] = entry
    return found


def read_settings(folder: Path) -> dict[str, Any] | None:
    """Read what made the twins of a folder; None if it has no manifest."""
    for path in _list_manifests(folder):
        return next(read_lines(path), {}).get("settings")
    return None


def list_damaged(folder: Path, entries: Iterable[Entry]) -> list[str]:
    """List twins whose files are missing or have other contents than the manifest says."""
    damaged = []
    for entry in entries:
        path = resolve_inside(folder, entry.path)
        if not path.is_file() or hash_bytes(path.read_bytes()) != entry.sha256:
            damaged.append(entry.path)
    return damaged


def _list_manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob("manifest-*.jsonl"))


def _differ(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    return ", ".join(f"{name} {found.get(name)!r} for {wanted.get(name)!r}" for name in names[:3])
