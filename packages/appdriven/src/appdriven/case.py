"""A case: truth, model and baselines on exactly the same samples, and how their scores are resampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from appdriven.application import Application
from appdriven.bootstrap import (
    TILE,
    TIME,
    Dependence,
    Resampling,
    bootstrap,
    gather,
    measure_dependence,
    number_steps,
    sample_state,
)
from appdriven.coherence import Summary
from appdriven.metrics import MEASURES, Measure
from appdriven.predictions import Predictions
from appdriven.schema import Unknown
from appdriven.splits.variogram import measure_variogram
from appdriven.table import Table
from isopleth.errors import DataError
from isopleth.fields import Folds, tile_labels
from isopleth.report import fingerprint
from isopleth.verify import Interval, State
from isopleth.verify.bootstrap import Compare

MODEL = "model"
# Truths beyond this quantile of the training are extreme.
_EXTREME = 0.95


@dataclass(frozen=True)
class Part:
    """Some of the samples: those of a label in a column, or with an extreme truth or prediction.

    Parameters
    ----------
    kind : str
        A column's name; ``truth`` or ``prediction`` where `at_least` is given.
    label : str, optional
    at_least : float, optional
    """

    kind: str
    label: str = ""
    at_least: float | None = None

    @property
    def stratum(self) -> dict[str, str]:
        """Its place in a record."""
        if self.at_least is None:
            return {self.kind: self.label}
        return {"tail": f"{self.kind} from {self.at_least:.3g}"}


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that is scored, on the samples that all methods have.

    Parameters
    ----------
    application : Application
    table : Table
    folds : Folds
    predictions : Predictions
    baselines : mapping of str to array, shape (sample,)
    """

    application: Application
    table: Table
    folds: Folds
    predictions: Predictions
    baselines: Mapping[str, np.ndarray]

    def check_present(self) -> None:
        """Refuse a case in which nothing can be scored, or the model says less than it must."""
        if not self.count():
            raise DataError("some tested sample must have a truth and all predictions, got none")
        share = self.finite[MODEL]
        if 1 - share > self.application.constraints.max_missing + 1e-12:
            raise DataError(
                f"the model must predict all but {self.application.constraints.max_missing:.2%} of the "
                f"tested samples, got {1 - share:.2%} missing",
                hint="constraints.max_missing says how many may be missing",
            )

    @cached_property
    def tested(self) -> np.ndarray:
        """Which samples any fold tests."""
        return tested_samples(self.folds)

    @cached_property
    def asked(self) -> np.ndarray:
        """Which samples are tested and have a truth."""
        return self.tested & np.isfinite(self.table.target)

    @property
    def all_methods(self) -> dict[str, np.ndarray]:
        """The model first, then the baselines, on all samples."""
        return {MODEL: self.predictions.value, **self.baselines}

    @cached_property
    def finite(self) -> dict[str, float]:
        """Share of the asked samples that each method predicts."""
        return {
            name: float(np.isfinite(values[self.asked]).mean()) for name, values in self.all_methods.items()
        }

    @cached_property
    def rows(self) -> np.ndarray:
        """The samples that are scored: asked, and predicted by every method."""
        present = self.asked.copy()
        for values in self.all_methods.values():
            present &= np.isfinite(values)
        return np.flatnonzero(present)

    @cached_property
    def truth(self) -> np.ndarray:
        """The truth of the scored samples."""
        return self.table.target[self.rows]

    @cached_property
    def weight(self) -> np.ndarray:
        """The weight of the scored samples."""
        return self.table.weight[self.rows]

    def method(self, name: str, measure: Measure | None = None) -> np.ndarray:
        """Return one method's predictions of the scored samples, as the measure looks at them."""
        if measure is None or measure.source == "value":
            return self.all_methods[name][self.rows]
        if name == MODEL:
            if self.predictions.probability is None:
                raise DataError("a score of probabilities must have the column 'probability', got none")
            return self.predictions.probability[self.rows]
        event = self.application.harms.event
        from appdriven.decisions import happens

        return happens(self.all_methods[name][self.rows], event).astype(np.float64) if event else np.empty(0)

    @cached_property
    def resampling(self) -> Resampling:
        """How intervals are made, from the declaration."""
        wanted = self.application.uncertainty
        return Resampling(
            over=wanted.over, block=wanted.block, draws=wanted.draws, level=wanted.level, seed=wanted.seed
        )

    @cached_property
    def step(self) -> np.ndarray | None:
        """The number of each scored sample's time."""
        return None if self.table.time is None else number_steps(self.table.time[self.rows])

    @cached_property
    def tile(self) -> np.ndarray | None:
        """The number of each scored sample's block of space, where space is resampled."""
        if self.resampling.over != "space-time" or self.table.place is None:
            return None
        lat, lon = (part[self.rows] for part in self.table.place)
        size = self.application.uncertainty.tile_km
        if size == "variogram":
            times = None if self.table.time is None else self.table.time[self.rows]
            size = measure_variogram(self.truth, lat, lon, times=times).range_km
        return tile_labels(lat, lon, size_km=float(size), exact=True)

    @cached_property
    def group(self) -> np.ndarray | None:
        """The group of each scored sample."""
        return None if self.table.group is None else self.table.group[self.rows]

    def select(self, part: Part | None) -> np.ndarray:
        """Return which of the scored samples are of a part, bool."""
        if part is None:
            return np.ones(self.rows.size, dtype=bool)
        if part.at_least is None:
            return np.asarray(self._labels(part.kind) == part.label)
        return (self.truth if part.kind == "truth" else self.method(MODEL)) >= part.at_least

    def _labels(self, column: str) -> np.ndarray:
        if column not in self.table.frame:
            raise DataError(f"subgroups.columns must be columns of the data, got {column!r}")
        return self.table.frame[column].astype(str).to_numpy()[self.rows]

    def subgroups(self, column: str) -> list[Part]:
        """List the labels of a column among the scored samples."""
        return [Part(column, str(label)) for label in np.unique(self._labels(column))]

    def extremes(self) -> list[Part]:
        """List the extremes: truths and predictions beyond the 95th percentile of the training truth."""
        training = np.unique(np.concatenate([fold.train for fold in self.folds]))
        known = self.table.target[training]
        limit = float(np.quantile(known[np.isfinite(known)], _EXTREME))
        return [Part(kind, at_least=limit) for kind in ("truth", "prediction")]

    @property
    def sample(self) -> Case:
        """Samples in memory, for curves and for what looks at features: here all."""
        return self

    def count(self, part: Part | None = None) -> int:
        """Count what is taken as independent: groups, or else times."""
        labels = self.group if self.resampling.over == "group" else self.step
        chosen = self.select(part)
        return int(chosen.sum() if labels is None else np.unique(labels[chosen]).size)

    @cached_property
    def unit(self) -> np.ndarray:
        """The number of what each scored sample is resampled with: its group, or its time."""
        if self.resampling.over == "group" and self.group is not None:
            return np.unique(self.group, return_inverse=True)[1]
        return np.arange(self.rows.size) if self.step is None else self.step

    @cached_property
    def _states(self) -> dict[tuple[str, str, Part | None], State]:
        return {}

    def state(self, name: str, measure: str, part: Part | None = None) -> State:
        """Sum one method's statistics for a measure by unit and tile."""
        key = (name, measure, part)
        if key not in self._states:
            self._states[key] = gather(self.each(name, [measure], part), self.unit, self.tile)
        return self._states[key]

    def each(self, name: str, measures: Sequence[str], part: Part | None = None) -> State:
        """Return each scored sample's contribution to scores that look at one kind of prediction."""
        metrics = [MEASURES[measure].make(self.application) for measure in measures]
        weight = np.where(self.select(part), self.weight, 0.0)
        return sample_state(metrics, self.method(name, MEASURES[measures[0]]), self.truth, weight)

    def value(self, name: str, measure: str, part: Part | None = None) -> float:
        """Return one method's score."""
        state = self.state(name, measure, part)
        whole = State(state.table.sum([TIME, TILE]), state.metrics)
        return float(MEASURES[measure].make(self.application).by_slice(whole))

    def interval(
        self,
        measure: str,
        *,
        against: str | None = None,
        part: Part | None = None,
        compare: Compare | None = None,
    ) -> Interval:
        """Return the interval of the model's score, or of its comparison with a baseline, paired."""
        metric = MEASURES[measure].make(self.application)
        options = {} if compare is None else {"compare": compare}
        other = None if against is None else self.state(against, measure, part)
        return bootstrap(self.state(MODEL, measure, part), metric, self.resampling, against=other, **options)

    def dependence(self, against: str) -> Dependence | None:
        """Compare the squared errors by time with a baseline's: Diebold-Mariano and effective sample size."""
        if self.step is None:
            return None
        total = np.bincount(self.step, weights=self.weight)
        series = []
        for name in (MODEL, against):
            loss = np.bincount(self.step, weights=self.weight * (self.method(name) - self.truth) ** 2)
            series.append(np.divide(loss, total, out=np.full_like(loss, np.nan), where=total > 0))
        return measure_dependence(*series)

    @property
    def span(self) -> float | None:
        """Width of the declared range, None where it is not known."""
        limits = self.application.task.range
        return None if isinstance(limits, Unknown) else limits[1] - limits[0]

    @property
    def summarised(self) -> tuple[str, ...]:
        """The metrics that are checked against each other."""
        return ("rmse", "mse", "mae", "absolute_bias", *(() if self.span is None else ("psnr",)))

    @property
    def data_fingerprint(self) -> str:
        """Hash of the samples, for the record."""
        return self.table.fingerprint()

    @cached_property
    def mask(self) -> str:
        """Hash of which samples are scored."""
        return fingerprint(self.rows)

    @cached_property
    def outside(self) -> dict[str, float]:
        """Share of truth and predictions outside the declared range; empty where that is not known."""
        limits = self.application.task.range
        if isinstance(limits, Unknown):
            return {}
        sides = {"truth": self.truth, MODEL: self.method(MODEL)}
        return {
            name: float(((values < limits[0]) | (values > limits[1])).mean())
            for name, values in sides.items()
        }

    def describe_sides(self) -> tuple[str, str]:
        """Say how many samples the training and the test have."""
        train = sum(fold.train.size for fold in self.folds)
        many = f" in {len(self.folds)} folds" if len(self.folds) > 1 else ""
        return (
            f"{train} samples{many}, {self.folds.kind}",
            f"{self.rows.size} samples, {self.count()} taken as independent",
        )

    def summaries(self) -> list[Summary]:
        """Sum up each method for the checks of coherence."""
        return [
            Summary(
                method=method,
                values={name: self.value(method, name) for name in self.summarised},
                frames=self.count(),
                mask=self.mask,
                data_range=self.span,
                finite=self.finite[method] if method == MODEL else None,
            )
            for method in self.all_methods
        ]


def tested_samples(folds: Folds) -> np.ndarray:
    """Return which samples any fold tests, bool."""
    tested = np.zeros(folds.size, dtype=bool)
    for fold in folds:
        tested[fold.test] = True
    return tested
