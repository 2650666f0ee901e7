"""The pages in a real browser: no error, no request, every image drawn, nothing wider than a phone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from browser import CHROMIUM, DESKTOP, PHONE, Browser, check_page, start_browser
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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or chrome on PATH"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_browser() as browser:
        yield browser


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
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("page", ["report", "index"])
def test_page_in_a_browser(page, width, scheme, browser, pages):
    check_page(browser, pages[page], width=width, scheme=scheme)
    assert browser.evaluate("document.images.length") == 2
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")


def test_text_has_contrast(browser, pages):
    # 4.5:1 is what WCAG 2.1 AA asks for.
    for scheme in ("light", "dark"):
        for page in pages.values():
            browser.open(page, width=DESKTOP, scheme=scheme)
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
    browser.open(pages["index"], width=DESKTOP)
    links = browser.evaluate("[...document.links].map(a => a.href)")
    assert set(links) == {pages["report"].as_uri()}


def test_a_hostile_record_runs_nothing(browser, evaluation, tmp_path):
    attack = '<script>window.hit=1</script><img src=x onerror="window.hit=1"><svg onload="window.hit=1">'
    claim = dataclasses.replace(evaluation.claims[0], claim=attack, evidence=attack)
    record = dataclasses.replace(evaluation, tool=attack, task=attack, claims=[claim])
    write_evaluation(record, tmp_path)
    events = browser.open(write_report(tmp_path), width=DESKTOP)
    assert browser.evaluate(
        "window.hit === undefined && document.scripts.length === 0 && document.images.length === 0"
    )
    assert not [event for event in events if event["method"] == "Log.entryAdded"]
