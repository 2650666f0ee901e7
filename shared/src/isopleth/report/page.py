"""One run on one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from isopleth.errors import DataError
from isopleth.io.write import write_text
from isopleth.report.claims import count_verdicts, render_claims
from isopleth.report.exhibit import Exhibit, Size
from isopleth.report.gallery import Picture, embed_picture, list_pictures
from isopleth.report.markup import Child, Markup, document, tag
from isopleth.report.notation import format_number, format_seconds
from isopleth.report.record import DataCard, Evaluation, read_evaluation
from isopleth.report.scores import count_outcomes, render_scores

_KINDS = {"real": "Real data", "simulated": "Simulated data"}


def write_report(
    run_dir: str | Path, *, evidence: str | Path | None = None, size: Size | None = None
) -> Path:
    """Write a run's record and figures as one self-contained ``report.html``.

    Parameters
    ----------
    run_dir : str or Path
        A run directory with ``evaluation.json`` and, as far as there are any, ``figures/``.
    evidence : str or Path, optional
        The committed record of the full run. The page then shows both, labelled "demo" and "full",
        the full one first.
    size : {"demo", "full"}, optional
        How much evidence the run itself is; "demo" beside `evidence`.

    Returns
    -------
    Path
        ``run_dir/report.html``.

    Raises
    ------
    DataError
        If a record or a figure is missing or broken, a figure lies outside the run, or the evidence is
        another tool's.
    """
    run_dir = Path(run_dir)
    run = Exhibit(evaluation=read_evaluation(run_dir), size=size or ("demo" if evidence else None))
    exhibits = [run]
    if evidence is not None:
        full = read_evaluation(evidence)
        if full.tool != run.evaluation.tool:
            raise DataError(f"the evidence must be of {run.evaluation.tool}, got {full.tool}", where=evidence)
        exhibits.insert(0, Exhibit(evaluation=full, size="full"))
    path = run_dir / "report.html"
    write_text(path, render_report(exhibits, _load_figures(run_dir)))
    return path


def render_report(exhibits: Sequence[Exhibit], figures: Sequence[tuple[Picture, str]] = ()) -> Markup:
    """Render a page.

    Parameters
    ----------
    exhibits : sequence of Exhibit
        The records, the deciding one first.
    figures : sequence of (Picture, str)
        Captions and ``data:`` URIs.
    """
    sections = {
        "Claims": render_claims(exhibits),
        "Figures": _render_figures(figures, exhibits[-1]),
        "Scores": _for_each(exhibits, _render_scores),
        "Data": _for_each(exhibits, lambda evaluation: _render_data(evaluation.data)),
        "Cost": _for_each(exhibits, _render_cost),
        "Provenance": _for_each(exhibits, _render_provenance),
    }
    shown = {title: content for title, content in sections.items() if content}
    first = exhibits[0].evaluation
    return document(
        f"{first.tool}: {count_verdicts(first.claims)}",
        _render_header(exhibits, list(shown)),
        tag("main", (_section(title, content) for title, content in shown.items())),
        tag(
            "footer",
            tag("p", "Made by isopleth from evaluation.json. This page loads nothing from elsewhere."),
        ),
    )


def render_badge(data: DataCard) -> Markup:
    """Draw the badge that says whether the data are real or simulated."""
    return tag("span", _KINDS[data.kind], class_=f"badge {data.kind}")


def _load_figures(run_dir: Path) -> list[tuple[Picture, str]]:
    return [(picture, embed_picture(run_dir, picture)) for picture in list_pictures(run_dir)]


def _render_header(exhibits: Sequence[Exhibit], titles: Sequence[str]) -> Markup:
    first = exhibits[0].evaluation
    cards = dict.fromkeys(exhibit.evaluation.data for exhibit in exhibits)
    links = [tag("a", title, href=f"#{title.lower()}") for title in titles]
    return tag(
        "header",
        [tag("p", render_badge(card), " ", card.name, class_="data-line") for card in cards],
        tag("h1", first.tool, " ", tag("small", first.version)),
        tag("p", first.task, class_="task"),
        tag("p", _capitalise(count_verdicts(first.claims)), exhibits[0].render_size(), class_="summary"),
        tag("nav", links, aria_label="Sections"),
    )


def _capitalise(sentence: str) -> str:
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _section(title: str, content: Child) -> Markup:
    return tag("section", tag("h2", title), content, id=title.lower())


def _for_each(exhibits: Sequence[Exhibit], render: Callable[[Evaluation], Markup]) -> list[Markup]:
    """Show one block a size of evidence, each under its label; equal blocks once."""
    blocks = [render(exhibit.evaluation) for exhibit in exhibits]
    if len(set(blocks)) == 1:
        return blocks[:1]
    labels = [tag("p", exhibit.render_size(), class_="size-line") for exhibit in exhibits]
    return [tag("div", label, block, class_="sized") for label, block in zip(labels, blocks, strict=True)]


def _render_scores(evaluation: Evaluation) -> Markup:
    outcome = tag("p", _capitalise(count_outcomes(evaluation.scores)), class_="outcome")
    return tag("div", outcome if evaluation.scores else None, render_scores(evaluation.scores))


def _render_figures(figures: Sequence[tuple[Picture, str]], run: Exhibit) -> list[Markup]:
    label = [tag("p", run.render_size(), class_="size-line")] if figures and run.size else []
    return [*label, *(_render_figure(picture, uri) for picture, uri in figures)]


def _render_figure(picture: Picture, uri: str) -> Markup:
    plate = tag("div", tag("img", src=uri, alt=picture.alt), class_="plate", tabindex=0)
    return tag("figure", plate, tag("figcaption", picture.caption))


def _definitions(entries: Mapping[str, Child]) -> Markup:
    return tag("dl", [(tag("dt", name), tag("dd", value)) for name, value in entries.items()])


def _render_data(card: DataCard) -> Markup:
    return _definitions(
        {
            "Name": card.name,
            "Kind": render_badge(card),
            "Source": card.source,
            "Learned from": card.train or "nothing",
            "Tested on": card.test,
            "Fingerprint": tag("code", card.fingerprint),
        }
    )


def _render_cost(evaluation: Evaluation) -> Markup:
    cost = evaluation.cost
    return _definitions(
        {
            "Parameters": f"{cost.parameters:,}",
            "Training": format_seconds(cost.train_seconds),
            "Prediction": format_seconds(cost.predict_seconds),
            "Peak memory": f"{format_number(cost.peak_memory_mb, 0)} MiB",
            "Device": cost.device,
        }
    )


def _render_provenance(evaluation: Evaluation) -> Markup:
    provenance = evaluation.provenance
    versions = [
        tag("span", name, " ", tag("b", number), class_="version")
        for name, number in {evaluation.tool: evaluation.version, **provenance.versions}.items()
    ]
    return _definitions(
        {
            "Reproduce": tag("pre", provenance.command),
            "Config": tag("code", provenance.config_hash),
            "Seed": str(provenance.seed),
            "Versions": versions,
        }
    )
