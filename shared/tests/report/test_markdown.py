"""Markdown tables: the record's numbers, and no text that breaks out of its cell."""

from __future__ import annotations

import dataclasses

import pytest

from isopleth.report import markdown_table
from isopleth.report.notation import MINUS


def rows_of(markdown: str) -> list[list[str]]:
    """Split table lines into cells at the bars that are not escaped."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.replace(r"\|", "\0").strip("|").split("|")] for line in lines]


def test_the_whole_table(evaluation):
    assert markdown_table(evaluation) == (
        "| verdict | claim | difference | evidence |\n"
        "| --- | --- | ---: | --- |\n"
        f"| **holds** | It beats persistence "
        f"| {MINUS}31.8 \\[{MINUS}33.0, {MINUS}30.0\\] m² s⁻² | 365 days |\n"
        f"| **does not hold** | It beats 3D windows | 0.4 \\[{MINUS}0.2, 1.0\\] | paired |\n"
        "| **undecided** | It is cheaper |  | one run only |\n"
        "\n"
        "| RMSE (lower is better) | model | persistence | climatology | skill | n |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| geopotential 500 (m² s⁻²), lead hours 24 "
        "| 61.2 \\[59.8, 62.5\\] | **93.0** | 120.4 | +34 % | 365 |\n"
        f"| geopotential 500 (m² s⁻²), lead hours 48 | 99.0 | **90.0** |  | {MINUS}10 % | 365 |\n"
        "\n"
        "Simulated data: QG atmosphere; tested on days 120-200. archesweather 0.1.0, on cpu (2 cores).\n"
    )


def test_parts_can_be_chosen(evaluation):
    assert "verdict" not in markdown_table(evaluation, claims=False)
    assert "RMSE" not in markdown_table(evaluation, metrics=())
    assert "RMSE" in markdown_table(evaluation, metrics=["rmse"])


@pytest.mark.parametrize(
    "text", ["a | b", "a\nb", "<script>x</script>", "[x](javascript:y)", "`*_~#", "&lt;", "\\|"]
)
def test_text_stays_in_its_cell(text, evaluation):
    claim = dataclasses.replace(evaluation.claims[0], claim=text, evidence=text)
    score = dataclasses.replace(
        evaluation.scores[0], metric=text, variable=text, baselines={text: 2.0}, stratum={text: text}
    )
    markdown = markdown_table(dataclasses.replace(evaluation, claims=[claim], scores=[score], tool=text))
    rows = rows_of(markdown.replace("\\\\", "\1"))
    assert [len(row) for row in rows] == [4, 4, 4, 5, 5, 5]
    # Every character that Markdown or HTML would read is escaped.
    assert "<script>" not in markdown.replace("\\<", "")
    assert "](" not in markdown.replace("\\]", "")
    assert "&lt;" not in markdown
