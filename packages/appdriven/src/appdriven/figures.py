"""What the demo's report shows: promises beside what was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isopleth.report import Score
from isopleth.report.figures import figure, save_figure
from isopleth.report.style import BLUE, INK, MUTED, ORANGE


def draw_promises(run_dir: Path, scores: Sequence[Score]) -> None:
    """Draw the error that each way to split tells in advance; the last score is what came."""
    names = [str(score.stratum["tested by"]) for score in scores]
    delivered = scores[-1]
    places = np.arange(len(scores))[::-1]
    with figure(height=3.2) as (fig, ax):
        for place, score in zip(places, scores, strict=True):
            color = BLUE if score is delivered else ORANGE
            low, high = score.interval or (score.model, score.model)
            ax.plot([low, high], [place, place], color=color, linewidth=3, solid_capstyle="butt")
            ax.plot(score.model, place, "o", color=color, markersize=8)
            ax.plot(score.baselines["linear"], place, "|", color=INK, markersize=16, markeredgewidth=2)
        ax.axvline(delivered.model, color=BLUE, linewidth=1, linestyle="--")
        ax.set_yticks(places, names)
        ax.set_ylim(-0.6, len(scores) - 0.4)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("root mean square error of the 24 h wind (m s⁻¹)")
        save_figure(
            fig,
            run_dir,
            "promises",
            "The same forest, the same settings: its error as four ways to split tell it in advance "
            "(orange, 95 % "
            "intervals from whole storms), and as it then was in later seasons (blue, dashed). Upright "
            "marks: linear "
            "regression on the same samples. Random folds put neighbouring fixes of one storm on both sides.",
            alt=(
                "Random folds promise a smaller error than folds by storm, season or place, and than later "
                "seasons show."
            ),
        )


def draw_gain(run_dir: Path, scores: Sequence[Score]) -> None:
    """Draw the forest's gain over linear regression, by the way to split."""
    names = [str(score.stratum["tested by"]) for score in scores]
    gains = [100 * (1 - score.model / score.baselines["linear"]) for score in scores]
    with figure(height=2.8) as (fig, ax):
        colors = [BLUE if number == len(scores) - 1 else ORANGE for number in range(len(scores))]
        ax.bar(range(len(scores)), gains, 0.6, color=colors)
        for number, gain in enumerate(gains):
            ax.annotate(
                f"{gain:.1f} %", (number, gain), xytext=(0, 3), textcoords="offset points", ha="center"
            )
        ax.axhline(0, color=MUTED, linewidth=0.8)
        ax.margins(y=0.15)
        ax.set_xticks(range(len(scores)), names)
        ax.grid(visible=False, axis="x")
        ax.set_ylabel("error saved over linear (%)")
        save_figure(
            fig,
            run_dir,
            "gain",
            "What the forest saves over linear regression, as each way to split tells it: whoever chooses "
            "a model by "
            "random folds takes memory of the storms for skill.",
        )
