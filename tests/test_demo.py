"""`make demo`: no failure hides, and what it leaves is looked at as a user would look at it, in a browser."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import CHROMIUM, DESKTOP, PHONE, Browser, check_page, start_browser
from workspace import make, use_this_environment

TOOL = "conservation-decisions"  # of the cheap ones that with most figures

# Stand-ins for what `make demo` runs; their arguments are those of .ci/demo.
STAND_INS = {
    "works": 'mkdir -p "$3"; echo record > "$3/evaluation.json"',
    "fails": "echo reason >&2; exit 1",
    "cardless": 'mkdir -p "$3"',
    "appdriven": '[ "$4" = cardless ] && { echo "no card" >&2; exit 1; }; echo card > "$2/card.html"',
    "isopleth": 'ls "$2"/*/evaluation.json > "$2/index.html"',
}


@pytest.fixture
def stand_ins(tmp_path) -> list[str]:
    (tmp_path / "bin").mkdir()
    for name, script in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    return ["READY=", "BIN=bin"]


def test_a_failing_tool_hides_no_other(tmp_path, stand_ins):
    # As an earlier run left it: it must not pass for this one's.
    old = tmp_path / "runs" / "demo" / "fails" / "evaluation.json"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    done = make("demo", "TOOLS=fails cardless works", *stand_ins, cwd=tmp_path)
    assert done.returncode != 0
    assert "failed: fails cardless\n" in done.stderr
    lines = [line for line in done.stdout.splitlines() if ", log in " in line]
    # In the order in which they end.
    assert {line.partition(" in ")[0] for line in lines} == {
        "fails: FAILED",
        "cardless: CARD FAILED",
        "works: done",
    }
    assert {"reason", "no card"} <= set(done.stdout.splitlines())
    index = (tmp_path / "runs" / "demo" / "index.html").read_text()
    assert index == "runs/demo/works/evaluation.json\n"
    assert (tmp_path / "runs" / "demo" / "works" / "card.html").is_file()


def test_what_is_no_tool_removes_nothing(tmp_path, stand_ins):
    kept = tmp_path / "runs" / "evidence" / "record"
    kept.parent.mkdir(parents=True)
    kept.write_text("kept")
    assert make("demo", "TOOLS=../evidence", *stand_ins, cwd=tmp_path).returncode != 0
    assert kept.read_text() == "kept"


def test_without_a_failure_it_succeeds(tmp_path, stand_ins):
    done = make("demo", "TOOLS=works", *stand_ins, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_as_many_run_at_once_as_are_asked_for(tmp_path, stand_ins):
    """Each of two waits for the other, up to ten seconds."""
    for one, other in (("first", "second"), ("second", "first")):
        waits = f"for n in $(seq 100); do [ -e {other}.here ] && break; sleep 0.1; done; [ -e {other}.here ]"
        path = tmp_path / "bin" / one
        path.write_text(f"#!/bin/sh\ntouch {one}.here; {waits} && {STAND_INS['works']}\n")
        path.chmod(0o755)
    assert make("demo", "TOOLS=first second", "JOBS=2", *stand_ins, cwd=tmp_path).returncode == 0


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("demo")
    done = make("demo", f"TOOLS={TOOL}", *use_this_environment(), cwd=folder, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    root = folder / "runs" / "demo"
    return {
        "index": root / "index.html",
        "report": root / TOOL / "report.html",
        "card": root / TOOL / "card.html",
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_browser() as browser:
        yield browser


TROUBLES = {
    "a missing image": '<img src="missing.png">',
    "a request": '<link rel="stylesheet" href="http://localhost:9/style.css">',
    "an error": "<script>throw Error()</script>",
    "a message": "<script>console.warn(1)</script>",
    "a wide page": '<div style="width: 2000px">wide</div>',
}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or chrome on PATH")
class TestInABrowser:
    @pytest.mark.parametrize("width", [PHONE, DESKTOP])
    @pytest.mark.parametrize("page", ["index", "report", "card"])
    def test_a_page_is_whole(self, page, width, browser, pages):
        check_page(browser, pages[page], width=width)

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_trouble_is_noticed(self, trouble, browser, tmp_path):
        page = tmp_path / "page.html"
        page.write_text("<!doctype html><title>A page</title><p>Text</p>")
        check_page(browser, page, width=PHONE)
        page.write_text(f"<!doctype html><title>A page</title>{TROUBLES[trouble]}")
        with pytest.raises(AssertionError):
            check_page(browser, page, width=PHONE)

    def test_the_report_has_every_figure(self, browser, pages):
        browser.open(pages["report"], width=DESKTOP)
        drawn = list((pages["report"].parent / "figures").glob("*.svg"))
        assert len(drawn) > 1
        assert browser.evaluate("document.images.length") == len(drawn)

    def test_the_index_leads_to_the_report_and_the_card(self, browser, pages):
        browser.open(pages["index"], width=DESKTOP)
        links = set(browser.evaluate("[...document.links].map(link => link.href)"))
        assert {pages["report"].as_uri(), pages["card"].as_uri()} <= links
