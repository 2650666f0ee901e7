"""A zarr store that grows along one dimension, survives a kill, and takes its place when it is whole."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import threading
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import xarray as xr

from isopleth.errors import DataError
from isopleth.io.atomic import (
    RESUME_TOKEN,
    check_replaceable,
    local_path,
    publish,
    sync_tree,
    working_folder,
)
from isopleth.io.layout import (
    as_dataset,
    common_chunk,
    fingerprint,
    hollow,
    is_zarr,
    prepare_for_disk,
    store_chunks,
    zarr_encoding,
)
from isopleth.io.provenance import Provenance, creation_time, describe

_FINGERPRINT = "isopleth_fingerprint"
_PROGRESS = "progress.json"
# Warnings are filtered for the whole process: one thread at a time.
_QUIET = threading.Lock()


class ZarrWriter:
    """Write a store piece by piece along one dimension, in bounded memory.

    A context manager. Pieces come in order; what does not fill a chunk waits in memory for the next piece.
    When the block ends with all pieces there, the store takes its place in one step; when it fails, the old
    store is untouched and, with ``resume``, the finished chunks are kept for the next writer of the same
    dataset.

    Parameters
    ----------
    path : path
        The store to make or replace. A folder that is no zarr store is never replaced.
    template : Dataset
        All dimensions, coordinates, variables, dtypes and attributes of the finished store. Values along
        ``dim`` are not looked at (``dask.array.empty`` serves); variables without ``dim`` are written from
        it.
    dim : str
        The dimension along which the store grows.
    resume : bool
        Go on where a killed writer stopped. :attr:`done` says how far it came.
    provenance : Provenance, optional
        Who made it and from what.
    chunks : mapping of str to int, optional
        Chunk lengths; see :func:`isopleth.io.write.write_zarr`.
    dtype : str or None
        What floating-point variables are stored as; None keeps each one's own.

    Raises
    ------
    DataError
        On entry, if the dataset differs from the one begun, or another process is writing it; on exit, if
        pieces are missing.

    Examples
    --------
    >>> import dask.array, tempfile
    >>> data = dask.array.empty((4, 2), dtype="float32")
    >>> template = xr.Dataset({"x": (("time", "lat"), data)}, coords={"time": range(4)})
    >>> store = Path(tempfile.mkdtemp()) / "x.zarr"
    >>> with ZarrWriter(store, template, chunks={"time": 2}) as writer:
    ...     for step in range(writer.done, writer.total):
    ...         writer.write(xr.full_like(template.isel(time=[step]).compute(), step))
    >>> xr.open_zarr(store, chunks=None)["x"].values[:, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        template: xr.Dataset,
        *,
        dim: str = "time",
        resume: bool = False,
        provenance: Provenance | None = None,
        chunks: Mapping[str, int] | None = None,
        dtype: str | None = "float32",
    ) -> None:
        self.path = local_path(path)
        self.dim = dim
        self._resume = resume
        self._provenance = provenance
        self._chunks = store_chunks(as_dataset(template), dim, chunks or {})
        self._template = prepare_for_disk(hollow(as_dataset(template), dim), dtype)
        self._chunk = common_chunk(self._chunks, self._template, dim)
        self._fingerprint = fingerprint(self._template, dim, self._chunks, provenance or Provenance())
        self.total = self._template.sizes.get(dim, 0)
        self.done = 0
        self._waiting: list[xr.Dataset] = []
        self._complete = False
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        check_replaceable(self.path, by_folder=True, replace_folder=is_zarr)
        if self._resume and self._finds_finished_store():
            self.done, self._complete = self.total, True
            return self
        token = RESUME_TOKEN if self._resume else None
        folder = self._exit.enter_context(working_folder(self.path, token=token, keep=self._resume))
        with self._exit_on_error():
            self._begin(folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._complete:
            return
        if kind is not None:
            self._exit.__exit__(kind, error, trace)
            return
        with self._exit_on_error():
            self._finish()
        self._exit.close()

    @property
    def position(self) -> int:
        """Steps taken in: :attr:`done` are in the store, the rest waits for its chunk to fill."""
        return self.done + sum(piece.sizes[self.dim] for piece in self._waiting)

    def region_length(self, size: int) -> int:
        """Return how many steps make whole chunks of about ``size`` bytes, at least one chunk."""
        growing = [array for array in self._template.data_vars.values() if self.dim in array.dims]
        per_step = sum(array.nbytes for array in growing) / max(self.total, 1)
        return self._chunk * max(1, int(size // max(per_step * self._chunk, 1)))

    def write(self, piece: xr.Dataset) -> None:
        """Take in the next piece: every growing variable of the template, any length along the dimension.

        Raises
        ------
        DataError
            If the piece has other variables, sizes or coordinates than the template has at this place.
        """
        steps = slice(self.position, self.position + piece.sizes.get(self.dim, 0))
        piece = self._checked(piece, {self.dim: steps})
        self._waiting.append(piece)
        ready = self.position - self.done
        if self.position < self.total:
            ready -= ready % self._chunk
        if ready:
            waiting = self._joined()
            self._store_region(waiting.isel({self.dim: slice(0, ready)}))
            rest = waiting.isel({self.dim: slice(ready, None)})
            # A copy, or a view would keep all of the piece in memory.
            self._waiting = [rest.copy(deep=True)] if rest.sizes[self.dim] else []

    def write_parts(self, length: int, parts: Iterable[tuple[Mapping[str, slice], xr.Dataset]]) -> None:
        """Take in the next steps in parts that go to the disk one by one: none waits in memory.

        For steps that are large themselves, such as forecasts of many leads and members. A resumed writer
        goes on after the last steps of which all parts were there.

        Parameters
        ----------
        length : int
            Steps that the parts make up: whole chunks, or all that are left.
        parts : iterable of (place, piece)
            Where each piece belongs along other dimensions, as slices with a start and a stop, and every
            growing variable there. A dimension that is not named is whole.

        Raises
        ------
        DataError
            If a part does not fit its place, parts do not make up the steps, or steps not whole chunks.
        """
        stop = self.done + length
        whole = stop == self.total or (stop < self.total and length > 0 and length % self._chunk == 0)
        if self._waiting or not whole:
            raise DataError(
                f"parts must make whole chunks of {self._chunk} along {self.dim}, got {length} steps "
                f"from {self.position} of {self.total}",
                where=self.path,
            )
        steps = {self.dim: slice(self.done, stop)}
        left = {name: self._template[name].isel(steps).size for name in self._growing()}
        for place, piece in parts:
            checked = self._checked(piece, {**place, **steps})
            self._store_part(checked, {**place, **steps})
            left = {name: count - checked[name].size for name, count in left.items()}
        if any(left.values()):
            raise DataError(
                f"parts must make up steps {self.done} to {stop} of {self.dim} once, got {left} cells left",
                where=self.path,
            )
        self._advance(stop)

    def _joined(self) -> xr.Dataset:
        if len(self._waiting) == 1:
            return self._waiting[0]
        return xr.concat(self._waiting, self.dim, data_vars="minimal")

    @contextlib.contextmanager
    def _exit_on_error(self) -> Any:
        try:
            yield
        except BaseException as error:
            self._exit.__exit__(type(error), error, error.__traceback__)
            raise

    def _finds_finished_store(self) -> bool:
        """Say whether the output is there and this very dataset; refuse if it is another."""
        if not is_zarr(self.path):
            return False
        self._refuse_other(_read_attributes(self.path).get(_FINGERPRINT), self.path)
        return True

    def _begin(self, folder: Path) -> None:
        """Lay out a new store, or find out how far an earlier writer came."""
        self._folder, self._store = folder, folder / self.path.name
        progress = folder / _PROGRESS
        if progress.exists():
            record = json.loads(progress.read_text(encoding="utf-8"))
            self._refuse_other(record["fingerprint"], folder)
            self.done = record["done"]
            for stray in self._store.rglob("*.partial"):  # zarr's own temporary files of the killed writer
                stray.unlink()
        else:
            self._lay_out()
            self._note_progress()

    def _refuse_other(self, found: object, where: Path) -> None:
        if found != self._fingerprint:
            raise DataError(
                "a resumed write must be given the dataset it was begun with, got other variables, shapes, "
                "coordinates, attributes, chunks or provenance",
                where=where,
                hint="remove it, or write with resume=False",
            )

    def _lay_out(self) -> None:
        described = describe(self._template, self._provenance, creation_time())
        described.attrs[_FINGERPRINT] = self._fingerprint
        encoding = {name: zarr_encoding(described[name], lengths) for name, lengths in self._chunks.items()}
        static = [name for name in described.data_vars if self.dim not in described[name].dims]
        described.update({name: described[name].variable.compute() for name in static})
        described.to_zarr(
            self._store, mode="w", compute=False, consolidated=False, zarr_format=3, encoding=encoding
        )

    def _growing(self) -> list[str]:
        return [str(name) for name, array in self._template.data_vars.items() if self.dim in array.dims]

    def _checked(self, piece: xr.Dataset, place: Mapping[str, slice]) -> xr.Dataset:
        """Return the piece as the store has it, or say where it does not fit."""
        names = self._growing()
        missing = [name for name in names if name not in piece]
        if missing or self.dim not in piece.sizes:
            raise DataError(f"a piece must have every variable along {self.dim}, got none of {missing}")
        stop = place[self.dim].stop
        if stop > self.total:
            raise DataError(
                f"pieces must add up to {self.total} along {self.dim}, got {stop}", where=self.path
            )
        expected = self._template.isel(place)
        for name in names:
            if dict(piece[name].sizes) != dict(expected[name].sizes):
                raise DataError(
                    f"{name} must be of sizes {dict(expected[name].sizes)}, got {dict(piece[name].sizes)}"
                )
        for key in piece.coords:
            if key in expected.coords and not piece[key].variable.equals(expected[key].variable):
                raise DataError(
                    f"a piece must have the template's {key} at steps {place[self.dim].start} to {stop}, "
                    "got another",
                    where=self.path,
                )
        cast = {}
        for name in names:
            array = piece[name].variable.transpose(*expected[name].dims)
            cast[name] = (array.dims, array.data.astype(expected[name].dtype, copy=False))
        return xr.Dataset(cast)

    def _store_region(self, region: xr.Dataset) -> None:
        """Write whole chunks, see them on the disk, and only then say so."""
        stop = self.done + region.sizes[self.dim]
        self._store_part(region, {self.dim: slice(self.done, stop)})
        self._advance(stop)

    def _store_part(self, part: xr.Dataset, place: Mapping[str, slice]) -> None:
        for name in part.data_vars:
            if part[name].chunks is not None:
                lengths = dict(zip(part[name].dims, self._chunks[str(name)], strict=True))
                part[name] = part[name].chunk(lengths)
        part.to_zarr(self._store, region=dict(place), consolidated=False, zarr_format=3)

    def _advance(self, stop: int) -> None:
        start, self.done = self.done, stop
        if self._resume:
            self._sync_chunks(start, stop)
            self._note_progress()

    def _sync_chunks(self, start: int, stop: int) -> None:
        for name in self._growing():
            array, lengths = self._template[name], self._chunks[name]
            spans = [range(math.ceil(n / c)) for n, c in zip(array.shape, lengths, strict=True)]
            axis = array.dims.index(self.dim)
            spans[axis] = range(start // lengths[axis], math.ceil(stop / lengths[axis]))
            for key in itertools.product(*spans):
                chunk = self._store.joinpath(name, "c", *map(str, key))
                if chunk.exists():  # a chunk of nothing but fill values has no file
                    sync_tree(chunk)

    def _note_progress(self) -> None:
        if not self._resume:
            return
        partial = self._folder / f"{_PROGRESS}.new"
        partial.write_text(
            json.dumps({"fingerprint": self._fingerprint, "done": self.done}), encoding="utf-8"
        )
        sync_tree(partial)
        partial.replace(self._folder / _PROGRESS)

    def _finish(self) -> None:
        if self.done != self.total:
            raise DataError(
                f"a store must be given all {self.total} steps along {self.dim}, got {self.position}",
                where=self.path,
            )
        import zarr

        with _QUIET, warnings.catch_warnings():
            # Not yet in the zarr 3 specification; xarray warns its readers where it is missing.
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(self._store, zarr_format=3)
        publish(self._folder, self.path, replace_folder=is_zarr)


def _read_attributes(store: Path) -> dict[str, Any]:
    document = store / "zarr.json"
    attributes = (
        json.loads(document.read_text(encoding="utf-8")).get("attributes", {}) if document.is_file() else {}
    )
    return dict(attributes)
