"""WebDataset shards: tar files in which a sample's parts share a name up to the first dot."""

from __future__ import annotations

import glob
import io
import os
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffmix.paths import check_id
from diffmix.sources.folder import ENDINGS, read_image
from isopleth.errors import ConfigError, DataError, require

if TYPE_CHECKING:
    from PIL.Image import Image


_LARGEST_CLASS = 64


class ShardSource:
    """Images in local tar files, any of which can be read at once.

    WebDataset streams; twins need images by name, after a resume and on several machines. So the tars'
    headers are read once, and images by their places.

    Parameters
    ----------
    spec : str
        Paths with braces ("{000..099}.tar") or wildcards.

    Raises
    ------
    DataError
        If there is no such file, one is no tar, or no sample has an image.
    """

    def __init__(self, spec: str) -> None:
        self.name = Path(spec).parent.name
        places: dict[str, tuple[str, int, int]] = {}
        labels: dict[str, int] = {}
        for path in _expand(spec):
            _index(path, places, labels)
        if not places:
            raise DataError(f"shards must have images ({', '.join(ENDINGS)}), got none", where=spec)
        self._places = places
        self.ids = tuple(places)
        self.labels = np.array([labels.get(name, -1) for name in self.ids], np.int64)
        known = self.labels.min() >= 0
        self.classes = tuple(map(str, range(int(self.labels.max()) + 1))) if known else ()
        self._files: dict[tuple[int, int, str], int] = {}

    def read(self, number: int) -> Image:
        """Read one image."""
        path, offset, size = self._places[self.ids[number]]
        data = os.pread(self._open(path), size, offset)
        return read_image(io.BytesIO(data), where=f"{path}:{self.ids[number]}")

    def _open(self, path: str) -> int:
        """Give this thread's handle; a forked worker opens its own."""
        key = (os.getpid(), threading.get_ident(), path)
        if key not in self._files:
            self._files[key] = os.open(path, os.O_RDONLY)
        return self._files[key]


def _expand(spec: str) -> list[str]:
    if spec.startswith("pipe:") or "://" in spec:
        raise ConfigError(f"shards must be local files, got {spec!r}", hint="copy them here first")
    patterns = [spec]
    if "{" in spec:
        shardlists = require(
            "webdataset.shardlists", install="diffmix[webdataset]", purpose="expand braces in names of shards"
        )
        patterns = shardlists.expand_urls(spec)
    paths = [path for pattern in patterns for path in (sorted(glob.glob(pattern)) or [pattern])]  # noqa: PTH207
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise DataError(f"shards must be files, got {len(missing)} that are not there", where=missing[0])
    return paths


def _index(path: str, places: dict[str, tuple[str, int, int]], labels: dict[str, int]) -> None:
    """Note where each image of a tar lies, and its class."""
    shard, whole = Path(path).stem, Path(path).stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:  # never compressed: images are read by their places
            for member in tar:
                if not member.isfile():
                    continue
                key, ending = _split_name(member.name)
                name = check_id(f"{shard}/{key}", where=path)
                largest = _LARGEST_CLASS if ending == ".cls" else whole - member.offset_data
                if not 0 <= member.size <= largest:
                    raise DataError(
                        f"a part of a shard must have at most {largest} bytes, got {member.size}",
                        where=f"{path}:{name}",
                    )
                if ending in ENDINGS and name not in places:
                    places[name] = (path, member.offset_data, member.size)
                elif ending == ".cls":
                    file = tar.extractfile(member)
                    labels[name] = int(file.read()) if file else -1
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"a shard must be a tar of WebDataset, got {error}", where=path) from error


def _split_name(name: str) -> tuple[str, str]:
    """Split as WebDataset does: at the first dot of the last part; of endings the last counts."""
    folder, slash, file = name.rpartition("/")
    key, _, endings = file.partition(".")
    return folder + slash + key, "." + endings.rpartition(".")[2].lower()
