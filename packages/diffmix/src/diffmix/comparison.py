"""From outcomes to a table and to verdicts; the two cells that decide were fixed before the first run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from diffmix.study import SHIFTS, Outcome, Study
from isopleth.report import Claim, Score
from isopleth.verify import Interval, student_interval

OURS = "diffmix"
# The two cells that were named beforehand: probe and strength of augmentation.
PRIMARY, SECONDARY = ("few-shot", 0.0), ("linear", 1.0)
# What is claimed, of which two arms, in which cell.
_CLAIMS: tuple[tuple[str, tuple[str, str], tuple[str, float]], ...] = (
    (
        "Primary: without augmentation, diffmix gives a better five-shot probe than real views",
        (OURS, "real"),
        PRIMARY,
    ),
    (
        "Secondary: with full augmentation, diffmix gives a better linear probe than real views",
        (OURS, "real"),
        SECONDARY,
    ),
    (
        "It is the pairing: without augmentation, diffmix beats the same images pooled (five-shot)",
        (OURS, "pool"),
        PRIMARY,
    ),
    (
        "It takes a generator: without augmentation, diffmix beats pairs of neighbours in pixels (five-shot)",
        (OURS, "neighbour"),
        PRIMARY,
    ),
    (
        "Synthetic images alone are worse than real ones (linear probe, full augmentation)",
        ("real", "synthetic"),
        SECONDARY,
    ),
)
_CELLS = {"few-shot": "five-shot probe", "linear": "linear probe", "k-NN": "k-NN"}


def select(study: Study, name: str, augmentation: float, *, strength: float | None = None) -> list[Outcome]:
    """Give an arm's outcomes in order of their seeds.

    Parameters
    ----------
    study : Study
    name : str
        As `Outcome.name`.
    augmentation : float
    strength : float, optional
        Of variations; by default that of arms which name none.
    """
    found = [
        each
        for each in study.outcomes
        if each.name == name
        and each.augmentation == augmentation
        and (each.arm.strength is None if strength is None else each.strength == strength)
    ]
    return sorted(found, key=lambda each: each.seed)


def list_names(study: Study) -> list[str]:
    """List the arms in their order, ours first."""
    names = list(dict.fromkeys(each.name for each in study.outcomes if each.arm.strength is None))
    return [OURS, *(name for name in names if name != OURS)]


def score_study(study: Study) -> tuple[Score, ...]:
    """Make the table: every probe, test set and augmentation, and the label agreement of every strength."""
    augmentations = sorted({each.augmentation for each in study.outcomes})
    probes = list(dict.fromkeys(probe for probe, _ in study.outcomes[0].accuracy))
    scores = [
        _score(study, probe, images, augmentation)
        for augmentation in augmentations
        for probe in probes
        for images in SHIFTS
        if select(study, OURS, augmentation)
    ]
    return (*scores, *_score_strengths(study))


def judge_study(study: Study) -> tuple[Claim, ...]:
    """Decide what the paper claims of pairs, and what it does not measure, by differences paired by seed."""
    shifted = tuple(name for name, change in SHIFTS.items() if change)
    claims = [_judge(study, sentence, *sides, cell) for sentence, sides, cell in _CLAIMS]
    on_shifted = (
        "Without augmentation, diffmix is better than real views on images with noise or turned (five-shot)"
    )
    claims.append(_judge(study, on_shifted, OURS, "real", PRIMARY, images=shifted))
    return tuple(claim for claim in (*claims, _judge_strength(study)) if claim is not None)


def measure(outcome: Outcome, probe: str, images: Sequence[str] = ("clean",)) -> float:
    """Give an outcome's accuracy, a mean over test sets."""
    return float(np.mean([outcome.accuracy[probe, name] for name in images]))


def _judge(
    study: Study,
    sentence: str,
    ours: str,
    other: str,
    cell: tuple[str, float],
    *,
    images: Sequence[str] = ("clean",),
) -> Claim | None:
    probe, augmentation = cell
    mine, theirs = (select(study, name, augmentation) for name in (ours, other))
    if not mine or not theirs:
        return None
    return decide(sentence, _differences(mine, theirs, lambda each: measure(each, probe, images)))


def _judge_strength(study: Study) -> Claim | None:
    """Ask whether the strongest variation is worse than the one that was chosen."""
    probe, augmentation = PRIMARY
    strengths = [
        each.strength for each in study.outcomes if each.name == OURS and each.arm.strength is not None
    ]
    chosen = select(study, OURS, augmentation)
    if not strengths or max(strengths) <= chosen[0].strength:
        return None
    strongest = select(study, OURS, augmentation, strength=max(strengths))
    if not strongest:
        return None
    return decide(
        f"Variations of strength {max(strengths):g} lose labels and are worse than those of "
        f"{chosen[0].strength:g} "
        "(five-shot probe, no augmentation)",
        _differences(chosen, strongest, lambda each: measure(each, probe)),
    )


def decide(sentence: str, differences: Sequence[float]) -> Claim:
    """Judge by Student's interval over seeds of paired differences in percentage points."""
    count = len(differences)
    evidence = f"accuracy, paired by seed, {count} seed{'s' if count > 1 else ', which decides nothing'}"
    if count < 2:
        return Claim(claim=sentence, holds=None, evidence=evidence, difference=differences[0], units="%")
    return Claim.judge(sentence, student_interval(differences), better="higher", evidence=evidence, units="%")


def _differences(
    mine: Sequence[Outcome], theirs: Sequence[Outcome], value: Callable[[Outcome], float]
) -> list[float]:
    other = {each.seed: value(each) for each in theirs}
    return [value(each) - other[each.seed] for each in mine if each.seed in other]


def _score(study: Study, probe: str, images: str, augmentation: float) -> Score:
    rows = {name: select(study, name, augmentation) for name in list_names(study)}
    means = {
        name: float(np.mean([each.accuracy[probe, images] for each in own]))
        for name, own in rows.items()
        if own
    }
    own = [each.accuracy[probe, images] for each in rows[OURS]]
    found: Interval | None = student_interval(own) if len(own) > 1 else None
    return Score(
        metric="accuracy", variable=_CELLS.get(probe, probe), units="%", better="higher",
        model=means.pop(OURS), baselines=means, n=len(own), interval=found.ends if found else None,
        stratum={"augmentation": name_strength(augmentation), "images": images},
    )  # fmt: skip


def _score_strengths(study: Study) -> list[Score]:
    strengths = sorted({strength for strength, _ in study.agreement})
    by_strength = {
        strength: [value for (each, _), value in study.agreement.items() if each == strength]
        for strength in strengths
    }
    ceiling = float(np.mean(by_strength[0.0]))
    return [
        Score(
            metric="label agreement", variable="twins", units="%", better="higher",
            model=float(np.mean(by_strength[strength])), baselines={"the images themselves": ceiling},
            stratum={"strength": strength}, n=len(by_strength[strength]),
        )
        for strength in strengths
        if strength
    ]  # fmt: skip


def name_strength(augmentation: float) -> str:
    """Name a strength of augmentation."""
    return {0.0: "none", 1.0: "full"}.get(augmentation, f"{augmentation:g}")
