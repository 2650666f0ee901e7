"""The page of a run: whole in one file, honest in its order, deaf to hostile text."""

from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser

import pytest

from isopleth.errors import DataError
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    write_evaluation,
    write_report,
)
from isopleth.report.gallery import Picture, record_picture

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """A page as a browser's parser sees it: elements with attributes, text, balance."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "elements are nested"

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def write_picture(run_dir, name="map.png", content=PIXEL, caption="A map (m)") -> None:
    (run_dir / "figures").mkdir(exist_ok=True)
    (run_dir / "figures" / name).write_bytes(content)
    record_picture(run_dir, Picture(file=name, caption=caption, alt="what the map shows"))


@pytest.fixture
def report(evaluation, tmp_path):
    """Write a run's report and return it parsed."""

    def write(record=evaluation, **options) -> Page:
        write_evaluation(record, tmp_path)
        path = write_report(tmp_path, **options)
        assert path == tmp_path / "report.html"
        return Page(path.read_text("utf-8"))

    return write


def test_nothing_is_loaded_from_elsewhere(report, tmp_path):
    write_picture(tmp_path)
    page = report()
    loads = [
        value
        for _, attributes in page.elements
        for key, value in attributes.items()
        if key in {"src", "href"}
    ]
    assert loads
    assert all(value.startswith(("data:", "#")) for value in loads)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & {name for name, _ in page.elements}
    assert "@import" not in page.text
    assert "url(" not in page.text
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy


def test_the_first_line_says_whether_the_data_are_real(report, evaluation):
    body = report().text.partition("}\n\n")[2] or report().text
    assert re.search(r"Simulated data\s+QG atmosphere", body)
    first = next(attributes for name, attributes in report().elements if name == "p")
    assert first["class"] == "data-line"
    real = dataclasses.replace(evaluation, data=dataclasses.replace(evaluation.data, kind="real"))
    page = report(real)
    assert "Real data" in page.text
    assert "Simulated data" not in page.text


def test_claims_come_first_and_failed_ones_are_as_plain(report):
    page = report()
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections[0] == "claims"
    chips = [a["class"] for a in page.all("span") if (a.get("class") or "").startswith("verdict")]
    assert chips == ["verdict holds", "verdict does-not-hold", "verdict undecided"]
    for words in ("holds", "does not hold", "undecided", "3 claims: 1 holds, 1 does not hold, 1 undecided"):
        assert words in page.text


def test_scores_show_units_intervals_baselines_and_skill(report):
    text = " ".join(report().text.split())
    for part in (
        "RMSE",
        "lower is better",
        "m² s⁻²",
        "geopotential 500",
        "61.2 [59.8, 62.5]",
        "93.0",
        "365",
        "+34 %",
    ):
        assert part in text, part


def test_best_baseline_is_marked(report, tmp_path):
    report()
    html = (tmp_path / "report.html").read_text("utf-8")
    marked = re.findall(r'<b title="the best baseline">([^<]*)</b>', html)
    assert marked == ["93.0", "90.0"]


def test_long_tables_fold_by_variable(report, evaluation):
    scores = [
        dataclasses.replace(
            evaluation.scores[0], variable=f"variable_{number % 4}", stratum={"lead_hours": number}
        )
        for number in range(64)
    ]
    page = report(dataclasses.replace(evaluation, scores=scores))
    folds = page.all("details")
    assert len(folds) == 4
    assert ["open" in fold for fold in folds] == [True, False, False, False]
    assert page.text.count("ahead of the best baseline in 16 of 16, by more than its own interval in 16") == 4
    assert len(page.all("tr")) == 64 + 4


def test_cost_and_provenance_are_there(report):
    page = report()
    for part in (
        "1 min 15 s",
        "812 MiB",
        "cpu (2 cores)",
        "archesweather demo --out 'my run'",
        "3f9a1c",
        "2.4.6",
    ):
        assert part in page.text, part


def test_both_sizes_of_evidence_are_labelled(report, evaluation, tmp_path):
    claims = [dataclasses.replace(evaluation.claims[0], holds=False), *evaluation.claims[1:]]
    full = dataclasses.replace(
        evaluation, claims=claims, cost=dataclasses.replace(evaluation.cost, train_seconds=5400)
    )
    evidence = write_evaluation(full, tmp_path / "full.json")
    page = report(evidence=evidence)
    sizes = [a["class"] for a in page.all("span") if (a.get("class") or "").startswith("size")]
    assert sizes.count("size full") == 5  # the summary, a finding of each claim, the cost
    assert sizes.count("size demo") == 4
    # The deciding record comes first, and speaks in the summary.
    assert sizes[0] == "size full"
    assert "3 claims: 2 do not hold, 1 undecided" in page.text
    assert page.text.index("1 h 30 min") < page.text.index("1 min 15 s")
    # A claim is one entry, with both findings under it.
    assert page.text.count("It beats persistence") == 1


def test_a_run_alone_is_labelled_only_if_told(report):
    assert not any("size demo" in (a.get("class") or "") for a in report().all("span"))
    assert any("size full" in (a.get("class") or "") for a in report(size="full").all("span"))


def test_evidence_of_another_tool_is_refused(report, evaluation, tmp_path):
    other = write_evaluation(dataclasses.replace(evaluation, tool="geostint"), tmp_path / "other.json")
    with pytest.raises(DataError, match="must be of archesweather, got geostint"):
        report(evidence=other)


def test_an_empty_record_makes_a_page(report, evaluation):
    page = report(dataclasses.replace(evaluation, scores=(), claims=()))
    assert "tested no claim" in page.text
    assert "has no scores" in page.text


def test_figures_are_embedded_with_caption_and_alt(report, tmp_path):
    write_picture(tmp_path, "b.png", caption="The second & last <map>")
    write_picture(
        tmp_path, "a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', caption="The first map"
    )
    (tmp_path / "figures" / "stray.png").write_bytes(PIXEL)
    page = report()
    images = page.all("img")
    assert [image["src"].partition(";")[0] for image in images] == [
        "data:image/png",
        "data:image/svg+xml",
        "data:image/png",
    ]
    assert base64.b64decode(images[0]["src"].partition(",")[2]) == PIXEL
    assert images[0]["alt"] == "what the map shows"
    assert all(image["alt"] for image in images)
    assert "The second & last <map>" in page.text


PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "<!-- -->",
    "javascript:alert(1)",
    "&lt;script&gt;&#60;script&#62;",
    "\x00\x1b[31m\u202egnp.exe",
]


def hostile(text: str) -> Evaluation:
    """Return a record that says `text` wherever it may say anything, keys included."""
    score = Score(metric=text, variable=text, units=text, better="lower", model=1.0, interval=(0.5, 1.5),
                  baselines={text: 2.0}, stratum={text: text}, n=1)  # fmt: skip
    return Evaluation(
        tool=text,
        version=text,
        task=text,
        data=DataCard(
            name=text, kind="real", source=text, train=text, test=text, fingerprint="sha256:" + "0" * 64
        ),
        scores=[score] * 40,
        claims=[Claim(claim=text, holds=None, difference=1.0, interval=(0.0, 2.0), evidence=text)],
        cost=Cost(parameters=1, train_seconds=1, predict_seconds=1, peak_memory_mb=1, device=text),
        provenance=Provenance(command=text, config_hash=text, seed=0, versions={text: text}),
    )


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_stays_text(payload, report, tmp_path):
    write_picture(tmp_path, caption=payload)
    innocent = {(name, *sorted(attributes)) for name, attributes in report(hostile("text")).elements}
    page = report(hostile(payload))
    assert {(name, *sorted(attributes)) for name, attributes in page.elements} <= innocent
    printable = re.sub("[\x00\x1b\u202e]", "\N{REPLACEMENT CHARACTER}", payload)
    assert page.text.count(printable) > 8


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "/etc/passwd.png",
        "..\\secret.png",
        "sub/x.png",
        "",
        ".hidden.png",
        "x.html",
        "x\n.png",
    ],
)
def test_a_figure_that_leaves_the_run_is_refused(name, evaluation, tmp_path):
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(PIXEL)
    write_evaluation(evaluation, run)
    record_picture(run, Picture(file=name, caption="c", alt="a"))
    with pytest.raises(DataError, match=r"must be a \.png or \.svg file within figures/"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_a_link_that_leaves_the_run_is_refused(evaluation, tmp_path):
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(PIXEL)
    (run / "figures" / "x.png").symlink_to(tmp_path / "secret.png")
    write_evaluation(evaluation, run)
    with pytest.raises(DataError, match="got a link to"):
        write_report(run)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.png", b"", "must hold that format"),
        ("x.png", b"<svg/>", "must hold that format"),
        ("x.svg", PIXEL, "must hold"),
    ],
)
def test_a_broken_figure_is_refused(name, content, says, report, tmp_path):
    write_picture(tmp_path, name, content)
    with pytest.raises(DataError, match=says):
        report()


def test_a_missing_figure_is_named(report, tmp_path):
    write_picture(tmp_path)
    (tmp_path / "figures" / "map.png").unlink()
    with pytest.raises(DataError, match=r"No such file.*map\.png"):
        report()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"figures": 3}',
        '{"figures": [7]}',
        '{"figures": [{"file": "x.png"}]}',
        '{"figures": [{"file": "x.png", "caption": 1, "alt": ""}]}',
    ],
)
def test_a_broken_list_of_captions_is_one_error(content, report, tmp_path):
    write_picture(tmp_path)
    (tmp_path / "figures" / "captions.json").write_text(content)
    with pytest.raises(DataError, match=r"list of captions.*captions\.json"):
        report()
