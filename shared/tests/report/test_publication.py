"""What every demo and evaluation leaves behind, and what its verb prints."""

from dataclasses import replace
from pathlib import Path

import pytest

from isopleth.report import publish, read_evaluation


def test_record_and_page_are_there_and_the_claims_are_printed(evaluation, tmp_path):
    found = publish(tmp_path / "new" / "run", evaluation)
    assert read_evaluation(tmp_path / "new" / "run") == evaluation
    assert found["report"] == str(tmp_path / "new" / "run" / "report.html")
    assert found["claims"] == {claim.claim: claim.holds for claim in evaluation.claims}


@pytest.mark.parametrize(("size", "shown"), [("demo", True), ("full", False), (None, False)])
def test_a_demo_shows_the_evidence_that_ships_and_a_full_one_does_not(
    evaluation, tmp_path, monkeypatch, size, shown
):
    shipped = tmp_path / "site" / "shipping_tool"
    (shipped / "evidence").mkdir(parents=True)
    (shipped / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    ours, theirs = (
        replace(
            evaluation, tool="shipping-tool", claims=(replace(evaluation.claims[0], claim=f"Of the {name}"),)
        )
        for name in ("run", "evidence")
    )
    publish(shipped / "evidence", theirs)
    text = Path(publish(tmp_path / "run", ours, size=size)["report"]).read_text(encoding="utf-8")
    assert "Of the run" in text
    assert ("Of the evidence" in text) is shown
