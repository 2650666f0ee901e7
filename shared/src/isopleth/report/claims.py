"""Claims and their verdicts, a failed one as plain as one that holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from isopleth.report.exhibit import Exhibit
from isopleth.report.marks import draw_strip, find_limits
from isopleth.report.markup import Markup, tag
from isopleth.report.notation import choose_decimals, format_interval, format_number, format_units
from isopleth.report.record import Claim

# Of equal weight on the page: one shape, one size, each with a sign that needs no colour.
_VERDICTS = {True: ("holds", "✓"), False: ("does not hold", "✕"), None: ("undecided", "?")}


def name_verdict(claim: Claim) -> str:
    """Return the verdict in words: holds, does not hold, undecided."""
    return _VERDICTS[claim.holds][0]


def render_verdict(claim: Claim) -> Markup:
    """Draw a claim's verdict as a chip."""
    words, sign = _VERDICTS[claim.holds]
    symbol = tag("span", sign, class_="sign", aria_hidden="true")
    return tag("span", symbol, words, class_=f"verdict {words.replace(' ', '-')}")


def count_verdicts(claims: Sequence[Claim]) -> str:
    """Sum the verdicts up in one phrase: ``2 claims: 1 holds, 1 does not hold``."""
    if not claims:
        return "no claim was tested"
    counts = Counter(name_verdict(claim) for claim in claims)
    plural = {"holds": "hold", "does not hold": "do not hold", "undecided": "undecided"}
    parts = [
        f"{counts[one]} {one if counts[one] == 1 else many}" for one, many in plural.items() if counts[one]
    ]
    return f"{len(claims)} claim{'s' if len(claims) > 1 else ''}: {', '.join(parts)}"


def render_claims(exhibits: Sequence[Exhibit]) -> Markup:
    """List every claim once, with the finding of each size of evidence under it."""
    sentences = dict.fromkeys(claim.claim for exhibit in exhibits for claim in exhibit.evaluation.claims)
    if not sentences:
        return tag("p", "This run tested no claim.", class_="muted")
    return tag("ol", (_render_claim(sentence, exhibits) for sentence in sentences), class_="claims")


def _render_claim(sentence: str, exhibits: Sequence[Exhibit]) -> Markup:
    found = [
        (claim, exhibit)
        for exhibit in exhibits
        for claim in exhibit.evaluation.claims
        if claim.claim == sentence
    ]
    limits = _span(claim for claim, _ in found)
    findings = [_render_finding(claim, exhibit, limits) for claim, exhibit in found]
    return tag("li", tag("h3", sentence), findings)


def _span(claims: Iterable[Claim]) -> tuple[float, float]:
    """Find ends that strips of one claim share, so that two sizes of evidence can be compared."""
    known = [claim for claim in claims if claim.difference is not None]
    return find_limits(
        [0.0, *(value for claim in known for value in (claim.difference, *(claim.interval or ())))]
    )


def _render_finding(claim: Claim, exhibit: Exhibit, limits: tuple[float, float]) -> Markup:
    head = tag("div", render_verdict(claim), exhibit.render_size(), class_="finding-head")
    measured = tag("div", _render_effect(claim, limits), tag("p", claim.evidence, class_="evidence"))
    return tag("div", head, measured, class_="finding")


def _render_effect(claim: Claim, limits: tuple[float, float]) -> Markup | None:
    if claim.difference is None:
        return None
    decimals = choose_decimals([claim.difference], [claim.interval])
    number = tag("span", format_number(claim.difference, decimals), class_="number")
    spread = tag("span", format_interval(claim.interval, decimals), class_="interval")
    units = format_units(claim.units)
    strip = draw_strip(
        claim.difference,
        claim.interval,
        [0.0],
        limits,
        label="the difference and its interval; the upright line is zero",
    )
    return tag(
        "p",
        tag("span", "difference ", number, " ", spread, " ", units, class_="measured"),
        strip,
        class_="effect",
    )
