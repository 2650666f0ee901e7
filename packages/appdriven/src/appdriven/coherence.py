"""Whether numbers that stand side by side can all be true: a table that contradicts itself is red."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from isopleth.report import Evaluation

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Check:
    """One thing that must be so, whether it is, and what was seen."""

    name: str
    passed: bool
    finding: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is reported of one method on one set of samples.

    Parameters
    ----------
    method : str
    values : mapping of str to float
        Metrics by name, as reported.
    frames : int, optional
        How many frames, days or storms it was scored on.
    mask : str, optional
        Hash of which samples were scored.
    data_range : float, optional
        Span of the values, which PSNR rests on.
    finite : float, optional
        Share of the samples with a truth that it predicted.
    """

    method: str
    values: Mapping[str, float] = field(default_factory=dict)
    frames: int | None = None
    mask: str | None = None
    data_range: float | None = None
    finite: float | None = None


def check_summaries(
    rows: Sequence[Summary], *, tolerance: float = 1e-3, max_missing: float = 0.0
) -> list[Check]:
    r"""Check a table of methods for contradictions.

    The mean over frames of the PSNR cannot be below the PSNR of the mean squared error, because minus the
    logarithm is convex (Jensen's inequality):

    .. math:: \overline{\mathrm{PSNR}} \ge 10 \log_{10} (R^2 / \overline{\mathrm{MSE}})

    and for any errors :math:`|\mathrm{bias}| \le \mathrm{MAE} \le \mathrm{RMSE} = \sqrt{\mathrm{MSE}}`.

    Parameters
    ----------
    rows : sequence of Summary
        Of methods that are compared with each other.
    tolerance : float
        Relative, for numbers that were rounded for print; of a PSNR, 0.05 dB.
    max_missing : float
        Share of predictions that may be missing.
    """
    checks = [check for row in rows for check in _check_row(row, tolerance)]
    checks += _check_equal(rows, "frames", "All methods are scored on the same number of frames")
    checks += _check_equal(rows, "mask", "All methods are scored on the same samples")
    known = [row for row in rows if row.finite is not None]
    for row in known:
        share = 1 - (row.finite or 0.0)
        checks.append(
            Check(
                "Predictions are there where there is a truth",
                share <= max_missing + _ROUNDING,
                f"{row.method}: {share:.2%} missing, {max_missing:.2%} allowed",
            )
        )
    return checks


def _check_row(row: Summary, tolerance: float) -> list[Check]:
    values, checks = row.values, []
    mse = values.get("mse", values["rmse"] ** 2 if "rmse" in values else None)
    if "psnr" in values:
        checks += _check_psnr(row, mse)
    if {"mse", "rmse"} <= set(values):
        near = abs(values["rmse"] ** 2 - values["mse"]) <= 2 * tolerance * abs(values["mse"]) + _ROUNDING**2
        checks.append(
            Check("RMSE² is MSE", near, f"{row.method}: {values['rmse']:.4g}² and {values['mse']:.4g}")
        )
    checks += _check_order(row, "mae", "rmse", tolerance)
    checks += _check_order(row, "absolute_bias", "mae", tolerance)
    checks += _check_order(row, "bias", "mae", tolerance)
    for name, (low, high) in _LIMITS.items():
        if name in values:
            inside = low - _ROUNDING <= values[name] <= high + _ROUNDING
            checks.append(Check(f"{name} lies in its range", inside, f"{row.method}: {values[name]:.4g}"))
    return checks


_LIMITS = {
    "ssim": (-1.0, 1.0),
    "acc": (-1.0, 1.0),
    "brier": (0.0, 1.0),
    "coverage": (0.0, 1.0),
    "r2": (-np.inf, 1.0),
    "csi": (0.0, 1.0),
    "hit_rate": (0.0, 1.0),
    "false_alarm_ratio": (0.0, 1.0),
    "mse": (0.0, np.inf),
    "rmse": (0.0, np.inf),
    "mae": (0.0, np.inf),
}


def _check_psnr(row: Summary, mse: float | None) -> list[Check]:
    declared = Check(
        "The data range behind PSNR is declared",
        row.data_range is not None,
        f"{row.method}: {row.data_range}",
    )
    if row.data_range is None or mse is None:
        return [declared]
    least = 10 * np.log10(row.data_range**2 / mse) if mse > 0 else np.inf
    finding = f"{row.method}: {row.values['psnr']:.2f} dB, at least {least:.2f} dB by its MSE of {mse:.4g}"
    return [
        declared,
        Check("PSNR is at least that of the mean MSE", row.values["psnr"] >= least - 0.05, finding),
    ]


def _check_order(row: Summary, lower: str, upper: str, tolerance: float) -> list[Check]:
    if not {lower, upper} <= set(row.values):
        return []
    small, large = abs(row.values[lower]), row.values[upper]
    finding = f"{row.method}: {small:.4g} and {large:.4g}"
    return [
        Check(f"{lower} is no more than {upper}", small <= large * (1 + tolerance) + _ROUNDING**2, finding)
    ]


def _check_equal(rows: Sequence[Summary], name: str, sentence: str) -> list[Check]:
    found = {row.method: value for row in rows if (value := getattr(row, name)) is not None}
    if not found:
        return []
    if name == "mask":
        odd = [method for method, value in found.items() if value != next(iter(found.values()))]
        words = f"{', '.join(odd)} on others" if odd else f"{len(found)} methods"
    else:
        words = ", ".join(f"{method} {value}" for method, value in found.items())
        words = words if len(set(found.values())) > 1 else f"{next(iter(found.values()))} each"
    return [Check(sentence, len(set(found.values())) == 1, words)]


def check_evaluation(evaluation: Evaluation, *, ranges: Mapping[str, float] | None = None) -> list[Check]:
    """Check any tool's record: scores of one variable and stratum must not contradict each other.

    Parameters
    ----------
    evaluation : Evaluation
    ranges : mapping of str to float, optional
        The data range behind the PSNR of each variable; the PSNR of others is said not to be checked.
    """
    spans = dict(ranges or {})
    tables: dict[tuple[object, ...], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    checks, unchecked = [], {}
    for score in evaluation.scores:
        place: tuple[object, ...] = (score.variable, *sorted(map(str, score.stratum.items())))
        metric = score.metric.lower()
        if metric == "psnr" and score.variable not in spans:
            unchecked[score.variable] = True
            continue
        for method, value in {"model": score.model, **score.baselines}.items():
            tables[place][method][metric] = value
        if score.interval is not None:
            inside = score.interval[0] <= score.model <= score.interval[1]
            low, high = score.interval
            finding = f"{score.metric} of {score.variable}: {score.model:.4g} in [{low:.4g}, {high:.4g}]"
            checks.append(Check("A score lies in its own interval", inside, finding))
    for place, methods in tables.items():
        rows = [
            Summary(method=f"{method} ({place[0]})", values=values, data_range=spans.get(str(place[0])))
            for method, values in methods.items()
        ]
        checks += check_summaries(rows)
    if unchecked:
        checks.append(
            Check(
                "PSNR is left unchecked where its data range is not declared",
                passed=True,
                finding=", ".join(unchecked),
            )
        )
    return summarise(checks)


def summarise(checks: Iterable[Check]) -> list[Check]:
    """Keep every violation, and one line for all that passed under one name."""
    by_name: dict[str, list[Check]] = defaultdict(list)
    for check in checks:
        by_name[check.name].append(check)
    lines = []
    for name, found in by_name.items():
        failed = [check for check in found if not check.passed]
        some = found[0].finding if len(found) == 1 else f"{len(found)} times"
        lines += failed or [Check(name, passed=True, finding=some)]
    return lines
