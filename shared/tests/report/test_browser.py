"""The pages in a real browser: no error, no request, every image drawn, nothing wider than a phone."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isopleth.grid import Grid
from isopleth.report import (
    compare_bars,
    figure,
    map_axes,
    plot_map,
    plot_tracks,
    save_figure,
    write_evaluation,
    write_index,
    write_report,
)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or chrome on PATH"),
]


class Browser:
    """Chromium over its debugging pipe (file descriptors 3 and 4): no port, no further package."""

    def __init__(self, profile: str) -> None:
        read_end, self.commands = os.pipe()
        self.answers, write_end = os.pipe()
        redirect = f'exec "$@" 3<&{read_end} 4>&{write_end}'
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self.buffer = b""
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self.session = None
        self.call("Browser.close")
        self.process.wait(timeout=30)
        os.close(self.commands)
        os.close(self.answers)

    session: str | None = None

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            piece = os.read(self.answers, 1 << 16)
            assert piece, "the browser has closed its pipe"
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path, *, width: int, scheme: str = "light") -> list[dict[str, Any]]:
        """Open a page at a width and return all events until it has loaded."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        return list(self.events)

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        yield browser
        browser.close()


@pytest.fixture
def pages(evaluation, tmp_path) -> dict[str, Path]:
    """Build a realistic folder of runs: maps, bars, folded tables, two sizes of evidence, a broken record."""
    run = tmp_path / "archesweather"
    scores = [
        dataclasses.replace(evaluation.scores[0], variable=name, stratum={"lead_hours": lead, "basin": "NA"})
        for name in ("geopotential_500", "temperature_850", "a_variable_with_a_very_long_name_indeed")
        for lead in range(6, 90, 6)
    ]
    record = dataclasses.replace(evaluation, scores=scores)
    (tmp_path / "archesweather").mkdir()
    write_evaluation(record, run)
    with figure(2, 1, height=8) as (fig, axes):
        grid = Grid.regular(16, 32)
        plot_map(axes[0], np.add.outer(grid.lat, grid.lon), grid, name="height", units="m", diverging=True)
        map_axes(axes[1], (100, 290, 0, 60), land=True)
        plot_tracks(axes[1], [([10, 20, 30], [170, 180, -170])])
        save_figure(fig, run, "maps", "Two maps")
    with figure() as (fig, ax):
        compare_bars(ax, scores[:4], by="lead_hours")
        save_figure(fig, run, "bars", "Bars", suffix="png")
    evidence = write_evaluation(
        dataclasses.replace(evaluation, claims=evaluation.claims[::-1]), tmp_path / "full.json"
    )
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "evaluation.json").write_text("{")
    return {"report": write_report(run, evidence=evidence), "index": write_index(tmp_path)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("page", ["report", "index"])
def test_page_in_a_browser(page, width, scheme, browser, pages):
    events = browser.open(pages[page], width=width, scheme=scheme)
    problems = [
        event
        for event in events
        if event["method"] in {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
    ]
    assert problems == []
    requests = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in requests if not url.startswith("data:")] == [pages[page].as_uri()]
    assert browser.evaluate("Promise.all([...document.images].map(i => i.decode())).then(() => true)")
    assert browser.evaluate("[...document.images].every(i => i.naturalWidth > 100)")
    assert browser.evaluate("document.images.length") == (2 if page == "report" else 0)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, (
        "the page itself never scrolls sideways"
    )
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")


def test_text_has_contrast(browser, pages):
    # 4.5:1 is what WCAG 2.1 AA asks for.
    for scheme in ("light", "dark"):
        for page in pages.values():
            browser.open(page, width=1280, scheme=scheme)
            assert browser.evaluate(CONTRASTS) == []


CONTRASTS = """
(() => {
  const rgb = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('svg') || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([e.tagName, e.className, e.textContent.slice(0, 30)]);
  }
  return poor;
})()
"""


def test_the_links_of_the_index_lead_to_reports(browser, pages):
    browser.open(pages["index"], width=1280)
    links = browser.evaluate("[...document.links].map(a => a.href)")
    assert links == [pages["report"].as_uri()]


def test_a_hostile_record_runs_nothing(browser, evaluation, tmp_path):
    attack = '<script>window.hit=1</script><img src=x onerror="window.hit=1"><svg onload="window.hit=1">'
    claim = dataclasses.replace(evaluation.claims[0], claim=attack, evidence=attack)
    record = dataclasses.replace(evaluation, tool=attack, task=attack, claims=[claim])
    write_evaluation(record, tmp_path)
    events = browser.open(write_report(tmp_path), width=1280)
    assert browser.evaluate(
        "window.hit === undefined && document.scripts.length === 0 && document.images.length === 0"
    )
    assert not [event for event in events if event["method"] == "Log.entryAdded"]
