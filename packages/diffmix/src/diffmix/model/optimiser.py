"""Optimisers, and schedules that both optimiser and teacher follow."""

from __future__ import annotations

import math

from lightly.utils.lars import LARS  # type: ignore[import-untyped]
from torch import nn
from torch.optim import Optimizer

from diffmix.config import FitConfig
from isopleth.train import adamw
from isopleth.train.optim import split_decay


def build_optimiser(module: nn.Module, config: FitConfig, *, rate: float) -> Optimizer:
    """Build AdamW or LARS; biases and norms are neither decayed nor, by LARS, scaled.

    Parameters
    ----------
    module : Module
        Parameters that do not require a gradient are left out.
    config : FitConfig
    rate : float
        The highest of the schedule.
    """
    if config.optimizer == "adamw":
        return adamw(module, lr=rate, weight_decay=config.weight_decay)
    decayed, spared = split_decay(module)
    # lightly's LARS scales the layers that decay, and no others.
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return LARS([group for group in groups if group["params"]], lr=rate, momentum=config.momentum)


def set_weight_decay(optimizer: Optimizer, value: float) -> None:
    """Change the decay of what decays; what is spared stays so."""
    for group in optimizer.param_groups:
        if group["weight_decay"]:
            group["weight_decay"] = value


def cosine_between(start: float, end: float, done: float) -> float:
    r"""Go from one value to another on half a cosine.

    .. math:: e + (s - e)\,(1 + \cos \pi d) / 2

    Parameters
    ----------
    start, end : float
    done : float
        From 0 to 1; beyond it the end is kept.

    Examples
    --------
    >>> [round(cosine_between(0.04, 0.4, done), 3) for done in (0.0, 0.5, 1.0)]
    [0.04, 0.22, 0.4]
    """
    return end + (start - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
