"""The one problem behind every decision: units, their cost, what lives in them, and how they touch.

A `Landscape` wraps one xarray Dataset, so that it is stored, cut and looked at by xarray's own means:

================  ========================  =====================================================
``cost``          (unit)                    what choosing the unit costs, any one unit
``amount``        ([member,] feature, unit) how much of a feature is there; members are draws of a prediction
``target``        (feature)                 amount that is asked for, optional
``total``         (feature)                 amount everywhere, also where no unit is, optional
``weight``        (feature)                 importance, 1 by default
``area``          (unit)                    m2, geodesic or projected, optional
``threat``        ([member,] unit)          chance of a harm in a season, optional
``group``         (unit)                    number of the people or region it belongs to, -1 for none
``protected``     (unit)                    protected already
``locked_in``     (unit)                    must be chosen
``locked_out``    (unit)                    must not be chosen
``first`` ...     (edge)                    positions of two units that touch (``first``, ``second``), and the
                                            ``length`` of their common boundary, m
``exposed``       (unit)                    length of boundary without a neighbour, m
``x``, ``y``      (unit)                    centre, in the coordinates of ``attrs["crs"]``
``row``, ``col``  (unit)                    place in the raster of ``attrs["raster"]``, optional
================  ========================  =====================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from isopleth.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

_FLAGS = ("protected", "locked_in", "locked_out")
# What must be a number that is not negative, where it is given.
_AMOUNTS = ("cost", "amount", "target", "total", "weight", "area", "length", "exposed", "threat")


@dataclass(frozen=True, eq=False)
class Landscape:
    """A checked dataset of the layout above, and the arrays that decisions need of it.

    Raises
    ------
    DataError
        If something is missing, NaN, negative or contradicts itself; names the first unit or feature.
    """

    dataset: xr.Dataset

    def __post_init__(self) -> None:
        _check_layout(self.dataset)
        _check_numbers(self.dataset)
        _check_edges(self.dataset)
        both = self.locked_in & self.locked_out
        if both.any():
            raise DataError(f"a unit must not be locked in and out, got both for {self._name(both)}")

    @classmethod
    def build(
        cls,
        cost: ArrayLike,
        amount: ArrayLike,
        *,
        features: Sequence[str] | None = None,
        units: ArrayLike | None = None,
        edges: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
        group_names: Sequence[str] | None = None,
        attrs: Mapping[str, Any] | None = None,
        member_years: ArrayLike | None = None,
        **optional: ArrayLike | None,
    ) -> Landscape:
        """Build a landscape from arrays.

        Parameters
        ----------
        cost : array, shape (unit,)
        amount : array, shape (feature, unit) or (member, feature, unit)
        features, units : names and numbers; counted by default
        edges : (first, second, length), optional
            Positions of touching units, each pair once, and the metres that they share.
        group_names : sequence of str, optional
            Of the numbers in `group`, which are taken for names themselves without them.
        attrs : mapping, optional
            ``crs``, ``raster``.
        member_years : array, shape (member,), optional
            The year that a member predicts.
        **optional
            Other variables of the layout, by name.

        Examples
        --------
        >>> land = Landscape.build([1, 2, 2], [[2, 1, 1], [10, 10, 10]], target=[2, 10])
        >>> land.units, land.features
        (3, ('feature 0', 'feature 1'))
        """
        values = np.asarray(amount, np.float64)
        if values.ndim not in (2, 3):
            raise DataError(f"amount must have 2 or 3 dimensions, got shape {values.shape}")
        names = features if features is not None else [f"feature {k}" for k in range(values.shape[-2])]
        first, second, length = edges if edges is not None else ((), (), ())
        given = {name: value for name, value in optional.items() if value is not None}
        unknown = set(given) - set(_DIMS)
        if unknown:
            raise DataError(f"variables must be some of {', '.join(_DIMS)}, got {', '.join(sorted(unknown))}")
        variables: dict[str, Any] = {
            "cost": ("unit", np.asarray(cost, np.float64)),
            "amount": (("member", "feature", "unit")[-values.ndim :], values),
            "first": ("edge", np.asarray(first, np.int64)),
            "second": ("edge", np.asarray(second, np.int64)),
            "length": ("edge", np.asarray(length, np.float64)),
            **{name: _variable(name, value) for name, value in given.items()},
        }
        if "group" in given:
            codes, labels = _name_groups(np.asarray(given["group"]), group_names)
            variables["group"] = ("unit", codes, {"names": json.dumps(labels)})
        coords: dict[str, Any] = {
            "feature": np.asarray(names, dtype=str),
            "unit": np.arange(values.shape[-1]) if units is None else np.asarray(units),
        }
        if member_years is not None:
            coords["year"] = ("member", np.asarray(member_years, np.int64))
        try:
            dataset = xr.Dataset(variables, coords=coords, attrs=dict(attrs or {}))
        except ValueError as error:
            raise DataError(f"the arrays of a landscape must fit each other: {error}") from error
        return cls(dataset)

    @property
    def units(self) -> int:
        """Number of units."""
        return self.dataset.sizes["unit"]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(str(name) for name in self.dataset["feature"].values)

    @property
    def members(self) -> int:
        """Number of members, 1 without that dimension."""
        return self.dataset["amount"].sizes.get("member", 1)

    @property
    def cost(self) -> Floats:
        """Cost of each unit."""
        return self.dataset["cost"].values

    @property
    def amounts(self) -> Floats:
        """Amounts (member, feature, unit)."""
        values = self.dataset["amount"].values
        return values if values.ndim == 3 else values[None]

    @property
    def mean_amounts(self) -> Floats:
        """Amounts (feature, unit), the mean over members."""
        values = self.dataset["amount"].values
        return values if values.ndim == 2 else values.mean(axis=0)

    @property
    def weight(self) -> Floats:
        """Weight of each feature."""
        return self._or("weight", np.ones(len(self.features)))

    @property
    def threats(self) -> Floats:
        """Threat (member, unit).

        Raises
        ------
        DataError
            If the landscape has none.
        """
        if "threat" not in self.dataset:
            raise DataError("a landscape must have the variable 'threat' for this, got none")
        values = self.dataset["threat"].values
        return values if values.ndim == 2 else values[None]

    @property
    def protected(self) -> Bools:
        """Which units are protected already."""
        return self._or("protected", np.zeros(self.units, bool))

    @property
    def locked_in(self) -> Bools:
        """Which units must be chosen."""
        return self._or("locked_in", np.zeros(self.units, bool))

    @property
    def locked_out(self) -> Bools:
        """Which units must not be chosen."""
        return self._or("locked_out", np.zeros(self.units, bool))

    @property
    def exposed(self) -> Floats:
        """Length of boundary without a neighbour, m."""
        return self._or("exposed", np.zeros(self.units))

    @property
    def group(self) -> Integers:
        """Number of the group of each unit, -1 for none."""
        return self._or("group", np.full(self.units, -1))

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups."""
        return tuple(json.loads(self.dataset["group"].attrs["names"])) if "group" in self.dataset else ()

    @property
    def edges(self) -> tuple[Integers, Integers, Floats]:
        """Pairs of touching units and the length that they share."""
        return tuple(self.dataset[name].values for name in ("first", "second", "length"))  # type: ignore[return-value]

    @property
    def boundary(self) -> sparse.csr_array:
        """Shared lengths as a symmetric sparse matrix (unit, unit), m."""
        first, second, length = self.edges
        pairs = (np.concatenate([first, second]), np.concatenate([second, first]))
        return sparse.csr_array((np.tile(length, 2), pairs), shape=(self.units, self.units))

    @property
    def centres(self) -> Floats:
        """Centres (unit, 2) as x and y.

        Raises
        ------
        DataError
            If the landscape has none.
        """
        if not {"x", "y"} <= set(self.dataset):
            raise DataError("a landscape must have the variables 'x' and 'y' for this, got none")
        return np.stack([self.dataset["x"].values, self.dataset["y"].values], axis=1)

    def totals(self, denominator: Literal["units", "everywhere"] = "units") -> Floats:
        """Return each feature's total, of the mean map: over the units, or also beyond them.

        Raises
        ------
        DataError
            If what lies beyond is not known.
        """
        if denominator == "units":
            return self.mean_amounts.sum(axis=1)
        if "total" not in self.dataset:
            raise DataError("a landscape must have the variable 'total' to count everywhere, got none")
        return self.dataset["total"].values

    def take_units(self, chosen: ArrayLike) -> Landscape:
        """Keep some units; boundaries with those that go become exposed, and shapes are not kept.

        Parameters
        ----------
        chosen : array of bool, shape (unit,)
        """
        mask = np.asarray(chosen, bool)
        first, second, length = self.edges
        inside = mask[first] & mask[second]
        cut = np.bincount(first, length * ~inside, self.units) + np.bincount(
            second, length * ~inside, self.units
        )
        place = np.cumsum(mask) - 1
        whole = self.dataset.drop_vars(["shape_bytes", "shape_end"], errors="ignore")
        rest = whole.drop_dims("edge").isel(unit=np.flatnonzero(mask))
        return Landscape(
            rest.assign(
                first=("edge", place[first[inside]]),
                second=("edge", place[second[inside]]),
                length=("edge", length[inside]),
                exposed=("unit", (self.exposed + cut)[mask]),
            )
        )

    def take_features(self, chosen: ArrayLike) -> Landscape:
        """Keep some features (array of bool)."""
        return Landscape(self.dataset.isel(feature=np.flatnonzero(chosen)))

    def take_members(self, chosen: ArrayLike) -> Landscape:
        """Keep some members, by position; without members there is nothing to take."""
        return Landscape(self.dataset.isel(member=np.atleast_1d(chosen)))

    def replace_amount(self, amount: ArrayLike) -> Landscape:
        """Put other amounts (feature, unit) or (member, feature, unit) in place of the predicted ones."""
        values = np.asarray(amount, np.float64)
        rest = self.dataset.drop_vars("amount").drop_vars("year", errors="ignore")
        return Landscape(rest.assign(amount=(("member", "feature", "unit")[-values.ndim :], values)))

    def assign(self, **values: ArrayLike) -> Landscape:
        """Give variables of the layout new values."""
        changed: dict[str, Any] = {}
        for name, value in values.items():
            old = self.dataset.get(name)
            changed[name] = (
                _variable(name, value) if old is None else (old.dims, np.asarray(value), old.attrs)
            )
        return Landscape(self.dataset.assign(changed))

    def save(self, path: str | Path) -> Path:
        """Write the landscape: a zarr store, or a NetCDF file by the ending ``.nc``."""
        from conservation_decisions import __version__
        from isopleth.io import Provenance, write_netcdf, write_zarr

        by = Provenance(tool="conservation-decisions", version=__version__)
        if Path(path).suffix == ".nc":
            return write_netcdf(self.dataset, path, provenance=by, dtype=None)
        return write_zarr(self.dataset, path, provenance=by, dim="unit", dtype=None)

    def _or(self, name: str, default: NDArray[Any]) -> NDArray[Any]:
        return self.dataset[name].values if name in self.dataset else default

    def _name(self, mask: Bools) -> str:
        """Name the first of some units."""
        return f"unit {self.dataset['unit'].values[int(np.argmax(mask))]}"


_DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("cost", "area", "group", "exposed", "x", "y", "row", "col", *_FLAGS), ("unit",)),
    **dict.fromkeys(("target", "total", "weight"), ("feature",)),
    **dict.fromkeys(("first", "second", "length"), ("edge",)),
    "amount": ("member", "feature", "unit"),
    "threat": ("member", "unit"),
    "shape_bytes": ("byte",),
    "shape_end": ("unit",),
}


def _variable(name: str, value: ArrayLike) -> tuple[tuple[str, ...], NDArray[Any]]:
    array = np.asarray(value)
    if name in _FLAGS:
        array = array.astype(bool)
    elif name in _AMOUNTS:
        array = array.astype(np.float64)
    dims = _DIMS[name]
    return dims[len(dims) - array.ndim :], array


def _name_groups(group: NDArray[Any], names: Sequence[str] | None) -> tuple[Integers, list[str]]:
    """Give groups numbers from 0 on, where they have no names to be numbered by."""
    if names is not None:
        if group.min() < -1 or group.max() >= len(names):
            raise DataError(f"group must be -1 to {len(names) - 1}, got {group.min()} to {group.max()}")
        return group.astype(np.int64), list(names)
    known, codes = np.unique(group, return_inverse=True)
    none = int((known < 0).sum())
    return np.maximum(codes - none, -1), [str(name) for name in known[none:]]


def _check_layout(ds: xr.Dataset) -> None:
    for name in ("cost", "amount", "first", "second", "length"):
        if name not in ds:
            raise DataError(f"a landscape must have the variable {name!r}, got {', '.join(map(str, ds))}")
    for variable in map(str, ds.data_vars):
        allowed = _DIMS.get(variable)
        dims = ds[variable].dims
        if allowed is not None and dims not in (allowed, allowed[allowed[0] == "member" :]):
            raise DataError(f"{variable} must have the dimensions {allowed}, got {dims}")
    for axis in ("feature", "unit"):
        if not ds.sizes[axis]:
            raise DataError(f"a landscape must have at least one {axis}, got none")
        names, counts = np.unique(ds[axis].values, return_counts=True)
        if counts.max() > 1:
            raise DataError(f"each {axis} must be named once, got {names[counts.argmax()]!r} twice")


def _check_numbers(ds: xr.Dataset) -> None:
    for name in (name for name in _AMOUNTS if name in ds):
        values = ds[name].values
        for bad, rule in ((~np.isfinite(values), "finite"), (values < 0, "at least 0")):
            if bad.any():
                where = np.unravel_index(int(np.argmax(bad)), values.shape)
                raise DataError(f"{name} must be {rule}, got {values[where]} for {_place(ds[name], where)}")
    if "threat" in ds and float(ds["threat"].max()) > 1:
        raise DataError(f"threat must be a probability, got {float(ds['threat'].max()):g}")


def _place(array: xr.DataArray, where: tuple[Any, ...]) -> str:
    named = zip(array.dims, where, strict=True)
    return ", ".join(f"{dim} {array[dim].values[k] if dim in array.coords else k}" for dim, k in named)


def _check_edges(ds: xr.Dataset) -> None:
    first, second = ds["first"].values, ds["second"].values
    both = np.concatenate([first, second])
    if both.size and not (both.min() >= 0 and both.max() < ds.sizes["unit"]):
        raise DataError(
            f"edges must join units 0 to {ds.sizes['unit'] - 1}, got {both.min()} to {both.max()}"
        )
    if (first == second).any():
        raise DataError(f"an edge must join two units, got unit {first[np.argmax(first == second)]} twice")
    pairs = np.minimum(first, second) * ds.sizes["unit"] + np.maximum(first, second)
    if np.unique(pairs).size < pairs.size:
        raise DataError("each pair of touching units must be given once, got some twice")
