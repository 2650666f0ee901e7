"""Marxan folders, read and written: ``pu.dat``, ``spec.dat``, ``puvspr.dat``, ``bound.dat``, ``input.dat``.

Status codes: 0 and 1 are free (1 only starts annealing inside), 2 is locked in, 3 locked out. A row of
``bound.dat`` that names one unit twice is the length of its boundary that has no neighbour. Columns are told
by their names in any case; each file has a delimiter of its own (comma, tab, semicolon or spaces).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from conservation_decisions.landscape import Integers, Landscape
from isopleth.errors import DataError
from isopleth.io import write_text

_NAMES = {"pu": "PUNAME", "spec": "SPECNAME", "puvspr": "PUVSPRNAME", "bound": "BOUNDNAME"}
_COLUMNS = {
    "pu": ("id", "cost"),
    "spec": ("id",),
    "puvspr": ("species", "pu", "amount"),
    "bound": ("id1", "id2", "boundary"),
}
_LOCKED_IN, _LOCKED_OUT = 2, 3


def read_marxan(folder: Path) -> Landscape:
    """Read a Marxan folder.

    Returns
    -------
    Landscape
        Targets are absolute, whether ``spec.dat`` has ``target`` or ``prop``; a feature whose ``spf`` is 0
        keeps weight 0. Lengths are as in ``bound.dat``.

    Raises
    ------
    DataError
        If a needed file is missing, a column is, or a row names a unit or species that is not listed.
    """
    paths = _find_files(folder)
    pu, spec = _read(paths["pu"], "pu"), _read(paths["spec"], "spec")
    units, species = (_ids(table, path) for table, path in ((pu, paths["pu"]), (spec, paths["spec"])))
    table = _read(paths["puvspr"], "puvspr")
    amount = np.zeros((len(species), len(units)))
    rows = _places(table["species"], species, paths["puvspr"], "species")
    cols = _places(table["pu"], units, paths["puvspr"], "unit")
    np.add.at(amount, (rows, cols), table["amount"].to_numpy(np.float64))
    status = pu["status"].to_numpy(np.int64) if "status" in pu else np.zeros(len(units), np.int64)
    if not np.isin(status, (0, 1, 2, 3)).all():
        raise DataError(
            f"status must be 0, 1, 2 or 3, got {status[~np.isin(status, (0, 1, 2, 3))][0]}", where=paths["pu"]
        )
    edges, exposed = _read_bounds(paths.get("bound"), units)
    names = spec["name"].astype(str) if "name" in spec and spec["name"].is_unique else species.astype(str)
    return Landscape.build(
        pu["cost"].to_numpy(np.float64),
        amount,
        features=list(names),
        units=units,
        edges=edges,
        exposed=exposed,
        target=_targets(spec, amount, paths["spec"]),
        weight=spec["spf"].to_numpy(np.float64) if "spf" in spec else None,
        locked_in=status == _LOCKED_IN,
        locked_out=status == _LOCKED_OUT,
        x=pu["xloc"].to_numpy(np.float64) if "xloc" in pu else None,
        y=pu["yloc"].to_numpy(np.float64) if "yloc" in pu else None,
    )


def write_marxan(landscape: Landscape, folder: Path, *, target: float | None = None) -> Path:
    """Write a landscape as a Marxan folder: the mean map, for Marxan knows no members.

    Parameters
    ----------
    landscape : Landscape
    folder : path
    target : float, optional
        Share of each feature's total; by default the landscape's own targets.

    Raises
    ------
    DataError
        If there are no targets, or units are not numbered.
    """
    units = landscape.dataset["unit"].values
    if units.dtype.kind not in "iu":
        raise DataError(f"Marxan's units must be whole numbers, got {units[0]!r}")
    if target is None and "target" not in landscape.dataset:
        raise DataError(
            "a landscape must have targets to become a Marxan folder, got none", hint="give --target"
        )
    amount = landscape.mean_amounts
    targets = landscape.dataset["target"].values if target is None else target * amount.sum(axis=1)
    status = np.where(landscape.locked_in, _LOCKED_IN, np.where(landscape.locked_out, _LOCKED_OUT, 0))
    pu = pd.DataFrame({"id": units, "cost": landscape.cost, "status": status})
    if {"x", "y"} <= set(landscape.dataset):
        pu[["xloc", "yloc"]] = landscape.centres
    species = np.arange(1, len(targets) + 1)
    spec = pd.DataFrame(
        {"id": species, "target": targets, "spf": landscape.weight, "name": landscape.features}
    )
    cols, rows = np.nonzero(amount.T)
    puvspr = pd.DataFrame({"species": species[rows], "pu": units[cols], "amount": amount[rows, cols]})
    tables = {"pu": pu, "spec": spec, "puvspr": puvspr, "bound": _list_bounds(landscape, units)}
    for name, table in tables.items():
        write_text(folder / f"{name}.dat", table.to_csv(index=False, sep="\t" if name == "bound" else ","))
    lines = [f"{key} {name}.dat" for name, key in _NAMES.items()]
    write_text(folder / "input.dat", "\n".join(["INPUTDIR .", *lines]) + "\n")
    return folder


def _find_files(folder: Path) -> dict[str, Path]:
    """Find the four files by ``input.dat`` where there is one, else by their usual names."""
    said = _read_input(folder)
    base = folder / said.get("INPUTDIR", "." if not (folder / "input").is_dir() else "input")
    if "\0" in str(base) or not base.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"INPUTDIR must lie in the Marxan folder, got {said['INPUTDIR']!r}", where=folder)
    listed = {entry.name.lower(): entry for entry in base.iterdir()} if base.is_dir() else {}
    found = {}
    for name, key in _NAMES.items():
        wanted = [said[key]] if key in said else [f"{name}.dat", f"{name}.csv"]
        if name == "puvspr" and key not in said:
            wanted.append("puvspr2.dat")
        path = next((listed[one.lower()] for one in wanted if one.lower() in listed), None)
        if path is not None:
            found[name] = path
        elif name != "bound" or key in said:
            raise DataError(
                f"a Marxan folder must hold {wanted[0]}, got {sorted(listed) or 'nothing'}", where=base
            )
    return found


def _read_input(folder: Path) -> dict[str, str]:
    path = folder / "input.dat"
    if not path.is_file():
        return {}
    # Remarks in it may be in any encoding.
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = (line.split(maxsplit=1) for line in text.splitlines())
    return {words[0].upper(): words[1].strip() for words in lines if len(words) == 2}


def _read(path: Path, name: str) -> pd.DataFrame:
    """Read one table with whatever delimiter it has; column names in lower case."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = next((mark for mark in "\t,;" if mark in head), r"\s+")
        table = pd.read_csv(StringIO(text), sep=delimiter, quoting=csv.QUOTE_MINIMAL)
    except (OSError, ValueError) as error:
        raise DataError(f"a table must be text with one delimiter, got: {error}", where=path) from error
    table.columns = [str(column).strip().strip('"').lower() for column in table.columns]
    missing = [column for column in _COLUMNS[name] if column not in table]
    if missing:
        raise DataError(
            f"{path.name} must have the columns {', '.join(_COLUMNS[name])}, got none named {missing[0]!r}",
            where=path,
        )
    numeric = table.drop(columns="name", errors="ignore")
    if not all(kind.kind in "iufb" for kind in numeric.dtypes):
        column = next(c for c in numeric if numeric[c].dtype.kind not in "iufb")
        raise DataError(f"the column {column!r} must hold numbers, got text", where=path)
    needed = table[list(_COLUMNS[name])]
    if needed.isna().any(axis=None):
        column = needed.columns[needed.isna().any()][0]
        raise DataError(f"the column {column!r} must be filled in every row, got an empty one", where=path)
    return table


def _ids(table: pd.DataFrame, path: Path) -> Integers:
    stated = table["id"].to_numpy()
    with np.errstate(invalid="ignore"):  # infinity is no whole number either
        ids = stated.astype(np.int64)
    if (ids != stated).any():
        raise DataError(f"ids must be whole numbers, got {stated[np.argmax(ids != stated)]}", where=path)
    values, counts = np.unique(ids, return_counts=True)
    if values.size < ids.size:
        raise DataError(f"ids must be given once, got {values[np.argmax(counts)]} twice", where=path)
    return ids


def _places(column: pd.Series, ids: Integers, path: Path, what: str) -> Integers:
    """Find the positions of ids in a list of them."""
    order = np.argsort(ids)
    wanted = column.to_numpy(np.int64)
    place = order[np.searchsorted(ids, wanted, sorter=order).clip(max=ids.size - 1)]
    wrong = ids[place] != wanted
    if wrong.any():
        raise DataError(
            f"every {what} must be listed, got {wanted[np.argmax(wrong)]}, which is not", where=path
        )
    return place


def _targets(spec: pd.DataFrame, amount: np.ndarray, path: Path) -> np.ndarray:
    """Take absolute targets, and shares of the total where only those are given."""
    total = amount.sum(axis=1)
    found = np.full(len(spec), np.nan)
    if "prop" in spec:
        found = spec["prop"].to_numpy(np.float64) * total
    if "target" in spec:
        absolute = spec["target"].to_numpy(np.float64)
        use = np.isfinite(absolute) & ((absolute > 0) | ~np.isfinite(found))
        found = np.where(use, absolute, found)
    if not np.isfinite(found).all():
        raise DataError(
            "spec.dat must have a target or a prop for every species, got none for some", where=path
        )
    return found


def _read_bounds(
    path: Path | None, units: Integers
) -> tuple[tuple[Integers, Integers, np.ndarray], np.ndarray | None]:
    """Split ``bound.dat`` into shared and exposed lengths; pairs that stand twice are added up."""
    none = np.zeros(0, np.int64)
    if path is None:
        return (none, none, np.zeros(0)), None
    table = _read(path, "bound")
    first, second = (_places(table[name], units, path, "unit") for name in ("id1", "id2"))
    # Some programs write "-1e-11" for a polygon that is wholly surrounded.
    length = table["boundary"].to_numpy(np.float64)
    length = np.where(np.abs(length) < 1e-6, 0.0, length)
    own = first == second
    exposed = np.bincount(first[own], length[own], units.size)
    key = np.minimum(first, second)[~own] * units.size + np.maximum(first, second)[~own]
    pairs, inverse = np.unique(key, return_inverse=True)
    return (pairs // units.size, pairs % units.size, np.bincount(inverse, length[~own], pairs.size)), exposed


def _list_bounds(landscape: Landscape, units: Integers) -> pd.DataFrame:
    first, second, length = landscape.edges
    own = np.flatnonzero(landscape.exposed > 0)
    columns: Mapping[str, np.ndarray] = {
        "id1": units[np.concatenate([first, own])],
        "id2": units[np.concatenate([second, own])],
        "boundary": np.concatenate([length, landscape.exposed[own]]),
    }
    return pd.DataFrame(columns)
