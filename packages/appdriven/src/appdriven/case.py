"""A case: truth, model and baselines on exactly the same samples, and how their scores are resampled."""

from __future__ import annotations

from collections.abc import Mapping
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
from appdriven.splits.make import square_tiles
from appdriven.splits.variogram import measure_variogram
from appdriven.table import Table
from isopleth.errors import DataError
from isopleth.fields import Folds
from isopleth.report import fingerprint
from isopleth.verify import Interval, State
from isopleth.verify.bootstrap import Compare

MODEL = "model"


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

    def __post_init__(self) -> None:
        if not self.rows.size:
            raise DataError("some tested sample must have a truth and all predictions, got none")
        share = self.finite[MODEL]
        if 1 - share > self.application.constraints.max_missing + 1e-12:
            raise DataError(
                f"the model must predict all but {self.application.constraints.max_missing:.2%} of the "
                "tested "
                f"samples, got {1 - share:.2%} missing",
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
        return square_tiles(lat, lon, size_km=float(size))

    @cached_property
    def group(self) -> np.ndarray | None:
        """The group of each scored sample."""
        return None if self.table.group is None else self.table.group[self.rows]

    def count(self, part: np.ndarray | None = None) -> int:
        """Count what is taken as independent: groups, or else times."""
        labels = self.group if self.resampling.over == "group" else self.step
        if labels is None:
            return int(self.rows.size if part is None else part.sum())
        return int(np.unique(labels if part is None else labels[part]).size)

    @cached_property
    def unit(self) -> np.ndarray:
        """The number of what each scored sample is resampled with: its group, or its time."""
        if self.resampling.over == "group" and self.group is not None:
            return np.unique(self.group, return_inverse=True)[1]
        return np.arange(self.rows.size) if self.step is None else self.step

    @cached_property
    def _states(self) -> dict[tuple[str, str], State]:
        return {}

    def state(self, name: str, measure: str, part: np.ndarray | None = None) -> State:
        """Sum one method's statistics for a measure by unit and tile; of all samples they are kept."""
        if part is None and (name, measure) in self._states:
            return self._states[name, measure]
        chosen = MEASURES[measure]
        weight = self.weight if part is None else np.where(part, self.weight, 0.0)
        values = self.method(name, chosen)
        found = gather(
            sample_state(chosen.make(self.application), values, self.truth, weight), self.unit, self.tile
        )
        if part is None:
            self._states[name, measure] = found
        return found

    def value(self, name: str, measure: str, part: np.ndarray | None = None) -> float:
        """Return one method's score."""
        state = self.state(name, measure, part)
        whole = State(state.table.sum([TIME, TILE]), state.metrics)
        return float(MEASURES[measure].make(self.application).by_slice(whole))

    def interval(
        self,
        measure: str,
        *,
        against: str | None = None,
        part: np.ndarray | None = None,
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

    def summaries(self) -> list[Summary]:
        """Sum up each method for the checks of coherence."""
        limits = self.application.task.range
        span = None if isinstance(limits, Unknown) else limits[1] - limits[0]
        mask, names = fingerprint(self.rows), ["rmse", "mse", "mae", "absolute_bias"]
        if span is not None:
            names.append("psnr")
        return [
            Summary(
                method=method,
                values={name: self.value(method, name) for name in names},
                frames=self.count(),
                mask=mask,
                data_range=span,
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
