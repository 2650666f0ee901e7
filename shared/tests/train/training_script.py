"""A small training that the tests run, and kill, in processes of its own.

``python training_script.py RUN_DIR [options]`` trains once. Without arguments it serves: importing torch and
Lightning takes seconds, so one process imports them and forks a fresh child for each training asked for.
"""

# ruff: noqa: NPY002, T201 - it draws from the global generator on purpose, and answers on stdout

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader, Dataset

from isopleth.errors import IsoplethError
from isopleth.train import Runtime, adamw, fit, is_main_process, step_config, warm_schedule

SAMPLES, BATCH, EPOCHS = 40, 4, 3  # ten steps an epoch, thirty in all


class Noisy(Dataset):
    """Samples that draw from all three global generators each time they are read."""

    def __init__(self, *, noise: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(7)
        self.x = torch.randn(SAMPLES, 5, generator=generator)
        self.y = self.x @ torch.randn(5, 2, generator=generator)
        self.noise = noise

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        noise = torch.randn(5) + float(np.random.standard_normal()) + random.gauss(0, 1)
        return {
            "x": self.x[index] + 0.1 * self.noise * noise,
            "y": self.y[index],
            "index": torch.tensor(index),
        }


class Net(L.LightningModule):
    """Two layers with batch norm and dropout: state in weights, in buffers and in the random numbers."""

    def __init__(self, *, dropout: float = 0.2, total_steps: int = 30, nan_at: int | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(5, 16),
            nn.BatchNorm1d(16) if dropout else nn.LayerNorm(16),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(16, 2),
        )
        self.total_steps = total_steps
        self.nan_at = nan_at

    def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        loss = nn.functional.mse_loss(self.net(batch["x"]), batch["y"])
        if self.global_step == self.nan_at:
            loss = loss * float("nan")
        self.log("loss", loss, sync_dist=True)
        return loss

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        noise = 0.01 * torch.randn(len(batch["x"]), 2)
        self.log("val_loss", nn.functional.mse_loss(self.net(batch["x"]) + noise, batch["y"]), sync_dist=True)

    def configure_optimizers(self) -> dict:
        optimizer = adamw(self, lr=1e-2)
        return step_config(optimizer, warm_schedule(optimizer, total_steps=self.total_steps, warmup_steps=5))


@dataclass
class Trouble(Callback):
    """Send this process a signal when a step is done, or in mid-validation."""

    step: int
    signum: int
    where: str = "train"

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if self.where == "train" and trainer.global_step == self.step:
            os.kill(os.getpid(), self.signum)

    def on_validation_batch_start(self, trainer: L.Trainer, *_: object) -> None:
        if self.where == "validation" and trainer.global_step >= self.step:
            os.kill(os.getpid(), self.signum)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--signal", type=int)
    parser.add_argument("--at", type=int, default=0)
    parser.add_argument("--where", default="train")
    parser.add_argument("--ema", type=float)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--validate-every", type=int)
    parser.add_argument("--no-validation", action="store_true")
    parser.add_argument("--checkpoint-every", type=int, default=4)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--plain", action="store_true", help="no dropout, no noise: only arithmetic is left")
    parser.add_argument("--nan-at", type=int)
    args = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    torch.manual_seed(1)
    module = Net(dropout=0.0 if args.plain else 0.2, nan_at=args.nan_at)
    data = Noisy(noise=0.0 if args.plain else 1.0)
    train = DataLoader(data, batch_size=args.batch, shuffle=True, num_workers=args.workers)
    try:
        fit(
            module,
            train,
            None if args.no_validation else DataLoader(data, batch_size=args.batch),
            run_dir=args.run_dir,
            runtime=Runtime(
                accelerator="cpu",
                devices=args.devices,
                strategy="ddp" if args.devices > 1 else "auto",
                seed=3,
                threads=1,
                ema=args.ema,
            ),
            max_epochs=None if args.max_steps else EPOCHS,
            max_steps=args.max_steps,
            resume=args.resume,
            checkpoint_every=args.checkpoint_every,
            validate_every=args.validate_every,
            accumulate=args.accumulate,
            log_every=1,
            callbacks=[Trouble(args.at, args.signal, args.where)] if args.signal else [],
        )
    except IsoplethError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if is_main_process():
        torch.save(module.state_dict(), args.run_dir / "weights.pt")
    return 0


def serve() -> None:
    """Answer {"words", "env", "log"} with the pid of a new training, and {"wait": pid} with its exit code."""
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            answer = os.fork() or train_in_child(**order)
        print(answer, flush=True)


def train_in_child(words: list[str], env: dict[str, str], log: str) -> NoReturn:
    """Train with stdout and stderr in two files, and end the process."""
    for stream, ending in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        file = os.open(log + ending, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
    os.environ.update(env)
    code = 1
    try:
        code = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if len(sys.argv) > 1 else serve())
