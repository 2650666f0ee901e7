"""States: what a piece of the data contributes to the means that scores are made of."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import DataError

MOMENT = "moment"
MOMENTS = ("sum", "weight", "count")


@dataclass(frozen=True, eq=False)
class State:
    """Hold the weighted sums of named statistics; states of disjoint pieces add up with ``+``.

    For a statistic s with weights w, over the cells i that are present (not NaN), a state keeps

        sum = sum_i w_i s_i,   weight = sum_i w_i,   count = number of i with w_i > 0,

    once for every point of the dimensions that were not averaged over (lead, region, ...). The mean
    sum / weight of a union of pieces follows from the sum of their states, so that the same score comes
    from one array, a stream of chunks, a dask graph or the ranks of a distributed run, to rounding.

    Parameters
    ----------
    table : xarray.Dataset
        One float64 variable per statistic, with a dimension ``moment`` of (sum, weight, count) first
        and the kept dimensions after it. May be lazy.
    metrics : tuple of str
        The scores that the statistics were gathered for.
    sliced : tuple of str
        Dimensions over which a score per slice (such as the ACC of each time) is averaged at the end.

    Examples
    --------
    >>> first = State.of({"error": xr.DataArray([1.0, 3.0], dims="time")})
    >>> second = State.of({"error": xr.DataArray([5.0, np.nan], dims="time")})
    >>> float((first + second).means["error"])
    3.0
    """

    table: xr.Dataset
    metrics: tuple[str, ...] = ()
    sliced: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        statistics: Mapping[str, xr.DataArray],
        *,
        dims: Iterable[Hashable] | None = None,
        weights: xr.DataArray | None = None,
    ) -> State:
        """Sum statistics over dimensions.

        Parameters
        ----------
        statistics : mapping of str to DataArray
            Values per cell; NaN where a cell is missing.
        dims : iterable of str, optional
            Dimensions to sum over; those that a statistic lacks are ignored. All by default.
        weights : DataArray, optional
            Weights whose shared dimensions are aligned with the statistics; finite, not negative. Its
            other dimensions are kept, so that weights (region, lat, lon) give a state by region.
        """
        table = {name: _moments(values, dims, weights) for name, values in statistics.items()}
        return cls(xr.Dataset(table))

    def __add__(self, other: State | int) -> State:
        """Unite two pieces; points of kept dimensions that only one of them has are taken over."""
        if isinstance(other, int) and other == 0:  # so that the builtin sum() works
            return self
        if not isinstance(other, State):
            return NotImplemented
        _check_addable(self, other)
        left, right = xr.align(self.table, other.table, join="outer", fill_value=0.0)
        return replace(self, table=left + right)

    __radd__ = __add__

    @property
    def means(self) -> xr.Dataset:
        """The weighted mean of each statistic; NaN where no cell with weight was present."""
        weight = self.table.sel({MOMENT: "weight"}, drop=True)
        return self.table.sel({MOMENT: "sum"}, drop=True) / weight.where(weight > 0)

    @property
    def counts(self) -> xr.Dataset:
        """How many cells with a positive weight each mean rests on."""
        return self.table.sel({MOMENT: "count"}, drop=True)

    def compute(self) -> State:
        """Evaluate a lazy state, all its statistics in one pass over the data."""
        return replace(self, table=self.table.compute())

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain lists, numbers and strings, which ``json.dumps`` takes."""
        table = self.table.compute()
        return {
            "metrics": list(self.metrics),
            "sliced": list(self.sliced),
            "statistics": {str(name): _plain(values.variable) for name, values in table.items()},
            "coords": {str(name): _plain(_encoded(name, table[name])) for name in table.coords},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> State:
        """Rebuild the state that `to_dict` wrote."""
        table = xr.Dataset(
            {
                name: (entry["dims"], np.asarray(entry["data"], float))
                for name, entry in content["statistics"].items()
            },
            {
                name: (entry["dims"], entry["data"], entry["attrs"])
                for name, entry in content["coords"].items()
            },
        )
        return cls(xr.decode_cf(table), tuple(content["metrics"]), tuple(content["sliced"]))

    def to_vector(self) -> np.ndarray:
        """Return all moments as one float64 vector: what an all-reduce (sum) over ranks takes."""
        return np.concatenate([self.table[name].to_numpy().ravel() for name in sorted(self.table, key=str)])

    def with_vector(self, vector: np.ndarray) -> State:
        """Return this state with the moments of `vector`, laid out as in `to_vector`.

        Raises
        ------
        DataError
            If the length differs: the ranks did not keep the same statistics or coordinates.
        """
        names = sorted(self.table, key=str)
        ends = np.cumsum([self.table[name].size for name in names])
        if np.shape(vector) != (ends[-1],):
            raise DataError(f"a state's vector must have shape ({ends[-1]},), got {np.shape(vector)}")
        pieces = dict(zip(names, np.split(np.asarray(vector, float), ends[:-1]), strict=True))
        filled = {
            name: self.table[name].copy(data=pieces[name].reshape(self.table[name].shape)) for name in names
        }
        return replace(self, table=self.table.assign(filled))


def combine(states: Iterable[State]) -> State:
    """Add many states pairwise, as a tree.

    The same as ``sum(states)``, with a rounding error that grows with the logarithm of their number, and
    without copying an ever longer time axis where times are kept.

    Raises
    ------
    DataError
        If there is no state, or two of them do not belong together.
    """
    level = list(states)
    if not level:
        raise DataError("states must hold at least one state, got none")
    while len(level) > 1:
        pairs = [first + second for first, second in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def _moments(
    values: xr.DataArray, dims: Iterable[Hashable] | None, weights: xr.DataArray | None
) -> xr.DataArray:
    """Return (moment, *kept): sum, weight and count of one statistic."""
    # On variables, not DataArrays: all is aligned, and looking again is most of the time of small chunks.
    cells = values.variable
    reduced = [dim for dim in (values.dims if dims is None else dims) if dim in values.dims]
    present, filled = cells.notnull(), cells.fillna(0.0)
    if weights is None:
        count = present.sum(reduced).astype(float)
        parts = [filled.sum(reduced), count, count]
    else:
        weigh, counted = weights.variable, (weights.variable > 0).astype(float)
        parts = [
            xr.dot(a, b, dim=reduced) for a, b in ((filled, weigh), (present, weigh), (present, counted))
        ]
    table = xr.Variable.concat(parts, MOMENT)
    labels = {**({} if weights is None else weights.indexes), **values.indexes}
    return xr.DataArray(
        table, {MOMENT: list(MOMENTS), **{dim: labels[dim] for dim in table.dims if dim in labels}}
    )


def _check_addable(left: State, right: State) -> None:
    """Refuse states of other scores, or whose kept dimensions cannot be matched by label."""
    mine, yours = (sorted(map(str, state.table)) for state in (left, right))
    if (mine, left.metrics, left.sliced) != (yours, right.metrics, right.sliced):
        raise DataError(
            f"states to add must hold the same statistics, got {mine} for {left.metrics} "
            f"and {yours} for {right.metrics}"
        )
    for state in (left, right):
        for dim in state.table.dims:
            if dim not in state.table.indexes or not state.table.indexes[dim].is_unique:
                raise DataError(
                    f"the kept dimension {dim!r} of a state must have a coordinate without repeats, "
                    "so that states can be matched by it",
                    hint=f"assign one, or average over {dim!r} too",
                )


def _encoded(name: Hashable, coordinate: xr.DataArray) -> xr.Variable:
    """Return a coordinate with times as numbers, in CF's manner."""
    return xr.conventions.encode_cf_variable(coordinate.variable.to_base_variable(), name=str(name))


def _plain(variable: xr.Variable) -> dict[str, Any]:
    attrs = {key: value for key, value in variable.attrs.items() if key != "_FillValue"}
    return {"dims": list(variable.dims), "data": variable.to_numpy().tolist(), "attrs": attrs}
