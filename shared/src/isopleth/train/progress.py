"""How a run shows itself: metrics.csv, a line of the log each epoch, a bar on a terminal."""

# ruff: noqa: ARG002 - a hook has the arguments that Lightning calls it with

from __future__ import annotations

import contextlib
import csv
import io
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from isopleth.io.atomic import atomic_path
from isopleth.train.batches import ReplayableLoader

logger = logging.getLogger(__name__)

FIRST_COLUMNS = ("epoch", "step")


class MetricsFile(Logger):
    """Write what a module logs to one CSV file.

    Lightning's own CSV logger begins anew in a folder that is in use, and a resumed run would lose the
    curve so far.

    Parameters
    ----------
    path : Path
        The file. Columns are epoch, step (optimiser steps done before the logged one), and a column for each
        name logged so far; a cell is empty where a row says nothing of it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        """Lightning wants a name."""
        return "metrics"

    @property
    def version(self) -> str:
        """Lightning wants a version."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row."""
        row = {"step": step, **metrics}
        fresh = [name for name in (*FIRST_COLUMNS, *sorted(row)) if name not in self._columns]
        if fresh or not self.path.exists():
            self._columns += list(dict.fromkeys(fresh))
            self._rewrite(self._rows())
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)

    @rank_zero_only
    def begin(self, step: int) -> None:
        """Keep the rows before optimiser step `step`: the later ones will be written again."""
        rows = [row for row in self._rows() if (row.get("step") or "").isdigit() and int(row["step"]) < step]
        self._columns = list(rows[0]) if rows else []
        if rows:
            self._rewrite(rows)
        else:
            self.path.unlink(missing_ok=True)

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            # A row that a kill cut short has too few cells.
            return [row for row in csv.DictReader(file) if None not in row.values()]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with atomic_path(self.path) as partial:
            partial.write_text(text.getvalue())


class Progress(Callback):
    """Say once an epoch, in a line of the log, how it goes."""

    def __init__(self, metrics: MetricsFile, loader: ReplayableLoader, *, log_every: int) -> None:
        self.metrics = metrics
        self.loader = loader
        self.log_every = log_every
        self._start = 0.0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Log at least once in a short epoch."""
        with contextlib.suppress(TypeError):  # a loader without length
            batches = len(self.loader)
            trainer.log_every_n_steps = max(1, min(self.log_every, batches))  # type: ignore[attr-defined]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin metrics.csv, or go on with it."""
        self.metrics.begin(trainer.global_step)
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line."""
        if trainer.is_global_zero:
            scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
            shown = " ".join(f"{name}={value:.4g}" for name, value in scores.items())
            seconds = time.monotonic() - self._start
            logger.info(
                "epoch %d step %d %.0f s %s", trainer.current_epoch + 1, trainer.global_step, seconds, shown
            )


class StderrBar(TQDMProgressBar):
    """Lightning's progress bar on stderr: stdout is for results."""

    def init_train_tqdm(self) -> Any:
        """Make the bar of an epoch."""
        with contextlib.redirect_stdout(sys.stderr):
            return super().init_train_tqdm()

    def init_validation_tqdm(self) -> Any:
        """Make the bar of a validation."""
        with contextlib.redirect_stdout(sys.stderr):
            return super().init_validation_tqdm()
