# entry() declares a dataclass field, as dataclasses.field does: no call is shared between instances.
# ruff: noqa: RUF009
"""The declaration of an application: what is decided by a model, for whom, at what cost of being wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from appdriven.schema import Unknown, build, entry, find_problems, to_plain
from isopleth.config import check_fraction, check_positive
from isopleth.errors import ConfigError, DataError

Text = str | Unknown
Number = float | Unknown
Texts = tuple[str, ...] | Unknown


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is predicted, and the decision that it feeds."""

    summary: str = entry("What is predicted, in one sentence?")
    decision: Text = entry("Which decision does the prediction feed?")
    decided_by: Text = entry("Who takes that decision?")
    affected: Texts = entry("Who is affected by it, whether or not they were asked?")
    deployment_unit: Text = entry("For what is one prediction made: a storm, a field, a day, a patient?")
    variable: str = entry("What is the target called?")
    units: str = entry("In which units (UDUNITS spelling, 1 for none)?")
    lead: Text = entry("How far ahead (24h, 30D), or 0 for an estimate of the present?")
    range: tuple[float, float] | Unknown = entry("Between which values can the target lie?")

    def __post_init__(self) -> None:
        if isinstance(self.lead, str) and not re.fullmatch(r"\d+(\.\d+)?\s*[A-Za-z]*", self.lead):
            raise ConfigError(f"lead must be a duration such as 24h, or 0, got {self.lead!r}")
        if not isinstance(self.range, Unknown) and self.range[0] >= self.range[1]:
            raise ConfigError(f"range must run from low to high, got {list(self.range)}")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a table, or variables of a grid, hold what."""

    target: str = entry("Which column is the truth?")
    time: str | None = entry("Which column is the time that a prediction is for?", None)
    lat: str | None = entry("Which column is the latitude, degrees north?", None)
    lon: str | None = entry("Which column is the longitude, degrees east?", None)
    group: str | None = entry("Which column names what stands or falls together: storm, site, patient?", None)
    weight: str | None = entry(
        "Which column weighs a sample? A grid weighs by area without being asked.", None
    )
    persistence: str | None = entry(
        "Which column holds the last value known when the prediction is made?", None
    )
    split: str | None = entry("Which column says train or test, where the split is given?", None)
    features: tuple[str, ...] = entry("Which columns may a model look at?", ())


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data, and how to know them again."""

    name: str = entry("What is the data set called?")
    kind: Literal["real", "simulated"] = entry("Did nature or a program make it (real, simulated)?")
    source: Text = entry("Where does it come from?")
    licence: Text = entry("Under which licence?")
    fingerprint: Text = entry("sha256 of the file, as `appdriven check APPLICATION --data FILE` prints it?")
    columns: Columns | Unknown = entry("Which columns hold what?")
    samples: str | None = entry("Which file of a run directory holds the samples?", None)
    predictions: str | None = entry("Which file of a run directory holds the predictions?", None)


@dataclass(frozen=True, kw_only=True)
class Event:
    """What triggers the decision: the target beyond a threshold."""

    threshold: float = entry("Beyond which value of the target does one act?")
    direction: Literal["above", "below"] = entry("Does one act above or below it?", "above")


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What each outcome of the decision costs, in one currency."""

    hit: float = entry("What does it cost to act when the event comes?")
    miss: float = entry("What does it cost not to act when the event comes?")
    false_alarm: float = entry("What does it cost to act when it does not come?")
    correct_negative: float = entry("What does it cost not to act when it does not come?", 0.0)

    def __post_init__(self) -> None:
        if self.miss <= self.hit or self.false_alarm <= self.correct_negative:
            raise ConfigError(
                "acting must pay when the event comes and cost when it does not, got "
                f"miss {self.miss:g}, hit {self.hit:g}, false_alarm {self.false_alarm:g}, "
                f"correct_negative {self.correct_negative:g}"
            )


@dataclass(frozen=True, kw_only=True)
class Harms:
    """What goes wrong when the model is wrong."""

    description: Text = entry("What harm does a wrong prediction do, and to whom?")
    event: Event | None = entry("Which event triggers the decision?", None)
    costs: Costs | Unknown = entry("What do hits, misses and false alarms cost?")


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What a model must keep to where it is used."""

    latency_seconds: Number = entry("Within how many seconds must all test predictions be there?")
    memory_mb: Number = entry("In how many MiB must it run?")
    max_missing: float = entry("Which share of predictions may be missing?", 0.0)
    notes: Text = entry("What else binds: connectivity, skills, law?")

    def __post_init__(self) -> None:
        check_fraction(max_missing=self.max_missing)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A metric, and the value that those concerned ask for."""

    name: str = entry("Which metric?")
    threshold: Number = entry("Which value is good enough for the decision?")
    set_by: Text = entry("Who set that value?")
    better: Literal["lower", "higher"] | None = entry(
        "Which direction is better? Only for a metric that a tool's own record has.", None
    )
    where: Mapping[str, str | float | bool] | None = entry(
        "In which stratum of a tool's record does it stand ({lead_hours = 24})?", None
    )

    @property
    def is_own(self) -> bool:
        """Whether only a tool's own record has this metric: none of those that are computed here."""
        return self.better is not None

    def __post_init__(self) -> None:
        from appdriven.metrics import METRIC_NAMES

        if self.better is None and self.name not in METRIC_NAMES:
            raise ConfigError(
                f"the metric must be one of {', '.join(METRIC_NAMES)}, got {self.name!r}; one of a "
                "tool's own record says which direction is better"
            )
        if self.better is not None and self.name in METRIC_NAMES:
            raise ConfigError(f"better must be left out for {self.name}, which is known, got {self.better!r}")


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What counts, and what must not get worse meanwhile."""

    primary: Goal = entry("Which one metric decides?")
    guard: tuple[Goal, ...] | Unknown = entry("Which metrics must hold besides?")
    level: float = entry("What do the columns lower and upper of the predictions claim to cover?", 0.9)

    def __post_init__(self) -> None:
        check_fraction(level=self.level)


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What would be done without the model."""

    domain: tuple[str, ...] = entry(
        "What does the domain do without learning (persistence, climatology, ...)?"
    )
    learned: Texts = entry("Which cheap learners must be beaten (linear, ridge, gbm)?")
    command: str | None = entry(
        "Which command predicts as current practice does ({train} {test} {out})?", None
    )


@dataclass(frozen=True, kw_only=True)
class Splits:
    """How training and test are kept apart as deployment will keep them apart."""

    kind: Literal["time", "forward", "holdout", "space", "group", "space-time", "column", "random"] = entry(
        "Which split is like the deployment?"
    )
    reason: Text = entry("Why is that split like the deployment?")
    n: int = entry("How many folds?", 5)
    embargo: str | float = entry("What distance in time must lie between training and test (30D)?", 0.0)
    start: str | None = entry("From when on does a holdout test?", None)
    block_km: float | Literal["variogram"] = entry("How large are blocks of space, km?", "variogram")
    buffer_km: float | Literal["variogram"] = entry(
        "What distance must lie between training and test, km?", 0.0
    )
    seed: int = entry("Of the dealing of blocks to folds?", 0)
    acknowledge_leakage: bool = entry(
        "Is a random split wanted although neighbours are alike?", default=False
    )


@dataclass(frozen=True, kw_only=True)
class Subgroups:
    """Whose errors are looked at on their own."""

    columns: Texts = entry("By which columns are errors told apart: region, season, group of people?")
    minimum: int = entry("From how many independent samples on is a subgroup scored?", 20)

    def __post_init__(self) -> None:
        if self.minimum < 2:
            raise ConfigError(f"minimum must be at least 2, got {self.minimum}")


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """How intervals are made."""

    over: Literal["time", "group", "space-time"] = entry("What is resampled: times, groups, blocks of both?")
    block: int | Literal["auto"] = entry("How many steps of time make a block?", "auto")
    tile_km: float | Literal["variogram"] = entry("How large are the resampled blocks of space?", "variogram")
    draws: int = entry("How many draws?", 1000)
    level: float = entry("Which probability of intervals?", 0.95)
    seed: int = entry("Of the draws?", 0)

    def __post_init__(self) -> None:
        check_fraction(level=self.level)
        check_positive(draws=self.draws)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may be spent."""

    train_seconds: Number = entry("How many seconds may training take?")
    predict_seconds: Number = entry("How many seconds may predicting take?")
    parameters: Number = entry("How many parameters may it have?")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What the model is not for."""

    out_of_scope: Texts = entry("Which uses are ruled out?")


@dataclass(frozen=True, kw_only=True)
class Application:
    """All that must be said before a model is judged.

    Parameters
    ----------
    name : str
    task, data, harms, constraints, metrics, baselines, splits, subgroups, uncertainty, budget, scope
        The sections of ``application.toml``, see the classes of these names.
    """

    name: str = entry("What is the application called?")
    task: Task = entry("What is predicted, and for which decision?")
    data: Data = entry("On which data?")
    harms: Harms = entry("What harm can it do?")
    constraints: Constraints = entry("What must it keep to?")
    metrics: Metrics = entry("By what is it judged?")
    baselines: Baselines = entry("Against what?")
    splits: Splits = entry("On which split?")
    subgroups: Subgroups = entry("For whom separately?")
    uncertainty: Uncertainty = entry("With which uncertainty?")
    budget: Budget = entry("At what cost?")
    scope: Scope = entry("What is it not for?")

    def __post_init__(self) -> None:
        if not isinstance(self.data.columns, Unknown):
            self._check_columns(self.data.columns)

    @property
    def columns(self) -> Columns:
        """Which columns hold what.

        Raises
        ------
        ConfigError
            If the declaration does not know: then only a tool's own record can be judged by it.
        """
        if isinstance(self.data.columns, Unknown):
            raise ConfigError(
                f"data.columns must be known for samples to be read, got {str(self.data.columns)!r}",
                hint="a tool's run is judged by its own record: appdriven evaluate RUN --tool TOOL",
            )
        return self.data.columns

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What is asked for, the primary metric first, each name once."""
        guard = () if isinstance(self.metrics.guard, Unknown) else self.metrics.guard
        return tuple({goal.name: goal for goal in (self.metrics.primary, *guard)}.values())

    def _check_columns(self, columns: Columns) -> None:
        kind = self.splits.kind
        needed: dict[str, tuple[str, ...]] = {
            "space": ("lat", "lon"),
            "space-time": ("lat", "lon", "time"),
            "group": ("group",),
            "column": ("split",),
            **dict.fromkeys(("time", "forward", "holdout"), ("time",)),
        }
        needed_too = {"time": ("time",), "group": ("group",), "space-time": ("lat", "lon", "time")}
        wanted = dict.fromkeys((*needed.get(kind, ()), *needed_too[self.uncertainty.over]))
        missing = [name for name in wanted if getattr(columns, name) is None]
        if missing:
            raise ConfigError(
                f"data.columns must name {', '.join(missing)} for splits.kind {kind!r} and uncertainty.over "
                f"{self.uncertainty.over!r}, got none"
            )
        if kind == "holdout" and self.splits.start is None:
            raise ConfigError("splits.start must say when a holdout begins, got nothing")

    @classmethod
    def load(cls, path: str | Path) -> Application:
        """Read ``application.toml``.

        Raises
        ------
        DataError
            If the file cannot be read as TOML.
        ConfigError
            If a key is unknown, blank or of the wrong kind; names it.
        """
        return build(cls, read_toml(path), where=path)

    @classmethod
    def from_dict(cls, content: Any, *, where: object = None) -> Application:
        """Build a declaration from what `to_dict` returned."""
        return build(cls, content, where=where)

    def to_dict(self) -> dict[str, Any]:
        """Return the declaration as plain types."""
        return dict(to_plain(self))


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file, or say in one line why it is none."""
    try:
        content = tomllib.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise DataError(
            f"the declaration cannot be read: {error.strerror}",
            where=path,
            hint="`appdriven init` writes one",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the declaration must be TOML, got {error}", where=path) from error
    if not content:
        raise DataError("the declaration must not be empty", where=path, hint="`appdriven init` writes one")
    return content


def check_application(path: str | Path) -> list[str]:
    """List every problem of a declaration; none if it is whole."""
    return find_problems(Application, read_toml(path))


def list_unknowns(content: object, path: str = "") -> list[tuple[str, str]]:
    """List what a declaration admits not to know: dotted key and reason."""
    if isinstance(content, Unknown):
        return [(path, content.reason)]
    if isinstance(content, str) and content.startswith("unknown:"):
        return [(path, content.removeprefix("unknown:").strip())]
    if isinstance(content, dict):
        return [
            found
            for key, item in content.items()
            for found in list_unknowns(item, f"{path}.{key}".lstrip("."))
        ]
    if isinstance(content, list):
        return [
            found for number, item in enumerate(content) for found in list_unknowns(item, f"{path}[{number}]")
        ]
    return []
