"""What the reports show: the plane of target and retention, forgetting by step, and the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from block_expansion.data import Domain
from block_expansion.evaluate import choose_runs, list_methods
from isopleth.report.figures import figure, save_figure
from isopleth.report.style import INK, MUTED, PALETTE

if TYPE_CHECKING:
    from block_expansion.train import Adapted

_MARKERS = "osD^vPX*"


def draw_plane(run_dir: Path, runs: Sequence[Adapted]) -> None:
    """Draw every run in the plane of stability and plasticity, and each method's front."""
    with figure(height=4.6) as (fig, ax):
        for number, method in enumerate(list_methods(runs)):
            color, marker = PALETTE[number % len(PALETTE)], _MARKERS[number % len(_MARKERS)]
            own = [run for run in runs if run.method == method]
            points = np.array([_place(run) for run in own])
            ax.scatter(*points.T, s=16, color=color, marker=marker, alpha=0.35, linewidths=0)
            front = find_front(_average_by_rate(own))
            ax.plot(*front.T, color=color, marker=marker, label=method)
        before = [100 * run.before.knn for run in runs if run.before]
        ax.axvline(float(np.mean(before)), color=INK, linestyle="--", linewidth=1.0, label="un-adapted")
        ax.set(
            xlabel="retained: k-NN accuracy on the old domain (%)", ylabel="accuracy on the new domain (%)"
        )
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        seeds = len({run.seed for run in runs})
        save_figure(
            fig, run_dir, "plane",
            "Stability and plasticity: up is better on the new domain, right remembers more of "
            "the old. Small "
            f"marks are runs ({seeds} seed{'s' if seeds > 1 else ''}, all learning rates), lines "
            f"join the means of "
            "learning rates that no other rate of the method beats in both. A method is better "
            "where its line "
            "lies further up and right.",
        )  # fmt: skip


def draw_curves(run_dir: Path, runs: Sequence[Adapted]) -> None:
    """Draw retention by training step, by the vote fitted anew and by the frozen head."""
    with figure(1, 2, height=3.6, sharex=True) as (fig, axes):
        for number, method in enumerate(list_methods(runs)):
            color, marker = PALETTE[number % len(PALETTE)], _MARKERS[number % len(_MARKERS)]
            chosen = choose_runs(runs, method)
            steps = sorted(set.intersection(*(set(run.curve) for run in chosen)))
            for ax, name in zip(axes, ("knn", "frozen_head"), strict=True):
                means = [100 * np.mean([getattr(run.curve[step], name) for run in chosen]) for step in steps]
                ax.plot(steps, means, color=color, marker=marker, markersize=4, label=method)
        for ax, title in zip(axes, ("k-NN fitted anew", "frozen old head"), strict=True):
            ax.set_xscale("symlog", linthresh=1)
            ax.set(title=title, xlabel="training step")
        axes[0].set_ylabel("accuracy on the old domain (%)")
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
        save_figure(
            fig, run_dir, "curves",
            "What is left of the old domain while the new one is learnt, each method at its chosen learning "
            "rate, mean of seeds. Where the frozen head falls and the vote stays, features moved while "
            "classes stayed apart; the linear probe moves nothing. With an adapter off all is as at step 0.",
        )  # fmt: skip


def draw_domains(run_dir: Path, domains: Sequence[Domain]) -> None:
    """Draw one training image of each class."""
    columns = max(len(domain.classes) for domain in domains)
    with figure(len(domains), columns, height=1.3 * len(domains)) as (fig, axes):
        for ax in np.ravel(axes):
            ax.axis("off")
        for row, domain in zip(axes, domains, strict=True):
            for number, (ax, name) in enumerate(zip(row, domain.classes, strict=False)):
                image = domain.train.read(np.flatnonzero(domain.train.labels == number)[:1])[0]
                ax.imshow(image.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255)
                ax.set_title(name.replace("_", "\n").replace("immunohistochemistry", "ihc"), fontsize=7,
                             color=MUTED, weight="normal")  # fmt: skip
        save_figure(
            fig, run_dir, "domains",
            f"A training image of each class: the old domain above ({domains[0].name}), the new one below "
            f"({domains[1].name}), 16 by 16 pixels each.",
            suffix="png",
        )  # fmt: skip


def find_front(points: np.ndarray) -> np.ndarray:
    """Keep the points that no other one beats or equals in both columns, in order of the first.

    Parameters
    ----------
    points : array, shape (point, 2)
        Larger is better.

    Examples
    --------
    >>> find_front(np.array([[1.0, 3.0], [2.0, 2.0], [1.5, 1.0]])).tolist()
    [[1.0, 3.0], [2.0, 2.0]]
    """
    unique = np.unique(points, axis=0)
    beaten = [bool(((unique >= point).all(1) & (unique > point).any(1)).any()) for point in unique]
    return unique[~np.array(beaten)]


def _average_by_rate(runs: Sequence[Adapted]) -> np.ndarray:
    rates = sorted({run.learning_rate for run in runs})
    return np.array(
        [np.mean([_place(run) for run in runs if run.learning_rate == rate], axis=0) for rate in rates]
    )


def _place(run: Adapted) -> tuple[float, float]:
    """Give a run's place in the plane, in percent."""
    assert run.retained is not None
    return 100 * run.retained.knn, 100 * run.target_test
