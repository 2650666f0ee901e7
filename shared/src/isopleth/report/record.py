"""The evaluation record: what a tool found, on which data, at what cost, and how to find it again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from isopleth import verify
from isopleth.errors import DataError
from isopleth.io.write import write_json
from isopleth.report.cost import Cost
from isopleth.report.provenance import Provenance
from isopleth.report.schema import SCHEMA_ID, validate

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What was learned from and what was tested on.

    Parameters
    ----------
    name : str
        Name of the data set.
    kind : {"real", "simulated"}
        Whether nature or a program made it. Every report says so in its first line.
    source : str
        Where it comes from: a package, an archive, a simulator with its settings.
    train, test : str
        The two sides of the split, in words: period, places, sample size.
    fingerprint : str
        ``sha256:`` and 64 hexadecimal digits, see `isopleth.report.fingerprint`.
    """

    name: str
    kind: Literal["real", "simulated"]
    source: str
    train: str
    test: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number of one metric for one variable in one stratum, beside its baselines.

    Parameters
    ----------
    metric, variable, units : str
        What was computed of what; units in UDUNITS spelling (``"m2 s-2"``, ``"1"`` for none).
    better : {"lower", "higher"}
        Which way is good.
    model : float
        The model's score. Finite: a score that cannot be computed is left out, not written as NaN.
    interval : (float, float), optional
        Low and high end of its 95 % interval.
    baselines : mapping of str to float
        The same score of each baseline on the same samples.
    stratum : mapping of str to str, float or bool
        Which part of the test data, such as ``{"lead_hours": 24, "basin": "WP"}``.
    n : int
        Number of independent samples behind it (days, storms), not of grid cells.
    """

    metric: str
    variable: str
    units: str
    better: Literal["lower", "higher"]
    model: float
    n: int
    interval: Interval | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)
    stratum: Mapping[str, str | float | bool] = field(default_factory=dict)

    @property
    def best_baseline(self) -> str | None:
        """Name of the hardest baseline to beat, None without baselines."""
        if not self.baselines:
            return None
        pick = min if self.better == "lower" else max
        return pick(self.baselines, key=lambda name: self.baselines[name])

    @property
    def skill(self) -> float | None:
        r"""Skill relative to the best baseline, positive where the model is better.

        .. math:: S = 1 - m / b \quad\text{(lower is better)}, \qquad S = m / b - 1 \quad\text{(higher)}

        None where the ratio means nothing: no baseline, a baseline of zero, or a negative score.
        """
        if self.best_baseline is None:
            return None
        best = self.baselines[self.best_baseline]
        if best <= 0 or self.model < 0:
            return None
        ratio = self.model / best
        gain = 1 - ratio if self.better == "lower" else ratio - 1
        return gain if math.isfinite(gain) else None

    @property
    def beats_baselines(self) -> bool | None:
        """Whether the interval lies wholly on the good (True) or bad (False) side of the best baseline.

        None where it does not: no interval, no baseline, or the baseline within the interval.
        """
        if self.best_baseline is None or self.interval is None:
            return None
        low, high = self.interval
        best = self.baselines[self.best_baseline]
        if low <= best <= high:
            return None
        return (high < best) == (self.better == "lower")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence that the paper makes, and whether these data bear it out.

    Parameters
    ----------
    claim : str
        The sentence.
    holds : bool or None
        True, False, or None: undecided at this size. A claim that does not hold is a result.
    evidence : str
        How it was tested: which samples, which interval.
    difference : float, optional
        The measured effect that the claim is about.
    interval : (float, float), optional
        Its 95 % interval.
    units : str
        Of the difference, in UDUNITS spelling; ``"1"`` for a pure number.
    """

    claim: str
    holds: bool | None
    evidence: str
    difference: float | None = None
    interval: Interval | None = None
    units: str = "1"

    @classmethod
    def judge(
        cls,
        claim: str,
        found: verify.Interval,
        *,
        better: Literal["lower", "higher"],
        evidence: str,
        units: str = "1",
    ) -> Self:
        """Decide a claim by the interval of a paired difference, model minus baseline.

        It holds if the interval lies wholly on the good side of zero, does not hold if it lies wholly on the
        bad side, and is undecided if it contains zero or could not be computed.

        Parameters
        ----------
        claim, evidence, units : str
        found : isopleth.verify.Interval
            Of scalars, such as from ``block_bootstrap(model, against=baseline, seed=0)``.
        better : {"lower", "higher"}
            Which sign of the difference is good.

        Examples
        --------
        >>> found = verify.block_bootstrap([0.9, 1.1, 1.0, 1.2], against=[2.0] * 4, seed=0, block=1)
        >>> Claim.judge("It errs less", found, better="lower", evidence="4 steps").holds
        True
        """
        low, high = found.ends
        value = float(found.value)
        if not all(map(math.isfinite, (low, value, high))):
            return cls(claim=claim, holds=None, evidence=evidence, units=units)
        holds = None if low <= 0 <= high else (high < 0) == (better == "lower")
        return cls(
            claim=claim, holds=holds, evidence=evidence, difference=value, interval=(low, high), units=units
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything a tool says about itself; `write_evaluation` puts it into ``evaluation.json``."""

    tool: str
    version: str
    task: str
    data: DataCard
    cost: Cost
    provenance: Provenance
    scores: Sequence[Score] = ()
    claims: Sequence[Claim] = ()

    def __post_init__(self) -> None:
        for name in ("scores", "claims"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON holds it: plain types, keys in DESIGN's order."""
        return {name: _plain(value) for name, value in self._ordered()}

    def _ordered(self) -> list[tuple[str, Any]]:
        names = ("tool", "version", "task", "data", "scores", "claims", "cost", "provenance")
        return [("schema", SCHEMA_ID), *((name, getattr(self, name)) for name in names)]

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], *, where: object = None) -> Self:
        """Build the record from parsed JSON.

        Raises
        ------
        DataError
            If it is not a record, naming the JSON path.
        """
        validate(record, where=where)
        return cls(
            tool=record["tool"],
            version=record["version"],
            task=record["task"],
            data=DataCard(**record["data"]),
            scores=tuple(Score(**_with_interval(score)) for score in record["scores"]),
            claims=tuple(Claim(**_with_interval(claim)) for claim in record["claims"]),
            cost=Cost(**record["cost"]),
            provenance=Provenance(**record["provenance"]),
        )


def write_evaluation(evaluation: Evaluation, path: str | Path) -> Path:
    """Write ``evaluation.json``, whole or not at all.

    Parameters
    ----------
    evaluation : Evaluation
        The record; NaN and infinity are refused.
    path : str or Path
        The file, or an existing folder, which gets ``evaluation.json``.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    DataError
        If the record breaks the schema, naming the JSON path.
    """
    target = _record_path(path)
    record = evaluation.to_dict()
    validate(record, where=target)
    write_json(target, record)
    return target


def read_evaluation(path: str | Path) -> Evaluation:
    """Read ``evaluation.json`` (or the folder that holds it).

    Raises
    ------
    DataError
        If the file is missing, is not JSON, or breaks the schema.
    """
    source = _record_path(path)
    try:
        record = json.loads(source.read_bytes().decode("utf-8"), object_pairs_hook=_refuse_duplicates)
    except OSError as error:
        raise DataError(
            f"the evaluation record cannot be read: {error.strerror}",
            where=source,
            hint="the tool's evaluate or demo command writes it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"the evaluation record must be JSON, got {error}", where=source) from error
    return Evaluation.from_dict(record, where=source)


def find_evidence(package: str) -> Path | None:
    """Find the record of a tool's full demo that ships in its package, None if there is none."""
    path = Path(str(resources.files(package) / "evidence" / "evaluation.json"))
    return path if path.is_file() else None


def _record_path(path: str | Path) -> Path:
    path = Path(path)
    return path / "evaluation.json" if path.is_dir() else path


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return record


def _with_interval(item: Mapping[str, Any]) -> dict[str, Any]:
    interval = item["interval"]
    return {**item, "interval": None if interval is None else tuple(interval)}


def _plain(value: Any) -> Any:
    """Turn dataclasses, tuples and numpy scalars into what JSON has."""
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0):
        return value.item()
    return value
