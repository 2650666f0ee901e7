"""The losses: lightly's, in float32 and over all processes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from lightly.loss import BarlowTwinsLoss, DINOLoss, NTXentLoss  # type: ignore[import-untyped]
from lightly.utils.dist import gather  # type: ignore[import-untyped]
from torch import Tensor, nn

from diffmix.config import MethodConfig


class PairLoss(nn.Module):
    """SimCLR's or Barlow Twins' loss of all pairs of all processes.

    Projections are gathered with their gradients and every process computes the whole loss: its gradient,
    averaged over processes by DDP, is that of one process with the whole batch. Barlow Twins then
    standardises over the whole batch too.

    Parameters
    ----------
    config : MethodConfig
    """

    def __init__(self, config: MethodConfig) -> None:
        super().__init__()
        self.kind = config.kind
        self.loss: nn.Module = (
            NTXentLoss(temperature=config.temperature)
            if config.kind == "simclr"
            else BarlowTwinsLoss(lambda_param=config.redundancy)
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of projections (batch, feature) of first and second views."""
        with torch.autocast(first.device.type, enabled=False):
            return self.loss(gather_all(first.float()), gather_all(second.float()))

    def chance(self, pairs: int) -> float | None:
        """Return the loss of projections that are all the same; None where that is not defined.

        All similarities are then 1, and NT-Xent is the entropy of a choice among 2 N - 1.
        """
        return math.log(2 * pairs - 1) if self.kind == "simclr" else None


class DistillationLoss(nn.Module):
    """DINO's loss: the student's views shall predict the teacher's large crops (Caron et al. 2021, eq. 3).

    Parameters
    ----------
    config : MethodConfig
    """

    def __init__(self, config: MethodConfig) -> None:
        super().__init__()
        self.config = config
        self.loss = DINOLoss(
            output_dim=config.output_dim, student_temp=config.temperature,
            teacher_temp=config.teacher_temperature,
            warmup_teacher_temp=config.warm_teacher_temperature,
            warmup_teacher_temp_epochs=config.warm_teacher_epochs, center_momentum=config.center_momentum,
        )  # fmt: skip

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor], *, epoch: float) -> Tensor:
        """Return the loss, and move the centre.

        Parameters
        ----------
        teacher, student : sequence of Tensor, shape (batch, prototype)
            Logits of each view; those of the teacher's views come first among the student's, in the same
            order.
        epoch : float
            For the warm-up of the teacher's temperature.
        """
        with torch.autocast(teacher[0].device.type, enabled=False):
            return self.loss(
                [each.detach().float() for each in teacher], [each.float() for each in student],
                teacher_temp=self.temperature(epoch),
            )  # fmt: skip

    def temperature(self, epoch: float) -> float:
        """Return the teacher's temperature: linear in the warm-up."""
        config = self.config
        share = min(epoch / config.warm_teacher_epochs, 1.0) if config.warm_teacher_epochs else 1.0
        return config.warm_teacher_temperature + share * (
            config.teacher_temperature - config.warm_teacher_temperature
        )

    def chance(self) -> float:
        """Return the loss of a student whose output is uniform: ln K."""
        return math.log(self.config.output_dim)


def gather_all(features: Tensor) -> Tensor:
    """Put the features of all processes together, in the order of their ranks; gradients come back."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return torch.cat(gather(features))
    return features
