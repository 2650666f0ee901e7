"""Train an interpolator on triplets of frames; no frame between them is ever seen."""

from __future__ import annotations

import logging
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from geostint.config import ModelConfig, TrainConfig
from geostint.cycle import Cycle, Frame, cycle_losses, run_cycle
from geostint.data import look_at_sampling, measure_range
from geostint.guards import Activity
from geostint.model import Geostint
from geostint.model.interpolator import known
from isopleth.data import PackedStore, Windows, check_disjoint, make_loader, open_store
from isopleth.errors import DataError
from isopleth.train import (
    FitResult,
    adamw,
    fit,
    is_main_process,
    load_checkpoint,
    seed_everything,
    step_config,
    warm_schedule,
)

_LOG = logging.getLogger("isopleth.geostint")
Batch = dict[str, Tensor]

# Collapse is looked for once this share of the steps is done: before, a network may still be finding its way.
_GRACE = 0.25


class Training(L.LightningModule):
    """One step of training: the dual cycle of a batch of triplets.

    Parameters
    ----------
    network : Geostint
    config : TrainConfig
    area : Tensor, shape (lat,)
        Area of a cell in each row.
    periodic : bool
        Whether the columns go around the globe.
    """

    area: Tensor
    activity: Tensor

    def __init__(self, network: Geostint, config: TrainConfig, area: Tensor, *, periodic: bool) -> None:
        super().__init__()
        self.network, self.config, self.periodic = network, config, periodic
        self.register_buffer("area", area, persistent=False)
        self.register_buffer("activity", torch.zeros(4, dtype=torch.float64), persistent=False)

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the weighed losses of a batch."""
        cycle, area = self._cycle(batch, crop=self.config.fit.crop)
        one, two = cycle_losses(cycle, area)
        loss = self.config.loss.cycle * one + self.config.loss.agreement * two
        self.log_dict(
            {"train_loss": loss.detach(), "train_cycle": one.detach(), "train_agreement": two.detach()}
        )
        return loss

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Log the same losses, and note how alive the network is."""
        cycle, area = self._cycle(batch, crop=0)
        one, two = cycle_losses(cycle, area)
        loss = self.config.loss.cycle * one + self.config.loss.agreement * two
        values = {"val_loss": loss, "val_cycle": one, "val_agreement": two}
        self.log_dict(values, batch_size=len(batch["index"]), sync_dist=True)
        before, after = _frames(batch)[:2]
        self.activity += measure_activity(before, after, cycle.first)

    def on_validation_epoch_end(self) -> None:
        """Stop, or warn, where the network has collapsed."""
        gathered: Any = self.all_gather(self.activity)
        sums = gathered.reshape(-1, 4).sum(0).tolist()
        self.activity.zero_()
        if self.global_step < _GRACE * self.config.fit.max_steps:
            return
        names = ("from_inputs", "between_inputs", "size", "linear_size")
        alive = Activity(**dict(zip(names, sums, strict=True)), frames=self.config.frames)
        self.log_dict({"copy_ratio": alive.copy_ratio, "fade_ratio": alive.fade_ratio})
        if self.config.fit.collapse == "stop":
            alive.check()
        elif found := alive.find_collapse():
            _LOG.warning("%s", found)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a warm-up and a cosine that ends at 0."""
        settings = self.config.fit
        optimizer = adamw(self, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        # A short run warms up for a fifth of it at most.
        warmup = min(settings.warmup_steps, settings.max_steps // 5)
        schedule = warm_schedule(optimizer, total_steps=settings.max_steps, warmup_steps=warmup)
        return step_config(optimizer, schedule)

    def _cycle(self, batch: Batch, *, crop: int) -> tuple[Cycle, Tensor | None]:
        frames, area, periodic = _frames(batch), self.area[:, None], self.periodic
        if crop and min(frames[0].values.shape[-2:]) > crop:
            frames, rows = _crop(frames, crop)
            area, periodic = area[rows], False
        cycle = run_cycle(lambda a, b: self.network(a, b, periodic=periodic), *frames)
        return cycle, area if self.config.loss.area_weighted else None


def measure_activity(before: Frame, after: Frame, made: Tensor) -> Tensor:
    """Sum what `Activity` is made of over a batch: shape (4,), float64.

    Parameters
    ----------
    before, after : Frame
    made : Tensor, shape (batch, frame, channel, lat, lon)
        What lies between them.
    """
    a, b = known(before)[:, None], known(after)[:, None]
    if before.valid is not None and after.valid is not None:
        valid = (before.valid & after.valid)[:, None]
        a, b, made = (values.masked_fill(~valid, 0.0) for values in (a, b, made))
    count = made.shape[1]
    t = torch.arange(1, count + 1, dtype=a.dtype, device=a.device)[:, None, None, None] / (count + 1)
    fields = (-3, -2, -1)
    nearer = torch.minimum((made - a).abs().mean(fields), (made - b).abs().mean(fields))
    parts = [nearer.mean(1), (b - a).abs().mean((1, *fields)), made.abs().mean((1, *fields)),
             ((1 - t) * a + t * b).abs().mean((1, *fields))]  # fmt: skip
    return torch.stack([part.sum() for part in parts]).double()


def make_windows(config: TrainConfig, store: PackedStore) -> tuple[Windows, Windows]:
    """Return triplets of the training period, and those that begin some frames after its end.

    Raises
    ------
    DataError
        If either has none.
    """
    period = store.normaliser.period
    rows = np.flatnonzero(store.axis.select(period))
    first = int(rows[-1]) + 1 + config.gap
    if first + 2 >= len(store.axis):
        raise DataError(
            f"at least 3 frames must be left for validation, got {max(len(store.axis) - first, 0)} after the "
            f"training period and {config.gap} frames more",
            where=store.path,
            hint="prepare with an earlier end of --train",
        )
    train = Windows(store, inputs=(-1, 0, 1), targets=(), period=period)
    validation = Windows(store, inputs=(-1, 0, 1), targets=(), period=(store.axis[first], store.axis[-1]))
    check_disjoint({"train": train, "validation": validation})
    return train, validation


def train_network(config: TrainConfig) -> tuple[Geostint, FitResult]:
    """Train one network and keep the weights that validated best.

    Returns
    -------
    Geostint
        In evaluation mode; also saved to the run's folder ``pretrained``.
    FitResult
    """
    store = open_store(config.data)
    windows = make_windows(config, store)
    seed_everything(config.runtime.seed)  # the first weights are the seed's, whatever ran before
    shape = ModelConfig(
        channels=store.channels,
        frames=config.frames,
        step_seconds=int(np.median(np.diff(store.axis.seconds))),
        data_range=measure_range(store),
        network=config.network,
    )
    area = torch.as_tensor(store.grid.weights, dtype=torch.float32)
    module = Training(Geostint(shape, store.normaliser), config, area, periodic=store.grid.is_periodic)
    settings, seed = config.fit, config.runtime.seed
    size = min(settings.batch_size, len(windows[0]))
    loaders = [
        make_loader(windows[0], batch_size=size, shuffle=True, seed=seed, drop_last=True),
        make_loader(windows[1], batch_size=settings.batch_size, shuffle=False),
    ]
    result = fit(
        module,
        *loaders,
        run_dir=config.out,
        runtime=config.runtime,
        max_steps=settings.max_steps,
        validate_every=min(settings.validate_every, settings.max_steps),
        gradient_clip=settings.gradient_clip,
        resume=config.resume,
        config=config,
    )
    module.load_state_dict(load_checkpoint(result.checkpoint)["state_dict"])
    network = module.network.eval()
    if is_main_process():
        network.save_pretrained(result.run.pretrained)
    return network, result


def train_model(config: TrainConfig) -> dict[str, Any]:
    """Train a network on prepared frames: the verb ``train``."""
    config.runtime.apply()
    warnings = look_at_sampling(open_store(config.data))
    network, result = train_network(config)
    return {
        "run": str(config.out),
        "pretrained": str(result.run.pretrained),
        "channels": list(network.config.channels),
        "frames": config.frames,
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "val_loss": result.best_score,
        "warnings": warnings,
    }


def _frames(batch: Batch) -> list[Frame]:
    """Return the three frames of a batch."""
    valid = batch.get("inputs_valid")
    masks = [None] * 3 if valid is None else valid.unbind(1)
    return [Frame(*pair) for pair in zip(batch["inputs"].unbind(1), masks, strict=True)]


def _crop(frames: list[Frame], size: int) -> tuple[list[Frame], slice]:
    """Cut one random window out of all frames of a batch; return its rows too."""
    rows, columns = frames[0].values.shape[-2:]
    top, left = (int(torch.randint(length - size + 1, ())) for length in (rows, columns))
    window = (..., slice(top, top + size), slice(left, left + size))
    cut = [Frame(f.values[window], None if f.valid is None else f.valid[window]) for f in frames]
    return cut, window[1]
