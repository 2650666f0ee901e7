"""Training: a runtime, one `fit`, checkpoints that are safe to read, models to share, probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isopleth.lazy import lazy_names
from isopleth.train.fully_connected import FullyConnectedConfig, NetworksConfig, TogetherConfig
from isopleth.train.randomness import seed_everything
from isopleth.train.rundir import RunDirectory
from isopleth.train.runtime import Runtime

if TYPE_CHECKING:
    from isopleth.train.batches import EpochSampler, ReplayableLoader
    from isopleth.train.checkpoint import load_checkpoint, save_checkpoint
    from isopleth.train.ddp import is_main_process
    from isopleth.train.interruption import Interrupted
    from isopleth.train.networks import Networks
    from isopleth.train.optim import adamw, step_config, warm_schedule
    from isopleth.train.pretrained import Pretrained
    from isopleth.train.probes import LinearProbe, fit_linear_probe, knn_probabilities
    from isopleth.train.problems import Problem
    from isopleth.train.throughput import Throughput, measure_throughput
    from isopleth.train.together import TogetherResult, train_together
    from isopleth.train.trainer import FitResult, fit

# Where each lazy name lives: torch is loaded when one of them is asked for.
_HOMES = {
    "EpochSampler": "batches",
    "FitResult": "trainer",
    "Interrupted": "interruption",
    "LinearProbe": "probes",
    "Networks": "networks",
    "Pretrained": "pretrained",
    "Problem": "problems",
    "ReplayableLoader": "batches",
    "Throughput": "throughput",
    "TogetherResult": "together",
    "adamw": "optim",
    "fit": "trainer",
    "fit_linear_probe": "probes",
    "is_main_process": "ddp",
    "knn_probabilities": "probes",
    "load_checkpoint": "checkpoint",
    "measure_throughput": "throughput",
    "save_checkpoint": "checkpoint",
    "step_config": "optim",
    "train_together": "together",
    "warm_schedule": "optim",
}

__all__ = [
    "EpochSampler",
    "FitResult",
    "FullyConnectedConfig",
    "Interrupted",
    "LinearProbe",
    "Networks",
    "NetworksConfig",
    "Pretrained",
    "Problem",
    "ReplayableLoader",
    "RunDirectory",
    "Runtime",
    "Throughput",
    "TogetherConfig",
    "TogetherResult",
    "adamw",
    "fit",
    "fit_linear_probe",
    "is_main_process",
    "knn_probabilities",
    "load_checkpoint",
    "measure_throughput",
    "save_checkpoint",
    "seed_everything",
    "step_config",
    "train_together",
    "warm_schedule",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
