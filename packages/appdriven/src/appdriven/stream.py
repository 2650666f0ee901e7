"""Fields larger than memory: passes that add up what scores and intervals need, and a sample for the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from appdriven.application import Application
from appdriven.bootstrap import TILE, TIME, Dependence, gather, measure_dependence
from appdriven.card.record import Card
from appdriven.case import MODEL, Case, Part
from appdriven.evaluation import lead_of, make_card
from appdriven.grid_baselines import Predictor, make_baselines
from appdriven.grids import Grids, Sample, draw, draw_sample
from appdriven.metrics import MEASURES
from appdriven.predictions import LOWER, PROBABILITY, UPPER, VALUE, Predictions
from appdriven.splits.audit import SplitAudit
from appdriven.splits.grid import GridFolds, audit_grid, split_grid
from appdriven.splits.make import resolve_sizes
from appdriven.splits.variogram import measure_variogram
from isopleth.errors import ConfigError, DataError
from isopleth.fields import Fold, Folds, tile_labels
from isopleth.fields.times import duration_ticks
from isopleth.report import Cost, fingerprint
from isopleth.verify import State


@dataclass
class Sums:
    """What one pass over a grid adds up.

    Attributes
    ----------
    states : dict
        By method, part and source: statistics on (time, tile), a piece a block.
    asked, scored : int
        Samples that are tested and have a truth, and those that every method predicts as well.
    present, outside : dict of str to int
        Asked samples that a method predicts; scored values outside the declared range.
    masks : list of str
        Hash of which samples are scored, a piece a block.
    sample : dict of str to list of array
        What was predicted for the samples that are drawn, a piece a block.
    """

    states: dict[tuple[str, Part | None, str], list[xr.Dataset]] = field(
        default_factory=lambda: defaultdict(list)
    )
    asked: int = 0
    scored: int = 0
    present: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    outside: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    masks: list[str] = field(default_factory=list)
    sample: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True, eq=False)
class StreamedCase(Case):
    """A case of which only sums and a sample are in memory.

    Scores, intervals, claims and checks are of all samples. Curves of calibration and decisions, and shift,
    are of the sample, which is all that the fields inherited from `Case` hold.

    Parameters
    ----------
    sums : Sums
    labels : dict of str to list of str
        Of the subgroups' columns.
    training : str
        The training side, in words.
    hash : str
        Of the data.
    """

    sums: Sums
    labels: dict[str, list[str]]
    training: str
    hash: str

    @property
    def sample(self) -> Case:
        """The sample, as a case in memory."""
        return Case(self.application, self.table, self.folds, self.predictions, self.baselines)

    def state(self, name: str, measure: str, part: Part | None = None) -> State:
        """Return what the pass added up of one method for a measure."""
        key = (name, measure, part)
        if key not in self._states:
            metric = MEASURES[measure].make(self.application)
            pieces = self.sums.states[name, part, MEASURES[measure].source]
            table = xr.concat([piece[list(metric.statistics)] for piece in pieces], TIME)
            self._states[key] = State(table.isel(self._filled), (metric.name,))
        return self._states[key]

    @cached_property
    def _filled(self) -> dict[str, np.ndarray]:
        """Which times and tiles have a scored sample: a case in memory does not have the others."""
        pieces = self.sums.states[MODEL, None, "value"]
        count = xr.concat([piece["squared_error"].sel(moment="count") for piece in pieces], TIME)
        return {TIME: (count.sum(TILE) > 0).to_numpy(), TILE: (count.sum(TIME) > 0).to_numpy()}

    def subgroups(self, column: str) -> list[Part]:
        """List the labels of a column among the scored samples."""
        return [Part(column, label) for label in self.labels[column]]

    def count(self, part: Part | None = None) -> int:
        """Count the times that have a scored sample of a part."""
        if not self.sums.scored:
            return 0
        table = self.state(MODEL, "rmse", part).table["squared_error"]
        return int((table.sel(moment="count").sum(TILE) > 0).sum())

    @property
    def finite(self) -> dict[str, float]:
        """Share of the asked samples that each method predicts."""
        return {name: self.sums.present[name] / max(self.sums.asked, 1) for name in self.all_methods}

    @property
    def mask(self) -> str:
        """Hash of which samples are scored."""
        return fingerprint("\n".join(self.sums.masks))

    @property
    def outside(self) -> dict[str, float]:
        """Share of truth and predictions outside the declared range."""
        return {name: count / max(self.sums.scored, 1) for name, count in self.sums.outside.items()}

    @property
    def data_fingerprint(self) -> str:
        """Hash of the fields, for the record."""
        return self.hash

    def describe_sides(self) -> tuple[str, str]:
        """Say how many samples the training and the test have."""
        return self.training, f"{self.sums.scored} samples, {self.count()} taken as independent"

    def dependence(self, against: str) -> Dependence | None:
        """Compare the mean squared errors of times with a baseline's."""
        series = [self.state(name, "mse").table["squared_error"].sum(TILE) for name in (MODEL, against)]
        return measure_dependence(
            *((one.sel(moment="sum") / one.sel(moment="weight")).to_numpy() for one in series)
        )


def evaluate_grids(
    application: Application,
    grids: Grids,
    *,
    cost: Cost | None = None,
    command: str = "appdriven.evaluate_grids",
    name: str | None = None,
) -> Card:
    """Evaluate fields of any length, reading some times at a time.

    What is held is a block of samples, a seeded sample of them, climatologies, and sums by time and tile: as
    many bytes for a hundred years as for one but for those sums.

    Parameters
    ----------
    application : Application
    grids : Grids
    cost, command, name
        As for `appdriven.evaluation.evaluate`.

    Raises
    ------
    ConfigError, DataError
        As `appdriven.evaluation.evaluate`; also for splits and baselines that need all samples at once.
    """
    if own := [goal.name for goal in application.goals if goal.is_own]:
        raise ConfigError(f"the metric must be one that predictions have, got {own[0]}")
    if application.uncertainty.over == "group":
        raise ConfigError("uncertainty.over must be time or space-time for fields, got 'group'")
    seed = application.uncertainty.seed
    sample = draw_sample(grids, seed=seed)
    sizes = resolve_sizes(application.splits, sample.table)
    folds = split_grid(
        application.splits, grids.time, grids.place, block_km=sizes.block_km, buffer_km=sizes.buffer_km
    )
    if lacking := grids.lacking(folds.tested_times):
        raise DataError(
            f"predictions must cover all {int(folds.tested_times.sum())} tested times, got none for {lacking}"
        )
    baselines = make_baselines(application, grids, folds, sample)
    case = _as_case(application, grids, folds, sample, baselines)
    audit = _audit(application, grids, folds)
    return make_card(case, audit, cost=cost or Cost.of(), command=command, name=name)


def _audit(application: Application, grids: Grids, folds: GridFolds) -> SplitAudit:
    hashes = [
        fingerprint(row)
        for steps in grids.blocks()
        for row in np.concatenate(
            [grids.field(name, steps) for name in (grids.columns.target, *grids.columns.features)], axis=1
        )
    ]
    lead = lead_of(application, grids.time)
    window = None if lead is None else float(duration_ticks(lead, grids.axis, name="window"))
    return audit_grid(folds, grids.time, grids.axis, grids.place, window=window, hashes=hashes)


def _as_case(
    application: Application, grids: Grids, folds: GridFolds, sample: Sample, baselines: dict[str, Predictor]
) -> StreamedCase:
    empty = np.zeros(len(sample.table))
    rows = folds.rows(sample.time, sample.cell)
    first = Case(application, sample.table, rows, Predictions(empty), {})
    tiles = _number_tiles(application, grids, first)
    groups = [Part(column, label) for column, labels in sample.labels.items() for label in labels]
    parts = {
        **dict.fromkeys(groups, application.metrics.primary.name),
        **dict.fromkeys(first.extremes(), "rmse"),
    }
    sums = Sums()
    for block, steps in _blocks(application, grids, folds, baselines):
        _add(sums, block, steps, grids, tiles, parts)
        _keep(sums, block, draw(grids, steps, seed=application.uncertainty.seed))
    kept = {name: np.concatenate(values) for name, values in sums.sample.items()}
    said = Predictions(kept[VALUE], *(kept.get(name) for name in (LOWER, UPPER, PROBABILITY)))
    train = sum(fold.sizes[0] for fold in folds.folds)
    many = f" in {len(folds.folds)} folds" if len(folds.folds) > 1 else ""
    return StreamedCase(
        application,
        sample.table,
        rows,
        said,
        {name: kept[f"baseline {name}"] for name in baselines},
        sums,
        sample.labels,
        f"{train} samples{many}, {folds.kind}",
        grids.fingerprint(),
    )


def _number_tiles(application: Application, grids: Grids, sample: Case) -> np.ndarray:
    wanted = application.uncertainty
    if wanted.over != "space-time":
        return np.zeros(grids.cells, dtype=np.intp)
    size = wanted.tile_km
    if size == "variogram":
        lat, lon = (part[sample.asked] for part in sample.table.place or ())
        times = None if sample.table.time is None else sample.table.time[sample.asked]
        size = measure_variogram(sample.table.target[sample.asked], lat, lon, times=times).range_km
    return tile_labels(*grids.place, size_km=float(size), exact=True)


def _blocks(
    application: Application, grids: Grids, folds: GridFolds, baselines: dict[str, Predictor]
) -> Iterator[tuple[Case, slice]]:
    """Yield each block as a case in memory, with all its samples."""
    for steps in grids.blocks():
        table = grids.table(steps)
        time, cell = np.divmod(np.arange(len(table)), grids.cells)
        tested = np.zeros(len(table), dtype=bool)
        for fold in folds.rows(steps.start + time, cell):
            tested[fold.test] = True
        sides = Fold(np.empty(0, dtype=np.intp), np.flatnonzero(tested), np.flatnonzero(~tested))
        said = {name: np.where(tested, predict(steps, table), np.nan) for name, predict in baselines.items()}
        yield (
            Case(application, table, Folds((sides,), len(table), folds.kind), grids.predictions(steps), said),
            steps,
        )


def _add(
    sums: Sums, block: Case, steps: slice, grids: Grids, tiles: np.ndarray, parts: dict[Part, str]
) -> None:
    """Add a block to the sums; of the parts by the metrics that they are scored by."""
    if block.rows.size:
        shape = (steps.stop - steps.start, int(tiles.max()) + 1)
        time, cell = np.divmod(block.rows, grids.cells)
        goals = [goal.name for goal in block.application.goals]
        wanted: dict[Part | None, list[str]] = {None: [*goals, *block.summarised]}
        wanted |= {part: [name, "rmse"] for part, name in parts.items()}
        for part, measures in wanted.items():
            for source in dict.fromkeys(MEASURES[measure].source for measure in measures):
                some = [one for one in dict.fromkeys(measures) if MEASURES[one].source == source]
                for name in block.all_methods:
                    state = gather(block.each(name, some, part), time, tiles[cell], shape=shape)
                    sums.states[name, part, source].append(state.table)
    sums.asked += int(block.asked.sum())
    sums.scored += block.rows.size
    for name, values in block.all_methods.items():
        sums.present[name] += int(np.isfinite(values[block.asked]).sum())
    for name, share in (block.outside if block.rows.size else {}).items():
        sums.outside[name] += round(share * block.rows.size)
    sums.masks.append(fingerprint(block.rows))


def _keep(sums: Sums, block: Case, rows: np.ndarray) -> None:
    """Keep what was predicted for the samples that are drawn."""
    said = block.predictions
    kept = {VALUE: said.value, LOWER: said.lower, UPPER: said.upper, PROBABILITY: said.probability}
    kept |= {f"baseline {name}": values for name, values in block.baselines.items()}
    for name, values in kept.items():
        if values is not None:
            sums.sample[name].append(values[rows])
