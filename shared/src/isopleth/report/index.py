"""One page over many runs: what was claimed, what held, and where the rest stands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from isopleth.errors import DataError, IsoplethError
from isopleth.io.write import write_text
from isopleth.report.claims import count_verdicts, render_verdict
from isopleth.report.gallery import embed_picture, list_pictures
from isopleth.report.markup import Markup, document, tag
from isopleth.report.page import render_badge
from isopleth.report.record import Evaluation, find_evidence, read_evaluation
from isopleth.report.scores import count_outcomes

# Figures of a run that the index shows; the report has them all, with captions.
_FIGURES = 3


@dataclass(frozen=True, kw_only=True)
class Run:
    """A folder with a record; `problem` says why, if the record cannot be read."""

    folder: Path
    evaluation: Evaluation | None = None
    problem: str = ""


def find_runs(root: str | Path, *, depth: int = 3) -> list[Run]:
    """Find every folder that holds ``evaluation.json``, at most `depth` folders below `root`.

    Hidden folders and links to folders are not entered. A broken record is a run with a problem.

    Raises
    ------
    DataError
        If `root` is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError("the root of the runs must be an existing folder", where=root)
    return [_read_run(folder) for folder in _walk(root, depth)]


def _walk(root: Path, depth: int) -> Iterator[Path]:
    for folder, children, names in os.walk(root):
        place = Path(folder)
        level = len(place.relative_to(root).parts)
        children[:] = sorted(name for name in children if not name.startswith(".")) if level < depth else []
        if "evaluation.json" in names:
            yield place


def _read_run(folder: Path) -> Run:
    try:
        return Run(folder=folder, evaluation=read_evaluation(folder / "evaluation.json"))
    except IsoplethError as error:
        return Run(folder=folder, problem=error.what)


def write_index(root: str | Path, *, title: str = "What the tools found", depth: int = 3) -> Path:
    """Write ``root/index.html`` over all runs below `root`, linking each one's ``report.html``.

    Parameters
    ----------
    root : str or Path
        Folder of run directories.
    title : str
        Heading of the page.
    depth : int
        How many folders deep to look.

    Returns
    -------
    Path
        ``root/index.html``.

    Raises
    ------
    DataError
        If `root` is no folder. A broken record does not raise: it is shown as broken.
    """
    runs = find_runs(root, depth=depth)
    path = Path(root) / "index.html"
    write_text(path, render_index(runs, Path(root), title=title))
    return path


def render_index(runs: list[Run], root: Path, *, title: str) -> Markup:
    """Render the page; links are relative to `root`."""
    claims = [claim for run in runs if run.evaluation for claim in run.evaluation.claims]
    broken = sum(bool(run.problem) for run in runs)
    counts = f"{len(runs)} run{'' if len(runs) == 1 else 's'}, {count_verdicts(claims)}."
    warning = f" {broken} record{'' if broken == 1 else 's'} could not be read." if broken else ""
    cards = tag("ol", (_render_card(run, root) for run in runs), class_="cards")
    empty = tag("p", "No evaluation.json was found here.", class_="muted")
    return document(
        title,
        tag("header", tag("h1", title), tag("p", counts, warning, class_="summary")),
        tag("main", cards if runs else empty),
        tag(
            "footer",
            tag("p", "Made by isopleth from each run's evaluation.json. Nothing is loaded from elsewhere."),
        ),
    )


def _render_card(run: Run, root: Path) -> Markup:
    if run.evaluation is None:
        return _render_broken(run, root)
    evaluation = run.evaluation
    report = tag("a", evaluation.tool, href=_address(run, root, _report_name(run)))
    name = tag("h2", report, " ", tag("small", evaluation.version))
    badge = tag("p", render_badge(evaluation.data), " ", evaluation.data.name, class_="data-line")
    side = tag("div", name, badge, tag("p", run.folder.relative_to(root).as_posix(), class_="run"))
    verdicts = (tag("li", render_verdict(claim), tag("span", claim.claim)) for claim in evaluation.claims)
    body = tag(
        "div",
        tag("ul", verdicts, class_="verdicts")
        if evaluation.claims
        else tag("p", "No claim was tested.", class_="muted"),
        _render_decided(evaluation),
        _render_figures(run, root),
        tag("p", evaluation.task, class_="task"),
        tag("p", f"Scores: {count_outcomes(evaluation.scores)}.", class_="outcome")
        if evaluation.scores
        else None,
        _render_links(run, root),
    )
    return tag("li", side, body, class_="card")


def _render_decided(evaluation: Evaluation) -> Markup | None:
    """Beside a short demo's verdicts, count those of the full one that the tool ships."""
    words = evaluation.provenance.command.split()[:2]
    if words != [evaluation.tool, "demo"] or "--full" in evaluation.provenance.command:
        return None
    try:
        evidence = find_evidence(evaluation.tool.replace("-", "_"))
    except ModuleNotFoundError:  # a run from elsewhere
        return None
    if evidence is None:
        return None
    decided = count_verdicts(read_evaluation(evidence).claims)
    return tag(
        "p", f"This was a short demo. At full length, first in the report: {decided}.", class_="outcome"
    )


def _render_figures(run: Run, root: Path) -> Markup | None:
    """Show a run's first figures, each a link to the report."""
    report = _address(run, root, _report_name(run))
    try:
        shown = [
            tag(
                "a",
                tag("img", src=embed_picture(run.folder, picture), alt=picture.alt),
                href=report,
                class_="plate",
            )
            for picture in list_pictures(run.folder)[:_FIGURES]
        ]
    except DataError as error:  # of one run; the others are shown
        return tag("p", f"Figures: {error.what}", class_="muted")
    return tag("div", shown, class_="strip") if shown else None


def _render_links(run: Run, root: Path) -> Markup:
    """Link the report, and the model card where one was written."""
    names = {"report": _report_name(run)}
    if (run.folder / "card.html").is_file():
        names["card"] = "card.html"
    return tag(
        "p", (tag("a", text, href=_address(run, root, name)) for text, name in names.items()), class_="links"
    )


def _render_broken(run: Run, root: Path) -> Markup:
    name = tag("h2", run.folder.name or "this folder")
    chip = tag("p", tag("span", tag("span", "!", class_="sign", aria_hidden="true"), "broken record",
                        class_="verdict does-not-hold"))  # fmt: skip
    return tag(
        "li",
        tag("div", name, tag("p", run.folder.relative_to(root).as_posix(), class_="run")),
        tag("div", chip, tag("p", run.problem)),
        class_="card broken",
    )


def _report_name(run: Run) -> str:
    """Name the report, or the record itself where no report was written."""
    return "report.html" if (run.folder / "report.html").is_file() else "evaluation.json"


def _address(run: Run, root: Path, name: str) -> str:
    relative = (run.folder / name).relative_to(root)
    # Every part is quoted, colons too: a folder named like a URL scheme stays a folder.
    return "./" + "/".join(quote(os.fsencode(part), safe="") for part in relative.parts)
