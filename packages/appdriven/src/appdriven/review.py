"""A reviewer's checklist: what the software verified, what the author states, what is missing."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from appdriven.schema import build
from isopleth.errors import ConfigError

if TYPE_CHECKING:
    from appdriven.card.record import Card


@dataclass(frozen=True, kw_only=True)
class Question:
    """One item of a profile.

    Parameters
    ----------
    text : str
        In our own words.
    stated : tuple of str
        Dotted keys of the declaration that answer it.
    verified : str, optional
        Name of the check by which software can see that it is so.
    """

    text: str
    stated: tuple[str, ...] = ()
    verified: str | None = None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A checklist after a published guideline.

    Parameters
    ----------
    title, source, link : str
    items : tuple of Question
    """

    title: str
    source: str
    link: str
    items: tuple[Question, ...]


@dataclass(frozen=True)
class Item:
    """An item, and how it stands."""

    text: str
    status: Literal["verified", "stated", "missing"]
    finding: str


def _load_profiles() -> dict[str, Profile]:
    folder = resources.files("appdriven").joinpath("profiles")
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name
    )
    found = {}
    for entry in files:
        content = tomllib.loads(entry.read_text("utf-8"))
        found[entry.name.removesuffix(".toml")] = build(Profile, content, where=entry.name)
    return {name: found[name] for name in ("use-inspired", "reforms", "dome")}


PROFILES = _load_profiles()


def review(card: Card, profile: str = "use-inspired") -> list[Item]:
    """Go through a checklist.

    An item is verified only where the software saw it in the card; stated where the author wrote it down;
    else missing. What the author writes never counts as verified, and no sum is made of the items.

    Parameters
    ----------
    card : Card
    profile : {"use-inspired", "reforms", "dome"}
    """
    if profile not in PROFILES:
        raise ConfigError(f"the profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    return [_judge(card, question) for question in PROFILES[profile].items]


def _judge(card: Card, question: Question) -> Item:
    seen = "" if question.verified is None else _CHECKS[question.verified](card)
    if seen and not seen.startswith("not "):
        return Item(question.text, "verified", seen)
    said = {key: answer for key in question.stated if (answer := _answer(card.application, key)) is not None}
    if said:
        return Item(question.text, "stated", "; ".join(f"{key}: {answer}" for key, answer in said.items()))
    return Item(question.text, "missing", seen or f"not stated: {', '.join(question.stated)}")


def _answer(application: Mapping[str, Any], key: str) -> str | None:
    """Return what a declaration says, None where it says nothing or that nobody knows."""
    value: Any = application
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return None if text.startswith("unknown:") or not text else text


def _has_baselines(card: Card) -> str:
    names = {name for score in card.record.scores for name in score.baselines}
    if not names:
        return "not scored beside any baseline"
    declared = card.application.get("baselines", {})
    wanted = [name for key in ("domain", "learned") if isinstance(declared.get(key), list | tuple)
              for name in declared[key]]  # fmt: skip
    lacking = [name for name in wanted if name not in names]
    if lacking:
        return f"not scored beside {', '.join(lacking)}, which are declared"
    return f"scored beside {', '.join(sorted(names))}"


def _has_intervals(card: Card) -> str:
    scores = card.record.scores
    known = sum(score.interval is not None for score in scores)
    return f"{known} of {len(scores)} scores have intervals" if scores and known == len(scores) else (
        f"not every score has an interval ({known} of {len(scores)})"
    )  # fmt: skip


def _has_split(card: Card) -> str:
    if card.audit is None:
        return "not audited: the split itself was not at hand"
    problems = card.audit.get("problems") or []
    return (
        f"not apart: {'; '.join(problems)}"
        if problems
        else f"audited: {card.audit.get('kind') or 'no leak found'}"
    )


def _has_no_duplicates(card: Card) -> str:
    if card.audit is None:
        return "not looked for"
    count = card.audit.get("duplicate_count", 0)
    return f"not free of duplicates: {count}" if count else "no test sample stands in training"


def _has_statistics(card: Card) -> str:
    audit = card.audit or {}
    if audit.get("leaking_statistics"):
        return f"not apart: {', '.join(audit['leaking_statistics'])} saw the test"
    names = audit.get("checked_statistics") or []
    return f"the scaling of {', '.join(names)} is that of the training" if names else "not looked at"


def _is_coherent(card: Card) -> str:
    red = card.violations
    if not card.coherence:
        return "not checked"
    return f"not coherent: {red[0].name}" if red else f"{len(card.coherence)} checks hold"


def _has_fingerprint(card: Card) -> str:
    found = card.record.data.fingerprint
    declared = _answer(card.application, "data.fingerprint")
    if declared and declared.startswith("sha256:") and declared != found:
        return "not the declared data: the fingerprints differ"
    return f"{found[:19]}…"


def _has_provenance(card: Card) -> str:
    provenance = card.record.provenance
    return f"{provenance.command} (seed {provenance.seed}, {len(provenance.versions)} versions)"


def _has_subgroups(card: Card) -> str:
    strata = {key for score in card.record.scores for key in score.stratum}
    return f"scored by {', '.join(sorted(strata))}" if strata else "not scored by subgroup"


def _has_shift(card: Card) -> str:
    if card.shift is None:
        return "not measured"
    return f"separability {card.shift.separability:.2f}, {card.shift.applicable:.0%} applicable"


def _has_decision(card: Card) -> str:
    if card.decision is None:
        return "not weighed: no event with costs"
    return f"acting pays from {card.decision.break_even:.0%} on; expected costs are shown"


def _has_calibration(card: Card) -> str:
    return "not measured" if card.calibration is None else f"slope {card.calibration.slope:.2f}"


def _has_cost(card: Card) -> str:
    cost = card.record.cost
    spent = cost.train_seconds + cost.predict_seconds
    return f"{spent:.3g} s on {cost.device}" if spent else "not measured"


def _has_prediction_time(card: Card) -> str:
    spent = card.record.cost.predict_seconds
    return f"{spent:.3g} s for the test" if spent else "not measured"


def _keeps_constraints(card: Card) -> str:
    lines = [line for line in card.budget if line.name in ("latency (s)", "memory (MiB)")]
    broken = [line.name for line in lines if line.within is False]
    if broken:
        return f"not kept: {', '.join(broken)}"
    kept = [f"{line.name} {line.spent:.3g} of {line.allowed:.3g}" for line in lines if line.within]
    return "; ".join(kept) or "not measured against a limit"


def _has_claims(card: Card) -> str:
    claims = card.record.claims
    return f"{len(claims)} claims with verdicts" if claims else "not one claim was tested"


def _has_real_data(card: Card) -> str:
    return "real data" if card.record.data.kind == "real" else "not real data: simulated"


_CHECKS: dict[str, Callable[[Card], str]] = {
    "baselines": _has_baselines,
    "intervals": _has_intervals,
    "split": _has_split,
    "duplicates": _has_no_duplicates,
    "statistics": _has_statistics,
    "coherence": _is_coherent,
    "fingerprint": _has_fingerprint,
    "provenance": _has_provenance,
    "subgroups": _has_subgroups,
    "shift": _has_shift,
    "decision": _has_decision,
    "calibration": _has_calibration,
    "cost": _has_cost,
    "prediction_time": _has_prediction_time,
    "constraints": _keeps_constraints,
    "claims": _has_claims,
    "real_data": _has_real_data,
}
