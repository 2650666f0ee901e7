"""What a network must beat: means, persistence, scalings, ridge, a random forest, all behind one interface.

A `Learner` fits a `Predictor` to `Rows`. `Learner.fit_all` fits one to each of several tables: what trains
faster in company (networks in one batched call) overrides it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isopleth.config import check_choice, check_positive
from isopleth.errors import DataError, require
from isopleth.fields import Folds, block_folds
from isopleth.sealevel.rows import Floats, Rows

Grouping = Literal["all", "segment", "cell"]

# A line through fewer rows than this is not worth its coefficients.
_FEWEST_ROWS = 8
_PENALTIES = tuple(float(f"1e{power}") for power in range(-6, 5))


@dataclass(frozen=True, eq=False)
class Forecast:
    """A prediction, and how sure the predictor says it is.

    Attributes
    ----------
    mean : array, shape (n,)
        NaN where nothing can be said.
    spread : array, shape (n,), optional
        Standard deviation; None where the method has none of its own.
    """

    mean: Floats
    spread: Floats | None = None


class Predictor(ABC):
    """Something that was fitted."""

    @abstractmethod
    def predict(self, rows: Rows) -> Floats:
        """Predict the target of rows from their inputs and places, shape (n,); NaN where it cannot."""

    def forecast(self, rows: Rows) -> Forecast:
        """Predict with a spread, where the method has one."""
        return Forecast(self.predict(rows))


class Learner(ABC):
    """A way to fit."""

    name: str

    @abstractmethod
    def fit(self, rows: Rows) -> Predictor:
        """Fit to rows whose targets are known."""

    def fit_all(self, tables: Sequence[Rows]) -> Sequence[Predictor]:
        """Fit to each of several tables, independently."""
        return [self.fit(rows) for rows in tables]


@dataclass(frozen=True)
class EnsembleMean(Learner, Predictor):
    """The equal-weight mean of the inputs; nothing is fitted."""

    name: str = "ensemble mean"

    def fit(self, rows: Rows) -> Predictor:  # noqa: ARG002 (of the interface)
        """Return itself."""
        return self

    def predict(self, rows: Rows) -> Floats:
        """Average the inputs."""
        return np.asarray(rows.inputs.mean(axis=1))


@dataclass(frozen=True)
class GlobalMean(Learner):
    """The area-weighted mean of the training targets, everywhere."""

    name: str = "global mean everywhere"

    def fit(self, rows: Rows) -> Predictor:
        """Average the targets."""
        mean = np.average(known_target(rows), weights=rows.weight)
        zeros = np.zeros(rows.inputs.shape[1])
        return LinearPredictor("all", np.empty(0, np.int64), np.empty((0, 0)), np.append(zeros, mean))


@dataclass(frozen=True)
class Persistence(Learner):
    """What was observed at the cell goes on: its trend stays, its sea level follows its straight line.

    A cell that was not among the training rows has no prediction (NaN), so that in folds of space
    persistence has nothing to say.
    """

    name: str = "persistence"

    def fit(self, rows: Rows) -> Predictor:
        """Fit the line through each cell's targets; the constant where there is one value."""
        target, years = known_target(rows), rows.years
        cells, place = np.unique(rows.cell, return_inverse=True)
        count = np.bincount(place)
        centre = np.bincount(place, years) / count
        level = np.bincount(place, target) / count
        distance = years - centre[place]
        square = np.bincount(place, distance**2)
        slope = np.bincount(place, distance * target) / np.where(square > 0, square, 1.0)
        return _Lines(cells, centre, level, slope)


@dataclass(frozen=True, eq=False)
class _Lines(Predictor):
    cells: NDArray[np.int64]
    centre: Floats
    level: Floats
    slope: Floats

    def predict(self, rows: Rows) -> Floats:
        place, known = _find(self.cells, rows.cell)
        line = self.level[place] + self.slope[place] * (rows.years - self.centre[place])
        return np.where(known, line, np.nan)


@dataclass(frozen=True)
class Scaling(Learner):
    r"""A straight line on the ensemble mean, :math:`y = a + b \bar x`, fitted by cell or by segment.

    By weighted least squares. Groups with fewer than 8 rows, or whose ensemble mean does not vary, get the
    line through all rows.

    Parameters
    ----------
    by : {"all", "segment", "cell"}
        By cell it needs rows at many times.
    name : str
    """

    by: Grouping = "segment"
    name: str = "scaling"

    def __post_init__(self) -> None:
        check_choice("by", self.by, ("all", "segment", "cell"))

    def fit(self, rows: Rows) -> Predictor:
        """Fit all groups at once, from sums."""
        target, x = known_target(rows), rows.inputs.mean(axis=1)
        labels, place = np.unique(_group(rows, self.by), return_inverse=True)
        lines, fine = _fit_lines(x, target, rows.weight, place, len(labels))
        (everywhere,), _ = _fit_lines(x, target, rows.weight, np.zeros(len(x), np.int64), 1)
        spread_out = [_on_inputs(line, rows.inputs.shape[1]) for line in lines[fine]]
        table = np.array(spread_out).reshape(-1, rows.inputs.shape[1] + 1)
        return LinearPredictor(self.by, labels[fine], table, _on_inputs(everywhere, rows.inputs.shape[1]))


@dataclass(frozen=True)
class Ridge(Learner):
    r"""Linear regression on all inputs with a penalty on their standardised coefficients.

    .. math:: \min_\beta \; \sum_i w_i (y_i - \beta_0 - z_i \beta)^2 / \sum_i w_i + \lambda |\beta|^2

    with z the inputs standardised over the training rows of the group. One λ for all groups, that with the
    least error over inner spatial-block folds of the training rows.

    Parameters
    ----------
    by : {"all", "segment"}
        Whether one regression serves everywhere. A segment with fewer than 8 rows gets that one.
    buffer_km, size_km : float
        Of the inner folds; see `isopleth.fields.block_folds`.
    folds : int
        Number of inner folds; fewer where there are not enough blocks.
    seed : int
        Of the inner folds.
    name : str
    """

    by: Literal["all", "segment"] = "all"
    buffer_km: float = 500.0
    size_km: float = 2000.0
    folds: int = 5
    seed: int = 0
    name: str = "ridge"

    def __post_init__(self) -> None:
        check_choice("by", self.by, ("all", "segment"))
        check_positive(size_km=self.size_km)

    def fit(self, rows: Rows) -> LinearPredictor:
        """Choose the penalty and fit."""
        known_target(rows)
        return self._fit(rows, [self.choose_penalty(rows)])[0]

    def choose_penalty(self, rows: Rows) -> float:
        """Return the penalty with the least area-weighted squared error over inner folds."""
        total = np.zeros(len(_PENALTIES))
        for fold in self._inner_folds(rows):
            train, test = rows.take(fold.train), rows.take(fold.test)
            for k, fitted in enumerate(self._fit(train, _PENALTIES)):
                total[k] += test.weight @ (fitted.predict(test) - test.target) ** 2
        return _PENALTIES[int(total.argmin())]

    def _inner_folds(self, rows: Rows) -> Folds:
        """Make as many folds as the rows allow, at worst two without a buffer."""
        for count, buffer_km in ((self.folds, self.buffer_km), (2, self.buffer_km), (2, 0.0)):
            try:
                return block_folds(
                    rows.lat, rows.lon, count, buffer_km=buffer_km, size_km=self.size_km, seed=self.seed
                )
            except DataError as error:
                last = error
        raise DataError(
            f"rows must lie in at least two blocks of {self.size_km:g} km to choose a penalty, got fewer",
            where=self.name,
            hint="smaller size_km",
        ) from last

    def _fit(self, rows: Rows, penalties: Sequence[float]) -> list[LinearPredictor]:
        everywhere = _solve_ridge(rows.inputs, rows.target, rows.weight, penalties)
        if self.by == "all":
            empty = np.empty(0, np.int64), np.empty((0, everywhere.shape[1]))
            return [LinearPredictor("all", *empty, one) for one in everywhere]
        labels, count = np.unique(rows.segment, return_counts=True)
        labels = labels[count >= _FEWEST_ROWS]
        tables = np.empty((len(penalties), len(labels), everywhere.shape[1]))
        for g, label in enumerate(labels):
            own = rows.segment == label
            tables[:, g] = _solve_ridge(rows.inputs[own], rows.target[own], rows.weight[own], penalties)
        return [
            LinearPredictor("segment", labels, table, one)
            for table, one in zip(tables, everywhere, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class LinearPredictor(Predictor):
    """Linear functions of the inputs, one a group.

    Attributes
    ----------
    by : {"all", "segment", "cell"}
    labels : array of int, shape (group,)
        Ascending.
    coefficients : array, shape (group, feature + 1)
        The last one is the constant.
    everywhere : array, shape (feature + 1,)
        For groups that were not seen.
    """

    by: Grouping
    labels: NDArray[np.int64]
    coefficients: Floats
    everywhere: Floats

    def predict(self, rows: Rows) -> Floats:
        """Apply each row's own function."""
        whole = rows.inputs @ self.everywhere[:-1] + self.everywhere[-1]
        if not len(self.labels):
            return np.asarray(whole)
        place, known = _find(self.labels, _group(rows, self.by))
        own = self.coefficients[place]
        return np.where(known, np.einsum("nf,nf->n", rows.inputs, own[:, :-1]) + own[:, -1], whole)


@dataclass(frozen=True)
class RandomForest(Learner):
    """Scikit-learn's random forest on the inputs alone, each row weighted by its area.

    Parameters
    ----------
    trees, leaf : int
        Number of trees, and fewest rows of a leaf.
    seed : int
    jobs : int
        Threads.
    name : str
    """

    trees: int = 200
    leaf: int = 5
    seed: int = 0
    jobs: int = 1
    name: str = "random forest"

    def __post_init__(self) -> None:
        check_positive(trees=self.trees, leaf=self.leaf)

    def fit(self, rows: Rows) -> Predictor:
        """Grow the trees."""
        trees = require("sklearn.ensemble", install="isopleth[regions]", purpose="grow a random forest")
        forest = trees.RandomForestRegressor(
            self.trees, min_samples_leaf=self.leaf, random_state=self.seed, n_jobs=self.jobs
        )
        return _Forest(forest.fit(rows.inputs, known_target(rows), sample_weight=rows.weight))


@dataclass(frozen=True, eq=False)
class _Forest(Predictor):
    forest: Any

    def predict(self, rows: Rows) -> Floats:
        return np.asarray(self.forest.predict(rows.inputs), dtype=np.float64)


def known_target(rows: Rows) -> Floats:
    """Return the targets of rows to fit to, or refuse rows that have none."""
    if not len(rows) or not np.isfinite(rows.target).all():
        raise DataError(
            f"rows to fit must all have a target, got {np.isnan(rows.target).sum()} of {len(rows)} without"
        )
    return rows.target


def _group(rows: Rows, by: Grouping) -> NDArray[np.int64]:
    if by == "all":
        return np.zeros(len(rows), np.int64)
    return rows.segment if by == "segment" else rows.cell


def _find(labels: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return where each wanted label stands among ascending ones, and whether it does."""
    place = np.searchsorted(labels, wanted).clip(max=len(labels) - 1)
    return place, labels[place] == wanted


def _on_inputs(line: Floats, count: int) -> Floats:
    """Write a line on the mean of the inputs as one on each of them."""
    return np.append(np.full(count, line[1] / count), line[0])


def _fit_lines(
    x: Floats, y: Floats, weight: Floats, place: NDArray[np.int64], groups: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Fit a + b x in each group by weighted least squares, (group, 2), and say where that can be done."""
    total = np.bincount(place, weight, groups)
    mean_x, mean_y = (np.bincount(place, weight * v, groups) / total for v in (x, y))
    dx = x - mean_x[place]
    variance = np.bincount(place, weight * dx**2, groups) / total
    covariance = np.bincount(place, weight * dx * y, groups) / total
    size = np.bincount(place, weight * x**2, groups) / total
    fine = (variance > 1e-12 * size) & (np.bincount(place, minlength=groups) >= _FEWEST_ROWS)
    slope = np.where(variance > 1e-12 * size, covariance / np.where(variance > 0, variance, 1.0), 0.0)
    return np.stack([mean_y - slope * mean_x, slope], axis=1), fine


def _solve_ridge(x: Floats, y: Floats, weight: Floats, penalties: Sequence[float]) -> Floats:
    """Solve for each penalty through one eigendecomposition: (penalty, feature + 1)."""
    w = weight / weight.sum()
    mean, level = w @ x, w @ y
    scale = np.sqrt(w @ (x - mean) ** 2)
    still = scale <= 1e-12 * np.abs(x).max(axis=0)
    scale = np.where(still, 1.0, scale)
    z = np.where(still, 0.0, (x - mean) / scale)
    values, vectors = np.linalg.eigh((z * w[:, None]).T @ z)
    moment = vectors.T @ ((z * w[:, None]).T @ (y - level))
    shrunk = moment / (values.clip(min=0.0) + np.asarray(penalties)[:, None])
    slopes = (shrunk @ vectors.T) / scale
    return np.concatenate([slopes, (level - slopes @ mean)[:, None]], axis=1)
