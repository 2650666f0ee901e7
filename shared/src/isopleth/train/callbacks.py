"""What `fit` adds to Lightning's loop: exact resumption, the two checkpoints, a halt on NaN."""

# ruff: noqa: ARG002 - a hook has the arguments that Lightning calls it with

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    WeightAveraging,
)
from torch.optim.swa_utils import get_ema_multi_avg_fn

from isopleth.errors import ConfigError, TrainingError
from isopleth.train.batches import ReplayableLoader
from isopleth.train.ddp import gather, greatest, rank_and_world
from isopleth.train.diagnosis import describe_batch, describe_cause
from isopleth.train.interruption import Interrupted, SignalWatch
from isopleth.train.optim import gradient_norm
from isopleth.train.randomness import capture_random_state, derive_seed, restore_random_state, seed_everything
from isopleth.train.rundir import RunDirectory

logger = logging.getLogger(__name__)

_KEY = "isopleth"


class Continuation(Callback):
    """Carry the random state and the place in the data from a run to the one that resumes it.

    Validation draws from generators of its own, the same numbers each time: it does not disturb training,
    and its curve is not moved by luck.

    Parameters
    ----------
    loader : ReplayableLoader
        The training batches.
    seed : int
        Seed of the run; each process draws from a stream of its own.
    """

    def __init__(self, loader: ReplayableLoader, *, seed: int) -> None:
        self.loader = loader
        self.seed = seed
        self.trained = False
        self._resumed: dict[str, Any] | None = None
        self._training_state: dict[str, Any] | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed this process, or take up the state it had."""
        self.trained = True
        rank, world = rank_and_world()
        seed_everything(self.seed if rank == 0 else derive_seed(self.seed, rank))
        if self._resumed and len(self._resumed["random"]) == world:
            restore_random_state(self._resumed["random"][rank])
        elif self._resumed:
            logger.warning("resumed on another number of processes: the numbers drawn will differ")
        self._resumed = None

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set training's random state aside."""
        self._training_state = capture_random_state()
        seed_everything(derive_seed(self.seed, rank_and_world()[0], 1))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take training's random state up again."""
        if self._training_state is not None:
            restore_random_state(self._training_state)
        self._training_state = None

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the place and the random states of all processes; drop what only a pickle could hold."""
        checkpoint[_KEY] = {
            "loader": self.loader.state_dict(),
            "random": gather(self._training_state or capture_random_state()),
        }
        # Constructor arguments may be any object. The run's config.yaml has them, in plain text.
        for key in [key for key in checkpoint if key.endswith(("hyper_parameters", "hparams_name"))]:
            del checkpoint[key]
        if self._training_state is not None:
            _repeat_validation(checkpoint)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Send the loader to its place; the random state follows when training starts."""
        if _KEY not in checkpoint:
            raise ConfigError(
                "the checkpoint to resume from must be one that fit wrote", where=trainer.ckpt_path
            )
        self._resumed = checkpoint[_KEY]
        self.loader.load_state_dict(checkpoint[_KEY]["loader"])


class ConfigFile(Callback):
    """Write a run's config.yaml once training starts, when all that is resumed has been taken up.

    Parameters
    ----------
    run : RunDirectory
    config : dataclass or mapping
    """

    def __init__(self, run: RunDirectory, config: Mapping[str, Any] | object) -> None:
        self.run = run
        self.config = config

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write it."""
        if trainer.is_global_zero:
            self.run.write_config(self.config)


def _repeat_validation(checkpoint: dict[str, Any]) -> None:
    """Make a checkpoint taken during validation start that validation anew when it is resumed.

    Lightning goes on from where validation stood, without the scores of the batches before. It starts from
    the first batch if the checkpoint says that this one was begun and not done.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    progress["total"].update(ready=1, started=1, processed=0, completed=0)
    progress["current"].update(ready=0, started=0, processed=0, completed=0)
    progress["is_last_batch"] = False


class Checkpoints(Checkpoint):
    """Keep the last state and the best weights, and leave on a signal once the state is saved.

    A checkpoint is taken where Lightning resumes exactly: after a step in mid-epoch, after a validation, at
    the end of an epoch. Weights that are not finite are never saved.

    Parameters
    ----------
    run : RunDirectory
        Where the files go.
    watch : SignalWatch
        Tells whether someone wants the run to stop.
    every : int
        Steps between checkpoints within an epoch.
    monitor : str
        Name of the validation score that says which weights are best.
    mode : {"min", "max"}
        Which way is better.
    """

    def __init__(
        self,
        run: RunDirectory,
        watch: SignalWatch,
        *,
        every: int,
        monitor: str,
        mode: Literal["min", "max"],
    ) -> None:
        self.run = run
        self.watch = watch
        self.every = every
        self.monitor = monitor
        self.sign = 1.0 if mode == "min" else -1.0
        self.best_score: float | None = None
        self._improved = False
        self._stepped = 0
        self.leaving: Interrupted | None = None

    def state_dict(self) -> dict[str, Any]:
        """Give the best score so far."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best score so far."""
        self.best_score = state_dict["best_score"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the signals back from Lightning, which has just put its own handler over SIGTERM."""
        self.watch.install()
        self._stepped = trainer.global_step

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Leave, now that the last batch's row is in the metrics file."""
        if self.leaving is not None:
            raise self.leaving

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every so many steps, after the last step, and when asked to stop."""
        signum = greatest(self.watch.signum, pl_module.device)
        if trainer.global_step == self._stepped:
            return  # in the middle of an accumulation, whose gradients a checkpoint does not hold
        self._stepped = trainer.global_step
        if _validation_follows(trainer, batch_idx) or _is_last_batch(trainer):
            return  # both save at their end
        if signum or self._stepped % self.every == 0 or self._stepped == trainer.max_steps:
            self._save(trainer, pl_module)
        if signum:
            self.leaving = Interrupted(signum, checkpoint=self.run.last)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Leave in the middle of a validation; the resumed run repeats it."""
        signum = greatest(self.watch.signum, pl_module.device)
        if not signum:
            return
        for average in _averages(trainer):
            # During validation the averaged weights are in the module: put those in training back.
            average.on_validation_epoch_end(trainer, pl_module)
        self._save(trainer, pl_module)
        raise Interrupted(signum, checkpoint=self.run.last)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look whether this is the best so far; save unless the end of the epoch is about to."""
        score = trainer.callback_metrics.get(self.monitor)
        if score is None:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ConfigError(
                f"monitor must be a name that validation logs, got {self.monitor!r}", hint=f"logged: {logged}"
            )
        value = float(score)
        if math.isfinite(value) and (
            self.best_score is None or self.sign * value < self.sign * self.best_score
        ):
            self.best_score, self._improved = value, True
        if not _is_last_batch(trainer):
            self._save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save at the end of an epoch; a run cut off by max_steps has saved after its last step."""
        if _is_last_batch(trainer):
            self._save(trainer, pl_module)

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        broken = [name for name, weight in pl_module.named_parameters() if not weight.isfinite().all()]
        if greatest(int(bool(broken)), pl_module.device):
            raise TrainingError(
                f"weights must be finite, got NaN or infinity at step {trainer.global_step} in "
                f"{', '.join(broken[:4]) or 'another process'}",
                where=self.run.path,
                hint=f"not saved: {self.run.last} is the last good state; lower the learning rate or clip",
            )
        # Here weights_only=False is Lightning's word for "with the optimiser's state"; `PlainCheckpointIO`
        # sees to it that torch reads all of it back with its own weights_only=True.
        # The best first: killed in between, the run resumes from before the score and finds it again.
        trainer.save_checkpoint(self.run.best if self._improved else self.run.last, weights_only=False)
        if self._improved and trainer.is_global_zero:
            _copy(self.run.best, self.run.last)
        self._improved = False


def _is_last_batch(trainer: L.Trainer) -> bool:
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def _validation_follows(trainer: L.Trainer, batch_idx: int) -> bool:
    """Tell whether Lightning validates right after this batch."""
    every = trainer.val_check_batch
    if not trainer.enable_validation or every is None or math.isinf(every):
        return False
    throughout = trainer.check_val_every_n_epoch is None
    return ((trainer.fit_loop.total_batch_idx if throughout else batch_idx) + 1) % every == 0


def _copy(source: Path, target: Path) -> None:
    """Give a file a second name, by a link where possible; `target` is whole at any moment."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)


class FiniteLoss(Callback):
    """Stop before a loss that is NaN or infinite reaches the weights, and say where it came up.

    Looking at the loss waits for the device at each step; under DDP Lightning does so anyway.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._batch: Any = None
        self._batch_idx = 0
        self._norm: tuple[int, float] | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch."""
        self._batch, self._batch_idx = batch, batch_idx

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: torch.Tensor
    ) -> None:
        """Look at the loss of every process."""
        broken = not bool(loss.detach().isfinite().all())
        if not greatest(int(broken), loss.device):
            return
        found = str(float(loss.detach().mean())) if broken else "NaN or infinity in another process"
        last = self.run.last
        raise TrainingError(
            f"the loss must be finite, got {found} at step {trainer.global_step}, "
            f"epoch {trainer.current_epoch}, batch {self._batch_idx}{describe_batch(self._batch)}",
            where=self.run.path,
            hint=f"{describe_cause(pl_module, self._batch, self._norm)}; "
            + (f"the last good state is {last}" if last.exists() else "nothing was saved yet"),
        )

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any
    ) -> None:
        """Log the norm of the gradient, before it is clipped, as often as the rest."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined] # set where mypy does not look
        if (trainer.global_step + 1) % every == 0:
            norm = gradient_norm(pl_module)
            self._norm = trainer.global_step, float(norm)
            pl_module.log("gradient_norm", norm, rank_zero_only=True)


class Patience(EarlyStopping):
    """Lightning's early stopping after a validation, which knows when a resumed run had stopped already."""

    def __init__(self, monitor: str, *, patience: int, mode: str) -> None:
        super().__init__(monitor, patience=patience, mode=mode, check_on_train_epoch_end=False)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Do not begin another epoch if patience had run out."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the count, but with the patience asked for now."""
        super().load_state_dict({**state_dict, "patience": self.patience})


def moving_average(decay: float) -> WeightAveraging:
    r"""Make Lightning's averaging callback keep :math:`\bar w \leftarrow d\,\bar w + (1 - d)\,w`.

    Buffers are copied, not averaged: the constants of a normaliser must not drift by rounding.
    """
    return WeightAveraging(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))


def _averages(trainer: L.Trainer) -> list[WeightAveraging]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined] # set where mypy does not look
    return [callback for callback in callbacks if isinstance(callback, WeightAveraging)]
