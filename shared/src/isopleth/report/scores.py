"""Tables of scores: one a metric, grouped by variable, a row a stratum."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import TypeVar

from isopleth.report.marks import draw_strip, find_limits
from isopleth.report.markup import Markup, tag
from isopleth.report.notation import (
    MINUS,
    choose_decimals,
    format_interval,
    format_number,
    format_percent,
    format_units,
    humanise,
    name_metric,
)
from isopleth.report.record import Score

_ABSENT = "\N{EN DASH}"
_LONG = 30  # rows beyond which a table folds into one a variable
_OUTCOMES = {True: ("better", "▲"), False: ("worse", "▼"), None: ("open", "≈")}

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def group(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Group items by a key in the order in which the keys first appear."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def count_outcomes(scores: Sequence[Score]) -> str:
    """Say how often the model is ahead of its best baseline, and how often by more than its own interval.

    The interval of a score is no test of the difference to another score on the same samples, which is
    far better known than either: that stands in the claims.
    """
    compared = [score for score in scores if score.skill is not None]
    if not compared:
        return "no baseline to compare with"
    ahead = sum(score.skill > 0 for score in compared if score.skill is not None)
    text = f"ahead of the best baseline in {ahead} of {len(compared)}"
    judged = [score.beats_baselines for score in compared if score.interval is not None]
    if not judged:
        return f"{text}, no intervals"
    text += f", by more than its own interval in {judged.count(True)}"
    return f"{text}; behind by more than that in {judged.count(False)}" if False in judged else text


def render_scores(scores: Sequence[Score]) -> Markup:
    """Draw all scores of a record."""
    if not scores:
        return tag("p", "This run has no scores.", class_="muted")
    by_metric = group(scores, lambda score: (score.metric, score.better))
    tables = [_render_metric(metric, better, rows) for (metric, better), rows in by_metric.items()]
    return tag("div", tables, _legend())


def _legend() -> Markup:
    return tag(
        "p",
        f"Brackets: 95 % interval. Bold: the best baseline. Skill is 1 {MINUS} model ÷ best baseline where "
        f"lower is better, model ÷ best baseline {MINUS} 1 where higher is: positive is good. ",
        "▲ ▼ the best baseline lies outside the model's interval, ≈ within it. In the strips: ",
        "● model with interval, tall line best baseline, short lines the others. n: independent samples. ",
        "Whether a difference on the same samples is more than chance is tested in the claims.",
        class_="legend",
    )


def _render_metric(metric: str, better: str, scores: Sequence[Score]) -> Markup:
    by_variable = group(scores, lambda score: (score.variable, score.units))
    heading = tag("h3", name_metric(metric), " ", tag("small", f"{better} is better"))
    if len(scores) <= _LONG:
        return tag(
            "div", heading, _render_table(f"{metric}, {better} is better", by_variable), class_="metric"
        )
    folds = [
        _fold(metric, key, rows, first=not number) for number, (key, rows) in enumerate(by_variable.items())
    ]
    return tag("div", heading, folds, class_="metric")


def _fold(metric: str, key: tuple[str, str], scores: Sequence[Score], *, first: bool) -> Markup:
    outcome = tag("small", "· ", count_outcomes(scores))
    table = _render_table(f"{metric} of {key[0]}", {key: list(scores)}, titled=False)
    return tag("details", tag("summary", _variable(*key), " ", outcome), table, open=first)


def _variable(name: str, units: str) -> Markup:
    return tag("span", humanise(name), " ", tag("small", format_units(units), class_="units"))


def _render_table(
    caption: str, by_variable: dict[tuple[str, str], list[Score]], *, titled: bool = True
) -> Markup:
    scores = list(chain.from_iterable(by_variable.values()))
    strata = list(dict.fromkeys(key for score in scores for key in score.stratum))
    baselines = list(dict.fromkeys(name for score in scores for name in score.baselines))
    columns = _Columns(strata=strata, baselines=baselines, titled=titled)
    bodies = [columns.render_body(*key, rows) for key, rows in by_variable.items()]
    table = tag("table", tag("caption", caption), columns.render_head(), bodies)
    # A focusable region, so that a wide table can be scrolled from the keyboard.
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)


class _Columns:
    """The columns that one table's rows share."""

    def __init__(self, *, strata: Sequence[str], baselines: Sequence[str], titled: bool) -> None:
        self.strata = strata
        self.titled = titled
        self.baselines = baselines

    def render_head(self) -> Markup:
        """Name the columns; the numbers' ones stand right, above their digits."""
        place = [_head(humanise(key), "text") for key in self.strata] or [_head("variable", "text")]
        verdict = [_head("skill"), _head("", "graphic")] if self.baselines else []
        others = [_head(humanise(name)) for name in self.baselines]
        return tag("thead", tag("tr", place, _head("model", "model"), verdict, others, _head("n")))

    def render_body(self, variable: str, units: str, scores: Sequence[Score]) -> Markup:
        """Draw the rows of one variable under its name; they share decimals and strips."""
        values = [value for score in scores for value in (score.model, *score.baselines.values())]
        ends = [end for score in scores for end in score.interval or ()]
        decimals = choose_decimals(values, [score.interval for score in scores])
        limits = find_limits([*values, *ends])
        if not self.strata:
            name = tag("th", _variable(variable, units), scope="row", class_="text")
            return tag("tbody", (self._render_row([name], score, decimals, limits) for score in scores))
        width = len(self.strata) + 1 + len(self.baselines) + (3 if self.baselines else 1)
        title = tag("th", _variable(variable, units), colspan=width, scope="rowgroup", class_="variable")
        rows = (self._render_row(self._stratum(score), score, decimals, limits) for score in scores)
        return tag("tbody", tag("tr", title) if self.titled else None, rows)

    def _stratum(self, score: Score) -> list[Markup]:
        values = [format_stratum(score.stratum.get(key)) for key in self.strata]
        return [tag("th" if not i else "td", value, scope=None if i else "row", class_="text")
                for i, value in enumerate(values)]  # fmt: skip

    def _render_row(
        self, head: Sequence[Markup], score: Score, decimals: int, limits: tuple[float, float]
    ) -> Markup:
        number = tag("span", format_number(score.model, decimals), class_="number")
        interval = tag("span", format_interval(score.interval, decimals), class_="interval")
        model = tag("td", number, " ", interval, class_="model")
        verdict = (
            [_skill(score), tag("td", _strip(score, limits), class_="graphic")] if self.baselines else []
        )
        others = [self._baseline(score, name, decimals) for name in self.baselines]
        return tag("tr", head, model, verdict, others, tag("td", f"{score.n:,}"))

    def _baseline(self, score: Score, name: str, decimals: int) -> Markup:
        if name not in score.baselines:
            return tag("td", _ABSENT, class_="muted")
        text = format_number(score.baselines[name], decimals)
        return tag("td", tag("b", text, title="the best baseline") if name == score.best_baseline else text)


def _head(text: str, class_: str | None = None) -> Markup:
    return tag("th", text, scope="col", class_=class_)


def format_stratum(value: str | float | bool | None) -> str:
    """Write a stratum's value; one that a row does not have is all of it."""
    if value is None:
        return "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return humanise(value) if isinstance(value, str) else f"{value:g}"


def _skill(score: Score) -> Markup:
    if score.best_baseline is None or (score.skill is None and score.interval is None):
        return tag("td", _ABSENT, class_="muted")
    text = "" if score.skill is None else format_percent(score.skill)
    if score.interval is None:
        return tag("td", text, class_="skill")
    words, sign = _OUTCOMES[score.beats_baselines]
    return tag("td", text, " ", tag("span", sign, aria_label=words, role="img"), class_=f"skill {words}")


def _strip(score: Score, limits: tuple[float, float]) -> Markup:
    ordered = sorted(score.baselines.items(), key=lambda item: item[0] != score.best_baseline)
    label = f"model {score.model:.4g}; " + ", ".join(f"{name} {value:.4g}" for name, value in ordered)
    return draw_strip(score.model, score.interval, [value for _, value in ordered], limits, label=label)
