"""Tables of labelled patches: which raster, where in it, which class, which part."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from block_expansion.data import PARTS
from block_expansion.rasters import Patch, describe_patch, open_stack
from isopleth.errors import DataError

_COLUMNS = ("raster", "label", "part")
_FARTHEST = 1e9  # metres or pixels; nothing on Earth is farther


class LabelledPatch(NamedTuple):
    """A line of a table."""

    patch: Patch
    label: str
    part: str


def read_table(path: Path, size: int) -> list[LabelledPatch]:
    """Read a table of patches: CSV with the columns raster, label and part, and where the patch's middle is.

    ``part`` is train, val or test. The middle is given by ``row`` and ``column`` (pixels from the upper left,
    from 0), or by ``y`` and ``x`` in the raster's own coordinates (latitude and longitude, or metres);
    without either the whole raster is the patch. Rasters are looked for beside the table.

    Raises
    ------
    DataError
        If it lacks a column, a value cannot be used, or patches of two parts share pixels.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [*csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"a table of patches must be readable, got {error}", where=path) from error
    missing = [name for name in _COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise DataError(
            f"a table of patches must have columns {', '.join(_COLUMNS)}, got no {missing[0]}", where=path
        )
    found = [_read_row(row, path, number) for number, row in enumerate(rows, start=2)]
    _refuse_shared_pixels(found, size, path)
    return found


def _read_row(row: dict[str, Any], path: Path, line: int) -> LabelledPatch:
    where = f"{path}, line {line}"
    if row["part"] not in PARTS or not row["label"]:
        raise DataError(
            f"a patch must have a label and be in train, val or test, got {row['label']!r} in "
            f"{row['part']!r}",
            where=where,
        )
    raster = path.parent / str(row["raster"])
    if "\0" in raster.name or not raster.resolve().is_relative_to(path.parent.resolve()):
        raise DataError(f"a raster must lie in its table's folder, got {row['raster']}", where=where)
    if not raster.exists():
        raise DataError("a raster must be beside its table, got none", where=raster)
    given = {name: str(row[name]) for name in ("row", "column", "y", "x") if row.get(name)}
    if set(given) not in ({"row", "column"}, {"y", "x"}, set()):
        raise DataError(f"a place must be row and column, or y and x, got {', '.join(given)}", where=where)
    try:
        row_number, column_number = (
            int(given[name]) if name in given else None for name in ("row", "column")
        )
        y, x = (float(given[name]) if name in given else None for name in ("y", "x"))
    except ValueError as error:
        raise DataError(f"a place must be numbers, got {error}", where=where) from error
    if not all(value is None or abs(value) < _FARTHEST for value in (row_number, column_number, y, x)):
        raise DataError(f"a place must be finite numbers, got {', '.join(given.values())}", where=where)
    return LabelledPatch(Patch(raster, row_number, column_number, y, x), row["label"], row["part"])


def _refuse_shared_pixels(rows: Sequence[LabelledPatch], size: int, path: Path) -> None:
    """Refuse patches of two parts that overlap: what was trained on would be tested."""
    by_raster: dict[Path, list[LabelledPatch]] = {}
    for row in rows:
        by_raster.setdefault(row.patch.path, []).append(row)
    for raster, own in by_raster.items():
        parts = {row.part for row in own}
        if len(parts) > 1 and (shared := _find_overlap(raster, own, size)):
            raise DataError(
                f"patches of {' and '.join(sorted({row.part for row in shared}))} must share no pixel, got "
                f"{describe_patch(shared[0].patch)} and {describe_patch(shared[1].patch)}",
                where=path, hint="put whole regions of a scene into one part",
            )  # fmt: skip


def _find_overlap(
    raster: Path, rows: Sequence[LabelledPatch], size: int
) -> tuple[LabelledPatch, LabelledPatch] | None:
    from sklearn.neighbors import BallTree  # type: ignore[import-untyped]

    for row in rows:
        if row.patch == Patch(raster):
            return row, next(other for other in rows if other.part != row.part)
    stack = open_stack(raster)
    middles = np.array([stack.find(row.patch) for row in rows], np.float64)
    for part in ("val", "test"):
        own = np.array([row.part == part for row in rows])
        if own.all() or not own.any():
            continue
        distance, nearest = BallTree(middles[~own], metric="chebyshev").query(middles[own])
        if distance.min() < size:
            place = int(distance.argmin())
            return rows[int(np.flatnonzero(own)[place])], rows[int(np.flatnonzero(~own)[nearest[place, 0]])]
    return None
