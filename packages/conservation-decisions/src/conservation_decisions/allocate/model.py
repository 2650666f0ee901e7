"""The mixed-integer linear program of an allocation problem, built straight into sparse rows.

Rows of targets are divided by the target, so that every right-hand side is 1, and coefficients above 1 are
cut to 1, which changes no whole-numbered answer: amounts of any size come out between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from conservation_decisions.allocate.problem import Problem
from conservation_decisions.landscape import Bools, Floats

# What HiGHS would drop in any case.
_SMALL = 1e-9


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Minimise ``cost @ x + offset`` with ``row_lower <= matrix @ x <= row_upper`` and bounds on x.

    Attributes
    ----------
    integer : array of bool
        Which columns must be whole numbers.
    columns : mapping of name to slice
        Where each block of variables stands.
    """

    cost: Floats
    matrix: sparse.csr_array
    row_lower: Floats
    row_upper: Floats
    lower: Floats
    upper: Floats
    integer: Bools
    columns: Mapping[str, slice]
    offset: float = 0.0


@dataclass
class ModelBuilder:
    """Collect blocks of columns and rows, and join them once."""

    columns: dict[str, slice] = field(default_factory=dict)
    costs: list[Floats] = field(default_factory=list)
    _bounds: list[tuple[Floats, Floats]] = field(default_factory=list)
    _integer: list[Bools] = field(default_factory=list)
    _rows: list[tuple[dict[str, sparse.csr_array], Floats, Floats]] = field(default_factory=list)
    offset: float = 0.0

    def add_columns(
        self,
        name: str,
        size: int,
        *,
        cost: ArrayLike = 0.0,
        lower: ArrayLike = 0.0,
        upper: ArrayLike = np.inf,
        integer: bool = False,
    ) -> None:
        """Add a block of variables."""
        start = sum(map(len, self.costs))
        self.columns[name] = slice(start, start + size)
        self.costs.append(_spread(cost, size))
        self._bounds.append((_spread(lower, size), _spread(upper, size)))
        self._integer.append(np.full(size, integer))

    def add_rows(
        self, parts: Mapping[str, object], *, lower: ArrayLike = -np.inf, upper: ArrayLike = np.inf
    ) -> None:
        """Add a block of rows: for each block of columns a matrix (row, column), dense or sparse."""
        matrices = {name: sparse.csr_array(part) for name, part in parts.items()}  # type: ignore[call-overload]
        count = next(iter(matrices.values())).shape[0]
        self._rows.append((matrices, _spread(lower, count), _spread(upper, count)))

    def build(self) -> LinearModel:
        """Join the blocks."""
        width = sum(map(len, self.costs))
        blocks = [self._join(matrices, width) for matrices, _, _ in self._rows]
        matrix = sparse.vstack(blocks, format="csr") if blocks else sparse.csr_array((0, width))
        return LinearModel(
            cost=np.concatenate(self.costs),
            matrix=matrix,
            row_lower=np.concatenate([np.zeros(0), *(low for _, low, _ in self._rows)]),
            row_upper=np.concatenate([np.zeros(0), *(high for _, _, high in self._rows)]),
            lower=np.concatenate([low for low, _ in self._bounds]),
            upper=np.concatenate([high for _, high in self._bounds]),
            integer=np.concatenate(self._integer),
            columns=dict(self.columns),
            offset=self.offset,
        )

    def _join(self, matrices: Mapping[str, sparse.csr_array], width: int) -> sparse.csr_array:
        """Put matrices side by side at their columns' places, without going through coordinates."""
        parts = [(self.columns[name].start, matrix) for name, matrix in matrices.items()]
        if len(parts) == 1:
            start, one = parts[0]
            return sparse.csr_array((one.data, one.indices + start, one.indptr), shape=(one.shape[0], width))
        indptr = np.sum([matrix.indptr for _, matrix in parts], axis=0)
        data, indices = np.empty(indptr[-1]), np.empty(indptr[-1], np.int32)
        filled = indptr[:-1].copy()
        for start, matrix in parts:
            counts = np.diff(matrix.indptr)
            place = np.repeat(filled - matrix.indptr[:-1], counts) + np.arange(matrix.nnz)
            data[place], indices[place] = matrix.data, matrix.indices + start
            filled = filled + counts
        return sparse.csr_array((data, indices, indptr), shape=(len(counts), width))


def build_model(problem: Problem) -> LinearModel:
    r"""Write an allocation problem as a mixed-integer linear program.

    The choice is the block ``unit``. Minimum set with boundary (Ball, Possingham and Watts 2009; the linear
    form of Beyer et al. 2016):

    .. math:: \min \sum_i c_i x_i + p \Big[\sum_i x_i (s_i + f e_i) - 2 \sum_{ij} b_{ij} y_{ij}\Big],
        \quad \sum_i r_{ij} x_i \ge t_j, \quad y_{ij} \le x_i, \; y_{ij} \le x_j

    with :math:`s_i` the shared and :math:`e_i` the exposed boundary of a unit. The other objectives spend a
    budget on the least loss; see `ProblemConfig`.
    """
    builder = ModelBuilder()
    landscape = problem.landscape
    minimum = problem.config.objective == "min_set"
    builder.add_columns(
        "unit",
        landscape.units,
        cost=(landscape.cost if minimum else 0.0) + _boundary_costs(problem),
        lower=problem.locked_in.astype(np.float64),
        upper=1.0 - problem.locked_out,
        integer=True,
    )
    if minimum:
        _ask_targets(builder, problem)
    else:
        _lose_least(builder, problem)
    if np.isfinite(problem.budget):
        scale = problem.budget or 1.0
        builder.add_rows({"unit": landscape.cost[None] / scale}, upper=problem.budget / scale)
    if problem.floors.size:
        member = landscape.group[None] == np.arange(problem.floors.size)[:, None]
        least = np.maximum(problem.floors, _SMALL)
        builder.add_rows({"unit": member * problem.benefit / least[:, None]}, lower=problem.floors / least)
    if problem.config.boundary_penalty:
        _share_boundaries(builder, problem)
    return builder.build()


def _boundary_costs(problem: Problem) -> Floats:
    """Charge each unit its whole perimeter; what neighbours share is paid back."""
    penalty, landscape = problem.config.boundary_penalty, problem.landscape
    if not penalty:
        return np.zeros(landscape.units)
    first, second, length = landscape.edges
    shared = np.bincount(first, length, landscape.units) + np.bincount(second, length, landscape.units)
    return penalty * (shared + problem.config.edge_factor * landscape.exposed)


def _share_boundaries(builder: ModelBuilder, problem: Problem) -> None:
    first, second, length = problem.landscape.edges
    builder.add_columns("edge", length.size, cost=-2 * problem.config.boundary_penalty * length, upper=1.0)
    own = sparse.eye_array(length.size, format="csr")
    for ends in (first, second):
        chosen = sparse.csr_array(
            (np.full(ends.size, -1.0), ends, np.arange(ends.size + 1)),
            shape=(ends.size, problem.landscape.units),
        )
        builder.add_rows({"unit": chosen, "edge": own}, upper=0.0)


def _ask_targets(builder: ModelBuilder, problem: Problem) -> None:
    """Demand targets of a minimum set: of the mean map, in enough members, or of the worst members' mean."""
    attitude, level = problem.config.uncertainty.attitude, problem.config.uncertainty.level
    asked = np.flatnonzero(problem.targets > 0)
    count, members = asked.size, len(problem.amounts)
    if attitude != "cvar":
        rows = _scale_rows(problem, asked)
    if attitude == "mean":
        builder.add_rows({"unit": rows}, lower=1.0)
    elif attitude == "chance":
        builder.add_columns("missed", members * count, upper=1.0, integer=True)
        builder.add_rows({"unit": rows, "missed": sparse.eye_array(members * count)}, lower=1.0)
        each = sparse.kron(np.ones((1, members)), sparse.eye_array(count), format="csr")
        builder.add_rows({"missed": each}, upper=np.floor((1 - level) * members + _SMALL))
    else:
        share = 1 / ((1 - level) * members)
        builder.add_columns("threshold", count, lower=-np.inf)
        builder.add_columns("below", members * count)
        rows = _scale_rows(problem, asked, cut=False)
        same = sparse.kron(np.ones((members, 1)), -sparse.eye_array(count), format="csr")
        builder.add_rows(
            {"unit": rows, "threshold": same, "below": sparse.eye_array(members * count)}, lower=0.0
        )
        each = sparse.kron(np.full((1, members), -share), sparse.eye_array(count), format="csr")
        builder.add_rows({"threshold": sparse.eye_array(count), "below": each}, lower=1.0)


def _lose_least(builder: ModelBuilder, problem: Problem) -> None:
    """Spend the budget on the least loss, its mean over the members or its tail."""
    members, weight = len(problem.amounts), problem.landscape.weight
    if problem.config.objective == "max_utility":
        worth = np.einsum("f,mfu->mu", weight, problem.amounts)
        _weigh_members(builder, problem, "unit", -worth)
        return
    if problem.config.objective == "max_coverage":
        asked = np.arange(weight.size)
        present = problem.amounts > problem.config.presence
        rows = sparse.csr_array(present.reshape(-1, problem.landscape.units).astype(np.float64))
    else:
        asked = np.flatnonzero(problem.targets > 0)
        rows = _scale_rows(problem, asked)
    if problem.config.objective == "min_largest_shortfall":
        builder.add_columns("shortfall", members, upper=1.0)
        short = sparse.kron(sparse.eye_array(members), np.ones((asked.size, 1)), format="csr")
        loss = sparse.eye_array(members, format="csr")
    else:
        builder.add_columns("shortfall", members * asked.size, upper=1.0)
        short = sparse.eye_array(members * asked.size, format="csr")
        loss = sparse.kron(sparse.eye_array(members), weight[None, asked], format="csr")
    builder.add_rows({"unit": rows, "shortfall": short}, lower=1.0)
    _weigh_members(builder, problem, "shortfall", loss)


def _weigh_members(builder: ModelBuilder, problem: Problem, block: str, loss: object) -> None:
    """Minimise the mean over members of a linear loss (member, column), or the mean of its tail."""
    matrix = sparse.csr_array(loss)  # type: ignore[call-overload]
    members, place = matrix.shape[0], builder.columns[block]
    if problem.config.uncertainty.attitude != "cvar":
        index = list(builder.columns).index(block)
        builder.costs[index] = builder.costs[index] + matrix.mean(axis=0)
        return
    share = 1 / ((1 - problem.config.uncertainty.level) * members)
    builder.add_columns("threshold", 1, cost=1.0, lower=-np.inf)
    builder.add_columns("above", members, cost=share)
    assert place.stop - place.start == matrix.shape[1]
    builder.add_rows(
        {block: -matrix, "threshold": np.ones((members, 1)), "above": sparse.eye_array(members)}, lower=0.0
    )


def _scale_rows(problem: Problem, asked: np.ndarray, *, cut: bool = True) -> sparse.csr_array:
    """Divide amounts by targets: rows (member x feature, unit), what exceeds the target cut to 1."""
    rows = sparse.csr_array(problem.amounts[:, asked].reshape(-1, problem.landscape.units))
    asked_of = np.tile(problem.targets[asked], len(problem.amounts))
    rows.data /= np.repeat(asked_of, np.diff(rows.indptr))
    if cut:
        np.minimum(rows.data, 1.0, out=rows.data)
    rows.data[rows.data < _SMALL] = 0.0
    rows.eliminate_zeros()
    return rows


def _spread(value: ArrayLike, size: int) -> Floats:
    return np.broadcast_to(np.asarray(value, np.float64), (size,)).copy()
