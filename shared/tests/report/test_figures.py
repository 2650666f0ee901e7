"""Figures: a style that leaves no trace, files with captions, numbers drawn where they are."""

from __future__ import annotations

import doctest
import json

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from isopleth.errors import DataError
from isopleth.report import (
    Score,
    compare_bars,
    figure,
    figures,
    label_quantity,
    line_with_interval,
    save_figure,
    score_by_lead,
)
from isopleth.report.gallery import list_pictures
from isopleth.report.style import PALETTE


def score(lead, model, interval=None, variable="z500", **baselines) -> Score:
    place = {"lead_hours": lead, "basin": "NA"}
    kind = {"metric": "rmse", "variable": variable, "units": "m", "better": "lower"}
    return Score(**kind, stratum=place, model=model, interval=interval, baselines=baselines, n=1)


def test_the_style_leaves_no_trace():
    before = dict(mpl.rcParams)
    with figure() as (_, ax):
        assert mpl.rcParams["axes.spines.top"] is False
        ax.plot([1, 2])
    assert dict(mpl.rcParams) == before


def test_figures_belong_to_no_pyplot_state():
    import matplotlib.pyplot as plt

    with figure(1, 2) as (_, axes):
        assert axes.shape == (2,)
    assert plt.get_fignums() == []


def test_palette_can_be_told_apart_without_red_green_sight():
    # Vienot, Brettel and Mollon (1999): deuteranopia on linear RGB.
    simulate = np.array([[0.29275, 0.70725, -0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    colors = np.array([mpl.colors.to_rgb(name) for name in PALETTE])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ simulate.T, 0, 1) ** (1 / 2.2)
    distance = np.abs(seen[:, None] - seen[None]).max(axis=-1) + np.eye(len(PALETTE))
    assert distance.min() > 0.1


def test_save_writes_the_file_and_records_the_caption(tmp_path):
    with figure(height=2) as (fig, ax):
        ax.plot([1, 2])
        svg = save_figure(fig, tmp_path, "line", "A line (m)")
        png = save_figure(fig, tmp_path, "line2", "Another", alt="It rises", suffix="png")
    assert svg.read_bytes().startswith(b"<?xml")
    with Image.open(png) as image:
        assert image.size[0] > 1000
    assert [(p.file, p.caption, p.alt) for p in list_pictures(tmp_path)] == [
        ("line.svg", "A line (m)", "A line (m)"),
        ("line2.png", "Another", "It rises"),
    ]


def test_saving_again_replaces_in_place_and_is_reproducible(tmp_path):
    def save(name, caption):
        with figure(height=2) as (fig, ax):
            ax.plot([1, 2])
            return save_figure(fig, tmp_path, name, caption).read_bytes()

    first = save("a", "old")
    save("b", "second")
    assert save("a", "new") == first
    assert [(p.file, p.caption) for p in list_pictures(tmp_path)] == [("a.svg", "new"), ("b.svg", "second")]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "a.svg",
        "b.svg",
        "captions.json",
    ]
    json.loads((tmp_path / "figures" / "captions.json").read_text())


@pytest.mark.parametrize(
    ("name", "suffix"), [("../x", "svg"), ("a/b", "svg"), ("", "svg"), ("x", "pdf"), (".x", "png")]
)
def test_a_name_that_is_a_path_or_another_format_is_refused(name, suffix, tmp_path):
    with figure() as (fig, _), pytest.raises(DataError, match=r"must be a \.png or \.svg file"):
        save_figure(fig, tmp_path, name, "caption", suffix=suffix)
    assert list(tmp_path.iterdir()) == []


def test_a_caption_is_required(tmp_path):
    with figure() as (fig, _), pytest.raises(DataError, match="must have a caption"):
        save_figure(fig, tmp_path, "x", " ")


def test_line_and_band_are_where_the_numbers_are():
    with figure() as (_, ax):
        line = line_with_interval(ax, [1, 2, 3], [1.0, np.nan, 3.0], ([0, 1, 2], [2, 3, 4]), label="model")
        np.testing.assert_array_equal(line.get_ydata(), [1, np.nan, 3])
        (band,) = ax.collections
        box = band.get_datalim(ax.transData)
    np.testing.assert_allclose([box.x0, box.x1, box.y0, box.y1], [1, 3, 0, 4])


def test_score_by_lead_draws_model_and_baselines_in_order_of_lead():
    with figure() as (_, ax):
        score_by_lead(ax, [score(48, 2.0, (1.5, 2.5), a=4.0), score(24, 1.0, a=3.0, b=9.0)])
        lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    np.testing.assert_array_equal(lines["model"], [[24, 1], [48, 2]])
    np.testing.assert_array_equal(lines["a"], [[24, 3], [48, 4]])
    np.testing.assert_array_equal(lines["b"], [[24, 9], [48, np.nan]])
    assert ax.get_xlabel() == "lead (hours)"
    assert ax.get_ylabel() == "RMSE of z500 (m)"


def test_leads_over_three_days_are_in_days():
    with figure() as (_, ax):
        score_by_lead(ax, [score(24, 1.0), score(240, 2.0)])
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 10])
    assert ax.get_xlabel() == "lead (days)"


def test_bars_start_at_zero_and_have_the_records_heights():
    with figure() as (_, ax):
        compare_bars(
            ax, [score(24, 2.0, (1.5, 2.5), a=4.0), score(48, 3.0, (2.0, 4.0), a=5.0)], by="lead_hours"
        )
        heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
        assert all(bar.get_y() == 0 for bars in ax.containers for bar in bars)
        centres = [bar.get_x() + bar.get_width() / 2 for bar in ax.containers[0]]
        whiskers = ax.collections[0].get_segments()
    assert heights == [[2, 3], [4, 5]]
    np.testing.assert_allclose([w[:, 1] for w in whiskers], [[1.5, 2.5], [2, 4]])
    np.testing.assert_allclose([w[0, 0] for w in whiskers], centres)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["24", "48"]


@pytest.mark.parametrize("draw", [score_by_lead, compare_bars])
@pytest.mark.parametrize("scores", [[], [score(24, 1.0), score(24, 1.0, variable="t850")]])
def test_mixed_scores_are_refused(draw, scores):
    with figure() as (_, ax), pytest.raises(DataError, match="one metric and variable"):
        draw(ax, scores)


def test_a_score_without_lead_is_refused():
    with figure() as (_, ax), pytest.raises(DataError, match="must have a number for 'lead_days'"):
        score_by_lead(ax, [score(24, 1.0)], lead="lead_days")


def test_labels_and_doctests():
    assert label_quantity("sea_surface_height", "m") == "sea surface height (m)"
    assert label_quantity("anomaly_correlation", "1") == "anomaly correlation"
    result = doctest.testmod(figures)
    assert result.attempted == 2
    assert result.failed == 0
