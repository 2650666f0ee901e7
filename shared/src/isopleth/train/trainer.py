"""The training loop: Lightning's, with the choices of this house made in one place."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch import nn

from isopleth.config import check_choice, check_positive
from isopleth.errors import ConfigError
from isopleth.train.batches import DealtLoader, ReplayableLoader
from isopleth.train.callbacks import (
    Checkpoints,
    ConfigFile,
    Continuation,
    FiniteLoss,
    Patience,
    moving_average,
)
from isopleth.train.checkpoint import PlainCheckpointIO, load_checkpoint
from isopleth.train.interruption import Interrupted, SignalWatch
from isopleth.train.progress import MetricsFile, Progress, StderrBar
from isopleth.train.rundir import RunDirectory
from isopleth.train.runtime import Runtime

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What came out of a training run.

    Attributes
    ----------
    run : RunDirectory
        Its folder.
    epochs, steps : int
        Whole epochs and optimiser steps since the very beginning, earlier parts of a resumed run included.
    seconds : float
        Wall-clock time of this part.
    metrics : dict
        The scores logged last.
    best_score : float or None
        Best value of the monitored score; None without validation.
    stopped_early : bool
        Whether patience ran out.
    """

    run: RunDirectory
    epochs: int
    steps: int
    seconds: float
    metrics: dict[str, float]
    best_score: float | None
    stopped_early: bool

    @property
    def checkpoint(self) -> Path:
        """The weights to use: the best where there was a validation, else the last."""
        return self.run.best if self.best_score is not None and self.run.best.exists() else self.run.last

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, as a verb returns them."""
        record = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "run"}
        return {"run": str(self.run.path), "checkpoint": str(self.checkpoint), **record}


def fit(
    module: L.LightningModule,
    train_loader: Iterable[Any],
    val_loader: Iterable[Any] | None = None,
    *,
    run_dir: str | Path | RunDirectory,
    runtime: Runtime | None = None,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    resume: bool = False,
    config: Mapping[str, Any] | object | None = None,
    monitor: str = "val_loss",
    mode: Literal["min", "max"] = "min",
    patience: int | None = None,
    validate_every: int | None = None,
    checkpoint_every: int = 1000,
    log_every: int = 50,
    gradient_clip: float | None = None,
    accumulate: int = 1,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> FitResult:
    """Train a Lightning module; its weights are the result, and the run directory holds the rest.

    A run that is killed at any moment and resumed ends, on a CPU, with the same bits in every weight as one
    that was not.

    Parameters
    ----------
    module : LightningModule
        With ``training_step`` and ``configure_optimizers``, and ``validation_step`` if there is a
        `val_loader`. After training it holds the last weights (their average under `Runtime.ema`).
    train_loader : DataLoader or iterable of batches
        A plain one is dealt out to the processes, in an order that follows from seed and epoch; its batch
        size is that of one process. A dict batch may name its samples by "time" or "index": errors do.
    val_loader : DataLoader or iterable of batches, optional
        Validation at the end of each epoch; as many batches on every process.
    run_dir : path or RunDirectory
        Where checkpoints/ and metrics.csv go.
    runtime : Runtime, optional
        Device, precision, processes, seed, averaging.
    max_epochs, max_steps : int, optional
        When to stop, in epochs or optimiser steps; at least one, and the earlier counts.
    resume : bool
        Go on with the run in `run_dir`; begin one if there is none. Without it an earlier run is left alone
        and the call refused.
    config : dataclass or mapping, optional
        Written to config.yaml when training starts: a run that cannot be resumed so keeps its own.
    monitor, mode : str, {"min", "max"}
        Score logged in validation that says which weights are best, and which way is better.
    patience : int, optional
        Stop after so many validations without a better score.
    validate_every : int, optional
        Validate after so many batches, counted through, instead of at the end of each epoch.
    checkpoint_every : int
        Optimiser steps between checkpoints within an epoch: what a kill can cost.
    log_every : int
        Steps between rows of metrics.csv.
    gradient_clip : float, optional
        Largest 2-norm of the gradient.
    accumulate : int
        Batches to an optimiser step.
    callbacks, loggers : sequence
        More of Lightning's.

    Returns
    -------
    FitResult

    Raises
    ------
    ConfigError
        If a setting cannot be used, or the run to resume is of another network.
    TrainingError
        If the loss or the weights are no longer finite; the last good checkpoint stays.
    Interrupted
        On SIGTERM or Ctrl-C, once the state is saved; its ``exit_code`` is 143 or 130.
    DataError
        If the checkpoint to resume from is not one.
    """
    runtime = runtime or Runtime()
    run = run_dir if isinstance(run_dir, RunDirectory) else RunDirectory(run_dir)
    check_positive(
        max_epochs=max_epochs,
        max_steps=max_steps,
        patience=patience,
        validate_every=validate_every,
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        gradient_clip=gradient_clip,
        accumulate=accumulate,
    )
    check_choice("mode", mode, ("min", "max"))
    if max_epochs is None and max_steps is None:
        raise ConfigError("max_epochs or max_steps must be given, got neither")
    if patience is not None and val_loader is None:
        raise ConfigError("patience must go with a validation loader, got none")
    batches = ReplayableLoader(train_loader, seed=runtime.seed)
    runtime.apply()
    resumes = run.prepare(resume=resume)
    if runtime.compile:
        compile_networks(module)

    watch = SignalWatch()
    metrics = MetricsFile(run.metrics)
    continuation = Continuation(batches, seed=runtime.seed)
    keeper = Checkpoints(run, watch, every=checkpoint_every, monitor=monitor, mode=mode)
    stopper = [Patience(monitor, patience=patience, mode=mode)] if patience else []
    average = [moving_average(runtime.ema)] if runtime.ema else []
    bar = [StderrBar()] if sys.stderr.isatty() else []
    file = [ConfigFile(run, config)] if config is not None else []

    started = time.monotonic()
    with (
        watch.installed(),
        _quiet_lightning(),
        _leaving_in_order(watch, keeper),
        _naming_another_network(run),
    ):
        trainer = L.Trainer(
            **runtime.trainer_options(),
            max_epochs=-1 if max_epochs is None else max_epochs,
            max_steps=-1 if max_steps is None else max_steps,
            val_check_interval=validate_every,
            check_val_every_n_epoch=None if validate_every else 1,
            limit_val_batches=None if val_loader is not None else 0,
            num_sanity_val_steps=0,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=gradient_clip,
            callbacks=[
                continuation,
                *file,
                *average,
                FiniteLoss(run),
                Progress(metrics, batches, log_every=log_every),
                *callbacks,
                *bar,
                *stopper,
                keeper,
            ],
            logger=[metrics, *loggers],
            plugins=[] if runtime.strategy == "fsdp" else [PlainCheckpointIO()],
            default_root_dir=run.path,
            enable_progress_bar=bool(bar),
            enable_model_summary=False,
            enable_autolog_hparams=False,
        )
        trainer.fit(
            module,
            batches,
            _deal_out(val_loader, runtime.seed),
            ckpt_path=run.last if resumes else None,
            weights_only=True,
        )
    if not continuation.trained:
        # The run was complete already, and Lightning has put no averaged weights into the module.
        module.load_state_dict(load_checkpoint(run.last)["state_dict"])
    return FitResult(
        run=run,
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        seconds=time.monotonic() - started,
        metrics={name: float(value) for name, value in trainer.callback_metrics.items()},
        best_score=keeper.best_score,
        stopped_early=any(callback.wait_count >= callback.patience for callback in stopper),
    )


def _deal_out(loaders: Any, seed: int) -> Any:
    if loaders is None:
        return None
    if isinstance(loaders, list | tuple):
        return [DealtLoader(loader, seed=seed) for loader in loaders]
    return DealtLoader(loaders, seed=seed)


@contextlib.contextmanager
def _naming_another_network(run: RunDirectory) -> Iterator[None]:
    """Say in one line what torch says in a page: weights, or moments of the optimiser, that do not fit."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if "loading state_dict" not in str(error) and "loaded state dict" not in str(error):
            raise
        raise ConfigError(
            "a run must go on with the network and optimiser that it was begun with, got others",
            where=run.path,
            hint="choose another run directory, or the settings of the config.yaml in this one",
        ) from error


@contextlib.contextmanager
def _leaving_in_order(watch: SignalWatch, keeper: Checkpoints) -> Iterator[None]:
    """Report an interruption as such, whatever else the signal broke (it reaches loader workers too)."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        if watch.signum:
            raise keeper.leaving or Interrupted(watch.signum) from error
        raise
    if watch.signum:  # it came after the last step, and all is saved
        raise Interrupted(watch.signum, checkpoint=keeper.run.last)


def compile_networks(module: nn.Module) -> None:
    """Compile a module's parts in place: names in its state dict stay, logging stays outside the graph."""
    for part in module.children():
        if isinstance(part, nn.ModuleList | nn.ModuleDict):
            compile_networks(part)
        elif any(True for _ in part.parameters()):
            part.compile()


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's tips, banners and known false alarms from the user; restore everything after."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        # Lightning 2.6 asks torch 2.15's pytree in a way that torch will take away.
        warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)`", FutureWarning)
        # Training without a validation loader is a choice.
        warnings.filterwarnings("ignore", ".*`validation_step` but have no `val_dataloader`.*")
        try:
            for each in loggers:
                each.setLevel(logging.WARNING)
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
