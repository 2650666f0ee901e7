"""The card as one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appdriven.application import list_unknowns
from appdriven.card.curves import draw_curves
from appdriven.card.record import BudgetLine, Card, Comparison
from appdriven.coherence import Check
from appdriven.decisions import Decision
from appdriven.review import PROFILES, Item, review
from appdriven.shift import Shift
from isopleth.report.claims import render_claims
from isopleth.report.exhibit import Exhibit
from isopleth.report.markup import Child, Markup, document, tag
from isopleth.report.notation import (
    format_interval,
    format_number,
    format_percent,
    format_units,
    name_metric,
)
from isopleth.report.page import render_badge
from isopleth.report.scores import render_scores

# The house's classes for verdicts, put to use for what is so, what is not, and what nobody said.
_CHIPS = {True: ("holds", "✓"), False: ("does-not-hold", "✕"), None: ("undecided", "?")}
_STATUS: dict[str, bool | None] = {"verified": True, "stated": None, "missing": False}
_ABSENT = "\N{EN DASH}"


def render_page(card: Card) -> Markup:
    """Render a card; nothing is loaded from elsewhere and nothing is scored into one number.

    Parameters
    ----------
    card : Card
    """
    sections: dict[str, Child] = {
        "Coherence": _render_checks(card.coherence),
        "Baselines": _render_comparisons(card.comparisons),
        "Claims": render_claims([Exhibit(evaluation=card.record)]),
        "Scores": render_scores(card.record.scores),
        "Subgroups": _render_worst(card),
        "Decision": None if card.decision is None else _render_decision(card.decision),
        "Calibration": _render_calibration(card),
        "Split": None if card.audit is None else _render_audit(card.audit),
        "Shift": None if card.shift is None else _render_shift(card.shift),
        "Budget": _render_budget(card.budget),
        "Application": _render_application(card.application),
        "Checklist": [_render_profile(name, review(card, name)) for name in PROFILES],
    }
    shown = {title: content for title, content in sections.items() if content}
    body = [tag("section", tag("h2", title), content, id=title.lower()) for title, content in shown.items()]
    name = str(card.application.get("name", card.record.tool))
    return document(
        f"{name}: card",
        _render_header(card, name, list(shown)),
        tag("main", body),
        tag(
            "footer",
            tag("p", "Made by appdriven. This page loads nothing from elsewhere, and has no single score."),
        ),
    )


def _render_header(card: Card, name: str, titles: Sequence[str]) -> Markup:
    record = card.record
    links = [tag("a", title, href=f"#{title.lower()}") for title in titles]
    red = card.violations
    banner = None
    if red:
        banner = tag(
            "p",
            _chip(verdict=False, words="incoherent"),
            f" {len(red)} of the numbers below cannot all be true.",
        )
    task = card.application.get("task", {})
    return tag(
        "header",
        tag("p", render_badge(record.data), " ", record.data.name, class_="data-line"),
        tag("h1", name, " ", tag("small", f"judged by {record.tool} {record.version}")),
        tag("p", record.task, class_="task"),
        tag("p", "Decision: ", str(task.get("decision", "not stated")), class_="muted"),
        _render_headline(card),
        banner,
        tag("nav", links, aria_label="Sections"),
    )


def _render_headline(card: Card) -> Markup:
    head = card.headline
    if head is None:
        return tag(
            "p",
            _chip(verdict=False, words="compared with nothing"),
            " No baseline was scored.",
            class_="summary",
        )
    verdict = {"beats": True, "does not beat": False, "undecided": None}[head.verdict]
    ends = "" if head.interval is None else " to ".join(map(format_percent, head.interval))
    interval = tag("small", f" 95 % interval of the skill: {ends}") if ends else None
    return tag("p", _chip(verdict, words=head.verdict), f" {head.sentence}", interval, class_="summary")


def _chip(verdict: bool | None, words: str) -> Markup:
    name, sign = _CHIPS[verdict]
    return tag("span", tag("span", sign, class_="sign", aria_hidden="true"), words, class_=f"verdict {name}")


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Child]]) -> Markup:
    top = tag("thead", tag("tr", [tag("th", text, scope="col", class_="text") for text in head]))
    body = tag("tbody", [tag("tr", [tag("td", cell, class_="text") for cell in row]) for row in rows])
    table = tag("table", tag("caption", caption), top, body)
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _definitions(entries: Mapping[str, Child]) -> Markup:
    return tag("dl", [(tag("dt", name), tag("dd", value)) for name, value in entries.items()])


def _render_checks(checks: Sequence[Check]) -> Markup | None:
    """Show what is violated at once, and what holds on demand."""
    if not checks:
        return None
    red = [
        [_chip(verdict=False, words="violated"), check.name, check.finding]
        for check in checks
        if not check.passed
    ]
    fine = [[check.name, check.finding] for check in checks if check.passed]
    head = ["what must be so", "what was seen"]
    return tag(
        "div",
        _table("What cannot be true", ["", *head], red) if red else None,
        tag("details", tag("summary", f"{len(fine)} checks hold"), _table("What holds", head, fine))
        if fine
        else None,
    )


def _render_comparisons(comparisons: Sequence[Comparison]) -> Markup | None:
    if not comparisons:
        return None
    rows = [_comparison_row(one) for one in comparisons]
    head = ["metric", "baseline", "difference", "skill", "interval", "Diebold-Mariano", "independent times"]
    note = (
        f"Model minus baseline on the same draws; {len(comparisons)} comparisons are shown, so that about "
        "one in "
        "twenty intervals misses by chance. The statistic of Diebold and Mariano is of squared errors by "
        "time."
    )
    return tag("div", _table("The model beside its baselines", head, rows), tag("p", note, class_="legend"))


def _comparison_row(one: Comparison) -> list[Child]:
    ends = one.skill_interval
    return [
        name_metric(one.metric),
        one.baseline,
        f"{format_number(one.difference, 3)} {format_interval(one.interval, 3)}",
        _ABSENT if one.skill is None else format_percent(one.skill),
        _ABSENT if ends is None else " to ".join(map(format_percent, ends)),
        _ABSENT if one.diebold_mariano is None else format_number(one.diebold_mariano, 1),
        _ABSENT if one.effective is None else f"{one.effective:.0f} of {one.steps}",
    ]


def _render_worst(card: Card) -> Markup | None:
    if not card.worst:
        return None
    rows = [
        [one.column, one.group, one.metric, format_number(one.value, 3), format_number(one.overall, 3)]
        for one in card.worst
    ]
    return _table("The worst subgroup of each kind", ["by", "worst", "metric", "there", "over all"], rows)


def _render_decision(decision: Decision) -> Markup:
    rows = [
        [name, format_number(cost, 4), _ratios(decision, name)] for name, cost in
        sorted(decision.expected_cost.items(), key=lambda item: item[1])
    ]  # fmt: skip
    facts = _definitions(
        {
            "Event": f"{decision.event}, in {decision.base_rate:.1%} of the samples",
            "Acting pays": f"from a probability of {decision.break_even:.1%} on",
        }
    )
    curve = draw_curves(
        decision.thresholds, decision.net_benefit, x="probability threshold", y="net benefit", floor=-0.02
    )
    caption = (
        "Net benefit of acting by each method, by the probability from which one acts; never acting is zero."
    )
    head = ["who acts by", "expected cost", "useful for cost-loss ratios"]
    return tag("div", facts, _table("Expected cost per sample", head, rows),
               tag("figure", tag("div", curve, class_="plate"), tag("figcaption", caption)))  # fmt: skip


def _ratios(decision: Decision, name: str) -> str:
    found = decision.useful_ratios.get(name)
    return _ABSENT if found is None else f"{found[0]:.2f} to {found[1]:.2f}"


def _render_calibration(card: Card) -> Markup | None:
    found = card.calibration
    if found is None:
        return None
    facts: dict[str, Child] = {
        "Truth on prediction": f"slope {found.slope:.3f}, intercept {found.intercept:.3g}"
    }
    if found.coverage is not None:
        claimed = "" if found.nominal is None else f" (claimed {found.nominal:.0%})"
        facts["Intervals hold"] = f"{found.coverage:.1%} of the truths{claimed}"
    pairs = [("prediction", found.by_prediction)]
    if found.reliability is not None:
        shown = {"prediction": found.reliability["forecast"], "truth": found.reliability["observed"]}
        pairs.append(("probability", shown))
    figures = [_render_diagonal(name, points) for name, points in pairs]
    return tag("div", _definitions(facts), figures)


def _render_diagonal(name: str, points: Mapping[str, Sequence[float]]) -> Markup:
    lines = {"truth": points["truth"], "perfect": points["prediction"]}
    curve = draw_curves(points["prediction"], lines, x=f"mean {name}", y="mean truth")
    caption = f"Mean truth by tenths of the {name}; on the line it is right on average."
    return tag("figure", tag("div", curve, class_="plate"), tag("figcaption", caption))


def _render_audit(audit: Mapping[str, Any]) -> Markup:
    facts: dict[str, Child] = {
        "Split": str(audit.get("kind") or "not stated"),
        "Samples": (
            f"{audit['train']:,} train, {audit['test']:,} test, {audit['dropped']:,} dropped, "
            f"{audit['folds']} folds"
        ),
    }
    for key, name, unit in (
        ("distance_km", "Nearest in space", "km"),
        ("gap_days", "Nearest in time", "days"),
    ):
        if audit.get(key):
            facts[name] = f"least {audit[key]['q00']:.4g} {unit}, median {audit[key]['q50']:.4g} {unit}"
    problems = audit.get("problems") or []
    facts["Leaks"] = [
        tag("p", _chip(verdict=False, words="leak"), f" {problem}") for problem in problems
    ] or "none found"
    return _definitions(facts)


def _render_shift(shift: Shift) -> Markup:
    rows = [
        [
            one.name,
            format_number(one.wasserstein, 3),
            format_number(one.energy, 3),
            format_number(one.mean_difference, 3),
        ]
        for one in shift.features
    ]
    inside = _ABSENT if shift.loss_inside is None else format_number(shift.loss_inside, 3)
    outside = _ABSENT if shift.loss_outside is None else format_number(shift.loss_outside, 3)
    facts = _definitions(
        {
            "Told apart": (
                f"{shift.separability:.2f} (area under the ROC curve of a classifier; 0.5 for no shift)"
            ),
            "Area of applicability": f"{shift.applicable:.1%} of the test samples",
            "Mean squared error": f"{inside} inside it, {outside} outside",
        }
    )
    head = [
        "feature",
        "Wasserstein (\N{GREEK SMALL LETTER SIGMA})",
        "energy",
        "mean (\N{GREEK SMALL LETTER SIGMA})",
    ]
    return tag("div", facts, _table("From training to test, in deviations of the training", head, rows))


def _render_budget(lines: Sequence[BudgetLine]) -> Markup | None:
    if not lines:
        return None
    words = {True: "within", False: "over", None: "not known"}
    rows = [
        [line.name, _number(line.allowed), _number(line.spent), _chip(line.within, words=words[line.within])]
        for line in lines
    ]
    return _table("Budget", ["", "allowed", "spent", ""], rows)


def _number(value: float | None) -> str:
    return _ABSENT if value is None else format_number(value)


def _render_application(application: Mapping[str, Any]) -> Markup:
    facts = {key: _flat(value) for key, value in application.items() if key != "name"}
    unknown = list_unknowns(dict(application))
    count = (
        f"{len(unknown)} questions are answered by “unknown”." if unknown else "Every question is answered."
    )
    return tag("div", tag("p", count, class_="outcome"), _definitions(facts))


def _flat(value: object) -> Child:
    if isinstance(value, Mapping):
        lines = [tag("p", tag("b", key), ": ", _words(item)) for key, item in value.items()]
        return tag("div", lines)
    return _words(value)


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    return (
        "; ".join(map(_words, value))
        if isinstance(value, list | tuple)
        else format_units(str(value)) or str(value)
    )


def _render_profile(name: str, items: Sequence[Item]) -> Markup:
    profile = PROFILES[name]
    rows = [[_chip(_STATUS[item.status], words=item.status), item.text, item.finding] for item in items]
    counts = ", ".join(f"{sum(item.status == status for item in items)} {status}" for status in _STATUS)
    link = tag("a", profile.source, href=profile.link)
    return tag(
        "details",
        tag("summary", tag("b", profile.title), " ", tag("small", f"· {counts}")),
        tag("p", "In our own words, after ", link, ".", class_="legend"),
        _table(profile.title, ["", "item", "what was found"], rows),
    )
