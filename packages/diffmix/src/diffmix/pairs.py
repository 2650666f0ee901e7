"""Pairs of real and synthetic images as bytes, in memory or in a zarr store of which a chunk is a batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffmix.config import PrepareConfig
from diffmix.estimate import Estimate
from diffmix.manifest import Entry, hash_bytes, name_twin, read_manifest, read_settings
from diffmix.paths import resolve_inside
from diffmix.pixels import cut_square
from diffmix.sources import Source, open_source
from diffmix.sources.folder import find_image, read_image
from isopleth.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("isopleth.diffmix")

SCHEMA = "diffmix.pairs/1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Real images and their twins, in one order.

    Attributes
    ----------
    real : array of uint8, shape (image, channel, row, column)
        NumPy's, or zarr's, of which chunks of images are read at once.
    synthetic : array of uint8, shape (image, twin, channel, row, column)
        Without twins the second axis is empty.
    labels : array of int64, shape (image,)
        -1 where unknown. Never used in training.
    ids : tuple of str
    classes : tuple of str
    chunk : int
        Images that are read at once.
    """

    real: Any
    synthetic: Any
    labels: np.ndarray
    ids: tuple[str, ...]
    classes: tuple[str, ...] = ()
    chunk: int = 64

    def __post_init__(self) -> None:
        shape, twins = tuple(self.real.shape), tuple(self.synthetic.shape)
        fits = len(shape) == 4 and len(twins) == 5 and twins[:1] + twins[2:] == shape
        if not fits or self.real.dtype != np.uint8 or self.synthetic.dtype != np.uint8:
            raise DataError(
                "pairs must be bytes (image, channel, row, column) and (image, twin, channel, row, "
                "column), got "
                f"{self.real.dtype} {shape} and {self.synthetic.dtype} {twins}"
            )
        if not len(self.labels) == len(self.ids) == shape[0]:
            raise DataError(
                f"pairs must have {shape[0]} labels and ids, got {len(self.labels)}, {len(self.ids)}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def twins(self) -> int:
        """Twins of each image."""
        return int(self.synthetic.shape[1])

    @property
    def bytes(self) -> int:
        """Size of all images."""
        return int(np.prod(self.real.shape)) * (1 + self.twins)

    def in_memory(self) -> Pairs:
        """Read all of it."""
        return Pairs(
            real=np.asarray(self.real[:]), synthetic=np.asarray(self.synthetic[:]), labels=self.labels,
            ids=self.ids, classes=self.classes, chunk=self.chunk,
        )  # fmt: skip


def open_pairs(path: Path, *, memory_gb: float = 8.0) -> Pairs:
    """Open a store that ``prepare`` wrote; a small one is read whole.

    Raises
    ------
    DataError
        If it is none, or is damaged.
    """
    import zarr

    try:
        group: Any = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
        if attributes.get("schema") != SCHEMA:
            raise DataError(
                f"a store of pairs must be of {SCHEMA}, got {attributes.get('schema')}", where=path
            )
        pairs = Pairs(
            real=group["real"], synthetic=group["synthetic"], labels=np.asarray(group["label"][:], np.int64),
            ids=_unpack(group["id"][:]), classes=tuple(attributes["classes"]), chunk=group["real"].chunks[0],
        )  # fmt: skip
    except (KeyError, FileNotFoundError, OSError, ValueError, TypeError) as error:
        raise DataError(
            f"a store of pairs must be one that prepare wrote, got {type(error).__name__}: {error}",
            where=path, hint="diffmix prepare SOURCE --twins FOLDER",
        ) from error  # fmt: skip
    return pairs.in_memory() if pairs.bytes <= memory_gb * 1e9 else pairs


def prepare_from_config(config: PrepareConfig) -> dict[str, Any]:
    """Write a store of pairs: the verb ``prepare``."""
    return prepare_pairs(open_source(config.source), config)


def prepare_pairs(source: Source, config: PrepareConfig) -> dict[str, Any]:
    """Write real images and their twins as bytes, in a random order, whole or not at all.

    An image that cannot be read, or has no usable twin, is left out and listed.

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
        If no pair is left.
    """
    from isopleth.io import atomic_path

    twins = _Twins(config)
    order = np.random.default_rng(config.seed).permutation(len(source.ids))
    with atomic_path(config.out, replace_folder=_is_store(Path(config.out))) as partial:
        store = _Store(partial, len(order), twins.count, config)
        skipped = _fill(store, source, twins, order, config)
        if len(skipped) == len(order):
            raise DataError(
                f"a source must have an image that can be used, got {skipped[0]}", where=source.name
            )
        store.finish()
        _describe(store, source, skipped, config)
    kept = len(store.places)
    if skipped:
        logger.warning("%d of %d images left out, first %s", len(skipped), len(source.ids), skipped[0])
    return {"pairs": str(config.out), "images": kept, "skipped": len(skipped), "reasons": skipped[:10]}


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
    """A store that grows by whole chunks; at the end it is cut to what it has.

    Parameters
    ----------
    path : Path
    count, twins : int
        Images that it may get, and twins of each.
    config : PrepareConfig
    """

    def __init__(self, path: Path, count: int, twins: int, config: PrepareConfig) -> None:
        import zarr

        shape = (config.channels, config.size, config.size)
        self.chunk, self.twins = min(config.chunk, count), twins
        self.group: Any = zarr.create_group(path)
        self.real = self.group.create_array(
            "real", shape=(count, *shape), chunks=(self.chunk, *shape), dtype="uint8"
        )
        self.synthetic = self.group.create_array(
            "synthetic",
            shape=(count, twins, *shape),
            chunks=(self.chunk, max(twins, 1), *shape),
            dtype="uint8",
        )
        self.places: list[int] = []
        self._waiting: list[tuple[int, np.ndarray, np.ndarray]] = []

    def add(self, place: int, image: np.ndarray, made: np.ndarray) -> None:
        """Add an image and its twins."""
        self._waiting.append((place, image, made))
        if len(self._waiting) == self.chunk:
            self._write()

    def finish(self) -> None:
        """Write what is left, and cut off what skipped images left empty."""
        self._write()
        for array in (self.real, self.synthetic):
            array.resize((len(self.places), *array.shape[1:]))

    def _write(self) -> None:
        if not self._waiting:
            return
        places, images, made = zip(*self._waiting, strict=True)
        where = slice(len(self.places), len(self.places) + len(places))
        self.real[where] = np.stack(images)
        if self.twins:
            self.synthetic[where] = np.stack(made)
        self.places += places
        self._waiting = []


def _fill(
    store: _Store, source: Source, twins: _Twins, order: np.ndarray, config: PrepareConfig
) -> list[str]:
    """Read images and twins in an order, in threads, and give the reasons for those that were left out."""

    def load(place: int) -> tuple[np.ndarray, np.ndarray] | str:
        try:
            image = source.read(place)
            return cut_square(image, config.size, config.channels), twins.read(source.ids[place], image)
        except DataError as error:
            return f"{source.ids[place]}: {error}"

    skipped = []
    estimate = Estimate(len(order), "images")
    with ThreadPoolExecutor(config.workers) as pool:
        for start in range(0, len(order), config.chunk):
            part = order[start : start + config.chunk].tolist()
            for place, found in zip(part, pool.map(load, part), strict=True):
                if isinstance(found, str):
                    skipped.append(found)
                else:
                    store.add(place, *found)
            estimate.advance(len(part))
    estimate.close()
    return skipped


def _describe(store: _Store, source: Source, skipped: list[str], config: PrepareConfig) -> None:
    store.group.create_array("label", data=source.labels[store.places])
    store.group.create_array("id", data=_pack([source.ids[place] for place in store.places]))
    store.group.attrs.update(
        schema=SCHEMA, source=source.name, classes=list(source.classes), skipped=skipped[:1000],
        generator=read_settings(config.twins) if config.twins else None, seed=config.seed,
    )  # fmt: skip


def _is_store(path: Path) -> bool:
    return (path / "zarr.json").is_file()


def _pack(names: Sequence[str]) -> np.ndarray:
    """Write names as rows of UTF-8 bytes, filled up with zeros: zarr's own strings are not stable yet."""
    encoded = [name.encode() for name in names]
    width = max(map(len, encoded), default=1)
    return np.array([list(name.ljust(width, b"\0")) for name in encoded], np.uint8).reshape(len(names), width)


def _unpack(rows: np.ndarray) -> tuple[str, ...]:
    return tuple(bytes(row).rstrip(b"\0").decode() for row in np.asarray(rows))
