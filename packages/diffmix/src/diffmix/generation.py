"""Make a twin of every image: resumable, in shards, each from a seed of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffmix.config import GenerateConfig
from diffmix.estimate import Estimate
from diffmix.generators import ViewGenerator, build_generator
from diffmix.manifest import Entry, Manifest, derive_image_seed, hash_bytes, name_twin, read_manifest
from diffmix.paths import resolve_inside
from diffmix.pixels import encode, to_bytes
from diffmix.sources import Source, open_source
from isopleth.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("isopleth.diffmix")

# What a flagged or failed image has at most, of 1.
_BLACK = 3 / 255


@dataclass(frozen=True)
class _Job:
    """A twin to make of an image that was read."""

    name: str
    twin: int
    image: Image
    source: str


def generate_from_config(config: GenerateConfig) -> dict[str, Any]:
    """Make this shard's twins: the verb ``generate``."""
    source = open_source(config.source, download=config.generator.download)
    return generate_twins(source, build_generator(config.generator, device=config.device), config)


def generate_twins(source: Source, generator: ViewGenerator, config: GenerateConfig) -> dict[str, Any]:
    """Make the twins of a shard that are not there yet.

    An image that cannot be read, or whose twin stays black or undefined, is written to the manifest with the
    reason, and tried again by the next run. A kill costs the batch that is being made.

    Parameters
    ----------
    source : Source
    generator : ViewGenerator
    config : GenerateConfig

    Returns
    -------
    dict
        ``made``, ``found`` (already there), ``failed`` with up to ten reasons, and the folder.

    Raises
    ------
    DataError
        If not one of the first hundred images could be used: then it is not the images.
    """
    folder = Path(config.out)
    settings = {"generator": generator.describe(), "seed": config.seed, "format": config.image_format}
    known = read_manifest(folder) if folder.is_dir() else {}
    wanted = [
        (number, twin)
        for number in range(config.shard, len(source.ids), config.shards)
        for twin in range(config.twins)
    ]
    missing = [pair for pair in wanted if not _is_there(known.get((source.ids[pair[0]], pair[1])), folder)]
    made, failed = 0, []
    estimate = Estimate(len(missing), "twins")
    with Manifest(folder, settings, shard=config.shard, shards=config.shards) as manifest:
        for start in range(0, len(missing), config.batch_size):
            part = missing[start : start + config.batch_size]
            entries = list(_make(source, generator, config, part))
            manifest.add(entries)
            failed += [entry for entry in entries if entry.error]
            made += sum(not entry.error for entry in entries)
            if not made and len(failed) >= 100:
                raise DataError(
                    f"a source must have usable images, got {failed[0].error}", where=failed[0].id
                )
            estimate.advance(len(part))
    estimate.close()
    if failed:
        logger.warning("%d of %d twins could not be made; the manifest says why", len(failed), len(missing))
    return {
        "twins": str(folder),
        "made": made,
        "found": len(wanted) - len(missing),
        "failed": len(failed),
        "reasons": [f"{entry.id}: {entry.error}" for entry in failed[:10]],
    }


def judge_twin(pixels: np.ndarray, real: np.ndarray) -> str:
    """Say what is wrong with a twin; nothing if it can be used.

    Parameters
    ----------
    pixels : array of float, shape (row, column, channel)
        From 0 to 1.
    real : array of uint8
        A real image may be black: then so may be its twin.
    """
    if not np.isfinite(pixels).all():
        return "the generator returned NaN or infinity"
    if pixels.max() <= _BLACK < real.max() / 255:
        return "the generator returned a black image"
    return ""


def _is_there(entry: Entry | None, folder: Path) -> bool:
    return entry is not None and bool(entry.path) and resolve_inside(folder, entry.path).is_file()


def _make(
    source: Source, generator: ViewGenerator, config: GenerateConfig, part: Sequence[tuple[int, int]]
) -> Iterator[Entry]:
    """Make a batch; what fails is made again from another seed."""
    jobs = []
    for number, twin in part:
        name = source.ids[number]
        try:
            image = source.read(number)
        except DataError as error:
            yield Entry(id=name, twin=twin, error=str(error))
            continue
        jobs.append(_Job(name, twin, image, hash_bytes(image.tobytes())))
    reasons: dict[tuple[str, int], str] = {}
    for attempt in range(config.retries + 1):
        if not jobs:
            return
        seeds = [derive_image_seed(config.seed, job.name, job.twin, attempt) for job in jobs]
        images = generator.generate([job.image for job in jobs], [job.name for job in jobs], seeds)
        again = []
        for job, seed, pixels in zip(jobs, seeds, images, strict=True):
            if reason := judge_twin(pixels, np.asarray(job.image)):
                reasons[job.name, job.twin] = reason
                again.append(job)
            else:
                yield _save(job, seed, pixels, config)
        jobs = again
    for job in jobs:
        reason = f"{reasons[job.name, job.twin]}, {config.retries + 1} times"
        yield Entry(id=job.name, twin=job.twin, source=job.source, error=reason)


def _save(job: _Job, seed: int, pixels: np.ndarray, config: GenerateConfig) -> Entry:
    """Write a twin under a hidden name first: a file of its own name is whole."""
    name = f"{name_twin(job.name, job.twin)}.{config.image_format}"
    path = resolve_inside(Path(config.out), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = encode(to_bytes(pixels), config.image_format)
    partial = path.with_name(f".{path.name}.{config.shard}")
    partial.write_bytes(data)
    partial.replace(path)
    return Entry(id=job.name, twin=job.twin, path=name, seed=seed, source=job.source, sha256=hash_bytes(data))
