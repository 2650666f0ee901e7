"""Experiments that know no model: what is fitted where, what it is tested on, how errors are summed up.

An `Experiment` is a list of `Trial`, each with rows to fit and rows to predict. `run_trials` fits a learner
to all trials of all experiments in one call, so that networks of every fold train together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isopleth.errors import DataError
from isopleth.fields import Folds, tile_labels
from isopleth.fields.surrogates import surrogate_fields
from isopleth.sealevel.baselines import Forecast, Learner
from isopleth.sealevel.rows import Floats, Integers, Rows, build_rows
from isopleth.verify import Interval, Metric, State, accumulate, finalise, group_bootstrap, interval_coverage

BLOCK_KM = 2000.0
_POINT = "point"
_SHARE = Metric("share", {"inside": lambda pair: pair.forecast}, lambda means: means["inside"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """Rows to fit, and rows to predict; targets of the latter are only compared with."""

    name: str
    train: Rows
    test: Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """Trials that answer one question together.

    Attributes
    ----------
    name : str
    trials : tuple of Trial
    about : str
        What is held out, in words, for reports.
    """

    name: str
    trials: tuple[Trial, ...]
    about: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a learner predicted in an experiment, and what was true, for each test row of all trials.

    Attributes
    ----------
    experiment, learner : str
    truth, prediction : array, shape (n,)
    spread : array, shape (n,), optional
        Standard deviation that the method itself gives.
    weight, lat, lon : array, shape (n,)
    cell, step, trial : array of int, shape (n,)
    block : array of int, shape (n,)
        Tile of the sphere, about 2,000 km wide, whose rows may depend on each other.
    """

    experiment: str
    learner: str
    truth: Floats
    prediction: Floats
    spread: Floats | None
    weight: Floats
    lat: Floats
    lon: Floats
    cell: Integers
    step: Integers
    trial: Integers
    block: Integers

    @property
    def error(self) -> Floats:
        """Prediction minus truth."""
        return self.prediction - self.truth

    @property
    def blocks(self) -> int:
        """Number of spatial blocks."""
        return int(np.unique(self.block).size)

    @property
    def complete(self) -> bool:
        """Whether every row has a prediction; persistence has none where space is held out."""
        return bool(np.isfinite(self.prediction).all())

    def of_trial(self, number: int) -> Outcome:
        """Give the rows of one trial."""
        own = self.trial == number
        names = ("truth", "prediction", "weight", "lat", "lon", "cell", "step", "trial", "block")
        spread = None if self.spread is None else self.spread[own]
        return replace(self, spread=spread, **{name: getattr(self, name)[own] for name in names})


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often the truth lies in an interval, by area, all over and block by block.

    Attributes
    ----------
    level : float
        What was asked for.
    share : float
        What was found.
    interval : (float, float)
        95 % interval of the share, from resampling blocks.
    width : float
        Mean width of the interval.
    by_block : tuple of float
        The share in each block, ascending.
    """

    level: float
    share: float
    interval: tuple[float, float]
    width: float
    by_block: tuple[float, ...]

    @property
    def blocks_short(self) -> float:
        """Share of the blocks that cover less than asked."""
        return float(np.mean(np.asarray(self.by_block) < self.level))


def plan_cross_validation(rows: Rows, folds: Folds, *, name: str = "cross-validation") -> Experiment:
    """Fit on the training rows of each fold and predict its test rows.

    Parameters
    ----------
    rows : Rows
        With targets.
    folds : Folds
        Of these rows: `isopleth.fields.block_folds` with a buffer; `random_folds` only to show their leak.
    name : str
    """
    if folds.size != len(rows):
        raise DataError(f"folds must be of the {len(rows)} rows, got folds of {folds.size}")
    trials = tuple(
        Trial(name=f"{name}, fold {k}", train=rows.take(fold.train), test=rows.take(fold.test))
        for k, fold in enumerate(folds)
    )
    return Experiment(name=name, trials=trials, about=f"{len(folds)} folds, {folds.kind}")


def plan_null_test(
    rows: Rows,
    folds: Folds,
    *,
    randomise: Callable[[Rows, int], Floats] | None = None,
    draws: int = 1,
    seed: int = 0,
    name: str = "null test",
) -> Experiment:
    """Cross-validate on predictors that know nothing: what skill is left is spurious.

    Parameters
    ----------
    rows, folds
        As for `plan_cross_validation`.
    randomise : callable, optional
        Takes rows and a seed, and returns inputs of the same shape and spatial scales that are unrelated to
        the target; `randomise_phases` by default.
    draws : int
        How often the predictors are randomised; each draw goes through all folds.
    seed : int
        Of the first draw.
    name : str
    """
    randomise = randomise or randomise_phases
    trials: list[Trial] = []
    for draw in range(seed, seed + draws):
        blind = rows.with_inputs(randomise(rows, draw))
        trials += plan_cross_validation(blind, folds, name=f"{name}, draw {draw}").trials
    about = f"{draws} draws of randomised predictors, {len(folds)} folds, {folds.kind}"
    return Experiment(name=name, trials=tuple(trials), about=about)


def randomise_phases(rows: Rows, seed: int) -> Floats:
    """Return inputs with the rows' angular spectra and correlations with each other, turned at random.

    See `isopleth.fields.surrogate_fields`; all models and times are turned alike.
    """
    fields = [rows.to_field(rows.inputs[:, k]) for k in range(len(rows.features))]
    drawn = surrogate_fields(xr.concat(fields, "model"), seed=seed).values
    drawn = drawn.reshape(len(fields), -1, rows.grid.lat.size * rows.grid.lon.size)
    return np.asarray(drawn[:, rows.step, rows.cell].T)


def plan_perfect_models(
    past: xr.DataArray,
    future: xr.DataArray,
    *,
    past_truth: xr.DataArray | None = None,
    future_truth: xr.DataArray | None = None,
    families: Mapping[str, str] | None = None,
    segments: xr.DataArray | None = None,
    dim: str = "model",
    name: str = "perfect model",
) -> Experiment:
    """Take each model for the truth in turn: fit its past on the others', predict its future from theirs.

    Parameters
    ----------
    past, future : DataArray, dims (model, [time,] lat, lon)
        What the models say of both periods.
    past_truth, future_truth : DataArray, dims (model, [time,] lat, lon), optional
        What is taken for truth, such as one member of each model, with the weather that its mean lacks;
        the models' own fields by default.
    families : mapping of str to str, optional
        Family of each model. Siblings of the truth share its errors; with this they are not among the inputs.
    segments : DataArray, optional
        As for `build_rows`.
    dim, name : str

    Raises
    ------
    DataError
        If fewer than two models are left to predict from.
    """
    truths = [str(model) for model in past[dim].values]
    past_truth = past if past_truth is None else past_truth
    future_truth = future if future_truth is None else future_truth
    trials = []
    for truth in truths:
        others = [model for model in truths if not _related(model, truth, families)]
        if len(others) < 2:
            raise DataError(
                f"a perfect-model test needs two other models at least, got {others}", where=truth
            )
        train, test = (
            build_rows(
                inputs.sel({dim: others}), target.sel({dim: truth}, drop=True), segments=segments, dim=dim
            )
            for inputs, target in ((past, past_truth), (future, future_truth))
        )
        trials.append(Trial(name=f"{name}, {truth}", train=train, test=test))
    kept = ", siblings left out" if families else ""
    return Experiment(
        name=name, trials=tuple(trials), about=f"each of {len(truths)} models as truth in turn{kept}"
    )


def _related(model: str, truth: str, families: Mapping[str, str] | None) -> bool:
    if families is None:
        return model == truth
    return families.get(model, model) == families.get(truth, truth)


def plan_backtest(early: Rows, late: Rows, *, about: str, name: str = "backtest") -> Experiment:
    """Fit on the first part of the observed record and predict the second.

    Parameters
    ----------
    early, late : Rows
        Of the two parts, with targets.
    about : str
        Which years each is of.
    name : str
    """
    return Experiment(name=name, trials=(Trial(name=name, train=early, test=late),), about=about)


def run_trials(
    learner: Learner, experiments: Sequence[Experiment], *, block_km: float = BLOCK_KM
) -> dict[str, Outcome]:
    """Fit a learner to all trials in one call, and predict.

    Parameters
    ----------
    learner : Learner
    experiments : sequence of Experiment
        With names that differ.
    block_km : float
        Width of the blocks that `Outcome.block` names.

    Returns
    -------
    dict of str to Outcome
        By the experiment's name.
    """
    names = [experiment.name for experiment in experiments]
    if len(set(names)) < len(names):
        raise DataError(f"experiments must have names that differ, got {names}")
    trials = [trial for experiment in experiments for trial in experiment.trials]
    predictors = iter(learner.fit_all([trial.train for trial in trials]))
    outcomes = {}
    for experiment in experiments:
        forecasts = [next(predictors).forecast(trial.test) for trial in experiment.trials]
        outcomes[experiment.name] = _collect(experiment, learner.name, forecasts, block_km)
    return outcomes


def _collect(experiment: Experiment, learner: str, forecasts: Sequence[Forecast], block_km: float) -> Outcome:
    tests = [trial.test for trial in experiment.trials]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(test, name) for test in tests])
        for name in ("weight", "lat", "lon", "cell", "step")
    }
    spreads = [forecast.spread for forecast in forecasts]
    return Outcome(
        experiment=experiment.name,
        learner=learner,
        truth=np.concatenate([test.target for test in tests]),
        prediction=np.concatenate([forecast.mean for forecast in forecasts]),
        spread=None if any(one is None for one in spreads) else np.concatenate(spreads),  # type: ignore[arg-type]
        trial=np.repeat(np.arange(len(tests)), [len(test) for test in tests]),
        block=tile_labels(joined["lat"], joined["lon"], size_km=block_km),
        **joined,
    )


def measure_rmse(outcome: Outcome) -> float:
    """Return the area-weighted root-mean-square error, in the target's units; NaN rows drop out."""
    return float(finalise(_squares(outcome))["rmse"].item())


def interval_of_rmse(
    outcome: Outcome, against: Outcome | None = None, *, seed: int = 0, draws: int = 1000
) -> Interval:
    """Return a 95 % interval of the RMSE, or of its difference to another learner's, by whole spatial blocks.

    Parameters
    ----------
    outcome : Outcome
    against : Outcome, optional
        Of the same experiment: both are drawn alike, so that the difference is paired.
    seed, draws : int
        Of the bootstrap.

    Raises
    ------
    DataError
        If the two are not of the same rows.
    """
    if against is not None and not _same_rows(outcome, against):
        raise DataError(
            f"outcomes must be of the same rows to be compared, got {outcome.experiment!r} and "
            f"{against.experiment!r}"
        )
    other = None if against is None else _squares(against, keep=True)
    return group_bootstrap(
        _squares(outcome, keep=True), outcome.block, against=other,
        dim=_POINT, seed=seed, draws=draws,
    )  # fmt: skip


def _same_rows(a: Outcome, b: Outcome) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("cell", "step", "trial", "truth")
    )


def _squares(outcome: Outcome, *, keep: bool = False) -> State:
    forecast, truth, weight = (
        xr.DataArray(values, dims=_POINT) for values in (outcome.prediction, outcome.truth, outcome.weight)
    )
    return accumulate("rmse", forecast, truth, weights=weight, dims=() if keep else None)


def measure_coverage(
    outcome: Outcome, low: NDArray[Any], high: NDArray[Any], *, level: float, seed: int = 0
) -> Coverage:
    """Measure how often the truth lies in intervals, over all and by spatial block.

    Parameters
    ----------
    outcome : Outcome
        Whose truth, areas and blocks are used.
    low, high : array, shape (n,)
        Ends of the intervals.
    level : float
        Their nominal coverage.
    seed : int
        Of the bootstrap over blocks.
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    inside = ((low <= outcome.truth) & (outcome.truth <= high)).astype(np.float64)
    _, block = np.unique(outcome.block, return_inverse=True)
    by_block = np.bincount(block, outcome.weight * inside) / np.bincount(block, outcome.weight)
    hits, weight = xr.DataArray(inside, dims=_POINT), xr.DataArray(outcome.weight, dims=_POINT)
    state = accumulate(_SHARE, hits, hits, weights=weight, dims=())
    found = group_bootstrap(state, outcome.block, metric=_SHARE, dim=_POINT, seed=seed)
    return Coverage(
        level=level,
        share=float(interval_coverage(low, high, outcome.truth, weights=outcome.weight)),
        interval=found.ends,
        width=float(np.average(high - low, weights=outcome.weight)),
        by_block=tuple(np.sort(by_block).tolist()),
    )
