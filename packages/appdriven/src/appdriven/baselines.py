"""What would be done without the model: computed on the same samples, from the same training side."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from appdriven.application import Application
from appdriven.predictions import VALUE, Learner, predict_folds
from appdriven.schema import Unknown
from appdriven.table import Table
from isopleth.errors import ConfigError, DataError
from isopleth.fields import Folds

GROUP = "appdriven.baselines"
Fit = Callable[[Table], Callable[[Table], np.ndarray]]
_COMMAND_SECONDS = 600


def compute_baselines(application: Application, table: Table, folds: Folds) -> dict[str, np.ndarray]:
    """Compute every baseline that an application declares, fold by fold.

    Parameters
    ----------
    application : Application
    table : Table
    folds : Folds

    Returns
    -------
    dict of str to array of float64, shape (sample,)
        NaN where no fold tests, or where a baseline knows nothing.

    Raises
    ------
    ConfigError
        If a name is neither built in nor an entry point of the group ``appdriven.baselines``, or a baseline
        needs columns that the declaration does not name.
    """
    wanted = application.baselines
    learned = () if isinstance(wanted.learned, Unknown) else wanted.learned
    found = {}
    for name in dict.fromkeys((*wanted.domain, *learned)):
        if name in _FROM_ALL:
            found[name] = _only_tested(_FROM_ALL[name](application, table), folds)
        else:
            found[name] = predict_folds(find_learner(name), table, folds)
    if wanted.command is not None:
        found["current practice"] = predict_folds(_run_command(wanted.command), table, folds)
    return found


def find_learner(name: str) -> Learner:
    """Find a baseline that is fitted on the training side: built in, or another package's entry point."""
    if name in _LEARNERS:
        return _LEARNERS[name]
    plugins = {plugin.name: plugin for plugin in entry_points(group=GROUP)}
    if name in plugins:
        loaded: Learner = plugins[name].load()
        return loaded
    known = ", ".join((*_FROM_ALL, *_LEARNERS, *plugins))
    raise ConfigError(f"a baseline must be one of {known}, got {name!r}")


def _only_tested(values: np.ndarray, folds: Folds) -> np.ndarray:
    tested = np.zeros(len(values), dtype=bool)
    for fold in folds:
        tested[fold.test] = True
    return np.where(tested, values, np.nan)


def persistence(application: Application, table: Table) -> np.ndarray:
    """Predict the last value known: the column named, or the truth one lead before in the series."""
    if table.columns.persistence is not None:
        return table.numbers(table.columns.persistence)
    lead = application.task.lead
    if isinstance(lead, Unknown) or table.time is None:
        raise ConfigError(
            "persistence must have data.columns.persistence, or task.lead and a column of times, got neither"
        )
    return _value_before(table, lead)


def seasonal_naive(_: Application, table: Table) -> np.ndarray:
    """Predict the truth of one year (365 days) before, at the same place or in the same group."""
    return _value_before(table, "365D")


def _value_before(table: Table, duration: str) -> np.ndarray:
    """Look the truth up that was so much earlier in each sample's own series; NaN where there is none."""
    from isopleth.fields.times import duration_ticks, ticks

    if table.time is None:
        raise ConfigError("a value of an earlier time needs data.columns.time, got none")
    axis = ticks(table.time)
    earlier = axis - duration_ticks(number_or_text(duration, axis), axis, name="task.lead")
    series = series_labels(table)
    known = pd.Series(table.target, index=pd.MultiIndex.from_arrays([series, axis.astype(np.float64)]))
    if known.index.has_duplicates:
        raise DataError("a series must have one value at a time to look back in, got two")
    wanted = pd.MultiIndex.from_arrays([series, earlier.astype(np.float64)])
    return np.asarray(known.reindex(wanted), dtype=np.float64)


def number_or_text(duration: str, axis: np.ndarray) -> Any:
    """Return a duration as a number where times are numbers."""
    return float(duration) if axis.dtype.kind == "f" or duration == "0" else duration


def series_labels(table: Table) -> np.ndarray:
    """Give each sample the number of its series: groups, else places, else one."""
    if table.group is not None:
        return np.unique(table.group, return_inverse=True)[1]
    if table.place is not None:
        return np.unique(np.stack(table.place), axis=1, return_inverse=True)[1].reshape(-1)
    return np.zeros(len(table), dtype=np.intp)


def climatology(train: Table, test: Table) -> np.ndarray:
    """Predict the training mean of the sample's place and month, or else of the month, or else of all."""
    keys = {name: climate_keys(side) for name, side in (("train", train), ("test", test))}
    found = np.full(len(test), _mean(train.target))
    for columns in (["month"], ["place", "month"]):
        if not set(columns) <= set(keys["train"]):
            continue
        means = pd.Series(train.target).groupby([keys["train"][name] for name in columns]).mean()
        wanted = (
            keys["test"][columns[0]]
            if len(columns) == 1
            else pd.MultiIndex.from_arrays([keys["test"][c] for c in columns])
        )
        finer = np.asarray(means.reindex(wanted), dtype=np.float64)
        found = np.where(np.isfinite(finer), finer, found)
    return found


def climate_keys(table: Table) -> dict[str, np.ndarray]:
    """Return by what a climatology tells samples apart: the month, and the place where there is one."""
    time = table.time
    keys: dict[str, np.ndarray] = {}
    if time is not None and time.dtype == object:
        keys["month"] = np.array([stamp.month for stamp in time])
    elif time is not None and time.dtype.kind == "M":
        keys["month"] = time.astype("datetime64[M]").astype(int) % 12 + 1
    else:
        keys["month"] = np.ones(len(table), dtype=int)
    if table.place is not None:
        lat, lon = (np.rint(1e4 * np.nan_to_num(part)).astype(np.int64) for part in table.place)
        keys["place"] = lat * 10_000_000 + lon
    return keys


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    if not known.size:
        raise DataError("training must have a known target, got none")
    return float(known.mean())


def _fit_with(make: Callable[[], Any]) -> Fit:
    """Turn a scikit-learn regressor into a fit: on known training targets, by the features."""

    def fit(train: Table) -> Callable[[Table], np.ndarray]:
        if not train.columns.features:
            raise ConfigError("data.columns.features must be named for a learned baseline, got none")
        known = np.isfinite(train.target)
        model = make().fit(train.features[known], train.target[known])
        return lambda test: np.asarray(model.predict(test.features), dtype=np.float64)

    return fit


def _learn(fit: Fit) -> Learner:
    return lambda train, test: fit(train)(test)


def _linear() -> Any:
    from sklearn.linear_model import LinearRegression  # type: ignore[import-untyped]

    return _scaled(LinearRegression())


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV

    return _scaled(RidgeCV(alphas=np.logspace(-3, 4, 15)))


def _scaled(model: Any) -> Any:
    from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), model)


def _boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor  # type: ignore[import-untyped]

    return HistGradientBoostingRegressor(max_iter=100, random_state=0)


def _run_command(command: str) -> Learner:
    """Let a command predict: it reads two CSV files and writes one with the column ``prediction``."""
    missing = [name for name in ("{train}", "{test}", "{out}") if name not in command]
    if missing:
        raise ConfigError(f"baselines.command must hold {{train}}, {{test}} and {{out}}, got {command!r}")

    def learner(train: Table, test: Table) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: str(Path(folder) / f"{name}.csv") for name in ("train", "test", "out")}
            train.frame.to_csv(files["train"], index=False)
            test.frame.to_csv(files["test"], index=False)
            words = [word.format(**files) for word in shlex.split(command)]
            _execute(words)
            return _read_output(Path(files["out"]), len(test))

    return learner


def _execute(words: list[str]) -> None:
    try:
        # The command is the author's own, from the declaration, and no shell reads it.
        done = subprocess.run(words, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"baselines.command must run, got {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"baselines.command must exit with 0, got {done.returncode}: {last}")


def _read_output(path: Path, size: int) -> np.ndarray:
    if not path.is_file():
        raise DataError("baselines.command must write {out}, got no file")
    frame = pd.read_csv(path)
    if VALUE not in frame or len(frame) != size:
        raise DataError(
            f"baselines.command must write {size} rows of {VALUE!r}, got {len(frame)} of "
            f"{', '.join(map(str, frame))}"
        )
    return frame[VALUE].to_numpy(dtype=np.float64)


_FROM_ALL = {"persistence": persistence, "seasonal-naive": seasonal_naive}
#: Learners that are fitted once, and then predict as many tables as there are.
FITS: dict[str, Fit] = {
    "linear": _fit_with(_linear),
    "ridge": _fit_with(_ridge),
    "gbm": _fit_with(_boosting),
}
_LEARNERS: dict[str, Learner] = {
    "climatology": climatology,
    **{name: _learn(fit) for name, fit in FITS.items()},
}
