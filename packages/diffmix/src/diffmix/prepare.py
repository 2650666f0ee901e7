"""From images and their twins to a store of pairs, in whole chunks: a run that was killed goes on.

A store grows in the hidden folder beside its place that `isopleth.io.atomic` keeps for it. A journal there
has a line for every chunk that is on the disk; what a kill left after the last line is written again, to the
same bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffmix.config import PrepareConfig
from diffmix.estimate import Estimate
from diffmix.journal import drop_torn_line, read_lines
from diffmix.manifest import Entry, hash_bytes, name_twin, read_manifest, read_settings
from diffmix.pairs import SCHEMA, pack_names
from diffmix.paths import resolve_inside
from diffmix.pixels import cut_square
from diffmix.sources import Source, open_source
from diffmix.sources.folder import find_image, read_image
from isopleth.errors import DataError
from isopleth.io.atomic import (
    RESUME_TOKEN,
    check_replaceable,
    local_path,
    publish,
    sync_tree,
    working_folder,
)

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("isopleth.diffmix")

_JOURNAL = "journal.jsonl"
# Reasons that are kept in a store.
_REASONS = 1000


def prepare_from_config(config: PrepareConfig) -> dict[str, Any]:
    """Write a store of pairs: the verb ``prepare``."""
    return prepare_pairs(open_source(config.source), config)


def prepare_pairs(source: Source, config: PrepareConfig) -> dict[str, Any]:
    """Write real images and their twins as bytes, in a random order, whole or not at all.

    An image that cannot be read, or has no usable twin, is left out and listed. With ``resume`` a run that
    was interrupted goes on after its last whole chunk, and ends with the bytes of one that was not.

    Parameters
    ----------
    source : Source
    config : PrepareConfig

    Returns
    -------
    dict
        The store, how many pairs it has, how many images were ``skipped`` and up to ten reasons.

    Raises
    ------
    DataError
        If no pair is left; if what is to be resumed was begun from other images, twins or options, or
        another process is writing it.
    """
    target = local_path(config.out)
    check_replaceable(target, by_folder=True, replace_folder=_is_store)
    twins = _Twins(config)
    plan = _plan(source, twins, config)
    if config.resume and _is_store(target):
        _refuse_other(plan, _read_attributes(target).get("plan"), target)
    else:
        _write(target, source, twins, plan, config)
    return _sum_up(target, len(source.ids), config)


def _write(target: Path, source: Source, twins: _Twins, plan: dict[str, Any], config: PrepareConfig) -> None:
    order = np.random.default_rng(config.seed).permutation(len(source.ids))
    with working_folder(target, token=RESUME_TOKEN, keep=True) as folder:
        store = _Store(folder / target.name, len(order), twins.count, config)
        store.begin(plan, resume=config.resume)
        _fill(store, source, twins, order, config)
        if store.places:
            store.finish(source, {
                "schema": SCHEMA, "source": source.name, "classes": list(source.classes),
                "skipped": store.skipped[:_REASONS],
                "generator": read_settings(config.twins) if config.twins else None,
                "seed": config.seed, "plan": plan,
            })  # fmt: skip
            publish(folder, target, replace_folder=_is_store)
    if not store.places:
        raise DataError(
            f"a source must have an image that can be used, got {store.skipped[0]}", where=source.name
        )


def _fill(store: _Store, source: Source, twins: _Twins, order: np.ndarray, config: PrepareConfig) -> None:
    """Read images and twins in an order, in threads, from where the store stands."""

    def load(place: int) -> tuple[np.ndarray, np.ndarray] | str:
        try:
            image = source.read(place)
            return cut_square(image, config.size, config.channels), twins.read(source.ids[place], image)
        except DataError as error:
            return f"{source.ids[place]}: {error}"

    begun = store.seen
    estimate = Estimate(len(order) - begun, "images")
    with ThreadPoolExecutor(config.workers) as pool:
        for start in range(begun, len(order), config.chunk):
            part = order[start : start + config.chunk].tolist()
            for place, found in zip(part, pool.map(load, part), strict=True):
                if isinstance(found, str):
                    store.skip(found)
                else:
                    store.add(place, *found)
            estimate.advance(len(part))
    estimate.close()


def _sum_up(target: Path, count: int, config: PrepareConfig) -> dict[str, Any]:
    import zarr

    group: Any = zarr.open_group(target, mode="r")
    kept, reasons = group["real"].shape[0], list(group.attrs["skipped"])
    if reasons:
        logger.warning("%d of %d images left out, first %s", count - kept, count, reasons[0])
    return {"pairs": str(config.out), "images": kept, "skipped": count - kept, "reasons": reasons[:10]}


class _Twins:
    """Reads twins by their images' ids: by the manifest, or by the files' names.

    Parameters
    ----------
    config : PrepareConfig

    Raises
    ------
    DataError
        If there is no such folder.
    """

    def __init__(self, config: PrepareConfig) -> None:
        self.folder, self.config = config.twins, config
        self.count = config.per_image if config.twins else 0
        self.entries: dict[tuple[str, int], Entry] = {}
        if self.folder is not None:
            if not self.folder.is_dir():
                raise DataError(
                    "a folder of twins must be there, got none", where=self.folder, hint="diffmix generate"
                )
            self.entries = read_manifest(self.folder)

    def read(self, name: str, image: Image) -> np.ndarray:
        """Read all twins of an image, shape (twin, channel, row, column)."""
        size, channels = self.config.size, self.config.channels
        made = [cut_square(read_image(self._find(name, t, image)), size, channels) for t in range(self.count)]
        return np.array(made, np.uint8).reshape(self.count, channels, size, size)

    def describe(self) -> str | None:
        """Return a hash of what the manifest says, or the folder's name without one."""
        if self.folder is None:
            return None
        return _hash(map(repr, sorted(self.entries.items()))) if self.entries else self.folder.name

    def _find(self, name: str, twin: int, image: Image) -> Path:
        assert self.folder is not None
        entry = self.entries.get((name, twin))
        if entry is None:
            # With a manifest, a file that it does not name is none of its twins.
            found = None if self.entries else find_image(self.folder, name_twin(name, twin))
            if found is None:
                raise DataError(f"an image must have a twin, got none with number {twin}", where=self.folder)
            return found
        if entry.error:
            raise DataError(f"an image must have a twin, got none: {entry.error}", where=self.folder)
        path = resolve_inside(self.folder, entry.path)
        if self.config.verify:
            _verify(entry, path, image)
        return path


def _verify(entry: Entry, path: Path, image: Image) -> None:
    """Refuse a twin that is not the manifest's, or that was made of another image of this name."""
    if not path.is_file() or hash_bytes(path.read_bytes()) != entry.sha256:
        raise DataError("a twin must be as its manifest says, got another file", where=path)
    if hash_bytes(image.tobytes()) != entry.source:
        raise DataError("a twin must be of the image that is there now, got that of another", where=path)


class _Store:
    """A store that grows by whole chunks, beside its journal; at the end it is cut to what it has.

    Parameters
    ----------
    path : Path
    count, twins : int
        Images that it may get, and twins of each.
    config : PrepareConfig

    Attributes
    ----------
    places : list of int
        Of the images that are in it, among the source's.
    skipped : list of str
        Reasons.
    seen : int
        Images that were looked at.
    """

    def __init__(self, path: Path, count: int, twins: int, config: PrepareConfig) -> None:
        self.path, self.count, self.twins = path, count, twins
        self.shape = (config.channels, config.size, config.size)
        self.chunk = min(config.chunk, count)
        self.places: list[int] = []
        self.skipped: list[str] = []
        self.seen = 0
        self._journal = path.parent / _JOURNAL
        self._noted = 0
        self._waiting: list[tuple[int, np.ndarray, np.ndarray]] = []

    def begin(self, plan: dict[str, Any], *, resume: bool) -> None:
        """Lay out an empty store, or find out how far an interrupted run came."""
        import zarr

        lines = self._read_journal() if resume else []
        if lines:
            _refuse_other(plan, lines[0]["plan"], self.path)
            self._take_up(lines[1:])
        else:
            self._lay_out(plan)
        self.group: Any = zarr.open_group(self.path, mode="r+")
        self.real: Any = self.group["real"]
        self.synthetic: Any = self.group["synthetic"]
        self._resize(self.count)

    def skip(self, reason: str) -> None:
        """Leave an image out."""
        self.seen += 1
        self.skipped.append(reason)

    def add(self, place: int, image: np.ndarray, made: np.ndarray) -> None:
        """Add an image and its twins."""
        self.seen += 1
        self._waiting.append((place, image, made))
        if len(self._waiting) == self.chunk:
            self._write_chunk()

    def finish(self, source: Source, attributes: dict[str, Any]) -> None:
        """Write what is left and what stands beside it, and cut off what skipped images left empty."""
        if self._waiting:
            self._write_chunk()
        self._resize(len(self.places))
        self.group.create_array("label", data=source.labels[self.places], overwrite=True)
        names = pack_names([source.ids[place] for place in self.places])
        self.group.create_array("id", data=names, overwrite=True)
        self.group.attrs.update(attributes)

    def _lay_out(self, plan: dict[str, Any]) -> None:
        import zarr

        self._journal.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        group: Any = zarr.create_group(self.path)
        for name, twins in (("real", ()), ("synthetic", (self.twins,))):
            group.create_array(
                name, shape=(self.count, *twins, *self.shape), dtype="uint8",
                chunks=(self.chunk, *(max(twin, 1) for twin in twins), *self.shape),
            )  # fmt: skip
        self._note({"plan": plan})

    def _take_up(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            self.places += line["places"]
            self.skipped += line["skipped"]
            self.seen = line["seen"]
        self._noted = len(self.skipped)
        for stray in self.path.rglob("*.partial"):  # zarr's own temporary files of the killed run
            stray.unlink()
        logger.info("goes on after %d of %d images", self.seen, self.count)

    def _write_chunk(self) -> None:
        """Write images that make a chunk or, at the end, a part; see them on the disk, then say so."""
        places, images, made = zip(*self._waiting, strict=True)
        start = len(self.places)
        number, where = start // self.chunk, slice(start, start + len(places))
        chunks = [self.path / name / "c" / str(number) for name in ("real", "synthetic")]
        for chunk in chunks:  # what a kill left may hold other images behind the last one
            shutil.rmtree(chunk, ignore_errors=True)
        self.real[where] = np.stack(images)
        if self.twins:
            self.synthetic[where] = np.stack(made)
        for chunk in chunks:
            if chunk.exists():  # one of nothing but zeros has no file
                sync_tree(chunk)
        self.places += places
        self._waiting = []
        if len(places) == self.chunk:  # a part of one is made again
            self._note({"seen": self.seen, "places": list(places), "skipped": self.skipped[self._noted :]})
            self._noted = len(self.skipped)

    def _resize(self, count: int) -> None:
        for array in (self.real, self.synthetic):
            array.resize((count, *array.shape[1:]))

    def _read_journal(self) -> list[dict[str, Any]]:
        if not self._journal.is_file():
            return []
        drop_torn_line(self._journal)
        return list(read_lines(self._journal))

    def _note(self, record: dict[str, Any]) -> None:
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _plan(source: Source, twins: _Twins, config: PrepareConfig) -> dict[str, Any]:
    """Say what decides the bytes of a store, so that a resumed run can tell others."""
    options = {name: getattr(config, name) for name in ("size", "channels", "chunk", "seed", "verify")}
    images = _hash([*source.ids, *source.classes, *map(str, source.labels.tolist())])
    return {
        "source": source.name,
        "images": images,
        "twins": twins.describe(),
        "per_image": twins.count,
        **options,
    }


def _refuse_other(plan: dict[str, Any], begun: dict[str, Any] | None, where: Path) -> None:
    """Raise if a store was begun by another plan; say in what."""
    found = begun or {}
    other = [f"{name} {found.get(name)}, not {plan[name]}" for name in plan if found.get(name) != plan[name]]
    if other:
        raise DataError(
            f"a resumed store must be of the same images, twins and options, got {'; '.join(other)}",
            where=where, hint="choose another --out, or --resume false to begin anew",
        )  # fmt: skip


def _hash(parts: Iterable[str]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() + b"\0")
    return total.hexdigest()[:16]


def _read_attributes(store: Path) -> dict[str, Any]:
    import zarr

    return dict(zarr.open_group(store, mode="r").attrs)


def _is_store(path: Path) -> bool:
    return (path / "zarr.json").is_file()
