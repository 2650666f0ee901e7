"""The index over runs: all of them, the broken ones too."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from isopleth.errors import DataError
from isopleth.report import figure, find_runs, save_figure, write_evaluation, write_index, write_report


def make_run(folder, evaluation, *, report=True, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    write_evaluation(dataclasses.replace(evaluation, **changes), folder)
    if report:
        write_report(folder)
    return folder


def read_index(root, **options) -> tuple[str, str]:
    """Return an index page's HTML and its text."""
    html = write_index(root, **options).read_text("utf-8")
    parser = HTMLParser()
    pieces: list[str] = []
    parser.handle_data = pieces.append
    parser.feed(html)
    return html, " ".join(" ".join(pieces).split())


def test_every_run_is_there_and_its_link_leads_to_a_file(evaluation, tmp_path):
    make_run(tmp_path / "b", evaluation, tool="geostint")
    make_run(tmp_path / "a" / "deep", evaluation)
    make_run(tmp_path / "c", evaluation, tool="climalign", report=False)
    html, text = read_index(tmp_path)
    links = re.findall(r'href="(\./[^"]*)"', html)
    places = ["./a/deep/report.html", "./b/report.html", "./c/evaluation.json"]
    assert links == [place for place in places for _ in ("heading", "below")]
    assert all((tmp_path / link).is_file() for link in links)
    assert "3 runs, 9 claims: 3 hold, 3 do not hold, 3 undecided" in text
    assert text.count("does not hold It beats 3D windows") == 3
    assert text.count("Simulated data") == 3


def test_a_model_card_is_linked_where_there_is_one(evaluation, tmp_path):
    make_run(tmp_path / "a", evaluation)
    (make_run(tmp_path / "b", evaluation) / "card.html").write_text("card")
    html, _ = read_index(tmp_path)
    assert re.findall(r'href="(\./[^"]*card[^"]*)"', html) == ["./b/card.html"]


def test_claims_come_before_scores(evaluation, tmp_path):
    make_run(tmp_path / "a", evaluation)
    _, text = read_index(tmp_path)
    assert text.index("It beats persistence") < text.index("Scores: ahead of the best baseline in 1 of 2")


def test_the_first_figures_stand_below_the_claims_and_a_broken_one_hides_no_run(evaluation, tmp_path):
    run = make_run(tmp_path / "a", evaluation, report=False)
    for number in range(4):
        with figure() as (fig, _):
            save_figure(fig, run, f"f{number}", f"Caption {number}", alt=f"Finding {number}", suffix="png")
    write_report(run)
    html, text = read_index(tmp_path)
    assert re.findall(r'alt="([^"]*)"', html) == ["Finding 0", "Finding 1", "Finding 2"]
    assert html.index("It beats persistence") < html.index("Finding 0") < html.index(">report<")
    (run / "figures" / "f1.png").write_bytes(b"cut")
    html, text = read_index(tmp_path)
    assert "It beats persistence" in text
    assert "a figure named .png must hold that format" in text


def test_beside_a_short_demo_stands_what_its_tool_decided_at_full_length(evaluation, tmp_path, monkeypatch):
    full = write_evaluation(
        dataclasses.replace(evaluation, claims=evaluation.claims[:1]), tmp_path / "full.json"
    )
    monkeypatch.setattr("isopleth.report.index.find_evidence", {"archesweather": full}.get)
    commands = {
        "a": "archesweather demo --seed 0",
        "b": "archesweather demo --full",
        "c": "archesweather evaluate x",
    }
    for name, command in commands.items():
        provenance = dataclasses.replace(evaluation.provenance, command=command)
        make_run(tmp_path / name, evaluation, tool="archesweather", provenance=provenance)
    _, text = read_index(tmp_path)
    assert text.count("At full length, first in the report: 1 claim: 1 holds.") == 1


def test_a_broken_record_is_shown_and_hides_no_other(evaluation, tmp_path):
    make_run(tmp_path / "good", evaluation)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "evaluation.json").write_text('{"schema": "isopleth.evaluation/1"}')
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "evaluation.json").write_text('{"schema": <script>')
    html, text = read_index(tmp_path)
    assert "2 records could not be read" in text
    assert "$ must have 'tool'" in text
    assert "must be JSON" in text
    assert "It beats persistence" in text
    assert "<script>" not in html


def test_depth_hidden_folders_and_links_to_folders(evaluation, tmp_path):
    root = tmp_path / "root"
    make_run(root, evaluation)
    make_run(root / "1" / "2" / "3", evaluation)
    make_run(root / "1" / "2" / "3" / "4", evaluation)
    make_run(root / ".trash", evaluation)
    (root / "loop").symlink_to(root, target_is_directory=True)
    found = [run.folder.relative_to(root).as_posix() for run in find_runs(root)]
    assert found == [".", "1/2/3"]
    assert len(find_runs(root, depth=4)) == 3
    assert len(find_runs(root, depth=0)) == 1
    html, _ = read_index(root)
    assert 'href="./report.html"' in html


@pytest.mark.parametrize("name", ["javascript:alert(1)", 'a"b<c>', "50 % & more#x?y", "ünïcode", "a..b"])
def test_a_hostile_folder_name_stays_a_path(name, evaluation, tmp_path):
    make_run(tmp_path / name, evaluation)
    html, _ = read_index(tmp_path)
    links = re.findall(r'href="(\./[^"]*)"', html)
    assert links
    for link in links:
        assert re.fullmatch(r"\./[A-Za-z0-9%._~-]+/report\.html", link)
        assert (tmp_path / unquote(link)).is_file()


def test_an_empty_folder_makes_a_page_and_a_missing_one_an_error(tmp_path):
    _, text = read_index(tmp_path)
    assert "No evaluation.json was found" in text
    assert "0 runs, no claim was tested." in text
    with pytest.raises(DataError, match="must be an existing folder"):
        write_index(tmp_path / "nowhere")


def test_the_title_is_escaped(tmp_path):
    html, _ = read_index(tmp_path, title="<b>bold</b>")
    assert "<b>bold</b>" not in html
