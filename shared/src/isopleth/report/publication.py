"""The end of every demo and evaluation: the record, the page, and what the verb prints of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isopleth.report.exhibit import Size
from isopleth.report.page import write_report
from isopleth.report.record import Evaluation, find_evidence, write_evaluation


def publish(out: str | Path, evaluation: Evaluation, *, size: Size | None = None) -> dict[str, Any]:
    """Write a run's record and report; its figures, if any, lie in the run directory already.

    Parameters
    ----------
    out : path
        The run directory; made if there is none.
    evaluation : Evaluation
    size : {"demo", "full"}, optional
        What a demo is. Beside a "demo" the page shows the record of the full one that the tool ships.

    Returns
    -------
    dict
        ``report``, its path, and ``claims``, whether each holds: what a verb prints, beside a few numbers of
        its own.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_evaluation(evaluation, folder / "evaluation.json")
    evidence = find_evidence(evaluation.tool.replace("-", "_")) if size == "demo" else None
    report = write_report(folder, evidence=evidence, size=size)
    return {"report": str(report), "claims": {claim.claim: claim.holds for claim in evaluation.claims}}
