"""What each of many networks learns: rows of a table, checked, and held once however many share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isopleth.errors import DataError

_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A regression for one network: a table, and which of its rows to learn from.

    Problems that are given the same arrays (the very objects) share them: folds and seeds cost no memory.

    Parameters
    ----------
    name : str
        What errors and results call the network.
    inputs : array_like, shape (row, in)
        Finite in the rows that are used.
    targets : array_like, shape (row,) or (row, out)
        Finite in the rows that are used.
    weights : array_like, shape (row,), optional
        Of each row in loss and score, such as cell areas: not negative, with a positive sum. Only their
        ratios matter.
    train : array_like of int or bool, shape (n,) or (row,), optional
        Rows to learn from; all but the validation rows by default.
    validation : array_like of int or bool, optional
        Rows that choose the best weights.
    seed : int
        Of the first weights, the order of rows and dropout.

    Raises
    ------
    DataError
        If shapes differ, a row that is used is not finite, or a row is in training and validation.
    """

    name: str
    inputs: Any
    targets: Any
    weights: Any = None
    train: Any = None
    validation: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        count = len(self.input_table)
        for what, table in (("inputs", self.input_table), ("targets", self.target_table)):
            if table.ndim != 2 or len(table) != count or not table.shape[1]:
                raise DataError(
                    f"{what} must be ({count}, features), got shape {table.shape}", where=self.name
                )
        if self.row_weights.shape != (count,):
            raise DataError(
                f"weights must be one a row, ({count},), got shape {self.row_weights.shape}", where=self.name
            )
        if self.train_rows.size == 0:
            raise DataError("training rows must be at least one, got none", where=self.name)
        both = np.intersect1d(self.train_rows, self.validation_rows).size
        if both:
            raise DataError(f"validation rows must not be trained on, got {both} that are", where=self.name)
        for what, rows in (("training", self.train_rows), ("validation", self.validation_rows)):
            self._check_values(what, rows)

    def _check_values(self, what: str, rows: np.ndarray) -> None:
        for name, table in (("inputs", self.input_table), ("targets", self.target_table)):
            broken = ~(np.abs(table[rows]) <= _LARGEST).all(axis=1)
            if broken.any():
                raise DataError(
                    f"{name} of {what} rows must be finite in float32, got {broken.sum()} that are not, "
                    f"first row {rows[broken.argmax()]}",
                    where=self.name,
                )
        weights = self.row_weights[rows]
        if rows.size and not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise DataError(
                f"weights of {what} rows must be finite, not negative and not all 0, got "
                f"{weights.min():g} to {weights.max():g}",
                where=self.name,
            )

    @cached_property
    def input_table(self) -> np.ndarray:
        """Inputs as float, shape (row, in)."""
        return _as_floats(self.inputs)

    @cached_property
    def target_table(self) -> np.ndarray:
        """Targets as float, shape (row, out)."""
        table = _as_floats(self.targets)
        return table[:, None] if table.ndim == 1 else table

    @cached_property
    def row_weights(self) -> np.ndarray:
        """Weights, 1 where none were given."""
        return (
            np.ones(len(self.input_table), np.float32) if self.weights is None else _as_floats(self.weights)
        )

    @cached_property
    def train_rows(self) -> np.ndarray:
        """Training rows as positions."""
        if self.train is not None:
            return self._positions(self.train)
        return np.setdiff1d(np.arange(len(self.input_table)), self.validation_rows)

    @cached_property
    def validation_rows(self) -> np.ndarray:
        """Validation rows as positions; perhaps none."""
        return self._positions([] if self.validation is None else self.validation)

    def _positions(self, rows: Any) -> np.ndarray:
        rows, count = np.asarray(rows), len(self.input_table)
        if rows.dtype == bool and rows.shape == (count,):
            return np.flatnonzero(rows)
        if rows.size == 0:
            return np.empty(0, np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= count:
            raise DataError(
                f"rows must be positions in [0, {count}) or {count} booleans, got {rows.dtype} of shape "
                f"{rows.shape}",
                where=self.name,
            )
        if np.unique(rows).size < rows.size:
            raise DataError("rows must each be named once, got one twice", where=self.name)
        return rows.astype(np.int64)

    def standardisation(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Give the weighted mean and standard deviation of training inputs and targets, in float64.

        The deviation of a constant is given as 1.
        """
        weights = self.row_weights[self.train_rows].astype(np.float64)
        weights /= weights.sum()
        return {
            "input": _moments(self.input_table[self.train_rows], weights),
            "target": _moments(self.target_table[self.train_rows], weights),
        }


class Tables:
    """The tables of many problems on a device, each held once, and where each problem's rows lie in them."""

    def __init__(self, problems: Sequence[Problem], device: torch.device) -> None:
        places: dict[tuple[int, int, int], int] = {}
        parts: list[Problem] = []
        count = 0
        self.train: list[np.ndarray] = []
        self.validation: list[np.ndarray] = []
        for problem in problems:
            key = id(problem.inputs), id(problem.targets), id(problem.weights)
            if key not in places:
                places[key], count = count, count + len(problem.input_table)
                parts.append(problem)
            self.train.append(places[key] + problem.train_rows)
            self.validation.append(places[key] + problem.validation_rows)

        def join(tables: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.concatenate(tables, dtype=np.float32)).to(device)

        self.inputs = join([part.input_table for part in parts])
        self.targets = join([part.target_table for part in parts])
        self.weights = join([part.row_weights for part in parts])


def _as_floats(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _moments(table: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = weights @ table.astype(np.float64)
    deviation = np.sqrt(weights @ (table - mean) ** 2)
    # Rounding leaves a constant with a deviation of its last place.
    still = deviation <= 1e-7 * np.abs(table).max(axis=0)
    return mean, np.where(still, 1.0, deviation)
