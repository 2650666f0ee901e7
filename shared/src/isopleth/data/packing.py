"""From a dataset to a packed store: in blocks of time, resumable, here or on a dask cluster."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from dask.delayed import delayed

from isopleth.config import check_choice, to_dict
from isopleth.data import layout
from isopleth.data.cluster import run_tasks
from isopleth.data.encoding import Precision, check_precision
from isopleth.data.moments import Moments
from isopleth.data.normaliser import Constant, Normaliser
from isopleth.data.source import Missing, Source
from isopleth.data.store import PackedStore, describe_store, is_store, open_store
from isopleth.data.times import Period
from isopleth.errors import ConfigError, DataError
from isopleth.io.atomic import RESUME_TOKEN, check_replaceable, local_path, publish, working_folder
from isopleth.io.write import Provenance, write_json

_LOG = logging.getLogger(__name__)


def pack(
    ds: xr.Dataset,
    path: str | Path,
    *,
    train_period: Period | None = None,
    normaliser: Normaliser | None = None,
    dtype: Precision = "float32",
    missing: Missing = "error",
    constant: Constant = "error",
    area_weighted: bool = False,
    compress: bool = False,
    steps_per_shard: int = 1,
    block_mb: float = 128.0,
    resume: bool = True,
    scheduler: str | None = None,
    provenance: Provenance | None = None,
) -> PackedStore:
    """Write a dataset as a packed store: z-scores of shape (time, channel, lat, lon), a chunk a time step.

    One pass fits the statistics to the training period, a second writes; both hold a block of time in memory
    (a few on a cluster). A run that was killed goes on where it was when it is called again, to the same
    bytes; a store that is finished is only opened. The bytes depend on the dataset and on the options up to
    `steps_per_shard`, not on the blocks, on the number of runs or on where they ran.

    Parameters
    ----------
    ds : Dataset
        Canonical: variables over (time, [level,] lat, lon), lazy or not. For a cluster open it with chunks.
    path : path
        The folder to make.
    train_period : (start, end)
        Where statistics are fitted, ends included; ``(None, None)`` is all of the dataset. Needed unless
        `normaliser` is given.
    normaliser : Normaliser, optional
        Statistics from elsewhere; it must have every channel.
    dtype : {"float32", "float16", "bfloat16"}
        Precision of the store.
    missing : {"error", "mask"}
        A NaN is refused by name and time, or left out of the statistics, stored as 0 (the mean) and marked in
        a mask beside. An infinite value is always refused.
    constant : {"error", "one"}
        A channel that never changes in the training period is refused, or gets the standard deviation 1.
    area_weighted : bool
        Weight cells by area in the statistics.
    compress : bool
        Use zstd. By default fields are stored as they are, with a checksum: noise does not shrink.
    steps_per_shard : int
        Time steps a file. One by default; more where a filesystem minds many files.
    block_mb : float
        Size of a block of time in MB.
    resume : bool
        Go on with what an earlier call began or finished. Otherwise begin anew, and replace a store at `path`
        once the new one is whole.
    scheduler : str, optional
        Address of a dask.distributed scheduler whose workers see `path`.
    provenance : Provenance, optional
        Kept in the store.

    Returns
    -------
    PackedStore

    Raises
    ------
    ConfigError
        If neither statistics nor a training period are given, or an option cannot be used.
    DataError
        If the dataset cannot be packed (names the variable and the time), or what is to be resumed was begun
        from another source, with other statistics or other options.
    """
    source, target = Source.of(ds), local_path(path)
    plan = _Plan.of(
        source,
        dtype=dtype,
        missing=missing,
        compress=compress,
        steps_per_shard=steps_per_shard,
        statistics=_describe_statistics(source, normaliser, train_period, area_weighted, constant),
    )
    check_replaceable(target, by_folder=True, replace_folder=is_store)
    if resume and is_store(target):
        plan.refuse_other(open_store(target).plan, target)
        return open_store(target)
    with working_folder(target, token=RESUME_TOKEN, keep=True) as folder:
        work = _Work(folder / target.name, source, plan, scheduler)
        work.begin(source.steps_in(block_mb), resume=resume)
        fitted = normaliser.select(source.names) if normaliser else work.fit(train_period)
        work.write(fitted)
        work.finish(fitted, provenance)
        publish(folder, target, replace_folder=is_store)
    return open_store(target)


@dataclass(frozen=True)
class _Plan:
    """All that decides the bytes of a store."""

    source: str
    shape: tuple[int, ...]
    channels: tuple[str, ...]
    statistics: dict[str, Any]
    dtype: Precision
    missing: Missing
    compress: bool
    steps_per_shard: int

    def __post_init__(self) -> None:
        check_precision(self.dtype)
        check_choice("missing", self.missing, ("error", "mask"))
        if self.steps_per_shard < 1:
            raise ConfigError(f"steps_per_shard must be at least 1, got {self.steps_per_shard}")

    @classmethod
    def of(cls, source: Source, **options: Any) -> _Plan:
        return cls(source.fingerprint(), source.shape, source.names, **options)

    def refuse_other(self, begun: dict[str, Any], where: Path) -> None:
        """Raise if a store was begun by another plan; say in what."""
        mine = to_dict(self)
        other = [name for name in mine if begun.get(name) != mine[name]]
        if other:
            found = "; ".join(
                f"{name} {_shorten(begun.get(name))}, not {_shorten(mine[name])}" for name in other
            )
            raise DataError(
                f"a resumed store must be of the same source, statistics and options, got {found}",
                where=where,
                hint="give another path, or resume=False to replace it",
            )


@dataclass(frozen=True)
class _Work:
    """A store in the making."""

    path: Path
    source: Source
    plan: _Plan
    scheduler: str | None

    @property
    def _record(self) -> Path:
        """The plan, and the size of blocks; it stays behind when the store is published."""
        return self.path.parent / layout.PLAN

    def begin(self, block_steps: int, *, resume: bool) -> None:
        """Lay out an empty store, or check that what is there can be gone on with."""
        record = self._record
        if resume and record.is_file():
            self.plan.refuse_other(json.loads(record.read_text(encoding="utf-8"))["plan"], self.path)
            return
        shard = self.plan.steps_per_shard
        whole = -(-block_steps // shard) * shard  # a shard is written at once
        layout.create_arrays(
            self.path,
            self.source,
            dtype=self.plan.dtype,
            masked=self.plan.missing == "mask",
            compress=self.plan.compress,
            steps_per_shard=shard,
            block_steps=whole,
        )
        write_json(record, {"plan": to_dict(self.plan), "block_steps": whole})

    def fit(self, period: Period | None) -> Normaliser:
        """Fit the normaliser to the training period, from what is known of it already."""
        start, stop = self.source.range(period)
        statistics = self.plan.statistics
        weights = self.source.grid.weights if statistics["area_weighted"] else None
        unknown = np.isnan(layout.read_moments(self.path)).any(axis=(1, 2))

        def task(first: int, last: int) -> Any:
            return self._delayed(layout.write_moments, first, last, weights)

        self._run("read", task, start, stop, unknown)
        moments = Moments.total(layout.read_moments(self.path)[start:stop])
        return Normaliser.from_moments(
            moments,
            self.source.names,
            period=(self.source.times[start], self.source.times[stop - 1]),
            area_weighted=statistics["area_weighted"],
            constant=statistics["constant"],
        )

    def write(self, normaliser: Normaliser) -> None:
        """Write every block that is not there yet."""
        unwritten = ~layout.read_digests(self.path).any(axis=1)

        def task(first: int, last: int) -> Any:
            return self._delayed(layout.write_fields, first, last, normaliser, self.plan.dtype)

        self._run("wrote", task, 0, len(self.source.times), unwritten)

    def finish(self, normaliser: Normaliser, provenance: Provenance | None) -> None:
        """Write what stands beside the fields, the record last."""
        layout.remove_scaffold(self.path)
        layout.write_coordinates(self.path, self.source)
        normaliser.save(self.path / layout.NORMALISER)
        digests = layout.read_digests(self.path)
        record = describe_store(self.source, self.plan.dtype, masked=self.plan.missing == "mask")
        facts = json.dumps([record, normaliser.to_dict()], sort_keys=True).encode()
        record["fingerprint"] = f"sha256:{hashlib.sha256(facts + digests.tobytes()).hexdigest()}"
        record["plan"] = to_dict(self.plan)
        record["provenance"] = dataclasses.asdict(provenance or Provenance())
        write_json(self.path / layout.RECORD, record)

    def _run(self, verb: str, task: Callable[[int, int], Any], start: int, stop: int, todo: Any) -> None:
        size = json.loads(self._record.read_text(encoding="utf-8"))["block_steps"]
        blocks = [block for block in self.source.blocks(size, start, stop) if todo[slice(*block)].any()]
        done = stop - start - sum(last - first for first, last in blocks)
        for steps in run_tasks(_tasks(task, blocks), self.scheduler):
            done += steps
            _LOG.info("%s %d of %d time steps", verb, done, stop - start)

    def _delayed(self, function: Callable[..., int], first: int, last: int, *arguments: Any) -> Any:
        guard = self.source.guard(first, last, self.plan.missing)
        arrays = self.source.arrays(first, last)
        return delayed(function, pure=False)(arrays, self.path, first, guard, *arguments)


def _tasks(task: Callable[[int, int], Any], blocks: list[tuple[int, int]]) -> Iterator[Any]:
    for first, last in blocks:
        yield task(first, last)


def _describe_statistics(
    source: Source,
    normaliser: Normaliser | None,
    period: Period | None,
    area_weighted: bool,
    constant: Constant,
) -> dict[str, Any]:
    """Say where the statistics come from, so that a resumed run can tell others."""
    if (normaliser is None) == (period is None):
        raise ConfigError(
            f"either train_period or normaliser must be given, got {'neither' if period is None else 'both'}",
            hint="name the training period, lest statistics leak; (None, None) is all of the dataset",
        )
    if normaliser is not None:
        chosen = normaliser.select(source.names).to_dict()
        return {"normaliser": hashlib.sha256(json.dumps(chosen).encode()).hexdigest()}
    check_choice("constant", constant, ("error", "one"))
    start, stop = source.range(period)
    ends = [source.times[start], source.times[stop - 1]]
    return {"period": ends, "area_weighted": area_weighted, "constant": constant}


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
