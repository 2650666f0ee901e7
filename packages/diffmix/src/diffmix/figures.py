"""What the report shows: pairs side by side, arms against each other, and what strength does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffmix.comparison import OURS, PRIMARY, list_names, measure, name_strength, select
from diffmix.sample import Sample
from diffmix.study import SHIFTS, Study
from isopleth.report.figures import figure, line_with_interval, save_figure
from isopleth.report.style import BLUE, MUTED, PALETTE
from isopleth.verify import student_interval


def draw_pairs(run_dir: Path, study: Study, sample: Sample) -> None:
    """Draw ten images, one of each class, and their twins of every strength."""
    places = [int(np.flatnonzero(sample.train_labels == label)[3]) for label in range(10)]
    rows: list[tuple[str, np.ndarray]] = [("real", sample.train)]
    rows += [(f"{strength:g}", twins) for strength, twins in sorted(study.twins.items())]
    with figure(len(rows), len(places), height=0.75 * len(rows) + 0.2) as (fig, axes):
        for line, (name, pixels) in zip(axes, rows, strict=True):
            for ax, place in zip(line, places, strict=True):
                ax.imshow(pixels[place, 0], cmap="gray_r", vmin=0, vmax=255)
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
            line[0].set_ylabel(name, color=MUTED, rotation=0, ha="right", va="center")
        save_figure(
            fig, run_dir, "pairs",
            "A training image of each class, 8 by 8 pixels, and below it its twins, by the strength "
            "of the variation. "
            "The generator has seen the training images without labels. The stronger the variation, "
            "the freer the "
            "twin, until it is another digit.",
            suffix="png",
        )  # fmt: skip


def draw_arms(run_dir: Path, study: Study) -> None:
    """Draw every arm's accuracy in both cells that were named beforehand, clean and shifted."""
    augmentations = sorted({each.augmentation for each in study.outcomes})
    with figure(1, len(augmentations), height=3.8, sharey=True, squeeze=False) as (fig, axes):
        for ax, augmentation in zip(axes[0], augmentations, strict=True):
            _draw_cell(ax, study, augmentation)
            ax.set_title(f"augmentation: {name_strength(augmentation)}")
        axes[0][0].set_ylabel("five-shot accuracy (%)")
        handles, names = axes[0][0].get_legend_handles_labels()
        fig.legend(handles, names, loc="upper center", ncols=len(names), bbox_to_anchor=(0.5, 0.02))
        save_figure(
            fig, run_dir, "arms",
            "Five-shot accuracy on test digits of other writers, clean, with noise and turned. Bars "
            "are means of seeds, "
            "dots the seeds. All encoders made the same number of gradient steps. Left the cell in "
            "which pairs were "
            "expected to help; right the one in which augmentation has done it already.",
        )  # fmt: skip


def draw_strength(run_dir: Path, study: Study) -> None:
    """Draw label agreement and five-shot accuracy by strength."""
    strengths = sorted({strength for strength, _ in study.agreement if strength})
    probe, augmentation = PRIMARY
    with figure(1, 2, height=3.4) as (fig, axes):
        agreement = [
            [value for (each, _), value in sorted(study.agreement.items()) if each == strength]
            for strength in strengths
        ]
        _draw_line(axes[0], strengths, agreement, "twins")
        ceiling = np.mean([value for (each, _), value in study.agreement.items() if not each])
        axes[0].axhline(
            float(ceiling), color=MUTED, linestyle="--", linewidth=1, label="the images themselves"
        )
        axes[0].set(xlabel="strength of the variation", ylabel="label agreement (%)")
        found = {
            each.strength
            for each in study.outcomes
            if each.name == OURS and each.augmentation == augmentation
        }
        runs = [
            [measure(each, probe) for each in study.outcomes
             if each.name == OURS and each.augmentation == augmentation and each.strength == strength]
            for strength in sorted(found)
        ]  # fmt: skip
        _draw_line(axes[1], sorted(found), runs, OURS)
        real = [measure(each, probe) for each in select(study, "real", augmentation)]
        axes[1].axhline(float(np.mean(real)), color=MUTED, linestyle="--", linewidth=1, label="real views")
        axes[1].set(xlabel="strength of the variation", ylabel="five-shot accuracy (%)")
        for ax in axes:
            ax.legend()
        save_figure(
            fig, run_dir, "strength",
            "Left: the share of twins that a classifier on raw pixels still gives the class of their "
            "image. Right: the "
            "five-shot probe of encoders trained on pairs of that strength, without augmentation; "
            "bands are 95 % "
            "intervals over seeds. Weak variations teach little, strong ones teach that different "
            "digits are alike.",
        )  # fmt: skip


def _draw_cell(ax: Any, study: Study, augmentation: float) -> None:
    names = [name for name in list_names(study) if select(study, name, augmentation)]
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        own = select(study, name, augmentation)
        color = BLUE if name == OURS else PALETTE[1:][(number - 1) % len(PALETTE[1:])]
        for group, images in enumerate(SHIFTS):
            values = [each.accuracy[PRIMARY[0], images] for each in own]
            place = group - 0.4 + (number + 0.5) * width
            ax.bar(
                place,
                np.mean(values),
                0.92 * width,
                color=color,
                alpha=1 if name == OURS else 0.55,
                label=name if group == 0 else None,
            )
            ax.scatter([place] * len(values), values, s=7, color="black", zorder=3, linewidths=0)
    ax.set_xticks(range(len(SHIFTS)), list(SHIFTS))
    ax.grid(visible=False, axis="x")


def _draw_line(ax: Any, x: Sequence[float], values: Sequence[Sequence[float]], label: str) -> None:
    means = [float(np.mean(each)) for each in values]
    ends = None
    if all(len(each) > 1 for each in values):
        found = [student_interval(each).ends for each in values]
        ends = [low for low, _ in found], [high for _, high in found]
    line_with_interval(ax, x, means, ends, label=label, color=BLUE, marker="o")
