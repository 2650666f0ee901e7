"""The usual optimiser and learning-rate schedules, with the usual exceptions made for the user."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from isopleth.config import check_choice, check_fraction, check_positive
from isopleth.errors import ConfigError

_NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._NormBase,
    nn.LocalResponseNorm,
)


def adamw(
    module: nn.Module,
    *,
    lr: float,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    no_decay: Iterable[str] = (),
) -> AdamW:
    """Build AdamW, fused where the device has it, that decays matrices and kernels only.

    Biases, the parameters of normalisation layers and everything one-dimensional are not decayed: their
    scale is no measure of complexity (Loshchilov and Hutter 2019; Goyal et al. 2017, section 5.3).

    Parameters
    ----------
    module : Module
        Parameters that do not require a gradient are left out.
    lr : float
        Learning rate.
    weight_decay : float
        Decoupled decay of the rest, from 0 on.
    betas, eps : (float, float), float
        As in `torch.optim.AdamW`.
    no_decay : iterable of str
        Further parameters not to decay, by any part of their dotted name (``"pos_embed"``).

    Raises
    ------
    ConfigError
        If a value is out of range or nothing is trainable.
    """
    check_positive(lr=lr, eps=eps)
    check_fraction(beta1=betas[0], beta2=betas[1])
    if weight_decay < 0 or not math.isfinite(weight_decay):
        raise ConfigError(f"weight_decay must be at least 0, got {weight_decay!r}")
    decayed, spared = split_decay(module, no_decay=no_decay)
    if not decayed and not spared:
        raise ConfigError("the module must have a trainable parameter, got none")
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    devices = {parameter.device.type for parameter in (*decayed, *spared)}
    optimizer = AdamW(
        [group for group in groups if group["params"]],
        lr=lr,
        betas=betas,
        eps=eps,
        fused=devices <= {"cpu", "cuda"},
    )
    # Left to unscale fp16's gradients itself, it could not be combined with clipping: Lightning refuses that
    # in any mixed precision, also in bfloat16, which scales nothing.
    optimizer._step_supports_amp_scaling = False
    return optimizer


def split_decay(
    module: nn.Module, *, no_decay: Iterable[str] = ()
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Divide the trainable parameters into those to decay and those to spare; shared ones count once."""
    spared_names = set(no_decay)
    spared_ids = {
        id(parameter)
        for layer in module.modules()
        if isinstance(layer, _NORMS)
        for parameter in layer.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            spare = parameter.ndim <= 1 or id(parameter) in spared_ids or spared_names & set(name.split("."))
            (spared if spare else decayed).append(parameter)
    return decayed, spared


def warm_schedule(
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    decay: Literal["cosine", "linear", "constant"] = "cosine",
    floor: float = 0.0,
) -> LambdaLR:
    r"""Raise the learning rate linearly, then let it fall: a factor on each group's own rate.

    .. math::
        f(s) = \begin{cases}
            (s + 1) / w & s < w \\
            \phi + (1 - \phi)\, d\!\left(\tfrac{s - w}{n - w}\right) & s \ge w
        \end{cases}

    with step :math:`s`, warm-up :math:`w`, total :math:`n`, floor :math:`\phi`, and
    :math:`d(x) = (1 + \cos \pi x) / 2` (Loshchilov and Hutter 2017, eq. 5), :math:`1 - x`, or 1.

    Parameters
    ----------
    optimizer : Optimizer
        What it drives.
    total_steps : int
        Optimiser steps of the run; from then on the factor is the floor (or 1 if constant).
    warmup_steps : int
        Steps of the linear rise, fewer than the total.
    decay : {"cosine", "linear", "constant"}
        Shape of the fall.
    floor : float
        Last factor, from 0 to 1.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """
    check_choice("decay", decay, ("cosine", "linear", "constant"))
    check_positive(total_steps=total_steps)
    check_fraction(floor=floor)
    if not 0 <= warmup_steps < total_steps:
        raise ConfigError(f"warmup_steps must be from 0 to total_steps - 1, got {warmup_steps!r}")
    shape = _SHAPES[decay]

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        done = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
        return floor + (1 - floor) * shape(done)

    return LambdaLR(optimizer, factor)


def step_config(optimizer: Optimizer, scheduler: LambdaLR) -> dict[str, Any]:
    """Give what ``configure_optimizers`` returns for a schedule that advances with every optimiser step."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def gradient_norm(module: nn.Module) -> torch.Tensor:
    """Give the 2-norm of all gradients together; 0 without any."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _linear(done: float) -> float:
    return 1 - done


def _constant(_done: float) -> float:
    return 1.0


_SHAPES: dict[str, Callable[[float], float]] = {"cosine": _cosine, "linear": _linear, "constant": _constant}
