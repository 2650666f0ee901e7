"""Several domains one after the other, and what is left of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from block_expansion.config import FitConfig, MethodConfig, RetentionConfig
from block_expansion.data import Domain
from isopleth.errors import ConfigError
from isopleth.train.runtime import Runtime

if TYPE_CHECKING:
    from block_expansion.model import Classifier


@dataclass(frozen=True, eq=False)
class SequenceScores:
    r"""What a sequence of tasks leaves, from :math:`R_{ij}`, the accuracy on task j after task i.

    Attributes
    ----------
    matrix : array, shape (task, task)
    average : float
        ACC, :math:`\frac1T \sum_j R_{Tj}` (Lopez-Paz and Ranzato 2017, eq. 2).
    backward_transfer : float
        BWT, :math:`\frac{1}{T-1} \sum_{j<T} (R_{Tj} - R_{jj})` (ibid., eq. 3); NaN for one task.
    forgetting : array, shape (task,)
        :math:`R_{jj} - R_{Tj}`: first accuracy less last, as avalanche counts it; 0 for the last task.
    """

    matrix: np.ndarray

    @property
    def average(self) -> float:
        """Return ACC."""
        return float(self.matrix[-1].mean())

    @property
    def forgetting(self) -> np.ndarray:
        """Return what each task lost since it was learnt."""
        return np.diag(self.matrix) - self.matrix[-1]

    @property
    def backward_transfer(self) -> float:
        """Return BWT."""
        return float(-self.forgetting[:-1].mean()) if len(self.matrix) > 1 else float("nan")


def adapt_in_sequence(
    classifier: Classifier,
    tasks: Sequence[Domain],
    method: MethodConfig,
    config: FitConfig,
    *,
    run_dir: Path,
    retention: RetentionConfig | None = None,
    runtime: Runtime | None = None,
    resume: bool = False,
) -> SequenceScores:
    """Adapt one network to task after task, and after each measure all by a k-NN vote on its features.

    After each task its adapter is merged: the next one begins from a plain network, for block expansion a
    deeper one, whose depth the number of copies must divide again. Each task has a head of its own.

    Parameters
    ----------
    classifier : Classifier
        Pretrained; it is changed.
    tasks : sequence of Domain
    method, config, run_dir, runtime, resume
        As for `block_expansion.train.adapt`; each task has a folder in `run_dir`.
    retention : RetentionConfig, optional
        Of the vote.

    Raises
    ------
    ConfigError
        If there is no task, one has fewer training images than neighbours vote, or the method does not fit
        a network that has grown.
    """
    from block_expansion.methods import merge_adapter
    from block_expansion.retention import check_neighbours, vote_accuracy
    from block_expansion.train import adapt
    from isopleth.train import seed_everything

    if not tasks:
        raise ConfigError("tasks must be at least one, got none")
    retention, runtime = retention or RetentionConfig(), runtime or Runtime()
    for task in tasks:
        check_neighbours(task, retention)
    matrix = np.full((len(tasks), len(tasks)), np.nan)
    for number, task in enumerate(tasks):
        # The same head and copies whether or not earlier tasks were learnt in this process.
        seed_everything(runtime.seed + number)
        classifier.renew_head(len(task.classes))
        network, _ = adapt(
            classifier, task, method, config,
            run_dir=run_dir / f"task-{number}", runtime=runtime, resume=resume,
        )  # fmt: skip
        classifier = merge_adapter(network)
        matrix[number] = [vote_accuracy(classifier, each, retention) for each in tasks]
    return SequenceScores(matrix)
