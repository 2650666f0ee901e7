"""Many small networks trained in one batched call: one a segment, a fold, a seed.

A network alone uses a processor badly: its products are small, and most of a step goes into starting them.
Here each layer of all networks is one batched product (network, batch, in) x (network, in, out).

What a network becomes does not depend on which others it is trained with. Its weights, the order of its rows
and what its dropout drops follow from its own seed; its batches and its length from its own rows. On one CPU
thread and with hidden layers of multiples of 16 units the result is the same to the last bit, elsewhere to
rounding.

Little is computed for nothing. Batches are cut from an endless chain of shuffles of a network's rows, so that
every batch is full; only networks with fewer rows than a batch are filled up, to a power of two. Networks
stand in order of their length, and one that is done leaves the product. This is why the loop is not `fit`:
there a step is one for all parameters, and an epoch one for all rows. Checkpoints, signals and metrics.csv
are as there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isopleth.config import config_hash
from isopleth.errors import ConfigError
from isopleth.train.checkpoint import load_checkpoint, save_checkpoint
from isopleth.train.fully_connected import FullyConnectedConfig, TogetherConfig
from isopleth.train.grouped import GroupedTraining
from isopleth.train.interruption import Interrupted, SignalWatch
from isopleth.train.networks import Networks
from isopleth.train.problems import Problem
from isopleth.train.rundir import RunDirectory
from isopleth.train.runtime import Runtime

logger = logging.getLogger(__name__)

_KEY = "together"


@dataclass(frozen=True, kw_only=True, eq=False)
class TogetherResult:
    """What came out of training many networks.

    Attributes
    ----------
    networks : Networks
        In the order of the problems, each with its best weights (its last ones without validation rows).
    scores : array, shape (network,)
        Weighted mean squared error over the validation rows, in standard deviations of the training
        targets squared; NaN without validation rows.
    best_steps : array of int, shape (network,)
        After how many steps the weights were those.
    steps : array of int, shape (network,)
        How many steps were taken.
    seconds : float
        Wall-clock time of this part.
    """

    networks: Networks
    scores: np.ndarray
    best_steps: np.ndarray
    steps: np.ndarray
    seconds: float


def train_together(
    problems: Sequence[Problem],
    shape: FullyConnectedConfig | None = None,
    config: TogetherConfig | None = None,
    *,
    runtime: Runtime | None = None,
    run_dir: str | Path | RunDirectory | None = None,
    resume: bool = False,
) -> TogetherResult:
    r"""Train a network for each problem, all in one batched call.

    Each minimises, by Adam over batches b of its training rows,

    .. math:: \frac{1}{|b|} \sum_{i \in b} \frac{w_i}{\bar w} \frac{|f(x_i) - y_i|^2}{\text{outputs}}
        + \lambda \sum W^2

    with inputs and targets standardised by its own training rows.

    Parameters
    ----------
    problems : sequence of Problem
        With names that differ, and equal numbers of inputs and outputs. Equal seeds begin with equal weights.
    shape : FullyConnectedConfig, optional
    config : TogetherConfig, optional
    runtime : Runtime, optional
        Device and threads; one device, in float32. Without one the CPU as it is set.
    run_dir : path or RunDirectory, optional
        Where to save checkpoints and metrics.csv. SIGTERM and Ctrl-C then save first. Without one nothing is
        saved and a signal ends the run as it ends any other code: meant for trainings of minutes.
    resume : bool
        Go on with the run in `run_dir`, to the same bits as an unbroken one; begin one if there is none.

    Returns
    -------
    TogetherResult

    Raises
    ------
    ConfigError
        If a setting cannot be used, problems differ in their widths, or the run to resume had others.
    DataError
        If a checkpoint cannot be read.
    TrainingError
        If the loss of a network is no longer finite; names the network. The last good checkpoint stays.
    Interrupted
        On SIGTERM or Ctrl-C with a `run_dir`, once the state is saved.
    """
    shape, config = shape or FullyConnectedConfig(), config or TogetherConfig()
    _check(problems, runtime)
    started = time.monotonic()
    if runtime is not None:
        runtime.apply()
    device = torch.device(runtime.device if runtime is not None else "cpu")
    training = GroupedTraining(problems, shape, config, device)
    if run_dir is None:
        if resume:
            raise ConfigError("resume must come with a run_dir, got none")
        while training.active:
            training.advance()
            if training.step % config.validate_every == 0:
                training.check_finite()
    else:
        _Run(training, run_dir, _fingerprint(problems, shape, config), resume=resume).complete()
    training.check_finite()
    back = np.argsort(training.order)
    networks = training.result()
    return TogetherResult(
        networks=networks,
        scores=np.where(np.isfinite(training.scores), training.scores, np.nan)[back],
        best_steps=training.best_steps[back],
        steps=training.ends[back],
        seconds=time.monotonic() - started,
    )


class _Run:
    """A training with a folder: it can be stopped, killed and gone on with."""

    def __init__(
        self,
        training: GroupedTraining,
        run_dir: str | Path | RunDirectory,
        fingerprint: str,
        *,
        resume: bool,
    ) -> None:
        from isopleth.train.progress import MetricsFile

        self.training, self.fingerprint = training, fingerprint
        self.run = run_dir if isinstance(run_dir, RunDirectory) else RunDirectory(run_dir)
        resumes = self.run.prepare(resume=resume)
        self.metrics = MetricsFile(self.run.metrics)
        if resumes:
            self._load()
        self.metrics.begin(training.step)

    def complete(self) -> None:
        """Train to the end, saving on the way and when told to stop."""
        training, config = self.training, self.training.config
        watch = SignalWatch()
        with watch.installed():
            while training.active:
                training.advance()
                if training.step % config.validate_every == 0:
                    training.check_finite()
                    self._log()
                if watch.signum or training.step % config.checkpoint_every == 0:
                    self._save()
                if watch.signum:
                    raise Interrupted(watch.signum, checkpoint=self.run.last)
            self._save()

    def _log(self) -> None:
        training = self.training
        row = {"train_loss": float(training.losses[: max(training.active, 1)].mean())}
        if np.isfinite(training.scores).any():
            row["val_loss"] = float(training.scores[np.isfinite(training.scores)].mean())
        self.metrics.log_metrics(row, training.step - 1)

    def _save(self) -> None:
        self.training.check_finite()
        save_checkpoint({_KEY: self.fingerprint, **self.training.state()}, self.run.last)

    def _load(self) -> None:
        state: dict[str, Any] = load_checkpoint(self.run.last)
        if state.get(_KEY) != self.fingerprint:
            raise ConfigError(
                "a run must be resumed with the problems and settings it began with, got others",
                where=self.run.last,
                hint="choose another directory, or go back to the first configuration",
            )
        self.training.load_state(state)
        logger.info("resumed after %d steps", self.training.step)


def _check(problems: Sequence[Problem], runtime: Runtime | None) -> None:
    if not problems:
        raise ConfigError("problems must be at least one, got none")
    widths = {(p.input_table.shape[1], p.target_table.shape[1]) for p in problems}
    if len(widths) > 1:
        raise ConfigError(f"problems must have equal numbers of inputs and outputs, got {sorted(widths)}")
    if runtime is None:
        return
    if runtime.precision not in ("auto", "32-true"):
        raise ConfigError(f"precision must be auto or 32-true, got {runtime.precision!r}")
    if runtime.devices != 1 or runtime.num_nodes != 1:
        raise ConfigError(f"devices must be 1, got {runtime.devices!r} on {runtime.num_nodes} nodes")


def _fingerprint(problems: Sequence[Problem], shape: FullyConnectedConfig, config: TogetherConfig) -> str:
    """Hash what the training follows from."""
    parts = [
        (p.name, p.seed, p.train_rows.tolist(), p.validation_rows.tolist(), _moments_of(p)) for p in problems
    ]
    return config_hash({"problems": parts, "shape": shape, "config": config})


def _moments_of(problem: Problem) -> list[float]:
    statistics = problem.standardisation().values()
    return [float(value) for pair in statistics for part in pair for value in part]
